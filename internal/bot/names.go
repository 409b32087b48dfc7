package bot

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// names knows what people are called: in memory, then Redis, then Slack.
type names struct {
	bot    *Bot
	known  *recent[string, string]
	asking chan struct{}        // one look-up at a time: two askers of one name share it
	failed map[string]time.Time // Slack did not say; do not ask again at once
}

func newNames(b *Bot) *names {
	return &names{bot: b, known: newRecent[string, string](2048), asking: make(chan struct{}, 1), failed: map[string]time.Time{}}
}

// of returns the names of users, as far as they can be had. Missing ones are
// shown by their id: a name is never worth failing for.
func (n *names) of(ctx context.Context, users []string) map[string]string {
	out := map[string]string{}
	var missing []string
	for _, u := range users {
		if name, ok := n.known.get(u); ok {
			out[u] = name
		} else if u != "" && !strings.HasPrefix(u, review.InPhoenix) && !slices.Contains(missing, u) {
			missing = append(missing, u)
		}
	}
	if len(missing) == 0 {
		return out
	}
	stored, err := n.bot.queue.Names(ctx, missing)
	if err != nil {
		stored = nil
	}
	for _, u := range missing {
		name := stored[u]
		if name == "" {
			name = n.ask(ctx, u)
		}
		if name != "" {
			out[u] = name
			n.known.put(u, name)
		}
	}
	return out
}

func (n *names) ask(ctx context.Context, user string) string {
	select {
	case n.asking <- struct{}{}:
		defer func() { <-n.asking }()
	case <-ctx.Done():
		return ""
	}
	if name, ok := n.known.get(user); ok {
		return name
	}
	if time.Since(n.failed[user]) < time.Minute {
		return ""
	}
	name, err := n.bot.slack.UserName(ctx, user)
	if err != nil {
		if ctx.Err() == nil {
			n.failed[user] = time.Now()
		}
		n.bot.log.Debug("no name for a reviewer", "user", user, "error", err)
		return ""
	}
	n.known.put(user, name)
	if err := n.bot.queue.KeepName(ctx, user, name); err != nil {
		n.bot.log.Debug("a name could not be kept", "user", user, "error", err)
	}
	return name
}

// on lists the people whose names a card needs.
func on(t review.Thread) []string {
	var users []string
	for _, c := range t.Cards {
		if c.Closer != "" {
			users = append(users, c.Closer)
		}
		for _, v := range c.Votes {
			users = append(users, v.Reviewer)
		}
	}
	return users
}
