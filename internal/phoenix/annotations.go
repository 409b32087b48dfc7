package phoenix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spanbot/spanbot/internal/review"
)

// wireAnnotation is an annotation of a span or a trace as Phoenix lists it.
type wireAnnotation struct {
	ID         string `json:"id"`
	SpanID     string `json:"span_id"`
	TraceID    string `json:"trace_id"`
	Name       string `json:"name"`
	Kind       string `json:"annotator_kind"`
	Identifier string `json:"identifier"`
	Updated    string `json:"updated_at"` // read where it is asked for: nobody's judgement hangs on its form
	Result     *struct {
		Label       *string  `json:"label"`
		Score       *float64 `json:"score"`
		Explanation *string  `json:"explanation"`
	} `json:"result"`
	Metadata map[string]any `json:"metadata"`
}

// correctionKey is the place of a correction in the metadata: Phoenix has no field
// for it.
const correctionKey = "correction"

// Places in the metadata of an answer of a study: what was tapped, what it is
// about (a judge, two experiments), and what stood for what.
const (
	outcomeKey = "outcome"
	ofKey      = "of"
	orderKey   = "order"
	decidedKey = "decided_rubric" // hash of the rubric that an adjudication decides about
)

// retractedKey marks, in the metadata, an annotation that was taken back on a
// server that would not delete it.
const retractedKey = "retracted"

func (w wireAnnotation) answer() review.Answer {
	var a review.Answer
	if w.Result == nil {
		return a
	}
	if w.Result.Label != nil {
		a.Label = plain(*w.Result.Label)
	}
	if w.Result.Explanation != nil {
		a.Explanation = cleanText(*w.Result.Explanation, maxExplanation).Head
	}
	a.Score = w.Result.Score
	if text, ok := w.Metadata[correctionKey].(string); ok {
		a.Correction = cleanText(text, maxExplanation).Head
	}
	return a
}

// said is what the reviewer said: in a study, what they tapped, and not what it
// stands for.
func (w wireAnnotation) said() review.Answer {
	a := w.answer()
	if outcome, ok := w.Metadata[outcomeKey].(string); ok && review.OfStudy(w.Identifier) {
		a.Label, a.Score = plain(outcome), nil
	}
	return a
}

// retracted reports an annotation that says nothing any more.
func (w wireAnnotation) retracted() bool {
	yes, _ := w.Metadata[retractedKey].(bool)
	return yes && w.answer().Empty()
}

// target of an annotation: spans and traces have routes of the same shape.
type target struct {
	list, post string // resources
	query, id  string // parameter of the list, field of the body
	delete     string // GraphQL mutation
	deleted    string // its field
}

var (
	onSpan  = target{"span_annotations", "/v1/span_annotations", "span_ids", "span_id", "deleteSpanAnnotations", "spanAnnotations"}
	onTrace = target{"trace_annotations", "/v1/trace_annotations", "trace_ids", "trace_id", "deleteTraceAnnotations", "traceAnnotations"}
)

func targetOf(j review.Judgement) (t target, id string) {
	if j.OnTrace {
		return onTrace, j.TraceID
	}
	return onSpan, j.SpanID
}

func (t target) of(w wireAnnotation) string {
	if t.id == onTrace.id {
		return w.TraceID
	}
	return w.SpanID
}

// noneOfThem begins the 404 for ids of which Phoenix has none.
const noneOfThem = "None of the supplied"

// annotationPage is sent always: the server's own default is 10.
const annotationPage = "1000"

