package slackd

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// fuzzed is a workspace with something of everything in it. No app is connected
// and none is waited for: it is closed.
func fuzzed(tb testing.TB) (s *Server, channel, ts string) {
	s = New(Options{Seed: 1, PostEvery: -1, PerMinute: map[string]int{"chat.update": 0}})
	s.At("http://127.0.0.1:1")
	s.Close() // envelopes have nobody to go to
	s.mu.Lock()
	defer s.mu.Unlock()
	channel = s.store.order[0]
	c := call{method: "chat.postMessage", args: obj{"channel": channel, "text": "x", "blocks": []any{
		obj{"type": "actions", "block_id": "a", "elements": []any{obj{"type": "button", "action_id": "up", "value": "v", "text": obj{"type": "plain_text", "text": "t"}}}}}}}
	a := chatPost(s, c)
	if a.body["ok"] != true {
		tb.Fatal(a.body)
	}
	v := s.fresh(s.people[0].ID, obj{"type": "modal", "title": obj{"type": "plain_text", "text": "T"}, "blocks": []any{
		obj{"type": "input", "block_id": "why", "label": obj{"type": "plain_text", "text": "Why"}, "element": obj{"type": "plain_text_input", "action_id": "why"}}}})
	v.object["id"] = "V1"
	s.views.stacks[s.people[0].ID] = []*view{v}
	s.views.triggers["1.1.T"] = &trigger{user: s.people[0].ID}
	ts, _ = a.body["ts"].(string)
	return s, channel, ts
}

// FuzzCall: whatever a client sends as a call, the answer is JSON with "ok".
func FuzzCall(f *testing.F) {
	for name := range methods {
		f.Add(name, "application/x-www-form-urlencoded", "token=TOKEN&channel=CHANNEL&ts=TS&text=x&user=U&limit=2&view_id=V1&trigger_id=1.1.T")
	}
	f.Add("chat.postMessage", "application/json", `{"token":"TOKEN","channel":"CHANNEL","blocks":[{"type":"section","text":{"type":"mrkdwn","text":"x"}}],"metadata":{"event_type":"e","event_payload":{}}}`)
	f.Add("views.open", "application/json", `{"token":"TOKEN","trigger_id":"1.1.T","view":{"type":"modal","title":{"type":"plain_text","text":"T"},"blocks":[{"type":"divider"}]}}`)
	f.Add("views.update", "application/json", `{"token":"TOKEN","view_id":"V1","view":{"type":"modal","title":{"type":"plain_text","text":"T"},"blocks":[{"type":"input","block_id":"why","label":{"type":"plain_text","text":"W"},"element":{"type":"static_select","action_id":"x","options":[{"text":{"type":"plain_text","text":"o"},"value":"o"}]}}]}}`)
	f.Add("chat.update", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nTOKEN\r\n--b--\r\n")
	f.Fuzz(func(t *testing.T, method, contentType, body string) {
		if strings.ContainsAny(method, " ?#%\r\n") || strings.ContainsAny(contentType, "\r\n\x00") {
			return
		}
		s, channel, ts := fuzzed(t)
		body = strings.NewReplacer("TOKEN", s.tokens.bot, "CHANNEL", channel, "TS", ts).Replace(body)
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.URL.Path = "/api/" + method
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		var a map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a["ok"] == nil {
			t.Fatalf("%s answers %d %q", method, w.Code, w.Body)
		}
	})
}

// FuzzFrame: whatever a page sends, the answer is a result; whatever an app sends
// over its socket is taken.
func FuzzFrame(f *testing.F) {
	for _, kind := range []string{"history", "replies", "read", "send", "action", "submit", "close", "home", "dismiss"} {
		f.Add(`{"id":1,"t":"` + kind + `","channel":"CHANNEL","ts":"TS","text":"x","view_id":"V1","action":{"block_id":"a","action_id":"up"},"values":{"why":{"why":{"value":"x"}}}}`)
	}
	f.Add(`{"envelope_id":"e","payload":{"response_action":"errors","errors":{"why":"x"}}}`)
	f.Add(`{"id":1,"t":"action","view_id":"V1","action":{"block_id":"why","action_id":"why","selected_option":{"value":1}},"values":{"why":[1]}}`)
	f.Fuzz(func(t *testing.T, frame string) {
		s, channel, ts := fuzzed(t)
		raw := []byte(strings.NewReplacer("CHANNEL", channel, "TS", ts).Replace(frame))
		a := s.asked(s.people[0].ID, raw)
		if a["t"] != "result" || a["ok"] == nil {
			t.Fatalf("%v", a)
		}
		if _, err := json.Marshal(a); err != nil {
			t.Fatal(err)
		}
		s.acked(raw)
		e := &envelope{id: "e", done: make(chan struct{}), gone: make(chan struct{})}
		s.envelopes["e"] = e
		s.acked(raw)
		v := s.views.stacks[s.people[0].ID]
		if len(v) > 0 {
			_ = s.answered(v[0], raw)
		}
		_ = s.respond(s.people[0].ID, s.store.channels[channel], raw)
	})
}

// FuzzHook: whatever an app sends to a response_url, the answer is "ok" or JSON.
func FuzzHook(f *testing.F) {
	f.Add(`{"text":"x"}`)
	f.Add(`{"text":"x","replace_original":true}`)
	f.Add(`{"delete_original":true}`)
	f.Add(`{"response_type":"in_channel","blocks":[{"type":"divider"}],"thread_ts":"TS"}`)
	f.Fuzz(func(t *testing.T, body string) {
		s, channel, ts := fuzzed(t)
		for _, at := range []string{ts, ""} {
			s.mu.Lock()
			hook := s.newHook(s.people[0].ID, s.store.channels[channel], at, "", false)
			s.mu.Unlock()
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, hook[strings.Index(hook, "/hook/"):], strings.NewReader(body)))
			if got := w.Body.String(); got != "ok" && !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%d %q", w.Code, got)
			}
		}
	})
}
