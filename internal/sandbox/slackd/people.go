package slackd

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spanbot/spanbot/internal/sandbox/blockkit"
)

// refused is why something that a person did is not possible, in words for them.
type refused struct{ code, text string }

func (e *refused) Error() string { return e.code + ": " + e.text }

func refuse(code, format string, args ...any) error {
	return &refused{code, fmt.Sprintf(format, args...)}
}

var (
	errGone    = refuse("message_not_found", "This message is gone.")
	errNoView  = refuse("not_found", "This window is closed.")
	errNoPlace = refuse("channel_not_found", "There is no such channel.")
	errNobody  = refuse("user_not_found", "There is nobody of that id here.")
	errSilent  = refuse("operation_timeout", "Spanbot did not answer within three seconds.")
)

// fieldErrors is a form's answer that something is wrong with its fields.
type fieldErrors map[string]string

func (e fieldErrors) Error() string { return fmt.Sprintf("wrong fields: %v", map[string]string(e)) }

// Action is what a person did with an element: its ids, and what was chosen.
type Action struct {
	BlockID  string
	ActionID string
	Option   string // value of the chosen option, for selects, radio buttons and overflow menus
}

// Click is a person's action on a message. It returns when the app has acked.
func (s *Server) Click(user, channel, ts string, a Action) error {
	return s.act(place{user: user, channel: channel, ts: ts}, a.object(), nil)
}

// ClickView is a person's action in a modal or, with their App Home's id, there.
func (s *Server) ClickView(user, viewID string, a Action, values obj) error {
	return s.act(place{user: user, viewID: viewID}, a.object(), values)
}

func (a Action) object() obj {
	o := obj{"block_id": a.BlockID, "action_id": a.ActionID}
	if a.Option != "" {
		o["selected_option"] = obj{"value": a.Option}
	}
	return o
}

// place is where somebody acts.
type place struct{ user, channel, ts, viewID string }

// act makes block_actions of an action.
func (s *Server) act(at place, action obj, values obj) error {
	s.mu.Lock()
	payload, err := s.actionPayload(at, action, values)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return spoken(s.deliver("interactive", payload, nil))
}

func spoken(err error) error {
	if errors.Is(err, errNoAck) {
		return errSilent
	}
	return err
}

// base is what every interaction has.
func (s *Server) interaction(kind string, p *Person) obj {
	return obj{
		"type": kind, "team": obj{"id": s.team, "domain": teamDomain}, "enterprise": nil, "is_enterprise_install": false,
		"user":       obj{"id": p.ID, "username": p.Name, "name": p.Name, "team_id": s.team},
		"api_app_id": s.app, "token": s.tokens.verification,
	}
}

func (s *Server) actionPayload(at place, action, values obj) (obj, error) {
	who := s.person(at.user)
	if who == nil {
		return nil, errNobody
	}
	p := s.interaction("block_actions", who)
	var blocks any
	if at.viewID != "" {
		v := s.viewOf(at.user, at.viewID)
		if v == nil {
			return nil, errNoView
		}
		if v.object["type"] == "modal" {
			if err := v.fill(values); err != nil {
				return nil, err
			}
		}
		blocks = v.object["blocks"]
		p["container"] = obj{"type": "view", "view_id": v.id()}
		p["view"] = copied(v.object)
	} else {
		m, c, ephemeral := s.messageFor(at)
		if m == nil {
			return nil, errGone
		}
		blocks = m["blocks"]
		p["channel"] = obj{"id": c.id, "name": c.name}
		container := obj{"type": "message", "message_ts": tsOf(m), "channel_id": c.id, "is_ephemeral": ephemeral}
		if thread, is := m["thread_ts"].(string); is {
			container["thread_ts"] = thread
		}
		p["container"] = container
		if !ephemeral {
			p["message"] = copied(c.shown(m))
		}
		p["state"] = obj{"values": orEmpty(copied(values))}
		p["response_url"] = s.newHook(at.user, c, tsOf(m), threadTS(m), ephemeral)
	}
	a, err := chosen(blocks, action)
	if err != nil {
		return nil, err
	}
	p["trigger_id"] = s.trigger(at.user, at.viewID)
	a["action_ts"] = fmt.Sprintf("%d.%06d", time.Now().Unix(), time.Now().Nanosecond()/1000)
	p["actions"] = []obj{a}
	return p, nil
}

func threadTS(m obj) string { t, _ := m["thread_ts"].(string); return t }

func orEmpty(v obj) obj {
	if v == nil {
		return obj{}
	}
	return v
}

