package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

func TestBacklog_NewestFirstUpToMaxOpen(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, finds(1, 5)...)
		for _, want := range []int64{5, 4} {
			c, ok := claim(t, q, 2, time.Minute)
			if !ok || c.Row != want || c.Again {
				t.Fatalf("Claim = %+v %v; want row %d", c, ok, want)
			}
			if err := post(t, q, c); err != nil {
				t.Fatal(err)
			}
		}
		if c, ok := claim(t, q, 2, time.Minute); ok {
			t.Fatalf("two cards are open and %+v was claimed", c)
		}
		judge(t, q, judgement(5, "U1", "correct", time.Now()))
		if c, ok := claim(t, q, 2, time.Minute); !ok || c.Row != 3 {
			t.Errorf("a freed place gives %+v %v; want row 3", c, ok)
		}
		n, err := q.Waiting(t.Context(), "r")
		if age := time.Since(n.Oldest); age < 0 || age > time.Minute {
			t.Errorf("the oldest open card was posted %s ago", age)
		}
		n.Oldest = time.Time{}
		if err != nil || n != (Counts{Backlog: 2, Claimed: 1, Open: 1}) {
			t.Errorf("Waiting = %+v %v", n, err)
		}
	})
}

func TestBacklog_OldestFirst(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, finds(1, 3)...)
		c, ok, err := q.Claim(t.Context(), "r", 0, review.Oldest, time.Minute)
		if err != nil || !ok || c.Row != 1 {
			t.Errorf("%+v %v %v", c, ok, err)
		}
	})
}

func TestBacklog_FullOneSaysFromWhereOn_AndKnownOnesTakeNoPlace(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, finds(1, 3)...)
		c, _ := claim(t, q, 0, time.Minute)
		if err := post(t, q, c); err != nil { // 3 has a card
			t.Fatal(err)
		}
		claim(t, q, 0, time.Minute) // 2 is claimed, 1 waits
		n, rest, err := q.Add(t.Context(), "r", 3, finds(1, 8))
		if err != nil || n != 2 || rest != 3 {
			t.Errorf("Add = %d, %d, %v; want 2 added (4, 5) and 3 left (6, 7, 8)", n, rest, err)
		}
		known, err := q.Known(t.Context(), "r", finds(1, 6))
		if err != nil || !cmp.Equal(known, []bool{true, true, true, true, true, false}) {
			t.Errorf("Known = %v %v", known, err)
		}
	})
}

func TestClaim_EachSpanOnceUnderManyClaimers(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, finds(1, 60)...)
		var mu sync.Mutex
		got := map[int64]int{}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					c, ok, err := q.Claim(context.Background(), "r", 0, review.Newest, time.Minute)
					if err != nil || !ok {
						return
					}
					mu.Lock()
					got[c.Row]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(got) != 60 {
			t.Errorf("%d of 60 spans were claimed", len(got))
		}
		for row, n := range got {
			if n != 1 {
				t.Errorf("row %d was claimed %d times", row, n)
			}
		}
	})
}

func TestClaim_ExpiredOneComesBackAndItsOldOwnerCannotRecord(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, find(1))
		first, _ := claim(t, q, 1, 30*time.Millisecond)
		time.Sleep(50 * time.Millisecond) // the owner hangs
		second, ok := claim(t, q, 1, time.Minute)
		if !ok || !second.Again || second.Turn <= first.Turn || !second.Since.Equal(first.Since) {
			t.Fatalf("second = %+v %v", second, ok)
		}
		if err := post(t, q, first); !errors.Is(err, ErrLost) {
			t.Errorf("the old owner recorded: %v", err)
		}
		if err := post(t, q, second); err != nil {
			t.Errorf("the new owner could not: %v", err)
		}
		if err := post(t, q, second); !errors.Is(err, ErrLost) && err != nil {
			t.Errorf("recording twice: %v", err)
		}
	})
}

func TestClaim_OneLiveClaimForEachTrace(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		a, b := find(1), find(2)
		b.TraceID = a.TraceID
		add(t, q, a, b)
		first, ok := claim(t, q, 0, time.Minute)
		if !ok {
			t.Fatal("nothing claimed")
		}
		if c, ok := claim(t, q, 0, time.Minute); ok {
			t.Fatalf("%+v of the same trace was claimed beside it", c)
		}
		if err := q.Drop(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if _, ok := claim(t, q, 0, time.Minute); !ok {
			t.Error("the other one cannot be claimed after it")
		}
	})
}

