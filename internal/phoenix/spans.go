package phoenix

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spanbot/spanbot/internal/review"
)

// Query says which spans of which project are read, and how much of them.
type Query struct {
	Project string        // Project.ID
	Filter  review.Filter // sent to the server, and applied again here: see Row.Match
	Since   time.Time     // earliest start time; zero: any
	Text    int           // characters kept of each text, cut while reading; 0 = 4,000
	Page    int           // spans per request; 0 = 100
}

// Row is a span of the feed.
type Row struct {
	review.Span
	// Match says that the span passes Query.Filter, attributes included, and
	// Query.Since. Servers ignore the filters they do not know.
	Match bool
}

const (
	defaultText = 4000
	defaultPage = 100
)

func (q Query) text() int { return cmp.Or(max(0, q.Text), defaultText) }

// Newest lists spans in the order of their ingestion, newest first, from the
// span row from (inclusive) downwards; 0 = from the newest. Pages are asked for
// as they are needed. After an error the sequence ends.
//
// Phoenix: GET /v1/projects/{id}/spans.
func (c *Client) Newest(ctx context.Context, q Query, from int64) iter.Seq2[Row, error] {
	return c.feed(ctx, q, from, false)
}

// Forward lists spans in the order of their ingestion, oldest first, from the
// span row from (inclusive) upwards. It fails with ErrOrder on a server that
// does not know the order; see Ascends.
//
// Phoenix: GET /v1/projects/{id}/spans?order=asc, since 20.16; ignored before.
func (c *Client) Forward(ctx context.Context, q Query, from int64) iter.Seq2[Row, error] {
	return c.feed(ctx, q, from, true)
}

func (c *Client) feed(ctx context.Context, q Query, from int64, forward bool) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		v := q.values()
		limit := cmp.Or(max(0, min(q.Page, 1000)), defaultPage)
		if from > 0 {
			v.Set("cursor", cursor(from))
		}
		if forward {
			v.Set("order", "asc")
		}
		last := from - 1
		for {
			v.Set("limit", strconv.Itoa(limit))
			rows, following, err := c.page(ctx, "spans", q, v)
			if errors.Is(err, errTimeout) && limit > 1 {
				// Spans so large that a page of them takes too long: smaller pages.
				limit = max(1, limit/10)
				continue
			}
			if forward && err == nil {
				err = c.ascends(rows, &last)
			}
			if err != nil {
				yield(Row{}, err)
				return
			}
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
			if !next(v, following) {
				return
			}
		}
	}
}

// ascends fails where a page does not go on upwards from last. A server that
// ignores the order answers the newest spans again and again.
func (c *Client) ascends(rows []Row, last *int64) error {
	v, known := c.serverVersion()
	wrong := known && v.less(ascending)
	for _, r := range rows {
		wrong = wrong || r.Row <= *last
		*last = r.Row
	}
	if !wrong {
		return nil
	}
	return refused(fmt.Sprintf("Phoenix %s ignores the order of spans; they have to be read newest first", v.text), ErrOrder)
}

// values is the query as the server wants it.
func (q Query) values() url.Values {
	v := url.Values{}
	if !q.Filter.AllSpans {
		v.Set("parent_id", "null")
	}
	for _, k := range q.Filter.Kinds {
		v.Add("span_kind", k)
	}
	for _, s := range q.Filter.Statuses {
		v.Add("status_code", s)
	}
	for _, n := range q.Filter.Names {
		v.Add("name", n)
	}
	for _, a := range q.Filter.Attributes {
		// The server splits at the first colon; null and lists it refuses.
		if j, ok := attributeJSON(a.Value); ok && !strings.Contains(a.Path, ":") {
			v.Add("attribute", a.Path+":"+j)
		}
	}
	if !q.Since.IsZero() {
		v.Set("start_time", q.Since.UTC().Format("2006-01-02T15:04:05.999999Z"))
	}
	// A request head above 16 KiB fails at random. The filters that may be long
	// are then applied on our side alone.
	const most = 8 << 10
	for _, long := range []string{"name", "attribute", "span_kind", "status_code"} {
		if len(v.Encode()) > most {
			v.Del(long)
		}
	}
	return v
}

