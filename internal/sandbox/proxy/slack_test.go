package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// post calls a method with a form and returns the answer and its HTTP response.
func post(t *testing.T, s *Slack, method, token string, args map[string]string) (map[string]any, reply) {
	t.Helper()
	form := url.Values{}
	if token != "" {
		form.Set("token", token)
	}
	for k, v := range args {
		form.Set(k, v)
	}
	resp, err := http.PostForm(s.APIURL+method, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out, reply{resp.StatusCode, resp.Status, resp.Header}
}

// reply is an answer whose body was read.
type reply struct {
	StatusCode int
	Status     string
	Header     http.Header
}

const section = `{"type":"section","block_id":"%s","text":{"type":"plain_text","text":"%s"}}`

func blocks(id, words string) string { return "[" + fmt.Sprintf(section, id, words) + "]" }

func TestSlack_RefusesWhatSlackRefuses(t *testing.T) {
	_, s := Workspace(t, rig.SlackConfig{}, false, SlackOptions{Lenient: true, PostEvery: -1})
	s.SetChannel("C0ARCH", map[string]any{"is_archived": true})
	s.SetChannel("C0OUT", map[string]any{"is_member": false})
	tests := []struct {
		name   string
		method string
		token  string
		args   map[string]string
		want   string // error; empty: ok
	}{
		{"a plain post", "chat.postMessage", rig.BotToken, map[string]string{"channel": rig.General, "text": "x", "blocks": blocks("a", "x")}, ""},
		{"no token", "chat.postMessage", "", map[string]string{"channel": rig.General, "text": "x"}, "not_authed"},
		{"a wrong token", "auth.test", "xoxb-other", nil, "invalid_auth"},
		{"the app's token for a post", "chat.postMessage", rig.AppToken, map[string]string{"channel": rig.General, "text": "x"}, "not_allowed_token_type"},
		{"the bot's token for a socket", "apps.connections.open", rig.BotToken, nil, "not_allowed_token_type"},
		{"a scope that was not granted", "reactions.add", rig.BotToken, map[string]string{"channel": rig.General}, "missing_scope"},
		{"neither text nor blocks", "chat.postMessage", rig.BotToken, map[string]string{"channel": rig.General}, "no_text"},
		{"null blocks and no text", "chat.postMessage", rig.BotToken, map[string]string{"channel": rig.General, "blocks": "null"}, "no_text"},
		{"long text", "chat.postMessage", rig.BotToken, map[string]string{"channel": rig.General, "text": strings.Repeat("x", 40001)}, "msg_too_long"},
		{"long text in an update", "chat.update", rig.BotToken, map[string]string{"channel": rig.General, "ts": "1", "text": strings.Repeat("é", 2001)}, "msg_too_long"},
		{"a bad block", "chat.postMessage", rig.BotToken, map[string]string{"channel": rig.General, "text": "x", "blocks": blocks("a", "")}, "invalid_blocks"},
		{"blocks that are long together", "chat.postMessage", rig.BotToken, map[string]string{"channel": rig.General, "text": "x", "blocks": "[" + fmt.Sprintf(section, "a", strings.Repeat("x", 2700)) + strings.Repeat(","+fmt.Sprintf(section, "", strings.Repeat("x", 2700)), 4) + "]"}, "msg_blocks_too_long"},
		{"an unknown channel", "chat.postMessage", rig.BotToken, map[string]string{"channel": "C0NONE", "text": "x"}, "channel_not_found"},
		{"an archived channel", "chat.postMessage", rig.BotToken, map[string]string{"channel": "C0ARCH", "text": "x"}, "is_archived"},
		{"a channel without the bot", "conversations.history", rig.BotToken, map[string]string{"channel": "C0OUT"}, "not_in_channel"},
		{"a made-up trigger", "views.open", rig.BotToken, map[string]string{"trigger_id": "1.2.3", "view": `{"type":"modal","title":{"type":"plain_text","text":"t"},"blocks":[]}`}, "invalid_trigger_id"},
		{"a view that Slack refuses", "views.publish", rig.BotToken, map[string]string{"user_id": rig.Alice, "view": `{"type":"home","blocks":[{"type":"markdown","text":"x"}]}`}, "invalid_arguments"},
		{"a modal as a Home", "views.publish", rig.BotToken, map[string]string{"user_id": rig.Alice, "view": `{"type":"modal","title":{"type":"plain_text","text":"t"},"blocks":[]}`}, "invalid_arguments"},
		{"metadata without payload", "chat.postMessage", rig.BotToken, map[string]string{"channel": rig.General, "text": "x", "metadata": `{"event_type":"x"}`}, "invalid_metadata_format"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, resp := post(t, s, tt.method, tt.token, tt.args)
			code, _ := got["error"].(string)
			if code != tt.want || got["ok"] != (tt.want == "") || resp.StatusCode != http.StatusOK {
				t.Errorf("got %v %v", resp.Status, got)
			}
			if !strings.Contains(resp.Header.Get("X-OAuth-Scopes"), "chat:write") {
				t.Error("the answer does not tell the scopes")
			}
		})
	}
	if len(s.Problems()) != 6 {
		t.Errorf("problems: %v", s.Problems())
	}
}

