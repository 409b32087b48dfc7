package proxy

import (
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// HTTP is a plain reverse proxy before Phoenix that stamps every request and
// fails on command.
type HTTP struct {
	URL string // http://127.0.0.1:PORT

	target *url.URL
	pass   *httputil.ReverseProxy

	mu        sync.Mutex
	faults    []httpFault
	down      bool
	exchanges []Exchange
}

// Exchange is one request that passed or was failed.
type Exchange struct {
	Method, Path, Query string
	Status              int // 0: the connection was cut or the client gave up
	Start, End          time.Time
	Sent, Received      int64 // bytes of the bodies of request and answer
	Failed              bool  // by a fault of ours
}

// HTTPFault is what happens to a request in place of the server's answer.
type HTTPFault struct {
	Delay  time.Duration // wait first
	Accept bool          // let the server do it, then lose its answer
	Hang   bool          // never answer; ends when the client gives up
	Cut    bool          // end the connection without an answer
	Status int           // answer with this status, 0 with Body: 200
	Body   string        // of that answer
	Type   string        // its content type; default application/json
	Header http.Header   // further headers, as Retry-After
}

// HTML is the answer of a server that knows the path only as a page of its UI.
var HTML = HTTPFault{Status: http.StatusOK, Type: "text/html; charset=utf-8", Body: "<!DOCTYPE html><html><body>Phoenix</body></html>"}

type httpFault struct {
	match string
	left  int
	fault HTTPFault
}

// NewHTTP listens on a loopback port before target, a URL without a path.
func NewHTTP(tb rig.TB, target string) *HTTP {
	tb.Helper()
	u, err := url.Parse(target)
	if err != nil {
		tb.Fatalf("http proxy: %v", err)
	}
	p := &HTTP{target: u}
	p.pass = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = u.Host
		},
		// Phoenix drops idle connections after 5 s; a proxy that reused one at
		// that moment would fail in the server's name.
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 3 * time.Second, DisableCompression: true},
		FlushInterval: -1,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler) // the server is not there: neither are we
		},
	}
	p.URL = serve(tb, p)
	return p
}

// serve starts an HTTP server on a loopback port, ended with the test.
func serve(tb rig.TB, h http.Handler) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("proxy: %v", err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }() // ends with Close
	tb.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String()
}

// Down cuts every request at once, as a server that is not there.
func (p *HTTP) Down(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = on
}

// Fail makes the next n requests (n < 0: all) whose "METHOD /path" begins with
// match fail so; "" matches all. The first fault that matches counts.
func (p *HTTP) Fail(match string, n int, f HTTPFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, httpFault{match, n, f})
}

// Heal forgets all faults and ends Down.
func (p *HTTP) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults, p.down = nil, false
}

// Exchanges are the requests so far whose "METHOD /path" begins with match, in
// the order in which they ended.
func (p *HTTP) Exchanges(match string) []Exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Exchange
	for _, e := range p.exchanges {
		if strings.HasPrefix(e.Method+" "+e.Path, match) {
			out = append(out, e)
		}
	}
	return out
}

// Forget empties Exchanges.
func (p *HTTP) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exchanges = nil
}

func (p *HTTP) fault(method, path string) (HTTPFault, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return HTTPFault{Cut: true}, true
	}
	for i := range p.faults {
		f := &p.faults[i]
		if f.left != 0 && strings.HasPrefix(method+" "+path, f.match) {
			if f.left > 0 {
				f.left--
			}
			return f.fault, true
		}
	}
	return HTTPFault{}, false
}

// ServeHTTP passes one request on, or fails it.
func (p *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := Exchange{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Start: time.Now()}
	sent := &countingBody{ReadCloser: r.Body}
	r.Body = sent
	out := &stampedWriter{ResponseWriter: w}
	var fault HTTPFault
	fault, e.Failed = p.fault(r.Method, r.URL.Path)
	defer func() {
		e.End, e.Status, e.Sent, e.Received = time.Now(), out.status, sent.n, out.n
		p.mu.Lock()
		p.exchanges = append(p.exchanges, e)
		p.mu.Unlock()
	}()
	if !e.Failed {
		p.pass.ServeHTTP(out, r)
		return
	}
	fault.apply(out, r, p.pass)
}

func (f HTTPFault) apply(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	select {
	case <-time.After(f.Delay):
	case <-r.Context().Done():
		return
	}
	if !f.Accept && !f.Hang && !f.Cut && f.Status == 0 && f.Body == "" { // a delay and nothing else
		pass.ServeHTTP(w, r)
		return
	}
	if f.Accept {
		pass.ServeHTTP(nowhere{http.Header{}}, r)
	} else {
		// Else the client would see a reset while it still sends.
		_, _ = io.Copy(io.Discard, r.Body)
	}
	switch {
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Cut:
		panic(http.ErrAbortHandler)
	}
	contentType := f.Type
	if contentType == "" {
		contentType = "application/json"
	}
	w.Header().Set("Content-Type", contentType)
	for k, v := range f.Header {
		w.Header()[k] = v
	}
	status := f.Status
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, f.Body)
}

// nowhere takes an answer that nobody gets.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header       { return n.header }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}

type countingBody struct {
	io.ReadCloser
	n int64
}

func (c *countingBody) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.n += int64(n)
	return n, err
}

type stampedWriter struct {
	http.ResponseWriter
	status int
	n      int64
}

func (w *stampedWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *stampedWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.n += int64(n)
	return n, err
}

// Unwrap lets the reverse proxy flush.
func (w *stampedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
