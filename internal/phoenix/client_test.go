package phoenix

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/certs"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

const secretKey = "px-secret-key-0123456789"

// serve starts a small server in place of Phoenix and a client of it.
func serve(t *testing.T, f http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	c, err := New(Options{Endpoint: srv.URL, APIKey: secretKey, Headers: map[string]string{"X-Space": "hidden-space-id"}, Version: "1.2"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func jsonTo(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, body)
}

var someone = Annotation{Judgement: review.Judgement{
	Ref: review.Ref{SpanID: "00f067aa0ba902b7", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"}, Name: "correctness", Reviewer: ana,
	Answer: review.Answer{Label: "correct"},
}}

func TestStatus_SaysWhatCanBeDone(t *testing.T) {
	tests := []struct {
		status int
		body   string
		read   review.Kind
		write  review.Kind
	}{
		{401, "Invalid token", review.Denied, review.Denied},
		{403, "", review.Denied, review.Denied},
		{404, "Project with ID x not found", review.Gone, review.Down}, // a write has no project: not Phoenix's words
		{408, "", review.Busy, review.Busy},
		{425, "", review.Busy, review.Busy},
		{429, "Too many requests.", review.Busy, review.Busy},
		{400, "Bad", review.Refused, review.Refused},
		{400, "Invalid HTTP request received.", review.Down, review.Down},
		{409, "", review.Refused, review.Refused},
		{413, "", review.Refused, review.Refused},
		{422, `{"detail":[]}`, review.Refused, review.Refused},
		{500, "Internal Server Error", review.Down, review.Down},
		{502, "<html>", review.Down, review.Down},
		{503, "", review.Down, review.Down},
		{507, "Database operations are disabled", review.Busy, review.Busy},
		{302, "", review.Down, review.Down},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.status, " ", tt.body), func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", "7")
				if tt.status == 302 {
					w.Header().Set("Location", "/elsewhere")
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body, " ", r.Header.Get("Authorization"), " ", r.Header.Get("X-Space"))
			})
			_, read := c.NewestRow(t.Context(), "p", false)
			write := c.Annotate(t.Context(), []Annotation{someone})
			for name, got := range map[string]error{"read": read, "write": write} {
				want := tt.read
				if name == "write" {
					want = tt.write
				}
				var se *StatusError
				if review.KindOf(got) != want || !errors.As(got, &se) || se.Status != tt.status || se.RetryAfter != 7*time.Second {
					t.Errorf("%s: %s, %v; want %s", name, review.KindOf(got), got, want)
				}
				if review.TextOf(got) == "" {
					t.Errorf("%s: no words for people in %v", name, got)
				}
				if s := got.Error(); strings.Contains(s, secretKey) || strings.Contains(s, "hidden-space-id") {
					t.Errorf("%s: the error tells a secret: %s", name, s)
				}
				if want == review.Busy && review.WaitOf(got) < 7*time.Second {
					t.Errorf("%s: wait %v", name, review.WaitOf(got))
				}
			}
		})
	}
}

func TestHTMLInsteadOfJSON_IsAnErrorThatNamesTheCause(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("x-phoenix-server-version", "20.26.1")
		fmt.Fprint(w, "<html>")
	})
	_, _, config := c.AnnotationConfig(t.Context(), "x")
	_, user := c.Server(t.Context())
	for name, err := range map[string]error{"config": config, "user": user, "annotate": c.Annotate(t.Context(), []Annotation{someone})} {
		if review.KindOf(err) != review.Down || !strings.Contains(review.TextOf(err), "wrong base path") || !strings.Contains(review.TextOf(err), "too old") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServerBelowTheFloor_IsRefusedWhateverItAnswers(t *testing.T) {
	for _, v := range []string{"15.3.9", "4.0.0rc1", "14.99.0.dev2"} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("x-phoenix-server-version", v)
			fmt.Fprint(w, "<html>")
		})
		if _, err := c.Server(t.Context()); review.KindOf(err) != review.Refused || !strings.Contains(err.Error(), v) {
			t.Errorf("%s: %v; want Refused", v, err)
		}
	}
	version := "20.16.0rc1"
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-phoenix-server-version", version)
		jsonTo(w, `{"data":{"auth_method":"LOCAL","username":"mia","role":"MEMBER"}}`)
	})
	if s, err := c.Server(t.Context()); err != nil || s != (Server{version, "LOCAL", "mia", "MEMBER"}) || !c.Ascends() {
		t.Errorf("%+v, %v, ascends %v", s, err, c.Ascends())
	}
	version = "20.15.3" // the server was put back
	if _, err := c.Server(t.Context()); err != nil || c.Ascends() {
		t.Errorf("%v, ascends %v", err, c.Ascends())
	}
}

