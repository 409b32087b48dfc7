package phoenixd

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// target of annotations: spans and traces have routes of the same shape.
type target struct {
	class  string // "SpanAnnotation"
	plural string // "Spans", in a 404
	notes  string // route of the notes, in a 400
	ids    string // parameter of the list
	id     string // field of an annotation
}

var (
	onSpans  = target{"SpanAnnotation", "Spans", "/v1/span_notes", "span_ids", "span_id"}
	onTraces = target{"TraceAnnotation", "Traces", "/v1/trace_notes", "trace_ids", "trace_id"}
)

// result is what an annotation says.
type result struct {
	Label       *string `json:"label"`
	Score       *float  `json:"score"`
	Explanation *string `json:"explanation"`
}

// annotationJSON is an annotation as it is listed.
type annotationJSON struct {
	ID         string         `json:"id"`
	Created    string         `json:"created_at"`
	Updated    string         `json:"updated_at"`
	Source     string         `json:"source"`
	User       *string        `json:"user_id"`
	Name       string         `json:"name"`
	Kind       string         `json:"annotator_kind"`
	Result     result         `json:"result"`
	Metadata   map[string]any `json:"metadata"`
	Identifier string         `json:"identifier"`
	SpanID     string         `json:"span_id,omitempty"`
	TraceID    string         `json:"trace_id,omitempty"`
}

func (a *annotation) json() annotationJSON {
	out := annotationJSON{
		ID: a.gid(), Created: stamp(a.created), Updated: stamp(a.updated), Source: "API", Name: a.name, Kind: a.kind,
		Result: result{a.label, number(a.score), a.explanation}, Metadata: a.metadata, Identifier: a.identifier,
	}
	if a.span != nil {
		out.SpanID = a.span.id
	} else {
		out.TraceID = a.trace.id
	}
	return out
}

// number is f as Phoenix writes it.
func number(f *float64) *float {
	if f == nil {
		return nil
	}
	n := float(*f)
	return &n
}

// holds reports whether the store has that target in the project.
func (t target) holds(st *store, p *project, id string) bool {
	tr := st.traceByID[id]
	if t.id == onSpans.id {
		if sp := st.spanByID[id]; sp != nil {
			tr = sp.trace
		} else {
			tr = nil
		}
	}
	return tr != nil && tr.project == p
}

// mostIDs is how many ids a list takes, whatever fits into a request's head.
const mostIDs = 1000

// list answers with the annotations of some targets, the newest first.
func (t target) list(s *Server, c *call) answer {
	q := c.query()
	identifiers := q.allFilled("identifier")
	limit := q.limit(10, 10_000)
	if !q.ok() {
		return q.wrong()
	}
	refuse := func(format string, args ...any) answer {
		return inText(http.StatusUnprocessableEntity, format, args...)
	}
	ids := distinct(q.q[t.ids])
	identifiers = distinct(identifiers)
	switch {
	case len(ids) > mostIDs:
		return refuse("Too many %s supplied: %d (max %d)", t.ids, len(ids), mostIDs)
	case len(identifiers) > mostIDs:
		return refuse("Too many identifiers supplied: %d (max %d)", len(identifiers), mostIDs)
	case len(ids) == 0 && len(identifiers) == 0:
		return refuse("At least one of %s or identifier must be supplied", t.ids)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, bad := s.store.project(c.path[0])
	if bad != nil {
		return *bad
	}
	var top int64
	cursor, _ := q.last("cursor")
	if cursor != "" {
		var err error
		if _, top, err = fromGID(cursor); err != nil {
			return refuse("Invalid cursor value")
		}
	}
	list, following := []annotationJSON{}, (*string)(nil)
	for _, a := range slices.Backward(t.among(s.store, ids)) {
		if a.trace.project != p || cursor != "" && a.row > top || !among(identifiers, a.identifier) ||
			!named(q.q, a.name) {
			continue
		}
		if len(list) == limit {
			next := a.gid()
			following = &next
			break
		}
		list = append(list, a.json())
	}
	if len(list) == 0 && len(identifiers) == 0 && !slices.ContainsFunc(ids, func(id string) bool { return t.holds(s.store, p, id) }) {
		return inText(http.StatusNotFound, "None of the supplied %s exist in this project", t.ids)
	}
	return inJSON(http.StatusOK, page{list, following})
}

// among are the annotations of some targets, or all where none is named, by row.
func (t target) among(st *store, ids []string) []*annotation {
	if len(ids) == 0 {
		return st.annotations[t.class]
	}
	var out []*annotation
	for _, id := range ids {
		switch sp, tr := st.spanByID[id], st.traceByID[id]; {
		case t.id == onSpans.id && sp != nil:
			out = append(out, sp.annotations...)
		case t.id == onTraces.id && tr != nil:
			out = append(out, tr.annotations...)
		}
	}
	slices.SortFunc(out, func(a, b *annotation) int { return cmp.Compare(a.row, b.row) })
	return out
}

// distinct is list without repetitions, in order.
func distinct(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

// among reports whether a filter lets v through; an empty one does.
func among(filter []string, v string) bool { return len(filter) == 0 || slices.Contains(filter, v) }

func named(q url.Values, name string) bool {
	return among(q["include_annotation_names"], name) && !slices.Contains(q["exclude_annotation_names"], name)
}

// sweep deletes annotations of a project by name, identifier, kind and time,
// never by target: a span_ids here is ignored, as in Phoenix.
func (t target) sweep(s *Server, c *call) answer {
	q := c.query()
	name, identifier := q.filled("name"), q.filled("identifier")
	kind := q.oneOf("annotator_kind", "", annotatorKinds...)
	since, before, all := q.moment("start_time"), q.moment("end_time"), q.flag("delete_all")
	if !q.ok() {
		return q.wrong()
	}
	switch {
	case !all && (since == nil || before == nil):
		return inText(http.StatusUnprocessableEntity, "Delete is unbounded. Set delete_all=true to acknowledge, or "+
			"supply both start_time and end_time to bound the time range.")
	case since != nil && before != nil && !since.Before(before.Time):
		return inText(http.StatusUnprocessableEntity, "`start_time` must be strictly earlier than `end_time`.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, bad := s.store.project(c.path[0])
	if bad != nil {
		return *bad
	}
	for _, a := range slices.Clone(s.store.annotations[t.class]) {
		if a.trace.project != p || name != nil && a.name != *name || identifier != nil && a.identifier != *identifier ||
			kind != "" && a.kind != kind || since != nil && a.created.Before(since.Time) || before != nil && !a.created.Before(before.Time) {
			continue
		}
		s.store.removeAnnotation(a)
	}
	s.changed()
	return answer{status: http.StatusNoContent, kind: "application/json"}
}

// Annotations are the annotations of a span, oldest first, in the shape in which
// Phoenix lists them.
func (s *Server) Annotations(spanID string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.store.spanByID[spanID]
	if sp == nil {
		return nil
	}
	return plainJSON(sp.annotations)
}

// TraceAnnotations are the annotations of a trace as a whole.
func (s *Server) TraceAnnotations(traceID string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.store.traceByID[traceID]
	if t == nil {
		return nil
	}
	return plainJSON(t.annotations)
}

// second is what Phoenix's database keeps of the time of an annotation.
func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
