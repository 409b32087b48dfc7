package queue

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

// another is the queue of another instance on the same server.
func another(t *testing.T, q *Queue, instance string) *Queue {
	t.Helper()
	o := New(q.c, Options{Instance: instance})
	if err := o.check(t.Context()); err != nil {
		t.Fatal(err)
	}
	// One server serves all tests.
	t.Cleanup(func() {
		_, _ = q.Forget(context.Background(), func(i string) (bool, bool) { return i == instance, true })
	})
	return o
}

// held counts an instance's keys.
func held(t *testing.T, q *Queue) int {
	t.Helper()
	n := 0
	it := q.c.Scan(t.Context(), 0, allKeys(q.key), 1000).Iterator()
	for it.Next(t.Context()) {
		n++
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	return n
}

func listed(t *testing.T, q *Queue) bool {
	t.Helper()
	in, err := q.c.SIsMember(t.Context(), index, q.opts.Instance).Result()
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestForget_TakesWhatNeverComesBackAndNothingElse(t *testing.T) {
	tests := []struct {
		name          string
		gone, phoenix bool
		state         func(t *testing.T, q *Queue)
		want          Forgotten // Keys and Kept's Instance and Keys are filled in
	}{
		{"one that comes back", false, false, func(t *testing.T, q *Queue) { add(t, q, finds(1, 5)...) }, Forgotten{}},
		{"one that does not", true, false, func(t *testing.T, q *Queue) { add(t, q, finds(1, 5)...) }, Forgotten{Instances: 1}},
		{"everything was delivered", true, false, func(t *testing.T, q *Queue) {
			judge(t, q, judgement(1, "U1", "correct", time.Now()))
			deliver(t, q, lease(t, q, time.Minute)[0])
		}, Forgotten{Instances: 1}},
		{"its Phoenix may still want judgements", true, false, func(t *testing.T, q *Queue) {
			judge(t, q, judgement(1, "U1", "correct", time.Now()))
			judge(t, q, judgement(2, "U1", "correct", time.Now()))
		}, Forgotten{Kept: []Kept{{Judgements: 2}}}},
		{"a lease is out", true, false, func(t *testing.T, q *Queue) {
			judge(t, q, judgement(1, "U1", "correct", time.Now()))
			lease(t, q, time.Minute)
		}, Forgotten{Kept: []Kept{{Judgements: 1}}}},
		// A dead letter can be sent again once Phoenix was mended.
		{"its Phoenix refused one", true, false, func(t *testing.T, q *Queue) {
			judge(t, q, judgement(1, "U1", "correct", time.Now()))
			e := lease(t, q, time.Minute)[0]
			if _, err := q.Change(t.Context(), "r", e.TraceID, func(*review.Thread) (Step, error) {
				return Step{Bury: []Dead{{Entry: e, Why: "refused"}}}, nil
			}); err != nil {
				t.Fatal(err)
			}
		}, Forgotten{Kept: []Kept{{Dead: 1}}}},
		{"judgements for a Phoenix that is gone, too", true, true, func(t *testing.T, q *Queue) {
			judge(t, q, judgement(1, "U1", "correct", time.Now()))
		}, Forgotten{Instances: 1}},
		{"a newer Spanbot's", true, false, func(t *testing.T, q *Queue) {
			if err := q.c.Set(t.Context(), q.key.layout(), Layout+1, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}, Forgotten{}},
		{"nothing but its name", true, false, func(t *testing.T, q *Queue) {
			if err := q.c.Del(t.Context(), q.key.layout(), q.key.instance()).Err(); err != nil {
				t.Fatal(err)
			}
		}, Forgotten{Instances: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachServer(t, func(t *testing.T, q *Queue) {
				earlier := another(t, q, "earlier "+q.opts.Instance)
				bystander := another(t, q, "bystander "+q.opts.Instance)
				add(t, q, finds(1, 5)...)
				add(t, bystander, finds(1, 5)...)
				tt.state(t, earlier)
				ours, theirs, before := held(t, q), held(t, bystander), held(t, earlier)

				got, err := q.Forget(t.Context(), func(instance string) (bool, bool) {
					if instance == q.opts.Instance {
						return true, true // even then its own is not touched
					}
					return instance == earlier.opts.Instance && tt.gone, tt.phoenix
				})
				if err != nil {
					t.Fatal(err)
				}
				want := tt.want
				if want.Instances > 0 {
					want.Keys = before
				}
				for i := range want.Kept {
					want.Kept = []Kept{want.Kept[i]}
					want.Kept[0].Instance, want.Kept[0].Keys = earlier.opts.Instance, allKeys(earlier.key)
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Error(d)
				}
				left := before - got.Keys
				if n := held(t, earlier); n != left || listed(t, earlier) != (got.Instances == 0) {
					t.Errorf("%d keys are left, listed %v; want %d", n, listed(t, earlier), left)
				}
				if held(t, q) != ours || held(t, bystander) != theirs || !listed(t, q) || !listed(t, bystander) {
					t.Error("others lost something")
				}
			})
		})
	}
}

// watch notes the commands that a client sends.
type watch struct {
	mu    sync.Mutex
	most  int            // names in one UNLINK
	calls map[string]int // by command
	fail  func(command string, n int) bool
}

func (w *watch) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *watch) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (w *watch) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		w.mu.Lock()
		w.calls[cmd.Name()]++
		n := w.calls[cmd.Name()]
		if cmd.Name() == "unlink" {
			w.most = max(w.most, len(cmd.Args())-1)
		}
		w.mu.Unlock()
		if w.fail != nil && w.fail(cmd.Name(), n) {
			err := &net.OpError{Op: "read", Err: context.DeadlineExceeded}
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

// fill gives an instance many keys.
func fill(t *testing.T, q *Queue, n int) {
	t.Helper()
	for from := 0; from < n; from += 5000 {
		p := q.c.Pipeline()
		for i := from; i < min(from+5000, n); i++ {
			p.Set(t.Context(), q.key.thread("r", fmt.Sprintf("%032x", i)), "x", time.Hour)
		}
		if _, err := p.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForget_ManyKeysGoInBoundedBatches(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			n := 100_000
			if s.name == "miniredis" || testing.Short() {
				n = 5_000 // each look sorts all its names
			}
			q := newQueue(t, s.start(t))
			big, small := another(t, q, "big "+q.opts.Instance), another(t, q, "small "+q.opts.Instance)
			fill(t, big, n)
			fill(t, q, 10)
			w := &watch{calls: map[string]int{}}
			q.c.AddHook(w)
			got, err := q.Forget(t.Context(), func(i string) (bool, bool) {
				return i == big.opts.Instance || i == small.opts.Instance, true
			})
			if err != nil || got.Instances != 2 || got.Keys != n+4 {
				t.Errorf("Forget = %+v, %v; want 2 instances and %d keys", got, err, n+4)
			}
			if w.most == 0 || w.most > forgetBatch {
				t.Errorf("up to %d keys in one step; want at most %d", w.most, forgetBatch)
			}
			if held(t, q) != 14 || held(t, big) != 0 {
				t.Errorf("%d keys of ours, %d of the other", held(t, q), held(t, big))
			}
		})
	}
}

func TestForget_CutOff_TheNextOneGoesOn(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		old := another(t, q, "old "+q.opts.Instance)
		fill(t, old, 2000)
		gone := func(i string) (bool, bool) { return i == old.opts.Instance, true }
		w := &watch{calls: map[string]int{}, fail: func(command string, n int) bool { return command == "unlink" && n == 2 }}
		q.c.AddHook(w)
		got, err := q.Forget(t.Context(), gone)
		if err == nil || got.Instances != 0 || got.Keys == 0 || !listed(t, old) {
			t.Fatalf("Forget = %+v, %v; want some keys and an error", got, err)
		}
		more, err := q.Forget(t.Context(), gone)
		if err != nil || more.Instances != 1 || got.Keys+more.Keys != 2002 || listed(t, old) {
			t.Errorf("then %+v, %v; want the rest of 2002", more, err)
		}
	})
}