func TestForward_NoticesAServerThatIgnoresTheOrder(t *testing.T) {
	row := func(n int64) string {
		return fmt.Sprintf(`{"id":%q,"context":{"span_id":"%016x","trace_id":"t"},"attributes":{}}`, cursor(n), n)
	}
	for name, body := range map[string]string{
		"a page that descends":          row(12) + "," + row(11),
		"a page below where we started": row(9),
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			jsonTo(w, `{"data":[`+body+`],"next_cursor":null}`)
		})
		for _, err := range c.Forward(t.Context(), Query{Project: "p"}, 10) {
			if !errors.Is(err, ErrOrder) {
				t.Errorf("%s: %v; want ErrOrder", name, err)
			}
		}
	}
}

func TestSpan_OfAnOldServerIsFoundThroughItsTrace(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		// A server behind the same address that is older than the header said.
		w.Header().Set("x-phoenix-server-version", "19.6.0")
		jsonTo(w, `{"data":[{"id":"U3Bhbjoz","context":{"span_id":"aa","trace_id":"tt"}},{"id":"U3Bhbjoy","context":{"span_id":"bb","trace_id":"tt"}}]}`)
	})
	for range 2 {
		if s, err := c.Span(t.Context(), "p", "tt", "bb", 0); err != nil || s.Row != 2 {
			t.Errorf("%+v, %v", s, err)
		}
	}
	if want := "limit=100&trace_id=tt, limit=1&span_id=bb"; !strings.HasPrefix(strings.Join(asked, ", "), want) {
		t.Errorf("asked %q", asked)
	}
}

func TestServerErrorOnAReusedConnection_IsRetriedOnce(t *testing.T) {
	var posts, conns atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if posts.Add(1) == 2 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		jsonTo(w, `{"data":[{"id":"x"}]}`)
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	c, err := New(Options{Endpoint: srv.URL})
	must(t, err)
	must(t, c.Annotate(t.Context(), []Annotation{someone}))
	must(t, c.Annotate(t.Context(), []Annotation{someone}))
	if posts.Load() != 3 || conns.Load() != 2 {
		t.Errorf("%d requests on %d connections, want 3 on 2", posts.Load(), conns.Load())
	}
}

// resetter answers the first n requests of each connection and then cuts it
// when the next comes, as Phoenix does after a 500.
func resetter(t *testing.T, n int) (endpoint string, requests *atomic.Int32) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	requests = &atomic.Int32{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 64<<10)
				for i := 0; ; i++ {
					if _, err := conn.Read(buf); err != nil {
						return
					}
					requests.Add(1)
					if i == n {
						_ = conn.(*net.TCPConn).SetLinger(0)
						return
					}
					body := `{"data":[{"id":"x"}]}`
					fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), requests
}

func TestResetConnection_IsTriedOnceMoreWhenItHadBeenUsed(t *testing.T) {
	endpoint, requests := resetter(t, 1)
	c, err := New(Options{Endpoint: endpoint})
	must(t, err)
	must(t, c.Annotate(t.Context(), []Annotation{someone}))
	must(t, c.Annotate(t.Context(), []Annotation{someone})) // cut, then on a fresh connection
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	endpoint, requests = resetter(t, 0)
	c, err = New(Options{Endpoint: endpoint})
	must(t, err)
	if err := c.Annotate(t.Context(), []Annotation{someone}); review.KindOf(err) != review.Unsure || requests.Load() != 1 {
		t.Errorf("a fresh connection that breaks: %v after %d requests; want Unsure after 1", err, requests.Load())
	}
	if _, err := c.NewestRow(t.Context(), "p", false); review.KindOf(err) != review.Down || requests.Load() < 4 {
		t.Errorf("a read: %v after %d requests; want Down after 3 more", err, requests.Load())
	}
}

func TestNoAnswer_IsUnsureForAWriteAndDownForARead(t *testing.T) {
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	c.patience = 30 * time.Millisecond
	if err := c.Annotate(t.Context(), []Annotation{someone}); review.KindOf(err) != review.Unsure {
		t.Errorf("write: %v; want Unsure", err)
	}
	if _, err := c.Project(t.Context(), "p"); review.KindOf(err) != review.Down {
		t.Errorf("read: %v; want Down", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	c.patience = time.Minute
	if _, err := c.Project(ctx, "p"); review.KindOf(err) != review.Down || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller's deadline: %v", err)
	}
	for _, endpoint := range []string{"http://127.0.0.1:1", "http://no-such-host.invalid:6006"} {
		c, err := New(Options{Endpoint: endpoint})
		must(t, err)
		if err := c.Annotate(t.Context(), []Annotation{someone}); review.KindOf(err) != review.Down {
			t.Errorf("%s: %v; want Down: nothing was sent", endpoint, err)
		}
	}
}

func TestHalfAnAnswer_IsNoAnswer(t *testing.T) {
	for name, body := range map[string]string{
		"cut in a span": `{"data":[{"id":"U3Bhbjox","context":{"span_id":"a`, "cut between": `{"data":[]`, "no data": `{"detail":"x"}`, "a list": `[]`, "empty": ``,
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) { jsonTo(w, body) })
		if _, err := c.NewestRow(t.Context(), "p", false); review.KindOf(err) != review.Down {
			t.Errorf("%s: %v; want Down", name, err)
		}
	}
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { jsonTo(w, `{"data":[]}`) })
	if err := c.Annotate(t.Context(), []Annotation{someone}); review.KindOf(err) != review.Unsure {
		t.Errorf("a write that nobody confirms: %v; want Unsure", err)
	}
}

