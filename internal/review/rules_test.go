package review

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	r := DefaultRubric("correctness")
	for _, c := range []struct {
		name                      string
		label, score, explanation string
		wrong                     Field
		say                       string
		want                      float64 // score; NaN = none
	}{
		{"label alone takes its own score", "incorrect", "", "", "", "", 0},
		{"score beats the label's", "correct", "0.5", "", "", "", 0.5},
		{"a comma is a decimal point, too", "correct", "0,5", "", "", "", 0.5},
		{"words alone are an answer", "", "", "hm", "", "", math.NaN()},
		{"a score alone is an answer", "", "1", "", "", "", 1},
		{"nothing", "", "", " \n", FieldLabel, "Nothing is filled in", 0},
		{"above the range", "correct", "1.01", "", FieldScore, "outside the range; want 0 to 1", 0},
		{"below the range", "", "-0.1", "", FieldScore, "outside the range", 0},
		{"no number", "correct", "many", "", FieldScore, "is not a number; want 0 to 1", 0},
		{"NaN", "correct", "NaN", "", FieldScore, "is not a number", 0},
		{"infinite", "correct", "1e999", "", FieldScore, "is not a number", 0},
		{"an unknown label", "maybe", "", "", FieldLabel, "not one of this question's answers", 0},
		{"too many words", "correct", "", strings.Repeat("é", MaxExplanation+5), FieldExplanation, "3005 characters are 5 too many", 0},
	} {
		a, wrong := r.Parse(c.label, c.score, c.explanation, "")
		if c.wrong != "" {
			if !strings.Contains(wrong[c.wrong], c.say) || len(wrong) != 1 {
				t.Errorf("%s: %v; want %q under %s", c.name, wrong, c.say, c.wrong)
			}
			continue
		}
		switch {
		case wrong != nil:
			t.Errorf("%s: %v", c.name, wrong)
		case math.IsNaN(c.want) != (a.Score == nil), a.Score != nil && *a.Score != c.want:
			t.Errorf("%s: score %v; want %v", c.name, a.Score, c.want)
		}
	}
}

func TestAnnotationConfigBecomesARubric(t *testing.T) {
	values := []Label{{Name: "fair", Score: num(.5)}, {Name: "bad", Score: num(0)}, {Name: "good", Score: num(1)}, {Name: "can't tell"}}
	for _, c := range []struct {
		name     string
		cfg      AnnotationConfig
		up, down string
		want     string // "up/down", "" = no thumbs
		labels   int
	}{
		{"maximize", AnnotationConfig{Type: Categorical, Direction: Maximize, Values: values}, "", "", "good/bad", 4},
		{"minimize", AnnotationConfig{Type: Categorical, Direction: Minimize, Values: values}, "", "", "bad/good", 4},
		{"no direction", AnnotationConfig{Type: Categorical, Direction: "NONE", Values: values}, "", "", "", 4},
		{"no direction, named by the route", AnnotationConfig{Type: Categorical, Direction: "NONE", Values: values}, "fair", "bad", "fair/bad", 4},
		{"named wrongly", AnnotationConfig{Type: Categorical, Direction: "NONE", Values: values}, "nice", "bad", "", 4},
		{"equal scores", AnnotationConfig{Type: Categorical, Direction: Maximize, Values: []Label{{Name: "a", Score: num(1)}, {Name: "b", Score: num(1)}}}, "", "", "", 2},
		{"no scores", AnnotationConfig{Type: Categorical, Direction: Maximize, Values: []Label{{Name: "a"}, {Name: "b"}}}, "", "", "", 2},
		{"continuous", AnnotationConfig{Type: Continuous, Direction: Maximize, Low: num(0), High: num(10)}, "", "", "", 0},
		{"freeform", AnnotationConfig{Type: Freeform}, "", "", "", 0},
	} {
		c.cfg.Name = "q"
		r := c.cfg.Rubric(c.up, c.down)
		got := ""
		if r.Up != nil {
			got = r.Up.Name + "/" + r.Down.Name
		}
		if got != c.want || len(r.Labels) != c.labels || r.Question == "" || r.Name != "q" {
			t.Errorf("%s: thumbs %q, %d labels, %+v", c.name, got, len(r.Labels), r)
		}
		if (c.cfg.Type == Continuous) != (r.Range != nil) {
			t.Errorf("%s: range %v", c.name, r.Range)
		}
		if w := r.Check(); len(w) > 0 {
			t.Errorf("%s: %v", c.name, w)
		}
	}
}

