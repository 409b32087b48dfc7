// Package queue is Spanbot's memory in Redis: two waiting lines.
//
// Cards wait for a reviewer: found → claimed → posted → judged or closed
// (backlog.go, threads.go). Judgements wait for Phoenix: due → leased →
// confirmed, or dead (outbox.go). Beside them: what of Slack must be drawn anew
// (redraw.go), how far each project was looked at (cursor.go), and small words
// that are looked up once (words.go). What instances left that never come back
// is removed (forget.go).
//
// Each step is one script in lua/, so a kill between two lines of Go loses
// nothing; each may be sent twice, because the client retries. keys.go lists
// every key. No rule lives here: queue says "taken", never "should".
package queue

import (
	"context"
	"crypto/tls"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

// Layout is the version of everything that is stored. A program refuses a
// newer one: it could not keep what it does not know. It takes over an older one.
//
//	1  threads, backlog, outbox, redraws, cursors
//	2  history of judgements; which routes' cards are known
const Layout = 2

// callTimeout bounds every call to Redis that has no earlier deadline.
const callTimeout = 5 * time.Second

//go:embed lua/*.lua
var luaFiles embed.FS

func script(name string) *redis.Script {
	b, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // the file is part of the binary
	}
	return redis.NewScript(string(b))
}

// Options say whose memory it is and how long it keeps things.
type Options struct {
	Instance  string                // "T01TEST@phoenix.example:6006": Slack team and Phoenix; hashed short in the keys
	Retention time.Duration         // how long threads, rubrics and kept judgements live after their last use; 0 = 90 days
	Registry  prometheus.Registerer // nil: no metrics
	Log       *slog.Logger          // nil: silent

	// TLS is for URLs that begin with rediss; nil: the system's authorities, and no
	// certificate of ours.
	TLS *tls.Config

	// Dial makes the connections; nil: as usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Queue is one instance's memory. It is safe for concurrent use.
type Queue struct {
	c       redis.UniversalClient
	key     keys
	opts    Options
	checked atomic.Bool // the stored layout is ours

	replicasAt   atomic.Int64 // ms when the master was last asked whether it has a replica
	replicaSeen  atomic.Int64 // ms when it last had one; 0: never
	unreplicated atomic.Int64 // writes that no replica confirmed in time
}

// Open connects to the Redis at url: redis://, rediss:// or unix:// for one
// server, redis+sentinel://host:port,host:port/MASTER[/DB] and
// redis+cluster://host:port,host:port for the others, rediss+… with TLS. A Redis
// that does not answer yet is no error: the calls that need it will say so. A
// layout newer than ours is.
func Open(ctx context.Context, url string, o Options) (*Queue, error) {
	c, err := dial(url, o)
	if err != nil {
		return nil, err
	}
	q := New(c, o)
	if err := q.check(ctx); review.KindOf(err) == review.Refused {
		c.Close()
		return nil, err
	} else if err != nil {
		q.opts.Log.Warn("Redis does not answer yet; it is asked again with each step", "kind", review.KindOf(err), "error", err)
	}
	return q, nil
}

// New is a queue over a client that is connected already.
func New(c redis.UniversalClient, o Options) *Queue {
	if o.Retention <= 0 {
		o.Retention = 90 * 24 * time.Hour
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	q := &Queue{c: c, key: keysOf(o.Instance), opts: o}
	if o.Registry != nil {
		o.Registry.MustRegister(newCollector(q))
	}
	return q
}

// Close ends the connections.
func (q *Queue) Close() error { return q.c.Close() }

// Ping asks whether Redis answers.
func (q *Queue) Ping(ctx context.Context) error {
	return failed("ping", q.c.Ping(ctx).Err())
}

// check claims the instance's keys for our layout, or finds out that they are
// someone newer's. It asks once.
func (q *Queue) check(ctx context.Context) error {
	if q.checked.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p := q.c.Pipeline()
	p.SAdd(ctx, index, q.opts.Instance) // first: nothing is stored that Forget would not find
	p.SetNX(ctx, q.key.layout(), Layout, 0)
	p.SetNX(ctx, q.key.instance(), q.opts.Instance, 0)
	got := p.Get(ctx, q.key.layout())
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return failed("check the stored layout", err)
	}
	n, err := got.Int()
	if err != nil || n > Layout {
		return &review.Error{Kind: review.Refused, Err: err, Text: fmt.Sprintf(
			"the state in Redis has layout %s, this program knows up to %d: it was written by a newer Spanbot. Start that one, or use another Redis database", got.Val(), Layout)}
	}
	if n < Layout {
		// What a layout adds is made where it is missing; nothing is rewritten.
		if err := q.c.Set(ctx, q.key.layout(), Layout, 0).Err(); err != nil {
			return failed("take over layout "+got.Val(), err)
		}
		q.opts.Log.Info("took over the state of an earlier Spanbot", "layout", n, "now", Layout)
	}
	q.checked.Store(true)
	return nil
}

// run runs a script, after the layout was found to be ours.
func (q *Queue) run(ctx context.Context, s *redis.Script, what string, keys []string, args ...any) (any, error) {
	if err := q.check(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	v, err := s.Run(ctx, q.c, keys, args...).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return v, failed(what, err)
}

const (
	// replicaPatience is how long a judgement waits for a replica to have it.
	replicaPatience = 100 * time.Millisecond
	// replicaCheck is how often it is asked whether the replica is still there, and
	// replicaLook whether there is one by now.
	replicaCheck = 15 * time.Second
	replicaLook  = time.Second
	// replicaMissed is how long one is waited for that was there: a master whose
	// replica was given its place does not know that it is none any more, takes
	// writes for some seconds, and throws them away.
	replicaMissed = time.Minute
)

// runSafe is run, and where the master has a replica it returns when one has
// what was written: a master that is lost takes nothing with it then. When none
// answers in time the result comes with ErrUnreplicated; that is counted, too.
//
// WAIT tells of the writes of its own connection, so it goes out in one
// pipeline with the script. In a Cluster it is left out: a pipeline's keyless
// command goes to any node there.
func (q *Queue) runSafe(ctx context.Context, s *redis.Script, what string, keys []string, args ...any) (any, error) {
	one, single := q.c.(*redis.Client)
	if !single || !q.replicated(ctx, one) {
		return q.run(ctx, s, what, keys, args...)
	}
	if err := q.check(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for _, send := range []func(redis.Pipeliner) *redis.Cmd{
		func(p redis.Pipeliner) *redis.Cmd { return p.EvalSha(ctx, s.Hash(), keys, args...) },
		func(p redis.Pipeliner) *redis.Cmd { return s.Eval(ctx, p, keys, args...) },
	} {
		p := one.Pipeline()
		done := send(p)
		have := p.Do(ctx, "WAIT", 1, replicaPatience.Milliseconds())
		_, _ = p.Exec(ctx) // each command has its own error
		v, err := done.Result()
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			continue
		}
		if errors.Is(err, redis.Nil) {
			return nil, nil
		}
		if n, werr := have.Int(); err == nil && (werr != nil || n < 1) {
			q.unreplicated.Add(1)
			return v, ErrUnreplicated
		}
		return v, failed(what, err)
	}
	return nil, &review.Error{Kind: review.Broken, Text: "Redis does not keep the script " + what}
}

// replicated reports whether the master has a replica, or had one lately; it
// asks now and then.
func (q *Queue) replicated(ctx context.Context, c *redis.Client) bool {
	now, every := time.Now().UnixMilli(), replicaCheck
	if q.replicaSeen.Load() == 0 {
		every = replicaLook
	}
	if last := q.replicasAt.Load(); now-last >= every.Milliseconds() && q.replicasAt.CompareAndSwap(last, now) {
		text, err := c.Info(ctx, "replication").Result()
		if err == nil && strings.Contains(text, "state=online") {
			q.replicaSeen.Store(now)
		}
	}
	seen := q.replicaSeen.Load()
	return seen > 0 && now-seen < replicaMissed.Milliseconds()
}

// ServerInfo is what an operator wants to know of the Redis behind the queue.
type ServerInfo struct {
	Name     string // redis or valkey
	Version  string
	AOF      bool   // appendonly: what was acked survives a crash
	Eviction string // maxmemory-policy; anything but noeviction may lose judgements
	Role     string // master or slave
}

// Server asks Redis about itself. A managed server that hides a part leaves
// its field empty.
func (q *Queue) Server(ctx context.Context) (ServerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	text, err := q.c.Info(ctx).Result()
	if err != nil {
		return ServerInfo{}, failed("info", err)
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[k] = v
		}
	}
	s := ServerInfo{Name: "redis", Version: info["redis_version"], AOF: info["aof_enabled"] == "1",
		Eviction: info["maxmemory_policy"], Role: info["role"]}
	if v := info["valkey_version"]; v != "" {
		s.Name, s.Version = "valkey", v
	}
	return s, nil
}
