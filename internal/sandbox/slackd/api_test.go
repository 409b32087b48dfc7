package slackd_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// raw calls a method as a form; args are name and value in turns.
func raw(t *testing.T, s *slackd.Server, method string, args ...string) (map[string]any, *http.Response) {
	t.Helper()
	form := url.Values{"token": {s.BotToken()}}
	for i := 0; i+1 < len(args); i += 2 {
		form.Set(args[i], args[i+1])
	}
	r, err := http.PostForm(apis[s]+method, form)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(b, &body); err != nil {
		t.Fatalf("%s answers %q", method, b)
	}
	return body, r
}

func ok(t *testing.T, s *slackd.Server, method string, args ...string) map[string]any {
	t.Helper()
	body, _ := raw(t, s, method, args...)
	if body["ok"] != true {
		t.Fatalf("%s %v: %v", method, args, body)
	}
	return body
}

const section = `{"type":"section","block_id":"s","text":{"type":"mrkdwn","text":%q}}`

func blocks(texts ...string) string {
	var list []string
	for i, t := range texts {
		list = append(list, strings.Replace(fmt.Sprintf(section, t), `"s"`, fmt.Sprintf(`"s%d"`, i), 1))
	}
	return "[" + strings.Join(list, ",") + "]"
}

func modal(more string) string {
	return `{"type":"modal","title":{"type":"plain_text","text":"T"},"blocks":` + blocks("x") + more + `}`
}

