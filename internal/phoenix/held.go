package phoenix

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// Held is what a human said of a span or a trace, as Phoenix holds it.
type Held struct {
	SpanID     string // "" for a trace
	TraceID    string // of a trace; "" for a span
	OnTrace    bool
	Identifier string // "slack:<team>:<user>" when it came from here, with a study's prefix before it when it was said there
	review.Answer
	Clicked time.Time // metadata.clicked_at; zero when it did not come from here
	Rubric  string    // metadata.rubric; "" when it did not come from here
}

// Held lists the HUMAN annotations under that name of spans and, for root
// spans, of their traces. Those that were taken back are left out. Order is
// Phoenix's, newest first within some spans.
func (c *Client) Held(ctx context.Context, project, name string, spans []review.Span) ([]Held, error) {
	var out []Held
	var ids, traces []string
	seen := map[string]bool{}
	for _, s := range spans {
		ids = append(ids, s.ID)
		if s.Root() && s.TraceID != "" && !seen[s.TraceID] {
			seen[s.TraceID] = true
			traces = append(traces, s.TraceID)
		}
	}
	add := func(onTrace bool) func(wireAnnotation) {
		return func(w wireAnnotation) {
			if w.Name != name || !strings.EqualFold(w.Kind, "HUMAN") || w.retracted() {
				return
			}
			h := Held{SpanID: w.SpanID, TraceID: w.TraceID, OnTrace: onTrace, Identifier: w.Identifier, Answer: w.said()}
			if s, ok := w.Metadata["clicked_at"].(string); ok {
				h.Clicked, _ = time.Parse(time.RFC3339Nano, s)
			}
			h.Rubric, _ = w.Metadata["rubric"].(string)
			out = append(out, h)
		}
	}
	if err := c.batches(ctx, project, []string{name}, onSpan, ids, maxExplanation, add(false)); err != nil {
		return nil, err
	}
	if err := c.batches(ctx, project, []string{name}, onTrace, traces, maxExplanation, add(true)); err != nil {
		return nil, err
	}
	return out, nil
}

// Exists asks whether a project has a span. The answer is Phoenix's own, or an
// error: a 404 of a proxy is no word about a span.
//
// Phoenix: GET /v1/projects/{id}/span_annotations answers 404 "None of the
// supplied span_ids exist in this project" for a span it does not have.
func (c *Client) Exists(ctx context.Context, project, spanID string) (bool, error) {
	q := url.Values{onSpan.query: {spanID}, "limit": {"1"}}
	err := c.do(ctx, request{call: onSpan.list, method: http.MethodGet, path: projectPath(project, onSpan.list), query: q}, decodeJSON(&struct{}{}, smallText))
	var se *StatusError
	if errors.As(err, &se) && se.Status == http.StatusNotFound && strings.HasPrefix(se.Excerpt, noneOfThem) {
		return false, nil
	}
	return err == nil, err
}
