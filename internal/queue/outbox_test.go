package queue

import (
	"errors"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

func TestOutbox_NewerReplacesOlderBeforeDelivery(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		now := time.Now()
		judge(t, q, judgement(1, "U1", "correct", now))
		judge(t, q, judgement(1, "U1", "incorrect", now.Add(time.Second)))
		es := lease(t, q, time.Minute)
		if len(es) != 1 || es[0].Label != "incorrect" || es[0].Reviewer.Name != "Ana" {
			t.Fatalf("%+v", es)
		}
		deliver(t, q, es[0])
		if s, err := q.Outbox(t.Context()); err != nil || s.Depth != 0 || s.Dead != 0 {
			t.Errorf("%+v %v", s, err)
		}
	})
}

func TestOutbox_ReplacedWhileOnItsWay_GoesAfterItNeverBeside(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		now := time.Now()
		judge(t, q, judgement(1, "U1", "correct", now))
		first := lease(t, q, time.Minute)
		judge(t, q, judgement(1, "U1", "incorrect", now.Add(time.Second)))
		if es := lease(t, q, time.Minute); len(es) != 0 {
			t.Fatalf("the newer one was sent beside the older: %+v", es)
		}
		deliver(t, q, first[0])
		second := lease(t, q, time.Minute)
		if len(second) != 1 || second[0].Label != "incorrect" {
			t.Fatalf("after the older came back: %+v", second)
		}
		th, err := q.Thread(t.Context(), "r", second[0].TraceID)
		if err != nil || th.Card(second[0].SpanID).Votes[0].Delivery != review.Waiting {
			t.Errorf("the replaced one's confirmation counted for the newer: %+v", th)
		}
		deliver(t, q, second[0])
		if es := lease(t, q, time.Minute); len(es) != 0 {
			t.Errorf("%+v", es)
		}
	})
}

func TestOutbox_ExpiredLeaseGoesToTheNextWorker_AndFencesTheFirst(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		now := time.Now()
		judge(t, q, judgement(1, "U1", "correct", now))
		first := lease(t, q, 30*time.Millisecond)
		time.Sleep(50 * time.Millisecond) // the worker hangs
		second := lease(t, q, time.Minute)
		if len(second) != 1 || second[0].Turn <= first[0].Turn {
			t.Fatalf("%+v", second)
		}
		deliver(t, q, second[0])
		judge(t, q, judgement(1, "U1", "incorrect", now.Add(time.Second)))
		third := lease(t, q, time.Minute)
		deliver(t, q, first[0]) // the first worker wakes up and thinks it is done
		if s, _ := q.Outbox(t.Context()); s.Depth != 1 {
			t.Fatalf("a stale owner removed a newer judgement: %+v", s)
		}
		if es := lease(t, q, time.Minute); len(es) != 0 {
			t.Errorf("a stale owner took the lease away: %+v", es)
		}
		deliver(t, q, third[0])
	})
}

func TestOutbox_ExtendedLeaseStays(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		judge(t, q, judgement(1, "U1", "correct", time.Now()))
		es := lease(t, q, 60*time.Millisecond)
		if err := q.Extend(t.Context(), es, time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(80 * time.Millisecond)
		if again := lease(t, q, time.Minute); len(again) != 0 {
			t.Errorf("%+v", again)
		}
	})
}

func TestOutbox_WhoStoodStillIsToldThatTheLeaseIsAnothers(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		judge(t, q, judgement(1, "U1", "correct", time.Now()))
		first := lease(t, q, 30*time.Millisecond)
		time.Sleep(50 * time.Millisecond)
		lease(t, q, time.Minute)
		if err := q.Extend(t.Context(), first, time.Minute); !errors.Is(err, ErrLost) {
			t.Errorf("Extend = %v; want ErrLost", err)
		}
		r, _, err := q.TakeRedraw(t.Context(), 30*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		if _, ok, err := q.TakeRedraw(t.Context(), time.Minute); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if err := q.DoneRedraw(t.Context(), r, time.Time{}); !errors.Is(err, ErrLost) {
			t.Errorf("DoneRedraw = %v; want ErrLost", err)
		}
	})
}

