package evals

import (
	"testing"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
)

func TestAdjudicate_AsksWhatIsOpen_WithoutNames(t *testing.T) {
	say := func(who, label, why string) phoenix.SpanAnnotation {
		return phoenix.SpanAnnotation{Kind: "HUMAN", Identifier: "slack:T1:" + who, Answer: review.Answer{Label: label, Explanation: why}}
	}
	item := func(id string, how How, label string, said ...phoenix.SpanAnnotation) Labelled {
		l := Labelled{SpanID: id, TraceID: "t" + id, Label: label, How: how, Opinions: said, Votes: map[string]int{}}
		for _, o := range said {
			l.Votes[o.Label]++
		}
		return l
	}
	items := []Labelled{
		item("1", Majority, "correct", say("zoe", "correct", "it rhymes"), say("abe", "correct", ""), say("bea", "incorrect", "of what?")),
		item("2", Adjudicated, "correct", say("abe", "correct", "")),
		item("3", Unanimous, "correct", say("abe", "correct", "")),
		item("4", Unanimous, "correct", say("abe", "correct", "")),
	}
	items[3].TraceID = "" // made elsewhere: nothing to annotate
	al := Alignment{Rows: []Pair{{ID: "1", Human: "correct", Judge: "INCORRECT", Explanation: "no source"}, {ID: "2", Human: "correct", Judge: "incorrect"},
		{ID: "3", Human: "correct", Judge: ""}, {ID: "4", Human: "correct", Judge: "incorrect"}}}
	j := &Judge{Name: "correctness", Criterion: "correctness", Labels: []Choice{{Label: "correct"}, {Label: "incorrect"}}, Positive: "correct"}
	cases := Adjudicate(j, review.DefaultRubric("correctness"), al, items)
	if len(cases) != 1 || cases[0].SpanID != "1" || cases[0].TraceID != "t1" {
		t.Fatalf("%+v", cases)
	}
	e := cases[0].Exhibits
	if e[0].Title != "People say 2 × “correct”, 1 × “incorrect”" || e[0].Text.Head != "“correct”: it rhymes\n“incorrect”: of what?" ||
		e[1].Title != "The judge says “incorrect” (unvalidated)" || e[1].Text.Head != "no source" {
		t.Errorf("%+v", e)
	}
	if l, _ := cases[0].Rubric.Label(review.JudgeRight); l.Stored.Name != "incorrect" || *l.Stored.Score != 0 {
		t.Errorf("%+v", l)
	}
}

func TestPreferences_CountExamplesByWhatMostSaid(t *testing.T) {
	var p Preferences
	for _, votes := range []map[string]int{{"after": 1}, {"after": 2, "before": 1}, {"before": 1}, {"after": 1, "before": 1}, {"equal": 1}, {"both bad": 2, "after": 1}, {"both bad": 1, "equal": 1}} {
		p.count(votes)
	}
	if p.Examples != 7 || p.After != 2 || p.Before != 1 || p.Equal != 3 || p.BothBad != 1 {
		t.Errorf("%+v", p)
	}
	p.measure(9, 10)
	if *p.Sign != 1 || p.Share.N != 3 || len(p.Warnings) != 2 { // three of a kind tell nothing; nine of ten chose the first
		t.Errorf("%+v", p)
	}
	none := Preferences{}
	if none.measure(0, 0); none.Sign != nil || none.Share.Defined() || none.Left.Defined() {
		t.Errorf("%+v", none)
	}
}

// What was tapped tells what was preferred, also when the experiments have other
// names by now; a name that is neither's is no draw.
func TestComparison_ChoiceIsWhatWasTapped(t *testing.T) {
	c := Comparison{Before: Side{ID: "1", Name: "renamed"}, After: Side{ID: "2", Name: "improved"}}
	said := func(label, outcome string) phoenix.SpanAnnotation {
		return phoenix.SpanAnnotation{Answer: review.Answer{Label: label}, Metadata: map[string]any{"outcome": outcome}}
	}
	var first, second string // examples in which after stands first, and second
	for i := range 20 {
		if node := string(rune('a' + i)); c.afterFirst(node) {
			first = node
		} else {
			second = node
		}
	}
	for _, tt := range []struct {
		node, label, outcome, want string
		ok                         bool
	}{
		{first, "improved", review.PreferA, choseAfter, true},
		{first, "baseline", review.PreferB, choseBefore, true},
		{second, "baseline", review.PreferA, choseBefore, true},
		{second, "improved", review.PreferB, choseAfter, true},
		{first, "equal", review.Equal, choseEqual, true},
		{first, "both bad", review.BothBad, choseNone, true},
		{first, "improved", "", choseAfter, true},
		{first, "baseline", "", "baseline", false},
	} {
		if got, ok := c.choice(said(tt.label, tt.outcome), tt.node); got != tt.want || ok != tt.ok {
			t.Errorf("%+v: %s, %v", tt, got, ok)
		}
	}
	p := Preferences{Unread: 2}
	if p.measure(0, 0); len(p.Warnings) != 1 {
		t.Errorf("%v", p.Warnings)
	}
}

func TestComparison_SidesAreTwoNames_AndNoAnswers(t *testing.T) {
	for _, names := range [][2]string{{"a", "b"}, {"same", "same"}, {"", ""}, {"equal", "both bad"}} {
		c := Comparison{Before: Side{ID: "1", Name: names[0]}, After: Side{ID: "2", Name: names[1]}}
		b, a := c.sides()
		if a == b || a == "" || b == "" || a == "equal" || a == "both bad" || b == "equal" || b == "both bad" {
			t.Errorf("%v: %q and %q", names, b, a)
		}
	}
}

// Which answer stands first is drawn by a hash: about evenly, and the same again.
func TestPlace_IsEvenAndStable(t *testing.T) {
	first := 0
	for i := range 2000 {
		key := "e1 e2" + string(rune('a'+i%26)) + string(rune('0'+i/26))
		drawn := place(key, 1)
		if again := place(key, 1); again != drawn {
			t.Fatalf("%s: %d and then %d", key, drawn, again)
		}
		first += int(drawn & 1)
	}
	if first < 880 || first > 1120 { // 5 standard deviations
		t.Errorf("%d of 2000 stand first", first)
	}
}