func TestSlack_KeepsThePacesOfSlack(t *testing.T) {
	_, s := Workspace(t, rig.SlackConfig{}, false, SlackOptions{})
	say := func(channel string) int {
		_, resp := post(t, s, "chat.postMessage", rig.BotToken, map[string]string{"channel": channel, "text": "x"})
		return resp.StatusCode
	}
	if a, b, c := say(rig.General), say(rig.General), say(rig.Reviews); a != 200 || b != 429 || c != 200 {
		t.Errorf("posts: %d %d, in another channel %d; want 200 429 200", a, b, c)
	}
	time.Sleep(1100 * time.Millisecond)
	if got := say(rig.General); got != 200 {
		t.Errorf("a second later: %d", got)
	}
	m, _ := post(t, s, "chat.postMessage", rig.BotToken, map[string]string{"channel": "C0NONE", "text": "x"})
	if m["error"] != "channel_not_found" {
		t.Fatal(m)
	}
	first := s.Calls("chat.postMessage")[0]
	var posted struct{ TS string }
	if err := json.Unmarshal(first.Answer, &posted); err != nil {
		t.Fatal(err)
	}
	for i := range 51 {
		_, resp := post(t, s, "chat.update", rig.BotToken, map[string]string{"channel": rig.General, "ts": posted.TS, "text": "y"})
		if want := map[bool]int{true: 200, false: 429}[i < 50]; resp.StatusCode != want {
			t.Fatalf("update %d: %d", i+1, resp.StatusCode)
		}
		if i == 50 && resp.Header.Get("Retry-After") == "" {
			t.Error("a 429 without Retry-After")
		}
	}
}

func TestSlack_FaultsAreScripted(t *testing.T) {
	sl, s := Workspace(t, rig.SlackConfig{}, false, SlackOptions{PostEvery: -1})
	api := slack.New(rig.BotToken, slack.OptionAPIURL(s.APIURL), slack.OptionHTTPClient(&http.Client{Timeout: 400 * time.Millisecond}))
	say := func() error {
		_, _, err := api.PostMessage(rig.General, slack.MsgOptionText("x", false))
		return err
	}
	s.Fail("chat.postMessage", 1, Fault{Status: 429, Error: "ratelimited", RetryAfter: 7})
	var limited *slack.RateLimitedError
	if err := say(); !errors.As(err, &limited) || limited.RetryAfter != 7*time.Second {
		t.Errorf("429: %v", err)
	}
	s.Fail("chat.postMessage", 1, Fault{Error: "is_archived"})
	if err := say(); err == nil || err.Error() != "is_archived" {
		t.Errorf("error: %v", err)
	}
	if err := say(); err != nil {
		t.Errorf("after the faults: %v", err)
	}
	s.Fail("chat.postMessage", 1, Fault{Accept: true, Hang: true})
	if err := say(); err == nil {
		t.Error("a lost answer: no error")
	}
	if got := len(sl.Messages(rig.General)); got != 2 {
		t.Errorf("%d messages; want the good one and the one whose answer was lost", got)
	}
	if got := s.Calls("chat.postMessage"); len(got) != 4 || !got[3].Failed || got[2].Failed {
		t.Errorf("calls = %+v", got)
	}
}

