package slackd_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// tab is a page without a browser.
type tab struct {
	t      *testing.T
	conn   *websocket.Conn
	frames []map[string]any
	serial int
}

func open(t *testing.T, s *slackd.Server, user string) *tab {
	t.Helper()
	at := "ws" + strings.TrimSuffix(strings.TrimPrefix(apis[s], "http"), "api/") + "ui?user=" + user
	conn, _, err := websocket.DefaultDialer.Dial(at, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &tab{t: t, conn: conn}
}

// wait reads frames until one fits.
func (p *tab) wait(what string, fits func(map[string]any) bool) map[string]any {
	p.t.Helper()
	for {
		_ = p.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		var f map[string]any
		if err := p.conn.ReadJSON(&f); err != nil {
			p.t.Fatalf("no %s came: %v; what came: %v", what, err, p.frames)
		}
		p.frames = append(p.frames, f)
		if fits(f) {
			return f
		}
	}
}

func (p *tab) frame(kind string) map[string]any {
	p.t.Helper()
	return p.wait(kind, func(f map[string]any) bool { return f["t"] == kind })
}

// ask sends a request and returns its result.
func (p *tab) ask(kind string, args map[string]any) map[string]any {
	p.t.Helper()
	p.serial++
	q := map[string]any{"t": kind, "id": p.serial}
	for k, v := range args {
		q[k] = v
	}
	if err := p.conn.WriteJSON(q); err != nil {
		p.t.Fatal(err)
	}
	id := float64(p.serial)
	return p.wait("result of "+kind, func(f map[string]any) bool { return f["t"] == "result" && f["id"] == id })
}

func TestUI_TwoPeopleSeeEachOther(t *testing.T) {
	s := serve(t, slackd.Options{PostEvery: -1})
	connect(t.Context(), t, api(s), acks)
	people := s.Reviewers()
	ana, ben := open(t, s, people[0].ID), open(t, s, people[1].ID)
	hello := ana.frame("hello")
	if hello["me"] != people[0].ID || len(hello["users"].([]any)) != 4 || len(hello["channels"].([]any)) != 2 || hello["app"].(map[string]any)["connected"] != true {
		t.Errorf("hello %v", hello)
	}
	if ben.frame("hello")["me"] != people[1].ID {
		t.Error("Ben is somebody else")
	}
	if me := open(t, s, "U0NOBODY").frame("hello")["me"]; me != people[0].ID {
		t.Errorf("an unknown person is %v", me)
	}
	c := s.Channel("llm-reviews")
	if r := ana.ask("send", map[string]any{"channel": c, "text": "hi <there>"}); r["ok"] != true {
		t.Errorf("sent: %v", r)
	}
	m := ben.frame("message")
	if m["channel"] != c || m["message"].(map[string]any)["text"] != "hi &lt;there&gt;" {
		t.Errorf("Ben sees %v", m)
	}
	unread := func(n float64) func(map[string]any) bool {
		return func(f map[string]any) bool {
			ch, _ := f["channel"].(map[string]any)
			return f["t"] == "channel" && ch["id"] == c && ch["unread"] == n
		}
	}
	ben.wait("one unread", unread(1))
	ts := m["message"].(map[string]any)["ts"].(string)
	if r := ben.ask("read", map[string]any{"channel": c, "ts": ts}); r["ok"] != true {
		t.Errorf("read: %v", r)
	}
	if r := ben.ask("send", map[string]any{"channel": c, "text": "a reply", "thread_ts": ts}); r["ok"] != true {
		t.Errorf("reply: %v", r)
	}
	ana.wait("the parent with its sum", func(f map[string]any) bool {
		m, _ := f["message"].(map[string]any)
		return f["t"] == "message" && m["ts"] == ts && m["reply_count"] == 1.0
	})
	if r := ana.ask("replies", map[string]any{"channel": c, "ts": ts}); len(r["messages"].([]any)) != 2 {
		t.Errorf("replies: %v", r)
	}
	s.DeleteMessage(c, s.Messages(c)[1]["ts"].(string))
	ana.frame("deleted")
}

func TestUI_HistoryInPages(t *testing.T) {
	s := serve(t, slackd.Options{PostEvery: -1})
	c := s.Channel("llm-reviews")
	ana := open(t, s, s.Reviewers()[0].ID)
	for i := range 7 {
		ok(t, s, "chat.postMessage", "channel", c, "text", fmt.Sprint(i))
	}
	texts := func(r map[string]any) (out string) {
		for _, m := range r["messages"].([]any) {
			out += m.(map[string]any)["text"].(string)
		}
		return out
	}
	r := ana.ask("history", map[string]any{"channel": c, "limit": 3})
	if texts(r) != "456" || r["has_more"] != true {
		t.Errorf("%v", r)
	}
	first := r["messages"].([]any)[0].(map[string]any)["ts"]
	r = ana.ask("history", map[string]any{"channel": c, "limit": 50, "before": first})
	if texts(r) != "0123" || r["has_more"] != false {
		t.Errorf("%v", r)
	}
}

func TestUI_ActionsFormsAndTheirErrors(t *testing.T) {
	s := serve(t, slackd.Options{PostEvery: -1})
	client := api(s)
	connect(t.Context(), t, client, func(r socketmode.Request) (any, bool) {
		var p slack.InteractionCallback
		_ = json.Unmarshal(r.Payload, &p)
		switch {
		case r.Type == "slash_commands":
			return map[string]any{"text": "for you"}, true
		case p.Type == slack.InteractionTypeBlockActions:
			_, _ = client.OpenView(p.TriggerID, form())
		case p.Type == slack.InteractionTypeViewSubmission && p.View.State.Values["why"]["why"].Value == "deaf":
			return nil, false
		case p.Type == slack.InteractionTypeViewSubmission:
			return map[string]any{"response_action": "errors", "errors": map[string]string{"why": "No."}}, true
		}
		return nil, true
	})
	channel, ts := post(t, s, client)
	ana := open(t, s, s.Reviewers()[0].ID)
	ana.frame("hello")
	if r := ana.ask("action", map[string]any{"channel": channel, "ts": ts, "action": map[string]any{"block_id": "a", "action_id": "up"}}); r["ok"] != true {
		t.Fatalf("the click: %v", r)
	}
	id := s.Views(s.Reviewers()[0].ID)[0].ID
	typed := func(v string) map[string]any {
		return map[string]any{"why": map[string]any{"why": map[string]any{"type": "plain_text_input", "value": v}}}
	}
	if r := ana.ask("submit", map[string]any{"view_id": id, "values": typed("x")}); r["ok"] != false || fmt.Sprint(r["errors"]) != "map[why:No.]" {
		t.Errorf("a wrong field: %v", r)
	}
	if r := ana.ask("submit", map[string]any{"view_id": id, "values": typed("deaf")}); r["error"] != "operation_timeout" || r["text"] == "" {
		t.Errorf("an app that does not answer: %v", r)
	}
	if r := ana.ask("close", map[string]any{"view_id": id}); r["ok"] != true {
		t.Errorf("closed: %v", r)
	}
	if r := ana.ask("send", map[string]any{"channel": channel, "text": "/spanbot help"}); r["ok"] != true {
		t.Errorf("the command: %v", r)
	}
	told := s.Ephemerals(s.Reviewers()[0].ID)[0]
	if r := ana.ask("dismiss", map[string]any{"channel": channel, "ts": told["ts"]}); r["ok"] != true || len(s.Ephemerals(s.Reviewers()[0].ID)) != 0 {
		t.Errorf("dismissed: %v", r)
	}
	for kind, args := range map[string]map[string]any{
		"dance":   nil,
		"history": {"channel": "C0NOWHERE"},
		"replies": {"channel": channel, "ts": "1.000001"},
		"read":    {"channel": "C0NOWHERE"},
		"action":  {"channel": channel, "ts": ts, "action": map[string]any{"block_id": "a", "action_id": "down"}},
		"submit":  {"view_id": "V0"},
		"close":   {"view_id": "V0"},
		"send":    {"channel": channel, "text": "/dance"},
		"dismiss": {"ts": "1.000001"},
	} {
		if r := ana.ask(kind, args); r["ok"] != false || r["error"] == "" || r["text"] == "" {
			t.Errorf("%s %v: %v", kind, args, r)
		}
	}
	for _, garbage := range []string{"", "{", "[]", `"x"`, `{"id":"x"}`, `{"id":1e99}`, `{"t":["x"]}`} {
		if err := ana.conn.WriteMessage(websocket.TextMessage, []byte(garbage)); err != nil {
			t.Fatal(err)
		}
		if r := ana.frame("result"); r["ok"] != false {
			t.Errorf("%q: %v", garbage, r)
		}
	}
}
