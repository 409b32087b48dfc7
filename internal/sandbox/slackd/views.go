package slackd

import (
	"fmt"
	"time"
)

// Slack's limits of modals (docs.slack.dev, modals).
const (
	triggerLife = 3 * time.Second
	maxStack    = 3
)

// viewBook is every modal that is open, and what may open one.
type viewBook struct {
	stacks   map[string][]*view // by user, root first
	triggers map[string]*trigger
	serial   int
}

func newViewBook() viewBook {
	return viewBook{stacks: map[string][]*view{}, triggers: map[string]*trigger{}}
}

// view is one modal or App Home.
type view struct {
	user     string
	object   obj // as Slack's API answers it
	values   obj // what was typed, at the last action or submission
	revision int
}

func (v *view) id() string { s, _ := v.object["id"].(string); return s }

// trigger is the right to open a modal, once, for three seconds.
type trigger struct {
	user string
	made time.Time
	used bool
	view string // the modal that it was made in; "" outside of one
}

// trigger makes one for a person's action.
func (s *Server) trigger(user, inView string) string {
	now := time.Now()
	for id, t := range s.views.triggers {
		if now.Sub(t.made) > time.Minute {
			delete(s.views.triggers, id)
		}
	}
	s.views.serial++
	id := fmt.Sprintf("%d.%d.%s", now.UnixMilli(), s.views.serial, s.id("", 24))
	s.views.triggers[id] = &trigger{user: user, made: now, view: inView}
	return id
}

// useTrigger finds a trigger and uses it up, or names the refusal.
func (s *Server) useTrigger(c call) (*trigger, string) {
	id := c.text("trigger_id")
	t := s.views.triggers[id]
	switch {
	case id == "":
		return nil, "invalid_arguments"
	case t == nil:
		return nil, "invalid_trigger_id"
	case t.used:
		return nil, "exchanged_trigger_id"
	case time.Since(t.made) > triggerLife:
		return nil, "expired_trigger_id"
	}
	return t, ""
}

// fresh is a view object of what an app sent.
func (s *Server) fresh(user string, sent obj) *view {
	v := &view{user: user, object: obj{"id": s.id("V", 10)}, values: obj{}}
	s.draw(v, sent)
	return v
}

// draw puts what an app sent into a view. What was typed stays under the
// block_ids and action_ids that are still there.
func (s *Server) draw(v *view, sent obj) {
	o := copied(sent)
	o["id"], o["team_id"], o["app_id"], o["bot_id"], o["app_installed_team_id"] = v.id(), s.team, s.app, s.botID, s.team
	o["blocks"] = s.named(sent["blocks"])
	for key, usual := range map[string]any{"private_metadata": "", "callback_id": "", "external_id": "", "clear_on_close": false,
		"notify_on_close": false, "title": nil, "close": nil, "submit": nil, "previous_view_id": nil} {
		if _, given := o[key]; !given {
			o[key] = usual
		}
	}
	if t, is := o["title"].(obj); is {
		o["title"] = withEmoji(t)
	}
	for _, key := range []string{"previous_view_id", "root_view_id"} {
		if old, had := v.object[key]; had {
			o[key] = old
		}
	}
	if o["root_view_id"] == nil {
		o["root_view_id"] = v.id()
	}
	v.revision++
	o["hash"] = fmt.Sprintf("%d.%s", time.Now().Unix(), s.id("", 8))
	v.object = o
	v.values = kept(v.values, o["blocks"])
	o["state"] = obj{"values": v.values}
}

func withEmoji(t obj) obj {
	if _, given := t["emoji"]; !given {
		t["emoji"] = true
	}
	return t
}

// kept is what was typed, of the fields that a view still has.
func kept(values obj, blocks any) obj {
	out := obj{}
	list, _ := blocks.([]any)
	for _, b := range list {
		b, _ := b.(obj)
		id, _ := b["block_id"].(string)
		was, _ := values[id].(obj)
		if was == nil {
			continue
		}
		for _, e := range elements(b) {
			action, _ := e["action_id"].(string)
			if v, typed := was[action]; typed {
				if out[id] == nil {
					out[id] = obj{}
				}
				out[id].(obj)[action] = v
			}
		}
	}
	return out
}

