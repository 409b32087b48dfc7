package slackd

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/websocket"
)

// notice is what the page tells everybody.
const notice = "This workspace is on your machine alone. Nothing in it is kept after Spanbot stops."

// page is one open page: one person before it.
type page struct {
	wire
	user string
	out  chan []byte
	gone chan struct{}
}

// maxWaiting is how many frames may wait for a page that does not read; after
// that it is closed, and comes back by itself.
const maxWaiting = 512

// send queues a frame. It never waits: callers hold the lock.
func (p *page) send(frame obj) {
	b, err := json.Marshal(frame)
	if err != nil {
		return
	}
	select {
	case p.out <- b:
	default:
		p.shut()
	}
}

// broadcast sends a frame to every page. The caller holds the lock.
func (s *Server) broadcast(frame obj) {
	for p := range s.pages {
		p.send(frame)
	}
}

// toUser sends a frame to the pages of one person. The caller holds the lock.
func (s *Server) toUser(user string, frame obj) {
	for p := range s.pages {
		if p.user == user {
			p.send(frame)
		}
	}
}

// channelFor is a channel as the page lists it for a person.
func (s *Server) channelFor(c *channel, user string) obj {
	return obj{"id": c.id, "name": c.name, "topic": c.topic, "is_member": c.has(user), "unread": c.unread(user),
		"last_read": c.read[user], "num_members": len(c.members)}
}

// serveUI is one page, until it is closed.
func (s *Server) serveUI(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	conn.SetReadLimit(1 << 20)
	p := &page{wire: wire{conn: conn}, out: make(chan []byte, maxWaiting), gone: make(chan struct{})}
	s.mu.Lock()
	p.user = s.people[0].ID
	if u := r.URL.Query().Get("user"); s.person(u) != nil {
		p.user = u
	}
	s.pages[p] = true
	p.send(s.hello(p.user))
	p.send(s.homeFrame(p.user))
	p.send(s.stackFrame(p.user))
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pages, p)
		s.mu.Unlock()
		close(p.gone)
		p.shut()
	}()
	s.spawn(p.writing)
	slots := make(chan struct{}, 16) // requests of one page at a time
	for {
		_, raw, err := conn.ReadMessage()
		if err != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-s.done:
			return
		}
		s.spawn(func() {
			defer func() { <-slots }()
			if a := s.asked(p.user, raw); a != nil {
				s.mu.Lock()
				p.send(a)
				s.mu.Unlock()
			}
		})
	}
}

func (p *page) writing() {
	ping := time.NewTicker(20 * time.Second)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-p.gone:
			return
		case b := <-p.out:
			p.mu.Lock()
			_ = p.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			err = p.conn.WriteMessage(websocket.TextMessage, b)
			p.mu.Unlock()
		case <-ping.C:
			err = p.ping()
		}
		if err != nil {
			p.shut()
			return
		}
	}
}

// hello is the first frame of a page.
func (s *Server) hello(user string) obj {
	users := []obj{}
	for _, p := range s.people {
		users = append(users, obj{"id": p.ID, "name": p.Name, "real_name": p.Real, "color": p.Color, "is_bot": false})
	}
	users = append(users, obj{"id": s.bot, "name": s.botName, "real_name": "Spanbot", "color": "#148567", "is_bot": true})
	channels := []obj{}
	for _, id := range s.store.order {
		if c := s.store.channels[id]; c.has(user) {
			channels = append(channels, s.channelFor(c, user))
		}
	}
	return obj{"t": "hello", "me": user, "team": obj{"id": s.team, "name": teamName, "domain": teamDomain},
		"app":   obj{"id": s.app, "name": "Spanbot", "bot_user": s.bot, "bot_id": s.botID, "connected": s.o.HTTP != "" || len(s.links.order) > 0},
		"users": users, "channels": channels, "commands": s.o.Commands, "notice": notice}
}

// request is what a page asks for.
type request struct {
	ID       int    `json:"id"`
	T        string `json:"t"`
	Channel  string `json:"channel"`
	TS       string `json:"ts"`
	ThreadTS string `json:"thread_ts"`
	Before   string `json:"before"`
	Limit    int    `json:"limit"`
	Text     string `json:"text"`
	Tab      string `json:"tab"`
	ViewID   string `json:"view_id"`
	All      bool   `json:"all"`
	Action   obj    `json:"action"`
	Values   obj    `json:"values"`
}

// asked does what a page asks for and returns the result.
func (s *Server) asked(user string, raw []byte) obj {
	var q request
	if err := json.Unmarshal(raw, &q); err != nil {
		return obj{"t": "result", "id": q.ID, "ok": false, "error": "invalid_request", "text": "The page sent something that cannot be read."}
	}
	result := obj{"t": "result", "id": q.ID, "ok": true}
	err := s.do(user, q, result)
	var no *refused
	switch wrong := FieldErrors(err); {
	case err == nil:
	case wrong != nil:
		result["ok"], result["errors"] = false, wrong
	case errors.As(err, &no):
		result["ok"], result["error"], result["text"] = false, no.code, no.text
	default:
		result["ok"], result["error"], result["text"] = false, "failed", err.Error()
	}
	return result
}

func (s *Server) do(user string, q request, result obj) error {
	switch q.T {
	case "history":
		return s.pageHistory(user, q, result)
	case "replies":
		return s.pageReplies(user, q, result)
	case "read":
		return s.pageRead(user, q)
	case "send":
		return s.Say(user, q.Channel, q.ThreadTS, q.Text)
	case "action":
		return s.act(place{user: user, channel: q.Channel, ts: q.TS, viewID: q.ViewID}, q.Action, q.Values)
	case "submit":
		return s.Submit(user, q.ViewID, q.Values)
	case "close":
		return s.Dismiss(user, q.ViewID, q.All)
	case "home":
		if q.Tab != "home" && q.Tab != "messages" {
			q.Tab = "home"
		}
		return s.OpenHome(user, q.Tab)
	case "dismiss":
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.untell(user, q.TS) {
			return errGone
		}
		return nil
	}
	return refuse("invalid_request", "The page asked for something unknown (%q).", q.T)
}

func (s *Server) pageHistory(user string, q request, result obj) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.store.channels[q.Channel]
	if c == nil || !c.has(user) {
		return errNoPlace
	}
	limit := min(max(q.Limit, 1), 200)
	if q.Limit == 0 {
		limit = 50
	}
	list, more := []obj{}, false
	for _, m := range slices.Backward(c.messages) {
		if threadOf(m) != "" || q.Before != "" && tsOf(m) >= q.Before {
			continue
		}
		if len(list) == limit {
			more = true
			break
		}
		list = append(list, copied(c.shown(m)))
	}
	slices.Reverse(list)
	result["messages"], result["has_more"] = list, more
	return nil
}

func (s *Server) pageReplies(user string, q request, result obj) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.store.channels[q.Channel]
	if c == nil || !c.has(user) {
		return errNoPlace
	}
	parent := c.message(q.TS)
	if parent == nil {
		return errGone
	}
	list := []obj{copied(c.shown(parent))}
	for _, m := range c.replies(q.TS) {
		list = append(list, copied(m))
	}
	result["messages"] = list
	return nil
}

func (s *Server) pageRead(user string, q request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.store.channels[q.Channel]
	if c == nil || !c.has(user) {
		return errNoPlace
	}
	if q.TS > c.read[user] {
		c.read[user] = q.TS
		s.toUser(user, obj{"t": "channel", "channel": s.channelFor(c, user)})
	}
	return nil
}