// Each refusal in Slack's words.
func TestAPI_Refusals(t *testing.T) {
	s := serve(t, slackd.Options{PostEvery: -1, PerMinute: map[string]int{"chat.update": 0}})
	ana := s.Reviewers()[0].ID
	c := s.Channel("llm-reviews")
	ts, _ := ok(t, s, "chat.postMessage", "channel", c, "text", "hello")["ts"].(string)
	if err := s.Say(ana, c, "", "mine"); err != nil {
		t.Fatal(err)
	}
	hers := s.Messages(c)[1]["ts"].(string)
	many := make([]string, 51)
	for i := range many {
		many[i] = "x"
	}
	long := make([]string, 5)
	for i := range long {
		long[i] = strings.Repeat("x", 2900)
	}
	for _, k := range []struct {
		want, method string
		args         []string
	}{
		{"not_authed", "auth.test", []string{"token", ""}},
		{"invalid_auth", "auth.test", []string{"token", "xoxb-wrong"}},
		{"not_allowed_token_type", "auth.test", []string{"token", s.AppToken()}},
		{"not_allowed_token_type", "apps.connections.open", nil},
		{"unknown_method", "chat.dance", nil},
		{"channel_not_found", "chat.postMessage", []string{"channel", "C0NOWHERE", "text", "x"}},
		{"channel_not_found", "chat.postMessage", []string{"channel", "#nowhere", "text", "x"}},
		{"no_text", "chat.postMessage", []string{"channel", c}},
		{"no_text", "chat.postMessage", []string{"channel", c, "text", " "}},
		{"msg_too_long", "chat.postMessage", []string{"channel", c, "text", strings.Repeat("x", 40_001)}},
		{"invalid_blocks_format", "chat.postMessage", []string{"channel", c, "blocks", `{"a":1}`}},
		{"invalid_form_data", "chat.postMessage", []string{"channel", c, "blocks", `[`}},
		{"invalid_blocks", "chat.postMessage", []string{"channel", c, "blocks", blocks("")}},
		{"invalid_blocks", "chat.postMessage", []string{"channel", c, "blocks", blocks(many...)}},
		{"msg_blocks_too_long", "chat.postMessage", []string{"channel", c, "blocks", blocks(long...)}},
		{"invalid_metadata_format", "chat.postMessage", []string{"channel", c, "text", "x", "metadata", `[]`}},
		{"invalid_metadata_schema", "chat.postMessage", []string{"channel", c, "text", "x", "metadata", `{"event_type":"a"}`}},
		{"metadata_too_large", "chat.postMessage", []string{"channel", c, "text", "x", "metadata", `{"event_type":"a","event_payload":{"a":"` + strings.Repeat("x", 9000) + `"}}`}},
		{"message_not_found", "chat.update", []string{"channel", c, "ts", "1.000001", "text", "x"}},
		{"cant_update_message", "chat.update", []string{"channel", c, "ts", hers, "text", "x"}},
		{"msg_too_long", "chat.update", []string{"channel", c, "ts", ts, "text", strings.Repeat("é", 2001)}},
		{"cant_delete_message", "chat.delete", []string{"channel", c, "ts", hers}},
		{"message_not_found", "chat.delete", []string{"channel", c, "ts", "1.000001"}},
		{"user_not_found", "chat.postEphemeral", []string{"channel", c, "user", "U0NOBODY", "text", "x"}},
		{"message_not_found", "chat.getPermalink", []string{"channel", c, "message_ts", "1.000001"}},
		{"channel_not_found", "conversations.info", []string{"channel", "C0NOWHERE"}},
		{"channel_not_found", "conversations.history", []string{"channel", "C0NOWHERE"}},
		{"invalid_cursor", "conversations.history", []string{"channel", c, "cursor", "x"}},
		{"invalid_cursor", "conversations.list", []string{"limit", "-1"}},
		{"thread_not_found", "conversations.replies", []string{"channel", c, "ts", "1.000001"}},
		{"user_not_found", "users.info", []string{"user", "U0NOBODY"}},
		{"invalid_arguments", "views.open", []string{"view", modal("")}},
		{"invalid_trigger_id", "views.open", []string{"trigger_id", "1.2.x", "view", modal("")}},
		{"not_found", "views.update", []string{"view_id", "V0", "view", modal("")}},
		{"invalid_arguments", "views.update", []string{"view", modal("")}},
		{"user_not_found", "views.publish", []string{"user_id", "U0NOBODY", "view", modal("")}},
		{"invalid_arguments", "views.publish", []string{"user_id", ana, "view", modal("")}}, // no Home
		{"invalid_arguments", "views.publish", []string{"user_id", ana}},
	} {
		if body, _ := raw(t, s, k.method, k.args...); body["error"] != k.want || body["ok"] != false {
			t.Errorf("%s %.80q: %v, want %s", k.method, k.args, body, k.want)
		}
	}
	body, _ := raw(t, s, "chat.postMessage", "channel", c, "blocks", blocks("fine", strings.Repeat("x", 3001)))
	if said := fmt.Sprint(body["errors"], body["response_metadata"]); !strings.Contains(said, "[json-pointer:/blocks/1/text/text]") || !strings.Contains(said, "[ERROR]") {
		t.Errorf("it does not say where: %v", body)
	}

	s.Remove(c, s.BotUser())
	for _, m := range []string{"chat.postMessage", "conversations.history"} {
		if body, _ := raw(t, s, m, "channel", c, "text", "x"); body["error"] != "not_in_channel" {
			t.Errorf("%s outside of the channel: %v", m, body)
		}
	}
	ok(t, s, "conversations.join", "channel", c)
	s.Archive(c, true)
	for _, m := range []string{"chat.postMessage", "chat.update", "conversations.join"} {
		if body, _ := raw(t, s, m, "channel", c, "text", "x", "ts", ts); body["error"] != "is_archived" {
			t.Errorf("%s in an archived channel: %v", m, body)
		}
	}
}

