package phoenixd

import (
	"net/http"
	"strconv"
	"time"
)

// Fault is a failure on command. Of the ways to fail, those that are set happen
// in the order in which they stand here.
type Fault struct {
	// Route is the route that fails, as in "POST /v1/span_annotations" or
	// "GET /v1/projects/{p}/spans"; "": every route.
	Route string
	// From is the first call that fails, counted from Fail on: 0 and 1 are the
	// next one. Calls is how many do; 0: all that come.
	From, Calls int

	Slow       time.Duration // wait, then go on
	Drop       bool          // close the connection; nothing was done
	Status     int           // answer with this; nothing was done
	RetryAfter time.Duration // said with Status; whole seconds
	HTML       bool          // answer 200 and a web page, as under a wrong path
	Lost       bool          // do it, then close the connection without an answer
	Hang       bool          // do it, then say nothing until the other end leaves
}

// fault is a Fault that is armed, and the calls that it has seen.
type fault struct {
	Fault
	seen int
}

// Fail arms a fault; the returned function disarms it.
func (s *Server) Fail(f Fault) (undo func()) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	armed := &fault{Fault: f}
	s.faults = append(s.faults, armed)
	return func() {
		s.faultMu.Lock()
		defer s.faultMu.Unlock()
		for i, other := range s.faults {
			if other == armed {
				s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
				return
			}
		}
	}
}

// Calls is how often a route (in the words of Fault.Route) was called.
func (s *Server) Calls(route string) int {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	return s.calls[route]
}

// failure counts a call and picks the fault that it meets, the one armed first.
func (s *Server) failure(route string) (Fault, bool) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	s.calls[route]++
	var met *fault
	for _, f := range s.faults {
		if f.Route != "" && f.Route != route {
			continue
		}
		f.seen++
		from := max(1, f.From)
		if met == nil && f.seen >= from && (f.Calls == 0 || f.seen < from+f.Calls) {
			met = f
		}
	}
	if met == nil {
		return Fault{}, false
	}
	return met.Fault, true
}

// words of the failures whose text Phoenix gives.
var failureWords = map[int]string{
	http.StatusTooManyRequests:     "Too many requests.",
	http.StatusInternalServerError: "Internal Server Error",
	http.StatusServiceUnavailable:  "Server is at capacity and cannot process more requests",
	http.StatusInsufficientStorage: "Database operations are disabled due to insufficient storage. Please delete old data or increase storage.",
}

// serveFault serves a call that meets a fault; serve is the call as it would be.
func (s *Server) serveFault(f Fault, w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter)) {
	if f.Slow > 0 {
		t := time.NewTimer(f.Slow)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		case <-s.done:
			return
		}
	}
	switch {
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		text := failureWords[f.Status]
		if text == "" {
			text = http.StatusText(f.Status)
		}
		a := inText(f.Status, "%s", text)
		if f.RetryAfter > 0 {
			a.header = map[string]string{"Retry-After": strconv.Itoa(int((f.RetryAfter + time.Second - 1) / time.Second))}
		}
		s.write(w, a)
	case f.HTML:
		s.serveNoPage(w, r)
	case f.Lost, f.Hang:
		serve(&unheard{header: http.Header{}})
		if f.Hang {
			select {
			case <-r.Context().Done():
			case <-s.done:
			}
		}
		panic(http.ErrAbortHandler)
	default:
		serve(w)
	}
}

// unheard takes an answer that nobody gets.
type unheard struct{ header http.Header }

func (u *unheard) Header() http.Header         { return u.header }
func (u *unheard) Write(b []byte) (int, error) { return len(b), nil }
func (u *unheard) WriteHeader(int)             {}
