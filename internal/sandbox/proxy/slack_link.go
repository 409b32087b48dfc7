package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/spanbot/spanbot/internal/sandbox/slackcall"
)

// Envelope is one event, interaction or command on its way to the bot, by
// Socket Mode or HTTP.
type Envelope struct {
	ID      string
	Type    string // events_api, interactive, slash_commands
	Payload map[string]any
	Sent    time.Time // when it was first passed to the bot
	Acked   time.Time // when the ack passed back; zero before
	Answer  map[string]any
	Status  int // HTTP mode: the status of the bot's answer
	Tries   int // how often it was sent

	acked chan struct{}
}

// Kind is the payload's own type: block_actions, view_submission, an event's type.
func (e Envelope) Kind() string {
	if event, is := e.Payload["event"].(map[string]any); is {
		return slackcall.Text(event["type"])
	}
	if command, is := e.Payload["command"].(string); is {
		return command
	}
	return slackcall.Text(e.Payload["type"])
}

// Envelopes are those so far, in the order in which they were sent; kinds
// ("block_actions") narrows.
func (s *Slack) Envelopes(kinds ...string) []Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Envelope
	for _, e := range s.envelopes {
		named := len(kinds) == 0
		for _, k := range kinds {
			named = named || k == e.Kind()
		}
		if named {
			out = append(out, *e)
		}
	}
	return out
}

// link is one Socket Mode connection of the bot, relayed to the emulator.
type link struct {
	bot, slack *websocket.Conn
	botMu      sync.Mutex // a connection takes one writer at a time
	slackMu    sync.Mutex
}

func (l *link) toBot(v any) error {
	l.botMu.Lock()
	defer l.botMu.Unlock()
	return l.bot.WriteJSON(v)
}

func (l *link) close() {
	l.bot.Close()
	l.slack.Close()
}

var upgrader = websocket.Upgrader{
	// The bot's library says that it comes from api.slack.com.
	CheckOrigin: func(*http.Request) bool { return true },
}

// serveLink relays one connection; its address is good for one use, as Slack's.
func (s *Slack) serveLink(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	s.mu.Lock()
	upstream := s.tickets[id]
	delete(s.tickets, id)
	s.mu.Unlock()
	if upstream == "" {
		http.Error(w, "this connection's address was used, or never given", http.StatusNotFound)
		return
	}
	slack, resp, err := websocket.DefaultDialer.Dial(upstream, nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	resp.Body.Close()
	bot, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		slack.Close()
		return // Upgrade has answered
	}
	l := &link{bot: bot, slack: slack}
	s.mu.Lock()
	s.links[l] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.links, l)
		s.mu.Unlock()
		l.close()
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.fromBot(l)
		l.close()
	}()
	if s.o.PingEvery > 0 {
		go s.ping(l, done)
	}
	s.fromSlack(l)
	l.close()
	<-done
}

// ping does what the emulator does not: a quiet connection is known to live.
func (s *Slack) ping(l *link, done <-chan struct{}) {
	tick := time.NewTicker(s.o.PingEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			if l.bot.WriteControl(websocket.PingMessage, []byte("Ping from slack"), time.Now().Add(time.Second)) != nil {
				l.close()
				return
			}
		}
	}
}

// fromSlack passes the emulator's frames to the bot. The emulator sends an
// envelope to every connection; Slack, and so we, to one.
func (s *Slack) fromSlack(l *link) {
	for {
		var frame map[string]any
		if l.slack.ReadJSON(&frame) != nil {
			return
		}
		id := slackcall.Text(frame["envelope_id"])
		if id == "" { // hello
			if l.toBot(frame) != nil {
				return
			}
			continue
		}
		payload, _ := frame["payload"].(map[string]any)
		e := s.register(id, slackcall.Text(frame["type"]), payload)
		if e == nil {
			continue // another connection has it
		}
		s.send(l, e, frame)
		if s.o.Redeliver > 0 {
			go s.sendAgain(e, frame)
		}
	}
}

// register takes an envelope into the book, its payload mended; nil when it is
// there already.
func (s *Slack) register(id, kind string, payload map[string]any) *Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[id] != nil {
		return nil
	}
	if payload != nil {
		s.mendPayload(payload)
	}
	e := &Envelope{ID: id, Type: kind, Payload: payload, acked: make(chan struct{})}
	s.byID[id] = e
	s.envelopes = append(s.envelopes, e)
	return e
}

// send stamps an envelope and writes it to one connection.
func (s *Slack) send(l *link, e *Envelope, frame map[string]any) {
	s.stamp(e)
	if l.toBot(frame) != nil {
		l.close()
	}
}