func TestAPI_UpdateKeepsWhatIsNotSaid(t *testing.T) {
	s := serve(t, slackd.Options{PostEvery: -1})
	c := s.Channel("llm-reviews")
	ts, _ := ok(t, s, "chat.postMessage", "channel", c, "text", "hello", "blocks", blocks("a"), "metadata", `{"event_type":"card","event_payload":{"id":"1"}}`)["ts"].(string)
	message := func() map[string]any { return s.Messages(c)[0] }
	ok(t, s, "chat.update", "channel", c, "ts", ts, "text", "hello", "blocks", blocks("b"))
	if m := message(); m["metadata"] == nil || m["edited"] != nil || !strings.Contains(fmt.Sprint(m["blocks"]), "text:b") {
		t.Errorf("after other blocks: %v", m)
	}
	ok(t, s, "chat.update", "channel", c, "ts", ts, "text", "bye", "metadata", `{}`)
	if m := message(); m["metadata"] != nil || m["edited"] == nil || m["blocks"] != nil || m["text"] != "bye" {
		t.Errorf("after text alone: %v", m)
	}
}

func TestAPI_ThreadsAndHistory(t *testing.T) {
	s := serve(t, slackd.Options{PostEvery: -1})
	c := s.Channel("llm-reviews")
	post := func(text, thread string) string {
		t.Helper()
		ts, _ := ok(t, s, "chat.postMessage", "channel", c, "text", text, "thread_ts", thread, "metadata", `{"event_type":"e","event_payload":{"k":"v"}}`)["ts"].(string)
		return ts
	}
	var all []string
	for i := range 5 {
		all = append(all, post(fmt.Sprint("m", i), ""))
	}
	reply := post("r", all[1])
	post("r2", reply) // a reply to a reply belongs to the parent

	texts := func(method string, args ...string) string {
		t.Helper()
		var list []string
		for _, m := range ok(t, s, method, append([]string{"channel", c}, args...)...)["messages"].([]any) {
			list = append(list, m.(map[string]any)["text"].(string))
		}
		return strings.Join(list, " ")
	}
	for want, args := range map[string][]string{
		"m4 m3 m2 m1 m0": nil,
		"m4 m3":          {"limit", "2"},
		"m4":             {"oldest", all[3]},
		"m4 m3 m2":       {"oldest", all[2], "inclusive", "true", "limit", "0"},
		"m1 m0":          {"latest", all[2]},
		"m2 m1 m0":       {"latest", all[2], "inclusive", "true"},
		"m1":             {"oldest", all[0], "latest", all[2]},
	} {
		if got := texts("conversations.history", args...); got != want {
			t.Errorf("history %v: %q, want %q", args, got, want)
		}
	}
	page := ok(t, s, "conversations.history", "channel", c, "limit", "3")
	next, _ := page["response_metadata"].(map[string]any)["next_cursor"].(string)
	if page["has_more"] != true || next == "" {
		t.Fatalf("page %v", page)
	}
	if got := texts("conversations.history", "limit", "3", "cursor", next); got != "m1 m0" {
		t.Errorf("the next page: %q", got)
	}
	if got := texts("conversations.replies", "ts", reply); got != "m1 r r2" {
		t.Errorf("the thread: %q", got)
	}
	for flag, want := range map[string]string{"": "map[event_type:e]", "true": "map[event_payload:map[k:v] event_type:e]"} {
		m := ok(t, s, "conversations.history", "channel", c, "include_all_metadata", flag)["messages"].([]any)[0].(map[string]any)
		if got := fmt.Sprint(m["metadata"]); got != want {
			t.Errorf("metadata with %q: %s", flag, got)
		}
	}

	// A parent that is gone: what was said under it stays, what comes stands alone.
	s.DeleteMessage(c, all[1])
	if got := texts("conversations.replies", "ts", all[1]); got != "This message was deleted. r r2" {
		t.Errorf("after the deletion: %q", got)
	}
	m := ok(t, s, "chat.postMessage", "channel", c, "text", "late", "thread_ts", all[1])["message"].(map[string]any)
	if m["thread_ts"] != nil {
		t.Errorf("a reply to what was deleted: %v", m)
	}
	link := ok(t, s, "chat.getPermalink", "channel", c, "message_ts", reply)["permalink"].(string)
	if !strings.HasSuffix(link, "/archives/"+c+"/p"+strings.ReplaceAll(reply, ".", "")+"?thread_ts="+all[1]+"&cid="+c) {
		t.Errorf("permalink %s", link)
	}
}

