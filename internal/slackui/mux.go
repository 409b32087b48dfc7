package slackui

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// handlerBudget is how long a handler may take: Slack waits three seconds for
// the ack, and the way there and back takes its part.
const handlerBudget = 2500 * time.Millisecond

// Click is a person's tap on something the bot drew.
type Click struct {
	Action   Action
	Ref      review.Ref
	Rubric   string // hash of the rubric that the button asked
	Reviewer review.Reviewer
	Channel  string // where the message is; for a tap in a modal, where it was opened
	Message  string // ts of the message; for a tap in a modal, of the card it was opened from
	ThreadTS string // ts of the parent when the message is a reply
	Trigger  string // opens a modal, once, within three seconds
	ViewID   string // of the modal that was tapped in
	ViewHash string
	Page     int
	OnTrace  bool // Withdraw: the judgement is about the whole trace
	Received time.Time
	At       time.Time // Slack's clock; zero when it does not say
	Again    bool      // Slack sends it once more: it did not hear the ack

	responseURL string
}

// Submit is a filled form.
type Submit struct {
	Ref                       review.Ref
	Rubric                    string // hash
	Reviewer                  review.Reviewer
	Label, Score, Explanation string // as typed
	Correction                string
	OnTrace                   bool
	Channel, Message          string // of the card it was opened from
	ThreadTS                  string
	ViewID                    string
	Received                  time.Time
}

// MuxOptions say whose clicks are taken.
type MuxOptions struct {
	Team    func() string // our workspace: judgements of other teams' people are refused
	Org     func() string // our organisation (Enterprise Grid), whose id a person's team may be; nil: none
	Log     *slog.Logger
	Version string
}

// Mux takes interactions, the same over Socket Mode and HTTP: it verifies,
// parses, bounds, recovers, and acks after the handler; a handler only says
// what a click means.
type Mux struct {
	c         *Client
	opts      MuxOptions
	log       *slog.Logger
	clicks    map[Action]func(context.Context, Click) error
	submit    func(context.Context, Submit) (map[review.Field]string, error)
	home      func(context.Context, review.Reviewer) error
	status    func(context.Context) StatusView
	seen      *seen
	workers   chan struct{}
	running   sync.WaitGroup
	connected atomic.Bool
}

// maxWorkers bounds how many interactions are handled at once.
const maxWorkers = 64

// NewMux makes a mux without handlers.
func NewMux(c *Client, o MuxOptions) *Mux {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Team == nil {
		o.Team = func() string { return "" }
	}
	return &Mux{c: c, opts: o, log: o.Log, clicks: map[Action]func(context.Context, Click) error{},
		seen: newSeen(), workers: make(chan struct{}, maxWorkers)}
}

// OnClick registers what a tap means. A second handler for one action is a
// mistake in the program and panics.
func (m *Mux) OnClick(a Action, f func(context.Context, Click) error) {
	if m.clicks[a] != nil {
		panic("slackui: two handlers for " + string(a))
	}
	m.clicks[a] = f
}

// OnSubmit registers what a filled form means: words for the fields that are
// wrong, or an error that concerns the whole.
func (m *Mux) OnSubmit(f func(context.Context, Submit) (map[review.Field]string, error)) {
	if m.submit != nil {
		panic("slackui: two handlers for the form")
	}
	m.submit = f
}

// Connected reports whether clicks can arrive by Socket Mode right now.
func (m *Mux) Connected() bool { return m.connected.Load() }

// payload is what the mux reads of an interaction. slack-go's own type refuses
// a whole payload for one block element it does not know.
type payload struct {
	Type string `json:"type"`
	User struct {
		ID       string `json:"id"`
		Name     string `json:"name"`
		Username string `json:"username"`
		TeamID   string `json:"team_id"`
	} `json:"user"`
	Team      *struct{ ID string } `json:"team"`
	Trigger   string               `json:"trigger_id"`
	URL       string               `json:"response_url"`
	Container struct {
		MessageTS string `json:"message_ts"`
		ThreadTS  string `json:"thread_ts"`
		ChannelID string `json:"channel_id"`
	} `json:"container"`
	Channel *struct{ ID string } `json:"channel"`
	Message *struct {
		TS       string `json:"ts"`
		ThreadTS string `json:"thread_ts"`
	} `json:"message"`
	View    *view `json:"view"`
	Actions []struct {
		ActionID string `json:"action_id"`
		Value    string `json:"value"`
		TS       string `json:"action_ts"`
		Selected *struct {
			Value string `json:"value"`
		} `json:"selected_option"`
	} `json:"actions"`
}

