package phoenixd

import (
	"cmp"
	cryptorand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/local"
)

// Options say what the stand-in holds. The zero value is an empty server.
type Options struct {
	Project string        // name of the feed's project; "": my-annotations-app
	Feed    []Source      // recorded traces; none: nothing arrives by itself
	Start   int           // of them at the start; 0: 8, below 0: none
	Every   time.Duration // how often the next one arrives; 0: 20 s
	Keep    int           // traces; the oldest beyond go. 0: 2,000, some 20 MB
	Seed    uint64        // of the instance id; 0: a different one each time
}

const (
	defaultProject = "my-annotations-app"
	defaultKeep    = 2000
)

// Server is a stand-in Phoenix. It is an http.Handler for the root of a server;
// below another path it stands behind http.StripPrefix.
type Server struct {
	instance string
	project  string
	keep     int
	http     *http.Server
	done     chan struct{} // closed by Close
	close    func()
	running  sync.WaitGroup

	mu      sync.Mutex
	store   *store
	waiting []sentAnnotation
	change  chan struct{} // closed at the next change

	faultMu sync.Mutex
	faults  []*fault
	calls   map[string]int // by route
}

// New makes a server and starts its feed; Close ends it. The first traces are
// there when New returns.
func New(o Options) *Server {
	s := &Server{
		instance: newInstance(o.Seed), project: cmp.Or(o.Project, defaultProject), keep: cmp.Or(max(0, o.Keep), defaultKeep),
		done: make(chan struct{}), store: newStore(), change: make(chan struct{}), calls: map[string]int{},
	}
	s.close = sync.OnceFunc(func() { close(s.done) })
	s.http = &http.Server{
		Handler:           s,
		IdleTimeout:       idle,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    1 << 20, // ServeHTTP has a limit of its own
	}
	if len(o.Feed) > 0 {
		f := &feeder{server: s, project: s.project, sources: o.Feed}
		every := cmp.Or(max(0, o.Every), defaultEvery)
		f.begin(max(0, cmp.Or(o.Start, defaultStart)), every)
		s.running.Add(1)
		go f.run(every)
	}
	return s
}

// idle is when the real server closes a connection on which nothing happens.
const idle = 5 * time.Second

func newInstance(seed uint64) string {
	b := make([]byte, 8)
	if seed == 0 {
		_, _ = cryptorand.Read(b) // never fails
	} else {
		r := rand.New(rand.NewPCG(seed, 0))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	}
	return hex.EncodeToString(b)
}

// Instance is an id of this start of the stand-in: what was remembered of
// another one says nothing about it.
func (s *Server) Instance() string { return s.instance }

// Project is the name of the feed's project.
func (s *Server) Project() string { return s.project }

// Serve answers on l until Close. It refuses a TCP listener that others than
// this machine can reach: there are no accounts.
func (s *Server) Serve(l net.Listener) error {
	if err := local.Listener(l.Addr(), "the stand-in Phoenix"); err != nil {
		return err
	}
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Close ends Serve, the feed and every open page. All that was stored is gone.
func (s *Server) Close() {
	s.close()
	_ = s.http.Close()
	s.running.Wait()
}

const (
	versionHeader = "x-phoenix-server-version"
	// maxHead is above what the real server reads in one go; longer heads it
	// refuses now and then, at random. Here always: a client must not need luck.
	maxHead = 16 << 10
)

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if why := local.Foreign(r, "The stand-in Phoenix"); why != "" {
		http.Error(w, why, http.StatusForbidden)
		return
	}
	if head(r) > maxHead {
		h := w.Header()
		h.Set("Connection", "close")
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, "Invalid HTTP request received.")
		return
	}
	h := w.Header()
	h.Set(versionHeader, version)
	h.Set("Vary", "Accept-Encoding")
	rt, wild, ok := find(r.Method, r.URL.Path)
	switch {
	case ok:
		serve := func(w http.ResponseWriter) { s.serveRoute(w, r, rt, wild) }
		if f, failing := s.failure(rt.name()); failing {
			s.serveFault(f, w, r, serve)
			return
		}
		serve(w)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		s.servePage(w, r)
	default:
		a := inText(http.StatusMethodNotAllowed, "Method Not Allowed")
		a.header = map[string]string{"Allow": "GET, HEAD"}
		s.write(w, a)
	}
}

// head is the size of the request's head, in bytes.
func head(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len(r.Host) + len("  HTTP/1.1\r\nHost: \r\n\r\n")
	for k, vs := range r.Header {
		for _, v := range vs {
			n += len(k) + len(v) + len(": \r\n")
		}
	}
	return n
}

// changed tells the open pages. The caller holds the lock.
func (s *Server) changed() {
	close(s.change)
	s.change = make(chan struct{})
}

// DeleteSpan deletes a span by its OpenTelemetry id, as somebody would in
// Phoenix; false when there is none.
func (s *Server) DeleteSpan(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.store.spanByID[id]
	if found == nil {
		return false
	}
	s.store.remove(found)
	s.changed()
	return true
}
