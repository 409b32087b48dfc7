package queue

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// happened is the history in short, oldest first.
func happened(t *testing.T, q *Queue) (out []string) {
	t.Helper()
	for e, err := range q.History(t.Context(), time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		s := string(e.What)
		if e.Judgement != nil {
			s += " " + e.Judgement.Label
		}
		if e.Before != nil {
			s += " after " + e.Before.Label
		}
		if e.Why != "" {
			s += " (" + e.Why + ")"
		}
		out = append(out, s)
	}
	return out
}

func TestHistory_TellsWhatWasSaidAndWhatBecameOfIt(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		now := time.Now()
		judge(t, q, judgement(1, "U1", "correct", now))
		deliver(t, q, lease(t, q, time.Minute)[0])
		judge(t, q, judgement(1, "U1", "incorrect", now.Add(time.Second)))
		e := lease(t, q, time.Minute)[0]
		if _, err := q.Change(t.Context(), "r", e.TraceID, func(th *review.Thread) (Step, error) {
			th.Confirm(e.Judgement, "no")
			return Step{Bury: []Dead{{Entry: e, Why: "no"}}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		l, ok, err := q.DeadLetter(t.Context(), e.Key)
		if err != nil || !ok || l.Label != "incorrect" {
			t.Fatalf("%+v %v %v", l, ok, err)
		}
		if _, err := q.Change(t.Context(), "r", e.TraceID, func(*review.Thread) (Step, error) {
			return Step{Drop: []Dead{{Entry: l.Entry, Why: "by hand"}}, Tell: []Event{{What: Deleted, Key: e.Key, At: now, Why: "in Phoenix"}}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		want := []string{"said correct", "stored", "said incorrect after correct", "failed (no)", "dropped incorrect (by hand)", "deleted (in Phoenix)"}
		if got := happened(t, q); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("history:\n got %q\nwant %q", got, want)
		}
		if s, err := q.Outbox(t.Context()); err != nil || s.Depth+s.Dead != 0 {
			t.Errorf("%+v %v", s, err)
		}
		back, next, err := q.HistoryBack(t.Context(), "", 4)
		if err != nil || len(back) != 4 || next == "" || back[0].What != Deleted {
			t.Fatalf("%+v %q %v", back, next, err)
		}
		rest, next, err := q.HistoryBack(t.Context(), next, 4)
		if err != nil || len(rest) != 2 || next != "" || rest[1].Judgement.Label != "correct" {
			t.Errorf("%+v %q %v", rest, next, err)
		}
	})
}

func TestBuilt_NothingIsClaimedBeforeTheCardsAreKnown(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, find(1))
		if err := q.Unbuild(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := q.Claim(t.Context(), "r", 0, review.Newest, time.Minute); !errors.Is(err, ErrUnbuilt) {
			t.Fatalf("a claim on a Redis that knows no cards: %v", err)
		}
		keep, done, ok, err := q.Building(t.Context(), "r")
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if _, _, second, err := q.Building(t.Context(), "r"); err != nil || second {
			t.Errorf("two replicas rebuild at once: %v", err)
		}
		if err := keep(t.Context()); err != nil {
			t.Error(err)
		}
		if err := q.KeepEpoch(t.Context(), "r", Epoch{Until: time.Now()}); err != nil {
			t.Fatal(err)
		}
		done()
		if _, ok := claim(t, q, 0, time.Minute); !ok {
			t.Error("nothing to claim after it was built")
		}
		if _, _, ok, err := q.Building(t.Context(), "r"); err != nil || !ok {
			t.Errorf("the task was not given back: %v", err)
		}
	})
}
