package rig

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// slackCall calls a Web API method as a bot does and returns the answer.
func slackCall(t *testing.T, s *SlackServer, method string, args map[string]string) map[string]any {
	t.Helper()
	form := url.Values{"token": {BotToken}}
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
	if out["ok"] != true {
		t.Fatalf("%s: %v", method, out)
	}
	return out
}

const testCard = `[{"type":"section","block_id":"card","text":{"type":"plain_text","text":"Is it right?"}},
	{"type":"actions","block_id":"a","elements":[
	{"type":"button","action_id":"up","text":{"type":"plain_text","text":"Yes"},"value":"v1"},
	{"type":"overflow","action_id":"more","options":[{"text":{"type":"plain_text","text":"Details"},"value":"details"}]}]}]`

const testForm = `{"type":"modal","callback_id":"form","private_metadata":"secretless","title":{"type":"plain_text","text":"Form"},
	"submit":{"type":"plain_text","text":"Save"},"blocks":[
	{"type":"input","block_id":"why","label":{"type":"plain_text","text":"Why"},"element":{"type":"plain_text_input","action_id":"t","initial_value":"as it was"}},
	{"type":"input","block_id":"label","label":{"type":"plain_text","text":"Label"},"element":{"type":"radio_buttons","action_id":"r","options":[
	{"text":{"type":"plain_text","text":"Good"},"value":"good"},{"text":{"type":"plain_text","text":"Bad"},"value":"bad"}]}}]}`

