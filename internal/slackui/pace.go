package slackui

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Slack's paces (docs.slack.dev, rate limits): about one message a second and
// channel; 50 updates a minute over all cards of a workspace. We stay a little
// below, so that a clock that differs from Slack's costs nothing.
const (
	postEvery     = 1015 * time.Millisecond
	updatesMinute = 48
)

// pace makes calls wait so that Slack need not refuse them, and makes them wait
// when it did.
type pace struct {
	mu       sync.Mutex
	channels map[string]*lane
	updates  lane
	times    []time.Time // of the updates of the last minute, a ring
	next     int
}

// lane is one thing that Slack limits: a 429 of one holds up no other.
type lane struct {
	mu      sync.Mutex
	blocked time.Time // Retry-After of the last refusal
	limit   *rate.Limiter
}

func newPace() *pace {
	return &pace{channels: map[string]*lane{}, times: make([]time.Time, updatesMinute)}
}

func (p *pace) channel(id string) *lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.channels[id]
	if l == nil {
		l = &lane{limit: rate.NewLimiter(rate.Every(postEvery), 1)}
		p.channels[id] = l
	}
	return l
}

// wait returns when the lane is free, or with the context's error. A place is
// taken after a refusal was sat out, so that what it held up goes out in turn.
func (l *lane) wait(ctx context.Context) error {
	for {
		d := l.closed()
		if d <= 0 {
			break
		}
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
	if l.limit == nil {
		return nil
	}
	if err := l.limit.Wait(ctx); err != nil {
		return err
	}
	if l.closed() > 0 { // refused meanwhile: queue again
		return l.wait(ctx)
	}
	return nil
}

// closed is for how much longer Slack asked to be left alone.
func (l *lane) closed() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.blocked)
}

// block closes the lane for as long as Slack asked.
func (l *lane) block(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := time.Now().Add(max(d, time.Second)); until.After(l.blocked) {
		l.blocked = until
	}
}

// update returns when one more update fits into the last minute. A burst goes
// out at once; above 48 a minute each waits for the one 48 before it to age. A
// place is taken when the update goes out, not when it begins to wait: who gives
// up takes none, and what a refusal held up does not go out all at once after it.
func (p *pace) update(ctx context.Context) error {
	for {
		if err := p.updates.wait(ctx); err != nil {
			return err
		}
		d := p.take(time.Now())
		if d <= 0 {
			return nil
		}
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
}

// take takes a place for an update at now, or says when one may be free.
func (p *pace) take(now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if oldest := p.times[p.next]; !oldest.IsZero() {
		if d := oldest.Add(time.Minute).Sub(now); d > 0 {
			return d
		}
	}
	p.times[p.next] = now
	p.next = (p.next + 1) % len(p.times)
	return 0
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
