package slackd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/spanbot/spanbot/internal/sandbox/memnet"
	"github.com/spanbot/spanbot/internal/sandbox/slackcall"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// listener is an app by Socket Mode that acks with what its function returns.
type listener struct {
	mu  sync.Mutex
	got []socketmode.Request
}

func (l *listener) all() []socketmode.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]socketmode.Request{}, l.got...)
}

// connect connects an app and waits until it is.
func connect(ctx context.Context, t *testing.T, client *slack.Client, answer func(socketmode.Request) (any, bool), options ...socketmode.Option) *listener {
	t.Helper()
	l := &listener{}
	socket := socketmode.New(client, options...)
	go func() { _ = socket.RunContext(ctx) }()
	hello := make(chan bool, 100)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-socket.Events:
				if e.Type == socketmode.EventTypeHello {
					hello <- true
				}
				if e.Request == nil || e.Request.EnvelopeID == "" {
					continue
				}
				l.mu.Lock()
				l.got = append(l.got, *e.Request)
				l.mu.Unlock()
				if a, acks := answer(*e.Request); acks {
					_ = socket.Ack(*e.Request, a)
				}
			}
		}
	}()
	<-hello
	return l
}

func acks(socketmode.Request) (any, bool) { return nil, true }

// post posts a message with a button and returns its ts.
func post(t *testing.T, s *slackd.Server, client *slack.Client) (channel, ts string) {
	t.Helper()
	channel, ts, err := client.PostMessage(s.Channel("llm-reviews"), slack.MsgOptionText("card", false), slack.MsgOptionBlocks(slack.NewActionBlock("a", button("up"))))
	if err != nil {
		t.Fatal(err)
	}
	return channel, ts
}

var up = slackd.Action{BlockID: "a", ActionID: "up"}

func TestViews(t *testing.T) {
	s := serve(t, slackd.Options{PostEvery: -1})
	client := api(s)
	var trigger string
	connect(t.Context(), t, client, func(r socketmode.Request) (any, bool) {
		var p struct {
			Trigger string `json:"trigger_id"`
		}
		_ = json.Unmarshal(r.Payload, &p)
		trigger = p.Trigger
		return nil, true
	})
	channel, ts := post(t, s, client)
	ana := s.Reviewers()[0].ID
	fresh := func() string {
		t.Helper()
		if err := s.Click(ana, channel, ts, up); err != nil {
			t.Fatal(err)
		}
		return trigger
	}
	wants := func(want, method string, args ...string) map[string]any {
		t.Helper()
		body, _ := raw(t, s, method, args...)
		if got, _ := body["error"].(string); got != want {
			t.Errorf("%s: %v, want %q", method, body, want)
		}
		v, _ := body["view"].(map[string]any)
		return v
	}
	one := fresh()
	first := wants("", "views.open", "trigger_id", one, "view", modal(`,"external_id":"x1"`))
	wants("exchanged_trigger_id", "views.open", "trigger_id", one, "view", modal(""))
	wants("duplicate_external_id", "views.push", "trigger_id", fresh(), "view", modal(`,"external_id":"x1"`))
	second := wants("", "views.push", "trigger_id", fresh(), "view", modal(""))
	if second["previous_view_id"] != first["id"] || second["root_view_id"] != first["id"] {
		t.Errorf("the second: %v", second)
	}
	wants("", "views.push", "trigger_id", fresh(), "view", modal(""))
	wants("push_limit_reached", "views.push", "trigger_id", fresh(), "view", modal(""))
	wants("hash_conflict", "views.update", "view_id", first["id"].(string), "hash", "1.old", "view", modal(""))
	changed := wants("", "views.update", "external_id", "x1", "hash", first["hash"].(string), "view", modal(`,"external_id":"x1"`))
	if changed["id"] != first["id"] || changed["hash"] == first["hash"] {
		t.Errorf("changed: %v", changed)
	}
	body, _ := raw(t, s, "views.open", "trigger_id", fresh(), "view", strings.Replace(modal(""), `"text":"x"`, `"text":""`, 1))
	if body["error"] != "invalid_arguments" || !strings.Contains(fmt.Sprint(body["response_metadata"]), "[json-pointer:/view/blocks/0/text/text]") {
		t.Errorf("a bad view: %v", body)
	}
	wants("view_too_large", "views.open", "trigger_id", fresh(), "view", modal(`,"private_metadata":"`+strings.Repeat("x", 250_000)+`"`))

	stack := s.Views(ana)
	if len(stack) != 3 {
		t.Fatalf("%d modals are open", len(stack))
	}
	if err := s.Dismiss(ana, stack[2].ID, false); err != nil || len(s.Views(ana)) != 2 {
		t.Errorf("one was closed: %v, %d", err, len(s.Views(ana)))
	}
	if err := s.Submit(ana, stack[1].ID, nil); err != nil || len(s.Views(ana)) != 1 {
		t.Errorf("one was sent: %v, %d", err, len(s.Views(ana)))
	}
	if err := s.Dismiss(ana, stack[0].ID, true); err != nil || len(s.Views(ana)) != 0 {
		t.Errorf("all were closed: %v", err)
	}
	wants("not_found", "views.update", "view_id", stack[0].ID, "view", modal(""))
}

