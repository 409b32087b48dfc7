package main

import (
	"context"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
)

// polls measures what a poll asks of Phoenix when 100 spans are new: the newest
// row, the rows above the watermark with its overlap, the annotations of the
// new ones.
func polls(l *lab) {
	const fresh, overlap = 100, 64 // overlap as in internal/bot/poll.go
	ctx := context.Background()
	sizes := []int{1_000, 10_000, 100_000}
	type times struct{ fetch, whole []time.Duration }
	type target struct {
		c       *phoenix.Client
		project string
	}
	targets, bySize := map[int]target{}, map[int]*times{}
	for _, n := range sizes {
		px := seed(l, n, 0)
		c, err := phoenix.New(phoenix.Options{Endpoint: px.URL})
		if err != nil {
			l.Fatalf("%v", err)
		}
		if _, err := c.Server(ctx); err != nil {
			l.Fatalf("%v", err)
		}
		p, err := c.Project(ctx, seeded)
		if err != nil {
			l.Fatalf("%v", err)
		}
		targets[n], bySize[n] = target{c, p.ID}, &times{}
	}
	one := func(t target) (fetched, whole time.Duration) {
		began := time.Now()
		newest, err := t.c.NewestRow(ctx, t.project, true)
		if err != nil {
			l.Fatalf("%v", err)
		}
		mark := newest - fresh
		var ask []review.Span
		for row, err := range t.c.Forward(ctx, phoenix.Query{Project: t.project, Text: 64, Page: 100}, mark-overlap+1) {
			if err != nil {
				l.Fatalf("%v", err)
			}
			if row.Row > mark {
				ask = append(ask, row.Span)
			}
		}
		fetched = time.Since(began)
		if len(ask) != fresh {
			l.Fatalf("%d of %d new spans were found", len(ask), fresh)
		}
		if _, err := t.c.Annotated(ctx, t.project, "correctness", ask); err != nil {
			l.Fatalf("%v", err)
		}
		return fetched, time.Since(began)
	}
	// The sizes take turns, so that whatever else the machine does slows all of
	// them. The first round opens files and connections.
	for i := range 6 {
		for _, n := range sizes {
			fetched, whole := one(targets[n])
			if t := bySize[n]; i > 0 {
				t.fetch, t.whole = append(t.fetch, fetched), append(t.whole, whole)
			}
		}
	}
	small, large := median(bySize[sizes[0]].fetch), median(bySize[sizes[2]].fetch)
	ratio := float64(large) / float64(small)
	l.report(ratio <= 1.2, "poll with 100 new spans, fetching: 100 k spans ≤ 1.2 × 1 k spans", "%s at 1 k, %s at 10 k, %s at 100 k: %.2f ×",
		ms(small), ms(median(bySize[sizes[1]].fetch)), ms(large), ratio)
	whole := median(bySize[sizes[2]].whole)
	l.report(whole < 500*time.Millisecond, "the whole poll, annotations looked up, at 100 k spans: < 500 ms", "%s", ms(whole))
}
