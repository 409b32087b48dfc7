package bot

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

const (
	// membersFresh is how long the members of a channel or group are trusted.
	membersFresh = 5 * time.Minute
	// membersPatience is how long a click waits for Slack to name them.
	membersPatience = 400 * time.Millisecond
)

// members knows who belongs to channels and user groups. Slack is asked beside
// the click; what was known last counts while it does not answer.
type members struct {
	b    *Bot
	mu   sync.Mutex
	sets map[string]*memberSet // by id of a channel or group
}

type memberSet struct {
	users  map[string]bool
	at     time.Time     // when Slack named them; zero: never
	asking chan struct{} // closed when the present look-up ends; nil: none runs
}

func newMembers(b *Bot) *members { return &members{b: b, sets: map[string]*memberSet{}} }

// has reports whether a user belongs to a channel or group; known is false when
// Slack has never said.
func (m *members) has(ctx context.Context, id, user string) (in, known bool) {
	m.mu.Lock()
	s := m.sets[id]
	if s == nil {
		s = &memberSet{}
		m.sets[id] = s
	}
	if time.Since(s.at) > membersFresh && s.asking == nil {
		s.asking = make(chan struct{})
		m.b.later(func(ctx context.Context) error { return m.ask(ctx, id, s) })
	}
	wait := s.asking
	m.mu.Unlock()
	if wait != nil {
		t := time.NewTimer(membersPatience)
		defer t.Stop()
		select {
		case <-wait:
		case <-t.C:
		case <-ctx.Done():
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.users[user], !s.at.IsZero()
}

func (m *members) ask(ctx context.Context, id string, s *memberSet) error {
	list, err := m.b.slack.Members(ctx, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	close(s.asking)
	s.asking = nil
	if err != nil {
		return err
	}
	s.at, s.users = time.Now(), map[string]bool{}
	for _, u := range list {
		s.users[u] = true
	}
	return nil
}

// mayJudge refuses people whom a route does not name among its reviewers. It is
// asked at each action that says something, whatever the card showed them.
func (b *Bot) mayJudge(ctx context.Context, ref review.Ref, user string) error {
	r := b.route(ref.Route)
	if r == nil || len(r.Reviewers) == 0 || slices.Contains(r.Reviewers, user) {
		return nil
	}
	unknown := false
	for _, id := range r.Reviewers {
		if id == review.ChannelMembers {
			_, _, id = r.now()
		} else if !strings.HasPrefix(id, "S") {
			continue // another person
		}
		in, known := false, false
		if id != "" {
			in, known = b.members.has(ctx, id, user)
		}
		if in {
			return nil
		}
		unknown = unknown || !known
	}
	if unknown {
		return &review.Error{Kind: review.Down, Text: "Not saved: Slack does not say right now whether you are one of the reviewers here. Please try again in a moment."}
	}
	b.metrics.judgements.WithLabelValues("none", "forbidden").Inc()
	return &review.Error{Kind: review.Denied, Text: "Not saved: only the reviewers of this queue judge here. Ask whoever runs Spanbot to add you (reviewers of route " + ref.Route + ")."}
}

// guarded lets only reviewers do it.
func (b *Bot) guarded(f func(context.Context, slackui.Click) error) func(context.Context, slackui.Click) error {
	return func(ctx context.Context, c slackui.Click) error {
		if err := b.mayJudge(ctx, c.Ref, c.Reviewer.ID); err != nil {
			return err
		}
		return f(ctx, c)
	}
}