// annotations calls f with each annotation of the ids, newest first. ids that
// Phoenix does not know have none.
//
// Phoenix: GET /v1/projects/{id}/span_annotations, …/trace_annotations.
func (c *Client) annotations(ctx context.Context, project string, t target, q url.Values, text int, f func(wireAnnotation)) error {
	q.Set("limit", annotationPage)
	for {
		var following *string
		var page []wireAnnotation
		err := c.do(ctx, request{call: t.list, method: http.MethodGet, path: projectPath(project, t.list), query: q}, func(r io.Reader) error {
			page, following = nil, nil
			return eachItem(newCutter(r, text), &following, func(d *json.Decoder) error {
				var w wireAnnotation
				err := d.Decode(&w)
				page = append(page, w)
				return err
			})
		})
		var se *StatusError
		if errors.As(err, &se) && se.Status == http.StatusNotFound && strings.HasPrefix(se.Excerpt, noneOfThem) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, w := range page {
			f(w)
		}
		if !next(q, following) {
			return nil
		}
	}
}

// Annotated tells which spans a human has judged under that name: a HUMAN
// annotation of the span, or, for a root span, of its trace. Annotations by a
// program do not count, and neither do those that were taken back. The keys are
// span ids; a span that is not in the map has none.
func (c *Client) Annotated(ctx context.Context, project, name string, spans []review.Span) (map[string]bool, error) {
	done, _, err := c.Evidence(ctx, project, name, "", spans)
	return done, err
}

