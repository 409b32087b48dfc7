package queue

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// servers are what Spanbot promises to run on. The same tests run on both, so
// that the stand-in cannot drift from the real thing.
var servers = []struct {
	name  string
	start func(testing.TB) redis.UniversalClient
}{
	{"miniredis", func(t testing.TB) redis.UniversalClient {
		m := miniredis.NewMiniRedis()
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		c := redis.NewClient(&redis.Options{Addr: m.Addr()})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}},
	{"redis", func(t testing.TB) redis.UniversalClient {
		s := sharedRedis(t)
		c := redis.NewClient(&redis.Options{Addr: s.Addr})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}},
}

// One real server serves all tests of the process, each with an instance of
// its own; TestMain ends it.
var shared struct {
	once sync.Once
	s    *rig.RedisServer
	stop chan struct{}
	done chan error
}

func sharedRedis(t testing.TB) *rig.RedisServer {
	shared.once.Do(func() {
		ready := make(chan struct{})
		shared.stop, shared.done = make(chan struct{}), make(chan error, 1)
		go func() {
			shared.done <- rig.Program(func(tb rig.TB) {
				shared.s = rig.Redis(tb)
				close(ready)
				<-shared.stop
			})
		}()
		select {
		case <-ready:
		case err := <-shared.done:
			shared.done <- err
		}
	})
	if shared.s == nil {
		err := <-shared.done
		shared.done <- err
		rig.Need(t, "a Redis server", err)
	}
	return shared.s
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.s != nil {
		close(shared.stop)
		<-shared.done
	}
	os.Exit(code)
}

var instances atomic.Int64

func newQueue(t testing.TB, c redis.UniversalClient) *Queue {
	t.Helper()
	q := New(c, Options{Instance: fmt.Sprintf("%s %d %d", t.Name(), os.Getpid(), instances.Add(1))})
	if err := q.KeepEpoch(context.Background(), "r", Epoch{Until: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return q
}

func eachServer(t *testing.T, f func(t *testing.T, q *Queue)) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) { f(t, newQueue(t, s.start(t))) })
	}
}

func find(n int) Find {
	return Find{Row: int64(n), TraceID: fmt.Sprintf("%032x", n), SpanID: fmt.Sprintf("%016x", n)}
}

func finds(from, to int) (out []Find) {
	for n := from; n <= to; n++ {
		out = append(out, find(n))
	}
	return out
}

func add(t testing.TB, q *Queue, fs ...Find) {
	t.Helper()
	if n, rest, err := q.Add(t.Context(), "r", 1000, fs); err != nil || n != len(fs) || rest != 0 {
		t.Fatalf("Add = %d, %d, %v; want %d, 0", n, rest, err, len(fs))
	}
}

func claim(t testing.TB, q *Queue, maxOpen int, lease time.Duration) (Claim, bool) {
	t.Helper()
	c, ok, err := q.Claim(t.Context(), "r", maxOpen, review.Newest, lease)
	if err != nil {
		t.Fatal(err)
	}
	return c, ok
}

// post records a claimed span's card as open.
func post(t testing.TB, q *Queue, c Claim) error {
	t.Helper()
	_, err := q.Change(t.Context(), "r", c.TraceID, func(th *review.Thread) (Step, error) {
		th.Project = "p"
		th.Place(review.Card{SpanID: c.SpanID, Channel: "C1", TS: fmt.Sprintf("1758000000.%06d", c.Row), Rubric: "cafe0123", Posted: time.Now(), Summary: "q → a"}, "")
		return Step{Claim: &c, Excerpts: map[string]review.Span{c.SpanID: {ID: c.SpanID, Name: "n"}}}, nil
	})
	return err
}

func judgement(n int, user, label string, at time.Time) review.Judgement {
	f := find(n)
	one := 1.0
	return review.Judgement{
		Ref: review.Ref{Route: "r", TraceID: f.TraceID, SpanID: f.SpanID}, Name: "correctness", Rubric: "cafe0123",
		Reviewer: review.Reviewer{Team: "T1", ID: user, Name: "Ana"}, Answer: review.Answer{Label: label, Score: &one},
		At: at.Truncate(time.Millisecond), Channel: "C1", Message: fmt.Sprintf("1758000000.%06d", n),
	}
}

// judge does what a tap does.
func judge(t testing.TB, q *Queue, j review.Judgement) {
	t.Helper()
	_, err := q.Change(t.Context(), "r", j.TraceID, func(th *review.Thread) (Step, error) {
		if !th.Judge(j) {
			return Step{Nothing: true}, nil
		}
		return Step{Put: []review.Judgement{j}, Redraw: map[string]time.Time{j.SpanID: {}}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func lease(t testing.TB, q *Queue, d time.Duration) []Entry {
	t.Helper()
	es, err := q.Lease(t.Context(), 100, d)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

// deliver records that Phoenix has an entry.
func deliver(t testing.TB, q *Queue, e Entry) {
	t.Helper()
	_, err := q.Change(context.Background(), "r", e.TraceID, func(th *review.Thread) (Step, error) {
		th.Confirm(e.Judgement, "")
		return Step{Done: []Entry{e}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
