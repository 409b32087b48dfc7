package bot

import (
	"context"
	"time"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

// partBudget is how long /spanbot status waits for Phoenix and for Redis: an
// answer that is late is none.
const partBudget = time.Second

// status answers /spanbot status.
func (b *Bot) status(ctx context.Context) slackui.StatusView {
	v := slackui.StatusView{Version: b.set.Version, Phoenix: b.set.public()}
	ctx, cancel := context.WithTimeout(ctx, partBudget)
	defer cancel()
	asked := make(chan error, 1)
	go func() {
		s, err := b.phoenix.Server(ctx)
		v.Server = s.Version
		asked <- err
	}()
	routes := b.all()
	lines := b.statusOfRedis(ctx, routes, &v)
	if err := <-asked; err != nil {
		v.Server, v.Trouble = "", review.TextOf(err)
	}
	for i, r := range routes {
		line := slackui.HomeRoute{Name: r.Name, Why: r.waitsFor()}
		if i < len(lines) {
			line = lines[i]
		}
		r.mu.Lock()
		polled := r.polled
		r.mu.Unlock()
		s, _ := r.ofStudy()
		v.Routes = append(v.Routes, slackui.StatusRoute{HomeRoute: line, Schedule: r.Schedule, MaxOpen: r.MaxOpen, Polled: polled, Study: s.Title})
	}
	return v
}

// statusOfRedis fills in what Redis knows and returns what it knows of the
// routes, as far as it answers.
func (b *Bot) statusOfRedis(ctx context.Context, routes []*route, v *slackui.StatusView) (lines []slackui.HomeRoute) {
	box, err := b.queue.Outbox(ctx)
	if err != nil {
		v.Redis = review.TextOf(err)
		return nil
	}
	v.OnWay, v.Dead = box.Depth, box.Dead
	for _, r := range routes {
		line, err := r.line(ctx)
		if err != nil {
			v.Redis = review.TextOf(err)
			return lines
		}
		lines = append(lines, line)
	}
	return lines
}
