package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

var (
	leaseScript  = script("lease")
	laterScript  = script("later")
	extendScript = script("extend")
)

// Entry is a judgement on its way to Phoenix, leased by one replica.
type Entry struct {
	Key   string // Judgement.Key
	Turn  int64  // fencing token: a later change or lease has a higher one
	Tries int    // failed deliveries so far
	review.Judgement
	Project string // Phoenix project name
}

// Dead is a judgement that Phoenix will never take, kept with the reason.
type Dead struct {
	Entry
	Why string
	At  time.Time // when it was given up
}

// Lease takes up to n judgements that are due, oldest first, for a while d.
// When it ends without a word they are due again.
func (q *Queue) Lease(ctx context.Context, n int, d time.Duration) ([]Entry, error) {
	v, err := q.run(ctx, leaseScript, "lease judgements",
		[]string{q.key.due(), q.key.body(), q.key.turn(), q.key.lease(), q.key.tries(), q.key.seq()}, n, d.Milliseconds())
	if err != nil || v == nil {
		return nil, err
	}
	got, ok := v.([]any)
	if !ok || len(got)%4 != 0 {
		return nil, fmt.Errorf("lease judgements: unexpected answer %v", v)
	}
	var out []Entry
	for i := 0; i < len(got); i += 4 {
		e := Entry{Key: got[i].(string), Turn: got[i+2].(int64), Tries: int(got[i+3].(int64))}
		if e.Judgement, e.Project, err = decodeJudgement([]byte(got[i+1].(string))); err != nil {
			// It stays leased and comes back: an operator can look at it.
			q.opts.Log.Error("a judgement in the outbox cannot be read", "key", e.Key, "error", err)
			continue
		}
		out = append(out, e)
	}
	return out, nil
}

// Later gives leases back: the judgements are due again after a while, and
// their tries are counted. One that was replaced meanwhile is due at once.
func (q *Queue) Later(ctx context.Context, es []Entry, after time.Duration) error {
	if len(es) == 0 {
		return nil
	}
	args := []any{after.Milliseconds()}
	for _, e := range es {
		args = append(args, e.Key, e.Turn)
	}
	_, err := q.run(ctx, laterScript, "give leases back",
		[]string{q.key.due(), q.key.turn(), q.key.lease(), q.key.tries()}, args...)
	return err
}

// Extend holds leases longer, from now on for d: a short lease that is extended
// while its holder lives comes back soon when the holder dies. The error is
// ErrLost when one of them is the caller's no more; the others are held.
func (q *Queue) Extend(ctx context.Context, es []Entry, d time.Duration) error {
	if len(es) == 0 {
		return nil
	}
	args := []any{d.Milliseconds()}
	for _, e := range es {
		args = append(args, e.Key, e.Turn)
	}
	n, err := q.run(ctx, extendScript, "extend leases", []string{q.key.due(), q.key.lease()}, args...)
	if err == nil && n != int64(len(es)) {
		return ErrLost
	}
	return err
}

// NextDue is when the next judgement is due; false when none waits.
func (q *Queue) NextDue(ctx context.Context) (time.Time, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	z, err := q.c.ZRangeWithScores(ctx, q.key.due(), 0, 0).Result()
	if err != nil || len(z) == 0 {
		return time.Time{}, false, failed("look at the outbox", err)
	}
	return timeOf(int64(z[0].Score)), true, nil
}

// OutboxStats says how much is on its way to Phoenix.
type OutboxStats struct {
	Depth  int       // judgements that Phoenix has not confirmed
	Dead   int       // dead letters
	Oldest time.Time // click of the oldest of the next hundred due; zero when none waits
}

// Outbox counts what is on its way.
func (q *Queue) Outbox(ctx context.Context) (OutboxStats, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p := q.c.Pipeline()
	n, dead, ids := p.HLen(ctx, q.key.body()), p.HLen(ctx, q.key.dead()), p.ZRange(ctx, q.key.due(), 0, 99)
	if _, err := p.Exec(ctx); err != nil {
		return OutboxStats{}, failed("count the outbox", err)
	}
	s := OutboxStats{Depth: int(n.Val()), Dead: int(dead.Val())}
	if len(ids.Val()) == 0 {
		return s, nil
	}
	bodies, err := q.c.HMGet(ctx, q.key.body(), ids.Val()...).Result()
	if err != nil {
		return s, failed("count the outbox", err)
	}
	for _, b := range bodies {
		text, _ := b.(string)
		var at struct {
			At int64 `json:"at"`
		}
		if json.Unmarshal([]byte(text), &at) == nil && (s.Oldest.IsZero() || timeOf(at.At).Before(s.Oldest)) {
			s.Oldest = timeOf(at.At)
		}
	}
	return s, nil
}

