package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

var (
	addScript     = script("add")
	claimScript   = script("claim")
	dropScript    = script("drop")
	putBackScript = script("put_back")
	siftScript    = script("sift")
)

// Find is a span that a poll found for a route.
type Find struct {
	Row     int64 // place in Phoenix's feed; orders the backlog
	SpanID  string
	TraceID string

	// Of a route that is ordered by uncertainty. A find of no stream, or of the
	// control stream, goes to the backlog as it is.
	Stream      review.Stream
	Unjudged    bool    // it waits for a judge first
	Uncertainty float64 // 0 to 1; orders the uncertain stream
}

// rankScale parts a rank into uncertainty, in thousandths, and row id: of two
// spans as uncertain as each other the newer one comes first.
const rankScale = 1 << 42

func rank(uncertainty float64, row int64) int64 {
	return int64(uncertainty*1000+.5)*rankScale + row%rankScale
}

// known says of each find whether the route has a card for it.
func (q *Queue) carded(ctx context.Context, route string, finds []Find) ([]bool, error) {
	ids := make([]string, len(finds))
	for i, f := range finds {
		ids[i] = f.TraceID
	}
	threads, err := q.Threads(ctx, route, ids)
	if err != nil {
		return nil, err
	}
	out := make([]bool, len(finds))
	for i := range finds {
		c := threads[i].Card(finds[i].SpanID)
		out[i] = c != nil
	}
	return out, nil
}

// Known says of each find whether it has a card, a claim or a place in the
// backlog, or was judged through its trace's outline.
func (q *Queue) Known(ctx context.Context, route string, finds []Find) ([]bool, error) {
	if len(finds) == 0 {
		return nil, nil
	}
	out, err := q.carded(ctx, route, finds)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p := q.c.Pipeline()
	got := make([][4]*redis.FloatCmd, len(finds))
	for i, f := range finds {
		m := member(f.TraceID, f.SpanID)
		for k, key := range []string{q.key.backlog(route), q.key.claimed(route), q.key.uncertain(route), q.key.unjudged(route)} {
			got[i][k] = p.ZScore(ctx, key, m)
		}
	}
	if _, err := p.Exec(ctx); err != nil && !isNil(err) {
		return nil, failed("look up found spans", err)
	}
	for i, scores := range got {
		for _, s := range scores {
			out[i] = out[i] || s.Err() == nil
		}
	}
	return out, nil
}

// Add puts finds into the route's backlog, in the order given, up to max
// waiting ones. Known ones take no place. It stops at the first that does not
// fit and returns how many it added and how many are left from there on.
func (q *Queue) Add(ctx context.Context, route string, max int, finds []Find) (added, rest int, err error) {
	if len(finds) == 0 {
		return 0, 0, nil
	}
	carded, err := q.carded(ctx, route, finds)
	if err != nil {
		return 0, 0, err
	}
	args := []any{max, q.key.wake(), route}
	for i, f := range finds {
		known := 0
		if carded[i] {
			known = 1
		}
		to, score := 1, f.Row // the numbers of the keys below
		switch {
		case f.Unjudged:
			to = 5
		case f.Stream == review.Uncertain:
			to, score = 4, rank(f.Uncertainty, f.Row)
		}
		args = append(args, member(f.TraceID, f.SpanID), score, known, to)
	}
	return twoNumbers(q.run(ctx, addScript, "add to the backlog of "+route,
		[]string{q.key.backlog(route), q.key.claimed(route), q.key.routes(), q.key.uncertain(route), q.key.unjudged(route)}, args...))
}

func twoNumbers(v any, err error) (a, b int, _ error) {
	if err != nil {
		return 0, 0, err
	}
	n, ok := v.([]any)
	if !ok || len(n) != 2 {
		return 0, 0, fmt.Errorf("two numbers were expected of a script, which answered %v", v)
	}
	return int(n[0].(int64)), int(n[1].(int64)), nil
}

