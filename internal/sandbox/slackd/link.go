package slackd

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// pingEvery is how often a connection is pinged: slack-go gives one up that is
// silent for thirty seconds.
const pingEvery = 5 * time.Second // Options.PingEvery

// maxLinks is how many connections an app may hold.
const maxLinks = 10

// linkBook is the Socket Mode connections.
type linkBook struct {
	tickets map[string]bool
	live    map[*link]bool
	order   []*link       // envelopes go round
	change  chan struct{} // closed when a connection comes
}

func newLinkBook() linkBook {
	return linkBook{tickets: map[string]bool{}, live: map[*link]bool{}, change: make(chan struct{})}
}

// wire is a WebSocket that may be written to by several.
type wire struct {
	conn *websocket.Conn
	mu   sync.Mutex
}

func (w *wire) write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	return w.conn.WriteMessage(websocket.TextMessage, b)
}

func (w *wire) ping() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(10*time.Second))
}

func (w *wire) shut() { _ = w.conn.Close() }

// link is one Socket Mode connection.
type link struct{ wire }

// upgrader takes the origins that foreign has let through.
var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10}

func wsBase(base string) string { return "ws" + strings.TrimPrefix(base, "http") }

// serveLink is one connection of the app, until it ends.
func (s *Server) serveLink(w http.ResponseWriter, r *http.Request) {
	ticket := r.URL.Query().Get("ticket")
	s.mu.Lock()
	known := s.links.tickets[ticket] && len(s.links.live) < maxLinks
	delete(s.links.tickets, ticket)
	s.mu.Unlock()
	if !known {
		http.Error(w, "this address was used, or is not ours", http.StatusNotFound)
		return
	}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	conn.SetReadLimit(1 << 20)
	l := &link{wire{conn: conn}}
	s.mu.Lock()
	s.links.live[l] = true
	n := len(s.links.live)
	s.mu.Unlock()
	defer s.hungUp(l)
	err = l.write(obj{"type": "hello", "num_connections": n, "connection_info": obj{"app_id": s.app},
		"debug_info": obj{"host": "local", "build_number": 1, "approximate_connection_time": 18060}})
	if err != nil {
		return
	}
	s.mu.Lock()
	s.links.order = append(s.links.order, l)
	close(s.links.change)
	s.links.change = make(chan struct{})
	if n == 1 {
		s.broadcast(obj{"t": "app", "connected": true})
	}
	s.mu.Unlock()

	stop := make(chan struct{})
	defer close(stop)
	s.spawn(func() { pinging(&l.wire, cmp.Or(s.o.PingEvery, pingEvery), stop) })
	for {
		_, raw, err := conn.ReadMessage()
		if err != nil {
			return
		}
		s.acked(raw)
	}
}

// pinging pings until the connection ends.
func pinging(w *wire, every time.Duration, stop <-chan struct{}) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
			if w.ping() != nil {
				w.shut()
				return
			}
		}
	}
}

// hungUp forgets a connection; what it had not acked goes over another one.
func (s *Server) hungUp(l *link) {
	l.shut()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.links.live, l)
	for i, other := range s.links.order {
		if other == l {
			s.links.order = append(s.links.order[:i:i], s.links.order[i+1:]...)
			break
		}
	}
	if len(s.links.live) == 0 {
		s.broadcast(obj{"t": "app", "connected": false})
	}
	for _, e := range s.envelopes {
		if e.over == l {
			e.lost()
		}
	}
}

// next is the connection that gets the next envelope; nil for none. One that was
// tried is passed over while there is another.
func (s *Server) next(but *link) *link {
	n := len(s.links.order)
	for i := range n {
		l := s.links.order[i]
		if l == but && n > 1 {
			continue
		}
		s.links.order = append(append(s.links.order[:i:i], s.links.order[i+1:]...), l)
		return l
	}
	return nil
}

// acked takes what the app sends over a connection.
func (s *Server) acked(raw []byte) {
	var a struct {
		ID      string          `json:"envelope_id"`
		Payload json.RawMessage `json:"payload"`
	}
	if json.Unmarshal(raw, &a) != nil || a.ID == "" {
		return
	}
	if len(raw) >= maxAck {
		return // Slack drops it without a word
	}
	if s.loseAck() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.envelopes[a.ID]; e != nil {
		e.ack(a.Payload)
	}
}

// maxAck is the size from which an ack is dropped.
const maxAck = 20_480

// Disconnect tells every connection that it will be closed: "warning",
// "refresh_requested" or "link_disabled". Clients connect anew.
func (s *Server) Disconnect(reason string) {
	s.mu.Lock()
	list := append([]*link{}, s.links.order...)
	s.mu.Unlock()
	for _, l := range list {
		_ = l.write(obj{"type": "disconnect", "reason": reason, "debug_info": obj{"host": "local"}})
	}
}

// Cut closes every connection without a word.
func (s *Server) Cut() {
	s.mu.Lock()
	list := append([]*link{}, s.links.order...)
	s.mu.Unlock()
	for _, l := range list {
		l.shut()
	}
}
