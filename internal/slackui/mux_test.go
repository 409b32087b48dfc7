package slackui

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/spanbot/spanbot/internal/review"
)

const testSecret = "8f742231b10e8888abcd99yyyzzz85a5"

// Slack's own published example (docs.slack.dev, verifying requests).
func TestVerify_TakesSlacksOwnExample(t *testing.T) {
	body := "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	h := http.Header{}
	h.Set("X-Slack-Request-Timestamp", "1531420618")
	h.Set("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503")
	at := time.Unix(1531420618, 0)
	if err := verify(at.Add(4*time.Minute), h, []byte(body), testSecret); err != nil {
		t.Errorf("verify = %v; want nil", err)
	}
	for name, c := range map[string]struct {
		now  time.Time
		body string
		edit func(http.Header)
		want error
	}{
		"stale":                {at.Add(6 * time.Minute), body, nil, errStale},
		"from the future":      {at.Add(-6 * time.Minute), body, nil, errStale},
		"another body":         {at, body + "x", nil, errUnsigned},
		"no signature":         {at, body, func(h http.Header) { h.Del("X-Slack-Signature") }, errUnsigned},
		"no timestamp":         {at, body, func(h http.Header) { h.Del("X-Slack-Request-Timestamp") }, errUnsigned},
		"another version":      {at, body, func(h http.Header) { h.Set("X-Slack-Signature", "v1=00") }, errUnsigned},
		"signature not hex":    {at, body, func(h http.Header) { h.Set("X-Slack-Signature", "v0=zz") }, errUnsigned},
		"timestamp re-dated":   {at, body, func(h http.Header) { h.Set("X-Slack-Request-Timestamp", "1531420619") }, errUnsigned},
		"a truncated digest":   {at, body, func(h http.Header) { h.Set("X-Slack-Signature", "v0=a2114d57") }, errUnsigned},
		"an empty digest":      {at, body, func(h http.Header) { h.Set("X-Slack-Signature", "v0=") }, errUnsigned},
		"timestamp in words":   {at, body, func(h http.Header) { h.Set("X-Slack-Request-Timestamp", "now") }, errUnsigned},
		"timestamp far future": {at, body, func(h http.Header) { h.Set("X-Slack-Request-Timestamp", "99999999999999") }, errStale},
	} {
		g := h.Clone()
		if c.edit != nil {
			c.edit(g)
		}
		if err := verify(c.now, g, []byte(c.body), testSecret); !errors.Is(err, c.want) {
			t.Errorf("%s: verify = %v; want %v", name, err, c.want)
		}
	}
	if err := verify(at, h, []byte(body), ""); err == nil {
		t.Error("an empty secret verifies anything")
	}
}

// desk is a mux behind HTTP, and what it told people.
type desk struct {
	*Mux
	t    *testing.T
	srv  *httptest.Server
	told atomic.Value // text of the last ephemeral
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t}
	d.told.Store("")
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/respond" {
			var m map[string]any
			_ = json.NewDecoder(r.Body).Decode(&m)
			d.told.Store(m["text"])
		}
		fmt.Fprint(w, `{"ok":true}`)
	}))
	t.Cleanup(slack.Close)
	c := New(Options{BotToken: "xoxb-x", SigningSecret: testSecret, APIURL: slack.URL + "/api/", Registry: prometheus.NewRegistry()})
	d.Mux = NewMux(c, MuxOptions{Team: func() string { return "T1" }, Version: "1.2.3"})
	d.srv = httptest.NewServer(d.Handler())
	t.Cleanup(d.srv.Close)
	t.Cleanup(d.running.Wait)
	respondURL = slack.URL + "/respond"
	return d
}

var respondURL string

func (d *desk) post(path, contentType, body string) (int, string) {
	d.t.Helper()
	req, err := http.NewRequest(http.MethodPost, d.srv.URL+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	stamp := fmt.Sprint(time.Now().Unix())
	mac := hmac.New(sha256.New, []byte(testSecret))
	mac.Write([]byte("v0:" + stamp + ":" + body))
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Slack-Request-Timestamp", stamp)
	req.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	return d.send(req)
}

func (d *desk) send(req *http.Request) (int, string) {
	d.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := resp.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return resp.StatusCode, b.String()
		}
	}
}

func (d *desk) interact(p map[string]any) (int, string) {
	d.t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.post("/slack/interactive", "application/x-www-form-urlencoded", url.Values{"payload": {string(b)}}.Encode())
}