// attributeJSON is the value as the server reads it: JSON, so that "3" is a
// string and 3 a number. False for one that the server cannot find: it compares
// two texts, one written by Python and one by the database, and these differ
// beyond ASCII and in numbers of many digits. Then the filter is ours alone.
func attributeJSON(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		if strings.ContainsFunc(v, func(r rune) bool { return r > unicode.MaxASCII }) {
			return "", false
		}
	case float64:
		short := strconv.FormatFloat(v, 'e', 14, 64)
		if back, err := strconv.ParseFloat(short, 64); err != nil || back != v || v != 0 && (math.Abs(v) < 1e-4 || math.Abs(v) >= 1e15) {
			return "", false
		}
	case bool, int, int64:
	default:
		return "", false
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSpace(b.String()), err == nil
}

// match applies the whole query to a span.
func (q Query) match(w *wireSpan, s review.Span) bool {
	// Phoenix keeps microseconds.
	if !q.Filter.Match(s) || s.Start.Before(q.Since.Truncate(time.Microsecond)) {
		return false
	}
	return !slices.ContainsFunc(q.Filter.Attributes, func(a review.Attribute) bool {
		if a.Path == "openinference.span.kind" { // stands outside of the attributes
			want, ok := a.Value.(string)
			return !ok || want != w.Kind
		}
		return !sameValue(w.Attributes[a.Path], a.Value)
	})
}

// sameValue compares as the server does: numbers by value (3 is 3.0), a string
// never with a number, lists never.
func sameValue(raw json.RawMessage, want any) bool {
	if len(raw) == 0 {
		return false
	}
	switch want := want.(type) {
	case string:
		if raw[0] != '"' {
			return false
		}
		head, more := uncut(rawString(raw))
		if more > 0 { // of a text that was cut its start and its length are known
			cut, rest := cutRunes(want, len([]rune(head)))
			return cut == head && rest == more
		}
		return head == want
	case bool:
		return string(raw) == strconv.FormatBool(want)
	case float64:
		f, err := strconv.ParseFloat(string(raw), 64)
		return err == nil && f == want
	case int:
		return sameValue(raw, float64(want))
	case int64:
		return sameValue(raw, float64(want))
	}
	return false
}

// page reads one page of spans.
func (c *Client) page(ctx context.Context, call string, q Query, v url.Values) (rows []Row, following *string, err error) {
	r := request{call: call, method: http.MethodGet, path: projectPath(q.Project, "spans"), query: v}
	err = c.do(ctx, r, func(body io.Reader) error {
		rows, following = nil, nil
		return eachItem(newCutter(body, q.text()), &following, func(d *json.Decoder) error {
			var w wireSpan
			if err := d.Decode(&w); err != nil {
				return err
			}
			s := w.span(q.text())
			rows = append(rows, Row{s, q.match(&w, s)})
			return nil
		})
	})
	return rows, following, err
}

// eachItem reads {"data": […], "next_cursor": …} and calls item before each
// element, so that only one of them is held at a time.
func eachItem(r io.Reader, following **string, item func(*json.Decoder) error) error {
	d := json.NewDecoder(r)
	if err := expect(d, '{'); err != nil {
		return err
	}
	seen := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		switch key {
		case "data":
			seen = true
			if err := expect(d, '['); err != nil {
				return err
			}
			for d.More() {
				if err := item(d); err != nil {
					return err
				}
			}
			if err := expect(d, ']'); err != nil {
				return err
			}
		case "next_cursor":
			if err := d.Decode(following); err != nil {
				return err
			}
		default:
			var skip json.RawMessage
			if err := d.Decode(&skip); err != nil {
				return err
			}
		}
	}
	if !seen {
		return errors.New(`the answer has no "data"`)
	}
	return expect(d, '}')
}

func expect(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && t != want {
		err = fmt.Errorf("%v where %v should stand", t, want)
	}
	return err
}

