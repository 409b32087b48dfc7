package slackd

import (
	"net/http"
	"time"
)

// Fault is a failure on command. Of the ways to fail, those that are set happen
// in the order in which they stand here.
type Fault struct {
	// Method is the method that fails, as in "chat.postMessage", or
	// "response_url"; "": every one.
	Method string
	// From is the first call that fails, counted from Fail on: 0 and 1 are the
	// next one. Calls is how many do; 0: all that come.
	From, Calls int

	Slow       time.Duration // wait, then go on
	Drop       bool          // close the connection; nothing was done
	Status     int           // answer with this HTTP status; nothing was done
	RetryAfter time.Duration // said with Status; whole seconds
	Error      string        // answer 200 and this code; nothing was done
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

// LoseAcks loses the next n acks on their way.
func (s *Server) LoseAcks(n int) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	s.lostAcks = n
}

// SendTwice sends the next n envelopes twice at once, under one id.
func (s *Server) SendTwice(n int) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	s.twice = n
}

// Calls is how often a method was called.
func (s *Server) Calls(method string) int {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	return s.calls[method]
}

func (s *Server) loseAck() bool { return s.counted(&s.lostAcks) }

func (s *Server) sendTwice() bool { return s.counted(&s.twice) }

func (s *Server) counted(n *int) bool {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	if *n <= 0 {
		return false
	}
	*n--
	return true
}

// failure counts a call and picks the fault that it meets, the one armed first.
func (s *Server) failure(name string) (Fault, bool) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	if _, known := methods[name]; known || name == "response_url" {
		s.calls[name]++
	}
	var met *fault
	for _, f := range s.faults {
		if f.Method != "" && f.Method != name {
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
	case f.Status == http.StatusTooManyRequests:
		a := no("ratelimited")
		a.status, a.retryAfter = f.Status, max(f.RetryAfter, time.Second)
		s.write(w, a)
	case f.Status != 0:
		http.Error(w, http.StatusText(f.Status), f.Status)
	case f.Error != "":
		s.write(w, no(f.Error))
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
