package phoenix

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// undocumented are the requests that Phoenix's OpenAPI leaves out. Each has
// tests of its own: TestHints…, TestWithdraw…, TestSpoken….
var undocumented = []string{"POST /graphql", "GET /arize_phoenix_version", "POST /v1/spans"}

// newer are the parameters that older servers do not know, and ignore.
var newer = map[string]string{"order": "20.16", "sort": "20.16", "span_id": "19.6", "name_contains": "17.16"}

// contract checks each request of a client against the server's own OpenAPI.
type contract struct {
	t      *testing.T
	px     *rig.PhoenixServer
	next   http.RoundTripper
	router routers.Router
	mu     sync.Mutex
	seen   map[string]int // "GET /v1/projects" → how often
}

var openAPI = struct {
	sync.Mutex
	routers map[string]routers.Router // by server
}{routers: map[string]routers.Router{}}

func routerOf(t *testing.T, px *rig.PhoenixServer) routers.Router {
	openAPI.Lock()
	defer openAPI.Unlock()
	if r := openAPI.routers[px.URL]; r != nil {
		return r
	}
	resp, err := http.Get(px.URL + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(b)
	if err != nil {
		t.Fatalf("openapi.json: %v", err)
	}
	// Its two templates of one path would conflict: the document is not validated.
	doc.Servers = nil
	r, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatalf("openapi.json: %v", err)
	}
	openAPI.routers[px.URL] = r
	return r
}

func (c *contract) RoundTrip(r *http.Request) (*http.Response, error) {
	what := r.Method + " " + r.URL.Path
	c.mu.Lock()
	c.seen[what]++
	c.mu.Unlock()
	head := len(r.Method) + len(r.URL.RequestURI())
	for k, v := range r.Header {
		head += len(k) + len(strings.Join(v, "")) + 4
	}
	if head >= 16<<10 {
		c.t.Errorf("%s: a request head of %d bytes", what, head)
	}
	if slices.Contains(undocumented, what) {
		return c.next.RoundTrip(r)
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	checked := r.Clone(r.Context())
	checked.Body = io.NopCloser(bytes.NewReader(body))
	checked.URL = &url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	route, params, err := c.router.FindRoute(checked)
	if err != nil {
		c.t.Errorf("%s is not in the server's OpenAPI: %v", what, err)
		return c.next.RoundTrip(r)
	}
	known := map[string]bool{}
	for _, p := range append(slices.Clone(route.Operation.Parameters), route.PathItem.Parameters...) {
		known[p.Value.Name] = true
	}
	for name := range r.URL.Query() {
		if since := newer[name]; !known[name] && (since == "" || c.px.AtLeast(since)) {
			c.t.Errorf("%s: the server's OpenAPI has no parameter %q", what, name)
		}
	}
	err = openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request: checked, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	})
	if err != nil {
		c.t.Errorf("%s against the server's OpenAPI: %v", what, err)
	}
	return c.next.RoundTrip(r)
}

// connect makes a client of the server whose requests are checked.
func connect(t *testing.T, px *rig.PhoenixServer, o Options) (*Client, *contract) {
	t.Helper()
	o.Endpoint = px.URL
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	check := &contract{t: t, px: px, next: c.http.Transport, router: routerOf(t, px), seen: map[string]int{}}
	c.http.Transport = check
	return c, check
}

// each runs a case on the shared real server and on a stand-in of its own: what
// holds on one holds on the other. Cases for the real one alone are in
// real_test.go, each with the reason.
func each(t *testing.T, f func(*testing.T, *rig.PhoenixServer)) {
	t.Helper()
	t.Run("real", func(t *testing.T) { f(t, rig.SharedPhoenix(t)) })
	t.Run("stand-in", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		s := phoenixd.New(phoenixd.Options{})
		t.Cleanup(s.Close)
		go func() { _ = s.Serve(l) }()
		f(t, rig.PhoenixAt(t, "http://"+l.Addr().String()))
	})
}

// prepare makes a client that knows the server's version, and a project with
// these spans.
func prepare(t *testing.T, px *rig.PhoenixServer, spans ...map[string]any) (*Client, Project) {
	t.Helper()
	c, _ := connect(t, px, Options{Version: "test"})
	_, err := c.Server(t.Context())
	must(t, err)
	name := "contract " + rig.SpanID()
	if len(spans) == 0 {
		return c, Project{Name: name}
	}
	px.Ingest(t, name, spans...)
	p, err := c.Project(t.Context(), name)
	must(t, err)
	return c, p
}

func spansOf(n int, change func(i int, s map[string]any)) []map[string]any {
	spans := make([]map[string]any, n)
	for i := range spans {
		spans[i] = rig.NewSpan(fmt.Sprintf("span %d", i), "question", "answer")
		if change != nil {
			change(i, spans[i])
		}
	}
	return spans
}

