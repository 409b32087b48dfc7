package slackui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/blockkit"
)

// However many routes and however long their words: Slack takes it.
func TestDrawHome_AtWorstLengths(t *testing.T) {
	long := strings.Repeat("<&>W🦜", 700)
	v := HomeView{Version: long[:50], OnWay: 1 << 30, Total: 1 << 30}
	for range 200 {
		v.Routes = append(v.Routes, HomeRoute{Name: long, Channel: "C1", Open: 1 << 30, Waiting: 1 << 30, Oldest: drawnAt, Why: long})
		v.Labels = append(v.Labels, HomeCount{long, 1 << 30})
		v.Judged = append(v.Judged, HomeJudged{long, long, "https://x.slack.com/archives/C1/p1758000000000100?thread_ts=1758000000.000100&cid=C1", drawnAt})
	}
	b, err := json.Marshal(DrawHome(v))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range blockkit.ValidateHome(b) {
		t.Error(p)
	}
}

func TestDrawStatus_SaysWhatIsWrongAndFitsIntoAnAck(t *testing.T) {
	v := StatusView{Version: "1.2.3", Phoenix: "https://phoenix.example.com", Server: "20.26.1", Routes: []StatusRoute{{
		HomeRoute: HomeRoute{Name: "main", Channel: "C1", Open: 3, Waiting: 12, Oldest: drawnAt}, Schedule: "@every 30s", MaxOpen: 25, Polled: drawnAt}}}
	got := DrawStatus(v)
	for _, want := range []string{"Spanbot 1.2.3", "✅ Phoenix 20.26.1 at <https://phoenix.example.com|", "✅ Redis", "Phoenix has every judgement",
		"<#C1>", "*3 open cards*", "12 more to come", "at most 25", "`@every 30s`", "looked at Phoenix <!date^"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	v = StatusView{Version: "1.2.3", Phoenix: "http://p", Trouble: "Phoenix cannot be reached", Redis: "Redis cannot be reached", Dead: 1,
		Routes: []StatusRoute{{HomeRoute: HomeRoute{Name: "main", Why: "channel #x: <none>"}}}}
	got = DrawStatus(v)
	for _, want := range []string{"⚠️ Phoenix at <http://p|", "cannot be reached", "⚠️ Redis: Redis", "refuses 1 judgement;", "⚠️ channel #x: &lt;none&gt;", "has not looked at Phoenix yet"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for range 200 {
		v.Routes = append(v.Routes, StatusRoute{HomeRoute: HomeRoute{Name: strings.Repeat("é", 300), Why: strings.Repeat("<", 900)}, Schedule: strings.Repeat("`", 300)})
	}
	if got := DrawStatus(v); len(got) > maxAck-1000 || utf8.RuneCountInString(got) > 40_000 {
		t.Errorf("%d bytes: Slack would drop the ack", len(got))
	}
}

func TestCommand_StatusHelpAndWhatIsNotKnown(t *testing.T) {
	d := newDesk(t)
	d.OnStatus(func(context.Context) StatusView { return StatusView{Version: "1.2.3", Server: "20.26.1"} })
	for text, want := range map[string]string{
		"status": "Phoenix 20.26.1", " STATUS ": "Phoenix 20.26.1", "": "Annotate", "help": "App Home", "dance <!here>": "“dance &lt;!here&gt;” is not known",
	} {
		code, body := d.post("/slack/commands", "application/x-www-form-urlencoded", url.Values{"command": {"/spanbot"}, "text": {text}}.Encode())
		var answer struct {
			Type string `json:"response_type"`
			Text string `json:"text"`
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || code != 200 || answer.Type != "ephemeral" || !strings.Contains(answer.Text, want) {
			t.Errorf("%q is answered with %d %s", text, code, body)
		}
	}
}

func TestHome_IsShownWhenOpenedAndOnRefresh(t *testing.T) {
	d := newDesk(t)
	shown := make(chan review.Reviewer, 9)
	d.OnHome(func(_ context.Context, who review.Reviewer) error {
		shown <- who
		if who.ID == "UPANIC" {
			panic("no")
		}
		return errors.New("logged, nobody waits for it")
	})
	open := func(user, tab, team string) {
		t.Helper()
		body := fmt.Sprintf(`{"type":"event_callback","team_id":%q,"event":{"type":"app_home_opened","user":%q,"tab":%q}}`, team, user, tab)
		if code, answer := d.post("/slack/events", "application/json", body); code != 200 || answer != "" {
			t.Errorf("answered with %d %q", code, answer)
		}
	}
	next := func() string {
		t.Helper()
		select {
		case who := <-shown:
			if who.Team != "T1" {
				t.Errorf("%+v", who)
			}
			return who.ID
		case <-time.After(5 * time.Second):
			t.Fatal("no Home was drawn")
			return ""
		}
	}
	open("U1", "home", "T1")
	if got := next(); got != "U1" {
		t.Errorf("drawn for %s", got)
	}
	open("U2", "messages", "T1") // not looking at it
	open("U3", "home", "T9")     // of another workspace
	open("UPANIC", "home", "T1")
	if got := next(); got != "UPANIC" {
		t.Errorf("drawn for %s", got)
	}
	b, err := json.Marshal(tapPayload(actionRefresh, "v1", "T1"))
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := d.post("/slack/interactive", "application/x-www-form-urlencoded", url.Values{"payload": {string(b)}}.Encode()); code != 200 {
		t.Errorf("the tap got %d", code)
	}
	next()
}

// The same by Socket Mode, where an envelope's type says what it carries.
func TestHandle_CommandAndHomeOfAnEnvelope(t *testing.T) {
	d := newDesk(t)
	shown := make(chan string, 9)
	d.OnHome(func(_ context.Context, who review.Reviewer) error { shown <- who.ID; return nil })
	d.OnStatus(func(context.Context) StatusView { return StatusView{Version: "1.2.3", Server: "20.26.1"} })
	handle := func(kind, payload string) string {
		return string(compact(d.handle(t.Context(), kind, []byte(payload), time.Now(), false)))
	}
	for _, c := range []struct{ kind, payload, want string }{
		{"slash_commands", `{"command":"/spanbot","text":"status","user_id":"U1","team_id":"T1"}`, "Phoenix 20.26.1"},
		{"slash_commands", `{"command":"/spanbot","text":""}`, "Annotate"},
		{"slash_commands", `{"text":7}`, "Annotate"}, // without words it is a call for help
		{"events_api", `{"type":"event_callback","team_id":"T1","event":{"type":"app_home_opened","user":"U1","tab":"home"}}`, ""},
		{"events_api", `{"type":"event_callback","team_id":"T9","event":{"type":"app_home_opened","user":"U9","tab":"home"}}`, ""},
		{"events_api", `{"type":"event_callback","team_id":"T1","event":{"type":"app_home_opened","tab":"home"}}`, ""}, // by nobody
		{"events_api", `{"type":"event_callback","event":{"type":"message","user":"U8"}}`, ""},
		{"events_api", `[`, ""},
	} {
		got := handle(c.kind, c.payload)
		if !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s %s is acked with %q; want %q", c.kind, c.payload, got, c.want)
		}
	}
	d.running.Wait()
	close(shown)
	var users []string
	for u := range shown {
		users = append(users, u)
	}
	if strings.Join(users, " ") != "U1" {
		t.Errorf("Homes were shown to %q", users)
	}
}

func TestStatus_APanicIsToldToThePerson(t *testing.T) {
	d := newDesk(t)
	d.OnStatus(func(context.Context) StatusView { panic("no") })
	if got := string(compact(d.handle(t.Context(), "slash_commands", []byte(`{"text":"status"}`), time.Now(), false))); !strings.Contains(got, "broken in Spanbot") || !strings.Contains(got, "ephemeral") {
		t.Errorf("acked with %q", got)
	}
}