func TestForget_NothingToDo_CostsOneCall(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		another(t, q, "other "+q.opts.Instance)
		if err := q.check(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := &watch{calls: map[string]int{}}
		q.c.AddHook(w)
		got, err := q.Forget(t.Context(), func(string) (bool, bool) { return false, false })
		if d := cmp.Diff(Forgotten{}, got); d != "" || err != nil {
			t.Error(d, err)
		}
		delete(w.calls, "hello") // a new connection
		if d := cmp.Diff(map[string]int{"smembers": 1}, w.calls); d != "" {
			t.Error(d)
		}
	})
}

// Two names may be hashed to one tag; then neither goes while the other stays.
func TestForget_SharedTagStays(t *testing.T) {
	seen := map[keys]string{}
	var a, b string
	for i := 0; b == ""; i++ {
		name := fmt.Sprintf("T%d@stand-in", i)
		k := keysOf(name)
		if other, ok := seen[k]; ok {
			a, b = other, name
		}
		seen[k] = name
	}
	eachServer(t, func(t *testing.T, q *Queue) {
		one := another(t, q, a)
		another(t, q, b)
		add(t, one, finds(1, 3)...)
		before := held(t, one)
		for _, mine := range []string{a, b} {
			got, err := q.Forget(t.Context(), func(i string) (bool, bool) { return i == mine, true })
			if d := cmp.Diff(Forgotten{}, got); d != "" || err != nil || held(t, one) != before {
				t.Errorf("%s goes: %+v, %v", mine, got, err)
			}
		}
		got, err := q.Forget(t.Context(), func(i string) (bool, bool) { return i == a || i == b, true })
		if d := cmp.Diff(Forgotten{Instances: 2, Keys: before}, got); d != "" || err != nil {
			t.Error(d, err)
		}
	})
}
