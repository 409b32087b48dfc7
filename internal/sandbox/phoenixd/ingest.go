package phoenixd

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// sentSpan is a span of a request, and the trace that it names.
type sentSpan struct {
	span  *span
	trace string
}

// readSpans reads {"data": [span, …]}.
func readSpans(v any) ([]sentSpan, *checker) {
	c := &checker{}
	body, ok := c.body(v)
	if !ok {
		return nil, c
	}
	in := []any{"body"}
	items := c.list(in, body, "data", true)
	out := make([]sentSpan, 0, len(items))
	for i, item := range items {
		if s, ok := c.readSpan(below(below(in, "data"), i), item); ok {
			out = append(out, s)
		}
	}
	return out, c
}

func (c *checker) readSpan(at []any, v any) (sentSpan, bool) {
	m, ok := c.model(at, v, "Span")
	if !ok {
		return sentSpan{}, false
	}
	mistakes := len(c.problems)
	s := &span{}
	var traceID string
	c.text(at, m, "id", false) // ignored, but looked at
	s.name = c.text(at, m, "name", true)
	if v, ok := c.field(at, m, "context", true); ok {
		in := below(at, "context")
		if ids, ok := c.model(in, v, "SpanContext"); ok {
			traceID, s.id = c.text(in, ids, "trace_id", true), c.text(in, ids, "span_id", true)
		}
	}
	s.kind = c.text(at, m, "span_kind", true)
	s.parent = c.textOrNull(at, m, "parent_id")
	start, end := c.moment(at, m, "start_time"), c.moment(at, m, "end_time")
	s.start, s.end = start.Time, end.Time
	s.status = c.text(at, m, "status_code", true)
	s.statusMessage = c.text(at, m, "status_message", false)
	attributes := c.dict(at, m, "attributes", false)
	s.events = c.readEvents(below(at, "events"), c.list(at, m, "events", false))
	if len(c.problems) > mistakes {
		return sentSpan{}, false
	}
	for _, t := range []struct {
		name string
		moment
	}{{"start_time", start}, {"end_time", end}} {
		if t.naive {
			c.naive(at, t.name, m)
			return sentSpan{}, false
		}
	}
	if s.filterKind = strings.ToUpper(s.kind); !slices.Contains(kinds, s.filterKind) {
		s.filterKind = "UNKNOWN"
	}
	if s.status = strings.ToUpper(s.status); !slices.Contains(statuses, s.status) {
		s.status = "UNSET"
	}
	with := make(map[string]any, len(attributes)+1)
	for k, v := range attributes {
		with[k] = v
	}
	with["openinference.span.kind"] = s.kind
	s.attributes = nest(with)
	return sentSpan{s, traceID}, true
}

// naive complains about a time without a zone.
func (c *checker) naive(at []any, field string, input any) {
	c.add("value_error", at, "Value error, "+field+": timezone-naive timestamp is not allowed; "+
		"all timestamps must be timezone-aware (e.g., use UTC).", input, map[string]any{"error": map[string]any{}})
}

func (c *checker) readEvents(at []any, items []any) []event {
	out := []event{}
	for i, item := range items {
		in := below(at, i)
		m, ok := c.model(in, item, "SpanEvent")
		if !ok {
			continue
		}
		mistakes := len(c.problems)
		name := c.text(in, m, "name", true)
		when := c.moment(in, m, "timestamp")
		attributes := c.dict(in, m, "attributes", false)
		if len(c.problems) > mistakes {
			continue
		}
		if when.naive {
			c.naive(in, "timestamp", m)
			continue
		}
		if attributes == nil {
			attributes = map[string]any{}
		}
		out = append(out, event{name, stamp(when.Time), attributes})
	}
	return out
}

// postSpans takes spans into a project, which is made by its first span. One span
// that is there already, and none is taken. Of two with the same id in one
// request, the first counts.
func (s *Server) postSpans(c *call) answer {
	v, half, bad := c.json()
	if bad != nil {
		return *bad
	}
	spans, check := readSpans(v)
	if !check.ok() {
		return check.wrong()
	}
	received := len(spans)
	items := v.(map[string]any)["data"].([]any)
	for i := received - 1; i >= 0; i-- {
		if half && unwritable(items[i]) || tooLarge(items[i]) {
			spans = slices.Delete(spans, i, i+1) // accepted, and lost on the way into the database
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := c.path[0]
	if class, _, err := fromGID(name); err == nil && class == "Project" {
		p, bad := s.store.project(name)
		if bad != nil {
			return *bad
		}
		name = p.name
	}
	taken := []map[string]string{}
	for _, sent := range spans {
		if s.store.spanByID[sent.span.id] != nil {
			taken = append(taken, map[string]string{"span_id": sent.span.id, "trace_id": sent.trace})
		}
	}
	if len(taken) > 0 {
		// JSON, but Phoenix says text/plain.
		return inText(http.StatusBadRequest, "%s", encode(map[string]any{
			"error": "Request contains invalid or duplicate spans", "total_received": received, "total_queued": 0,
			"total_duplicates": len(taken), "total_invalid": 0, "duplicate_spans": taken, "invalid_spans": []any{},
		}))
	}
	s.take(name, spans)
	return inJSON(http.StatusAccepted, map[string]int{"total_received": received, "total_queued": received})
}

// tooLarge reports a whole number in v that Phoenix's database cannot hold.
func tooLarge(v any) bool {
	switch v := v.(type) {
	case integer:
		_, signed := strconv.ParseInt(string(v), 10, 64)
		_, unsigned := strconv.ParseUint(string(v), 10, 64)
		return signed != nil && unsigned != nil
	case []any:
		return slices.ContainsFunc(v, tooLarge)
	case map[string]any:
		for _, e := range v {
			if tooLarge(e) {
				return true
			}
		}
	}
	return false
}

// take stores spans. The caller holds the lock.
func (s *Server) take(projectName string, spans []sentSpan) {
	for _, sent := range spans {
		s.store.insert(projectName, sent.trace, sent.span)
	}
	s.store.bound(s.keep)
	s.settle()
	s.changed()
}

// Ingest stores spans (the shape of POST /v1/projects/{p}/spans) in the project
// of that name. The error says which of them Phoenix would refuse, and why; then
// none is stored.
func (s *Server) Ingest(projectName string, spans ...map[string]any) error {
	sent, check := readSpans(normal(map[string]any{"data": spans}))
	if !check.ok() {
		p := check.problems[0]
		return fmt.Errorf("phoenixd: Phoenix would refuse the spans: %v: %s", p.Loc, p.Msg)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range sent {
		if s.store.spanByID[one.span.id] != nil {
			return fmt.Errorf("phoenixd: the span %s is there already", one.span.id)
		}
	}
	s.take(projectName, sent)
	return nil
}
