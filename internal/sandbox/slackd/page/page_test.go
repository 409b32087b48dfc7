package page_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/sandbox/slackd/page"
)

func get(t *testing.T, method, path string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	page.Handler().ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHandler_ServesWhatThePageNeeds(t *testing.T) {
	html := text(t, get(t, "GET", "/").Body)
	for _, path := range append([]string{"/assets/THIRD-PARTY-NOTICES.txt"}, found(`(?:src|href)="(/[^"]+)"`, html)...) {
		r := get(t, "GET", path)
		body := text(t, r.Body)
		if r.StatusCode != http.StatusOK || len(body) < 500 {
			t.Errorf("%s: %s, %d bytes", path, r.Status, len(body))
		}
		packed := get(t, "GET", path, "Accept-Encoding: gzip, br")
		z, err := gzip.NewReader(packed.Body)
		if err != nil || packed.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s is not packed: %v", path, err)
		}
		if text(t, z) != body {
			t.Errorf("%s is another one when packed", path)
		}
		if again := get(t, "GET", path, "If-None-Match: "+r.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s is sent again: %s", path, again.Status)
		}
		if r := get(t, "POST", path); r.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %s", path, r.Status)
		}
	}
	for _, path := range []string{"/assets/", "/assets/../page.go", "/src/main.tsx", "/nowhere"} {
		if r := get(t, "GET", path); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}

// Nothing is loaded from elsewhere, and nothing else may put a frame around it.
func TestHandler_StaysHere(t *testing.T) {
	r := get(t, "GET", "/")
	policy := r.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self';", "connect-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %q in %s", want, policy)
		}
	}
	if strings.Contains(policy, "http") || r.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", r.Header)
	}
	if list := found(`(?:src|href)="([^"]+)"`, text(t, r.Body)); len(list) < 3 {
		t.Errorf("only %v is loaded; does the expression still match?", list)
	} else {
		for _, at := range list {
			if !strings.HasPrefix(at, "/") && !strings.HasPrefix(at, "data:") {
				t.Errorf("%s is loaded", at)
			}
		}
	}
	css := text(t, get(t, "GET", "/assets/app.css").Body)
	if list := found(`url\((["']?[^)]{0,80})`, css); len(list) > 0 {
		for _, at := range list {
			if !strings.HasPrefix(strings.Trim(at, `"'`), "data:") {
				t.Errorf("the styles load %s", at)
			}
		}
	}
}

func found(expression, in string) (list []string) {
	for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(in, -1) {
		list = append(list, m[1])
	}
	return list
}
