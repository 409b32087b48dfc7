package bot

import (
	"context"
	"iter"
	"time"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
)

// Deed is one judgement of the history and what became of it.
type Deed struct {
	review.Judgement
	Project string
	Before  *review.Answer // what the reviewer had said earlier; nil for nothing
	Outcome string         // stored, failed, dropped, replaced (by a later word before it was stored), waiting
	Stored  time.Time      // when Phoenix confirmed it; zero when it did not
	Why     string         // failed, dropped: the reason
	Later   string         // what somebody did to it in Phoenix: "deleted: …", "changed: …"
	Resent  int            // how often it was sent again
}

// Latency is from the click to Phoenix's word; 0 while there is none.
func (d Deed) Latency() time.Duration {
	if d.Stored.IsZero() {
		return 0
	}
	return max(d.Stored.Sub(d.At), 0)
}

// History gives what reviewers said since a time and what became of it, in the
// order of the clicks' acceptance. It works beside a running bot.
func History(ctx context.Context, set Settings, since time.Time) (iter.Seq2[Deed, error], func() error, error) {
	b, err := connect(ctx, set)
	if err != nil {
		return nil, nil, err
	}
	return deeds(ctx, b.queue, since), b.queue.Close, nil
}

// deeds reads the history twice: what became of a judgement stands behind it.
func deeds(ctx context.Context, q *queue.Queue, since time.Time) iter.Seq2[Deed, error] {
	type name struct {
		key string
		at  int64
	}
	type fate struct {
		outcome, why, later string
		stored              time.Time
		resent              int
	}
	return func(yield func(Deed, error) bool) {
		fates := map[name]fate{}
		last := map[string]int64{} // key -> its last click
		for e, err := range q.History(ctx, since) {
			if err != nil {
				yield(Deed{}, err)
				return
			}
			n := name{e.Key, e.At.UnixMilli()}
			f := fates[n]
			switch e.What {
			case queue.Said:
				last[e.Key] = n.at
			case queue.Resent:
				f.resent++
			case queue.Stored:
				if f.stored.IsZero() {
					f.stored = e.Time
				}
				f.outcome, f.why = "stored", ""
			case queue.Failed:
				f.outcome, f.why = "failed", e.Why
			case queue.Dropped:
				f.outcome, f.why = "dropped", e.Why
			case queue.Deleted, queue.Changed:
				f.later = string(e.What) + ": " + e.Why
			}
			fates[n] = f
		}
		for e, err := range q.History(ctx, since) {
			if err != nil {
				yield(Deed{}, err)
				return
			}
			if e.What != queue.Said || e.Judgement == nil {
				continue
			}
			f := fates[name{e.Key, e.At.UnixMilli()}]
			d := Deed{Judgement: *e.Judgement, Project: e.Project, Before: e.Before, Outcome: f.outcome, Stored: f.stored, Why: f.why, Later: f.later, Resent: f.resent}
			if d.Outcome == "" {
				d.Outcome = "waiting"
				if last[e.Key] > e.At.UnixMilli() {
					d.Outcome = "replaced"
				}
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}