func TestHashFollowsTheMeaningNotTheInstructions(t *testing.T) {
	a := DefaultRubric("correctness")
	b := a
	b.Instructions = "be kind"
	if a.Hash() != b.Hash() || len(a.Hash()) != 8 {
		t.Errorf("%s %s", a.Hash(), b.Hash())
	}
	b.Question = "Is it wrong?"
	c := a
	c.Up = &Label{Name: "correct", Score: num(.9)}
	if a.Hash() == b.Hash() || a.Hash() == c.Hash() {
		t.Error("another question or score has the same hash")
	}
}

func TestCheckNamesEveryFault(t *testing.T) {
	r := Rubric{Name: "note", Up: &Label{Name: "x"}, Labels: []Label{{Name: "x"}, {Name: "x"}, {Name: ""}, {Name: "y", Score: num(math.Inf(1))}}, Range: &Range{num(1), num(1)}}
	if w := r.Check(); len(w) != 6 {
		t.Errorf("%d faults named: %q", len(w), w)
	}
}

func TestDecide(t *testing.T) {
	all := Route{Name: "r", Sample: 1}
	none := Route{Name: "r", Sample: 0}
	root := Span{ID: "s", Kind: "LLM", Status: "OK", Start: t0}
	with := func(change func(*Span)) Span { s := root; change(&s); return s }
	for _, c := range []struct {
		name               string
		route              Route
		span               Span
		oldest             time.Time
		annotated, tracked bool
		want               Verdict
	}{
		{"fresh span", all, root, time.Time{}, false, false, Post},
		{"judged in Phoenix", all, root, time.Time{}, true, false, Annotated},
		{"has a card", all, root, time.Time{}, false, true, Tracked},
		{"below a root", all, with(func(s *Span) { s.ParentID = "p" }), time.Time{}, false, false, NoMatch},
		{"below a root, all spans wanted", Route{Sample: 1, Spans: Filter{AllSpans: true}}, with(func(s *Span) { s.ParentID = "p" }), time.Time{}, false, false, Post},
		{"an evaluator's", all, with(func(s *Span) { s.Kind = "EVALUATOR" }), time.Time{}, false, false, NoMatch},
		{"an evaluator's, asked for", Route{Sample: 1, Spans: Filter{Kinds: []string{"EVALUATOR"}}}, with(func(s *Span) { s.Kind = "EVALUATOR" }), time.Time{}, false, false, Post},
		{"another kind", Route{Sample: 1, Spans: Filter{Kinds: []string{"TOOL"}}}, root, time.Time{}, false, false, NoMatch},
		{"another name", Route{Sample: 1, Spans: Filter{Names: []string{"x"}}}, root, time.Time{}, false, false, NoMatch},
		{"another status", Route{Sample: 1, Spans: Filter{Statuses: []string{"error"}}}, root, time.Time{}, false, false, NoMatch},
		{"kinds in any case", Route{Sample: 1, Spans: Filter{Kinds: []string{"llm"}}}, root, time.Time{}, false, false, Post},
		{"too old", all, root, t0.Add(1), false, false, TooOld},
		{"outside the sample", none, root, time.Time{}, true, false, NotChosen},
	} {
		if got := c.route.Decide(c.span, c.oldest, c.annotated, c.tracked); got != c.want {
			t.Errorf("%s: %s; want %s", c.name, got, c.want)
		}
	}
}

func TestSampleIsAShareAndTheSameEverywhere(t *testing.T) {
	n := 0
	for i := range 100_000 {
		id := fmt.Sprintf("%016x", i)
		if Sampled("r", id, .1) {
			n++
			if !Sampled("r", id, .2) {
				t.Fatalf("%s is in 10 %% and not in 20 %%", id)
			}
		}
	}
	if n < 9_700 || n > 10_300 {
		t.Errorf("%d of 100,000 in a sample of 10 %%", n)
	}
}