func (s *Slack) stamp(e *Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Tries++
	if e.Tries > 1 {
		return
	}
	e.Sent = time.Now()
	if id := slackcall.Text(e.Payload["trigger_id"]); id != "" {
		s.triggers[id] = &trigger{given: e.Sent}
	}
}

// sendAgain repeats an envelope that was not acked, on whatever connection is
// open then.
func (s *Slack) sendAgain(e *Envelope, frame map[string]any) {
	for n := 1; n <= s.o.Redeliver; n++ {
		select {
		case <-e.acked:
			return
		case <-time.After(redeliverAfter):
		}
		frame["retry_attempt"], frame["retry_reason"] = n, "timeout"
		if l := s.anyLink(); l != nil {
			s.send(l, e, frame)
		}
	}
}

func (s *Slack) anyLink() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.links {
		return l
	}
	return nil
}

// fromBot passes the bot's acks to the emulator.
func (s *Slack) fromBot(l *link) {
	for {
		kind, raw, err := l.bot.ReadMessage()
		if err != nil {
			return
		}
		var ack struct {
			EnvelopeID string         `json:"envelope_id"`
			Payload    map[string]any `json:"payload"`
		}
		if err := json.Unmarshal(raw, &ack); err != nil || ack.EnvelopeID == "" {
			s.problem("the bot wrote %q to the socket, which is no ack", raw)
			continue
		}
		if len(raw) >= maxAckPayload {
			s.problem("an ack of %d bytes: Slack drops those of %d and more", len(raw), maxAckPayload)
			continue
		}
		s.acknowledge(ack.EnvelopeID, ack.Payload, 0)
		l.slackMu.Lock()
		err = l.slack.WriteMessage(kind, raw)
		l.slackMu.Unlock()
		if err != nil {
			return
		}
	}
}

// acknowledge stamps an envelope's first answer and looks whether Slack would
// understand it.
func (s *Slack) acknowledge(id string, answer map[string]any, status int) {
	now := time.Now()
	s.mu.Lock()
	e := s.byID[id]
	first := e != nil && e.Acked.IsZero()
	if first {
		e.Acked, e.Answer, e.Status = now, answer, status
		close(e.acked)
	}
	s.mu.Unlock()
	if e == nil {
		s.problem("an ack of the unknown envelope %s", id)
	} else if first {
		s.checkAnswer(e.Payload, answer)
	}
}

// Disconnect sends every connection the frame by which Slack asks for a new one
// (reason "warning", "refresh_requested" or "link_disabled") and ends it unless
// it is a warning.
func (s *Slack) Disconnect(reason string) {
	for _, l := range s.openLinks() {
		_ = l.toBot(map[string]any{"type": "disconnect", "reason": reason, "debug_info": map[string]any{"host": "proxy"}}) // it may be gone
		if reason != "warning" {
			l.close()
		}
	}
}

// CutLinks ends every Socket Mode connection without a word.
func (s *Slack) CutLinks() {
	for _, l := range s.openLinks() {
		l.close()
	}
}

// Links is the number of Socket Mode connections that are open.
func (s *Slack) Links() int { return len(s.openLinks()) }

func (s *Slack) openLinks() []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*link
	for l := range s.links {
		all = append(all, l)
	}
	return all
}

// Deliver sends the bot an envelope of the test's own making by Socket Mode
// (what the emulator cannot send: another team's user, an unknown action) and
// returns it with the bot's answer. A view or trigger_id in it is as good as a
// real one.
func (s *Slack) Deliver(kind string, payload map[string]any, limit time.Duration) (Envelope, error) {
	l := s.anyLink()
	if l == nil {
		return Envelope{}, errors.New("the bot is not connected")
	}
	id := s.fresh("test-envelope-")
	e := s.register(id, kind, payload)
	s.send(l, e, map[string]any{"envelope_id": id, "type": kind, "payload": payload, "accepts_response_payload": kind != "events_api"})
	return s.await(e, limit)
}

// Resend sends an envelope once more, under its id, as Slack does when it did
// not hear the ack.
func (s *Slack) Resend(id string) error {
	s.mu.Lock()
	e := s.byID[id]
	s.mu.Unlock()
	l := s.anyLink()
	if e == nil || l == nil {
		return fmt.Errorf("envelope %s is unknown, or the bot is not connected", id)
	}
	s.send(l, e, map[string]any{"envelope_id": id, "type": e.Type, "payload": e.Payload, "accepts_response_payload": e.Type != "events_api", "retry_attempt": e.Tries, "retry_reason": "timeout"})
	return nil
}

func (s *Slack) await(e *Envelope, limit time.Duration) (Envelope, error) {
	var err error
	select {
	case <-e.acked:
	case <-time.After(limit):
		err = fmt.Errorf("the bot did not answer within %v", limit)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return *e, err
}