func TestPutBack_WaitsAndRemembersAnUnsurePost(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, find(1))
		c, _ := claim(t, q, 1, 20*time.Millisecond)
		if err := q.PutBack(t.Context(), c, 250*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if _, ok := claim(t, q, 1, time.Minute); ok {
			t.Fatal("claimed before its time")
		}
		time.Sleep(300 * time.Millisecond)
		c, ok := claim(t, q, 1, 20*time.Millisecond)
		if !ok || c.Again {
			t.Fatalf("%+v %v; want a claim that was surely not posted", c, ok)
		}
		time.Sleep(40 * time.Millisecond) // nobody put it back: it may have been posted
		c, _ = claim(t, q, 1, time.Minute)
		if err := q.PutBack(t.Context(), c, 0); err != nil {
			t.Fatal(err)
		}
		if c, ok = claim(t, q, 1, time.Minute); !ok || !c.Again {
			t.Errorf("%+v %v; want Again", c, ok)
		}
	})
}

func TestChange_FiftyPeopleOnOneCardAtOnceLoseNothing(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, find(1))
		c, _ := claim(t, q, 0, time.Minute)
		if err := post(t, q, c); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() { judge(t, q, judgement(1, fmt.Sprintf("U%d", i), "correct", time.Now())) })
		}
		wg.Wait()
		th, err := q.Thread(t.Context(), "r", c.TraceID)
		if err != nil || len(th.Card(c.SpanID).Votes) != 50 {
			t.Errorf("%d of 50 judgements are on the card, %v", len(th.Card(c.SpanID).Votes), err)
		}
		if es := lease(t, q, time.Minute); len(es) != 50 {
			t.Errorf("%d of 50 are in the outbox", len(es))
		}
	})
}

func TestChange_ClickBetweenPostAndRecordSurvives(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, find(1))
		c, _ := claim(t, q, 0, time.Minute)
		judge(t, q, judgement(1, "U1", "correct", time.Now()))
		if err := post(t, q, c); err != nil {
			t.Fatal(err)
		}
		th, err := q.Thread(t.Context(), "r", c.TraceID)
		if card := th.Card(c.SpanID); err != nil || card.State != review.Judged || len(card.Votes) != 1 || card.Summary == "" {
			t.Errorf("%+v %v", card, err)
		}
		if n, _ := q.Waiting(t.Context(), "r"); n.Open != 0 {
			t.Errorf("%d open; want 0", n.Open)
		}
	})
}

func TestExcerpt_StaysWhileTheCardIsOpen(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, find(1))
		c, _ := claim(t, q, 0, time.Minute)
		if err := post(t, q, c); err != nil {
			t.Fatal(err)
		}
		if s, ok, err := q.Excerpt(t.Context(), c.Ref); err != nil || !ok || s.Name != "n" {
			t.Errorf("%+v %v %v", s, ok, err)
		}
		judge(t, q, judgement(1, "U1", "correct", time.Now()))
		if _, ok, err := q.Excerpt(t.Context(), c.Ref); ok || err != nil {
			t.Errorf("a judged card keeps its excerpt (%v)", err)
		}
	})
}

