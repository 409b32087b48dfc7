package queue

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"
)

var slotScript = script("slot")

// Cursor is how far a route has looked at a project.
type Cursor struct {
	Mark   int64     // the newest row that was looked at
	Low    int64     // the look back goes on at this row, downwards; 0: it is done
	Oldest time.Time // spans that started earlier do not count
}

// Cursor returns a route's place in a project (by its global id); false when
// it has never looked.
func (q *Queue) Cursor(ctx context.Context, route, project string) (Cursor, bool, error) {
	if err := q.check(ctx); err != nil {
		return Cursor{}, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := q.c.HGetAll(ctx, q.key.cursor(route, project)).Result()
	if err != nil || len(m) == 0 {
		return Cursor{}, false, failed("read cursor of "+route, err)
	}
	num := func(s string) int64 {
		n, _ := strconv.ParseInt(s, 10, 64) // absent or damaged: looked at anew from there
		return n
	}
	return Cursor{Mark: num(m["mark"]), Low: num(m["low"]), Oldest: timeOf(num(m["oldest"]))}, true, nil
}

// SaveCursor keeps a route's place in a project.
func (q *Queue) SaveCursor(ctx context.Context, route, project string, c Cursor) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return failed("save cursor of "+route,
		q.c.HSet(ctx, q.key.cursor(route, project), "mark", c.Mark, "low", c.Low, "oldest", millis(c.Oldest)).Err())
}

// Slot takes the present slot of a route's schedule: of all replicas one gets
// true. A slot is the Redis time divided by the interval, so that replicas that
// started at different moments agree. It saves work; correctness rests on claims.
func (q *Queue) Slot(ctx context.Context, route string, interval time.Duration) (bool, error) {
	v, err := q.run(ctx, slotScript, "take the poll slot of "+route,
		[]string{q.key.slot(route)}, max(interval.Milliseconds(), 1), rand.Text())
	return v == int64(1), err
}
