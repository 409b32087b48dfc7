package slackd

import (
	"encoding/json"
	"errors"
	"time"
)

// Slack's patience with an app (docs.slack.dev, interactivity, Socket Mode).
const (
	ackWithin = 3 * time.Second
	tries     = 4 // the first one and three more

	// resendAfter is later than ackWithin: who waits is told that nothing came
	// before the app hears of it again.
	resendAfter = ackWithin + 100*time.Millisecond
)

// errNoAck says that the app did not answer in time.
var errNoAck = errors.New("operation_timeout")

// envelope is something that the app must ack.
type envelope struct {
	id, kind string
	payload  any
	over     *link
	once     bool // answered
	answer   json.RawMessage
	done     chan struct{} // closed by the first ack
	gone     chan struct{} // closed when its connection ended
}

func (e *envelope) ack(payload json.RawMessage) {
	if !e.once {
		e.once, e.answer = true, payload
		close(e.done)
	}
}

func (e *envelope) lost() {
	e.over = nil
	close(e.gone)
	e.gone = make(chan struct{})
}

// deliver brings something to the app and returns what it acked with. A person
// waits three seconds; after that it is errNoAck, and the envelope is sent again
// behind their back. answered is told of an ack that comes in time, with the lock
// held.
func (s *Server) deliver(kind string, payload obj, answered func(json.RawMessage)) error {
	if s.o.HTTP != "" {
		return s.request(kind, payload, answered)
	}
	s.mu.Lock()
	e := &envelope{id: s.uuid(), kind: kind, payload: payload, done: make(chan struct{}), gone: make(chan struct{})}
	s.envelopes[e.id] = e
	s.mu.Unlock()
	s.spawn(func() { s.sending(e) })
	patience := time.NewTimer(ackWithin)
	defer patience.Stop()
	select {
	case <-e.done:
	case <-s.done:
		return errNoAck
	case <-patience.C:
		select {
		case <-e.done:
		default:
			return errNoAck
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if answered != nil {
		answered(e.answer)
	}
	return nil
}

// sending sends an envelope until it is acked: to one connection, and after three
// seconds, or when that ends, to another.
func (s *Server) sending(e *envelope) {
	defer func() {
		s.mu.Lock()
		delete(s.envelopes, e.id)
		s.mu.Unlock()
	}()
	reason := ""
	for try := range tries {
		l, gone := s.send(e, try, reason)
		if l == nil {
			if !s.awaitLink() {
				return
			}
			if l, gone = s.send(e, try, reason); l == nil {
				return
			}
		}
		if try == 0 && s.sendTwice() {
			_, _ = s.send(e, 0, "")
		}
		t := time.NewTimer(resendAfter)
		select {
		case <-e.done:
			t.Stop()
			return
		case <-s.done:
			t.Stop()
			return
		case <-gone:
			t.Stop()
			reason = "connection_closed"
		case <-t.C:
			reason = "timeout"
		}
	}
}

// send writes an envelope to the next connection.
func (s *Server) send(e *envelope, try int, reason string) (*link, <-chan struct{}) {
	s.mu.Lock()
	l := s.next(e.over)
	e.over = l
	gone := e.gone
	s.mu.Unlock()
	if l == nil {
		return nil, nil
	}
	frame := obj{"envelope_id": e.id, "type": e.kind, "payload": e.payload, "accepts_response_payload": e.kind != "events_api"}
	if try > 0 || e.kind == "events_api" {
		frame["retry_attempt"], frame["retry_reason"] = try, reason
	}
	if l.write(frame) != nil {
		l.shut()
	}
	return l, gone
}

// awaitLink waits for a connection while a person waits.
func (s *Server) awaitLink() bool {
	s.mu.Lock()
	change, there := s.links.change, len(s.links.order) > 0
	s.mu.Unlock()
	if there {
		return true
	}
	t := time.NewTimer(ackWithin)
	defer t.Stop()
	select {
	case <-change:
		return true
	case <-t.C:
	case <-s.done:
	}
	return false
}

// uuid is an envelope's id. The caller holds the lock.
func (s *Server) uuid() string {
	const hex = "0123456789abcdef"
	b := []byte("xxxxxxxx-xxxx-4xxx-axxx-xxxxxxxxxxxx")
	for i, c := range b {
		if c == 'x' {
			b[i] = hex[s.ids.IntN(16)]
		}
	}
	return string(b)
}