type view struct {
	ID         string `json:"id"`
	Hash       string `json:"hash"`
	CallbackID string `json:"callback_id"`
	Metadata   string `json:"private_metadata"`
	State      struct {
		Values map[string]map[string]struct {
			Value    *string `json:"value"`
			Selected *struct {
				Value string `json:"value"`
			} `json:"selected_option"`
		} `json:"values"`
	} `json:"state"`
}

// input is what stands in a field of the form, "" for nothing.
func (v *view) input(block string) string {
	for _, e := range v.State.Values[block] {
		switch {
		case e.Selected != nil:
			return e.Selected.Value
		case e.Value != nil:
			return *e.Value
		}
	}
	return ""
}

// interaction handles one interaction and returns the body of its ack, nil for
// an empty one. It never panics and always has an answer.
func (m *Mux) interaction(ctx context.Context, raw []byte, received time.Time, again bool) (ack any) {
	kind := "unknown"
	defer func() {
		if p := recover(); p != nil {
			m.c.metrics.refused.WithLabelValues("panic").Inc()
			m.log.Error("a handler panicked; the person is told", "kind", kind, "panic", p, "stack", string(debug.Stack()))
			ack = m.sorry(raw)
		}
		m.c.metrics.acks.WithLabelValues(kind).Observe(time.Since(received).Seconds())
	}()
	var p payload
	if err := json.Unmarshal(raw, &p); err != nil {
		m.c.metrics.refused.WithLabelValues("malformed").Inc()
		m.log.Warn("an interaction cannot be read", "error", err)
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, received.Add(handlerBudget))
	defer cancel()
	who := review.Reviewer{Team: cmp.Or(p.User.TeamID, m.opts.Team()), ID: p.User.ID, Name: cmp.Or(p.User.Name, p.User.Username)}
	if m.foreign(p) {
		m.c.metrics.refused.WithLabelValues("other_team").Inc()
		m.log.Warn("an interaction by someone of another team was refused", "team", p.User.TeamID, "user", p.User.ID)
		return m.reply(ctx, p, refusal("Not saved: only members of this workspace can judge here."))
	}
	who.Team = m.opts.Team()
	switch p.Type {
	case "block_actions":
		kind = "click"
		return m.click(ctx, p, who, received, again)
	case "view_submission":
		kind = "submit"
		return m.submitted(ctx, p, who, received)
	case "view_closed":
		kind = "closed"
		return nil
	}
	m.c.metrics.refused.WithLabelValues("unknown_type").Inc()
	m.log.Warn("an interaction of an unknown type", "type", p.Type)
	return nil
}

// foreign reports whether the person belongs to another workspace (Slack
// Connect). Within an organisation a person's team may be the organisation.
func (m *Mux) foreign(p payload) bool {
	ours := m.opts.Team()
	if ours == "" || p.User.TeamID == "" || p.User.TeamID == ours {
		return false
	}
	return m.opts.Org == nil || p.User.TeamID != m.opts.Org()
}

func refusal(text string) error { return &review.Error{Kind: review.Denied, Text: text} }