func tapPayload(action, value, team string) map[string]any {
	return map[string]any{
		"type": "block_actions", "user": map[string]any{"id": "U1", "name": "ana", "team_id": team}, "trigger_id": "1.2.3",
		"response_url": respondURL, "channel": map[string]any{"id": "C1"},
		"container": map[string]any{"type": "message", "message_ts": "1.000002", "thread_ts": "1.000001", "channel_id": "C1"},
		"actions":   []any{map[string]any{"action_id": action, "value": value, "type": "button"}},
	}
}

func (d *desk) hears(what string) {
	d.t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s, _ := d.told.Load().(string); strings.Contains(s, what) {
			return
		}
	}
	d.t.Errorf("the person was told %q; want %q", d.told.Load(), what)
}

func TestClick_CarriesAllThatIsNeededWhenRedisForgotTheCard(t *testing.T) {
	d := newDesk(t)
	var got Click
	d.OnClick(Up, func(_ context.Context, c Click) error { got = c; return nil })
	if code, body := d.interact(tapPayload("up", encodeValue(testRef, "cafe0123"), "T1")); code != 200 || body != "" {
		t.Fatalf("answer = %d %q; want an empty 200", code, body)
	}
	if got.Ref != testRef || got.Rubric != "cafe0123" || got.Reviewer != (review.Reviewer{Team: "T1", ID: "U1", Name: "ana"}) ||
		got.Channel != "C1" || got.Message != "1.000002" || got.ThreadTS != "1.000001" {
		t.Errorf("click = %+v", got)
	}
}

func TestEveryPathTakesEveryKind(t *testing.T) {
	d := newDesk(t)
	taps := 0
	d.OnClick(Up, func(context.Context, Click) error { taps++; return nil })
	b, err := json.Marshal(tapPayload("up", encodeValue(testRef, "cafe0123"), "T1"))
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range []string{"/slack/events", "/slack/interactive", "/slack/commands"} {
		if code, _ := d.post(path, "application/x-www-form-urlencoded", url.Values{"payload": {string(b)}}.Encode()); code != 200 || taps != i+1 {
			t.Errorf("%s: a tap got %d, handled %d", path, code, taps)
		}
		if code, body := d.post(path, "application/json", `{"type":"url_verification","challenge":"xyz"}`); code != 200 || !strings.Contains(body, "xyz") {
			t.Errorf("%s: url_verification got %d %q", path, code, body)
		}
		if code, body := d.post(path, "application/x-www-form-urlencoded", "command=%2Fspanbot&text=help"); code != 200 || !strings.Contains(body, "1.2.3") {
			t.Errorf("%s: the command got %d %q", path, code, body)
		}
		if code, _ := d.post(path, "application/x-www-form-urlencoded", "ssl_check=1"); code != 200 {
			t.Errorf("%s: ssl_check got %d", path, code)
		}
	}
}