// Letter is a judgement in the outbox as an operator looks at it.
type Letter struct {
	Entry
	Due    time.Time // when it is tried next; zero for a dead one
	Leased bool      // a replica has it in hand
	Dead   bool
	Why    string    // of a dead one: the reason
	Given  time.Time // of a dead one: when it was given up
}

// lettersPage is how many are read together.
const lettersPage = 200

// Letters gives all that is in the outbox, those that wait first.
func (q *Queue) Letters(ctx context.Context) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		for _, dead := range []bool{false, true} {
			key := q.key.body()
			if dead {
				key = q.key.dead()
			}
			for cursor := uint64(0); ; {
				page, next, err := q.lettersPage(ctx, key, dead, cursor)
				if err != nil {
					yield(Letter{}, err)
					return
				}
				for _, l := range page {
					if !yield(l, nil) {
						return
					}
				}
				if cursor = next; cursor == 0 {
					break
				}
			}
		}
	}
}

func (q *Queue) lettersPage(ctx context.Context, key string, dead bool, cursor uint64) ([]Letter, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pairs, next, err := q.c.HScan(ctx, key, cursor, "", lettersPage).Result()
	if err != nil {
		return nil, 0, failed("list the outbox", err)
	}
	out := make([]Letter, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if dead {
			out = append(out, deadLetter(pairs[i], pairs[i+1]))
			continue
		}
		l := Letter{Entry: Entry{Key: pairs[i]}}
		if l.Judgement, l.Project, err = decodeJudgement([]byte(pairs[i+1])); err != nil {
			l.Why = err.Error()
		}
		out = append(out, l)
	}
	if dead || len(out) == 0 {
		return out, next, nil
	}
	p := q.c.Pipeline()
	type state struct {
		due   *redis.FloatCmd
		lease *redis.StringCmd
		tries *redis.StringCmd
	}
	states := make([]state, len(out))
	for i, l := range out {
		states[i] = state{p.ZScore(ctx, q.key.due(), l.Key), p.HGet(ctx, q.key.lease(), l.Key), p.HGet(ctx, q.key.tries(), l.Key)}
	}
	if _, err := p.Exec(ctx); err != nil && !isNil(err) {
		return nil, 0, failed("list the outbox", err)
	}
	now := time.Now()
	for i, s := range states {
		if due, err := s.due.Result(); err == nil {
			out[i].Due = timeOf(int64(due))
		}
		out[i].Tries, _ = s.tries.Int()
		if _, ms, ok := strings.Cut(s.lease.Val(), ":"); ok {
			ends, err := strconv.ParseInt(ms, 10, 64)
			out[i].Leased = err == nil && timeOf(ends).After(now)
		}
	}
	return out, next, nil
}

// DeadLetter is the dead letter of a judgement's key; false when there is none.
func (q *Queue) DeadLetter(ctx context.Context, key string) (Letter, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	text, err := q.c.HGet(ctx, q.key.dead(), key).Result()
	if isNil(err) {
		return Letter{}, false, nil
	}
	if err != nil {
		return Letter{}, false, failed("read the dead letter "+key, err)
	}
	return deadLetter(key, text), true, nil
}

func deadLetter(key, text string) Letter {
	var b deadBody
	l := Letter{Entry: Entry{Key: key}, Dead: true}
	err := json.Unmarshal([]byte(text), &b)
	if err == nil {
		l.Judgement, l.Project, err = decodeJudgement(b.Body)
	}
	if err != nil {
		l.Why = "the stored letter cannot be read: " + err.Error()
		return l
	}
	l.Why, l.Given = b.Why, timeOf(b.At)
	return l
}

func isNil(err error) bool { return errors.Is(err, redis.Nil) }
