package slackd_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// One suite of conversations runs against this workspace and against an
// emulator that others wrote, through slack-go. What the app receives is
// compared field by field. differences is all in which the two may differ, and
// why ours is nearer to Slack; what is not in it fails, and so does what is in it
// and no longer so.

// workspace is one of the two, as people and the app use it.
type workspace struct {
	api             string // with trailing slash
	bot, app        string // tokens
	channel, person string
	known           map[string]string // ids, by what they stand for
	click           func(ts string, a slackd.Action) error
	submit          func(typed map[string]string) (wrong map[string]string)
	press           func(action string) // a button in the modal on top
	closeModal      func()
	command         func(text string)
	openHome        func()
	pressHome       func(action string)
}

// difference is a path that differs, and why.
type difference struct{ path, why string }

var differences = []difference{
	{`.*\.bot_profile\..*`, "Slack describes the app in each message of a bot"},
	{`.*message\.channel`, "Slack's messages do not repeat their channel"},
	{`.*messages?(\[\d\])?\.team`, "Slack's messages name the workspace of their author"},
	{`.*messages\[\d\]\.channel`, "Slack's messages do not repeat their channel"},
	{`.*messages?(\[\d\])?\.(thread_ts|latest_reply|reply_count|reply_users_count|reply_users\[0\]|is_locked|subscribed)`, "a parent carries the sums of its thread wherever it is shown"},
	{`.*\.has_more|.*\.pin_count|.*response_metadata\..*`, "history is paged"},
	{`.*payload\.token`, "a token of the workspace's own"},
	{`.*payload\.enterprise`, "null outside of an organisation, but there"},
	{`.*\.action_ts`, "microseconds, as every ts"},
	{`auth\.test\.user`, "the bot is called otherwise in the two"},
	{`users\.info\.user\..*`, "Slack says more of people, their time zone too"},
	{`conversations\.info\.channel\.(context_team_id|created|creator|is_.*|name_normalized|previous_names|topic\..*|purpose\..*|unlinked)`, "Slack says more of a channel; is_ext_shared is what Spanbot asks for"},
	{`conversations\.info\.channel\.num_members`, "only with include_num_members"},
	{`.*view\.(app_installed_team_id|clear_on_close|external_id)`, "every view has them"},
	{`(pushed|home click) block_actions\.payload\.(channel\..*|container\..*|response_url|state\.values|view\..*)`, "a click in a view comes from the view: with it, and without channel and response_url"},
}

func TestCompare_TheAppReceivesTheSame(t *testing.T) {
	ours := converse(t, here(t))
	theirs := converse(t, emulator(t))
	used := map[string]bool{}
	explained := func(path string) bool {
		for _, d := range differences {
			if regexp.MustCompile("^(?:" + d.path + ")$").MatchString(path) {
				used[d.path] = true
				return true
			}
		}
		return false
	}
	for _, path := range slices.Sorted(maps.Keys(union(ours, theirs))) {
		a, b := ours[path], theirs[path]
		if a == b || explained(path) {
			continue
		}
		t.Errorf("%s: here %s, in the emulator %s", path, orNothing(a), orNothing(b))
	}
	for _, d := range differences {
		if !used[d.path] {
			t.Errorf("%s does not differ any more (%s): take it out of the list", d.path, d.why)
		}
	}
}

