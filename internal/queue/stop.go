package queue

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

// tally is what a change of a thread does to the counts of its route's verdicts.
func tally(before, after review.Thread) (out [][2]any) {
	field := func(c *review.Card) string {
		rubric, label, ok := c.Verdict()
		if !ok {
			return ""
		}
		return rubric + "|" + label
	}
	for i := range after.Cards {
		c := &after.Cards[i]
		was, is := field(before.Card(c.SpanID)), field(c)
		if was == is {
			continue
		}
		if was != "" {
			out = append(out, [2]any{was, -1})
		}
		if is != "" {
			out = append(out, [2]any{is, 1})
		}
	}
	return out
}

// Progress is how far a route is on its way to enough judgements, under one
// rubric.
type Progress struct {
	Labels map[string]int // label -> spans of that verdict
	Looks  []review.Look
}

// Judged is the number of spans with a verdict.
func (p Progress) Judged() (n int) {
	for _, k := range p.Labels {
		n += k
	}
	return n
}

// Progress reads a route's counts and looks under the rubric of that hash. They
// are kept for as long as somebody reads them: a route that has enough changes
// nothing any more, and must not forget it.
func (q *Queue) Progress(ctx context.Context, route, rubric string) (Progress, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p := q.c.Pipeline()
	counts, looks := p.HGetAll(ctx, q.key.tally(route)), p.HGetAll(ctx, q.key.looks(route))
	p.PExpire(ctx, q.key.tally(route), q.opts.Retention)
	p.PExpire(ctx, q.key.looks(route), q.opts.Retention)
	if _, err := p.Exec(ctx); err != nil {
		return Progress{}, failed("read the counts of "+route, err)
	}
	out := Progress{Labels: map[string]int{}}
	for field, n := range counts.Val() {
		if label, ok := strings.CutPrefix(field, rubric+"|"); ok {
			out.Labels[label], _ = strconv.Atoi(n)
		}
	}
	for field, text := range looks.Val() {
		size, ok := strings.CutPrefix(field, rubric+"|")
		if !ok || strings.Contains(size, "|") {
			continue
		}
		var l review.Look
		var err error
		if l.Size, err = strconv.Atoi(size); err == nil {
			_, err = fmt.Sscanf(text, "%d:%d", &l.Judged, &l.Failed)
		}
		if err != nil {
			q.opts.Log.Error("a stored look cannot be read", "route", route, "look", field, "text", text)
			continue
		}
		out.Looks = append(out.Looks, l)
	}
	return out, nil
}

// KeepLook stores a look. Of several replicas the first one's counts.
func (q *Queue) KeepLook(ctx context.Context, route, rubric string, l review.Look) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p := q.c.Pipeline()
	p.HSetNX(ctx, q.key.looks(route), lookField(rubric, l), fmt.Sprintf("%d:%d", l.Judged, l.Failed))
	p.PExpire(ctx, q.key.looks(route), q.opts.Retention)
	_, err := p.Exec(ctx)
	return failed("keep a look of "+route, err)
}

func lookField(rubric string, l review.Look) string {
	return rubric + "|" + strconv.Itoa(l.Size)
}

// Telling gives one replica a minute to say that a route has enough; false where
// that was said, or while another has the task.
func (q *Queue) Telling(ctx context.Context, route, rubric string, l review.Look) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	said, err := q.c.HExists(ctx, q.key.looks(route), lookField(rubric, l)+"|said").Result()
	if err != nil || said {
		return false, failed("look whether "+route+" was said to have enough", err)
	}
	err = q.c.SetArgs(ctx, q.key.telling(route), rand.Text(), redis.SetArgs{Mode: "NX", TTL: buildLease}).Err()
	if isNil(err) {
		return false, nil
	}
	return err == nil, failed("take the word that "+route+" has enough", err)
}

// Told notes that it was said, and where.
func (q *Queue) Told(ctx context.Context, route, rubric string, l review.Look, ts string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p := q.c.Pipeline()
	p.HSet(ctx, q.key.looks(route), lookField(rubric, l)+"|said", ts)
	p.Del(ctx, q.key.telling(route))
	p.PExpire(ctx, q.key.looks(route), q.opts.Retention)
	_, err := p.Exec(ctx)
	return failed("note that "+route+" was said to have enough", err)
}