func TestForgedRequestsGet401AndReachNoHandler(t *testing.T) {
	d := newDesk(t)
	d.OnClick(Up, func(context.Context, Click) error { t.Error("a forged click was handled"); return nil })
	b, err := json.Marshal(tapPayload("up", encodeValue(testRef, "cafe0123"), "T1"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, d.srv.URL+"/slack/interactive", strings.NewReader(url.Values{"payload": {string(b)}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Slack-Request-Timestamp", fmt.Sprint(time.Now().Unix()))
	req.Header.Set("X-Slack-Signature", "v0="+strings.Repeat("ab", 32))
	if code, _ := d.send(req); code != http.StatusUnauthorized {
		t.Errorf("a forged request got %d; want 401", code)
	}
}

func TestTooLargeBodyIsRefused(t *testing.T) {
	d := newDesk(t)
	if code, _ := d.post("/slack/interactive", "application/x-www-form-urlencoded", "payload="+strings.Repeat("x", maxBody+1)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d; want 413", code)
	}
}

func TestPeopleOfOtherTeamsAreRefusedWithASentence(t *testing.T) {
	d := newDesk(t)
	d.OnClick(Up, func(context.Context, Click) error { t.Error("handled"); return nil })
	if code, _ := d.interact(tapPayload("up", encodeValue(testRef, "cafe0123"), "T2")); code != 200 {
		t.Errorf("got %d", code)
	}
	d.hears("only members of this workspace")
}

func TestUnknownButtonsAreAnsweredWithASentence(t *testing.T) {
	d := newDesk(t)
	for _, p := range []map[string]any{
		tapPayload("explode", encodeValue(testRef, "cafe0123"), "T1"),
		tapPayload("up", "garbage", "T1"),
		tapPayload(actionMore, "garbage", "T1"),
	} {
		d.told.Store("")
		if code, _ := d.interact(p); code != 200 {
			t.Errorf("got %d", code)
		}
		d.hears("another version of Spanbot")
	}
}

func TestLinksAreAckedInSilence(t *testing.T) {
	d := newDesk(t)
	p := tapPayload(actionMore, "", "T1")
	p["actions"] = []any{map[string]any{"action_id": actionMore, "selected_option": map[string]any{"value": encodeValue(testRef, "cafe0123", actionOpen)}}}
	if code, body := d.interact(p); code != 200 || body != "" {
		t.Errorf("got %d %q", code, body)
	}
	d.running.Wait()
	if s := d.told.Load(); s != "" {
		t.Errorf("the person was told %q", s)
	}
}

func TestFailuresBecomeWords(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"a sentence of ours": {&review.Error{Kind: review.Gone, Text: "Not saved: gone."}, "Not saved: gone."},
		"a bug":              {errors.New("nil map"), "something is broken in Spanbot"},
		"down":               {&review.Error{Kind: review.Down, Err: errors.New("dial tcp 10.0.0.1")}, "try again in a moment"},
	} {
		d := newDesk(t)
		d.OnClick(Up, func(context.Context, Click) error { return c.err })
		d.interact(tapPayload("up", encodeValue(testRef, "cafe0123"), "T1"))
		d.hears(c.want)
		if s, _ := d.told.Load().(string); strings.Contains(s, "10.0.0.1") || strings.Contains(s, "nil map") {
			t.Errorf("%s: the person was shown the inside: %q", name, s)
		}
	}
}

func TestPanicOfAHandlerIsToldAndEndsNothing(t *testing.T) {
	d := newDesk(t)
	d.OnClick(Up, func(context.Context, Click) error { panic("boom") })
	d.OnSubmit(func(context.Context, Submit) (map[review.Field]string, error) { panic("boom") })
	d.interact(tapPayload("up", encodeValue(testRef, "cafe0123"), "T1"))
	d.hears("something is broken in Spanbot")
	_, body := d.interact(formPayload("what I typed"))
	if !strings.Contains(body, `"errors"`) || !strings.Contains(body, "something is broken") {
		t.Errorf("the form closed on a panic: %q", body)
	}
}

func formPayload(words string) map[string]any {
	return map[string]any{
		"type": "view_submission", "user": map[string]any{"id": "U1", "team_id": "T1"},
		"view": map[string]any{
			"id": "V1", "callback_id": callbackForm, "private_metadata": place{Value: encodeValue(testRef, "cafe0123"), Channel: "C1", Message: "1.2", Thread: "1.1"}.encode(),
			"state": map[string]any{"values": map[string]any{
				"label":       map[string]any{"label": map[string]any{"type": "radio_buttons", "selected_option": map[string]any{"value": "correct"}}},
				"score":       map[string]any{"score": map[string]any{"type": "number_input", "value": nil}},
				"explanation": map[string]any{"explanation": map[string]any{"type": "plain_text_input", "value": words}},
				"target":      map[string]any{"target": map[string]any{"type": "radio_buttons", "selected_option": map[string]any{"value": "trace"}}},
			}},
		},
	}
}

func TestForm_ErrorsKeepItOpenUnderTheirFields(t *testing.T) {
	d := newDesk(t)
	var got Submit
	var answer map[review.Field]string
	var failure error
	d.OnSubmit(func(_ context.Context, s Submit) (map[review.Field]string, error) { got = s; return answer, failure })
	if code, body := d.interact(formPayload("because")); code != 200 || body != "" {
		t.Errorf("a good form got %d %q; want an empty 200", code, body)
	}
	if got.Label != "correct" || got.Score != "" || got.Explanation != "because" || !got.OnTrace || got.Ref != testRef ||
		got.Channel != "C1" || got.Message != "1.2" || got.ThreadTS != "1.1" {
		t.Errorf("submit = %+v", got)
	}
	answer = map[review.Field]string{review.FieldScore: "2 is outside the range"}
	if _, body := d.interact(formPayload("because")); body != `{"errors":{"score":"2 is outside the range"},"response_action":"errors"}` {
		t.Errorf("field error: %s", body)
	}
	answer, failure = nil, &review.Error{Kind: review.Down, Text: "Not saved: try again."}
	if _, body := d.interact(formPayload("because")); body != `{"errors":{"explanation":"Not saved: try again."},"response_action":"errors"}` {
		t.Errorf("general failure: %s", body)
	}
}

func TestSecondHandlerForOneActionPanics(t *testing.T) {
	m := NewMux(New(Options{}), MuxOptions{})
	m.OnClick(Up, func(context.Context, Click) error { return nil })
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	m.OnClick(Up, func(context.Context, Click) error { return nil })
}

func TestEnvelopesThatComeAgainAreHandledOnce(t *testing.T) {
	s := newSeen()
	if _, first := s.first("a"); !first {
		t.Fatal("the first is not first")
	}
	if _, first := s.first("a"); first {
		t.Error("the second is handled again")
	}
	for i := range seenMax {
		s.first(fmt.Sprint("x", i))
	}
	if len(s.at) > seenMax {
		t.Errorf("%d envelopes are remembered; want at most %d", len(s.at), seenMax)
	}
}

func TestPace_FortyUpdatesAMinuteDoNotWaitAndMoreStayBelowFifty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		for range 80 { // two minutes, one each 1.5 s
			start := time.Now()
			if err := p.update(t.Context()); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d > 0 {
				t.Fatalf("an update at forty a minute waited %s", d)
			}
			time.Sleep(1500 * time.Millisecond)
		}
		var sent []time.Time
		for range 200 { // as fast as it lets us
			if err := p.update(t.Context()); err != nil {
				t.Fatal(err)
			}
			sent = append(sent, time.Now())
		}
		for i := range sent {
			n := 0
			for _, at := range sent[i:] {
				if at.Sub(sent[i]) < time.Minute {
					n++
				}
			}
			if n >= 50 {
				t.Fatalf("%d updates within a minute; want fewer than 50", n)
			}
		}
	})
}