func union(a, b map[string]string) map[string]string {
	u := maps.Clone(a)
	maps.Copy(u, b)
	return u
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// here is this package's workspace.
func here(t *testing.T) workspace {
	s := serve(t, slackd.Options{Channels: []string{"talk"}, PostEvery: -1})
	ana := s.Reviewers()[0]
	channel := s.Channel("talk")
	top := func() slackd.View {
		t.Helper()
		stack := s.Views(ana.ID)
		if len(stack) == 0 {
			t.Fatal("no modal is open")
		}
		return stack[len(stack)-1]
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	return workspace{
		api: apis[s], bot: s.BotToken(), app: s.AppToken(), channel: channel, person: ana.ID,
		known: map[string]string{s.Team(): "TEAM", s.BotUser(): "BOT", channel: "CHANNEL", ana.ID: "PERSON", "ana": "person", "Ana Lima": "Person", "talk": "channel",
			"Local workspace": "Team", "local": "domain", s.App(): "APP", s.BotID(): "BOTID", "spanbot": "bot"},
		click: func(ts string, a slackd.Action) error { return s.Click(ana.ID, channel, ts, a) },
		submit: func(typed map[string]string) map[string]string {
			v := top()
			values := map[string]any{}
			for block, text := range typed {
				values[block] = map[string]any{block: map[string]any{"type": "plain_text_input", "value": text}}
			}
			err := s.Submit(ana.ID, v.ID, values)
			if wrong := slackd.FieldErrors(err); wrong != nil {
				return wrong
			}
			check(err)
			return nil
		},
		press: func(action string) {
			check(s.ClickView(ana.ID, top().ID, slackd.Action{BlockID: "more", ActionID: action}, nil))
		},
		closeModal: func() { check(s.Dismiss(ana.ID, top().ID, true)) },
		command:    func(text string) { check(s.Say(ana.ID, channel, "", text)) },
		openHome:   func() { check(s.OpenHome(ana.ID, "home")) },
		pressHome: func(action string) {
			v, found := s.Home(ana.ID)
			if !found {
				t.Fatal("no Home was published")
			}
			check(s.ClickView(ana.ID, v.ID, slackd.Action{BlockID: "home", ActionID: action}, nil))
		},
	}
}

// emulator is local-slack.
func emulator(t *testing.T) workspace {
	sl := rig.LocalSlack(t, rig.SlackConfig{})
	return workspace{
		api: sl.URL + "/api/", bot: rig.BotToken, app: rig.AppToken, channel: rig.Reviews, person: rig.Alice,
		known: map[string]string{rig.TeamID: "TEAM", rig.BotUser: "BOT", rig.Reviews: "CHANNEL", rig.Alice: "PERSON", "alice": "person", "Alice Anderson": "Person", "llm-review": "channel",
			"Test Workspace": "Team", "test-workspace": "domain", rig.AppID: "APP", "B0BOT": "BOTID", "testbot": "bot"},
		click: func(ts string, a slackd.Action) error {
			b, _ := sl.Message(rig.Reviews, ts).Button(a.ActionID)
			if !sl.Click(rig.Reviews, ts, rig.Alice, b) {
				return fmt.Errorf("the click was not acked")
			}
			return nil
		},
		submit: func(typed map[string]string) map[string]string {
			v := sl.WaitModal(10*time.Second, "a form", func(v rig.View) bool { return len(v.Inputs()) > 0 })
			values, err := v.Fill(typed)
			if err != nil {
				t.Fatal(err)
			}
			wrong := map[string]string{}
			for k, v := range sl.SubmitModal(rig.Alice, values).Errors {
				wrong[k] = fmt.Sprint(v)
			}
			if len(wrong) == 0 {
				return nil
			}
			return wrong
		},
		press: func(action string) {
			v := sl.WaitModal(10*time.Second, action, func(v rig.View) bool { return slices.Contains(v.Actions(), action) })
			b, _ := v.Button(action)
			sl.ClickModal(rig.Alice, b)
		},
		closeModal: func() { sl.CloseModal(rig.Alice) },
		command: func(text string) {
			name, rest, _ := strings.Cut(text, " ")
			sl.Command(rig.Reviews, rig.Alice, name, rest)
		},
		openHome: func() { sl.OpenHome(rig.Alice) },
		pressHome: func(action string) {
			v := sl.WaitHome(rig.Alice, 10*time.Second, action, func(v rig.View) bool { return slices.Contains(v.Actions(), action) })
			b, _ := v.Button(action)
			sl.ClickHome(rig.Alice, b)
		},
	}
}

// app is a small app that answers everything, and keeps what it got.
type app struct {
	t      *testing.T
	w      workspace
	client *slack.Client
	socket *socketmode.Client

	mu    sync.Mutex
	step  string
	seen  map[string]string // path -> value
	count map[string]int
	come  chan string
}

func text(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject("plain_text", s, false, false)
}

func button(id string) *slack.ButtonBlockElement {
	return slack.NewButtonBlockElement(id, "v1:"+id, text(id))
}

func form() slack.ModalViewRequest {
	why := slack.NewPlainTextInputBlockElement(nil, "why")
	return slack.ModalViewRequest{Type: "modal", CallbackID: "form", Title: text("Form"), Submit: text("Save"), Close: text("Cancel"), PrivateMetadata: "m1", NotifyOnClose: true,
		Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewInputBlock("why", text("Why?"), nil, why), slack.NewActionBlock("more", button("push"))}}}
}

