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
	type times struct{ fetch, whole []time.Duration }
	bySize := map[int]times{}
	sizes := []int{1_000, 10_000, 100_000}
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
		var t times
		for i := range 6 {
			began := time.Now()
			newest, err := c.NewestRow(ctx, p.ID)
			if err != nil {
				l.Fatalf("%v", err)
			}
			mark := newest - fresh
			var ask []review.Span
			for row, err := range c.Forward(ctx, phoenix.Query{Project: p.ID, Text: 64, Page: 100}, mark-overlap+1) {
				if err != nil {
					l.Fatalf("%v", err)
				}
				if row.Row > mark {
					ask = append(ask, row.Span)
				}
			}
			fetched := time.Since(began)
			if len(ask) != fresh {
				l.Fatalf("%d of %d new spans were found", len(ask), fresh)
			}
			if _, err := c.Annotated(ctx, p.ID, "correctness", ask); err != nil {
				l.Fatalf("%v", err)
			}
			if i > 0 { // the first one opens files and connections
				t.fetch, t.whole = append(t.fetch, fetched), append(t.whole, time.Since(began))
			}
		}
		bySize[n] = t
		px.Stop()
	}
	small, large := median(bySize[sizes[0]].fetch), median(bySize[sizes[2]].fetch)
	ratio := float64(large) / float64(small)
	l.report(ratio <= 1.2, "poll with 100 new spans, fetching: 100 k spans ≤ 1.2 × 1 k spans", "%s at 1 k, %s at 10 k, %s at 100 k: %.2f ×",
		ms(small), ms(median(bySize[sizes[1]].fetch)), ms(large), ratio)
	whole := median(bySize[sizes[2]].whole)
	l.report(whole < 500*time.Millisecond, "the whole poll, annotations looked up, at 100 k spans: < 500 ms", "%s", ms(whole))
}
