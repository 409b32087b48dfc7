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
	// membersRetry is the least time between a failed look-up and the next: Slack
	// allows twenty a minute for user groups, and a crowd of clicks asks for more.
	membersRetry = 3 * time.Second
	// membersPatience is how long a click waits for Slack to name members, however
	// many channels and groups are asked.
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
	err    error         // of the last look-up
	retry  time.Time     // before which there is no further one
}

func newMembers(b *Bot) *members { return &members{b: b, sets: map[string]*memberSet{}} }

// among reports whether a user belongs to one of the channels and groups. err is
// why Slack does not say it of one of them, of which nothing was known before.
func (m *members) among(ctx context.Context, ids []string, user string) (in bool, err error) {
	var waits []chan struct{}
	m.mu.Lock()
	for _, id := range ids {
		if wait := m.refresh(id); wait != nil {
			waits = append(waits, wait)
		}
	}
	m.mu.Unlock()
	for _, wait := range waits {
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		s := m.sets[id]
		switch {
		case s.users[user]:
			return true, nil
		case !s.at.IsZero():
		case s.err != nil:
			err = s.err
		case err == nil:
			err = context.DeadlineExceeded
		}
	}
	return false, err
}

// refresh asks Slack for members that are not fresh any more; nil: nothing is
// under way. The caller holds the lock.
func (m *members) refresh(id string) chan struct{} {
	s := m.sets[id]
	if s == nil {
		s = &memberSet{}
		m.sets[id] = s
	}
	if s.asking != nil {
		return s.asking
	}
	if time.Since(s.at) <= membersFresh || time.Now().Before(s.retry) {
		return nil
	}
	s.asking = make(chan struct{})
	m.b.later(func(ctx context.Context) error {
		m.ask(ctx, id, s)
		return nil
	})
	return s.asking
}

func (m *members) ask(ctx context.Context, id string, s *memberSet) {
	var list []string
	err := error(&review.Error{Kind: review.Broken}) // what a panic leaves behind
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		close(s.asking)
		s.asking, s.err = nil, err
		if err != nil {
			s.retry = time.Now().Add(max(membersRetry, review.WaitOf(err)))
			if review.KindOf(err) == review.Gone { // that is an answer: it has no members any more
				s.at, s.users = time.Time{}, nil
			}
			return
		}
		s.at, s.users = time.Now(), map[string]bool{}
		for _, u := range list {
			s.users[u] = true
		}
	}()
	if list, err = m.b.slack.Members(ctx, id); err != nil {
		m.b.log.Warn("Slack does not say who may judge; what was known last counts", "members_of", id, "kind", review.KindOf(err), "error", err)
	}
}

// mayJudge refuses people whom a route does not name among its reviewers. It is
// asked at each action that says something, whatever the card showed them.
func (b *Bot) mayJudge(ctx context.Context, ref review.Ref, user string) error {
	r := b.route(ref.Route)
	if base, _, study := strings.Cut(ref.Route, studyMark); r == nil && study {
		r = b.route(base) // whose reviewers they are, also while the study is not known here
	}
	if r == nil {
		return nil
	}
	if may, ask := r.MayJudge(user, ""); may {
		return nil
	} else if len(ask) == 0 {
		return b.forbidden(ref)
	}
	ctx, cancel := context.WithTimeout(ctx, membersPatience)
	defer cancel()
	_, ask := r.MayJudge(user, r.channelID(ctx))
	unknown := slices.Contains(ask, "")
	ask = slices.DeleteFunc(ask, func(id string) bool { return id == "" })
	in, err := b.members.among(ctx, ask, user)
	switch {
	case in:
		return nil
	case review.KindOf(err) == review.Denied, review.KindOf(err) == review.Gone, review.KindOf(err) == review.Refused:
		// Trying again would not mend it.
		return &review.Error{Kind: review.Denied, Err: err, Text: "Not saved: Spanbot may not see in Slack who the reviewers here are. Please tell whoever runs it."}
	case err != nil, unknown:
		return &review.Error{Kind: review.Down, Err: err, Text: "Not saved: Slack does not say right now whether you are one of the reviewers here. Please try again in a moment."}
	}
	return b.forbidden(ref)
}

func (b *Bot) forbidden(ref review.Ref) error {
	b.metrics.judgements.WithLabelValues("none", "forbidden").Inc()
	return &review.Error{Kind: review.Denied, Text: "Not saved: only the reviewers of this queue judge here. Ask whoever runs Spanbot to add you (reviewers of route " + ref.Route + ")."}
}

// channelID is the id of the route's channel; "" while nobody knows it. A route
// that waits for Phoenix since the start has not looked its channel up, and its
// cards of yesterday can be judged all the same.
func (r *route) channelID(ctx context.Context) string {
	if _, _, id := r.now(); id != "" {
		return id
	}
	if !strings.HasPrefix(r.Channel, "#") {
		return r.Channel
	}
	id, _, err := r.b.queue.Channel(ctx, r.Channel)
	if err != nil {
		r.log.Warn("nobody knows the route's channel, so nobody of it can judge", "channel", r.Channel, "error", err)
	}
	return id
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
