package queue

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// open is a queue on a server of the test's own, through the shipped dialler.
func open(t *testing.T, url string) *Queue {
	t.Helper()
	q := connect(t, url)
	if err := q.KeepEpoch(t.Context(), "r", Epoch{Until: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return q
}

// connect is open for a server that may refuse us.
func connect(t *testing.T, url string) *Queue {
	t.Helper()
	q, err := Open(t.Context(), url, Options{Instance: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	return q
}

func TestRestart_KilledServerHasEverythingThatWasAnswered(t *testing.T) {
	s := rig.Redis(t)
	q := open(t, s.URL)
	ctx := t.Context()
	add(t, q, finds(1, 10)...)
	for range 4 { // 10 … 7
		c, _ := claim(t, q, 0, time.Hour)
		if err := post(t, q, c); err != nil {
			t.Fatal(err)
		}
	}
	claim(t, q, 0, time.Hour) // 6
	now := time.Now()
	judge(t, q, judgement(10, "U1", "correct", now))
	judge(t, q, judgement(9, "U1", "incorrect", now))
	es := lease(t, q, time.Hour)
	deliver(t, q, es[0])
	cursor := Cursor{Mark: 10, Low: 3}
	if err := q.SaveCursor(ctx, "r", "p", cursor); err != nil {
		t.Fatal(err)
	}
	type memory struct {
		Counts   Counts
		Depth    int
		Threads  []review.Thread
		Cursor   Cursor
		Redraws  int
		Excerpts int
	}
	look := func() (m memory) {
		t.Helper()
		var err error
		must := func(e error) {
			t.Helper()
			if e != nil {
				t.Fatal(e)
			}
		}
		m.Counts, err = q.Waiting(ctx, "r")
		must(err)
		o, err := q.Outbox(ctx)
		must(err)
		m.Depth = o.Depth
		var ids []string
		for _, f := range finds(1, 10) {
			ids = append(ids, f.TraceID)
			_, ok, err := q.Excerpt(ctx, review.Ref{Route: "r", TraceID: f.TraceID, SpanID: f.SpanID})
			must(err)
			if ok {
				m.Excerpts++
			}
		}
		m.Threads, err = q.Threads(ctx, "r", ids)
		must(err)
		m.Cursor, _, err = q.Cursor(ctx, "r", "p")
		must(err)
		m.Redraws, _, err = q.RedrawStats(ctx)
		must(err)
		return m
	}
	before := look()
	if before.Counts != (Counts{Backlog: 5, Claimed: 1, Open: 2, Oldest: before.Counts.Oldest}) || before.Depth != 1 || before.Redraws != 2 || before.Excerpts != 2 {
		t.Fatalf("%+v", before)
	}
	s.Kill()
	if err := q.Ping(ctx); review.KindOf(err) != review.Down && review.KindOf(err) != review.Unsure {
		t.Errorf("while it is away: %v", err)
	}
	s.Start()
	if d := cmp.Diff(before, look()); d != "" {
		t.Errorf("after the crash: %s", d)
	}
	// The new process knows no script: the first call of each sends it again.
	if c, ok := claim(t, q, 0, time.Minute); !ok || c.Row != 5 {
		t.Errorf("%+v %v", c, ok)
	}
	deliver(t, q, es[1]) // and the lease from before counts
	if o, err := q.Outbox(ctx); err != nil || o.Depth != 0 {
		t.Errorf("%+v %v", o, err)
	}
}

func TestWake_SubscribesAgainAfterACut_AndSaysThatSomethingMayBeMissed(t *testing.T) {
	s := rig.Redis(t)
	q := open(t, s.URL)
	heard, _ := woken(t, t.Context(), q)
	heard(WakeAll, "the first subscription")
	judge(t, q, judgement(1, "U1", "correct", time.Now()))
	heard(WakeOutbox, "a judgement")
	s.Kill()
	s.Start()
	heard(WakeAll, "the subscription after the cut")
	judge(t, q, judgement(1, "U2", "correct", time.Now()))
	heard(WakeOutbox, "a judgement after the cut")
}

func TestErrors_RealServersRefusals(t *testing.T) {
	s := rig.Redis(t)
	q := open(t, s.URL)
	admin := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer admin.Close()
	set := func(name, value string) {
		t.Helper()
		if err := admin.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	refused := func(q *Queue, kind review.Kind, say string) {
		t.Helper()
		n++
		_, err := q.Change(t.Context(), "r", "t", func(th *review.Thread) (Step, error) {
			th.Judge(judgement(1, fmt.Sprintf("U%d", n), "correct", time.Now()))
			return Step{}, nil
		})
		if review.KindOf(err) != kind || !strings.Contains(review.TextOf(err), say) {
			t.Errorf("%v (%s); want %s …%s…", err, review.KindOf(err), kind, say)
		}
	}
	set("maxmemory", "1")
	refused(q, review.Down, "out of memory")
	set("maxmemory", "0")

	if err := admin.ReplicaOf(t.Context(), "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	refused(q, review.Down, "read-only replica")
	if err := admin.ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
		t.Fatal(err)
	}

	set("requirepass", "open sesame")
	refused(connect(t, s.URL), review.Denied, "user or password")
	refused(connect(t, strings.Replace(s.URL, "://", "://:wrong@", 1)), review.Denied, "user or password")
}

// In a bubble time passes only while everybody waits: an hour costs nothing,
// and the moments are exact.
func TestLease_RunsOutToTheMillisecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := miniredis.NewMiniRedis()
		m.ClockTTL(true)
		c := redis.NewClient(&redis.Options{
			Addr:   "127.0.0.1:6379", // an address that needs no look-up; nothing is dialled
			Dialer: func(context.Context, string, string) (net.Conn, error) { return m.Dial() },
		})
		defer m.Close() // after the client, whose connections it waits for
		defer c.Close()
		q := New(c, Options{Instance: t.Name()})
		if err := q.KeepEpoch(t.Context(), "r", Epoch{Until: time.Now()}); err != nil {
			t.Fatal(err)
		}
		judge(t, q, judgement(1, "U1", "correct", time.Now()))
		add(t, q, find(2))
		const d = time.Hour
		first := lease(t, q, d)
		held, _ := claim(t, q, 0, d)
		time.Sleep(d - time.Millisecond)
		if es := lease(t, q, d); len(es) != 0 {
			t.Errorf("leased a millisecond too early: %+v", es)
		}
		if c, ok := claim(t, q, 0, d); ok {
			t.Errorf("claimed a millisecond too early: %+v", c)
		}
		time.Sleep(time.Millisecond)
		if es := lease(t, q, d); len(es) != 1 || es[0].Turn <= first[0].Turn {
			t.Errorf("not leased again: %+v", es)
		}
		if c, ok := claim(t, q, 0, d); !ok || !c.Again || c.Turn <= held.Turn {
			t.Errorf("not claimed again: %+v", c)
		}
		time.Sleep(89 * 24 * time.Hour)
		if th, err := q.Thread(t.Context(), "r", find(1).TraceID); err != nil || len(th.Cards) != 1 {
			t.Errorf("forgotten before its time: %+v %v", th, err)
		}
		time.Sleep(24 * time.Hour)
		if th, err := q.Thread(t.Context(), "r", find(1).TraceID); err != nil || len(th.Cards) != 0 {
			t.Errorf("kept after its time: %+v %v", th, err)
		}
	})
}
