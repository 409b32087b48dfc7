package slackui

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/slack-go/slack/socketmode"

	"github.com/spanbot/spanbot/internal/review"
)

// nowhere is a network on which every call succeeds and nothing is reached: a
// made-up response_url must not lead to a server of somebody's.
type nowhere struct{}

func (nowhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body.Close()
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(`{"ok":true}`)), Request: r}, nil
}

// probe is a mux whose handlers check what reaches them.
type probe struct {
	*Mux
	handled atomic.Int64
}

func newProbe(t *testing.T) *probe {
	p := &probe{Mux: NewMux(New(Options{SigningSecret: testSecret, HTTP: &http.Client{Transport: nowhere{}}}),
		MuxOptions{Team: func() string { return "T1" }, Version: "1.2.3"})}
	check := func(what string, ref review.Ref, who review.Reviewer) {
		p.handled.Add(1)
		if ref.Route == "" || ref.SpanID == "" || who.Team != "T1" {
			t.Errorf("%s: %+v by %+v reached its handler", what, ref, who)
		}
	}
	for _, a := range []Action{Up, Down, Annotate, Details, Trace, Skip, Withdraw, Page, Again, Pick} {
		p.OnClick(a, func(_ context.Context, c Click) error {
			check(string(a), c.Ref, c.Reviewer)
			switch a { // what can come back
			case Down:
				return &review.Error{Kind: review.Gone, Text: c.Ref.SpanID}
			case Skip:
				return errors.New(c.Ref.TraceID)
			}
			return nil
		})
	}
	p.OnSubmit(func(_ context.Context, s Submit) (map[review.Field]string, error) {
		check("form", s.Ref, s.Reviewer)
		switch {
		case s.OnTrace:
			return nil, &review.Error{Kind: review.Refused, Text: s.Explanation}
		case s.Score != "":
			return map[review.Field]string{review.FieldScore: s.Score}, nil
		}
		return nil, nil
	})
	p.OnHome(func(_ context.Context, who review.Reviewer) error {
		p.handled.Add(1)
		if who.ID == "" || who.Team != "T1" {
			t.Errorf("the home of %+v was asked for", who)
		}
		return nil
	})
	p.OnStatus(func(context.Context) StatusView {
		p.handled.Add(1)
		return StatusView{Version: "1.2.3", Phoenix: "https://phoenix.example.com", Trouble: "it does not answer"}
	})
	return p
}

// ends waits for what was told to people, and looks at whether a handler or the
// reading itself panicked: the mux survives that, and hides it here.
func (p *probe) ends(t *testing.T) {
	t.Helper()
	p.running.Wait()
	if n := testutil.ToFloat64(p.c.metrics.refused.WithLabelValues("panic")); n > 0 {
		t.Error("it panicked")
	}
}

// sound checks an answer: nothing, or JSON that Slack takes.
func sound(t *testing.T, answer []byte) {
	t.Helper()
	if len(answer) > 0 && !json.Valid(answer) {
		t.Errorf("the answer is no JSON: %q", answer)
	}
}

// payloads are interactions with everything that Spanbot ever drew.
func payloads(f *testing.F) [][]byte {
	var all []any
	all = append(all, tapPayload("up", encodeValue(testRef, "cafe0123"), "T1"), tapPayload("up", encodeValue(testRef, "cafe0123"), "T2"), formPayload("x"),
		map[string]any{"type": "view_closed"})
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no drawings", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var drawing any
		if err := json.Unmarshal(b, &drawing); err != nil {
			f.Fatal(err)
		}
		taps := tapsIn(drawing, nil)
		for _, tap := range taps {
			p := tapPayload("", "", "T1")
			p["actions"] = []any{tap}
			all = append(all, p)
		}
	}
	out := make([][]byte, len(all))
	for i, p := range all {
		if out[i], err = json.Marshal(p); err != nil {
			f.Fatal(err)
		}
	}
	// Drawings repeat themselves.
	slices.SortFunc(out, bytes.Compare)
	return append(slices.CompactFunc(out, bytes.Equal),
		[]byte(`{"type":"block_actions","actions":[{"action_id":"more","selected_option":null}]}`),
		[]byte(`{"type":"view_submission","view":null}`))
}

