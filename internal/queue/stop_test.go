package queue

import (
	"maps"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

const ours = "cafe0123" // the rubric's hash in these tests

func counted(t *testing.T, q *Queue, want map[string]int) {
	t.Helper()
	p, err := q.Progress(t.Context(), "r", ours)
	if err != nil || !maps.Equal(p.Labels, want) {
		t.Errorf("counted %v, %v; want %v", p.Labels, err, want)
	}
}

func TestTally_CountsOneVerdictASpan(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		now := time.Now()
		say := func(n int, user, label string, after time.Duration) {
			t.Helper()
			judge(t, q, judgement(n, user, label, now.Add(after)))
		}
		say(1, "U1", "correct", 0)
		say(2, "U1", "incorrect", 0)
		say(1, "U2", "correct", 0)
		counted(t, q, map[string]int{"correct": 1, "incorrect": 1})
		say(1, "U2", "incorrect", time.Second) // one against one
		counted(t, q, map[string]int{"incorrect": 1})
		say(1, "U1", "incorrect", time.Second)
		counted(t, q, map[string]int{"incorrect": 2})

		taken := judgement(2, "U1", "", now.Add(2*time.Second))
		taken.Withdrawn = true
		if _, err := q.Change(t.Context(), "r", taken.TraceID, func(th *review.Thread) (Step, error) {
			th.Withdraw(taken)
			return Step{Put: []review.Judgement{taken}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		counted(t, q, map[string]int{"incorrect": 1})

		other := judgement(3, "U1", "incorrect", now)
		other.Rubric = "beef4567"
		judge(t, q, other)
		counted(t, q, map[string]int{"incorrect": 1})
	})
}

// The uncertain stream is the worst of all spans, and a rate must not see it.
func TestTally_LeavesOutTheUncertainStream(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		for n, s := range map[int]review.Stream{1: review.Uncertain, 2: review.Control} {
			if _, err := q.Change(t.Context(), "r", find(n).TraceID, func(th *review.Thread) (Step, error) {
				th.Place(review.Card{SpanID: find(n).SpanID, Channel: "C1", TS: "1758000000.000001", Rubric: ours, Posted: time.Now(), Chosen: review.Chosen{Stream: s, Probability: .3}}, "")
				return Step{}, nil
			}); err != nil {
				t.Fatal(err)
			}
			judge(t, q, judgement(n, "U1", "incorrect", time.Now()))
		}
		counted(t, q, map[string]int{"incorrect": 1})
		// It is said of both how they were chosen.
		for _, e := range lease(t, q, time.Minute) {
			if e.Chosen.Stream == "" || e.Chosen.Probability != .3 {
				t.Errorf("%s: %+v", e.Key, e.Chosen)
			}
		}
	})
}

// What was judged before there was a tally is not in it, and takes nothing off it.
func TestTally_NeverCountsBelowZero(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		now := time.Now()
		judge(t, q, judgement(1, "U1", "correct", now))
		q.c.Del(t.Context(), q.key.tally("r"))
		judge(t, q, judgement(1, "U1", "incorrect", now.Add(time.Second)))
		judge(t, q, judgement(2, "U1", "correct", now))
		counted(t, q, map[string]int{"incorrect": 1, "correct": 1})
	})
}

func TestLook_OfTwoReplicasTheFirstCounts_AndOneTells(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		ctx := t.Context()
		a, b := review.Look{Size: 50, Judged: 50, Failed: 4}, review.Look{Size: 50, Judged: 51, Failed: 5}
		for _, l := range []review.Look{a, b} {
			if err := q.KeepLook(ctx, "r", ours, l); err != nil {
				t.Fatal(err)
			}
		}
		tells := func(l review.Look) bool {
			t.Helper()
			ok, err := q.Telling(ctx, "r", ours, l)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		if first, second := tells(a), tells(a); !first || second {
			t.Errorf("%v, %v; want one of two", first, second)
		}
		if err := q.Told(ctx, "r", ours, a, "1758000000.000200"); err != nil {
			t.Fatal(err)
		}
		if tells(a) {
			t.Error("what was said is said again")
		}
		if !tells(review.Look{Size: 100}) {
			t.Error("the next one is not said")
		}
		p, err := q.Progress(ctx, "r", ours)
		if err != nil || len(p.Looks) != 1 || p.Looks[0] != a {
			t.Errorf("%+v %v", p, err)
		}
		if p, err := q.Progress(ctx, "r", "beef4567"); err != nil || len(p.Looks) != 0 {
			t.Errorf("another rubric's: %+v %v", p, err)
		}
	})
}
