package bot

import (
	"context"
	"iter"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
)

const (
	// overlap is how many row ids below the watermark are read again: SQLite
	// gives the row of a deleted newest span to the next one, and replicas on
	// Postgres may commit rows out of order. Spans seen before are known.
	overlap = 64
	// pageSize is how many spans are decided on together.
	pageSize = 100
	// feedText is how much of each text a poll reads: it only decides, the card
	// reads the span again.
	feedText = 64
)

// poll looks at the spans that are new since the watermark, then goes on with
// the look back where the first poll had to stop. Its cost follows the number
// of new spans, not the size of the project.
func (r *route) poll(ctx context.Context) error {
	project, _, _ := r.now()
	var err error
	if r.full, err = r.enough(ctx); err != nil {
		return err
	}
	cur, known, err := r.b.queue.Cursor(ctx, r.Name, project)
	if err != nil {
		return err
	}
	// A feed that is asked for rows above its end answers nothing for ever, so
	// the newest row is asked for each time.
	newest, err := r.b.phoenix.NewestRow(ctx, project, !r.Spans.AllSpans)
	if err != nil {
		return err
	}
	if known && newest < cur.Mark {
		r.log.Warn("the newest span is older than what was seen before: another or a recreated database, or spans were deleted; looking at the project anew",
			"project", r.Project, "seen", cur.Mark, "newest", newest)
		if err := r.restore(ctx); err != nil {
			return err
		}
		known = false
	}
	if !known {
		oldest := cur.Oldest // spans that waited outside a full backlog still count
		if oldest.IsZero() {
			oldest = time.Now().Add(-r.Since)
		}
		cur = queue.Cursor{Mark: newest, Low: newest, Oldest: oldest}
		if newest == 0 {
			cur.Low = 0
		}
		if err := r.b.queue.SaveCursor(ctx, r.Name, project, cur); err != nil {
			return err
		}
	} else if err := r.forward(ctx, project, &cur, newest); err != nil {
		return err
	}
	if err := r.back(ctx, project, &cur, !known); err != nil {
		return err
	}
	if !r.full {
		if err := r.sift(ctx, project); err != nil {
			return err
		}
	}
	r.b.metrics.outside.WithLabelValues(r.Name).Set(float64(outside(cur, newest)))
	return nil
}

// outside is how many rows of the feed are not looked at: above the watermark,
// and below where the look back stopped. Rows are spans of any kind, so this is
// an upper bound of the spans that wait.
func outside(c queue.Cursor, newest int64) int64 { return max(newest-c.Mark, 0) + c.Low }

func (r *route) query(project string, since time.Time) phoenix.Query {
	return phoenix.Query{Project: project, Filter: r.Spans, Since: since, Text: feedText, Page: pageSize}
}

// forward looks at everything above the watermark. While the backlog is full
// the watermark does not pass a span that has no place in it.
func (r *route) forward(ctx context.Context, project string, cur *queue.Cursor, newest int64) error {
	q := r.query(project, time.Time{})
	if !r.b.phoenix.Ascends() {
		return r.downToMark(ctx, project, q, cur, newest)
	}
	from := max(cur.Mark-overlap+1, 1)
	for page, err := range pages(r.b.phoenix.Forward(ctx, q, from)) {
		if err != nil {
			return err
		}
		left, err := r.take(ctx, project, page, cur.Oldest)
		if err != nil {
			return err
		}
		done := page[len(page)-1].Row
		if left > 0 {
			done = page[len(page)-left].Row - 1
		}
		if done > cur.Mark {
			cur.Mark = done
			if err := r.b.queue.SaveCursor(ctx, r.Name, project, *cur); err != nil {
				return err
			}
		}
		if left > 0 {
			return nil
		}
	}
	// All rows up to the newest one were looked at by the server's filter.
	if newest > cur.Mark {
		cur.Mark = newest
		if err := r.b.queue.SaveCursor(ctx, r.Name, project, *cur); err != nil {
			return err
		}
	}
	r.forgetSettled(cur.Mark - overlap)
	return nil
}

// downToMark does the same on servers before 20.16, which read newest first
// only. When the backlog is full on the way, the rest down to the watermark
// becomes part of the look back: nothing is skipped.
func (r *route) downToMark(ctx context.Context, project string, q phoenix.Query, cur *queue.Cursor, newest int64) error {
	stop := cur.Mark - overlap
	until := func(yield func(phoenix.Row, error) bool) {
		for row, err := range r.b.phoenix.Newest(ctx, q, 0) {
			if (err == nil && row.Row <= stop) || !yield(row, err) {
				return
			}
		}
	}
	for page, err := range pages(until) {
		if err != nil {
			return err // the watermark moves only when the pass is complete
		}
		left, err := r.take(ctx, project, page, cur.Oldest)
		if err != nil {
			return err
		}
		if left > 0 {
			cur.Low = max(cur.Low, page[len(page)-left].Row)
			break
		}
	}
	cur.Mark = max(cur.Mark, newest)
	r.forgetSettled(cur.Mark - overlap)
	return r.b.queue.SaveCursor(ctx, r.Name, project, *cur)
}