func TestOutbox_LaterCountsTriesAndWaits(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		judge(t, q, judgement(1, "U1", "correct", time.Now()))
		if err := q.Later(t.Context(), lease(t, q, time.Minute), 250*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if es := lease(t, q, time.Minute); len(es) != 0 {
			t.Fatalf("due before its time: %+v", es)
		}
		due, ok, err := q.NextDue(t.Context())
		if err != nil || !ok || time.Until(due) > time.Second {
			t.Errorf("NextDue = %v %v %v", due, ok, err)
		}
		time.Sleep(300 * time.Millisecond)
		if es := lease(t, q, time.Minute); len(es) != 1 || es[0].Tries != 1 {
			t.Errorf("%+v", es)
		}
	})
}

func TestOutbox_DeadLettersKeepTheJudgementAndANewerOneRevivesIt(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		now := time.Now()
		judge(t, q, judgement(1, "U1", "correct", now))
		e := lease(t, q, time.Minute)[0]
		_, err := q.Change(t.Context(), "r", e.TraceID, func(th *review.Thread) (Step, error) {
			th.Confirm(e.Judgement, "refused")
			return Step{Bury: []Dead{{Entry: e, Why: "refused"}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		dead, err := letters(t, q, true)
		if err != nil || len(dead) != 1 || dead[0].Why != "refused" || dead[0].Label != "correct" || dead[0].At.IsZero() {
			t.Fatalf("%+v %v", dead, err)
		}
		if s, _ := q.Outbox(t.Context()); s.Depth != 0 || s.Dead != 1 {
			t.Errorf("%+v", s)
		}
		judge(t, q, judgement(1, "U1", "incorrect", now.Add(time.Second)))
		if s, _ := q.Outbox(t.Context()); s.Depth != 1 || s.Dead != 0 {
			t.Errorf("after a newer judgement: %+v", s)
		}
	})
}

func TestOutbox_OlderClickReplacesNeitherAWaitingNorADeadOne(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		now := time.Now()
		put := func(j review.Judgement) {
			t.Helper()
			if _, err := q.Change(t.Context(), "r", j.TraceID, func(*review.Thread) (Step, error) {
				return Step{Put: []review.Judgement{j}}, nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		put(judgement(1, "U1", "newer", now))
		put(judgement(1, "U1", "older", now.Add(-time.Second)))
		es := lease(t, q, time.Minute)
		if len(es) != 1 || es[0].Label != "newer" {
			t.Fatalf("%+v", es)
		}
		if _, err := q.Change(t.Context(), "r", es[0].TraceID, func(*review.Thread) (Step, error) {
			return Step{Bury: []Dead{{Entry: es[0], Why: "refused"}}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		put(judgement(1, "U1", "older", now.Add(-time.Second)))
		if s, _ := q.Outbox(t.Context()); s.Depth != 0 || s.Dead != 1 {
			t.Errorf("an older click revived a dead letter: %+v", s)
		}
		put(judgement(1, "U1", "the same again", now))
		if s, _ := q.Outbox(t.Context()); s.Depth != 1 || s.Dead != 0 {
			t.Errorf("it cannot be tried again: %+v", s)
		}
	})
}

// letters are the dead ones of the outbox, or the others.
func letters(t *testing.T, q *Queue, dead bool) (out []Letter, err error) {
	t.Helper()
	for l, err := range q.Letters(t.Context()) {
		if err != nil {
			return nil, err
		}
		if l.Dead == dead {
			out = append(out, l)
		}
	}
	return out, nil
}

func TestDraws_TheLastOneCounts(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		for _, who := range []string{"a", "b"} {
			if err := q.Draws(t.Context(), "C1", "1.2", who); err != nil {
				t.Fatal(err)
			}
			for _, other := range []string{"a", "b"} {
				if last, err := q.DrewLast(t.Context(), "C1", "1.2", other); err != nil || last != (other == who) {
					t.Errorf("DrewLast of %s = %v, %v after %s drew", other, last, err, who)
				}
			}
		}
		if last, err := q.DrewLast(t.Context(), "C1", "3.4", "a"); err != nil || last {
			t.Errorf("DrewLast of a message that nobody drew = %v, %v", last, err)
		}
	})
}