func (m *Mux) click(ctx context.Context, p payload, who review.Reviewer, received time.Time, again bool) any {
	for _, a := range p.Actions {
		c := Click{Action: Action(a.ActionID), Reviewer: who, Trigger: p.Trigger, Received: received, At: slackTime(a.TS), Again: again, responseURL: p.URL}
		if a.ActionID == actionRefresh {
			m.showHome(who.ID)
			continue
		}
		value := a.Value
		if a.Selected != nil {
			value = a.Selected.Value
		}
		if c.Action == actionOpen {
			continue // a link: Slack opened it
		}
		if isInput(a.ActionID) {
			continue // a choice inside a form; it comes again with the form
		}
		ref, rubric, extra, ok := decodeValue(value)
		if ok && c.Action == actionMore && len(extra) > 0 {
			c.Action, extra = Action(extra[0]), extra[1:]
			if c.Action == actionOpen {
				continue
			}
		}
		f := m.clicks[c.Action]
		if !ok || f == nil {
			m.c.metrics.refused.WithLabelValues("unknown_action").Inc()
			m.log.Warn("a tap that nobody understands", "action", a.ActionID)
			return m.reply(ctx, p, refusal("This button is of another version of Spanbot and does nothing any more."))
		}
		c.Ref, c.Rubric = ref, rubric
		if len(extra) > 0 {
			c.Page, _ = strconv.Atoi(extra[0])
			c.OnTrace = extra[0] == string(review.FieldTarget)
		}
		c.where(p)
		if err := f(ctx, c); err != nil {
			m.said("click "+string(c.Action), c.Ref, who, err)
			return m.reply(ctx, p, err)
		}
	}
	return nil
}

// slackTime reads one of Slack's timestamps, "1758000000.123456".
func slackTime(ts string) time.Time {
	sec, err := strconv.ParseFloat(ts, 64)
	if err != nil || sec <= 0 || sec > 1e11 {
		return time.Time{}
	}
	return time.UnixMicro(int64(sec * 1e6))
}

// isInput reports whether an action is a field of the form changing.
func isInput(action string) bool {
	switch action {
	case blockLabel, blockScore, blockWhy, blockFix, blockTarget:
		return true
	}
	return false
}

// where says which message was tapped: a message's own payload tells, a
// modal's says what it was opened from.
func (c *Click) where(p payload) {
	c.Channel, c.Message, c.ThreadTS = p.Container.ChannelID, p.Container.MessageTS, p.Container.ThreadTS
	if p.Channel != nil {
		c.Channel = cmp.Or(c.Channel, p.Channel.ID)
	}
	if p.Message != nil {
		c.Message = cmp.Or(c.Message, p.Message.TS)
		c.ThreadTS = cmp.Or(c.ThreadTS, p.Message.ThreadTS)
	}
	if p.View != nil {
		c.ViewID, c.ViewHash = p.View.ID, p.View.Hash
		if at, ok := decodePlace(p.View.Metadata); ok {
			c.Channel, c.Message, c.ThreadTS = at.Channel, at.Message, at.Thread
			c.OnTrace = c.OnTrace || at.OnTrace
		}
	}
	if c.ThreadTS == c.Message {
		c.ThreadTS = "" // Slack calls a parent its own thread
	}
}

func (m *Mux) submitted(ctx context.Context, p payload, who review.Reviewer, received time.Time) any {
	if p.View == nil || p.View.CallbackID != callbackForm || m.submit == nil {
		return nil // a window without a form: it closes
	}
	at, ok := decodePlace(p.View.Metadata)
	ref, rubric, _, known := decodeValue(at.Value)
	if !ok || !known {
		m.c.metrics.refused.WithLabelValues("unknown_form").Inc()
		return fieldErrors(map[review.Field]string{lastField(p.View): "Not saved: this form is of another version of Spanbot. Copy your text, close it and open it again."})
	}
	s := Submit{
		Ref: ref, Rubric: rubric, Reviewer: who, ViewID: p.View.ID, Received: received,
		Label: p.View.input(blockLabel), Score: p.View.input(blockScore), Explanation: p.View.input(blockWhy), Correction: p.View.input(blockFix),
		OnTrace: p.View.input(blockTarget) == "trace",
		Channel: at.Channel, Message: at.Message, ThreadTS: at.Thread,
	}
	wrong, err := m.submit(ctx, s)
	if err != nil {
		m.said("form", ref, who, err)
		wrong = map[review.Field]string{lastField(p.View): words(err)}
	}
	if len(wrong) > 0 {
		return fieldErrors(wrong)
	}
	return nil
}

