package slackui

import (
	"net/http"
	"strings"
	"sync"
)

// header remembers which scopes Slack says the bot token has. Every answer
// carries those of the token it was asked with, and apps.connections.open is
// asked with the app token: only auth.test speaks of the bot's for sure.
type header struct {
	mu     sync.Mutex
	scopes []string
}

func (h *header) see(method string, got http.Header) {
	text := got.Get("X-OAuth-Scopes")
	if text == "" || method != "auth.test" {
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
