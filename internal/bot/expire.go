package bot

import (
	"context"
	"time"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
)

// expireEvery is how often a route looks for cards that nobody touched.
const expireEvery = time.Minute

// expiring closes cards that nobody touched for the route's open_for, which
// frees their places. They can still be judged.
func (r *route) expiring(ctx context.Context) {
	for {
		if err := r.expire(ctx, time.Now()); err != nil && ctx.Err() == nil {
			r.log.Warn("old cards could not be closed; it is tried again", "error", err)
		}
		if !pause(ctx, max(expireEvery, r.b.set.Idle)) {
			return
		}
	}
}

func (r *route) expire(ctx context.Context, now time.Time) error {
	for r.OpenFor > 0 {
		old, err := r.b.queue.OldestOpen(ctx, r.Name, now.Add(-r.OpenFor), 50)
		if err != nil || len(old) == 0 {
			return err
		}
		for _, ref := range old {
			_, err := r.b.queue.Change(ctx, ref.Route, ref.TraceID, func(t *review.Thread) (queue.Step, error) {
				// A card that the thread does not know is only an index entry left
				// behind; writing the thread puts the index right.
				t.Close(ref.SpanID, review.Expired)
				return queue.Step{Redraw: redrawOf(t, ref.SpanID)}, nil
			})
			if err != nil {
				return err
			}
		}
		r.b.redraw.send()
		if len(old) < 50 {
			return nil
		}
	}
	return nil
}