// viewOf is a person's open modal, or their App Home.
func (s *Server) viewOf(user, id string) *view {
	for _, v := range s.views.stacks[user] {
		if v.id() == id {
			return v
		}
	}
	if v := s.store.homes[user]; v != nil && v.id() == id {
		return v
	}
	return nil
}

// messageFor is a message as a person sees it: in the channel, or for them alone.
func (s *Server) messageFor(at place) (m obj, c *channel, ephemeral bool) {
	c = s.store.channels[at.channel]
	if c == nil || !c.has(at.user) {
		return nil, nil, false
	}
	for _, m := range s.store.ephemerals[at.user] {
		if tsOf(m) == at.ts && m["channel"] == c.id {
			return m, c, true
		}
	}
	return c.message(at.ts), c, false
}

// chosen checks an action against the blocks that it is said to be on, and
// returns it as Slack tells the app.
func chosen(blocks any, action obj) (obj, error) {
	block, _ := action["block_id"].(string)
	id, _ := action["action_id"].(string)
	list, _ := blocks.([]any)
	for _, b := range list {
		b, _ := b.(obj)
		if b["block_id"] != block {
			continue
		}
		for _, e := range elements(b) {
			if e["action_id"] != id {
				continue
			}
			out := obj{"type": e["type"], "block_id": block, "action_id": id}
			switch e["type"] {
			case "button":
				out["text"] = e["text"]
				if v, has := e["value"]; has {
					out["value"] = v
				}
			case "overflow", "static_select", "radio_buttons":
				option, err := pick(e, action["selected_option"])
				if err != nil {
					return nil, err
				}
				out["selected_option"] = option
			default:
				for _, key := range []string{"value", "selected_options", "selected_date", "selected_time", "selected_date_time"} {
					if v, has := action[key]; has {
						out[key] = v
					}
				}
			}
			return out, nil
		}
	}
	return nil, refuse("invalid_action", "There is no such element (%s in %s).", id, block)
}

// pick finds the option that was chosen, by its value.
func pick(element obj, given any) (obj, error) {
	g, _ := given.(obj)
	for _, o := range options(element) {
		if o["value"] == g["value"] {
			return o, nil
		}
	}
	return nil, refuse("invalid_action", "There is no such option.")
}

func options(element obj) []obj {
	var list []obj
	take := func(v any) {
		all, _ := v.([]any)
		for _, o := range all {
			if o, is := o.(obj); is {
				list = append(list, o)
			}
		}
	}
	take(element["options"])
	groups, _ := element["option_groups"].([]any)
	for _, g := range groups {
		if g, is := g.(obj); is {
			take(g["options"])
		}
	}
	return list
}

// fill takes over what a person typed, for the fields that the view has.
func (v *view) fill(values obj) error {
	list, _ := v.object["blocks"].([]any)
	out := obj{}
	for _, b := range list {
		b, _ := b.(obj)
		block, _ := b["block_id"].(string)
		given, _ := values[block].(obj)
		for _, e := range elements(b) {
			kind, _ := e["type"].(string)
			action, _ := e["action_id"].(string)
			was, typed := given[action].(obj)
			field := stateOf(e, was, typed)
			if field == nil {
				continue
			}
			if option, is := field["selected_option"].(obj); is {
				o, err := pick(e, option)
				if err != nil {
					return err
				}
				field["selected_option"] = o
			}
			if text, is := field["value"].(string); is && kind == "plain_text_input" {
				if most, has := e["max_length"].(float64); has && utf8.RuneCountInString(text) > int(most) {
					return fieldErrors{block: fmt.Sprintf("Please use at most %d characters.", int(most))}
				}
			}
			if out[block] == nil {
				out[block] = obj{}
			}
			out[block].(obj)[action] = field
		}
	}
	v.values = out
	v.object["state"] = obj{"values": out}
	return nil
}

// stateOf is what state.values says of an element: what was chosen or typed, its
// initial value before that. Buttons have none.
func stateOf(e, was obj, typed bool) obj {
	kind, _ := e["type"].(string)
	key, initial := "value", "initial_value"
	switch kind {
	case "plain_text_input", "number_input", "email_text_input", "url_text_input":
	case "static_select", "radio_buttons":
		key, initial = "selected_option", "initial_option"
	case "checkboxes", "multi_static_select":
		key, initial = "selected_options", "initial_options"
	case "datepicker":
		key, initial = "selected_date", "initial_date"
	case "timepicker":
		key, initial = "selected_time", "initial_time"
	default:
		return nil
	}
	field := obj{"type": kind, key: e[initial]}
	if typed {
		field[key] = was[key]
	}
	if field[key] == "" {
		field[key] = nil
	}
	if key == "selected_options" && field[key] == nil {
		field[key] = []any{}
	}
	return field
}