func TestKept_WholeExplanationForTheForm(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		j := judgement(1, "U1", "incorrect", time.Now())
		j.Explanation = strings.Repeat("because ", 300)
		_, err := q.Change(t.Context(), "r", j.TraceID, func(th *review.Thread) (Step, error) {
			th.Judge(j)
			return Step{Put: []review.Judgement{j}, Keep: []review.Judgement{j}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, ok, err := q.Kept(t.Context(), "r", judgement(1, "U1", "", time.Now()))
		if err != nil || !ok || got.Explanation != j.Explanation {
			t.Errorf("%v %v", ok, err)
		}
		if _, ok, _ := q.Kept(t.Context(), "r", judgement(1, "U2", "", time.Now())); ok {
			t.Error("someone else's words were found")
		}
		_, err = q.Change(t.Context(), "r", j.TraceID, func(*review.Thread) (Step, error) {
			return Step{Forget: []review.Judgement{j}, Redraw: map[string]time.Time{"outline": {}}}, nil
		})
		if _, ok, _ := q.Kept(t.Context(), "r", j); ok || err != nil {
			t.Errorf("still there after Forget (%v)", err)
		}
	})
}

func TestRedraw_ManyChangesOneDrawing_OldestFirst(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		now := time.Now()
		for i := range 5 {
			judge(t, q, judgement(1, fmt.Sprintf("U%d", i), "correct", now))
		}
		time.Sleep(5 * time.Millisecond)
		judge(t, q, judgement(2, "U1", "correct", now))
		first, ok, err := q.TakeRedraw(t.Context(), time.Minute)
		if err != nil || !ok || first.What != find(1).SpanID || first.TraceID != find(1).TraceID || first.Route != "r" {
			t.Fatalf("%+v %v %v", first, ok, err)
		}
		judge(t, q, judgement(1, "U9", "correct", now)) // while it is being drawn
		second, ok, err := q.TakeRedraw(t.Context(), time.Minute)
		if err != nil || !ok || second.What != find(2).SpanID {
			t.Fatalf("%+v %v %v", second, ok, err)
		}
		if _, ok, _ := q.TakeRedraw(t.Context(), time.Minute); ok {
			t.Fatal("a card that is being drawn was given to a second one")
		}
		for _, r := range []Redraw{first, second} {
			if err := q.DoneRedraw(t.Context(), r, time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		if r, ok, _ := q.TakeRedraw(t.Context(), time.Minute); !ok || r.What != find(1).SpanID {
			t.Errorf("what changed while it was drawn is not drawn again: %+v %v", r, ok)
		} else if err := q.DoneRedraw(t.Context(), r, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := q.TakeRedraw(t.Context(), time.Minute); ok {
			t.Error("due before its time")
		}
		if n, _, err := q.RedrawStats(t.Context()); err != nil || n != 1 {
			t.Errorf("%d wait, %v", n, err)
		}
	})
}

func TestSlot_OneOfManyReplicasPolls(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			first := newQueue(t, s.start(t))
			replicas := []*Queue{first}
			addr := first.c.(*redis.Client).Options().Addr
			for range 2 {
				c := redis.NewClient(&redis.Options{Addr: addr})
				defer c.Close()
				replicas = append(replicas, New(c, first.opts))
			}
			// take lets all replicas ask at once, several times each.
			take := func(route string, interval time.Duration) int64 {
				var n atomic.Int64
				var wg sync.WaitGroup
				for _, q := range replicas {
					wg.Go(func() {
						for range 5 {
							ok, err := q.Slot(t.Context(), route, interval)
							if err != nil {
								t.Error(err)
							}
							if ok {
								n.Add(1)
							}
						}
					})
				}
				wg.Wait()
				return n.Load()
			}
			if n := take("r", 1000*time.Hour); n != 1 {
				t.Errorf("%d replicas took the slot; want 1", n)
			}
			if n := take("other", 1000*time.Hour); n != 1 {
				t.Errorf("%d replicas took the slot of another route; want 1", n)
			}
			a, _ := first.Slot(t.Context(), "short", 20*time.Millisecond)
			time.Sleep(30 * time.Millisecond)
			b, _ := replicas[1].Slot(t.Context(), "short", 20*time.Millisecond)
			if !a || !b {
				t.Errorf("the next slot was not free: %v %v", a, b)
			}
		})
	}
}

func TestCursorAndWords_ComeBack(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		ctx := t.Context()
		if _, ok, err := q.Cursor(ctx, "r", "UHJvamVjdDox"); ok || err != nil {
			t.Errorf("a cursor before any look: %v", err)
		}
		want := Cursor{Mark: 7, Low: 3, Oldest: time.UnixMilli(1_758_000_000_123)}
		if err := q.SaveCursor(ctx, "r", "UHJvamVjdDox", want); err != nil {
			t.Fatal(err)
		}
		got, ok, err := q.Cursor(ctx, "r", "UHJvamVjdDox")
		if err != nil || !ok || got != want {
			t.Errorf("%+v %v %v", got, ok, err)
		}
		r := review.DefaultRubric("correctness")
		if err := q.KeepRubric(ctx, r); err != nil {
			t.Fatal(err)
		}
		back, ok, err := q.Rubric(ctx, r.Hash())
		if err != nil || !ok || back.Hash() != r.Hash() || !cmp.Equal(back, r) {
			t.Errorf("%+v %v %v", back, ok, err)
		}
		if _, ok, err := q.Rubric(ctx, "00000000"); ok || err != nil {
			t.Errorf("an unknown rubric: %v %v", ok, err)
		}
		if err := errors.Join(q.KeepName(ctx, "U1", "Ana da Silva"), q.KeepChannel(ctx, "#reviews", "C1")); err != nil {
			t.Fatal(err)
		}
		names, err := q.Names(ctx, []string{"U1", "U2"})
		if err != nil || !cmp.Equal(names, map[string]string{"U1": "Ana da Silva"}) {
			t.Errorf("%v %v", names, err)
		}
		id, ok, err := q.Channel(ctx, "#reviews")
		if _, none, _ := q.Channel(ctx, "#other"); err != nil || !ok || id != "C1" || none {
			t.Errorf("%q %v %v", id, ok, err)
		}
	})
}