// lastField is an input that the form surely has, for what concerns the whole.
func lastField(v *view) review.Field {
	for _, f := range []string{blockWhy, blockFix, blockTarget, blockScore, blockLabel} {
		if _, ok := v.State.Values[f]; ok {
			return review.Field(f)
		}
	}
	return blockWhy
}

// fieldErrors keeps the form open, with words under its fields. The keys are
// block_ids of inputs, which are named as the fields are.
func fieldErrors(wrong map[review.Field]string) any {
	return map[string]any{"response_action": "errors", "errors": wrong}
}

func (m *Mux) said(what string, ref review.Ref, who review.Reviewer, err error) {
	k := review.KindOf(err)
	level := slog.LevelInfo
	if k != review.Invalid && k != review.Denied && k != review.Gone {
		level = slog.LevelWarn
	}
	m.log.Log(context.Background(), level, "a person was told that it did not work", "what", what, "ref", ref, "user", who.ID, "kind", k, "error", err)
}

// sorry is the answer after a panic.
func (m *Mux) sorry(raw []byte) any {
	var p payload
	if json.Unmarshal(raw, &p) != nil {
		return nil
	}
	err := &review.Error{Kind: review.Broken, Text: "Not saved: something is broken in Spanbot. It was logged; please tell whoever runs it."}
	if p.Type == "view_submission" && p.View != nil {
		return fieldErrors(map[review.Field]string{lastField(p.View): err.Text})
	}
	ctx, cancel := context.WithTimeout(context.Background(), handlerBudget)
	defer cancel()
	return m.reply(ctx, p, err)
}

// seen remembers which envelopes were handled, so that one that Slack sends
// again is acked without being handled again.
type seen struct {
	mu   sync.Mutex
	at   map[string]*handled
	ring []string
}

type handled struct {
	done chan struct{}
	ack  any
}

// seenMax envelopes are remembered: ten minutes of 8 a second.
const seenMax = 5000

func newSeen() *seen { return &seen{at: map[string]*handled{}} }

// first returns the envelope's record and whether it is new.
func (s *seen) first(id string) (*handled, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.at[id]; h != nil {
		return h, false
	}
	h := &handled{done: make(chan struct{})}
	if id == "" {
		return h, true
	}
	s.at[id] = h
	s.ring = append(s.ring, id)
	if len(s.ring) > seenMax {
		delete(s.at, s.ring[0])
		s.ring = s.ring[1:]
	}
	return h, true
}

// event answers an event of the Events API.
func (m *Mux) event(raw []byte) any {
	var e struct {
		Type      string `json:"type"`
		Challenge string `json:"challenge"`
		TeamID    string `json:"team_id"`
		Event     struct {
			Type string `json:"type"`
			User string `json:"user"`
			Tab  string `json:"tab"`
		} `json:"event"`
	}
	if json.Unmarshal(raw, &e) != nil {
		m.c.metrics.refused.WithLabelValues("malformed").Inc()
		return nil
	}
	switch {
	case e.Type == "url_verification":
		return map[string]string{"challenge": e.Challenge}
	case e.Event.Type == "app_home_opened" && e.Event.Tab != "messages":
		if ours := m.opts.Team(); e.TeamID == "" || ours == "" || e.TeamID == ours {
			m.showHome(e.Event.User)
		}
	}
	return nil
}

// recovered ends a panic of what runs beside the ack.
func (m *Mux) recovered(kind string) {
	if p := recover(); p != nil {
		m.panicked(kind, p)
	}
}

func (m *Mux) panicked(kind string, p any) {
	m.c.metrics.refused.WithLabelValues("panic").Inc()
	m.log.Error("a handler panicked", "kind", kind, "panic", p, "stack", string(debug.Stack()))
}

// compact is the ack as bytes, nil for an empty one.
func compact(ack any) []byte {
	if ack == nil {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(ack) != nil {
		return nil
	}
	return bytes.TrimSpace(b.Bytes())
}
