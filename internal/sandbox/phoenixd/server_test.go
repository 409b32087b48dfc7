package phoenixd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// start serves a stand-in on a free port of this machine.
func start(t *testing.T, o Options) (s *Server, base string) {
	t.Helper()
	s = New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, "http://" + l.Addr().String()
}

func newSpan(name string) (span map[string]any, id string) {
	span = rig.NewSpan(name, "question", "answer")
	return span, rig.SpanIDs([]map[string]any{span})[0]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func annotate(t *testing.T, c *http.Client, base, spanID, label string) (int, error) {
	t.Helper()
	body := fmt.Sprintf(`{"data":[{"span_id":%q,"name":"q","annotator_kind":"HUMAN","identifier":"me","result":{"label":%q}}]}`, spanID, label)
	resp, err := c.Post(base+"/v1/span_annotations?sync=true", "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func TestFeed_StartsWithThePastAndGoesRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var when []string
		source := func(name string) Source {
			return func(then time.Time) []map[string]any {
				when = append(when, fmt.Sprint(name, " ", then.Sub(begin)))
				span, _ := newSpan(name)
				return []map[string]any{span}
			}
		}
		s := New(Options{Feed: []Source{source("a"), source("b"), source("c")}, Start: 4, Every: 20 * time.Second})
		time.Sleep(45 * time.Second)
		synctest.Wait()
		s.Close()
		time.Sleep(time.Minute)
		want := []string{"a -1m0s", "b -40s", "c -20s", "a 0s", "b 20s", "c 40s"}
		if diff := cmp.Diff(want, when); diff != "" {
			t.Error(diff)
		}
		if s.Project() != "my-annotations-app" || len(s.store.traces) != 6 {
			t.Errorf("%d traces in %q", len(s.store.traces), s.Project())
		}
	})
}

func TestFeed_LeavesOutATraceThatPhoenixWouldRefuse(t *testing.T) {
	good, id := newSpan("good")
	bad := func(time.Time) []map[string]any { return []map[string]any{{"name": "bad"}} }
	s := New(Options{Feed: []Source{bad, func(time.Time) []map[string]any { return []map[string]any{good} }}, Start: 2})
	defer s.Close()
	if len(s.store.spans) != 1 || s.store.spanByID[id] == nil {
		t.Errorf("%d spans", len(s.store.spans))
	}
	if err := s.Ingest("p", map[string]any{"name": "bad"}); err == nil || !strings.Contains(err.Error(), "context") {
		t.Errorf("Ingest of a bad span: %v", err)
	}
	if err := s.Ingest("p", good); err == nil || !strings.Contains(err.Error(), id) {
		t.Errorf("Ingest of one that is there: %v", err)
	}
}

// TestBubble_WholeServerLivesInVirtualTime uses no port and no real time.
func TestBubble_WholeServerLivesInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		span, id := newSpan("s")
		s := New(Options{Seed: 7})
		must(t, s.Ingest("p", span))
		l := newPipes()
		go func() { _ = s.Serve(l) }()
		c := &http.Client{Transport: &http.Transport{DialContext: l.dial}}
		undo := s.Fail(Fault{Route: "POST /v1/span_annotations", Slow: time.Hour})
		begin := time.Now()
		if status, err := annotate(t, c, "http://phoenix.test", id, "x"); status != 200 || err != nil || time.Since(begin) < time.Hour {
			t.Errorf("%d, %v after %v", status, err, time.Since(begin))
		}
		undo()
		got := s.Annotations(id)
		if len(got) != 1 || got[0]["identifier"] != "me" || got[0]["created_at"] != stamp(begin.Add(time.Hour)) {
			t.Errorf("%v", got)
		}
		c.CloseIdleConnections()
		s.Close()
	})
}