// Unjudged lists up to n spans of a route that wait for a judge, newest first,
// beginning with the one at a place; none is behind the last.
func (q *Queue) Unjudged(ctx context.Context, route string, place int64, n int) ([]Find, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := q.c.ZRevRangeWithScores(ctx, q.key.unjudged(route), place, place+int64(n)-1).Result()
	if err != nil {
		return nil, failed("list what waits for a judge in "+route, err)
	}
	out := make([]Find, len(list))
	for i, z := range list {
		m, _ := z.Member.(string)
		out[i] = Find{Row: int64(z.Score), Stream: review.Uncertain, Unjudged: true}
		out[i].TraceID, out[i].SpanID = splitMember(m)
	}
	return out, nil
}

// Sift takes finds that a judge has seen by now off those that wait for it: into
// the uncertain stream, as far as there is room, or, when they are not uncertain,
// away. It returns how many of each there were.
func (q *Queue) Sift(ctx context.Context, route string, max int, finds []Find) (added, went int, err error) {
	if len(finds) == 0 {
		return 0, 0, nil
	}
	args := []any{max, q.key.wake(), route}
	for _, f := range finds {
		score := int64(-1)
		if f.Uncertainty > 0 {
			score = rank(f.Uncertainty, f.Row)
		}
		args = append(args, member(f.TraceID, f.SpanID), score)
	}
	return twoNumbers(q.run(ctx, siftScript, "sift what waits for a judge in "+route,
		[]string{q.key.unjudged(route), q.key.uncertain(route), q.key.backlog(route)}, args...))
}

// Counts says how much of a route waits.
type Counts struct {
	Backlog int       // found, no place yet
	Judge   int       // found, and wait for a judge first
	Claimed int       // on the way to Slack
	Open    int       // cards that wait for a reviewer
	Oldest  time.Time // when the oldest of these was posted; zero without any
}

// Waiting counts what waits in a route.
func (q *Queue) Waiting(ctx context.Context, route string) (Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p := q.c.Pipeline()
	b, c, o := p.ZCard(ctx, q.key.backlog(route)), p.ZCard(ctx, q.key.claimed(route)), p.ZCard(ctx, q.key.open(route))
	u, j := p.ZCard(ctx, q.key.uncertain(route)), p.ZCard(ctx, q.key.unjudged(route))
	first := p.ZRangeWithScores(ctx, q.key.open(route), 0, 0)
	if _, err := p.Exec(ctx); err != nil {
		return Counts{}, failed("count what waits in "+route, err)
	}
	n := Counts{Backlog: int(b.Val() + u.Val()), Judge: int(j.Val()), Claimed: int(c.Val()), Open: int(o.Val())}
	if z := first.Val(); len(z) > 0 {
		n.Oldest = time.UnixMilli(int64(z[0].Score))
	}
	return n, nil
}

// Claim is one span on its way to Slack, held by one replica for a while.
type Claim struct {
	review.Ref
	Row   int64
	Turn  int64     // fencing token: of two owners the later one counts
	Again bool      // an earlier owner's lease ran out: it may have been posted
	Since time.Time // when it was first claimed

	Uncertain bool // it is of the uncertain stream
}

type claimBody struct {
	Turn  int64 `json:"t"`
	Row   int64 `json:"r"`
	Since int64 `json:"s"`
	Again int   `json:"a"`

	Uncertain int `json:"u"`
}

// Claim takes the next span of a route: first one whose owner's lease ran out,
// then the newest or oldest of the backlog, if the open and the claimed ones
// leave room under maxOpen (0: no limit). One trace has one live claim at most,
// so that its first card becomes the parent of the others. While the route's cards
// are not known here (a new or a lost Redis) the error is ErrUnbuilt.
func (q *Queue) Claim(ctx context.Context, route string, maxOpen int, order review.Order, lease time.Duration) (Claim, bool, error) {
	return q.claim(ctx, route, maxOpen, order, -1, lease)
}

// ClaimUncertain is Claim where the backlog is the control stream. While there is
// something in both streams that share of the claims is the newest of the control
// stream, and the others are the most uncertain span.
func (q *Queue) ClaimUncertain(ctx context.Context, route string, maxOpen int, control float64, lease time.Duration) (Claim, bool, error) {
	return q.claim(ctx, route, maxOpen, review.Newest, control, lease)
}