// back goes on with the look back, newest first, until the backlog is full or
// the route's since is reached; but not before the backlog is half empty, so
// that it is not asked for every single free place.
func (r *route) back(ctx context.Context, project string, cur *queue.Cursor, first bool) error {
	if cur.Low <= 0 {
		return nil
	}
	if !first {
		n, err := r.b.queue.Waiting(ctx, r.Name)
		if err != nil {
			return err
		}
		if n.Backlog >= (r.Backlog+1)/2 {
			return nil
		}
	}
	for page, err := range pages(r.b.phoenix.Newest(ctx, r.query(project, cur.Oldest), cur.Low)) {
		if err != nil {
			return err
		}
		left, err := r.take(ctx, project, page, cur.Oldest)
		if err != nil {
			return err
		}
		cur.Low = page[len(page)-1].Row - 1
		if left > 0 {
			cur.Low = page[len(page)-left].Row
		}
		if err := r.b.queue.SaveCursor(ctx, r.Name, project, *cur); err != nil {
			return err
		}
		if left > 0 {
			return nil
		}
		r.room.send() // post what is there while the look goes on
	}
	cur.Low = 0
	return r.b.queue.SaveCursor(ctx, r.Name, project, *cur)
}

// take decides on one page of the feed and puts what is to be posted into the
// backlog, in the page's order. It returns how many rows at the end of the page
// were not taken because the backlog is full, or the route has enough judgements:
// the watermark does not pass them either, so that none is missed when it goes on.
func (r *route) take(ctx context.Context, project string, page []phoenix.Row, oldest time.Time) (left int, err error) {
	verdicts, uncertainty, err := r.decide(ctx, project, page, oldest)
	if err != nil {
		return 0, err
	}
	var finds []queue.Find
	at := make([]int, 0, len(page)) // index in the page of each find
	for i, row := range page {
		if v := verdicts[i]; v == review.Post || v == review.Unjudged {
			finds = append(finds, queue.Find{Row: row.Row, SpanID: row.ID, TraceID: row.TraceID,
				Stream: r.StreamOf(row.ID), Unjudged: v == review.Unjudged, Uncertainty: uncertainty[row.ID]})
			at = append(at, i)
		}
	}
	added, rest, full := 0, len(finds), review.Enough
	if !r.full {
		full = review.Full
		if added, rest, err = r.b.queue.Add(ctx, r.Name, r.Backlog, finds); err != nil {
			return 0, err
		}
	}
	upto := len(page)
	if rest > 0 {
		upto = at[len(at)-rest]
	}
	counts := map[review.Verdict]int{review.Post: added}
	if rest > 0 {
		counts[full] = rest
	}
	for i, v := range verdicts[:upto] {
		switch v {
		case review.Post, review.Tracked:
		case review.Unjudged:
			counts[v]++
		default:
			if r.settle(page[i]) {
				counts[v]++
			}
		}
	}
	for v, n := range counts {
		r.b.metrics.verdict(r.Name, v, n)
	}
	return len(page) - upto, nil
}

// decide finds the verdict on each row of a page. What needs no question is
// decided first; only spans that nobody knows are looked up in Phoenix. In a route
// ordered by uncertainty it also tells how uncertain each is, by span id.
func (r *route) decide(ctx context.Context, project string, page []phoenix.Row, oldest time.Time) ([]review.Verdict, map[string]float64, error) {
	out := make([]review.Verdict, len(page))
	var open []int
	var finds []queue.Find
	for i, row := range page {
		switch {
		case !row.Match:
			out[i] = review.NoMatch
		case r.isSettled(row):
			out[i] = review.NotChosen // decided before, whatever it was
		default:
			if out[i] = r.Decide(row.Span, oldest, false, false); out[i] == review.Post {
				open = append(open, i)
				finds = append(finds, queue.Find{Row: row.Row, SpanID: row.ID, TraceID: row.TraceID})
			}
		}
	}
	if len(open) == 0 {
		return out, nil, nil
	}
	tracked, err := r.b.queue.Known(ctx, r.Name, finds)
	if err != nil {
		return nil, nil, err
	}
	var ask []review.Span
	for k, i := range open {
		if tracked[k] {
			out[i] = review.Tracked
		} else {
			ask = append(ask, page[i].Span)
		}
	}
	if len(ask) == 0 {
		return out, nil, nil
	}
	_, rubric, _ := r.now()
	annotated, evidence, err := r.b.phoenix.Evidence(ctx, project, rubric.Name, r.judge(), ask)
	if err != nil {
		return nil, nil, err
	}
	uncertainty := map[string]float64{}
	for _, i := range open {
		id := page[i].ID
		switch {
		case out[i] != review.Post:
		case annotated[id]:
			out[i] = review.Annotated
		default:
			u, known := evidence[id].Uncertainty(rubric)
			out[i], uncertainty[id] = r.Sift(r.StreamOf(id), u, known), u
		}
	}
	return out, uncertainty, nil
}

// settle remembers that a span in the overlap was decided on, so that the next
// poll does not ask again; false when it was known already.
func (r *route) settle(row phoenix.Row) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.settled[row.ID]; ok {
		return false
	}
	r.settled[row.ID] = row.Row
	return true
}

func (r *route) isSettled(row phoenix.Row) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.settled[row.ID]
	return ok
}

func (r *route) forgetSettled(below int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, row := range r.settled {
		if row <= below {
			delete(r.settled, id)
		}
	}
}

// pages groups a feed, so that questions about its spans are asked together.
func pages(feed iter.Seq2[phoenix.Row, error]) iter.Seq2[[]phoenix.Row, error] {
	return func(yield func([]phoenix.Row, error) bool) {
		var page []phoenix.Row
		for row, err := range feed {
			if err != nil {
				if len(page) > 0 && !yield(page, nil) {
					return
				}
				yield(nil, err)
				return
			}
			page = append(page, row)
			if len(page) == pageSize {
				if !yield(page, nil) {
					return
				}
				page = nil
			}
		}
		if len(page) > 0 {
			yield(page, nil)
		}
	}
}
