package phoenixd

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/browser"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

const hostile = `"><script>document.title='owned'</script><img src=x onerror=alert(1)> ' & </pre></main>`

// mount serves the stand-in under /phoenix/, as the local workspace does.
func mount(t *testing.T, s *Server) string {
	srv := httptest.NewServer(http.StripPrefix("/phoenix", s))
	t.Cleanup(srv.Close)
	t.Cleanup(s.Close)
	return srv.URL + "/phoenix"
}

func get(t *testing.T, url string) (string, http.Header) {
	t.Helper()
	resp, err := http.Get(url)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", url, resp.Status)
	}
	return string(b), resp.Header
}

func TestPage_EscapesWhatTracesSay(t *testing.T) {
	s := New(Options{})
	base := mount(t, s)
	span := rig.NewSpan(hostile, hostile, hostile)
	span["attributes"].(map[string]any)[hostile] = hostile
	span["span_kind"], span["status_message"], span["status_code"] = hostile, hostile, "ERROR"
	span["events"] = []any{map[string]any{"name": hostile, "timestamp": span["end_time"], "attributes": map[string]any{hostile: hostile}}}
	must(t, s.Ingest(hostile, span))
	id := rig.SpanIDs([]map[string]any{span})[0]
	body := string(encode(map[string]any{"data": []any{map[string]any{"span_id": id, "name": hostile, "annotator_kind": "HUMAN",
		"identifier": hostile, "result": map[string]any{"label": hostile, "explanation": hostile}, "metadata": map[string]any{hostile: hostile}}}}))
	resp, err := http.Post(base+"/v1/span_annotations?sync=true", "application/json", strings.NewReader(body))
	must(t, err)
	resp.Body.Close()
	for _, path := range []string{"/", "/redirects/spans/" + id, "/traces/" + s.store.traces[0].id, "/" + "nope"} {
		page, head := get(t, base+path)
		if strings.Contains(page, "<script>") || strings.Contains(page, "<img src=x") {
			t.Errorf("%s: the page holds what a span said, as HTML", path)
		}
		if policy := head.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if path != "/nope" && strings.Count(page, "owned") < 5 {
			t.Errorf("%s: the texts are not shown", path)
		}
	}
}

func TestPage_ShowsAnAnnotationWithinASecond(t *testing.T) {
	s := New(Options{})
	base := mount(t, s)
	span, id := newSpan("ChatCompletion")
	must(t, s.Ingest("my-annotations-app", span))
	other, _ := newSpan(hostile)
	must(t, s.Ingest("my-annotations-app", other))
	b := browser.Start(t)
	tabs := map[string]*browser.Tab{
		"the list":        b.Open(base+"/", browser.Look{}),
		"the span's page": b.Open(base+"/redirects/spans/"+id, browser.Look{Width: 390, Height: 800, Dark: true}),
	}
	for _, tab := range tabs {
		tab.Says("main", "ChatCompletion")
		tab.Eventually("a page that listens", "source && source.readyState === EventSource.OPEN")
	}
	for _, label := range []string{"correct", "incorrect"} { // a new one, and one that changes
		begin := time.Now()
		_, err := annotate(t, http.DefaultClient, base, id, label)
		must(t, err)
		for name, tab := range tabs {
			tab.Eventually(name+" shows "+label, "document.querySelector('.annotations .label')?.textContent === '"+label+"'")
			if took := time.Since(begin); took > time.Second {
				t.Errorf("%s showed the annotation after %v", name, took)
			}
			tab.Eventually(name+" points at it", "document.querySelector('.annotations li.fresh') !== null")
		}
	}
	for name, tab := range tabs {
		tab.Eventually(name+" stops pointing at it", "document.querySelector('.fresh') === null")
		tab.Eventually(name+" fits the window", "document.documentElement.scrollWidth <= innerWidth")
	}
	tabs["the span's page"].Eventually("the span that was asked for is open", "document.querySelector('#span-"+id+" details').open")
	tabs["the list"].Eventually("the way to a trace", "new URL(document.querySelector('article:last-of-type h2 a').href).pathname.startsWith('/phoenix/traces/')")
}

func TestPage_LinksOlderTraces(t *testing.T) {
	s := New(Options{})
	base := mount(t, s)
	for range tracesOnPage + 5 {
		span, _ := newSpan("n")
		must(t, s.Ingest("p", span))
	}
	first, _ := get(t, base+"/")
	if n := strings.Count(first, "<article"); n != tracesOnPage || !strings.Contains(first, `href="./?from=5"`) {
		t.Errorf("%d traces on the first page", n)
	}
	second, _ := get(t, base+"/?from=5")
	if n := strings.Count(second, "<article"); n != 5 || strings.Contains(second, "Older traces") {
		t.Errorf("%d traces on the second", n)
	}
}

func TestPage_DrawsSpansThatAreEachOthersParents(t *testing.T) {
	s := New(Options{})
	base := mount(t, s)
	a, aID := newSpan("a")
	b, bID := newSpan("b")
	b["context"].(map[string]any)["trace_id"] = a["context"].(map[string]any)["trace_id"]
	a["parent_id"], b["parent_id"] = bID, aID
	must(t, s.Ingest("p", a, b))
	page, _ := get(t, base+"/redirects/spans/"+aID)
	for _, id := range []string{aID, bID} {
		if strings.Count(page, `id="span-`+id+`"`) != 1 {
			t.Errorf("the span %s is not there once", id)
		}
	}
}