// rowOf is the number in a span's global id, base64 of "Span:42"; 0 for
// anything else.
func rowOf(id string) int64 {
	b, err := base64.StdEncoding.DecodeString(id)
	if err != nil {
		return 0
	}
	_, number, _ := strings.Cut(string(b), ":")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// cursor makes the cursor that starts a page at that row, which need not exist.
func cursor(row int64) string {
	return base64.StdEncoding.EncodeToString([]byte("Span:" + strconv.FormatInt(row, 10)))
}

// NewestRow is the row id of the span that was ingested last, of any kind, or
// of the root that was when rootsOnly; 0 where there is none. On SQLite a
// deleted newest span gives its row id to the next one. Asking for roots costs
// the same in any project; asking for all, the server sorts the project's
// traces first (7 ms at 1,000 spans, 70 ms at 100,000).
func (c *Client) NewestRow(ctx context.Context, project string, rootsOnly bool) (int64, error) {
	q := Query{Project: project, Filter: review.Filter{AllSpans: !rootsOnly}, Text: smallText, Page: 1}
	for r, err := range c.feed(ctx, q, 0, false) {
		return r.Row, err
	}
	return 0, nil
}

// Trace reads a trace, at most most spans of it, and the newest of them when
// there are more (Partial): a root is ingested after its children. Spans are in
// the order of their start. A trace that Phoenix does not have is empty. text is
// the characters kept of each text.
func (c *Client) Trace(ctx context.Context, project, traceID string, text, most int) (review.Trace, error) {
	t := review.Trace{ID: traceID}
	if most <= 0 {
		most = 1000
	}
	for s, err := range c.traceSpans(ctx, project, traceID, text, min(most+1, defaultPage)) {
		if err != nil {
			return t, err
		}
		if len(t.Spans) == most {
			t.Partial = true
			break
		}
		t.Spans = append(t.Spans, s)
	}
	slices.SortFunc(t.Spans, func(a, b review.Span) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Row, b.Row))
	})
	return t, nil
}

func (c *Client) traceSpans(ctx context.Context, project, traceID string, text, limit int) iter.Seq2[review.Span, error] {
	q := Query{Project: project, Filter: review.Filter{AllSpans: true}, Text: text}
	v := url.Values{"trace_id": {traceID}}
	return func(yield func(review.Span, error) bool) {
		if traceID == "" {
			return
		}
		for {
			v.Set("limit", strconv.Itoa(limit))
			rows, following, err := c.page(ctx, "trace", q, v)
			if errors.Is(err, errTimeout) && limit > 1 {
				limit = max(1, limit/10)
				continue
			}
			if err != nil {
				yield(review.Span{}, err)
				return
			}
			for _, r := range rows {
				if r.TraceID == traceID && !yield(r.Span, nil) {
					return
				}
			}
			if !next(v, following) {
				return
			}
		}
	}
}

// Span reads one span, text characters of each text. It fails with Gone when
// Phoenix does not have it (any more). The trace id is only needed by servers
// before 19.6, which cannot look up a span by its id.
func (c *Client) Span(ctx context.Context, project, traceID, spanID string, text int) (review.Span, error) {
	missing := gone("the span does not exist in Phoenix (any more)", nil)
	if spanID == "" {
		return review.Span{}, missing
	}
	if v, known := c.serverVersion(); known && !v.less(knowsSpanID) {
		q := Query{Project: project, Filter: review.Filter{AllSpans: true}, Text: text}
		rows, _, err := c.page(ctx, "span", q, url.Values{"span_id": {spanID}, "limit": {"1"}})
		if err != nil {
			return review.Span{}, err
		}
		for _, r := range rows {
			if r.ID == spanID {
				return r.Span, nil
			}
		}
		if len(rows) == 0 {
			return review.Span{}, missing
		}
		// The filter was ignored: the answer came from an older server.
	}
	for s, err := range c.traceSpans(ctx, project, traceID, text, defaultPage) {
		if err != nil {
			return review.Span{}, err
		}
		if s.ID == spanID {
			return s, nil
		}
	}
	return review.Span{}, missing
}