func traceID(s map[string]any) string { return s["context"].(map[string]any)["trace_id"].(string) }

func collect(t *testing.T, seq func(func(Row, error) bool)) []Row {
	t.Helper()
	var rows []Row
	for r, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	return rows
}

func rowIDs(rows []Row) (ids []string) {
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids
}

func reversed(ids []string) []string {
	ids = slices.Clone(ids)
	slices.Reverse(ids)
	return ids
}

func TestServer_SaysWhoIsThere(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := connect(t, px, Options{})
		if c.Ascends() {
			t.Error("a server that nobody has spoken to is known to ascend")
		}
		s, err := c.Server(t.Context())
		if err != nil || s.Version != px.Version || s.Auth != "ANONYMOUS" {
			t.Errorf("Server = %+v, %v", s, err)
		}
		if c.Ascends() != px.AtLeast("20.16") {
			t.Errorf("Ascends = %v on %s", c.Ascends(), px.Version)
		}
		if v := c.plainVersion(t.Context()); v.text != px.Version {
			t.Errorf("the version without a header is %q", v.text)
		}
	})
}

func TestProject_IsFoundByItsExactName(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := connect(t, px, Options{})
		base := "exact " + rig.SpanID()
		for _, name := range []string{base, base + " longer", base + "_%ü"} {
			px.Ingest(t, name, rig.NewSpan("s", "in", "out"))
		}
		seen := map[string]bool{}
		for _, name := range []string{base, base + " longer", base + "_%ü"} {
			p, err := c.Project(t.Context(), name)
			if err != nil || p.Name != name || seen[p.ID] {
				t.Errorf("Project(%q) = %+v, %v", name, p, err)
			}
			seen[p.ID] = true
		}
		for _, name := range []string{strings.ToUpper(base), base + "/no", base[:len(base)-1]} {
			if _, err := c.Project(t.Context(), name); review.KindOf(err) != review.Gone {
				t.Errorf("Project(%q): %v; want Gone", name, err)
			}
		}
	})
}

func TestAnnotationConfig_IsFoundByItsName(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := prepare(t, px)
		name := "quality " + rig.SpanID()
		px.Call(t, "POST", "/v1/annotation_configs", map[string]any{
			"name": name, "type": "CATEGORICAL", "optimization_direction": "MINIMIZE", "description": "How bad?",
			"values": []any{map[string]any{"label": "fine", "score": 0}, map[string]any{"label": "bad", "score": 1.5}, map[string]any{"label": "?", "score": nil}},
		})
		px.Call(t, "POST", "/v1/annotation_configs", map[string]any{
			"name": name + "2", "type": "CONTINUOUS", "optimization_direction": "MAXIMIZE", "lower_bound": 0, "upper_bound": nil,
		})
		px.Call(t, "POST", "/v1/annotation_configs", map[string]any{"name": name + "3", "type": "FREEFORM", "description": "why"})
		a, ok, err := c.AnnotationConfig(t.Context(), name)
		if err != nil || !ok || a.Type != review.Categorical || a.Direction != review.Minimize || a.Description != "How bad?" ||
			len(a.Values) != 3 || a.Values[0].Name != "fine" || a.Values[0].Score == nil || *a.Values[0].Score != 0 || a.Values[2].Score != nil {
			t.Errorf("categorical: %+v, %v, %v", a, ok, err)
		}
		a, ok, err = c.AnnotationConfig(t.Context(), name+"2")
		if err != nil || !ok || a.Type != review.Continuous || a.Low == nil || *a.Low != 0 || a.High != nil {
			t.Errorf("continuous: %+v, %v, %v", a, ok, err)
		}
		if a, ok, err = c.AnnotationConfig(t.Context(), name+"3"); err != nil || !ok || a.Type != review.Freeform {
			t.Errorf("freeform: %+v, %v, %v", a, ok, err)
		}
		if _, ok, err = c.AnnotationConfig(t.Context(), name+"4"); ok || err != nil {
			t.Errorf("a config that nobody made: %v, %v", ok, err)
		}
	})
}