func TestSlack_HistoryAsSlackTellsIt(t *testing.T) {
	sl, s := Workspace(t, rig.SlackConfig{}, false, SlackOptions{PostEvery: -1})
	api := slack.New(rig.BotToken, slack.OptionAPIURL(s.APIURL))
	var ts []string
	for i := range 5 {
		_, at, err := api.PostMessage(rig.General, slack.MsgOptionText(fmt.Sprint(i), false),
			slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "card", EventPayload: map[string]any{"n": fmt.Sprint(i)}}))
		if err != nil {
			t.Fatal(err)
		}
		ts = append(ts, at)
	}
	if _, err := api.PostEphemeral(rig.General, rig.Alice, slack.MsgOptionText("only you", false)); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := api.UpdateMessage(rig.General, ts[4], slack.MsgOptionText("4 again", false)); err != nil {
		t.Fatal(err)
	}
	texts := func(p slack.GetConversationHistoryParameters) (string, *slack.GetConversationHistoryResponse) {
		t.Helper()
		p.ChannelID = rig.General
		h, err := api.GetConversationHistory(&p)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, m := range h.Messages {
			all = append(all, m.Text)
		}
		return strings.Join(all, ","), h
	}
	if got, h := texts(slack.GetConversationHistoryParameters{IncludeAllMetadata: true}); got != "4 again,3,2,1,0" || h.Messages[0].Metadata.EventPayload["n"] != "4" {
		t.Errorf("all: %s, metadata %v", got, h.Messages[0].Metadata)
	}
	if _, h := texts(slack.GetConversationHistoryParameters{}); h.Messages[0].Metadata.EventType != "card" || len(h.Messages[0].Metadata.EventPayload) != 0 {
		t.Errorf("metadata that nobody asked for: %v", h.Messages[0].Metadata)
	}
	if got, _ := texts(slack.GetConversationHistoryParameters{Oldest: ts[1], Latest: ts[3]}); got != "2" {
		t.Errorf("between: %s", got)
	}
	if got, _ := texts(slack.GetConversationHistoryParameters{Oldest: ts[1], Latest: ts[3], Inclusive: true}); got != "3,2,1" {
		t.Errorf("between, inclusive: %s", got)
	}
	got, h := texts(slack.GetConversationHistoryParameters{Limit: 2})
	if got != "4 again,3" || !h.HasMore {
		t.Errorf("first page: %s, more %v", got, h.HasMore)
	}
	if got, h = texts(slack.GetConversationHistoryParameters{Limit: 3, Cursor: h.ResponseMetaData.NextCursor}); got != "2,1,0" || h.HasMore {
		t.Errorf("second page: %s, more %v", got, h.HasMore)
	}
	if m := sl.Messages(rig.General)[0]; m.Text != "0" {
		t.Errorf("the emulator's first message = %s", m.Raw)
	}
}

const form = `{"type":"modal","callback_id":"f","title":{"type":"plain_text","text":"F"},"submit":{"type":"plain_text","text":"S"},"blocks":[
	{"type":"input","block_id":"why","label":{"type":"plain_text","text":"Why"},"element":{"type":"plain_text_input","action_id":"t"}},
	{"type":"actions","block_id":"page","elements":[{"type":"button","action_id":"next","text":{"type":"plain_text","text":"Next"}}]}]}`

