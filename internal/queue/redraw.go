package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

var (
	takeRedrawScript = script("take_redraw")
	doneRedrawScript = script("done_redraw")
)

// Redraw is a message in Slack that should say something else, leased by one
// replica. Marks coalesce: however often a card changes, it is drawn once.
type Redraw struct {
	Route   string
	TraceID string
	What    string    // span id of the card, or "outline"
	Due     time.Time // since when
	Turn    int64     // fencing token
}

func redrawMember(route, trace, what string) string { return route + "|" + trace + "|" + what }

// TakeRedraw leases the redraw that has been due longest; false when none is.
func (q *Queue) TakeRedraw(ctx context.Context, lease time.Duration) (Redraw, bool, error) {
	v, err := q.run(ctx, takeRedrawScript, "take a redraw",
		[]string{q.key.redraw(), q.key.redrawing()}, lease.Milliseconds())
	if err != nil || v == nil {
		return Redraw{}, false, err
	}
	got, ok := v.([]any)
	if !ok || len(got) != 3 {
		return Redraw{}, false, fmt.Errorf("take a redraw: unexpected answer %v", v)
	}
	p := strings.SplitN(got[0].(string), "|", 3)
	if len(p) != 3 {
		return Redraw{}, false, fmt.Errorf("take a redraw: unexpected member %q", got[0])
	}
	due, err := strconv.ParseFloat(got[1].(string), 64)
	if err != nil {
		return Redraw{}, false, fmt.Errorf("take a redraw: %w", err)
	}
	return Redraw{Route: p[0], TraceID: p[1], What: p[2], Due: timeOf(int64(due)), Turn: got[2].(int64)}, true, nil
}

// DoneRedraw gives a redraw back: finished when again is zero, else due again
// then. What was marked while it was drawn stays due. The error is ErrLost when
// the lease had ended: somebody may have drawn it meanwhile, and before.
func (q *Queue) DoneRedraw(ctx context.Context, r Redraw, again time.Time) error {
	mine, err := q.run(ctx, doneRedrawScript, "finish a redraw",
		[]string{q.key.redraw(), q.key.redrawing(), q.key.remark()},
		redrawMember(r.Route, r.TraceID, r.What), r.Turn, millis(again))
	if err == nil && mine != int64(1) {
		return ErrLost
	}
	return err
}

// drewFor is how long it is known who drew a message last.
const drewFor = time.Minute

// Draws notes that a replica, named by a token, is about to draw a message.
func (q *Queue) Draws(ctx context.Context, channel, ts, replica string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return failed("note who draws "+channel+"/"+ts, q.c.Set(ctx, q.key.drew(channel, ts), replica, drewFor).Err())
}

// DrewLast reports whether the replica was the last to draw a message; also
// false when that is longer ago than a minute.
func (q *Queue) DrewLast(ctx context.Context, channel, ts, replica string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	last, err := q.c.Get(ctx, q.key.drew(channel, ts)).Result()
	if isNil(err) {
		return false, nil
	}
	return err == nil && last == replica, failed("look who drew "+channel+"/"+ts, err)
}

// NextRedraw is when the next redraw is due; false when none waits.
func (q *Queue) NextRedraw(ctx context.Context) (time.Time, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	z, err := q.c.ZRangeWithScores(ctx, q.key.redraw(), 0, 0).Result()
	if err != nil || len(z) == 0 {
		return time.Time{}, false, failed("look at the redraws", err)
	}
	return timeOf(int64(z[0].Score)), true, nil
}

// RedrawStats says how many messages should say something else by now or
// later, and since when the oldest of those due should.
func (q *Queue) RedrawStats(ctx context.Context) (depth int, oldest time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p := q.c.Pipeline()
	n, first := p.ZCard(ctx, q.key.redraw()), p.ZRangeWithScores(ctx, q.key.redraw(), 0, 0)
	if _, err := p.Exec(ctx); err != nil {
		return 0, time.Time{}, failed("count redraws", err)
	}
	if z := first.Val(); len(z) > 0 {
		if at := timeOf(int64(z[0].Score)); at.Before(time.Now()) {
			oldest = at
		}
	}
	return int(n.Val()), oldest, nil
}
