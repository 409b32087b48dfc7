package phoenixd

import (
	"cmp"
	"encoding/base64"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

var (
	kinds    = []string{"LLM", "CHAIN", "TOOL", "RETRIEVER", "EMBEDDING", "AGENT", "RERANKER", "EVALUATOR", "GUARDRAIL", "PROMPT", "DECISION", "UNKNOWN"}
	statuses = []string{"OK", "ERROR", "UNSET"}
)

// spanJSON is a span as it is listed.
type spanJSON struct {
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	Context       map[string]string `json:"context"`
	Kind          string            `json:"span_kind"`
	Parent        *string           `json:"parent_id"`
	Start         string            `json:"start_time"`
	End           string            `json:"end_time"`
	Status        string            `json:"status_code"`
	StatusMessage string            `json:"status_message"`
	Attributes    map[string]any    `json:"attributes"`
	Events        []event           `json:"events"`
}

func (s *span) json() spanJSON {
	attributes := flatten(s.attributes)
	delete(attributes, "openinference.span.kind")
	return spanJSON{
		s.gid(), s.name, map[string]string{"trace_id": s.trace.id, "span_id": s.id}, s.kind, s.parent,
		stamp(s.start), stamp(s.end), s.status, s.statusMessage, attributes, s.events,
	}
}

// spanOrder is the order of a page of spans, and where it begins.
type spanOrder struct {
	byStart bool
	up      bool
	from    *span // only row and start; nil: at the very beginning
}

func (o spanOrder) compare(a, b *span) int {
	n := cmp.Compare(a.row, b.row)
	if o.byStart {
		n = cmp.Or(a.start.Compare(b.start), n)
	}
	if !o.up {
		n = -n
	}
	return n
}

// cursor is where the page that begins with s begins.
func (o spanOrder) cursor(s *span) string {
	if !o.byStart {
		return s.gid()
	}
	return base64.StdEncoding.EncodeToString([]byte(strconv.FormatInt(s.row, 10) + ":DATETIME:" + stamp(s.start)))
}

var errCursor = errors.New("invalid cursor")

func (o *spanOrder) begin(cursor string) error {
	if !o.byStart {
		_, row, err := fromGID(cursor)
		o.from = &span{row: row}
		return err
	}
	b, err := base64.StdEncoding.DecodeString(cursor)
	row, rest, _ := strings.Cut(string(b), ":")
	start, isTime := strings.CutPrefix(rest, "DATETIME:")
	n, bad := strconv.ParseInt(row, 10, 64)
	m, why := parseMoment(start)
	if err != nil || !isTime || bad != nil || why != "" {
		return errCursor
	}
	o.from = &span{row: n, start: m.Time}
	return nil
}

// spanFilter says which spans are listed.
type spanFilter func(*span) bool

// getSpans lists spans of a project, the one ingested last first.
func (s *Server) getSpans(c *call) answer {
	q := c.query()
	limit := q.limit(100, 1000)
	order := spanOrder{
		byStart: q.oneOf("sort", "id", "id", "start_time") == "start_time",
		up:      q.oneOf("order", "desc", "asc", "desc") == "asc",
	}
	since, before := q.moment("start_time"), q.moment("end_time")
	if !q.ok() {
		return q.wrong()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, bad := s.store.project(c.path[0])
	if bad != nil {
		return *bad
	}
	keep, bad := spanFilters(q, since, before)
	if bad != nil {
		return *bad
	}
	if cursor, _ := q.last("cursor"); cursor != "" {
		if err := order.begin(cursor); errors.Is(err, strconv.ErrRange) {
			return crash() // the number is no number of the database
		} else if err != nil {
			return inText(http.StatusUnprocessableEntity, "Invalid cursor")
		}
	}
	found := s.store.named(q).spansOf(p, order, keep, limit+1)
	var following *string
	if len(found) > limit {
		next := order.cursor(found[limit])
		following, found = &next, found[:limit]
	}
	list := make([]spanJSON, len(found))
	for i, sp := range found {
		list[i] = sp.json()
	}
	return inJSON(http.StatusOK, page{list, following})
}

// named is the store cut down to the spans that a query names by their own id or
// their trace's, for what is listed of them alone: these are looked up.
func (st *store) named(q params) *store {
	traces, ids := q.q["trace_id"], q.q["span_id"]
	if len(traces)+len(ids) == 0 {
		return st
	}
	var only []*span
	for _, id := range ids {
		if s := st.spanByID[id]; s != nil {
			only = append(only, s)
		}
	}
	if len(ids) == 0 {
		for _, id := range traces {
			if t := st.traceByID[id]; t != nil {
				only = append(only, t.spans...)
			}
		}
	}
	slices.SortFunc(only, func(a, b *span) int { return cmp.Compare(a.row, b.row) })
	return &store{spans: slices.Compact(only)}
}

// spansOf lists at most limit spans of the project. In the order of rows it
// begins where the page does: a huge project costs no more than a small one.
func (st *store) spansOf(p *project, o spanOrder, keep []spanFilter, limit int) []*span {
	all, first := st.spans, 0
	switch {
	case o.byStart:
		all = slices.SortedFunc(slices.Values(all), spanOrder{byStart: true, up: true}.compare)
	case o.from != nil:
		i, found := slices.BinarySearchFunc(all, o.from.row, func(s *span, row int64) int { return cmp.Compare(s.row, row) })
		if o.up {
			first = i
		} else {
			if found {
				i++
			}
			first = len(all) - i
		}
	}
	var out []*span
	for i := first; i < len(all); i++ {
		s := all[i]
		if !o.up {
			s = all[len(all)-1-i]
		}
		if s.trace.project != p || o.from != nil && o.compare(s, o.from) < 0 ||
			slices.ContainsFunc(keep, func(f spanFilter) bool { return !f(s) }) {
			continue
		}
		if out = append(out, s); len(out) == limit {
			break
		}
	}
	return out
}

// spanFilters reads the filters of a query, in the order in which Phoenix
// complains about them.
func spanFilters(q params, since, before *moment) (keep []spanFilter, bad *answer) {
	if since != nil {
		keep = append(keep, func(s *span) bool { return !s.start.Before(since.Time) })
	}
	if before != nil {
		keep = append(keep, func(s *span) bool { return s.start.Before(before.Time) })
	}
	oneOf := func(key string, of func(*span) string) {
		if list := q.q[key]; len(list) > 0 {
			keep = append(keep, func(s *span) bool { return slices.Contains(list, of(s)) })
		}
	}
	oneOf("trace_id", func(s *span) string { return s.trace.id })
	oneOf("span_id", func(s *span) string { return s.id })
	oneOf("name", func(s *span) string { return s.name })
	if parent, ok := q.last("parent_id"); ok {
		keep = append(keep, func(s *span) bool {
			if s.parent == nil || parent == "null" {
				return s.parent == nil && parent == "null"
			}
			return *s.parent == parent
		})
	}
	for _, f := range []struct {
		key     string
		allowed []string
		of      func(*span) string
	}{
		{"span_kind", kinds, func(s *span) string { return s.filterKind }},
		{"status_code", statuses, func(s *span) string { return s.status }},
	} {
		var upper, unknown []string
		for _, v := range q.q[f.key] {
			v = strings.ToUpper(v)
			upper = append(upper, v)
			if !slices.Contains(f.allowed, v) {
				unknown = append(unknown, quoted(v))
			}
		}
		if len(unknown) > 0 {
			a := inText(http.StatusUnprocessableEntity, "Invalid %s values: [%s]", f.key, strings.Join(unknown, ", "))
			return nil, &a
		}
		if len(upper) > 0 {
			keep = append(keep, func(s *span) bool { return slices.Contains(upper, f.of(s)) })
		}
	}
	for _, v := range q.q["attribute"] {
		f, bad := attributeFilter(v)
		if bad != nil {
			return nil, bad
		}
		keep = append(keep, f)
	}
	return keep, nil
}

// quoted is s as Python shows a string in a list.
func quoted(s string) string {
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		return `"` + s + `"`
	}
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", `\'`) + "'"
}

// attributeFilter reads "path:value". The value is JSON, or else a text.
func attributeFilter(s string) (f spanFilter, bad *answer) {
	refuse := func(format string, args ...any) (spanFilter, *answer) {
		a := inText(http.StatusUnprocessableEntity, format, args...)
		return nil, &a
	}
	key, value, ok := strings.Cut(s, ":")
	switch {
	case !ok:
		return refuse("Invalid attribute '%s': expected format 'key:value'", s)
	case key == "":
		return refuse("Invalid attribute: key must not be empty")
	case value == "":
		return refuse("Invalid attribute: value must not be empty")
	}
	want, _, err := decode([]byte(value))
	if err != nil {
		want = value
	}
	switch want.(type) {
	case nil, []any, map[string]any:
		return refuse("Invalid attribute value '%s': must be a string, integer, float, or boolean."+
			" To match a string that looks like a number or boolean, JSON-quote the value: `key:\"12345\"`.", value)
	}
	return func(s *span) bool { return same(at(s.attributes, key), want) }, nil
}

// same compares as Phoenix on SQLite does: as texts, what the database writes with
// what Python writes. So a whole number is the same in both kinds of numbers, a
// number with a point only in its own, and true is 1; but a text beyond ASCII, and
// a number that the two round or write differently (1e+20 and 1.0e+20), is never
// the same.
func same(have, want any) bool {
	have, want = digit(have), digit(want)
	switch want := want.(type) {
	case integer:
		n, err := strconv.ParseFloat(string(want), 64)
		return databaseText(have) == string(want) || err == nil && databaseText(have) == pythonText(n)
	case float:
		return databaseText(have) == pythonText(float64(want))
	case string:
		return have == want && !strings.ContainsFunc(want, func(r rune) bool { return r > unicode.MaxASCII })
	}
	return false
}

// databaseText is a number as SQLite writes it: floats, and whole numbers beyond
// 64 bits, to 15 digits where these are exact, else to 17.
func databaseText(v any) string {
	var f float64
	switch v := v.(type) {
	case integer:
		if _, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return string(v)
		}
		f, _ = strconv.ParseFloat(string(v), 64)
	case float:
		f = float64(v)
	default:
		return ""
	}
	if f == 0 {
		return "0.0"
	}
	precision := 14 // digits behind the first
	text := strconv.FormatFloat(f, 'e', precision, 64)
	if back, _ := strconv.ParseFloat(text, 64); back != f {
		precision = 16
		text = strconv.FormatFloat(f, 'e', precision, 64)
	}
	digits, exponent, _ := strings.Cut(text, "e")
	if e, _ := strconv.Atoi(exponent); e >= -4 && e < 17 {
		return withPoint(strings.TrimRight(strconv.FormatFloat(f, 'f', max(1, precision-e), 64), "0"))
	}
	return withPoint(strings.TrimRight(digits, "0")) + "e" + exponent
}

func withPoint(s string) string {
	if strings.HasSuffix(s, ".") {
		return s + "0"
	}
	if !strings.Contains(s, ".") {
		return s + ".0"
	}
	return s
}

// pythonText is a float as Python writes it.
func pythonText(f float64) string {
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	return withPoint(strconv.FormatFloat(f, 'f', -1, 64))
}

func digit(v any) any {
	switch v {
	case true:
		return integer("1")
	case false:
		return integer("0")
	}
	return v
}

// deleteSpan deletes one span, by its global or OpenTelemetry id. Its children
// stay.
func (s *Server) deleteSpan(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := c.path[0]
	found, word := s.store.spanByID[key], "span_id"
	if class, row, err := fromGID(key); err == nil && class == "Span" {
		found, word = nil, "relay ID"
		for _, sp := range s.store.spans {
			if sp.row == row {
				found = sp
			}
		}
	}
	if found == nil {
		return inText(http.StatusNotFound, "Span with %s '%s' not found", word, key)
	}
	s.store.remove(found)
	s.changed()
	return answer{status: http.StatusNoContent, kind: "application/json"}
}

// latency of a span; 0 where its clock went backwards.
func (s *span) latency() time.Duration { return max(0, s.end.Sub(s.start)) }