// elements are the interactive elements of a block.
func elements(b obj) []obj {
	var list []obj
	for _, key := range []string{"element", "accessory"} {
		if e, is := b[key].(obj); is {
			list = append(list, e)
		}
	}
	if more, is := b["elements"].([]any); is {
		for _, e := range more {
			if e, is := e.(obj); is {
				list = append(list, e)
			}
		}
	}
	return list
}

// stack is what a person has open; it tells their pages.
func (s *Server) setStack(user string, stack []*view) {
	if len(stack) == 0 {
		delete(s.views.stacks, user)
	} else {
		s.views.stacks[user] = stack
	}
	s.toUser(user, s.stackFrame(user))
}

func (s *Server) stackFrame(user string) obj {
	list := []obj{}
	for _, v := range s.views.stacks[user] {
		list = append(list, v.object)
	}
	return obj{"t": "views", "stack": list}
}

// open finds an open modal by its id or external id.
func (s *Server) open(id, external string) *view {
	for _, stack := range s.views.stacks {
		for _, v := range stack {
			if id != "" && v.id() == id || external != "" && v.object["external_id"] == external {
				return v
			}
		}
	}
	return nil
}

// taken reports whether an external id is another view's.
func (s *Server) taken(sent obj, but *view) bool {
	external, _ := sent["external_id"].(string)
	v := s.open("", external)
	return external != "" && v != nil && v != but
}

func sentView(c call) obj { v, _ := c.args["view"].(obj); return v }

func viewsOpen(s *Server, c call) answer {
	t, code := s.useTrigger(c)
	if code != "" {
		return no(code)
	}
	sent := sentView(c)
	if a, bad := checkView(sent, "modal"); bad {
		return a
	}
	if s.taken(sent, nil) {
		return no("duplicate_external_id")
	}
	t.used = true
	v := s.fresh(t.user, sent)
	s.setStack(t.user, []*view{v})
	return yes(obj{"view": copied(v.object)})
}

func viewsPush(s *Server, c call) answer {
	t, code := s.useTrigger(c)
	if code != "" {
		return no(code)
	}
	sent := sentView(c)
	if a, bad := checkView(sent, "modal"); bad {
		return a
	}
	stack := s.views.stacks[t.user]
	switch {
	case len(stack) == 0:
		return no("not_found")
	case len(stack) >= maxStack:
		return no("push_limit_reached")
	case s.taken(sent, nil):
		return no("duplicate_external_id")
	}
	t.used = true
	v := s.push(t.user, sent)
	return yes(obj{"view": copied(v.object)})
}

// push puts a view over what a person has open.
func (s *Server) push(user string, sent obj) *view {
	stack := s.views.stacks[user]
	v := s.fresh(user, sent)
	if len(stack) > 0 {
		v.object["previous_view_id"], v.object["root_view_id"] = stack[len(stack)-1].id(), stack[0].id()
	}
	s.setStack(user, append(stack, v))
	return v
}

func viewsUpdate(s *Server, c call) answer {
	id, external := c.text("view_id"), c.text("external_id")
	sent := sentView(c)
	if id == "" && external == "" {
		return no("invalid_arguments")
	}
	if a, bad := checkView(sent, "modal"); bad {
		return a
	}
	v := s.open(id, external)
	if v == nil {
		return no("not_found")
	}
	if h := c.text("hash"); h != "" && h != v.object["hash"] {
		return no("hash_conflict")
	}
	if s.taken(sent, v) {
		return no("duplicate_external_id")
	}
	s.draw(v, sent)
	s.toUser(v.user, s.stackFrame(v.user))
	return yes(obj{"view": copied(v.object)})
}

func viewsPublish(s *Server, c call) answer {
	user := c.text("user_id")
	if s.person(user) == nil {
		return no("user_not_found")
	}
	sent := sentView(c)
	if a, bad := checkView(sent, "home"); bad {
		return a
	}
	v := s.store.homes[user]
	if h := c.text("hash"); h != "" && v != nil && h != v.object["hash"] {
		return no("hash_conflict")
	}
	if v == nil {
		v = s.fresh(user, sent)
		s.store.homes[user] = v
	} else {
		s.draw(v, sent)
	}
	s.toUser(user, s.homeFrame(user))
	return yes(obj{"view": copied(v.object)})
}

func (s *Server) homeFrame(user string) obj {
	var o any
	if v := s.store.homes[user]; v != nil {
		o = v.object
	}
	return obj{"t": "home", "view": o}
}