func TestConnectionThatRestedSixSeconds_Works(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		t.Parallel()
		s := rig.NewSpan("s", "in", "out")
		px.Ingest(t, "rest "+rig.SpanID(), s)
		c, err := New(Options{Endpoint: px.URL})
		must(t, err)
		must(t, c.Annotate(t.Context(), []Annotation{judge(s, ana, "correct", nil)}))
		time.Sleep(6 * time.Second)
		must(t, c.Annotate(t.Context(), []Annotation{judge(s, ana, "correct", nil)}))
	})
}

func TestNew_RefusesWhatCannotWork_WithoutTellingSecrets(t *testing.T) {
	for _, o := range []Options{
		{}, {Endpoint: "localhost:6006"}, {Endpoint: "ftp://x"}, {Endpoint: "http://"}, {Endpoint: "http://x/?a=b"},
		{Endpoint: "http://x", APIKey: secretKey + "\nx"}, {Endpoint: "http://x", Headers: map[string]string{"a b": secretKey}},
		{Endpoint: "http://x", Headers: map[string]string{"a": secretKey + "\x01"}},
	} {
		_, err := New(o)
		if review.KindOf(err) != review.Refused || review.TextOf(err) == "" || strings.Contains(err.Error(), secretKey) {
			t.Errorf("New(%+v): %v", o, err)
		}
	}
	var got http.Header
	var path string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, path = r.Header, r.URL.Path
		jsonTo(w, `{"data":{}}`)
	}))
	defer srv.Close()
	u, _ := url.Parse(srv.URL)
	c, err := New(Options{Endpoint: "http://" + u.Host + "/s/space//", APIKey: " " + secretKey + "\n", Version: "1.2", Headers: map[string]string{"X-A": "b"}})
	must(t, err)
	_, err = c.Server(t.Context())
	must(t, err)
	if path != "/arize_phoenix_version" && path != "/s/space/arize_phoenix_version" || got.Get("Authorization") != "Bearer "+secretKey || got.Get("X-A") != "b" || got.Get("User-Agent") != "spanbot/1.2" {
		t.Errorf("%s %v", path, got)
	}
}

func TestMetrics_CountByCallAndOutcome(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		jsonTo(w, `{"data":[],"next_cursor":null}`)
	}))
	defer srv.Close()
	for range 2 { // a second client of the process shares them
		c, err := New(Options{Endpoint: srv.URL, Registry: reg})
		must(t, err)
		_, err = c.NewestRow(t.Context(), "p", false)
		must(t, err)
		_ = c.Annotate(t.Context(), []Annotation{someone})
	}
	want := `# HELP spanbot_phoenix_requests_total Requests to Phoenix by what was asked and how it ended (ok, or the kind of failure).
# TYPE spanbot_phoenix_requests_total counter
spanbot_phoenix_requests_total{call="annotate",outcome="refused"} 2
spanbot_phoenix_requests_total{call="spans",outcome="ok"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "spanbot_phoenix_requests_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestURLs_LeadToPhoenixsPages(t *testing.T) {
	for got, want := range map[string]string{
		SpanURL("https://px.example.com/", "00f0"): "https://px.example.com/redirects/spans/00f0",
		SpanURL("", "00f0"):                        "",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A server that takes no client without a certificate of its authority.
func TestTLS_WithAClientCertificate(t *testing.T) {
	f, err := certs.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) != 1 {
			t.Error("we showed no certificate")
		}
		jsonTo(w, `{"data":[],"next_cursor":null}`)
	}))
	if srv.TLS, err = f.Server(); err != nil {
		t.Fatal(err)
	}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	pair, err := tls.LoadX509KeyPair(f.ClientCert, f.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	for _, tt := range []struct {
		name string
		c    *tls.Config
		want review.Kind
	}{
		{"ours, and its authority", &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}, ""},
		{"none of ours", &tls.Config{RootCAs: pool}, review.Down},
		{"an authority that we do not know", &tls.Config{Certificates: []tls.Certificate{pair}}, review.Down},
		{"nothing said", nil, review.Down},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New(Options{Endpoint: srv.URL, APIKey: secretKey, TLS: tt.c})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = c.AnnotationConfig(t.Context(), "correctness")
			if review.KindOf(err) != tt.want {
				t.Errorf("%v; want kind %q", err, tt.want)
			}
		})
	}
}
