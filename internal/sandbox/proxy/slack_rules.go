package proxy

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spanbot/spanbot/internal/sandbox/blockkit"
	"github.com/spanbot/spanbot/internal/sandbox/slackcall"
)

// Limits of a whole message.
const (
	maxText        = 40000 // characters of top-level text
	maxUpdateText  = 4000  // bytes of it in chat.update and chat.postEphemeral
	maxMessage     = 13200 // characters over all blocks
	maxMetadata    = 4 << 10
	triggerLife    = 3 * time.Second
	triggerSlack   = 250 * time.Millisecond // what a busy test machine adds to it
	postTolerance  = 250 * time.Millisecond // the same for the pace of posts
	maxAckPayload  = 20480
	redeliverAfter = 3 * time.Second
)

// scopes are what a method needs: any one of them.
var scopes = map[string][]string{
	"chat.postMessage": {"chat:write"}, "chat.update": {"chat:write"}, "chat.delete": {"chat:write"},
	"chat.postEphemeral":    {"chat:write"},
	"conversations.history": {"channels:history", "groups:history"},
	"conversations.replies": {"channels:history", "groups:history"},
	"conversations.info":    {"channels:read", "groups:read"},
	"conversations.list":    {"channels:read", "groups:read"},
	"conversations.members": {"channels:read", "groups:read"},
	"users.conversations":   {"channels:read", "groups:read"},
	"users.info":            {"users:read"},
	"users.list":            {"users:read"},
	"users.lookupByEmail":   {"users:read.email"},
	"reactions.add":         {"reactions:write"},
	"reactions.remove":      {"reactions:write"},
}

func (s *Slack) checkToken(method, token string) *answer {
	switch {
	case token == "":
		return refuse("not_authed")
	case token != s.o.BotToken && token != s.o.AppToken:
		return refuse("invalid_auth")
	case (method == "apps.connections.open") != (token == s.o.AppToken):
		return refuse("not_allowed_token_type")
	}
	need := scopes[method]
	for _, n := range need {
		if slices.Contains(s.o.Scopes, n) {
			return nil
		}
	}
	if len(need) == 0 {
		return nil
	}
	a := refuse("missing_scope")
	a.body["needed"] = strings.Join(need, ",")
	a.body["provided"] = strings.Join(s.o.Scopes, ",")
	return a
}

// checkPace counts a call against Slack's rate limits. A call that is refused
// does not count.
func (s *Slack) checkPace(c *Call) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if most := s.o.PerMinute[c.Method]; most > 0 {
		recent := s.windows[c.Method]
		for len(recent) > 0 && now.Sub(recent[0]) >= time.Minute {
			recent = recent[1:]
		}
		if len(recent) >= most {
			s.windows[c.Method] = recent
			return tooMany(time.Minute - now.Sub(recent[0]))
		}
		s.windows[c.Method] = append(recent, now)
	}
	if c.Method == "chat.postMessage" && s.o.PostEvery > 0 {
		channel := c.String("channel")
		if wait := s.posts[channel].Sub(now); wait > min(postTolerance, s.o.PostEvery/4) {
			return tooMany(wait)
		}
		next := now
		if later := s.posts[channel]; later.After(now) {
			next = later // what came early is not early twice
		}
		s.posts[channel] = next.Add(s.o.PostEvery)
	}
	return nil
}

func tooMany(wait time.Duration) *answer {
	a := refuse("ratelimited")
	a.status = http.StatusTooManyRequests
	a.header = http.Header{"Retry-After": {strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))}}
	return a
}

// checkCall applies Slack's rules on the arguments.
func (s *Slack) checkCall(c *Call) *answer {
	switch c.Method {
	case "chat.postMessage", "chat.postEphemeral", "chat.update":
		if a := s.checkChannel(c.String("channel")); a != nil {
			return a
		}
		return s.checkMessage(c)
	case "conversations.history", "conversations.replies":
		return s.checkChannel(c.String("channel"))
	case "views.open", "views.push", "views.update", "views.publish":
		return s.checkView(c)
	}
	return nil
}

func (s *Slack) checkChannel(id string) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	fields := s.channels[id]
	switch {
	case fields["is_archived"] == true:
		return refuse("is_archived")
	case fields["is_member"] == false:
		return refuse("not_in_channel")
	}
	return nil
}