// tapsIn lists what Slack would send for each thing that can be tapped.
func tapsIn(v any, list []map[string]any) []map[string]any {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			list = tapsIn(e, list)
		}
	case map[string]any:
		if id, ok := v["action_id"]; ok {
			tap := map[string]any{"type": v["type"], "action_id": id, "action_ts": "1758000000.123456"}
			if value, ok := v["value"]; ok {
				tap["value"] = value
			}
			options, _ := v["options"].([]any)
			if len(options) == 0 {
				list = append(list, tap)
			}
			for _, o := range options {
				one := map[string]any{"selected_option": o}
				for k, e := range tap {
					one[k] = e
				}
				list = append(list, one)
			}
		}
		for k, e := range v {
			if k != "options" {
				list = tapsIn(e, list)
			}
		}
	}
	return list
}

// FuzzInteraction: whatever a payload says, it is answered, and a handler sees
// only what it can work with.
func FuzzInteraction(f *testing.F) {
	for _, b := range payloads(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := newProbe(t)
		sound(t, compact(p.interaction(t.Context(), b, time.Now(), false)))
		p.ends(t)
	})
}

// FuzzHTTP: a request is answered with 200 exactly when Slack signed it, and
// reaches a handler only then.
func FuzzHTTP(f *testing.F) {
	const form = "application/x-www-form-urlencoded"
	for i, b := range payloads(f) {
		if i%4 == 0 {
			f.Add("/slack/interactive", form, "", []byte(url.Values{"payload": {string(b)}}.Encode()))
		}
	}
	f.Add("/slack/commands", form, "", []byte("command=%2Fspanbot&text=help&user_id=U1&team_id=T1&channel_id=C1&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2F1&trigger_id=1.2"))
	f.Add("/slack/commands", form, "", []byte("command=%2Fspanbot&text=status"))
	f.Add("/slack/events", "application/json", "", []byte(`{"type":"url_verification","challenge":"xyz"}`))
	f.Add("/slack/events", "application/json; charset=utf-8", "", []byte(`{"type":"event_callback","team_id":"T1","event":{"type":"app_home_opened","user":"U1","channel":"D1","tab":"home","event_ts":"1758000000.123456"},"event_id":"Ev1"}`))
	f.Add("/slack/events", form, "", []byte("ssl_check=1"))
	f.Add("/slack/events", form, "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503", []byte("payload=%7B%7D"))
	f.Add("/slack/events", form, "v0=", []byte("%zz"))
	f.Add("/slack/elsewhere", "", "v1=00", []byte{})
	f.Fuzz(func(t *testing.T, path, contentType, signature string, body []byte) {
		p := newProbe(t)
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.URL = &url.URL{Path: path}
		stamp := fmt.Sprint(time.Now().Unix())
		signed := signature == "" // "" stands for the right one, which no fuzzer finds
		if signed {
			mac := hmac.New(sha256.New, []byte(testSecret))
			mac.Write([]byte("v0:" + stamp + ":"))
			mac.Write(body)
			signature = "v0=" + hex.EncodeToString(mac.Sum(nil))
		}
		r.Header = http.Header{"Content-Type": {contentType}, "X-Slack-Request-Timestamp": {stamp}, "X-Slack-Signature": {signature}}
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, r)
		p.ends(t)
		ours := slices.Contains([]string{"/slack/events", "/slack/interactive", "/slack/commands"}, path)
		switch {
		case ours && signed && len(body) <= maxBody:
			if w.Code != http.StatusOK {
				t.Errorf("a signed request got %d: %s", w.Code, w.Body)
			}
			sound(t, w.Body.Bytes())
		case ours && len(body) > maxBody:
			if w.Code != http.StatusRequestEntityTooLarge {
				t.Errorf("a large request got %d", w.Code)
			}
		case ours:
			if w.Code != http.StatusUnauthorized {
				t.Errorf("an unsigned request got %d: %s", w.Code, w.Body)
			}
		case w.Code == http.StatusOK:
			t.Errorf("%q got 200: %s", path, w.Body)
		}
		if w.Code != http.StatusOK && p.handled.Load() > 0 {
			t.Errorf("a request that got %d was handled", w.Code)
		}
	})
}