// socketBot runs slack-go's own Socket Mode client; handle answers each request.
func socketBot(t *testing.T, s *Slack, handle func(api *slack.Client, c slack.InteractionCallback) any) *socketmode.Client {
	t.Helper()
	api := slack.New(rig.BotToken, slack.OptionAppLevelToken(rig.AppToken), slack.OptionAPIURL(s.APIURL))
	sm := socketmode.New(api, socketmode.OptionPingInterval(3*time.Second))
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() { _ = sm.RunContext(ctx) }() // ends with the test
	go func() {
		for e := range sm.Events {
			if c, is := e.Data.(slack.InteractionCallback); is && e.Request != nil {
				switch answer := handle(api, c).(type) {
				case silence:
				case nil:
					_ = sm.Ack(*e.Request)
				default:
					_ = sm.Ack(*e.Request, answer)
				}
			}
		}
	}()
	waitFor(t, "the bot's connection", func() bool { return s.Links() == 1 })
	return sm
}

type silence struct{}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited 10 s for %s", what)
}

func TestSlack_SocketModeWithTheRealClient(t *testing.T) {
	sl, s := Workspace(t, rig.SlackConfig{}, false, SlackOptions{PingEvery: time.Second, Lenient: true})
	var opened *slack.ViewResponse
	clicked := make(chan slack.InteractionCallback, 9)
	socketBot(t, s, func(api *slack.Client, c slack.InteractionCallback) any {
		switch {
		case c.Type == slack.InteractionTypeBlockActions && c.View.ID == "":
			var v slack.ModalViewRequest
			if err := json.Unmarshal([]byte(form), &v); err != nil {
				t.Error(err)
			}
			var err error
			if opened, err = api.OpenView(c.TriggerID, v); err != nil {
				t.Errorf("views.open: %v", err)
			}
			if _, err := api.OpenView(c.TriggerID, v); err == nil || err.Error() != "exchanged_trigger_id" {
				t.Errorf("a trigger used twice: %v", err)
			}
			if u, err := api.UpdateView(v, "", opened.Hash, opened.ID); err != nil || u.ID != opened.ID {
				t.Errorf("views.update: id %s → %v, %v", opened.ID, u, err)
			}
			if _, err := api.UpdateView(v, "", "0.stale", opened.ID); err == nil || err.Error() != "hash_conflict" {
				t.Errorf("a stale hash: %v", err)
			}
		case c.Type == slack.InteractionTypeViewSubmission:
			clicked <- c
			return map[string]any{"response_action": "errors", "errors": map[string]string{"nowhere": "x"}}
		}
		clicked <- c
		return nil
	})
	sl.Say(rig.General, rig.Alice, "hello")
	m := sl.Messages(rig.General)[0]
	start := time.Now()
	if !sl.Click(rig.General, m.TS, rig.Alice, map[string]any{"type": "button", "action_id": "a", "block_id": "b", "value": "v"}) {
		t.Fatal("the click was not acked")
	}
	<-clicked
	e := s.Envelopes("block_actions")
	if len(e) != 1 || e[0].Sent.Before(start) || e[0].Acked.Before(e[0].Sent) || e[0].Acked.After(time.Now()) {
		t.Fatalf("envelopes = %+v", e)
	}
	v := sl.WaitModal(time.Second, "the form", func(v rig.View) bool { return v.CallbackID == "f" })
	next, _ := v.Button("next")
	sl.ClickModal(rig.Alice, next)
	c := <-clicked
	if c.View.ID != opened.ID || c.Container.Type != "view" || c.ActionCallback.BlockActions[0].ActionID != "next" {
		t.Errorf("a click in a modal: view %q, container %q", c.View.ID, c.Container.Type)
	}
	filled, err := v.Fill(map[string]string{"why": "because"})
	if err != nil {
		t.Fatal(err)
	}
	if got := sl.SubmitModal(rig.Alice, filled); !got.Acked || got.Errors["nowhere"] == "" {
		t.Errorf("submission = %+v", got)
	}
	if c := <-clicked; c.View.ID != opened.ID || c.View.State.Values["why"]["t"].Value != "because" {
		t.Errorf("submission: view %q, values %v", c.View.ID, c.View.State.Values)
	}
	if p := s.Problems(); len(p) != 1 || !strings.Contains(p[0], "no input block") {
		t.Errorf("problems = %v", p)
	}

	// slack-go reconnects after 3 s without a ping; ours come every second.
	time.Sleep(4 * time.Second)
	if n := len(s.Calls("apps.connections.open")); n != 1 {
		t.Errorf("%d connections on a quiet line; the pings did not keep it", n)
	}
	s.Disconnect("refresh_requested")
	waitFor(t, "a new connection", func() bool { return len(s.Calls("apps.connections.open")) == 2 && s.Links() == 1 })
}