// pipes is a listener without a network.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func TestFault_FailsTheCallItNames(t *testing.T) {
	const post = "POST /v1/span_annotations"
	tests := []struct {
		name   string
		fault  Fault
		status int // 0: no answer
		stored bool
		head   string
	}{
		{"busy", Fault{Route: post, Status: 429, RetryAfter: 1500 * time.Millisecond}, 429, false, "2"},
		{"crash", Fault{Route: post, Status: 500}, 500, false, ""},
		{"at capacity", Fault{Route: post, Status: 503}, 503, false, ""},
		{"storage full", Fault{Route: post, Status: 507}, 507, false, ""},
		{"a web page", Fault{Route: post, HTML: true}, 200, false, ""},
		{"dropped", Fault{Route: post, Drop: true}, 0, false, ""},
		{"answer lost", Fault{Route: post, Lost: true}, 0, true, ""},
		{"hangs after it was done", Fault{Route: post, Hang: true}, 0, true, ""},
		{"any route", Fault{Drop: true}, 0, false, ""},
		{"another route", Fault{Route: "GET /v1/projects", Drop: true}, 200, true, ""},
		{"a later call", Fault{Route: post, From: 2, Drop: true}, 200, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, base := start(t, Options{})
			span, id := newSpan("s")
			must(t, s.Ingest("p", span))
			s.Fail(tt.fault)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			body := fmt.Sprintf(`{"data":[{"span_id":%q,"name":"q","annotator_kind":"HUMAN"}]}`, id)
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/span_annotations?sync=true", strings.NewReader(body))
			must(t, err)
			req.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(req)
			status := 0
			if err == nil {
				resp.Body.Close()
				status = resp.StatusCode
				if got := resp.Header.Get("Retry-After"); got != tt.head {
					t.Errorf("Retry-After %q, want %q", got, tt.head)
				}
				if html := strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html"); html != tt.fault.HTML {
					t.Errorf("Content-Type %q", resp.Header.Get("Content-Type"))
				}
			}
			if status != tt.status {
				t.Errorf("status %d, %v; want %d", status, err, tt.status)
			}
			if stored := len(s.Annotations(id)) == 1; stored != tt.stored {
				t.Errorf("stored: %v, want %v", stored, tt.stored)
			}
			if n := s.Calls(post); n != 1 {
				t.Errorf("%d calls were counted", n)
			}
		})
	}
}

func TestFault_LastsAsLongAsItSays(t *testing.T) {
	s, base := start(t, Options{})
	span, id := newSpan("s")
	must(t, s.Ingest("p", span))
	undo := s.Fail(Fault{Route: "POST /v1/span_annotations", From: 2, Calls: 2, Status: 503})
	var got []int
	for range 5 {
		status, err := annotate(t, http.DefaultClient, base, id, "x")
		must(t, err)
		got = append(got, status)
	}
	if !slices.Equal(got, []int{200, 503, 503, 200, 200}) {
		t.Errorf("%v", got)
	}
	undo()
	s.Fail(Fault{Status: 429})()
	if status, err := annotate(t, http.DefaultClient, base, id, "x"); status != 200 || err != nil {
		t.Errorf("after undo: %d, %v", status, err)
	}
}

func TestStore_ForgetsTheOldestTraces(t *testing.T) {
	s, base := start(t, Options{Keep: 3})
	var ids []string
	for i := range 5 {
		span, id := newSpan(fmt.Sprint(i))
		must(t, s.Ingest("p", span))
		if _, err := annotate(t, http.DefaultClient, base, id, "x"); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if len(s.store.traces) != 3 || len(s.store.spans) != 3 || len(s.store.spanByID) != 3 || len(s.store.traceByID) != 3 || len(s.store.annotations["SpanAnnotation"]) != 3 {
		t.Errorf("kept: %d traces, %d spans, %d annotations", len(s.store.traces), len(s.store.spans), len(s.store.annotations["SpanAnnotation"]))
	}
	if s.Annotations(ids[1]) != nil || len(s.Annotations(ids[2])) != 1 || s.DeleteSpan(ids[0]) || !s.DeleteSpan(ids[4]) {
		t.Error("not the oldest are gone")
	}
	if s.store.spans[len(s.store.spans)-1].row != 4 {
		t.Error("the rows of the others changed")
	}
	many := make([]map[string]any, 40)
	for i := range many {
		many[i], _ = newSpan("many")
		many[i]["context"].(map[string]any)["trace_id"] = "one trace"
	}
	must(t, s.Ingest("p", many...))
	if len(s.store.traces) != 1 || len(s.store.spans) != len(many) {
		t.Errorf("after a large trace: %d traces, %d spans", len(s.store.traces), len(s.store.spans))
	}
}

func TestAsync_AnnotationWaitsTenMinutesForItsSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		defer s.Close()
		soon, soonID := newSpan("soon")
		late, lateID := newSpan("late")
		for _, id := range []string{soonID, lateID} {
			r := httptest.NewRequest(http.MethodPost, "/v1/span_annotations", strings.NewReader(fmt.Sprintf(`{"data":[{"span_id":%q,"name":"q","annotator_kind":"CODE"}]}`, id)))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != 200 || w.Body.String() != `{"data":[]}` {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		time.Sleep(9 * time.Minute)
		must(t, s.Ingest("p", soon))
		time.Sleep(2 * time.Minute)
		must(t, s.Ingest("p", late))
		if len(s.Annotations(soonID)) != 1 || len(s.Annotations(lateID)) != 0 {
			t.Errorf("%v, %v", s.Annotations(soonID), s.Annotations(lateID))
		}
	})
}

