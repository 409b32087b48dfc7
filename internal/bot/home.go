package bot

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

const (
	// homeFresh is how long a Home that was opened is kept up to date: Slack
	// does not say when somebody leaves it.
	homeFresh = 15 * time.Minute
	// homeGap is the least time between two drawings of one Home, so that many
	// taps are few calls.
	homeGap = 2 * time.Second
	// homeTries bounds how often one drawing is tried while Slack is busy.
	homeTries = 3
	// homeMost bounds how many of today's judgements are counted by label.
	homeMost = 500
	// zoneKept is how long a person's time zone is believed.
	zoneKept = time.Hour
)

// homes remembers whose App Home was opened of late here. Another replica's
// people see theirs anew when they open it again.
type homes struct {
	mu     sync.Mutex
	gap    time.Duration
	people map[string]*homeOf
	said   string // why Homes cannot be shown, as it was logged last
	zones  *recent[string, zone]
}

// homeOf is one person's App Home.
type homeOf struct {
	opened  time.Time
	drawn   time.Time
	wanted  bool // something changed since the last drawing began
	drawing bool // somebody sees to it
}

type zone struct {
	at  *time.Location
	was time.Time
}

func newHomes() *homes {
	return &homes{gap: homeGap, people: map[string]*homeOf{}, zones: newRecent[string, zone](1024)}
}

// openHome draws the App Home of somebody who opened it or asked for it anew.
func (b *Bot) openHome(_ context.Context, who review.Reviewer) error {
	h := b.homes
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for user, p := range h.people {
		if now.Sub(p.opened) > homeFresh && !p.drawing {
			delete(h.people, user)
		}
	}
	p := h.people[who.ID]
	if p == nil {
		p = &homeOf{}
		h.people[who.ID] = p
	}
	p.opened = now
	b.wantHome(p, who)
	return nil
}

// touchHome draws somebody's App Home anew after they judged, if they opened it
// of late.
func (b *Bot) touchHome(who review.Reviewer) {
	h := b.homes
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.people[who.ID]; p != nil && time.Since(p.opened) <= homeFresh {
		b.wantHome(p, who)
	}
}

// wantHome sees to it that a Home is drawn from what is known after this call.
// One is drawn at a time, so that an older drawing never overtakes a newer one,
// and what changes meanwhile is one more drawing, however much it is. The caller
// holds the lock.
func (b *Bot) wantHome(p *homeOf, who review.Reviewer) {
	p.wanted = true
	if p.drawing {
		return
	}
	p.drawing = true
	b.spawn(func() { b.drawHomes(p, who) })
}

