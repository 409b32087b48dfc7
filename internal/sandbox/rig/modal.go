package rig

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// View is a modal or an App Home as the workspace holds it. local-slack gives it
// a new ID at each views.update (Slack keeps it; proxy.Slack mends that).
type View struct {
	ID              string           `json:"id"`
	Type            string           `json:"type"`
	CallbackID      string           `json:"callback_id"`
	ExternalID      string           `json:"external_id"`
	PrivateMetadata string           `json:"private_metadata"`
	Hash            string           `json:"hash"`
	Blocks          []map[string]any `json:"blocks"`
	Raw             json.RawMessage  `json:"-"`
}

// UnmarshalJSON also keeps the view as it came.
func (v *View) UnmarshalJSON(b []byte) error {
	type plain View
	if err := json.Unmarshal(b, (*plain)(v)); err != nil {
		return err
	}
	v.Raw = append(json.RawMessage(nil), b...)
	return nil
}

// Shown is every text in the view's blocks, in order, one a line.
func (v View) Shown() string { return shown(v.Blocks) }

// Button is the action of tapping an element, as ClickModal and ClickHome take it.
func (v View) Button(actionID string) (map[string]any, bool) { return action(v.Blocks, actionID, "") }

// Option is the action of choosing an option, as SlackMessage.Option.
func (v View) Option(actionID, want string) (map[string]any, bool) {
	return action(v.Blocks, actionID, want)
}

// Actions are the action_ids in the view, in order.
func (v View) Actions() []string { return actionIDs(v.Blocks) }

// Inputs are the block_ids of the view's input blocks, in order.
func (v View) Inputs() []string {
	var ids []string
	for _, b := range v.Blocks {
		if b["type"] == "input" {
			id, _ := b["block_id"].(string)
			ids = append(ids, id)
		}
	}
	return ids
}

// Values is what the view would send if nobody touched it: block_id → action_id
// → the element's initial value, as a view_submission carries it.
func (v View) Values() map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, b := range v.Blocks {
		e, _ := b["element"].(map[string]any)
		if b["type"] != "input" || e == nil {
			continue
		}
		value := map[string]any{"type": e["type"]}
		switch e["type"] {
		case "checkboxes", "multi_static_select":
			value["selected_options"] = e["initial_options"]
			if value["selected_options"] == nil {
				value["selected_options"] = []any{}
			}
		case "radio_buttons", "static_select", "external_select":
			value["selected_option"] = e["initial_option"]
		default:
			value["value"] = e["initial_value"]
		}
		blockID, _ := b["block_id"].(string)
		actionID, _ := e["action_id"].(string)
		out[blockID] = map[string]any{actionID: value}
	}
	return out
}

// Fill is Values with some fields changed, as a person fills the form. fields
// maps a block_id to what is typed, or to the text or value of the option that
// is chosen; "" leaves it empty.
func (v View) Fill(fields map[string]string) (map[string]map[string]any, error) {
	values := v.Values()
	fields = maps.Clone(fields)
	for _, b := range v.Blocks {
		blockID, _ := b["block_id"].(string)
		want, ok := fields[blockID]
		if b["type"] != "input" || !ok {
			continue
		}
		delete(fields, blockID)
		e, _ := b["element"].(map[string]any)
		actionID, _ := e["action_id"].(string)
		value, _ := values[blockID][actionID].(map[string]any)
		if _, isChoice := value["selected_option"]; isChoice {
			value["selected_option"] = nil
			if want != "" {
				o := findOption(e, want)
				if o == nil {
					return nil, fmt.Errorf("input %s has no option %q", blockID, want)
				}
				value["selected_option"] = o
			}
			continue
		}
		value["value"] = nil
		if want != "" {
			value["value"] = want
		}
	}
	if len(fields) > 0 {
		return nil, fmt.Errorf("the form has no input %v, it has %v", fields, v.Inputs())
	}
	return values, nil
}

// Submission is what became of a submitted form.
type Submission struct {
	Acked  bool              // the bot answered; local-slack closes the form without that too
	Errors map[string]string // block_id → the words under that field; the form stays open
	Modal  *View             // what is open now, nil for nothing
}

// Modal is the modal on top, nil when none is open. local-slack has one stack for
// the whole workspace: one person at a time.
func (s *SlackServer) Modal() *View {
	s.page.mu.Lock()
	defer s.page.mu.Unlock()
	return s.page.top()
}

// Modals is the stack of open modals, the top one last.
func (s *SlackServer) Modals() []View {
	s.page.mu.Lock()
	defer s.page.mu.Unlock()
	return append([]View(nil), s.page.stack...)
}

// WaitModal waits for a modal on top for which ok is true; it fails the test
// when none comes within limit.
func (s *SlackServer) WaitModal(limit time.Duration, what string, ok func(View) bool) View {
	s.tb.Helper()
	var got View
	found := s.page.wait(limit, func(p *page) bool {
		if top := p.top(); top != nil && ok(*top) {
			got = *top
			return true
		}
		return false
	})
	if !found {
		var raw json.RawMessage
		if top := s.Modal(); top != nil {
			raw = top.Raw
		}
		s.tb.Fatalf("no modal after %v: %s; open is: %s", limit, what, raw)
	}
	return got
}

// Home is what the bot published in a person's App Home, nil for nothing yet.
func (s *SlackServer) Home(user string) *View {
	s.page.mu.Lock()
	defer s.page.mu.Unlock()
	if v, ok := s.page.homes[user]; ok {
		return &v
	}
	return nil
}