// What was typed stays under a field's ids when the app draws the view anew; a
// required field is asked for before the app hears of it.
func TestViews_KeepWhatWasTyped(t *testing.T) {
	s := serve(t, slackd.Options{PostEvery: -1})
	client := api(s)
	wrong := true
	l := connect(t.Context(), t, client, func(r socketmode.Request) (any, bool) {
		var p slack.InteractionCallback
		_ = json.Unmarshal(r.Payload, &p)
		switch p.Type {
		case slack.InteractionTypeBlockActions:
			if _, err := client.OpenView(p.TriggerID, form()); err != nil {
				t.Error(err)
			}
		case slack.InteractionTypeViewSubmission:
			if wrong {
				v := form()
				v.PrivateMetadata = "second"
				return map[string]any{"response_action": "update", "view": v}, true
			}
			return map[string]any{"response_action": "clear"}, true
		}
		return nil, true
	})
	channel, ts := post(t, s, client)
	ana := s.Reviewers()[0].ID
	if err := s.Click(ana, channel, ts, up); err != nil {
		t.Fatal(err)
	}
	id := s.Views(ana)[0].ID
	if e := slackd.FieldErrors(s.Submit(ana, id, nil)); e["why"] == "" {
		t.Errorf("an empty field was sent: %v", e)
	}
	if n := len(l.all()); n != 1 {
		t.Errorf("the app heard %d times", n)
	}
	typed := map[string]any{"why": map[string]any{"why": map[string]any{"type": "plain_text_input", "value": "because"}}}
	if err := s.Submit(ana, id, typed); err != nil {
		t.Fatal(err)
	}
	v := s.Views(ana)[0]
	if v.ID != id || v.Object["private_metadata"] != "second" || !strings.Contains(fmt.Sprint(v.Object["state"]), "because") {
		t.Errorf("drawn anew: %v", v.Object)
	}
	wrong = false
	if err := s.Submit(ana, id, typed); err != nil || len(s.Views(ana)) != 0 {
		t.Errorf("sent: %v", err)
	}
}

