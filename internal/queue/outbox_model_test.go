package queue

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/spanbot/spanbot/internal/review"
)

// outboxModel is what the outbox promises, without Redis: one waiting judgement
// a key, at most one of them on its way at a time, and a word from somebody who
// no longer holds it changes nothing.
type outboxModel struct {
	items map[string]*outboxItem
	dead  map[string]int64 // key -> click
	order int              // counts the moments at which something became due
}

type outboxItem struct {
	at       int64 // click
	tries    int
	due      int   // moment at which it became due; 0: not due
	turn     int64 // of the last lease
	held     bool  // its holder has not given it back
	live     bool  // nor has it run out
	replaced bool  // a newer click came since that lease
}

func (m *outboxModel) becomesDue(i *outboxItem) {
	m.order++
	i.due = m.order
}

func (m *outboxModel) put(key string, at int64) {
	i := m.items[key]
	if i != nil && i.at > at || i == nil && m.dead[key] > at {
		return
	}
	if i == nil {
		i = &outboxItem{}
		m.items[key] = i
	}
	delete(m.dead, key)
	i.at, i.tries, i.replaced = at, 0, true
	if !i.live {
		m.becomesDue(i)
	}
}

// due are the keys that a lease gives out, oldest first.
func (m *outboxModel) due() []string {
	var keys []string
	for k, i := range m.items {
		if i.due > 0 {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Compare(m.items[a].due, m.items[b].due) })
	return keys
}

// leased records that key was given out; a short lease has run out at once.
func (m *outboxModel) leased(key string, turn int64, short bool) {
	i := m.items[key]
	i.turn, i.held, i.live, i.replaced, i.due = turn, true, !short, false, 0
	if short {
		m.becomesDue(i)
	}
}

// back is what every word of a holder begins with: mine, the word counts (also
// when the lease was given back or ran out, as long as nobody else has it);
// otherwise a newer click that waited for this holder is due now.
func (m *outboxModel) back(key string, turn int64) (i *outboxItem, mine bool) {
	i = m.items[key]
	if i == nil || i.turn != turn {
		return nil, false
	}
	if i.replaced {
		if i.held {
			i.held, i.live = false, false
			m.becomesDue(i)
		}
		return i, false
	}
	return i, true
}

func TestOutbox_DoesWhatThePlainModelSays(t *testing.T) {
	t.Run("miniredis", func(t *testing.T) {
		m := miniredis.NewMiniRedis()
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		now := time.UnixMilli(1_758_000_000_000)
		m.SetTime(now)
		c := redis.NewClient(&redis.Options{Addr: m.Addr()})
		defer c.Close()
		rapid.Check(t, func(rt *rapid.T) {
			checkOutbox(rt, newQueue(t, c), func() {
				now = now.Add(2 * time.Millisecond)
				m.SetTime(now)
			})
		})
	})
	t.Run("redis", func(t *testing.T) {
		c := redis.NewClient(&redis.Options{Addr: sharedRedis(t).Addr})
		defer c.Close()
		// Each step waits for the real clock: a quarter of the usual cases.
		if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
			if err := flag.Set("rapid.checks", "25"); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = flag.Set("rapid.checks", checks.DefValue) }()
		}
		rapid.Check(t, func(rt *rapid.T) {
			checkOutbox(rt, newQueue(t, c), func() { time.Sleep(2 * time.Millisecond) })
		})
	})
}

// checkOutbox does random things to an outbox and to the model; tick lets a
// lease of a millisecond run out.
func checkOutbox(t *rapid.T, q *Queue, tick func()) {
	ctx := context.Background()
	m := outboxModel{items: map[string]*outboxItem{}, dead: map[string]int64{}}
	var held []Entry // all that were ever given out, the stale ones too
	step := func(s Step) {
		if _, err := q.Change(ctx, "r", "t", func(*review.Thread) (Step, error) { return s, nil }); err != nil {
			t.Fatal(err)
		}
	}
	pick := func(t *rapid.T) Entry {
		if len(held) == 0 {
			t.Skip("nothing was leased yet")
		}
		return held[rapid.IntRange(0, len(held)-1).Draw(t, "which")]
	}
	lease := func(t *rapid.T, n int, short bool) {
		d := time.Hour
		if short {
			d = time.Millisecond
		}
		want := m.due()
		want = want[:min(n, len(want))]
		got, err := q.Lease(ctx, n, d)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, e := range got {
			keys = append(keys, e.Key)
		}
		if !slices.Equal(keys, want) {
			t.Fatalf("Lease gave %q; due are %q", keys, want)
		}
		// Several that run out in one millisecond are due in the order of their keys.
		byKey := slices.SortedFunc(slices.Values(got), func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
		for _, e := range byKey {
			if i := m.items[e.Key]; e.At.UnixMilli() != i.at || e.Label != fmt.Sprint(i.at) || e.Tries != i.tries {
				t.Fatalf("Lease gave %s, click %s, %d tries; want click %d, %d tries", e.Key, e.Label, e.Tries, i.at, i.tries)
			}
			m.leased(e.Key, e.Turn, short)
		}
		held = append(held, got...)
	}
	later := func(t *rapid.T, after time.Duration) {
		e := pick(t)
		if err := q.Later(ctx, []Entry{e}, after); err != nil {
			t.Fatal(err)
		}
		if i, mine := m.back(e.Key, e.Turn); mine && i.held {
			i.held, i.live, i.due = false, false, 0
			i.tries++
			if after == 0 {
				m.becomesDue(i)
			}
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"put": func(t *rapid.T) {
			at := rapid.Int64Range(1, 50).Draw(t, "click")
			j := judgement(1, "U"+rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "who"), fmt.Sprint(at), time.UnixMilli(at))
			step(Step{Put: []review.Judgement{j}})
			m.put(j.Key(), at)
		},
		"lease":           func(t *rapid.T) { lease(t, rapid.IntRange(1, 3).Draw(t, "n"), false) },
		"lease and hang":  func(t *rapid.T) { lease(t, rapid.IntRange(1, 3).Draw(t, "n"), true) },
		"later, at once":  func(t *rapid.T) { later(t, 0) },
		"later, not soon": func(t *rapid.T) { later(t, time.Hour) },
		"done": func(t *rapid.T) {
			e := pick(t)
			step(Step{Done: []Entry{e}})
			if _, mine := m.back(e.Key, e.Turn); mine {
				delete(m.items, e.Key)
			}
		},
		"bury": func(t *rapid.T) {
			e := pick(t)
			step(Step{Bury: []Dead{{Entry: e, Why: "no"}}})
			if i, mine := m.back(e.Key, e.Turn); mine {
				delete(m.items, e.Key)
				m.dead[e.Key] = i.at
			}
		},
		"extend": func(t *rapid.T) {
			e := pick(t)
			i := m.items[e.Key]
			mine := i != nil && i.turn == e.Turn && i.held
			if err := q.Extend(ctx, []Entry{e}, time.Hour); mine != (err == nil) || err != nil && !errors.Is(err, ErrLost) {
				t.Fatalf("Extend = %v; the lease is the caller's: %v", err, mine)
			}
			if mine {
				i.live, i.due = true, 0
			}
		},
		"": func(t *rapid.T) {
			tick()
			s, err := q.Outbox(ctx)
			if err != nil || s.Depth != len(m.items) || s.Dead != len(m.dead) {
				t.Fatalf("Outbox = %+v, %v; want %d waiting and %d dead", s, err, len(m.items), len(m.dead))
			}
		},
	})
	lease(t, 100, false) // all that is due, with its latest click
}