func (s *Slack) checkMessage(c *Call) *answer {
	words := c.String("text")
	blocks, hasBlocks := c.Args["blocks"].([]any)
	_, hasAttachments := c.Args["attachments"]
	switch {
	case c.Args["blocks"] != nil && !hasBlocks:
		return s.invalid(c, "invalid_blocks_format", nil)
	case words == "" && len(blocks) == 0 && !hasAttachments:
		return refuse("no_text")
	case utf8.RuneCountInString(words) > maxText,
		c.Method != "chat.postMessage" && len(words) > maxUpdateText:
		s.problem("%s: text of %d bytes", c.Method, len(words))
		return refuse("msg_too_long")
	}
	if hasBlocks {
		raw := []byte(slackcall.Text(blocks))
		if problems := blockkit.ValidateMessage(raw); len(problems) > 0 {
			return s.invalid(c, "invalid_blocks", problems)
		}
		if n := blockkit.Characters(raw); n > maxMessage {
			s.problem("%s: %d characters over all blocks, Slack takes about %d", c.Method, n, maxMessage)
			return refuse("msg_blocks_too_long")
		}
	}
	return s.checkMetadata(c)
}

func (s *Slack) checkMetadata(c *Call) *answer {
	raw, given := c.Args["metadata"]
	if !given {
		return nil
	}
	m, isObject := raw.(map[string]any)
	if !isObject {
		return refuse("invalid_metadata_format")
	}
	if len(m) == 0 && c.Method == "chat.update" { // takes it away
		return nil
	}
	_, hasPayload := m["event_payload"].(map[string]any)
	switch {
	case slackcall.Text(m["event_type"]) == "" || !hasPayload:
		return refuse("invalid_metadata_format")
	case len(slackcall.Text(m)) > maxMetadata:
		return refuse("metadata_too_large")
	}
	return nil
}

// invalid refuses blocks or a view in Slack's words, and remembers it: a bot
// that falls back to something simpler would hide it.
func (s *Slack) invalid(c *Call, code string, problems []blockkit.Problem) *answer {
	words := make([]any, len(problems))
	messages := make([]any, len(problems))
	for i, p := range problems {
		words[i], messages[i] = p.String(), "[ERROR] "+p.String()
	}
	s.problem("%s: %s %v", c.Method, code, words)
	a := refuse(code)
	a.body["response_metadata"] = map[string]any{"messages": messages}
	if code == "invalid_blocks" {
		a.body["errors"] = words
	}
	return a
}

// checkView applies the rules on a view and on the right to show it.
func (s *Slack) checkView(c *Call) *answer {
	view, isObject := c.Args["view"].(map[string]any)
	if !isObject {
		return s.invalid(c, "invalid_arguments", []blockkit.Problem{{Path: "/view", Text: "missing required field"}})
	}
	raw, err := json.Marshal(view)
	if err != nil {
		return refuse("invalid_arguments")
	}
	problems := blockkit.ValidateView(raw)
	if want := map[bool]string{true: "home", false: "modal"}[c.Method == "views.publish"]; slackcall.Text(view["type"]) != want {
		problems = append(problems, blockkit.Problem{Path: "/view/type", Text: "must be " + want})
	}
	if len(problems) > 0 {
		return s.invalid(c, "invalid_arguments", problems)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Method == "views.open" || c.Method == "views.push" {
		return s.useTrigger(c.String("trigger_id"))
	}
	if hash := c.String("hash"); hash != "" {
		if now, known := s.views.hash(c); known && hash != now {
			return refuse("hash_conflict")
		}
	}
	return nil
}

// trigger is the right to open one modal, for three seconds after a click.
type trigger struct {
	given time.Time
	used  bool
}

// useTrigger takes the right that a trigger gives; s.mu is held.
func (s *Slack) useTrigger(id string) *answer {
	t := s.triggers[id]
	switch {
	case t == nil:
		return refuse("invalid_trigger_id")
	case t.used:
		return refuse("exchanged_trigger_id")
	case time.Since(t.given) > triggerLife+triggerSlack:
		return refuse("expired_trigger_id")
	}
	t.used = true
	return nil
}