// FuzzEnvelope: what comes by Socket Mode, both as slack-go reads it and when it
// cannot, is taken apart and has an answer.
func FuzzEnvelope(f *testing.F) {
	for i, b := range payloads(f) {
		if i%4 == 0 {
			f.Add([]byte(`{"envelope_id":"e1","type":"interactive","accepts_response_payload":true,"payload":` + string(b) + `}`))
		}
	}
	f.Add([]byte(`{"envelope_id":"e1","type":"slash_commands","payload":{"command":"/spanbot","text":"status","user_id":"U1","team_id":"T1","channel_id":"C1"},"accepts_response_payload":true}`))
	f.Add([]byte(`{"envelope_id":"e1","type":"events_api","retry_attempt":1,"retry_reason":"timeout","payload":{"type":"event_callback","event":{"type":"app_home_opened","user":"U1","tab":"home"}}}`))
	f.Add([]byte(`{"envelope_id":"e1","type":"interactive","payload":null}`))
	f.Add([]byte(`{"type":"disconnect","reason":"warning"}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		events := []socketmode.Event{{Type: socketmode.EventTypeErrorBadMessage, Data: &socketmode.ErrorBadMessage{Message: message, Cause: errors.New("cannot be parsed")}}}
		var r socketmode.Request
		if json.Unmarshal(message, &r) == nil {
			events = append(events, socketmode.Event{Type: socketmode.EventTypeInteractive, Request: &r})
		}
		ids := make([]string, len(events))
		for i, e := range events {
			p := newProbe(t)
			id, kind, raw, again := envelope(e)
			ids[i] = id
			if id == "" {
				continue
			}
			sound(t, compact(p.handle(t.Context(), kind, raw, time.Now(), again)))
			p.ends(t)
		}
		if len(ids) == 2 && ids[0] != ids[1] {
			t.Errorf("one message is envelope %q and %q", ids[0], ids[1])
		}
	})
}

// FuzzValue: what a button's value or a modal's metadata is read as is written
// as a value that reads the same.
func FuzzValue(f *testing.F) {
	f.Add(encodeValue(testRef, "cafe0123"))
	f.Add(encodeValue(testRef, "cafe0123", string(Details)))
	f.Add(pageValue(testRef, "cafe0123", 3))
	f.Add(encodeValue(review.Ref{Route: "r", TraceID: "a:b", SpanID: "c d%"}, ""))
	f.Add(place{Value: encodeValue(testRef, "cafe0123"), Channel: "C1", Message: "1.2", Thread: "1.1", OnTrace: true, Page: 2}.encode())
	for _, s := range []string{"", "v1", "v2:r:t:s:x", "v1::t:s:x", "v1:r:t::x", "v1:r:%zz:s:x", "{}", `{"v":1}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ref, rubric, extra, ok := decodeValue(s); ok {
			again, hash, rest, ok := decodeValue(encodeValue(ref, rubric, extra...))
			if !ok || again != ref || hash != rubric || !cmp.Equal(rest, extra, cmpopts.EquateEmpty()) {
				t.Errorf("%q is %+v %q %q, which is written and read as %+v %q %q", s, ref, rubric, extra, again, hash, rest)
			}
			if ref.Route == "" || ref.SpanID == "" {
				t.Errorf("%q is taken and names nothing: %+v", s, ref)
			}
		}
		if p, ok := decodePlace(s); ok {
			if again, ok := decodePlace(p.encode()); !ok || again != p {
				t.Errorf("%q is %+v, which is written and read as %+v", s, p, again)
			}
		}
	})
}
