package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

func unsure(n int, uncertainty float64) Find {
	f := find(n)
	f.Stream, f.Uncertainty = review.Uncertain, uncertainty
	return f
}

func unjudged(n int) Find {
	f := find(n)
	f.Stream, f.Unjudged = review.Uncertain, true
	return f
}

func drain(t *testing.T, q *Queue, control float64) (streams string, rows []int64) {
	t.Helper()
	for {
		c, ok, err := q.ClaimUncertain(t.Context(), "r", 0, control, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return streams, rows
		}
		word := "c"
		if c.Uncertain {
			word = "u"
		}
		streams, rows = streams+word, append(rows, c.Row)
	}
}

func TestClaimUncertain_TakesTheStreamsInTurnByShare_AndTheMostUncertainFirst(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, finds(1, 3)...)
		add(t, q, unsure(11, .25), unsure(12, .5), unsure(13, 1), unsure(14, .5), unsure(15, .4), unsure(16, .4), unsure(17, .4))
		streams, rows := drain(t, q, .3)
		// Three of ten are the control stream's, spread out; of two spans as uncertain
		// as each other the newer one comes first.
		if streams != "cuucuucuuu" && streams != "cuuucuucuu" {
			t.Errorf("streams %s", streams)
		}
		var uncertain []int64
		for i, r := range rows {
			if streams[i] == 'u' {
				uncertain = append(uncertain, r)
			}
		}
		if got := fmt.Sprint(uncertain); got != "[13 14 12 17 16 15 11]" {
			t.Errorf("the uncertain ones came as %s", got)
		}
	})
}

func TestClaimUncertain_AnEmptyStreamDoesNotHoldUpTheOther(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, finds(1, 20)...)
		if streams, _ := drain(t, q, .3); streams != "cccccccccccccccccccc" {
			t.Errorf("streams %s", streams)
		}
		// What one stream took while the other was empty is not made up for later.
		add(t, q, finds(21, 23)...)
		add(t, q, unsure(31, .5), unsure(32, .5), unsure(33, .5))
		if streams, _ := drain(t, q, .5); streams != "cucucu" {
			t.Errorf("streams %s", streams)
		}
	})
}

// A route whose order was changed back posts what waits, whatever it waited for.
func TestClaim_TakesWhatIsLeftOfTheUncertainStream(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, find(1), unsure(11, .5))
		a, _ := claim(t, q, 0, time.Minute)
		b, ok := claim(t, q, 0, time.Minute)
		if a.Row != 1 || !ok || b.Row != 11 || !b.Uncertain {
			t.Errorf("%+v, %+v, %v", a, b, ok)
		}
	})
}

func TestClaim_ThatComesBackIsOfItsStream(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		add(t, q, unsure(11, .5))
		c, _ := claim(t, q, 0, time.Minute)
		if err := q.PutBack(t.Context(), c, 0); err != nil {
			t.Fatal(err)
		}
		c, ok := claim(t, q, 0, time.Millisecond) // and is lost
		if !ok || !c.Uncertain {
			t.Errorf("after put back: %+v, %v", c, ok)
		}
		time.Sleep(5 * time.Millisecond)
		if c, ok = claim(t, q, 0, time.Minute); !ok || !c.Uncertain || !c.Again {
			t.Errorf("after its lease: %+v, %v", c, ok)
		}
	})
}

func TestSift_IntoTheStreamOrAway(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		ctx := t.Context()
		list := []Find{unjudged(1), unjudged(2), unjudged(3), unjudged(4)}
		if n, rest, err := q.Add(ctx, "r", 2, list); n != 0 || rest != 0 || err != nil {
			t.Fatal(n, rest, err) // they take no place of the backlog
		}
		// Where no judge comes, the newest two of them wait on.
		got, err := q.Unjudged(ctx, "r", 0, 10)
		if err != nil || len(got) != 2 || got[0].Row != 4 || got[1].Row != 3 {
			t.Fatalf("%+v %v", got, err)
		}
		if _, ok, err := q.ClaimUncertain(ctx, "r", 0, .3, time.Minute); ok || err != nil {
			t.Errorf("one that no judge has seen was claimed, %v", err)
		}
		known, err := q.Known(ctx, "r", list)
		if err != nil || known[0] || known[1] || !known[2] || !known[3] {
			t.Errorf("known %v %v", known, err)
		}
		got[0].Uncertainty = .5
		// Two replicas come to the same end; only one of them did it.
		for i, want := range []string{"1 1", "0 0"} {
			if a, w, err := q.Sift(ctx, "r", 2, got); err != nil || fmt.Sprint(a, w) != want[:1]+" "+want[2:] {
				t.Errorf("sift %d: %d %d %v", i, a, w, err)
			}
		}
		if n, err := q.Waiting(ctx, "r"); err != nil || n.Backlog != 1 || n.Judge != 0 {
			t.Errorf("%+v %v", n, err)
		}
		// No room: it waits where it is.
		if _, _, err := q.Add(ctx, "r", 1, []Find{unjudged(5)}); err != nil {
			t.Fatal(err)
		}
		f := unsure(5, .5)
		if a, w, err := q.Sift(ctx, "r", 1, []Find{f}); a != 0 || w != 0 || err != nil {
			t.Error(a, w, err)
		}
		if n, err := q.Waiting(ctx, "r"); err != nil || n.Judge != 1 {
			t.Errorf("%+v %v", n, err)
		}
	})
}
