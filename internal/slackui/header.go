package slackui

import (
	"net/http"
	"strings"
	"sync"
)

// header remembers which scopes Slack says the bot token has: every answer to
// it carries them.
type header struct {
	mu     sync.Mutex
	scopes []string
}

func (h *header) see(_ string, got http.Header) {
	text := got.Get("X-OAuth-Scopes")
	if text == "" {
		return
	}
	var list []string
	for s := range strings.SplitSeq(text, ",") {
		list = append(list, strings.TrimSpace(s))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scopes = list
}

func (h *header) list() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.scopes
}