// drawHomes draws one person's Home until nothing has changed since.
func (b *Bot) drawHomes(p *homeOf, who review.Reviewer) {
	h := b.homes
	tries := 0
	for {
		h.mu.Lock()
		wait := time.Until(p.drawn.Add(h.gap))
		if !p.wanted {
			p.drawing = false
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		if wait > 0 && !pause(b.finish, wait) {
			return // the bot ends
		}
		h.mu.Lock()
		p.wanted, p.drawn = false, time.Now()
		h.mu.Unlock()
		err := b.showHome(who)
		if review.KindOf(err) == review.Busy && tries < homeTries-1 {
			tries++
			if !pause(b.finish, review.WaitOf(err)) {
				return
			}
			h.mu.Lock()
			p.wanted = true
			h.mu.Unlock()
			continue
		}
		tries = 0
		b.sayHome(p, who, err)
	}
}

func (b *Bot) showHome(who review.Reviewer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &review.Error{Kind: review.Broken, Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	ctx, cancel := context.WithTimeout(b.finish, 10*time.Second)
	defer cancel()
	return b.drawHome(ctx, who)
}

// sayHome logs how a drawing went. That the app may show no Home at all is said
// once, until it can.
func (b *Bot) sayHome(p *homeOf, who review.Reviewer, err error) {
	h := b.homes
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		h.said = ""
	case review.KindOf(err) == review.Denied:
		p.opened = time.Time{} // judging need not try again; opening does
		if text := review.TextOf(err); h.said != text {
			h.said = text
			b.log.Warn("App Homes cannot be shown", "error", err)
		}
	case b.finish.Err() == nil:
		b.log.Warn("an App Home could not be drawn", "user", who.ID, "kind", review.KindOf(err), "error", err)
	}
}

// drawHome reads everything and publishes it. No hash goes with it: a conflict
// would be answered with a drawing from the same state.
func (b *Bot) drawHome(ctx context.Context, who review.Reviewer) error {
	view := slackui.HomeView{Version: b.set.Version}
	for _, r := range b.all() {
		line, err := r.line(ctx)
		if err != nil {
			return err
		}
		if _, ok := r.ofStudy(); ok && line.Open+line.Waiting == 0 {
			continue // it is over
		}
		view.Routes = append(view.Routes, line)
	}
	list, total, err := b.queue.JudgedBy(ctx, who.ID, b.midnight(ctx, who.ID), homeMost)
	if err != nil {
		return err
	}
	view.Total = total
	view.Judged, view.Labels = b.judged(ctx, list)
	if box, err := b.queue.Outbox(ctx); err == nil {
		view.OnWay = box.Depth
	}
	return b.slack.PublishHome(ctx, who.ID, slackui.DrawHome(view))
}

// line is what a route says of itself to reviewers.
func (r *route) line(ctx context.Context) (slackui.HomeRoute, error) {
	n, err := r.b.queue.Waiting(ctx, r.Name)
	if err != nil {
		return slackui.HomeRoute{}, err
	}
	r.mu.Lock()
	channel := r.channel.ID
	r.mu.Unlock()
	line := slackui.HomeRoute{Name: r.Name, Channel: channel, Open: n.Open, Waiting: n.Backlog + n.Claimed, Judge: n.Judge, Oldest: n.Oldest, Why: r.waitsFor()}
	p, ok, err := r.progress(ctx)
	if ok {
		line.Progress = p.line()
	}
	return line, err
}

// judged turns today's judgements into lines, and counts what was said.
func (b *Bot) judged(ctx context.Context, list []queue.Judged) (lines []slackui.HomeJudged, counts []slackui.HomeCount) {
	rubrics := map[string]review.Rubric{}
	for _, j := range list {
		rubric, known := rubrics[j.Vote.Rubric]
		if !known {
			rubric, _, _ = b.rubrics.get(ctx, j.Vote.Rubric) // without it the label stands alone
			rubrics[j.Vote.Rubric] = rubric
		}
		label := j.Vote.Label
		switch {
		case label == "" && j.Vote.Score != nil:
			label = "📝 " + review.FormatScore(*j.Vote.Score)
		case label == "":
			label = "📝 comment"
		default:
			label = strings.TrimSpace(rubric.Sign(label) + " " + label)
		}
		lines = append(lines, slackui.HomeJudged{Label: label, Channel: j.Card.Channel, At: j.At,
			Link: slackui.Permalink(b.identity.URL, j.Card.Channel, j.Card.TS, j.ThreadTS)})
		kind := label
		if j.Vote.Label == "" && j.Vote.Score != nil {
			kind = "📝 scores"
		}
		i := slices.IndexFunc(counts, func(c slackui.HomeCount) bool { return c.Label == kind })
		if i < 0 {
			counts = append(counts, slackui.HomeCount{Label: kind})
			i = len(counts) - 1
		}
		counts[i].N++
	}
	slices.SortStableFunc(counts, func(a, b slackui.HomeCount) int { return b.N - a.N })
	return lines, counts
}

// midnight is when a person's day began, where they are; in UTC when Slack does
// not say where.
func (b *Bot) midnight(ctx context.Context, user string) time.Time {
	now := time.Now()
	z, known := b.homes.zones.get(user)
	if !known || now.Sub(z.was) > zoneKept {
		at, err := b.slack.Zone(ctx, user)
		if err != nil {
			b.log.Debug("no time zone for a reviewer", "user", user, "error", err)
			at = time.UTC
		}
		z = zone{at, now}
		b.homes.zones.put(user, z)
	}
	y, m, d := now.In(z.at).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, z.at)
}
