package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

const document = `<!doctype html><meta charset=utf-8><meta name=viewport content="width=device-width"><link rel=icon href="data:,"><title>t</title>
<input id=i value=old><button id=b onclick="out.innerText=i.value">go</button><p id=out></p>%s`

// What a tab is for: it types, clicks and reads, and it does not keep quiet
// about an error in the console or a request to elsewhere.
func TestTab(t *testing.T) {
	more := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, document, more) }))
	defer srv.Close()
	b := Start(t)

	tab := b.Open(srv.URL, Look{})
	tab.Type("#i", "new")
	tab.Click("#b")
	tab.Says("#out", "new")
	if got := tab.Text("#out"); got != "new" {
		t.Errorf("text %q", got)
	}
	if got := Eval[int](tab, "innerWidth"); got != 1280 {
		t.Errorf("width %d", got)
	}
	if !strings.HasPrefix(string(tab.Picture()), "\x89PNG") {
		t.Error("no picture")
	}
	tab.Close()

	for bad, want := range map[string]string{
		`<script>console.error("oh", "no")</script>`:        "oh no",
		`<script>throw new Error("thrown")</script>`:        "thrown",
		`<img src="http://192.0.2.1/x.png">`:                "192.0.2.1",
		`<script>fetch("http://example.invalid/")</script>`: "example.invalid",
	} {
		more = bad
		var said string
		if err := rig.Program(func(tb rig.TB) {
			tab := (&Browser{tb, b.ctx}).Open(srv.URL, Look{Dark: true, Width: 390, Height: 800, Touch: true})
			tab.Wait("#b")
			if Eval[int](tab, "innerWidth") != 390 || !Eval[bool](tab, `matchMedia("(prefers-color-scheme: dark)").matches`) {
				tb.Errorf("not a phone by night")
			}
			tab.Close()
		}); err != nil {
			said = err.Error()
		}
		if !strings.Contains(said, want) {
			t.Errorf("%s: said %q, want %q in it", bad, said, want)
		}
	}
}