func TestHooks_FiveUsesAndTheirMeaning(t *testing.T) {
	s := serve(t, slackd.Options{PostEvery: -1})
	client := api(s)
	l := connect(t.Context(), t, client, acks)
	channel, ts := post(t, s, client)
	ana := s.Reviewers()[0].ID
	hook := func() string {
		t.Helper()
		if err := s.Click(ana, channel, ts, up); err != nil {
			t.Fatal(err)
		}
		list := l.all()
		var p slack.InteractionCallback
		if err := json.Unmarshal(list[len(list)-1].Payload, &p); err != nil {
			t.Fatal(err)
		}
		return p.ResponseURL
	}
	say := func(at, body string) (int, string) {
		t.Helper()
		r, err := http.Post(at, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	one := hook()
	if code, b := say(one, `{"text":"for you"}`); code != 200 || b != "ok" || len(s.Ephemerals(ana)) != 1 {
		t.Errorf("%d %s, %v", code, b, s.Ephemerals(ana))
	}
	if code, _ := say(one, `{"text":"for all","response_type":"in_channel"}`); code != 200 || len(s.Messages(channel)) != 2 {
		t.Errorf("in the channel: %d", code)
	}
	if code, _ := say(one, `{"text":"other","replace_original":true}`); code != 200 || s.Messages(channel)[0]["text"] != "other" {
		t.Errorf("replaced: %d %v", code, s.Messages(channel)[0])
	}
	if code, b := say(one, `{}`); code != 400 || !strings.Contains(b, "no_text") {
		t.Errorf("nothing said: %d %s", code, b)
	}
	if code, _ := say(one, `{"text":"5"}`); code != 200 {
		t.Errorf("the fifth: %d", code)
	}
	if code, b := say(one, `{"text":"6"}`); code != 404 || !strings.Contains(b, "used_url") {
		t.Errorf("the sixth: %d %s", code, b)
	}
	if code, _ := say(one+"x", `{"text":"x"}`); code != 404 {
		t.Errorf("an unknown one: %d", code)
	}
	if code, _ := say(one, `{`); code != 400 {
		t.Errorf("no JSON: %d", code)
	}
}

// HTTP mode: signed requests of every kind, and events once more when they are
// not taken.
func TestHTTPMode(t *testing.T) {
	var mu sync.Mutex
	var got []string
	refuse := true
	var s *slackd.Server
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Slack-Signature") != slackcall.Sign(s.SigningSecret(), r.Header.Get("X-Slack-Request-Timestamp"), string(b)) {
			t.Error("the signature is wrong")
		}
		mu.Lock()
		defer mu.Unlock()
		form, _ := url.ParseQuery(string(b))
		switch {
		case form.Has("payload"):
			got = append(got, "interaction")
		case form.Has("command"):
			got = append(got, "command "+form.Get("command")+" "+form.Get("text"))
			fmt.Fprint(w, `{"text":"answered"}`)
		default:
			got = append(got, "event"+r.Header.Get("X-Slack-Retry-Num")+" "+r.Header.Get("X-Slack-Retry-Reason"))
			if refuse {
				refuse = false
				w.WriteHeader(http.StatusInternalServerError)
			}
		}
	}))
	defer srv.Close()
	s = serve(t, slackd.Options{HTTP: srv.URL + "/slack/events", PostEvery: -1})
	ana := s.Reviewers()[0].ID
	channel, ts := post(t, s, api(s))
	if err := s.Click(ana, channel, ts, up); err != nil {
		t.Error(err)
	}
	if err := s.Say(ana, channel, "", "/spanbot help"); err != nil {
		t.Error(err)
	}
	if e := s.Ephemerals(ana); len(e) != 1 || e[0]["text"] != "answered" {
		t.Errorf("%v", e)
	}
	if err := s.OpenHome(ana, "home"); err == nil {
		t.Error("a refused event is no trouble")
	}
	want := "interaction|command /spanbot help|event |event1 http_error"
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		text := strings.Join(got, "|")
		mu.Unlock()
		if text == want {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got %s", text)
		}
	}
	if body, _ := raw(t, s, "apps.connections.open", "token", s.AppToken()); body["error"] != "socket_mode_disabled" {
		t.Errorf("a socket beside HTTP mode: %v", body)
	}
}

// bubbled is a workspace in a bubble, and apps that reach it.
func bubbled(t *testing.T, f func(t *testing.T, s *slackd.Server, client *slack.Client, dial socketmode.Option)) {
	synctest.Test(t, func(t *testing.T) {
		var n memnet.Net
		s := slackd.New(slackd.Options{Seed: 1, PostEvery: -1})
		s.At("http://10.0.0.1:80")
		l := n.Listen("10.0.0.1:80")
		go func() { _ = s.Serve(l) }()
		synctest.Wait()
		c := &http.Client{Transport: &http.Transport{DialContext: n.Dial}}
		client := slack.New(s.BotToken(), slack.OptionAPIURL("http://10.0.0.1:80/api/"), slack.OptionAppLevelToken(s.AppToken()), slack.OptionHTTPClient(c))
		f(t, s, client, socketmode.OptionDialer(&websocket.Dialer{NetDialContext: n.Dial}))
		c.CloseIdleConnections()
		s.Close()
		time.Sleep(time.Second)
	})
}

func TestEnvelopes_GoToOneConnection(t *testing.T) {
	bubbled(t, func(t *testing.T, s *slackd.Server, client *slack.Client, dial socketmode.Option) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		a, b := connect(ctx, t, client, acks, dial), connect(ctx, t, client, acks, dial)
		channel, ts := post(t, s, client)
		for range 10 {
			if err := s.Click(s.Reviewers()[0].ID, channel, ts, up); err != nil {
				t.Fatal(err)
			}
		}
		if x, y := len(a.all()), len(b.all()); x != 5 || y != 5 {
			t.Errorf("%d and %d of 10", x, y)
		}
	})
}