// converse has the conversations and returns what the app got, flat.
func converse(t *testing.T, w workspace) map[string]string {
	a := &app{t: t, w: w, seen: map[string]string{}, count: map[string]int{}, come: make(chan string, 100)}
	a.client = slack.New(w.bot, slack.OptionAPIURL(w.api), slack.OptionAppLevelToken(w.app))
	a.socket = socketmode.New(a.client, socketmode.OptionPingInterval(10*time.Minute))
	go func() { _ = a.socket.RunContext(t.Context()) }()
	go a.listen()
	a.await("hello")

	a.call("auth.test", nil)
	a.call("users.info", url.Values{"user": {w.person}})
	a.call("conversations.info", url.Values{"channel": {w.channel}})

	blocks, err := json.Marshal([]slack.Block{&slack.SectionBlock{Type: "section", BlockID: "s", Text: slack.NewTextBlockObject("mrkdwn", "*hi*", false, false)}, slack.NewActionBlock("a", button("open"), button("tell"))})
	if err != nil {
		t.Fatal(err)
	}
	posted := a.call("chat.postMessage", url.Values{"channel": {w.channel}, "text": {"hello"}, "blocks": {string(blocks)}})
	ts, _ := posted["ts"].(string)

	a.at("form")
	if err := w.click(ts, slackd.Action{BlockID: "a", ActionID: "open"}); err != nil {
		t.Fatal(err)
	}
	a.await("block_actions")
	if wrong := w.submit(map[string]string{"why": "wrong"}); wrong["why"] != "Try again." {
		t.Errorf("the form says %v", wrong)
	}
	a.await("view_submission")
	a.at("form again")
	if wrong := w.submit(map[string]string{"why": "right"}); wrong != nil {
		t.Errorf("the form says %v", wrong)
	}
	a.await("view_submission")

	a.at("push")
	if err := w.click(ts, slackd.Action{BlockID: "a", ActionID: "open"}); err != nil {
		t.Fatal(err)
	}
	a.await("block_actions")
	a.at("pushed")
	w.press("push")
	a.await("block_actions")

	a.at("thread")
	a.call("chat.postMessage", url.Values{"channel": {w.channel}, "text": {"a reply"}, "thread_ts": {ts}})
	a.call("conversations.replies", url.Values{"channel": {w.channel}, "ts": {ts}})
	a.call("conversations.history", url.Values{"channel": {w.channel}})
	a.call("chat.getPermalink", url.Values{"channel": {w.channel}, "message_ts": {ts}})

	a.at("ephemeral")
	if err := w.click(ts, slackd.Action{BlockID: "a", ActionID: "tell"}); err != nil {
		t.Fatal(err)
	}
	a.await("block_actions")
	a.call("chat.update", url.Values{"channel": {w.channel}, "ts": {ts}, "text": {"changed"}, "blocks": {string(blocks)}})

	a.at("command")
	w.command("/spanbot help me")
	a.await("slash_commands")

	a.at("home")
	w.openHome()
	a.await("app_home_opened")
	a.at("home click")
	w.pressHome("refresh")
	a.await("block_actions")
	return a.seen
}

func (a *app) at(step string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.step = step
}

func (a *app) await(kind string) {
	a.t.Helper()
	select {
	case got := <-a.come:
		if got != kind {
			a.t.Fatalf("%s came, want %s", got, kind)
		}
	case <-time.After(10 * time.Second):
		a.t.Fatalf("no %s came", kind)
	}
}

func (a *app) listen() {
	for {
		select {
		case <-a.t.Context().Done():
			return
		case e := <-a.socket.Events:
			if e.Type == socketmode.EventTypeHello {
				a.come <- "hello"
			}
			if e.Request != nil && e.Request.EnvelopeID != "" {
				a.take(e)
			}
		}
	}
}

