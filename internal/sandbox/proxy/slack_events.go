package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/blockkit"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
	"github.com/spanbot/spanbot/internal/sandbox/slackcall"
)

// Workspace starts local-slack and the strict proxy before it. In HTTP mode the
// emulator sends to the proxy, which mends, stamps, signs and passes on to the
// address given to SetBotURL.
func Workspace(tb rig.TB, cfg rig.SlackConfig, httpMode bool, o SlackOptions) (*rig.SlackServer, *Slack) {
	tb.Helper()
	p := NewSlack(tb, "", o)
	if httpMode {
		cfg.RequestURL = p.URL + "/events"
	}
	sl := rig.LocalSlack(tb, cfg)
	p.upstream.Store(sl.URL)
	return sl, p
}

// SetBotURL says where the bot takes requests in HTTP mode: one URL for all
// kinds, "http://127.0.0.1:8080/slack/events".
func (s *Slack) SetBotURL(u string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.botURL = u
}

// serveEvents passes a request of the emulator to the bot in HTTP mode.
func (s *Slack) serveEvents(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	kind, payload := "events_api", map[string]any{}
	contentType := r.Header.Get("Content-Type")
	if strings.HasPrefix(contentType, "application/json") {
		err = json.Unmarshal(raw, &payload)
	} else {
		var form url.Values
		form, err = url.ParseQuery(string(raw))
		if p := form.Get("payload"); err == nil && p != "" {
			kind = "interactive"
			err = json.Unmarshal([]byte(p), &payload)
		} else {
			kind = "slash_commands"
			for k, v := range form {
				payload[k] = v[0]
			}
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e := s.register(s.fresh("request-"), kind, payload)
	body, err := requestBody(kind, payload)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.stamp(e)
	status, answer, err := s.Request(contentType, body, time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	var decoded map[string]any
	if len(answer) > 0 && json.Unmarshal(answer, &decoded) != nil && status == http.StatusOK && kind == "interactive" {
		s.problem("the bot answered an interaction with %.100q, which is no JSON", answer)
	}
	if status == http.StatusOK {
		s.acknowledge(e.ID, decoded, status)
	} else {
		s.mu.Lock()
		e.Status = status
		s.mu.Unlock()
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

func requestBody(kind string, payload map[string]any) (string, error) {
	if kind == "slash_commands" {
		form := url.Values{}
		for k, v := range payload {
			form.Set(k, slackcall.Text(v))
		}
		return form.Encode(), nil
	}
	b, err := json.Marshal(payload)
	if err != nil || kind == "events_api" {
		return string(b), err
	}
	return url.Values{"payload": {string(b)}}.Encode(), nil
}

// Request sends the bot a request in HTTP mode, signed as of a time: a test's own
// (stale when it lies back) or the emulator's.
func (s *Slack) Request(contentType, body string, signed time.Time) (status int, answer []byte, err error) {
	s.mu.Lock()
	to := s.botURL
	s.mu.Unlock()
	if to == "" {
		return 0, nil, fmt.Errorf("no SetBotURL")
	}
	req, err := http.NewRequest(http.MethodPost, to, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", contentType)
	stamp := strconv.FormatInt(signed.Unix(), 10)
	req.Header.Set("X-Slack-Request-Timestamp", stamp)
	req.Header.Set("X-Slack-Signature", slackcall.Sign(s.o.SigningSecret, stamp, body))
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// mendPayload changes what the emulator sends into what Slack would; s.mu is
// held.
func (s *Slack) mendPayload(p map[string]any) {
	if view, is := p["view"].(map[string]any); is {
		s.views.rename(view)
	}
	if u := slackcall.Text(p["response_url"]); u != "" {
		p["response_url"] = strings.Replace(u, s.at(), s.URL, 1)
	}
	if p["type"] != "block_actions" {
		return
	}
	if message, is := p["message"].(map[string]any); is {
		channel, _ := p["channel"].(map[string]any)
		if meta := s.metadata[slackcall.Text(channel["id"])+"/"+slackcall.Text(message["ts"])]; meta != nil {
			message["metadata"] = meta
		}
		if thread := slackcall.Text(message["thread_ts"]); thread != "" {
			container, _ := p["container"].(map[string]any)
			container["thread_ts"] = thread
		}
		return
	}
	// A click in a modal or App Home comes without its view.
	actions, _ := p["actions"].([]any)
	user, _ := p["user"].(map[string]any)
	if len(actions) == 0 || p["view"] != nil {
		return
	}
	action, _ := actions[0].(map[string]any)
	if view := s.views.holding(slackcall.Text(user["id"]), slackcall.Text(action["block_id"]), slackcall.Text(action["action_id"])); view != nil {
		p["view"] = view
		p["container"] = map[string]any{"type": "view", "view_id": view["id"]}
		for _, key := range []string{"channel", "message", "state", "response_url"} {
			delete(p, key)
		}
	}
}

// checkAnswer remembers what Slack would not understand in the answer to a form.
func (s *Slack) checkAnswer(payload, answer map[string]any) {
	if payload["type"] != "view_submission" || len(answer) == 0 {
		return
	}
	view, _ := payload["view"].(map[string]any)
	switch action := slackcall.Text(answer["response_action"]); action {
	case "clear":
	case "errors":
		fields, _ := answer["errors"].(map[string]any)
		if len(fields) == 0 {
			s.problem("a form was answered with errors, but none is named")
		}
		inputs := map[string]bool{}
		blocks, _ := view["blocks"].([]any)
		for _, b := range blocks {
			if b, _ := b.(map[string]any); b["type"] == "input" {
				inputs[slackcall.Text(b["block_id"])] = true
			}
		}
		for id := range fields {
			if !inputs[id] {
				s.problem("a form was answered with an error at %q, which is no input block of it", id)
			}
		}
	case "update", "push":
		if problems := blockkit.ValidateModal([]byte(slackcall.Text(answer["view"]))); len(problems) > 0 {
			s.problem("a form was answered with %s and a view that Slack refuses: %v", action, problems)
		}
	default:
		s.problem("a form was answered with response_action %q", action)
	}
}

// serveHook takes what the bot sends to a response_url and passes it on. Slack
// lets each be used five times.
func (s *Slack) serveHook(w http.ResponseWriter, r *http.Request) {
	c := Call{Method: "response_url", Args: map[string]any{}, Start: time.Now(), Status: http.StatusOK}
	raw, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(raw, &c.Args)
	}
	s.mu.Lock()
	s.hooks[r.URL.Path]++
	used := s.hooks[r.URL.Path]
	s.mu.Unlock()
	switch blocks := c.Args["blocks"]; {
	case err != nil:
		c.Status, c.Error = http.StatusBadRequest, "invalid_payload"
	case used > 5:
		c.Status, c.Error = http.StatusNotFound, "used_url"
	case blocks != nil:
		if problems := blockkit.ValidateMessage([]byte(slackcall.Text(blocks))); len(problems) > 0 {
			s.problem("response_url: %v", problems)
			c.Status, c.Error = http.StatusBadRequest, "invalid_blocks"
		}
	}
	if c.Error == "" {
		resp, err := s.client.Post(s.at()+r.URL.Path, "application/json", bytes.NewReader(raw))
		if err != nil {
			c.Status, c.Error = http.StatusBadGateway, err.Error()
		} else {
			resp.Body.Close()
			c.Status, c.OK = resp.StatusCode, resp.StatusCode == http.StatusOK
		}
	}
	c.End = time.Now()
	s.mu.Lock()
	s.calls = append(s.calls, c)
	s.mu.Unlock()
	w.WriteHeader(c.Status)
	_, _ = io.WriteString(w, c.Error)
}