func TestSlack_AnUnackedEnvelopeIsSentAgain(t *testing.T) {
	_, s := Workspace(t, rig.SlackConfig{}, false, SlackOptions{Redeliver: 1})
	seen := make(chan string, 9)
	tries := 0
	socketBot(t, s, func(_ *slack.Client, c slack.InteractionCallback) any {
		tries++
		seen <- c.User.ID
		if tries == 1 {
			return silence{}
		}
		return nil
	})
	click := map[string]any{"type": "block_actions", "user": map[string]any{"id": "U9STRANGER", "team_id": "T9OTHER"},
		"actions": []any{map[string]any{"type": "button", "action_id": "a", "block_id": "b"}}}
	e, err := s.Deliver("interactive", click, 300*time.Millisecond)
	if err == nil || !e.Acked.IsZero() || <-seen != "U9STRANGER" {
		t.Fatalf("the first try: %+v, %v", e, err)
	}
	if err := s.Resend(e.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the ack", func() bool { return !s.Envelopes()[0].Acked.IsZero() })
	if got := s.Envelopes()[0]; got.Tries != 2 || got.ID != e.ID {
		t.Errorf("envelope = %+v", got)
	}
}

func TestSlack_HTTPModeSignsAndStamps(t *testing.T) {
	sl, s := Workspace(t, rig.SlackConfig{}, true, SlackOptions{})
	var kinds []string
	bot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		v, err := slack.NewSecretsVerifier(r.Header, rig.SigningSecret)
		if err == nil {
			_, _ = v.Write(body)
			err = v.Ensure()
		}
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		kinds = append(kinds, r.Header.Get("Content-Type"))
	}))
	defer bot.Close()
	s.SetBotURL(bot.URL)
	sl.Say(rig.General, rig.Alice, "hello")
	m := sl.Messages(rig.General)[0]
	sl.Click(rig.General, m.TS, rig.Alice, map[string]any{"type": "button", "action_id": "a", "block_id": "b"})
	sl.Command(rig.General, rig.Alice, "/spanbot", "help")
	all := s.Envelopes()
	if len(all) != 3 || all[0].Kind() != "message" || all[1].Kind() != "block_actions" || all[2].Kind() != "/spanbot" {
		t.Fatalf("envelopes = %+v", all)
	}
	for _, e := range all {
		if e.Status != http.StatusOK || e.Acked.Before(e.Sent) {
			t.Errorf("%s: status %d, acked %v after %v", e.Kind(), e.Status, e.Acked, e.Sent)
		}
	}
	if status, _, err := s.Request("application/json", "{}", time.Now().Add(-time.Hour)); err != nil || status != http.StatusUnauthorized {
		t.Errorf("a request signed an hour ago: %d, %v", status, err)
	}
	if len(kinds) != 3 {
		t.Errorf("the bot got %v", kinds)
	}
}

func TestSlack_ChannelsArePagedAndPatched(t *testing.T) {
	_, s := Workspace(t, rig.SlackConfig{}, false, SlackOptions{})
	s.SetChannel(rig.Reviews, map[string]any{"is_ext_shared": true})
	first, _ := post(t, s, "conversations.list", rig.BotToken, map[string]string{"limit": "1"})
	cursor := first["response_metadata"].(map[string]any)["next_cursor"].(string)
	second, _ := post(t, s, "conversations.list", rig.BotToken, map[string]string{"limit": "1", "cursor": cursor})
	list := second["channels"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["id"] != rig.Reviews || list[0].(map[string]any)["is_ext_shared"] != true {
		t.Errorf("second page = %v", second)
	}
	if bad, _ := post(t, s, "conversations.list", rig.BotToken, map[string]string{"cursor": "x"}); bad["error"] != "invalid_cursor" {
		t.Errorf("a made-up cursor: %v", bad)
	}
}
