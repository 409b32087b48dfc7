package phoenix

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// Spoken lists what somebody or something annotated in a project, without texts:
// of each span its ids and its start.
type Spoken struct {
	Spans   int           // of the whole project
	OnSpan  []review.Span // with an annotation of their own
	OnTrace []review.Span // root spans of traces with one
}

// Spoken asks for the spans of a project that have an annotation under that name,
// of whatever kind, and for the root spans of traces that have one. It costs 50 ms
// for each 1,000 of them, where looking at a span costs 1.4 ms; but it is a
// shortcut that no server owes us, so whoever calls it has another way for when it
// fails, as it does before 20.0.
//
// Phoenix: POST /graphql for the number of spans, POST /v1/spans, both without a
// promise that they stay.
func (c *Client) Spoken(ctx context.Context, project, name string) (Spoken, error) {
	p, err := c.sized(ctx, project)
	if err != nil {
		return Spoken{}, err
	}
	if v, known := c.serverVersion(); !known || v.less(knowsSpanID) {
		return Spoken{}, refused("Phoenix cannot look spans up by their ids, so it is of no use to know them", nil)
	}
	literal := pythonString(name)
	parts, err := c.querySpans(ctx, p, "annotations["+literal+"]", "trace_annotations["+literal+"] and parent_id is None")
	if err != nil {
		return Spoken{}, err
	}
	return Spoken{Spans: p.Spans, OnSpan: parts[0], OnTrace: parts[1]}, nil
}

// Unjudged asks which root spans of a project have no annotation of that name and
// identifier, and which have one: evaluators' spans are neither. Texts are left out,
// and Spoken says what it costs and that it may fail; before 20.10 it does.
//
// Phoenix: POST /graphql, POST /v1/spans.
func (c *Client) Unjudged(ctx context.Context, project, name, identifier string) (without, with []review.Span, err error) {
	p, err := c.sized(ctx, project)
	if err != nil {
		return nil, nil, err
	}
	if v, known := c.serverVersion(); !known || v.less(knowsSpanID) {
		return nil, nil, refused("Phoenix cannot look spans up by their ids, so it is of no use to know them", nil)
	}
	// A comparison with what is not there is neither true nor false, and "not" of it
	// is not true either: a span without an annotation has to be asked for by itself.
	annotation, who := "annotations["+pythonString(name)+"]", pythonString(identifier)
	const judged = "parent_id is None and span_kind != 'EVALUATOR' and "
	parts, err := c.querySpans(ctx, p, judged+"(not "+annotation+" or "+annotation+".identifier != "+who+")", judged+annotation+".identifier == "+who)
	if err != nil {
		return nil, nil, err
	}
	has := map[string]bool{}
	for _, s := range parts[1] {
		has[s.ID] = true
	}
	// One that somebody else judged, too, is in both.
	return slices.DeleteFunc(parts[0], func(s review.Span) bool { return has[s.ID] }), parts[1], nil
}

// sizedProject is a project and the number of its spans.
type sizedProject struct {
	Name  string `json:"name"`
	Spans int    `json:"recordCount"`
}

func (c *Client) sized(ctx context.Context, project string) (sizedProject, error) {
	var data struct {
		Node sizedProject `json:"node"`
	}
	refusal, err := c.graphql(ctx, "project_size", "query($p:ID!){node(id:$p){... on Project{name recordCount}}}", map[string]any{"p": project}, &data, false)
	switch {
	case err != nil:
		return sizedProject{}, err
	case refusal != nil:
		return sizedProject{}, refused("Phoenix does not tell how many spans the project has", refusal)
	case data.Node.Name == "":
		return sizedProject{}, refused("Phoenix does not tell the name of the project", nil)
	}
	return data.Node, nil
}

// querySpans asks for the spans that meet each of the conditions, in Phoenix's
// filter language. An answer is cut silently at its limit, so the limit is above
// the size of the project, and an answer that reaches it fails.
func (c *Client) querySpans(ctx context.Context, p sizedProject, conditions ...string) ([][]review.Span, error) {
	limit := p.Spans + 10_000 // what arrives meanwhile
	type key struct {
		Key string `json:"key"`
	}
	type query struct {
		Filter struct {
			Condition string `json:"condition"`
		} `json:"filter"`
		Select map[string]key `json:"select"`
	}
	var queries []query
	for _, condition := range conditions {
		q := query{Select: map[string]key{"trace_id": {"context.trace_id"}, "parent_id": {"parent_id"}, "start_time": {"start_time"}}}
		q.Filter.Condition = condition
		queries = append(queries, q)
	}
	body, err := clean(map[string]any{"queries": queries, "limit": limit})
	if err != nil {
		return nil, refused("the query cannot be written as JSON", err)
	}
	var out [][]review.Span
	r := request{call: "query_spans", method: http.MethodPost, path: "/v1/spans", query: url.Values{"project_name": {p.Name}}, body: body, kind: "multipart/mixed"}
	err = c.do(ctx, r, func(body io.Reader) error {
		var err error
		out, err = queried(body)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(out) != len(conditions) {
		return nil, refused(fmt.Sprintf("Phoenix answered %d of %d queries", len(out), len(conditions)), nil)
	}
	for _, spans := range out {
		if len(spans) >= limit {
			return nil, refused("Phoenix cut its answer", nil)
		}
	}
	return out, nil
}

// queried reads one table of spans from each part of an answer. Columns come with
// a number before their name: "0_context.span_id", "1_context.trace_id".
func queried(body io.Reader) ([][]review.Span, error) {
	b := bufio.NewReader(body)
	first, err := b.ReadString('\n')
	if err != nil {
		return nil, err
	}
	boundary, ok := strings.CutPrefix(strings.TrimSpace(first), "--")
	if !ok || boundary == "" {
		return nil, errors.New("the answer does not begin with a boundary")
	}
	var out [][]review.Span
	parts := multipart.NewReader(io.MultiReader(strings.NewReader(first), b), boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		spans := []review.Span{}
		var following *string
		err = eachItem(newCutter(part, smallText), &following, func(d *json.Decoder) error {
			var row map[string]any
			if err := d.Decode(&row); err != nil {
				return err
			}
			s, err := queriedSpan(row)
			spans = append(spans, s)
			return err
		})
		if err != nil {
			return nil, err
		}
		out = append(out, spans)
	}
}

func queriedSpan(row map[string]any) (review.Span, error) {
	var s review.Span
	for column, v := range row {
		_, name, _ := strings.Cut(column, "_")
		text, _ := v.(string)
		switch name {
		case "context.span_id":
			s.ID = text
		case "context.trace_id":
			s.TraceID = text
		case "parent_id":
			s.ParentID = text
		case "start_time":
			var err error
			if s.Start, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return s, err
			}
		}
	}
	if s.ID == "" || s.TraceID == "" {
		return s, errors.New("a row lacks the ids of its span")
	}
	return s, nil
}

// pythonString writes a text as the filter language reads it: as Python does.
func pythonString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7F:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