func TestCutWords_CountsHonestlyAndTearsNoWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a-zé日 \n]{0,80}`).Draw(t, "s")
		n := rapid.IntRange(0, 90).Draw(t, "n")
		head, dropped := CutWords(s, n)
		if utf8.RuneCountInString(head)+dropped != utf8.RuneCountInString(s) || utf8.RuneCountInString(head) > n || !strings.HasPrefix(s, head) {
			t.Fatalf("CutWords(%q, %d) = %q, %d", s, n, head, dropped)
		}
	})
	if head, d := CutWords("the quick brown fox jumps", 18); head != "the quick brown" || d != 10 {
		t.Errorf("%q %d", head, d)
	}
	if head, _ := CutWords("the quick brown", 9); head != "the quick" {
		t.Errorf("a word that ends at the limit was torn off: %q", head)
	}
}

func TestExcerptKeepsWhatACardShows(t *testing.T) {
	s := Span{ID: "s", Input: Text{Head: `{"messages":[]}`}, Output: Text{Head: "raw"},
		Asked:    []Message{{Role: "system", Content: Text{Head: "sys"}}, {Role: "user", Content: Text{Head: "first"}}, {Role: "assistant", Content: Text{Head: "x"}}, {Role: "user", Content: Text{Head: "last"}}},
		Answered: []Message{{Role: "assistant", Content: Text{Head: strings.Repeat("long ", 5000)}}}}
	for range 9 {
		s.Documents = append(s.Documents, Document{Content: Text{Head: "d"}})
	}
	x := s.Excerpt()
	if len(x.Asked) != 1 || x.Asked[0].Content.Head != "last" || !x.Input.Empty() || !x.Output.Empty() {
		t.Errorf("%+v", x)
	}
	if c := x.Answered[0].Content; c.Len() != 25_000 || utf8.RuneCountInString(c.Head) > excerptMessage {
		t.Errorf("the answer is %d characters, %d kept", c.Len(), utf8.RuneCountInString(c.Head))
	}
	if len(x.Documents) != excerptDocuments+1 || x.Documents[excerptDocuments].Content.More != 4 {
		t.Errorf("%d documents, the rest counts %+v", len(x.Documents), x.Documents[len(x.Documents)-1])
	}
	for range 12 {
		s.ToolCalls = append(s.ToolCalls, ToolCall{Name: "search"})
	}
	x = s.Excerpt().Excerpt()
	if n := len(x.ToolCalls); n != excerptCalls+1 || x.ToolCalls[n-1].Arguments.More != 7 || x.Documents[excerptDocuments].Content.More != 4 {
		t.Errorf("an excerpt of an excerpt counts anew: %+v, %+v", x.ToolCalls, x.Documents)
	}
	if len(s.Asked) != 4 || len(s.Documents) != 9 {
		t.Error("the span itself was changed")
	}
}

func TestSummary(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Span
		want string
	}{
		{"chat", Span{Asked: []Message{{Role: "user", Content: Text{Head: "why?\n\nreally"}}}, Answered: []Message{{Content: Text{Head: "so"}}}}, "why? really  →  so"},
		{"input and output", Span{Input: Text{Head: "in"}, Output: Text{Head: "out"}}, "in  →  out"},
		{"a call for an answer", Span{Input: Text{Head: "in"}, Answered: []Message{{ToolCalls: []ToolCall{{Name: "search"}}}}}, "in  →  search(…)"},
		{"an error for an answer", Span{Input: Text{Head: "in"}, Status: "ERROR", StatusMessage: "429"}, "in  →  429"},
		{"only one of them", Span{Output: Text{Head: "out"}}, "out"},
		{"neither", Span{Name: "task"}, "task"},
		{"long", Span{Input: Text{Head: strings.Repeat("a ", 500)}, Output: Text{Head: strings.Repeat("b ", 500)}}, ""},
	} {
		got := c.s.Summary(60)
		if utf8.RuneCountInString(got) > 60 || (c.want != "" && got != c.want) || got == "" {
			t.Errorf("%s: %q; want %q", c.name, got, c.want)
		}
	}
}

func TestTree_OrphansAndLoopsLoseNoSpan(t *testing.T) {
	s := func(id, parent string, at int) Span {
		return Span{ID: id, ParentID: parent, Start: t0.Add(time.Duration(at) * time.Second)}
	}
	tr := Trace{Spans: []Span{s("c2", "root", 3), s("root", "", 0), s("c1", "root", 1), s("g", "c1", 2), s("orphan", "never", 9), s("x", "y", 4), s("y", "x", 5), s("self", "self", 6)}}
	var got []string
	for _, n := range tr.Tree() {
		got = append(got, fmt.Sprint(n.Span.ID, n.Depth))
	}
	if want := "[root0 c11 g2 c21 self0 orphan0 x0 y1]"; fmt.Sprint(got) != want {
		t.Errorf("%v; want %s", got, want)
	}
}

func TestFill_TakesWhatARootLacksFromItsSubtree(t *testing.T) {
	tr := Trace{Spans: []Span{
		{ID: "root", Kind: "CHAIN"},
		{ID: "r", ParentID: "root", Kind: "RETRIEVER", Documents: []Document{{ID: "raw"}}, Start: t0},
		{ID: "rr", ParentID: "root", Kind: "RERANKER", Documents: []Document{{ID: "best"}}, Start: t0.Add(1)},
		{ID: "l1", ParentID: "root", Kind: "LLM", Model: "m1", Tokens: 10, Start: t0.Add(2)},
		{ID: "t", ParentID: "l1", Kind: "TOOL", Name: "search", Input: Text{Head: "{}"}, Start: t0.Add(3)},
		{ID: "l2", ParentID: "root", Kind: "LLM", Model: "m2", Tokens: 5, Start: t0.Add(4)},
		{ID: "elsewhere", Kind: "LLM", Model: "mx", Tokens: 99, Start: t0.Add(5)},
	}}
	got := tr.Fill(tr.Spans[0])
	if got.Model != "m1" || got.Tokens != 15 || len(got.Documents) != 1 || got.Documents[0].ID != "best" || len(got.ToolCalls) != 1 || got.ToolCalls[0].Name != "search" {
		t.Errorf("%+v", got)
	}
	own := Span{ID: "l1", Kind: "LLM", Model: "mine", Tokens: 7}
	if got := tr.Fill(own); got.Model != "mine" || got.Tokens != 7 {
		t.Errorf("what it had itself was replaced: %+v", got)
	}
}

func TestErrorsSayWhatCanBeDone(t *testing.T) {
	cause := errors.New("dial")
	err := fmt.Errorf("deliver: %w", &Error{Kind: Busy, Text: "later", Wait: time.Second, Err: cause})
	if KindOf(err) != Busy || TextOf(err) != "later" || WaitOf(err) != time.Second || !errors.Is(err, cause) {
		t.Errorf("%v %q %v", KindOf(err), TextOf(err), WaitOf(err))
	}
	if KindOf(nil) != "" || KindOf(cause) != Broken || TextOf(cause) != "" || WaitOf(nil) != 0 {
		t.Error("an unclassified error is ours")
	}
}

func TestParse_Correction(t *testing.T) {
	r := DefaultRubric("correctness")
	a, wrong := r.Parse("", "", "", " It is Paris. \n")
	if wrong != nil || a.Correction != "It is Paris." || a.Empty() || a.Words() != "should be: It is Paris." {
		t.Errorf("%+v, %v", a, wrong)
	}
	if _, wrong = r.Parse("correct", "", "", strings.Repeat("é", MaxExplanation+1)); !strings.Contains(wrong[FieldCorrection], "3001 characters are 1 too many") {
		t.Errorf("%v", wrong)
	}
	if a, _ := r.Parse("incorrect", "", "why", "right"); a.Words() != "why" {
		t.Errorf("%q", a.Words())
	}
}