func TestOldestOpen_ListsAndClearsWhatExpired(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, finds(1, 3)...)
		for range 3 {
			c, _ := claim(t, q, 0, time.Minute)
			if err := post(t, q, c); err != nil {
				t.Fatal(err)
			}
		}
		if old, err := q.OldestOpen(t.Context(), "r", time.Now().Add(-time.Hour), 10); err != nil || len(old) != 0 {
			t.Errorf("%v %v", old, err)
		}
		if err := q.c.Del(t.Context(), q.key.thread("r", find(2).TraceID)).Err(); err != nil {
			t.Fatal(err)
		}
		old, err := q.OldestOpen(t.Context(), "r", time.Now().Add(time.Hour), 10)
		if err != nil || len(old) != 2 {
			t.Errorf("%v %v", old, err)
		}
		if n, _ := q.Waiting(t.Context(), "r"); n.Open != 2 {
			t.Errorf("%d open; the expired one was not cleared", n.Open)
		}
		if routes, err := q.Routes(t.Context()); err != nil || !cmp.Equal(routes, []string{"r"}) {
			t.Errorf("%v %v", routes, err)
		}
	})
}

// woken listens; the returned function waits for a word and fails without it.
func woken(t *testing.T, ctx context.Context, q *Queue) (heard func(what, by string), ended <-chan struct{}) {
	t.Helper()
	words, done := make(chan string, 100), make(chan struct{})
	go func() {
		q.Wake(ctx, func(what string) { words <- what })
		close(done)
	}()
	return func(what, by string) {
		t.Helper()
		for end := time.After(5 * time.Second); ; {
			select {
			case w := <-words:
				if w == what {
					return
				}
			case <-end:
				t.Fatalf("%s did not tell %q", by, what)
			}
		}
	}, done
}

func TestWake_TellsWhatItConcernsAndEndsWithTheContext(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		ctx, cancel := context.WithCancel(t.Context())
		heard, ended := woken(t, ctx, q)
		heard(WakeAll, "the subscription")
		judge(t, q, judgement(1, "U1", "correct", time.Now()))
		heard(WakeOutbox, "a judgement")
		add(t, q, find(9))
		heard("r", "a found span")
		cancel()
		<-ended
	})
}

// Everything that belongs to a card goes when the card is done with, and what
// stays has a lifetime or is bounded (keys.go).
func TestKeys_NothingIsLeftBehind(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, finds(1, 20)...)
		now := time.Now()
		for range 20 {
			c, _ := claim(t, q, 0, time.Minute)
			if err := post(t, q, c); err != nil {
				t.Fatal(err)
			}
			judge(t, q, judgement(int(c.Row), "U1", "correct", now))
		}
		for _, e := range lease(t, q, time.Minute) {
			deliver(t, q, e)
		}
		for {
			r, ok, err := q.TakeRedraw(t.Context(), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if err := q.DoneRedraw(t.Context(), r, time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		bounded := map[string]bool{"layout": true, "instance": true, "routes": true, "seq": true, "built": true}
		keys, err := q.c.(*redis.Client).Keys(t.Context(), string(q.key)+"*").Result()
		if err != nil {
			t.Fatal(err)
		}
		threads := 0
		for _, k := range keys {
			short := strings.TrimPrefix(k, string(q.key))
			ttl, err := q.c.PTTL(t.Context(), k).Result()
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case strings.HasPrefix(short, "t:"):
				threads++
				if ttl < 89*24*time.Hour {
					t.Errorf("%s lives for %s", short, ttl)
				}
			case short == "history", short == "tally:r":
				if ttl < 89*24*time.Hour {
					t.Errorf("%s lives for %s", short, ttl)
				}
			case strings.HasPrefix(short, "mine:"): // one for each reviewer, gone in two days
				if ttl <= 0 {
					t.Errorf("%s stays for ever", short)
				}
			case !bounded[short]:
				t.Errorf("%s is left behind (lifetime %s)", short, ttl)
			}
		}
		if threads != 20 {
			t.Errorf("%d threads", threads)
		}
	})
}
