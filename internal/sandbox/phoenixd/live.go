package phoenixd

import (
	"fmt"
	"net/http"
	"time"
)

// How soon after a change a page is told, so that a burst is one message, and how
// often a page that sees none is told that the stand-in is still there.
const (
	settleTime = 100 * time.Millisecond
	pulse      = 15 * time.Second
)

// serveLive tells a page, as server-sent events, that it is out of date. The
// message says no more: the page then asks for itself anew.
func (s *Server) serveLive(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	say := func(text string) bool {
		_, err := fmt.Fprintf(w, "%s\n\n", text)
		return err == nil && out.Flush() == nil
	}
	s.mu.Lock()
	change := s.change
	s.mu.Unlock()
	beat := time.NewTicker(pulse)
	defer beat.Stop()
	for text := "data: " + s.instance; say(text); {
		select {
		case <-change:
			t := time.NewTimer(settleTime)
			select {
			case <-t.C:
			case <-r.Context().Done():
				t.Stop()
				return
			case <-s.done:
				t.Stop()
				return
			}
			s.mu.Lock()
			change = s.change
			s.mu.Unlock()
			text = "data: " + s.instance
		case <-beat.C:
			text = ": still here"
		case <-r.Context().Done():
			return
		case <-s.done:
			return
		}
	}
}
