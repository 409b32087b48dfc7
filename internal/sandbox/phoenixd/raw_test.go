package phoenixd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// exchange is one request of the suites in testdata/raw, sent to both servers.
type exchange struct {
	Method string
	Path   string
	Header map[string]string `json:",omitempty"`
	Body   json.RawMessage   `json:",omitempty"`
	Text   string            `json:",omitempty"` // a body that is not JSON, or not quite
	Await  string            `json:",omitempty"` // a span that is listed after: Phoenix takes its time
	Pause  bool              `json:",omitempty"` // Phoenix does this one later
	Second bool              `json:",omitempty"` // the next one must be of another second: versions are told apart by it
	// Loose compares status and content type alone; it says why.
	Loose string `json:",omitempty"`
}

func (e exchange) String() string {
	s := e.Method + " " + e.Path
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return s + " " + string(e.Body) + e.Text
}

// reply is what is compared of an answer.
type reply struct {
	Status  int
	Kind    string
	Allow   string
	Version string
	Body    any
}

// rawClient opens a connection for each request: one of them may end broken.
var rawClient = &http.Client{
	Timeout:       time.Minute,
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (e exchange) send(t *testing.T, base string) reply {
	t.Helper()
	body := e.Text
	if e.Body != nil {
		body = string(e.Body)
	}
	req, err := http.NewRequest(e.Method, base+e.Path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		req.Body, req.ContentLength = nil, 0
	}
	if e.Body != nil || e.Text != "" && e.Header == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range e.Header {
		req.Header.Set(k, v)
	}
	resp, err := rawClient.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", e, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", e, err)
	}
	out := reply{Status: resp.StatusCode, Kind: resp.Header.Get("Content-Type"), Allow: resp.Header.Get("Allow"), Version: resp.Header.Get("x-phoenix-server-version")}
	kind, _, _ := mime.ParseMediaType(out.Kind)
	switch {
	case e.Loose != "" || kind == "text/html":
	case kind == "application/json" && len(b) > 0, json.Valid(b) && bytes.HasPrefix(b, []byte("{")):
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber() // 1 is not 1.0
		if err := d.Decode(&out.Body); err != nil {
			t.Fatalf("%s: %v in %s", e, err, b)
		}
		out.Body = timeless(out.Body)
	default:
		out.Body = string(b)
	}
	return out
}

// generated are the names that a server makes up: of an experiment's project, and
// of an experiment of the dataset trivia.
var generated = regexp.MustCompile(`^(Experiment-[0-9a-f]{24}|trivia-[0-9a-f]{8})$`)

// timeless replaces made up names and the times at which the servers did things. Whole numbers stay
// apart from those with a point, however many noughts either has.
func timeless(v any) any {
	switch v := v.(type) {
	case json.Number:
		if f, err := v.Float64(); err == nil && strings.ContainsAny(string(v), ".eE") {
			return f
		}
	case map[string]any:
		for k, e := range v {
			if s, ok := e.(string); ok && (k == "project_name" || k == "name") && generated.MatchString(s) {
				v[k] = "generated"
				continue
			}
			if s, ok := e.(string); ok && (k == "created_at" || k == "updated_at") {
				if at, err := time.Parse(time.RFC3339Nano, s); err == nil && time.Since(at).Abs() < time.Hour && strings.HasSuffix(s, "+00:00") {
					v[k] = "now"
				}
				continue
			}
			v[k] = timeless(e)
		}
	case []any:
		for i, e := range v {
			v[i] = timeless(e)
		}
	}
	return v
}

// settle waits until Phoenix has done what it does after its answer.
func (e exchange) settle(t *testing.T, base, project string) {
	t.Helper()
	for range 600 {
		resp, err := rawClient.Get(base + "/v1/projects/" + project + "/spans?span_id=" + url.QueryEscape(e.Await))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if bytes.Contains(b, []byte(`"span_id":"`+e.Await+`"`)) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s: the span is not listed", e)
}

// TestRaw_AnswersLikeTheRealPhoenix sends the requests of testdata/raw, in order,
// to a fresh Phoenix and to a fresh stand-in, and compares the answers: ids too.
func TestRaw_AnswersLikeTheRealPhoenix(t *testing.T) {
	real := rig.SharedPhoenix(t)
	if real.Version != version {
		t.Skipf("the stand-in is Phoenix %s, and this is %s", version, real.Version)
	}
	ours := New(Options{})
	defer ours.Close()
	srv := httptest.NewServer(ours)
	defer srv.Close()
	files, err := filepath.Glob("testdata/raw/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	slices.Sort(files) // they build on each other
	n := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			for _, e := range readExchanges(t, file) {
				n++
				want, got := e.send(t, real.URL), e.send(t, srv.URL)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s\n-Phoenix +stand-in\n%s", e, diff)
				}
				if e.Await != "" {
					e.settle(t, real.URL, "raw")
					e.settle(t, srv.URL, "raw")
				}
				if e.Pause {
					time.Sleep(700 * time.Millisecond)
				}
				if e.Second {
					time.Sleep(1100 * time.Millisecond)
				}
			}
		})
	}
	t.Logf("%d requests", n)
}

func readExchanges(t *testing.T, file string) (list []exchange) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return list
}

// TestHead_IsLimited shows the one thing in which the stand-in is stricter: what
// the real server does to some long requests, at random, it does to all.
func TestHead_IsLimited(t *testing.T) {
	ours := New(Options{})
	defer ours.Close()
	srv := httptest.NewServer(ours)
	defer srv.Close()
	for n, want := range map[int]int{15_000: 200, 17_000: 400} {
		resp, err := http.Get(srv.URL + "/v1/projects?x=" + strings.Repeat("a", n))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want || want == 400 && string(b) != "Invalid HTTP request received." {
			t.Errorf("a query of %d bytes: %d %s", n, resp.StatusCode, b)
		}
	}
}

// TestCrash_CutsTheConnection compares what becomes of a connection after a 500:
// nothing is said of closing it, and it is closed.
func TestCrash_CutsTheConnection(t *testing.T) {
	_, ours := start(t, Options{})
	for name, base := range map[string]string{"Phoenix": rig.SharedPhoenix(t).URL, "the stand-in": ours} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		must(t, err)
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		fmt.Fprint(conn, "GET /v1/projects?limit=99999999999999999999999 HTTP/1.1\r\nHost: localhost\r\n\r\n")
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		must(t, err)
		b, err := io.ReadAll(resp.Body)
		must(t, err)
		if resp.StatusCode != http.StatusInternalServerError || string(b) != "Internal Server Error" || resp.Close {
			t.Errorf("%s: %s %s, close %v", name, resp.Status, b, resp.Close)
		}
		if _, err := r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open: %v", name, err)
		}
	}
}