func TestStrangers_AreRefused(t *testing.T) {
	_, base := start(t, Options{})
	for _, tt := range []struct {
		host, origin string
		want         int
	}{
		{"", "", 200}, {"localhost:1", "", 200}, {"[::1]:8080", "", 200}, {"127.8.9.10", "", 200},
		{"evil.example", "", 403}, {"localhost.evil.example", "", 403}, {"192.168.1.1", "", 403},
		{"localhost:1", "http://localhost:1", 200}, {"localhost:1", "http://localhost:2", 403}, {"", "null", 403}, {"", "http://evil.example", 403},
	} {
		req, err := http.NewRequest(http.MethodGet, base+"/v1/projects", nil)
		must(t, err)
		req.Host = tt.host
		if tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("host %q, origin %q: %d, want %d", tt.host, tt.origin, resp.StatusCode, tt.want)
		}
	}
}

func TestServe_RefusesWhatOthersCanReach(t *testing.T) {
	s := New(Options{})
	defer s.Close()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	must(t, err)
	defer l.Close()
	if err := s.Serve(l); err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("Serve: %v", err)
	}
}

func TestInstance_IsNewEachTime_UnlessSeeded(t *testing.T) {
	id := func(seed uint64) string {
		s := New(Options{Seed: seed})
		defer s.Close()
		return s.Instance()
	}
	first, second, seeded, again := id(0), id(0), id(3), id(3)
	if first == second || seeded != again || id(1) == id(2) || len(first) != 16 {
		t.Errorf("%s %s %s %s", first, second, seeded, again)
	}
}

func TestBody_TooLargeIsRefused(t *testing.T) {
	_, base := start(t, Options{})
	resp, err := http.Post(base+"/v1/projects", "application/json", io.LimitReader(endlessText{}, maxBody+10))
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "reset") || strings.Contains(err.Error(), "broken pipe") {
			return // refused while it was still sent
		}
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%s", resp.Status)
	}
}

type endlessText struct{}

func (endlessText) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte{' '}, len(p))), nil
}

// A page that begins at a cursor is found, not walked to, and what is named by
// id is looked up: both must list what a walk through everything lists.
func TestFill_PagesAndLookUpsListWhatAWalkLists(t *testing.T) {
	s, base := start(t, Options{Keep: 1000})
	s.Fill("other", 5, time.Hour, map[string]any{"input.value": "x"})
	s.Fill("big", 230, time.Hour, map[string]any{"input.value": "What?", "llm.model_name": "m"})
	type row struct {
		ID      string            `json:"id"`
		Context map[string]string `json:"context"`
		Start   time.Time         `json:"start_time"`
		Values  map[string]any    `json:"attributes"`
	}
	list := func(query string) (rows []row, next string) {
		t.Helper()
		resp, err := http.Get(base + "/v1/projects/big/spans?" + query)
		must(t, err)
		defer resp.Body.Close()
		var page struct {
			Data []row   `json:"data"`
			Next *string `json:"next_cursor"`
		}
		must(t, json.NewDecoder(resp.Body).Decode(&page))
		if page.Next != nil {
			next = *page.Next
		}
		return page.Data, next
	}
	whole, _ := list("limit=1000&order=asc")
	if len(whole) != 230 {
		t.Fatalf("%d spans are listed, want 230", len(whole))
	}
	if got := whole[0].Values["input.value"]; got != "What?" {
		t.Errorf("input.value = %v, want What?", got)
	}
	if first, last := whole[0].Start, whole[229].Start; last.Sub(first) < 59*time.Minute || time.Since(last) > time.Minute {
		t.Errorf("spans begin between %v and %v, want the last hour", first, last)
	}
	for _, order := range []string{"asc", "desc"} {
		var paged []row
		for cursor, more := "", true; more; more = cursor != "" {
			var page []row
			page, cursor = list("limit=50&order=" + order + "&cursor=" + cursor)
			paged = append(paged, page...)
		}
		if order == "desc" {
			slices.Reverse(paged)
		}
		if diff := cmp.Diff(whole, paged); diff != "" {
			t.Errorf("in pages, %s (-whole +paged):\n%s", order, diff)
		}
	}
	one := whole[77]
	for _, query := range []string{
		"trace_id=" + one.Context["trace_id"], "span_id=" + one.Context["span_id"],
		"trace_id=" + one.Context["trace_id"] + "&span_id=" + one.Context["span_id"] + "&span_id=" + whole[3].Context["span_id"],
	} {
		if got, _ := list(query); len(got) != 1 || got[0].ID != one.ID {
			t.Errorf("%s lists %d spans, want the one", query, len(got))
		}
	}
}