// take keeps an envelope and answers it.
func (a *app) take(e socketmode.Event) {
	var p map[string]any
	if err := json.Unmarshal(e.Request.Payload, &p); err != nil {
		a.t.Errorf("payload: %v", err)
	}
	kind, _ := p["type"].(string)
	switch e.Request.Type {
	case "slash_commands":
		kind = "slash_commands"
	case "events_api":
		kind = p["event"].(map[string]any)["type"].(string)
	}
	a.keep(kind, map[string]any{"envelope": map[string]any{"type": e.Request.Type, "accepts_response_payload": e.Request.AcceptsResponsePayload}, "payload": p})
	var answer any
	trigger, _ := p["trigger_id"].(string)
	ok := func(err error) {
		if err != nil {
			a.t.Errorf("%s: %v", kind, err)
		}
	}
	switch kind {
	case "block_actions":
		switch p["actions"].([]any)[0].(map[string]any)["action_id"] {
		case "open":
			_, err := a.client.OpenView(trigger, form())
			ok(err)
		case "push":
			_, err := a.client.PushView(trigger, slack.ModalViewRequest{Type: "modal", Title: text("More"), Close: text("Back"), Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewSectionBlock(text("more"), nil, nil)}}})
			ok(err)
		case "tell":
			_, err := a.client.PostEphemeral(a.w.channel, a.w.person, slack.MsgOptionText("for you alone", false))
			ok(err)
		}
	case "view_submission":
		values := p["view"].(map[string]any)["state"].(map[string]any)["values"].(map[string]any)
		if values["why"].(map[string]any)["why"].(map[string]any)["value"] == "wrong" {
			answer = map[string]any{"response_action": "errors", "errors": map[string]string{"why": "Try again."}}
		}
	case "slash_commands":
		answer = map[string]any{"text": "helped"}
	case "app_home_opened":
		_, err := a.client.PublishViewContext(a.t.Context(), slack.PublishViewContextRequest{UserID: a.w.person, View: slack.HomeTabViewRequest{Type: "home", Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewActionBlock("home", button("refresh"))}}}})
		ok(err)
	}
	ok(a.socket.Ack(*e.Request, answer))
	a.come <- kind
}

// call calls the Web API and keeps the answer.
func (a *app) call(method string, args url.Values) map[string]any {
	a.t.Helper()
	if args == nil {
		args = url.Values{}
	}
	args.Set("token", a.w.bot)
	r, err := http.PostForm(a.w.api+method, args)
	if err != nil {
		a.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(b, &body); err != nil || body["ok"] != true {
		a.t.Fatalf("%s: %s", method, b)
	}
	a.keep(method, body)
	return body
}

func (a *app) keep(kind string, v any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := strings.TrimSpace(a.step + " " + kind)
	a.flatten(name, v)
}

// flatten writes a value down by its paths. Ids, times and addresses are
// replaced by what they stand for.
func (a *app) flatten(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			a.seen[path] = "{}"
		}
		for k, x := range v {
			if known, is := a.w.known[k]; is {
				k = known
			}
			a.flatten(path+"."+k, x)
		}
	case []any:
		if len(v) == 0 {
			a.seen[path] = "[]"
		}
		for i, x := range v {
			a.flatten(fmt.Sprintf("%s[%d]", path, i), x)
		}
	case string:
		a.seen[path] = a.named(v)
	case float64:
		a.seen[path] = "a number"
	default:
		a.seen[path] = fmt.Sprint(v)
	}
}

var kinds = []struct{ pattern, name string }{
	{`^\d{9,}\.\d{6}$`, "a ts"},
	{`^https?://`, "an address"},
	{`^\d+\.\d+\.[0-9A-Za-z]+$`, "a trigger"},
	{`^[0-9a-f]{8}-[0-9a-f-]{27}$`, "a uuid"},
	{`^V[0-9A-Z]{5,}$`, "a view"},
	{`^Ev[0-9A-Z]{5,}$`, "an event"},
	{`^D[0-9A-Z]{5,}$`, "a direct message"},
	{`^\d{9,}\.[0-9A-Za-z]{6,}$`, "a hash"},
}

func (a *app) named(s string) string {
	if k, is := a.w.known[s]; is {
		return k
	}
	for _, k := range kinds {
		if regexp.MustCompile(k.pattern).MatchString(s) {
			return k.name
		}
	}
	return fmt.Sprintf("%q", s)
}