// WaitHome waits for an App Home for which ok is true.
func (s *SlackServer) WaitHome(user string, limit time.Duration, what string, ok func(View) bool) View {
	s.tb.Helper()
	var got View
	if !s.page.wait(limit, func(p *page) bool { v, is := p.homes[user]; got = v; return is && ok(v) }) {
		s.tb.Fatalf("no App Home for %s after %v: %s; it is: %s", user, limit, what, got.Raw)
	}
	return got
}

// SubmitModal submits the modal on top with values (View.Fill makes them; inputs
// that values leaves out send their initial value, as Slack does) and returns
// what came of it.
func (s *SlackServer) SubmitModal(user string, values map[string]map[string]any) Submission {
	s.tb.Helper()
	top := s.Modal()
	if top == nil {
		s.tb.Errorf("SubmitModal: no modal is open")
		return Submission{}
	}
	all := top.Values()
	maps.Copy(all, values)
	s.page.mu.Lock()
	s.page.errors, s.page.acks, s.page.settled = nil, 0, false
	s.page.mu.Unlock()
	s.page.send(s.tb, map[string]any{"t": "view_submit", "user": user, "values": all})
	var out Submission
	if !s.page.wait(notAcked+2*time.Second, func(p *page) bool {
		if !p.settled && len(p.stack) > 0 {
			return false
		}
		out = Submission{Acked: p.acks > 0, Errors: p.errors, Modal: p.top()}
		return true
	}) {
		s.tb.Errorf("SubmitModal: nothing came of it")
	}
	return out
}

// CloseModal closes all modals as a person does.
func (s *SlackServer) CloseModal(user string) {
	s.tb.Helper()
	s.page.send(s.tb, map[string]any{"t": "view_close", "user": user})
}

// ClickModal is a tap in the modal on top. local-slack sends it without the view
// (proxy.Slack mends that). It does not wait for the bot.
func (s *SlackServer) ClickModal(user string, action map[string]any) {
	s.tb.Helper()
	s.page.send(s.tb, map[string]any{"t": "block_action", "channel": "", "messageTs": "", "appId": AppID, "user": user, "action": action})
}

// ClickHome is a tap in a person's App Home. It does not wait for the bot.
func (s *SlackServer) ClickHome(user string, action map[string]any) {
	s.tb.Helper()
	s.ClickModal(user, action)
}

// page is the websocket of local-slack's own browser page: the only place that
// tells which modals are open and how a submission was answered.
type page struct {
	conn    *websocket.Conn
	writeMu sync.Mutex
	mu      sync.Mutex
	changed chan struct{} // closed and replaced on every frame
	stack   []View
	homes   map[string]View
	errors  map[string]string // of the last submission
	acks    int               // since the last submission
	settled bool              // views changed, or errors came, after an ack
}

func openPage(base string) (*page, error) {
	conn, resp, err := (&websocket.Dialer{}).Dial("ws"+strings.TrimPrefix(base, "http")+"/ui", nil)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	p := &page{conn: conn, changed: make(chan struct{}), homes: map[string]View{}}
	first := make(chan struct{})
	go p.read(first)
	select {
	case <-first:
		return p, nil
	case <-time.After(5 * time.Second):
		conn.Close()
		return nil, fmt.Errorf("the page's websocket says nothing")
	}
}

func (p *page) close() { p.conn.Close() }

// read follows the page's frames until the connection ends; first is closed
// after the first of them.
func (p *page) read(first chan struct{}) {
	for once := sync.OnceFunc(func() { close(first) }); ; once() {
		_, b, err := p.conn.ReadMessage()
		if err != nil {
			return
		}
		var f struct {
			T      string            `json:"t"`
			Stack  []View            `json:"stack"`
			Errors map[string]string `json:"errors"`
			User   string            `json:"user"`
			View   View              `json:"view"`
			Entry  LogEntry          `json:"entry"`
			State  struct {
				ModalStack []View                     `json:"modalStack"`
				HomeViews  map[string]map[string]View `json:"homeViews"`
			} `json:"state"`
		}
		if err := json.Unmarshal(b, &f); err != nil {
			continue // a frame for people's eyes
		}
		p.mu.Lock()
		switch f.T {
		case "init":
			p.stack = f.State.ModalStack
			for user, views := range f.State.HomeViews {
				for _, v := range views {
					p.homes[user] = v
				}
			}
		case "view":
			p.stack = f.Stack
			p.settled = p.acks > 0
		case "view_errors":
			p.errors = f.Errors
			p.settled = true
		case "home":
			p.homes[f.User] = f.View
		case "log":
			if f.Entry.Direction == "from_bot" && (f.Entry.Kind == "ack" || f.Entry.Kind == "interactive") {
				p.acks++
			}
		}
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

// top is the modal on top; p.mu is held.
func (p *page) top() *View {
	if len(p.stack) == 0 {
		return nil
	}
	v := p.stack[len(p.stack)-1]
	return &v
}

// wait returns true once ok is; ok runs with p.mu held.
func (p *page) wait(limit time.Duration, ok func(*page) bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		p.mu.Lock()
		if ok(p) {
			p.mu.Unlock()
			return true
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
	}
}

func (p *page) send(tb TB, frame map[string]any) {
	tb.Helper()
	p.writeMu.Lock()
	defer p.writeMu.Unlock()
	if err := p.conn.WriteJSON(frame); err != nil {
		tb.Errorf("local-slack page: %v", err)
	}
}