func TestNewest_PagesFromTheTopAndFromARow(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		spans := spansOf(7, nil)
		c, p := prepare(t, px, spans...)
		want := reversed(rig.SpanIDs(spans))
		rows := collect(t, c.Newest(t.Context(), Query{Project: p.ID, Page: 3}, 0))
		if !slices.Equal(rowIDs(rows), want) {
			t.Fatalf("Newest lists %v, want %v", rowIDs(rows), want)
		}
		if !slices.IsSortedFunc(rows, func(a, b Row) int { return int(b.Row - a.Row) }) {
			t.Error("rows do not descend")
		}
		below := collect(t, c.Newest(t.Context(), Query{Project: p.ID, Page: 2}, rows[3].Row))
		if !slices.Equal(rowIDs(below), want[3:]) {
			t.Errorf("from the fourth: %v", rowIDs(below))
		}
		top, err := c.NewestRow(t.Context(), p.ID, false)
		if err != nil || top != rows[0].Row {
			t.Errorf("NewestRow = %d, %v; want %d", top, err, rows[0].Row)
		}
		for range c.Newest(t.Context(), Query{Project: p.ID, Page: 1}, 0) {
			break // a caller that has enough
		}
	})
}

func TestForward_PagesUpwards_OnServersThatCan(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		spans := spansOf(7, nil)
		c, p := prepare(t, px, spans...)
		ids := rig.SpanIDs(spans)
		if !px.AtLeast("20.16") {
			for _, err := range c.Forward(t.Context(), Query{Project: p.ID, Page: 3}, 0) {
				if !errors.Is(err, ErrOrder) || review.KindOf(err) != review.Refused {
					t.Errorf("Forward on %s: %v; want ErrOrder", px.Version, err)
				}
			}
			return
		}
		rows := collect(t, c.Forward(t.Context(), Query{Project: p.ID, Page: 3}, 0))
		if !slices.Equal(rowIDs(rows), ids) {
			t.Fatalf("Forward lists %v, want %v", rowIDs(rows), ids)
		}
		above := collect(t, c.Forward(t.Context(), Query{Project: p.ID, Page: 3}, rows[4].Row))
		if !slices.Equal(rowIDs(above), ids[4:]) {
			t.Errorf("from the fifth: %v", rowIDs(above))
		}
		if none := collect(t, c.Forward(t.Context(), Query{Project: p.ID}, rows[6].Row+1)); len(none) != 0 {
			t.Errorf("above the newest: %v", rowIDs(none))
		}
		if none := collect(t, c.Forward(t.Context(), Query{Project: p.ID}, rows[6].Row+1_000_000)); len(none) != 0 {
			t.Errorf("above a recreated database: %v", rowIDs(none))
		}
	})
}

func TestEmptyProjectHasNoRows(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, p := prepare(t, px, rig.NewSpan("only", "in", "out"))
		row := collect(t, c.Newest(t.Context(), Query{Project: p.ID}, 0))[0]
		px.DeleteSpan(t, row.ID)
		if rows := collect(t, c.Newest(t.Context(), Query{Project: p.ID}, 0)); len(rows) != 0 {
			t.Errorf("rows: %v", rows)
		}
		if n, err := c.NewestRow(t.Context(), p.ID, false); n != 0 || err != nil {
			t.Errorf("NewestRow = %d, %v", n, err)
		}
		if _, err := c.Span(t.Context(), p.ID, row.TraceID, row.ID, 0); review.KindOf(err) != review.Gone {
			t.Errorf("a deleted span: %v; want Gone", err)
		}
		if tr, err := c.Trace(t.Context(), p.ID, row.TraceID, 0, 10); err != nil || len(tr.Spans) != 0 || tr.Partial {
			t.Errorf("a deleted trace: %+v, %v", tr, err)
		}
		if _, err := c.NewestRow(t.Context(), "UHJvamVjdDo5OTk5OTk=", false); review.KindOf(err) != review.Gone {
			t.Errorf("a deleted project: %v; want Gone", err)
		}
	})
}

