package slackd

import (
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// Slack's limits of a response_url (docs.slack.dev, interactivity).
const (
	hookUses = 5
	hookLife = 30 * time.Minute
	maxHooks = 2000
)

// hook is one response_url.
type hook struct {
	user         string
	channel      *channel
	ts, threadTS string // of the message that was acted on; "" for a command
	ephemeral    bool
	made         time.Time
	uses         int
}

// newHook makes a response_url. The caller holds the lock.
func (s *Server) newHook(user string, c *channel, ts, threadTS string, ephemeral bool) string {
	now := time.Now()
	if len(s.hooks) >= maxHooks {
		for id, h := range s.hooks {
			if now.Sub(h.made) > hookLife {
				delete(s.hooks, id)
			}
		}
		for id := range s.hooks { // still too many: any one
			if len(s.hooks) < maxHooks {
				break
			}
			delete(s.hooks, id)
		}
	}
	id := s.id("", 24)
	s.hooks[id] = &hook{user: user, channel: c, ts: ts, threadTS: threadTS, ephemeral: ephemeral, made: now}
	return s.at() + "/hook/" + id
}

// serveHook takes what the app says to a response_url.
func (s *Server) serveHook(w http.ResponseWriter, r *http.Request, id string) {
	if f, failing := s.failure("response_url"); failing {
		s.serveFault(f, w, r, func(w http.ResponseWriter) { s.hooked(w, r, id) })
		return
	}
	s.hooked(w, r, id)
}

func (s *Server) hooked(w http.ResponseWriter, r *http.Request, id string) {
	refuse := func(status int, code string) {
		a := no(code)
		a.status = status
		s.write(w, a)
	}
	args := obj{}
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || r.Method != http.MethodPost || json.Unmarshal(b, &args) != nil {
		refuse(http.StatusBadRequest, "invalid_payload")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hooks[id]
	switch {
	case h == nil:
		refuse(http.StatusNotFound, "no_such_url")
		return
	case time.Since(h.made) > hookLife:
		refuse(http.StatusNotFound, "expired_url")
		return
	case h.uses >= hookUses:
		refuse(http.StatusNotFound, "used_url")
		return
	}
	h.uses++
	c := call{args: args}
	if c.flag("delete_original") {
		if h.ephemeral {
			s.untell(h.user, h.ts)
		} else if h.ts != "" {
			s.remove(h.channel, h.ts)
		}
		_, _ = io.WriteString(w, "ok")
		return
	}
	if a, bad := checkMessage(c, maxText); bad {
		a.status = http.StatusBadRequest
		s.write(w, a)
		return
	}
	s.say(h, c)
	_, _ = io.WriteString(w, "ok")
}

// say does what a response_url was told.
func (s *Server) say(h *hook, c call) {
	m := s.botMessage(c)
	old := h.channel.message(h.ts)
	switch {
	case c.flag("replace_original") && h.ephemeral:
		s.untell(h.user, h.ts)
		if h.threadTS != "" {
			m["thread_ts"] = h.threadTS
		}
		h.ts = s.tell(h.user, h.channel, m)
	case c.flag("replace_original") && old != nil && old["bot_id"] == s.botID:
		for k, v := range old {
			if _, given := m[k]; !given && k != "blocks" {
				m[k] = v
			}
		}
		i, _ := h.channel.index(h.ts)
		h.channel.messages[i] = m
		s.changed(h.channel, m)
	default:
		if t := c.text("thread_ts"); t != "" {
			m["thread_ts"] = t
		}
		if c.text("response_type") == "in_channel" {
			m["ts"] = s.stamp()
			s.add(h.channel, m)
			return
		}
		s.tell(h.user, h.channel, m)
	}
}