func TestAPI_Pace(t *testing.T) {
	s := serve(t, slackd.Options{})
	c := s.Channel("llm-reviews")
	refused := func(method string, args ...string) (after int) {
		t.Helper()
		for n := range 200 {
			body, r := raw(t, s, method, append([]string{"channel", c, "text", "x"}, args...)...)
			if r.StatusCode != http.StatusTooManyRequests {
				continue
			}
			if body["error"] != "ratelimited" || r.Header.Get("Retry-After") == "" {
				t.Errorf("%s: %v %v", method, body, r.Header)
			}
			return n
		}
		t.Fatalf("%s is never refused", method)
		return 0
	}
	if n := refused("chat.postMessage"); n > 5 {
		t.Errorf("%d messages at once", n)
	}
	ok(t, s, "chat.postMessage", "channel", s.Channel("general"), "text", "another channel")
	if n := refused("chat.update", "ts", s.Messages(c)[0]["ts"].(string)); n != 50 {
		t.Errorf("%d updates in a minute", n)
	}
}

func TestFaults(t *testing.T) {
	s := serve(t, slackd.Options{PostEvery: -1})
	c := s.Channel("llm-reviews")
	post := func() (map[string]any, int, error) {
		r, err := (&http.Client{Timeout: 300 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}).PostForm(apis[s]+"chat.postMessage", url.Values{"token": {s.BotToken()}, "channel": {c}, "text": {"x"}})
		if err != nil {
			return nil, 0, err
		}
		defer r.Body.Close()
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		return body, r.StatusCode, nil
	}
	for _, k := range []struct {
		fault  slackd.Fault
		status int // 0: no answer
		code   any
		stored int
	}{
		{slackd.Fault{Status: 500}, 500, nil, 0},
		{slackd.Fault{Status: 429, RetryAfter: 3 * time.Second}, 429, "ratelimited", 0},
		{slackd.Fault{Error: "fatal_error"}, 200, "fatal_error", 0},
		{slackd.Fault{Drop: true}, 0, nil, 0},
		{slackd.Fault{Slow: time.Hour}, 0, nil, 0},
		{slackd.Fault{Lost: true}, 0, nil, 1},
		{slackd.Fault{Hang: true}, 0, nil, 1},
	} {
		before, calls := len(s.Messages(c)), s.Calls("chat.postMessage")
		k.fault.Method, k.fault.From, k.fault.Calls = "chat.postMessage", 2, 1
		undo := s.Fail(k.fault)
		if _, status, err := post(); status != 200 || err != nil {
			t.Errorf("%+v strikes too early: %d %v", k.fault, status, err)
		}
		body, status, err := post()
		if status != k.status || (err != nil) != (k.status == 0) || body["error"] != k.code {
			t.Errorf("%+v: %d %v %v", k.fault, status, body, err)
		}
		if _, status, _ := post(); status != 200 {
			t.Errorf("%+v does not end: %d", k.fault, status)
		}
		undo()
		if got := len(s.Messages(c)) - before; got != 2+k.stored || s.Calls("chat.postMessage") != calls+3 {
			t.Errorf("%+v: %d messages, %d calls", k.fault, got, s.Calls("chat.postMessage")-calls)
		}
	}
}

func TestGuard_ForeignHostsAndPages(t *testing.T) {
	s := serve(t, slackd.Options{})
	for _, path := range []string{"api/auth.test", "ui", "link", "hook/x", "archives/x"} {
		for name, value := range map[string]string{"Host": "attacker.example", "Origin": "https://attacker.example"} {
			r, err := http.NewRequest(http.MethodPost, strings.TrimSuffix(apis[s], "api/")+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set(name, value)
			if name == "Host" {
				r.Host = value
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s with %s %s: %s", path, name, value, resp.Status)
			}
		}
	}
}
