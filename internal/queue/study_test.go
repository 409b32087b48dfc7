package queue

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

func caseOf(n int) review.Case {
	f := find(n)
	return review.Case{TraceID: f.TraceID, SpanID: f.SpanID, Rubric: review.Adjudication(review.DefaultRubric("correctness"), "correct", "incorrect", "judge:x:1"),
		Exhibits: []review.Exhibit{{Title: "The judge", Text: review.Text{Head: "because"}}}}
}

// What a command asks is there for the bot: the case before the line that names
// it, and what its buttons mean.
func TestAsk_KeepsWhatTheBotNeeds(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		ctx := t.Context()
		s := review.Study{Name: "r.judge", Route: "r", Project: "p", About: "correctness", Prefix: review.AdjudicatedPrefix, Created: time.UnixMilli(1000).UTC()}
		if n, _, err := q.Ask(ctx, s, []review.Case{caseOf(1), caseOf(2)}); err != nil || n != 2 {
			t.Fatal(n, err)
		}
		if n, _, err := q.Ask(ctx, s, []review.Case{caseOf(2), caseOf(3)}); err != nil || n != 1 {
			t.Fatalf("%d are new, %v; one waited already", n, err)
		}
		got, ok, err := q.Study(ctx, "r.judge")
		if err != nil || !ok || got != s {
			t.Errorf("study %+v, %v, %v", got, ok, err)
		}
		if err := q.KeepEpoch(ctx, "r.judge", Epoch{Until: time.Now(), Name: "e"}); err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= 3; n++ {
			c, ok, err := q.Claim(ctx, "r.judge", 0, review.Oldest, time.Minute)
			if err != nil || !ok || c.SpanID != find(n).SpanID {
				t.Fatalf("claim %d is %+v, %v, %v", n, c, ok, err)
			}
			kept, ok, err := q.Case(ctx, "r.judge", c.TraceID, c.SpanID)
			if err != nil || !ok || !reflect.DeepEqual(kept, caseOf(n)) {
				t.Errorf("case %d is %+v, %v, %v", n, kept, ok, err)
			}
			rubric, ok, err := q.Rubric(ctx, kept.Rubric.Hash())
			if err != nil || !ok || !reflect.DeepEqual(rubric, kept.Rubric) {
				t.Errorf("the rubric of case %d is %+v, %v, %v", n, rubric, ok, err)
			}
		}
		refs, err := q.CaseRefs(ctx, "r.judge")
		if err != nil || len(refs) != 3 {
			t.Errorf("cases %v, %v", refs, err)
		}
		if n, _, err := q.Ask(ctx, s, []review.Case{caseOf(1)}); err != nil || n != 0 {
			t.Errorf("a claimed one was added %d times, %v", n, err)
		}
	})
}

func TestReveal_IsKept_AndSaidOnce(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		ctx := t.Context()
		if ok, err := q.Reveal(ctx, "r.ab-1"); err != nil || ok {
			t.Fatalf("a study that nobody knows was revealed: %v, %v", ok, err)
		}
		if _, _, err := q.Ask(ctx, review.Study{Name: "r.ab-1", Route: "r"}, []review.Case{caseOf(1)}); err != nil {
			t.Fatal(err)
		}
		for i, want := range []bool{true, false} {
			if ok, err := q.Reveal(ctx, "r.ab-1"); err != nil || ok != want {
				t.Errorf("call %d: %v, %v", i, ok, err)
			}
		}
		// Asking for more begins it anew: what is asked now is blind again.
		if _, _, err := q.Ask(ctx, review.Study{Name: "r.ab-1", Route: "r"}, []review.Case{caseOf(2)}); err != nil {
			t.Fatal(err)
		}
		if s, _, err := q.Study(ctx, "r.ab-1"); err != nil || s.Revealed {
			t.Errorf("study %+v, %v", s, err)
		}
	})
}

func TestCase_IsBounded(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		c := caseOf(1)
		c.Exhibits[0].Text.Head = strings.Repeat("ä ", 1<<20)
		if _, _, err := q.Ask(t.Context(), review.Study{Name: "r.judge", Route: "r"}, []review.Case{c}); err != nil {
			t.Fatal(err)
		}
		kept, _, err := q.Case(t.Context(), "r.judge", c.TraceID, c.SpanID)
		if err != nil || kept.Exhibits[0].Text.Len() != c.Exhibits[0].Text.Len() || len(kept.Exhibits[0].Text.Head) > 50_000 {
			t.Errorf("%d characters were kept as %d bytes and %d more, %v", c.Exhibits[0].Text.Len(), len(kept.Exhibits[0].Text.Head), kept.Exhibits[0].Text.More, err)
		}
	})
}