func TestPace_OneMessageASecondInEachChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		start := time.Now()
		for range 10 {
			for _, ch := range []string{"C1", "C2", "C3"} {
				if err := p.channel(ch).wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if d := time.Since(start); d < 9*time.Second || d > 10*time.Second {
			t.Errorf("ten messages in each of three channels took %s; want 9 to 10 s", d)
		}
		p.channel("C1").block(30 * time.Second)
		start = time.Now()
		if err := p.channel("C2").wait(t.Context()); err != nil || time.Since(start) > 2*time.Second {
			t.Errorf("a refusal in one channel held up another for %s (%v)", time.Since(start), err)
		}
	})
}

func TestManifest_FilesInDeployAreWhatTheCommandPrints(t *testing.T) {
	for file, o := range map[string]ManifestOptions{
		"../../deploy/manifest.socket.yaml": {},
		"../../deploy/manifest.http.yaml":   {HTTPURL: "https://spanbot.example.com"},
	} {
		b, err := Manifest(o)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != string(b) {
			t.Errorf("%s differs; when it is meant: go test ./internal/slackui -run TestManifest -update", file)
		}
	}
	for _, bad := range []string{strings.Repeat("x", 36), "a: b", "x\ny"} {
		if _, err := Manifest(ManifestOptions{Name: bad}); err == nil {
			t.Errorf("the name %q was taken", bad)
		}
	}
}

func TestPermalink(t *testing.T) {
	for _, c := range []struct{ url, channel, ts, thread, want string }{
		{"https://x.slack.com/", "C1", "1758000000.000200", "", "https://x.slack.com/archives/C1/p1758000000000200"},
		{"https://x.slack.com", "C1", "1758000000.000200", "1757000000.000100", "https://x.slack.com/archives/C1/p1758000000000200?thread_ts=1757000000.000100&cid=C1"},
		{"", "C1", "1.2", "", ""},
		{"https://x.slack.com/", "C1", "", "", ""},
	} {
		if got := Permalink(c.url, c.channel, c.ts, c.thread); got != c.want {
			t.Errorf("Permalink(%q, %q, %q, %q) = %q; want %q", c.url, c.channel, c.ts, c.thread, got, c.want)
		}
	}
}

func TestMetricNamesAreTidy(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	m.calls.WithLabelValues("a", "ok").Inc()
	m.acks.WithLabelValues("click").Observe(1)
	m.refused.WithLabelValues("x").Inc()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
}
