package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

// ErrUnbuilt says that this Redis does not know which cards a route has in
// Slack: it is new, or it lost what it held. Nothing is posted before the cards
// were looked for.
var ErrUnbuilt = &review.Error{Kind: review.Down, Text: "Redis does not know this route's cards; they are looked for in Slack first"}

// buildLease is how long a replica that rebuilds may be silent.
const buildLease = time.Minute

// Epoch is what this Redis says of its own knowledge of a route.
type Epoch struct {
	Until time.Time // every card posted until then is known here
	Run   string    // the server's run id when that was written: another one may have started from an older disk
	Name  string    // another one each time that the cards were looked for in Slack
}

// Epoch returns what is stored of a route, and the run id of the server that
// answers ("" where a managed server hides it). ok is false when the
// route's cards are not known here.
func (q *Queue) Epoch(ctx context.Context, route string) (k Epoch, run string, ok bool, err error) {
	if err := q.check(ctx); err != nil {
		return Epoch{}, "", false, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := q.node(ctx)
	if err != nil {
		return Epoch{}, "", false, failed("find the server of our keys", err)
	}
	p := c.Pipeline()
	stored, info := p.HGet(ctx, q.key.built(), route), p.Info(ctx, "server")
	_, _ = p.Exec(ctx) // a managed server may refuse INFO
	if err := stored.Err(); err != nil && !isNil(err) {
		return Epoch{}, "", false, failed("look whether "+route+" is known", err)
	}
	for line := range strings.Lines(info.Val()) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "run_id:"); ok {
			run = v
		}
	}
	if isNil(stored.Err()) {
		return Epoch{}, run, false, nil
	}
	f := strings.SplitN(stored.Val(), ":", 3)
	for len(f) < 3 {
		f = append(f, "")
	}
	ms, _ := strconv.ParseInt(f[0], 10, 64) // damaged: since ever, so all is looked for
	return Epoch{Until: timeOf(ms), Run: f[1], Name: f[2]}, run, true, nil
}

// node is the server that holds our keys; of a Cluster, the master of their slot.
func (q *Queue) node(ctx context.Context) (redis.Cmdable, error) {
	if c, ok := q.c.(*redis.ClusterClient); ok {
		return c.MasterForKey(ctx, q.key.built())
	}
	return q.c, nil
}

var knownScript = script("known")

func (k Epoch) text() string {
	return strconv.FormatInt(millis(k.Until), 10) + ":" + k.Run + ":" + k.Name
}

// KnownUntil notes that the cards of an epoch are known until then. A Redis that
// was flushed meanwhile, or rebuilt, does not take it.
func (q *Queue) KnownUntil(ctx context.Context, route string, k Epoch, until time.Time) error {
	next := k
	next.Until = until
	_, err := q.run(ctx, knownScript, "note that "+route+" is known", []string{q.key.built()}, route, k.text(), next.text())
	return err
}

// KeepEpoch stores that a route's cards were looked for, and tells all replicas.
func (q *Queue) KeepEpoch(ctx context.Context, route string, k Epoch) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p := q.c.Pipeline()
	// What a flush took with it.
	p.SAdd(ctx, index, q.opts.Instance)
	p.SetNX(ctx, q.key.layout(), Layout, 0)
	p.SetNX(ctx, q.key.instance(), q.opts.Instance, 0)
	p.SAdd(ctx, q.key.routes(), route)
	p.HSet(ctx, q.key.built(), route, k.text())
	p.Publish(ctx, q.key.wake(), route)
	_, err := p.Exec(ctx)
	return failed("mark "+route+" as known", err)
}

// Unbuild makes a route's cards count as unknown, so that they are looked for
// again before the next one is posted.
func (q *Queue) Unbuild(ctx context.Context, route string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return failed("forget that "+route+" is known", q.c.HDel(ctx, q.key.built(), route).Err())
}

// Building takes the task of rebuilding a route for one replica; ok is false
// while another has it. The returned functions keep it (it ends a minute after
// the last call) and give it back.
func (q *Queue) Building(ctx context.Context, route string) (keep func(context.Context) error, done func(), ok bool, err error) {
	if err := q.check(ctx); err != nil {
		return nil, nil, false, err
	}
	token := rand.Text()
	key := q.key.building(route)
	cctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = q.c.SetArgs(cctx, key, token, redis.SetArgs{Mode: "NX", TTL: buildLease}).Err()
	if isNil(err) {
		return nil, nil, false, nil
	}
	if err != nil {
		return nil, nil, false, failed("take the rebuilding of "+route, err)
	}
	mine := func(ctx context.Context, f func() error) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		who, err := q.c.Get(ctx, key).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return failed("keep the rebuilding of "+route, err)
		}
		if who != token {
			return &review.Error{Kind: review.Refused, Text: "another replica rebuilds " + route + " by now"}
		}
		return f()
	}
	keep = func(ctx context.Context) error {
		return mine(ctx, func() error {
			return failed("keep the rebuilding of "+route, q.c.PExpire(ctx, key, buildLease).Err())
		})
	}
	done = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		_ = mine(ctx, func() error { return q.c.Del(ctx, key).Err() }) // else it ends by itself
	}
	return keep, done, true, nil
}

// Looked is how far a walk through a route's cards came; 0 at the start.
func (q *Queue) Looked(ctx context.Context, route, what string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	n, err := q.c.HGet(ctx, q.key.looked(), route+"|"+what).Int64()
	if isNil(err) {
		return 0, nil
	}
	return n, failed("read how far "+route+" was compared", err)
}

// KeepLooked remembers how far a walk came.
func (q *Queue) KeepLooked(ctx context.Context, route, what string, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return failed("keep how far "+route+" was compared", q.c.HSet(ctx, q.key.looked(), route+"|"+what, n).Err())
}