func TestFilters_AreTheServersAndOursAlike(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		base := time.Now().UTC().Add(-time.Hour)
		spans := spansOf(6, func(i int, s map[string]any) {
			a := s["attributes"].(map[string]any)
			a["meta.n"], a["meta.s"], a["meta.b"] = i, fmt.Sprint(i), i%2 == 0
			a["meta.u"], a["meta.far"] = fmt.Sprint("größe ", i), 0.1234567890123456+float64(i)
			s["start_time"] = base.Add(time.Duration(i) * time.Minute).Format(time.RFC3339Nano)
		})
		spans[1]["span_kind"], spans[2]["span_kind"], spans[3]["status_code"] = "EVALUATOR", "chain", "ERROR"
		spans[5]["parent_id"] = rig.SpanIDs(spans)[0]
		c, p := prepare(t, px, spans...)
		ids := rig.SpanIDs(spans)
		tests := []struct {
			name string
			q    Query
			want []int
		}{
			{"roots, without evaluators", Query{}, []int{4, 3, 2, 0}},
			{"all spans", Query{Filter: review.Filter{AllSpans: true}}, []int{5, 4, 3, 2, 0}},
			{"evaluators asked for", Query{Filter: review.Filter{Kinds: []string{"EVALUATOR"}}}, []int{1}},
			{"kinds in any case", Query{Filter: review.Filter{Kinds: []string{"CHAIN"}}}, []int{2}},
			{"status", Query{Filter: review.Filter{Statuses: []string{"ERROR"}}}, []int{3}},
			{"names", Query{Filter: review.Filter{Names: []string{"span 4", "span 0"}}}, []int{4, 0}},
			{"number", Query{Filter: review.Filter{Attributes: []review.Attribute{{Path: "meta.n", Value: 3.0}}}}, []int{3}},
			{"number as text", Query{Filter: review.Filter{Attributes: []review.Attribute{{Path: "meta.s", Value: "3"}}}}, []int{3}},
			{"text beyond ASCII", Query{Filter: review.Filter{Attributes: []review.Attribute{{Path: "meta.u", Value: "größe 3"}}}}, []int{3}},
			{"number of many digits", Query{Filter: review.Filter{Attributes: []review.Attribute{{Path: "meta.far", Value: 0.1234567890123456 + 3.0}}}}, []int{3}},
			{"text where a number is", Query{Filter: review.Filter{Attributes: []review.Attribute{{Path: "meta.n", Value: "3"}}}}, nil},
			{"bool", Query{Filter: review.Filter{Attributes: []review.Attribute{{Path: "meta.b", Value: true}}}}, []int{4, 2, 0}},
			{"two at once", Query{Filter: review.Filter{Attributes: []review.Attribute{{Path: "meta.b", Value: true}, {Path: "llm.model_name", Value: "gpt-4o-mini"}, {Path: "meta.n", Value: 2.0}}}}, []int{2}},
			{"since", Query{Since: base.Add(3 * time.Minute)}, []int{4, 3}},
			{"names too long for a request head", Query{Filter: review.Filter{Names: append(manyNames(2000), "span 4")}}, []int{4}},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				tt.q.Project = p.ID
				var want, got []string
				for _, i := range tt.want {
					want = append(want, ids[i])
				}
				for _, r := range collect(t, c.Newest(t.Context(), tt.q, 0)) {
					if r.Match {
						got = append(got, r.ID)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("the server and we: %v, want %v", got, want)
				}
				// The same when the server ignores all filters.
				var all []string
				for _, r := range collect(t, c.Newest(t.Context(), Query{Project: p.ID, Filter: review.Filter{AllSpans: true}}, 0)) {
					rows, _, err := c.page(t.Context(), "spans", tt.q, url.Values{"trace_id": {r.TraceID}, "limit": {"10"}})
					if err != nil {
						t.Fatal(err)
					}
					for _, row := range rows {
						if row.Match {
							all = append(all, row.ID)
						}
					}
				}
				if !slices.Equal(all, want) {
					t.Errorf("we alone: %v, want %v", all, want)
				}
			})
		}
	})
}

func manyNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("a name among many %d", i))
	}
	return names
}

func TestTraceAndSpan_AreReadAsAWholeOrUpToALimit(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		trace := rig.TraceID()
		spans := spansOf(5, func(i int, s map[string]any) {
			s["context"].(map[string]any)["trace_id"] = trace
			s["start_time"] = time.Now().UTC().Add(time.Duration(-10*i) * time.Second).Format(time.RFC3339Nano)
		})
		ids := rig.SpanIDs(spans)
		for i := range 4 {
			spans[i]["parent_id"] = ids[4]
		}
		c, p := prepare(t, px, spans...)
		tr, err := c.Trace(t.Context(), p.ID, trace, 100, 5)
		if err != nil || len(tr.Spans) != 5 || tr.Partial || tr.Spans[0].ID != ids[4] || !tr.Spans[0].Root() {
			t.Errorf("whole: %d spans, partial %v, %v", len(tr.Spans), tr.Partial, err)
		}
		tr, err = c.Trace(t.Context(), p.ID, trace, 100, 3)
		if err != nil || len(tr.Spans) != 3 || !tr.Partial || tr.Spans[0].ID != ids[4] {
			t.Errorf("up to 3: %d spans, partial %v, %v", len(tr.Spans), tr.Partial, err)
		}
		s, err := c.Span(t.Context(), p.ID, trace, ids[2], 3)
		if err != nil || s.ID != ids[2] || s.Input.Head != "que" || s.Input.More != 5 || s.Tokens != 160 || s.Model != "gpt-4o-mini" {
			t.Errorf("Span = %+v, %v", s, err)
		}
		if _, err := c.Span(t.Context(), p.ID, trace, rig.SpanID(), 0); review.KindOf(err) != review.Gone {
			t.Errorf("an unknown span: %v; want Gone", err)
		}
	})
}