func TestEnvelopes_ComeAgainUntilTheyAreAcked(t *testing.T) {
	bubbled(t, func(t *testing.T, s *slackd.Server, client *slack.Client, dial socketmode.Option) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var deaf atomic.Bool
		deaf.Store(true)
		l := connect(ctx, t, client, func(socketmode.Request) (any, bool) { return nil, !deaf.Load() }, dial)
		channel, ts := post(t, s, client)
		start := time.Now()
		if err := s.Click(s.Reviewers()[0].ID, channel, ts, up); err == nil || time.Since(start) != 3*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		time.Sleep(time.Second)
		deaf.Store(false)
		time.Sleep(time.Minute)
		got := l.all()
		if len(got) != 3 {
			t.Fatalf("it came %d times", len(got))
		}
		for i, r := range got {
			if r.EnvelopeID != got[0].EnvelopeID || r.RetryAttempt != i || i > 0 && r.RetryReason != "timeout" {
				t.Errorf("%d: %+v", i, r)
			}
		}

		s.LoseAcks(1)
		if err := s.Click(s.Reviewers()[0].ID, channel, ts, up); err == nil {
			t.Error("a lost ack was heard")
		}
		time.Sleep(time.Minute)
		if n := len(l.all()); n != 5 {
			t.Errorf("after a lost ack it came %d times in all, want 5", n)
		}
		s.SendTwice(1)
		if err := s.Click(s.Reviewers()[0].ID, channel, ts, up); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if n := len(l.all()); n != 7 {
			t.Errorf("sent twice, it came %d times in all, want 7", n)
		}
	})
}

// A connection that ends takes nothing with it: what it had not acked goes over
// the next one.
func TestEnvelopes_SurviveTheirConnection(t *testing.T) {
	bubbled(t, func(t *testing.T, s *slackd.Server, client *slack.Client, dial socketmode.Option) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var deaf atomic.Bool
		deaf.Store(true)
		l := connect(ctx, t, client, func(socketmode.Request) (any, bool) { return nil, !deaf.Load() }, dial)
		channel, ts := post(t, s, client)
		done := make(chan error, 1)
		go func() { done <- s.Click(s.Reviewers()[0].ID, channel, ts, up) }()
		time.Sleep(time.Second)
		deaf.Store(false)
		s.Disconnect("refresh_requested")
		if err := <-done; err != nil {
			t.Error(err)
		}
		got := l.all()
		if len(got) != 2 || got[1].RetryAttempt != 1 || got[1].RetryReason != "connection_closed" {
			t.Errorf("%+v", got)
		}
	})
}

func TestTriggers_LiveThreeSeconds(t *testing.T) {
	bubbled(t, func(t *testing.T, s *slackd.Server, client *slack.Client, dial socketmode.Option) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		l := connect(ctx, t, client, acks, dial)
		channel, ts := post(t, s, client)
		for wait, want := range map[time.Duration]string{2900 * time.Millisecond: "", 3100 * time.Millisecond: "expired_trigger_id"} {
			if err := s.Click(s.Reviewers()[0].ID, channel, ts, up); err != nil {
				t.Fatal(err)
			}
			list := l.all()
			var p slack.InteractionCallback
			if err := json.Unmarshal(list[len(list)-1].Payload, &p); err != nil {
				t.Fatal(err)
			}
			time.Sleep(wait)
			_, err := client.OpenView(p.TriggerID, form())
			if got := fmt.Sprint(err); (err == nil) != (want == "") || err != nil && got != want {
				t.Errorf("after %s: %v", wait, err)
			}
		}
	})
}

func TestPeople_CannotDoWhatIsNotThere(t *testing.T) {
	s := serve(t, slackd.Options{PostEvery: -1})
	client := api(s)
	connect(t.Context(), t, client, acks)
	channel, ts := post(t, s, client)
	ana := s.Reviewers()[0].ID
	for name, err := range map[string]error{
		"an unknown person":         s.Click("U0NOBODY", channel, ts, up),
		"an unknown channel":        s.Click(ana, "C0NOWHERE", ts, up),
		"an unknown message":        s.Click(ana, channel, "1.000001", up),
		"an unknown button":         s.Click(ana, channel, ts, slackd.Action{BlockID: "a", ActionID: "down"}),
		"an unknown block":          s.Click(ana, channel, ts, slackd.Action{BlockID: "b", ActionID: "up"}),
		"an unknown view":           s.Submit(ana, "V0", nil),
		"an unknown modal":          s.Dismiss(ana, "V0", false),
		"an unknown command":        s.Say(ana, channel, "", "/dance"),
		"a command in a thread":     s.Say(ana, channel, ts, "/spanbot help"),
		"nothing":                   s.Say(ana, channel, "", " "),
		"a text for nowhere":        s.Say(ana, "C0NOWHERE", "", "hello"),
		"the Home of an unknown":    s.OpenHome("U0NOBODY", "home"),
		"a view that is no modal's": s.ClickView(ana, "V0", up, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), ":") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Remove(channel, ana)
	if err := s.Click(ana, channel, ts, up); err == nil {
		t.Error("somebody outside of the channel may click")
	}
}