// missing are the inputs that must be filled in and are not.
func (v *view) missing() fieldErrors {
	wrong := fieldErrors{}
	list, _ := v.object["blocks"].([]any)
	for _, b := range list {
		b, _ := b.(obj)
		block, _ := b["block_id"].(string)
		if b["type"] != "input" || b["optional"] == true {
			continue
		}
		for _, e := range elements(b) {
			action, _ := e["action_id"].(string)
			given, _ := v.values[block].(obj)
			field, _ := given[action].(obj)
			filled := false
			for key, value := range field {
				list, many := value.([]any)
				filled = filled || key != "type" && value != nil && (!many || len(list) > 0)
			}
			if !filled {
				wrong[block] = "Please complete this required field."
			}
		}
	}
	return wrong
}

// Submit sends a form: values in the shape of view.state.values. The error is
// fieldErrors when the app, or Slack itself, finds fields wrong; see FieldErrors.
func (s *Server) Submit(user, viewID string, values obj) error {
	s.mu.Lock()
	who := s.person(user)
	v := s.viewOf(user, viewID)
	if who == nil || v == nil || v.object["type"] != "modal" {
		s.mu.Unlock()
		return errNoView
	}
	err := v.fill(values)
	if err == nil {
		if wrong := v.missing(); len(wrong) > 0 {
			err = wrong
		}
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	p := s.interaction("view_submission", who)
	p["view"], p["trigger_id"], p["response_urls"] = copied(v.object), s.trigger(user, viewID), []any{}
	s.mu.Unlock()

	var said error
	err = s.deliver("interactive", p, func(answer json.RawMessage) { said = s.answered(v, answer) })
	if err != nil {
		return refuse("operation_timeout", "We had some trouble connecting. Try again?")
	}
	return said
}

// FieldErrors are the words under the fields of a form; nil when err is another.
func FieldErrors(err error) map[string]string {
	var e fieldErrors
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// answered does with a form what the app's answer says.
func (s *Server) answered(v *view, answer json.RawMessage) error {
	stack := s.views.stacks[v.user]
	at := slices.Index(stack, v)
	var a struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
		View   obj               `json:"view"`
	}
	if len(answer) > 0 && json.Unmarshal(answer, &a) != nil {
		return refuse("invalid_answer", "We had some trouble connecting. Try again?")
	}
	switch a.Action {
	case "":
		if at >= 0 {
			s.setStack(v.user, stack[:at:at])
		}
	case "clear":
		s.setStack(v.user, nil)
	case "errors":
		inputs := map[string]bool{}
		blocks, _ := v.object["blocks"].([]any)
		for _, b := range blocks {
			if b, _ := b.(obj); b["type"] == "input" {
				id, _ := b["block_id"].(string)
				inputs[id] = true
			}
		}
		for id := range a.Errors {
			if !inputs[id] {
				return refuse("invalid_answer", "We had some trouble connecting. Try again?")
			}
		}
		if len(a.Errors) == 0 {
			return refuse("invalid_answer", "We had some trouble connecting. Try again?")
		}
		return fieldErrors(a.Errors)
	case "update", "push":
		raw, _ := json.Marshal(a.View)
		if a.View == nil || len(blockkit.ValidateModal(raw)) > 0 || at < 0 || a.Action == "push" && len(stack) >= maxStack {
			return refuse("invalid_answer", "We had some trouble connecting. Try again?")
		}
		if a.Action == "push" {
			s.push(v.user, a.View)
			return nil
		}
		s.draw(v, a.View)
		s.toUser(v.user, s.stackFrame(v.user))
	default:
		return refuse("invalid_answer", "We had some trouble connecting. Try again?")
	}
	return nil
}

// Dismiss closes a modal, or with all what is below it, too.
func (s *Server) Dismiss(user, viewID string, all bool) error {
	s.mu.Lock()
	stack := s.views.stacks[user]
	at := slices.IndexFunc(stack, func(v *view) bool { return v.id() == viewID })
	if at < 0 {
		s.mu.Unlock()
		return errNoView
	}
	closed := stack[at:]
	if all {
		closed, at = stack, 0
	}
	var tell []obj
	for _, v := range slices.Backward(closed) {
		if v.object["notify_on_close"] == true {
			p := s.interaction("view_closed", s.person(user))
			p["view"], p["is_cleared"] = copied(v.object), all
			tell = append(tell, p)
		}
	}
	s.setStack(user, stack[:at:at])
	s.mu.Unlock()
	for _, p := range tell {
		s.spawn(func() { _ = s.deliver("interactive", p, nil) }) // nobody waits for it
	}
	return nil
}

// Say posts a person's text; one that starts with a slash is a command.
func (s *Server) Say(user, channel, threadTS, text string) error {
	if strings.HasPrefix(text, "/") {
		return s.command(user, channel, threadTS, text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.store.channels[channel]
	switch {
	case s.person(user) == nil:
		return errNobody
	case c == nil || !c.has(user):
		return errNoPlace
	case strings.TrimSpace(text) == "":
		return refuse("no_text", "There is nothing to send.")
	case utf8.RuneCountInString(text) > maxText:
		return refuse("msg_too_long", "This is longer than %d characters.", maxText)
	}
	m := obj{"type": "message", "user": user, "team": s.team, "text": escaped(text), "ts": s.stamp(), "client_msg_id": s.uuid()}
	if parent := c.message(threadTS); parent != nil {
		m["thread_ts"] = tsOf(parent)
	}
	c.read[user] = tsOf(m)
	s.add(c, m)
	return nil
}

// escaped is a text as Slack stores it.
func escaped(t string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(t)
}

func (s *Server) command(user, channel, threadTS, text string) error {
	name, rest, _ := strings.Cut(text, " ")
	s.mu.Lock()
	who, c := s.person(user), s.store.channels[channel]
	var err error
	switch {
	case who == nil:
		err = errNobody
	case c == nil || !c.has(user):
		err = errNoPlace
	case !slices.ContainsFunc(s.o.Commands, func(k Command) bool { return k.Command == name }):
		err = refuse("unknown_command", "%s is not a valid command.", name)
	case threadTS != "":
		err = refuse("not_in_threads", "%s is not supported in threads.", name)
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	p := obj{
		"token": s.tokens.verification, "team_id": s.team, "team_domain": teamDomain, "channel_id": c.id, "channel_name": c.name,
		"user_id": who.ID, "user_name": who.Name, "command": name, "text": strings.TrimSpace(rest), "api_app_id": s.app,
		"is_enterprise_install": "false", "trigger_id": s.trigger(user, ""), "response_url": s.newHook(user, c, "", "", false),
	}
	s.mu.Unlock()
	var said error
	err = s.deliver("slash_commands", p, func(answer json.RawMessage) { said = s.respond(user, c, answer) })
	if err != nil {
		return refuse("operation_timeout", "%s failed with the error “operation_timeout”.", name)
	}
	return said
}

// respond shows what a command was answered with.
func (s *Server) respond(user string, c *channel, answer json.RawMessage) error {
	if len(answer) == 0 {
		return nil
	}
	var text string
	args := obj{}
	if json.Unmarshal(answer, &text) == nil {
		args["text"] = text
	} else if json.Unmarshal(answer, &args) != nil {
		return refuse("invalid_answer", "The command was answered with something that is no message.")
	}
	if len(args) == 0 {
		return nil
	}
	k := call{args: args}
	if a, bad := checkMessage(k, maxText); bad {
		return refuse("dispatch_failed", "The command was answered with a message that Slack refuses: %v.", a.body["error"])
	}
	m := s.botMessage(k)
	if args["response_type"] == "in_channel" {
		m["ts"] = s.stamp()
		s.add(c, m)
		return nil
	}
	s.tell(user, c, m)
	return nil
}

// OpenHome opens a person's App Home: tab "home" or "messages".
func (s *Server) OpenHome(user, tab string) error {
	s.mu.Lock()
	if s.person(user) == nil {
		s.mu.Unlock()
		return errNobody
	}
	event := obj{"type": "app_home_opened", "user": user, "channel": "D" + user[1:], "tab": tab,
		"event_ts": fmt.Sprintf("%d.%06d", time.Now().Unix(), time.Now().Nanosecond()/1000)}
	if v := s.store.homes[user]; v != nil {
		event["view"] = copied(v.object)
	}
	p := obj{
		"token": s.tokens.verification, "team_id": s.team, "api_app_id": s.app, "event": event, "type": "event_callback",
		"event_id": s.id("Ev", 10), "event_time": time.Now().Unix(), "is_ext_shared_channel": false,
		"authorizations": []obj{{"enterprise_id": nil, "team_id": s.team, "user_id": s.bot, "is_bot": true, "is_enterprise_install": false}},
	}
	s.mu.Unlock()
	return spoken(s.deliver("events_api", p, nil))
}