// Evidence is Annotated, and what the same answer holds of a judge of that
// annotation name and of the application's users. Without a judge's name it is
// Annotated alone.
func (c *Client) Evidence(ctx context.Context, project, name, judge string, spans []review.Span) (map[string]bool, map[string]review.Evidence, error) {
	done, evidence := make(map[string]bool), make(map[string]review.Evidence)
	names := []string{name}
	if judge != "" {
		names = append(names, judge, review.FeedbackName)
	}
	var ids, traces []string
	roots := make(map[string][]string)
	for _, s := range spans {
		ids = append(ids, s.ID)
		if s.Root() && s.TraceID != "" {
			if roots[s.TraceID] == nil {
				traces = append(traces, s.TraceID)
			}
			roots[s.TraceID] = append(roots[s.TraceID], s.ID)
		}
	}
	human := func(w wireAnnotation) bool {
		return w.Name == name && strings.EqualFold(w.Kind, "HUMAN") && !w.retracted()
	}
	err := c.batches(ctx, project, names, onSpan, ids, smallText, func(w wireAnnotation) {
		switch {
		case human(w):
			done[w.SpanID] = true
		case judge == "" || w.retracted():
		case w.Name == judge && !strings.EqualFold(w.Kind, "HUMAN"):
			e := evidence[w.SpanID]
			e.Judges = append(e.Judges, review.Opinion{Label: w.answer().Label, Votes: w.votes()})
			evidence[w.SpanID] = e
		case w.Name == review.FeedbackName:
			e := evidence[w.SpanID]
			e.Feedback = append(e.Feedback, w.answer())
			evidence[w.SpanID] = e
		}
	})
	if err != nil {
		return nil, nil, err
	}
	err = c.batches(ctx, project, []string{name}, onTrace, traces, smallText, func(w wireAnnotation) {
		if human(w) {
			for _, id := range roots[w.TraceID] {
				done[id] = true
			}
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return done, evidence, nil
}

// votes is what the judge answered when it was asked several times.
func (w wireAnnotation) votes() map[string]float64 {
	list, _ := w.Metadata["votes"].(map[string]any)
	out := make(map[string]float64, len(list))
	for label, n := range list {
		out[label], _ = n.(float64)
	}
	return out
}

// batches asks for many ids, of these annotation names or, without one, of any.
// SQLite's plan becomes slow above 25 ids, but for a long list the number of
// requests weighs more: 1,000 spans of 10,000 take 2.0 s by 25, 0.5 s by 100 and
// 0.2 s by 280. The head of a request stays below the 16 KiB that the server can
// take, and its first line below the 8 KiB of many a proxy.
func (c *Client) batches(ctx context.Context, project string, names []string, t target, ids []string, text int, f func(wireAnnotation)) error {
	size := 25
	switch {
	case len(ids) > 280 && t.id == onSpan.id:
		size = 280
	case len(ids) > 100:
		size = 100
	}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == "" })
	for batch := range slices.Chunk(ids, size) {
		q := url.Values{t.query: batch}
		if len(names) > 0 {
			q["include_annotation_names"] = names
		}
		if err := c.annotations(ctx, project, t, q, text, f); err != nil {
			return err
		}
	}
	return nil
}

// row finds the annotation of the judgement's reviewer, name and target.
func (c *Client) row(ctx context.Context, project string, j review.Judgement) (wireAnnotation, bool, error) {
	t, id := targetOf(j)
	var found wireAnnotation
	ok := false
	who := j.Identifier()
	q := url.Values{t.query: {id}, "include_annotation_names": {j.Name}, "identifier": {who}}
	err := c.annotations(ctx, project, t, q, maxExplanation, func(w wireAnnotation) {
		if t.of(w) == id && w.Name == j.Name && w.Identifier == who {
			found, ok = w, true
		}
	})
	return found, ok, err
}

// Own reads the reviewer's own annotation of the judgement's target under its
// name, as Phoenix holds it; false when there is none, or when it was taken back.
func (c *Client) Own(ctx context.Context, project string, j review.Judgement) (review.Answer, bool, error) {
	w, ok, err := c.row(ctx, project, j)
	if err != nil || !ok || w.retracted() {
		return review.Answer{}, false, err
	}
	return w.said(), true, nil
}

// Annotation is a judgement as it is written to Phoenix.
type Annotation struct {
	review.Judgement
	Metadata map[string]any // what JSON can hold
}

// Bounds of what is written. Phoenix itself has none, but a name and an
// identifier above 2.7 kB break its index on Postgres.
const (
	maxKey         = 1000   // bytes of name and identifier each
	maxLabel       = 1000   // characters
	maxExplanation = 20_000 // characters
	maxMetadata    = 2000   // characters of each text in it
)

type writeResult struct {
	Label       string   `json:"label,omitempty"`
	Score       *float64 `json:"score,omitempty"` // a pointer: 0 is a score
	Explanation string   `json:"explanation,omitempty"`
}

type writeItem struct {
	SpanID     string         `json:"span_id,omitempty"`
	TraceID    string         `json:"trace_id,omitempty"`
	Name       string         `json:"name"`
	Kind       string         `json:"annotator_kind"`
	Identifier string         `json:"identifier"`
	Result     writeResult    `json:"result"`
	Metadata   map[string]any `json:"metadata"`
}

// Annotate stores judgements, in one request, and returns once Phoenix has
// committed them: all or none. They must be all on traces or all on spans; a
// hundred at a time take some 200 ms. An annotation of the same target, name and
// reviewer is overwritten, so it may be repeated.
//
// When Phoenix lacks one of the targets, nothing was written and the error is
// Gone with a *MissingError in it. Unsure: no answer came; look, or repeat.
// A Withdrawn judgement is not for Annotate: see Withdraw.
//
// Phoenix: POST /v1/span_annotations?sync=true, POST /v1/trace_annotations?sync=true.
func (c *Client) Annotate(ctx context.Context, as []Annotation) error {
	if len(as) == 0 {
		return nil
	}
	t, _ := targetOf(as[0].Judgement)
	items := make([]writeItem, 0, len(as))
	ids := make([]string, 0, len(as))
	for _, a := range as {
		if a.OnTrace != as[0].OnTrace {
			return &review.Error{Kind: review.Broken, Err: errors.New("phoenix: one Annotate of both spans and traces")}
		}
		item, err := a.wire()
		if err != nil {
			return err
		}
		items = append(items, item)
		_, id := targetOf(a.Judgement)
		ids = append(ids, id)
	}
	return c.post(ctx, t, items, ids)
}

// wire is the annotation as Phoenix takes it.
func (a Annotation) wire() (writeItem, error) {
	who := a.Identifier()
	label, score := a.Label, a.Score
	if a.Recorded != nil && a.Label != "" {
		label, score = a.Recorded.Label, a.Recorded.Score
	}
	switch {
	case a.Name == "" || a.Name == "note":
		return writeItem{}, refused("an annotation cannot be called “"+a.Name+"” in Phoenix", nil)
	case len(a.Name) > maxKey || len(who) > maxKey:
		return writeItem{}, refused(fmt.Sprintf("the annotation's name or the reviewer's id is longer than %d bytes", maxKey), nil)
	case score != nil && (math.IsNaN(*score) || math.IsInf(*score, 0)):
		return writeItem{}, refused("the score is not a finite number; Phoenix would store none", nil)
	}
	item := writeItem{Name: a.Name, Kind: "HUMAN", Identifier: who, Metadata: map[string]any{}}
	for k, v := range a.Metadata {
		item.Metadata[k] = bounded(v)
	}
	if a.Correction != "" {
		item.Metadata[correctionKey], _ = cutRunes(a.Correction, maxExplanation)
	}
	if a.Recorded != nil && a.Label != "" {
		item.Metadata[outcomeKey], item.Metadata[ofKey] = a.Label, bounded(a.Recorded.Of)
		if a.Recorded.Rubric != "" {
			item.Metadata[decidedKey] = a.Recorded.Rubric
		}
		if len(a.Recorded.Order) > 0 {
			order := map[string]any{}
			for k, v := range a.Recorded.Order {
				order[k] = v
			}
			item.Metadata[orderKey] = bounded(order)
		}
	}
	item.Result.Label, _ = cutRunes(label, maxLabel)
	item.Result.Explanation, _ = cutRunes(a.Explanation, maxExplanation)
	item.Result.Score = score
	if a.OnTrace {
		item.TraceID = a.TraceID
	} else {
		item.SpanID = a.SpanID
	}
	return item, nil
}

// bounded shortens the texts of a metadata value.
func bounded(v any) any {
	switch v := v.(type) {
	case string:
		head, _ := cutRunes(v, maxMetadata)
		return head
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = bounded(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = bounded(v[k])
		}
		return out
	}
	return v
}

// post writes one batch.
func (c *Client) post(ctx context.Context, t target, items []writeItem, ids []string) error {
	body, err := clean(map[string]any{"data": items})
	if err != nil {
		return refused("the annotation cannot be written as JSON", err)
	}
	var out struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	err = c.do(ctx, request{
		call: "annotate", method: http.MethodPost, path: t.post,
		query: url.Values{"sync": {"true"}}, body: body, write: true,
	}, decodeJSON(&out, smallText))
	var se *StatusError
	if errors.As(err, &se) && se.Status == http.StatusNotFound {
		return missing(se, t, ids)
	}
	if err == nil && len(out.Data) != len(items) {
		return &review.Error{
			Kind: review.Unsure, Text: "Phoenix did not confirm every annotation",
			Err: fmt.Errorf("%s: %d of %d were confirmed", t.post, len(out.Data), len(items)),
		}
	}
	return err
}

// missing reads "Spans with IDs a, b do not exist." A 404 in other words comes
// from something before Phoenix: then the judgement is not lost, it waits.
func missing(se *StatusError, t target, ids []string) error {
	_, list, _ := strings.Cut(se.body, "with IDs ")
	words := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '.' })
	gone404 := &MissingError{}
	for _, id := range ids {
		if slices.Contains(words, id) && !slices.Contains(gone404.IDs, id) {
			gone404.IDs = append(gone404.IDs, id)
		}
	}
	if len(gone404.IDs) == 0 {
		return &review.Error{Kind: review.Down, Text: "the answer to the annotation is 404: PHOENIX_ENDPOINT has a wrong base path, or a proxy does not let it through", Err: se}
	}
	what := "span"
	if t.id == onTrace.id {
		what = "trace"
	}
	return gone("the "+what+" does not exist in Phoenix (any more)", errors.Join(gone404, se))
}

// clean marshals v without what makes Phoenix answer 500 for ever: U+0000,
// which Postgres does not take, and half characters.
func clean(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(newCleaner(bytes.NewReader(b)))
}
