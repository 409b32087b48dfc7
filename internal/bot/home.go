package bot

import (
	"context"
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
	// homePause folds judgements made in a row into one drawing of the Home.
	homePause = 3 * time.Second
	// homeMost bounds how many of today's judgements are counted by label.
	homeMost = 500
	// zoneKept is how long a person's time zone is believed.
	zoneKept = time.Hour
)

// homes remembers whose App Home was opened of late here. Another replica's
// people see theirs anew when they open it again.
type homes struct {
	mu     sync.Mutex
	opened map[string]time.Time
	due    map[string]bool // a drawing is on its way
	zones  *recent[string, zone]
}

type zone struct {
	at  *time.Location
	was time.Time
}

func newHomes() homes {
	return homes{opened: map[string]time.Time{}, due: map[string]bool{}, zones: newRecent[string, zone](1024)}
}

// openHome draws the App Home of somebody who opened it or asked for it anew.
func (b *Bot) openHome(ctx context.Context, who review.Reviewer) error {
	b.homes.mu.Lock()
	now := time.Now()
	for user, at := range b.homes.opened {
		if now.Sub(at) > homeFresh {
			delete(b.homes.opened, user)
		}
	}
	b.homes.opened[who.ID] = now
	b.homes.mu.Unlock()
	return b.drawHome(ctx, who)
}

// touchHome draws somebody's App Home anew after they judged, if they opened it
// of late. It waits a moment, so that ten taps are one drawing.
func (b *Bot) touchHome(who review.Reviewer) {
	b.homes.mu.Lock()
	defer b.homes.mu.Unlock()
	if time.Since(b.homes.opened[who.ID]) > homeFresh || b.homes.due[who.ID] {
		return
	}
	b.homes.due[who.ID] = true
	b.spawn(func() {
		_ = pause(b.finish, homePause)
		b.homes.mu.Lock()
		delete(b.homes.due, who.ID)
		b.homes.mu.Unlock()
		ctx, cancel := context.WithTimeout(b.finish, 10*time.Second)
		defer cancel()
		if err := b.drawHome(ctx, who); err != nil {
			b.log.Warn("an App Home could not be drawn anew", "user", who.ID, "error", err)
		}
	})
}

func (b *Bot) drawHome(ctx context.Context, who review.Reviewer) error {
	view := slackui.HomeView{Version: b.set.Version}
	for _, r := range b.routes {
		line, err := r.line(ctx)
		if err != nil {
			return err
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
	return slackui.HomeRoute{Name: r.Name, Channel: channel, Open: n.Open, Waiting: n.Backlog + n.Claimed, Oldest: n.Oldest, Why: r.waitsFor()}, nil
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
		lines = append(lines, slackui.HomeJudged{Label: label, Summary: j.Card.Summary, At: j.At,
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

// status answers /spanbot status. Each part has its own patience: an answer that
// is late is none.
func (b *Bot) status(ctx context.Context) slackui.StatusView {
	v := slackui.StatusView{Version: b.set.Version, Phoenix: b.set.public()}
	asked, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if s, err := b.phoenix.Server(asked); err != nil {
		v.Trouble = review.TextOf(err)
	} else {
		v.Server = s.Version
	}
	if err := b.queue.Ping(ctx); err != nil {
		v.Redis = review.TextOf(err)
	}
	if box, err := b.queue.Outbox(ctx); err == nil {
		v.OnWay, v.Dead = box.Depth, box.Dead
	}
	for _, r := range b.routes {
		line, err := r.line(ctx)
		if err != nil {
			line = slackui.HomeRoute{Name: r.Name, Why: r.waitsFor()}
		}
		r.mu.Lock()
		polled := r.polled
		r.mu.Unlock()
		v.Routes = append(v.Routes, slackui.StatusRoute{HomeRoute: line, Schedule: r.Schedule, MaxOpen: r.MaxOpen, Polled: polled})
	}
	return v
}
