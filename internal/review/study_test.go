package review

import (
	"maps"
	"testing"
)

// Buttons of months ago name their rubric by its hash: what studies added must not
// change it.
func TestRubric_HashOfAnOrdinaryOneIsWhatItWas(t *testing.T) {
	if got := DefaultRubric("correctness").Hash(); got != "4d6dedea" {
		t.Errorf("hash %s", got)
	}
}

func TestRecord_SaysWhatAButtonStandsFor(t *testing.T) {
	r := DefaultRubric("correctness")
	if got := r.Record(Answer{Label: "correct"}); got != nil {
		t.Errorf("an ordinary answer is recorded as %+v", got)
	}
	who := Adjudication(r, "correct", "incorrect", "judge:x:1")
	for label, want := range map[string]struct {
		label string
		score float64 // -1: none
	}{HumanRight: {"correct", 1}, JudgeRight: {"incorrect", 0}, Ambiguous: {"", -1}, RubricUnclear: {"", -1}} {
		got := who.Record(Answer{Label: label})
		if got.Prefix != AdjudicatedPrefix || got.Of != "judge:x:1" || got.Label != want.label || (got.Score == nil) != (want.score < 0) || got.Score != nil && *got.Score != want.score || got.Order != nil {
			t.Errorf("%s is recorded as %+v", label, got)
		}
	}
	pair := SideBySide("ab:1:", "e1 e2", "after", "before")
	order := map[string]string{"A": "after", "B": "before"}
	for label, want := range map[string]string{PreferA: "after", PreferB: "before", Equal: "equal", BothBad: "both bad"} {
		if got := pair.Record(Answer{Label: label}); got.Label != want || got.Score != nil || !maps.Equal(got.Order, order) || got.Prefix != "ab:1:" {
			t.Errorf("%s is recorded as %+v", label, got)
		}
	}
	if a, b := pair.Hash(), SideBySide("ab:1:", "e1 e2", "before", "after").Hash(); a == b {
		t.Error("the order of the answers makes no difference to the hash: a tap would mean either")
	}
	for _, r := range []Rubric{who, pair} {
		if wrong := r.Check(); wrong != nil {
			t.Errorf("%v", wrong)
		}
	}
	if !OfStudy("adjudicated:slack:T:U") || !OfStudy("ab:1:slack:T:U") || OfStudy("slack:T:U") || OfStudy("abba") {
		t.Error("whose identifiers are a study's")
	}
}

func TestParse_AReasonAloneDecidesNothingInAStudy(t *testing.T) {
	for _, r := range []Rubric{Adjudication(DefaultRubric("correctness"), "correct", "incorrect", "judge:x:1"), SideBySide("ab:1:", "e1 e2", "after", "before")} {
		if a, wrong := r.Parse("", "", "It names no source.", ""); wrong[FieldLabel] == "" {
			t.Errorf("%s: a reason alone is the answer %+v", r.Question, a)
		}
		if a, wrong := r.Parse(r.Labels[0].Name, "", "It names no source.", ""); wrong != nil || a.Label != r.Labels[0].Name {
			t.Errorf("%s: %+v, %v", r.Question, a, wrong)
		}
	}
}