func (q *Queue) claim(ctx context.Context, route string, maxOpen int, order review.Order, control float64, lease time.Duration) (Claim, bool, error) {
	newest := 0
	if order != review.Oldest {
		newest = 1
	}
	v, err := q.run(ctx, claimScript, "claim from "+route,
		[]string{q.key.backlog(route), q.key.claimed(route), q.key.claims(route), q.key.open(route), q.key.seq(), q.key.built(), q.key.uncertain(route), q.key.taken(route)},
		maxOpen, newest, lease.Milliseconds(), route, control)
	if err != nil || v == nil {
		return Claim{}, false, err
	}
	got, ok := v.([]any)
	if ok && len(got) == 1 {
		return Claim{}, false, ErrUnbuilt
	}
	if !ok || len(got) != 2 {
		return Claim{}, false, fmt.Errorf("claim from %s: unexpected answer %v", route, v)
	}
	var b claimBody
	if err := json.Unmarshal([]byte(got[1].(string)), &b); err != nil {
		return Claim{}, false, fmt.Errorf("claim from %s: %w", route, err)
	}
	trace, span := splitMember(got[0].(string))
	return Claim{
		Ref: review.Ref{Route: route, TraceID: trace, SpanID: span},
		Row: b.Row, Turn: b.Turn, Again: b.Again == 1, Since: timeOf(b.Since), Uncertain: b.Uncertain == 1,
	}, true, nil
}

// Drop gives up a claim: the span will not be posted. A claim that is another's
// by now is left alone.
func (q *Queue) Drop(ctx context.Context, c Claim) error {
	_, err := q.run(ctx, dropScript, "drop claim "+c.SpanID,
		[]string{q.key.claimed(c.Route), q.key.claims(c.Route)}, member(c.TraceID, c.SpanID), c.Turn)
	return err
}

// PutBack returns a claim that surely was not posted: it is claimed again after
// a while, and keeps its place until then. Whether an earlier owner may have
// posted it is not forgotten.
func (q *Queue) PutBack(ctx context.Context, c Claim, after time.Duration) error {
	again := 0
	if c.Again {
		again = 1
	}
	_, err := q.run(ctx, putBackScript, "put back claim "+c.SpanID,
		[]string{q.key.claimed(c.Route), q.key.claims(c.Route)}, member(c.TraceID, c.SpanID), c.Turn, after.Milliseconds(), again)
	return err
}

// OldestOpen lists up to n open cards that were posted before a time, oldest
// first. Entries whose thread expired are cleared away.
func (q *Queue) OldestOpen(ctx context.Context, route string, before time.Time, n int) ([]review.Ref, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	members, err := q.c.ZRangeByScore(ctx, q.key.open(route), &redis.ZRangeBy{
		Min: "-inf", Max: fmt.Sprintf("(%d", before.UnixMilli()), Count: int64(n)}).Result()
	if err != nil {
		return nil, failed("list open cards of "+route, err)
	}
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i], _ = splitMember(m)
	}
	threads, err := q.Threads(ctx, route, ids)
	if err != nil {
		return nil, err
	}
	var out []review.Ref
	for i, m := range members {
		_, span := splitMember(m)
		if c := threads[i].Card(span); c == nil || c.State != review.Open {
			if err := q.c.ZRem(ctx, q.key.open(route), m).Err(); err != nil {
				return out, failed("clear open cards of "+route, err)
			}
			continue
		}
		out = append(out, review.Ref{Route: route, TraceID: ids[i], SpanID: span})
	}
	return out, nil
}

// OpenFrom lists up to n open cards of a route, beginning with the one at a
// place in the order of their posting; none is behind the last.
func (q *Queue) OpenFrom(ctx context.Context, route string, place int64, n int) ([]review.Ref, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	members, err := q.c.ZRange(ctx, q.key.open(route), place, place+int64(n)-1).Result()
	if err != nil {
		return nil, failed("list open cards of "+route, err)
	}
	out := make([]review.Ref, len(members))
	for i, m := range members {
		out[i].Route = route
		out[i].TraceID, out[i].SpanID = splitMember(m)
	}
	return out, nil
}

// Routes lists every route name that ever had state, those that were taken out
// of the configuration too.
func (q *Queue) Routes(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	names, err := q.c.SMembers(ctx, q.key.routes()).Result()
	return names, failed("list routes", err)
}