// bot is a minimal Socket Mode bot: it opens a form for every click and answers
// submissions by what was typed.
func bot(t *testing.T, s *SlackServer) {
	t.Helper()
	link := slackCall(t, s, "apps.connections.open", nil)["url"].(string)
	conn, resp, err := websocket.DefaultDialer.Dial(link, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	t.Cleanup(func() { conn.Close() })
	hello := make(chan struct{})
	go func() {
		for {
			var e struct {
				Type     string `json:"type"`
				Envelope string `json:"envelope_id"`
				Payload  struct {
					Type    string `json:"type"`
					Trigger string `json:"trigger_id"`
					View    struct {
						State struct {
							Values map[string]map[string]map[string]any `json:"values"`
						} `json:"state"`
					} `json:"view"`
				} `json:"payload"`
			}
			if conn.ReadJSON(&e) != nil {
				return
			}
			ack := map[string]any{"envelope_id": e.Envelope}
			switch e.Payload.Type {
			case "":
				if e.Type == "hello" {
					close(hello)
				}
				continue
			case "view_submission":
				values := e.Payload.View.State.Values
				switch values["why"]["t"]["value"] {
				case nil:
					ack["payload"] = map[string]any{"response_action": "errors", "errors": map[string]any{"why": "Say why."}}
				case "silence":
					continue
				case "again":
					var v map[string]any
					_ = json.Unmarshal([]byte(testForm), &v)
					v["callback_id"] = "second"
					ack["payload"] = map[string]any{"response_action": "update", "view": v}
				}
			case "block_actions":
				// The ack first: one that came after the modal would be taken for the
				// ack of what a person submits in it.
				if conn.WriteJSON(ack) != nil {
					return
				}
				slackCall(t, s, "views.open", map[string]string{"trigger_id": e.Payload.Trigger, "view": testForm})
				continue
			}
			if conn.WriteJSON(ack) != nil {
				return
			}
		}
	}()
	select {
	case <-hello:
	case <-time.After(5 * time.Second):
		t.Fatal("no hello")
	}
}

func TestLocalSlack_PeopleCanClickFillAndSubmit(t *testing.T) {
	s := LocalSlack(t, SlackConfig{})
	bot(t, s)
	posted := slackCall(t, s, "chat.postMessage", map[string]string{"channel": General, "text": "A card", "blocks": testCard})
	m := s.WaitMessage(General, time.Second, "the card", func(m SlackMessage) bool { return m.BlockID() == "card" })
	if m.TS != posted["ts"] || !strings.Contains(m.Shown(), "Is it right?") || fmt.Sprint(m.Actions()) != "[up more]" {
		t.Errorf("card = %s, shown %q, actions %v", m.Raw, m.Shown(), m.Actions())
	}
	if o, ok := m.Option("more", "Details"); !ok || o["selected_option"].(map[string]any)["value"] != "details" {
		t.Errorf("overflow option = %v, %v", o, ok)
	}
	up, ok := m.Button("up")
	if !ok || up["value"] != "v1" || up["block_id"] != "a" {
		t.Fatalf("button = %v, %v", up, ok)
	}
	if !s.Click(General, m.TS, Alice, up) {
		t.Error("the click was not acked")
	}
	v := s.WaitModal(time.Second, "the form", func(v View) bool { return v.CallbackID == "form" })
	if v.PrivateMetadata != "secretless" || fmt.Sprint(v.Inputs()) != "[why label]" {
		t.Errorf("form = %s", v.Raw)
	}

	empty, err := v.Fill(map[string]string{"why": ""})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.SubmitModal(Alice, empty); !got.Acked || got.Errors["why"] != "Say why." || got.Modal == nil {
		t.Errorf("empty form: %+v", got)
	}
	again, err := v.Fill(map[string]string{"why": "again", "label": "Bad"})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.SubmitModal(Alice, again); !got.Acked || got.Errors != nil || got.Modal == nil || got.Modal.CallbackID != "second" {
		t.Errorf("update: %+v", got)
	}
	if got := s.SubmitModal(Alice, nil); !got.Acked || got.Modal != nil {
		t.Errorf("untouched form: %+v", got)
	}

	s.Click(General, m.TS, Bob, up)
	v = s.WaitModal(time.Second, "the form again", func(v View) bool { return v.CallbackID == "form" })
	silence, _ := v.Fill(map[string]string{"why": "silence"})
	if got := s.SubmitModal(Bob, silence); got.Acked {
		t.Errorf("a submission that nobody answered: %+v", got)
	}
	if _, err := v.Fill(map[string]string{"nothing": "x"}); err == nil {
		t.Error("Fill took an input that the form does not have")
	}
}

func TestLocalSlack_ListensOnLoopbackOnly(t *testing.T) {
	s := LocalSlack(t, SlackConfig{})
	if err := onlyLoopback(s.port); err != nil {
		t.Error(err)
	}
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := onlyLoopback(l.Addr().(*net.TCPAddr).Port); err == nil {
		t.Error("a port open on every interface passed the check")
	}
}

func TestRedis_KeepsAcknowledgedWritesThroughKill(t *testing.T) {
	s := Redis(t)
	t.Log(s.Name)
	ask := func(network, addr, command string) string {
		conn, err := net.Dial(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s\r\n", command)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(line)
	}
	if got := ask("tcp", s.Addr, "INCR n"); got != ":1" {
		t.Fatalf("INCR = %s", got)
	}
	s.Kill()
	s.Start()
	if got := ask("unix", s.Socket, "INCR n"); got != ":2" {
		t.Errorf("after a kill INCR = %s; want :2", got)
	}
	s.Stop()
	s.Start()
	if got := ask("tcp", s.Addr, "INCR n"); got != ":3" {
		t.Errorf("after a stop INCR = %s; want :3", got)
	}
}

func TestPhoenix_HoldsSpansAndAnnotations(t *testing.T) {
	s := SharedPhoenix(t)
	spans := []map[string]any{NewSpan("a", "q", "a"), NewSpan("b", "q", "a")}
	s.Ingest(t, t.Name(), spans...)
	ids := SpanIDs(spans)
	s.Annotate(t, map[string]any{"span_id": ids[0], "name": "correctness", "annotator_kind": "HUMAN", "identifier": "x", "result": map[string]any{"label": "correct", "score": 1}})
	got := s.Annotations(t, t.Name(), ids...)
	if len(got) != 1 || got[0]["span_id"] != ids[0] || got[0]["identifier"] != "x" {
		t.Errorf("annotations = %v", got)
	}
	if traces := s.TraceAnnotations(t, t.Name(), spans[0]["context"].(map[string]any)["trace_id"].(string)); len(traces) != 0 {
		t.Errorf("trace annotations = %v", traces)
	}
	s.DeleteSpan(t, ids[0])
	if got := s.Annotations(t, t.Name(), ids[1]); len(got) != 0 {
		t.Errorf("annotations after the deletion = %v", got)
	}
}

func TestPhoenix_RestartsOnItsDataWithAuth(t *testing.T) {
	s := Phoenix(t, WithAuth())
	span := NewSpan("a", "q", "a")
	s.Ingest(t, "p", span)
	resp, err := client.Get(s.URL + "/v1/projects")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %s", resp.Status)
	}
	s.Stop()
	s.Start()
	missing := map[string]bool{SpanIDs([]map[string]any{span})[0]: true}
	if err := s.strikeListed("p", missing); err != nil || len(missing) != 0 {
		t.Errorf("after a restart missing %v, %v", missing, err)
	}
}

func TestPhoenix_VersionsCompareAsNumbers(t *testing.T) {
	tests := []struct {
		have, want string
		is         bool
	}{
		{"20.26.1", "20.16", true},
		{"20.9.0", "20.16", false},
		{"15.4.0", "15.4", true},
		{"19.6.0", "20.0", false},
	}
	for _, tt := range tests {
		if got := (&PhoenixServer{Version: tt.have}).AtLeast(tt.want); got != tt.is {
			t.Errorf("%s at least %s = %v", tt.have, tt.want, got)
		}
	}
}

func TestProgram_FatalIsTheErrorAndCleanUpRuns(t *testing.T) {
	cleaned := false
	err := Program(func(tb TB) {
		tb.Cleanup(func() { cleaned = true })
		tb.Fatalf("no %s", "luck")
		t.Error("ran on after Fatalf")
	})
	if err == nil || err.Error() != "no luck" || !cleaned {
		t.Errorf("Program = %v, cleaned %v", err, cleaned)
	}
}
