package review

import (
	"fmt"
	"strings"
	"time"
)

// Study is a question that a command puts before a route's reviewers, about spans
// that it chose: who is right where a judge and people differ, or which of two
// experiments answers better. Its cards are like any other, in the channel and
// for the reviewers of its route; what is said on them is written under an
// identifier of its own, so that it never passes for a vote.
type Study struct {
	Name    string    `json:"name"`    // stands for the route's name in its cards: "support.judge", "support.ab-1f2e3d"
	Route   string    `json:"route"`   // whose channel and reviewers it has
	Project string    `json:"project"` // Phoenix project of its spans
	About   string    `json:"about"`   // annotation name under which answers are stored
	Prefix  string    `json:"prefix"`  // of their identifiers
	Title   string    `json:"title"`   // for people: "who is right, the reviewers or judge:correctness:1a2b3c4d5e6f"
	Created time.Time `json:"created"`
	// Revealed: a blind one is over, and its cards say what was what.
	Revealed bool `json:"revealed,omitempty"`
}

// Case is one span of a study.
type Case struct {
	TraceID  string    `json:"trace"`
	SpanID   string    `json:"span"`
	Rubric   Rubric    `json:"rubric"`          // what is asked about it
	Exhibits []Exhibit `json:"exhibits"`        // what its card shows beside the span
	Blind    *Text     `json:"blind,omitempty"` // the question alone, in place of the span: its own answer would tell
}

// Exhibit is a text that a card shows beside a span.
type Exhibit struct {
	Title string `json:"n"`
	Text  Text   `json:"t"`
}

// maxExhibit is how much of an exhibit is kept, in characters.
const maxExhibit = 20_000

// Span is what the case shows of a span: all of it and the exhibits, or, where it
// is blind, the question and the exhibits.
func (c Case) Span(s Span) Span {
	if c.Blind != nil {
		s = Span{ID: c.SpanID, TraceID: c.TraceID, Name: "side by side", Input: *c.Blind}
	}
	s.Exhibits = c.Exhibits
	return s
}

// Bound cuts what a case shows to what is kept of it.
func (c Case) Bound() Case {
	out := make([]Exhibit, len(c.Exhibits))
	for i, e := range c.Exhibits {
		out[i] = Exhibit{e.Title, e.Text.Cut(maxExhibit)}
	}
	c.Exhibits = out
	if c.Blind != nil {
		t := c.Blind.Cut(maxExhibit)
		c.Blind = &t
	}
	return c
}

// Asked is the part of a study that goes with its question, and so with each
// answer.
type Asked struct {
	Prefix string `json:"prefix"`           // Study.Prefix
	Of     string `json:"of"`               // what it is about: a judge's identifier, the ids of two experiments
	Rubric string `json:"rubric,omitempty"` // hash of the rubric that an adjudication decides about
	Blind  bool   `json:"blind,omitempty"`  // nothing may tell what is what
}

// Recorded is an answer of a study as it is written to Phoenix.
type Recorded struct {
	Prefix string            `json:"prefix"`           // of the identifier
	Label  string            `json:"label,omitempty"`  // in place of what was tapped; "" for none
	Score  *float64          `json:"score,omitempty"`  // likewise
	Of     string            `json:"of,omitempty"`     // Asked.Of
	Rubric string            `json:"rubric,omitempty"` // Asked.Rubric
	Order  map[string]string `json:"order,omitempty"`  // of a side by side: what stood for what, {"A": "after", "B": "before"}
}

// Record is how an answer to the rubric is written to Phoenix; nil: as it is.
func (r Rubric) Record(a Answer) *Recorded {
	if r.Study == nil {
		return nil
	}
	out := &Recorded{Prefix: r.Study.Prefix, Of: r.Study.Of, Rubric: r.Study.Rubric, Label: a.Label, Score: a.Score}
	if l, ok := r.Label(a.Label); ok && l.Stored != nil {
		out.Label, out.Score = l.Stored.Name, l.Stored.Score
	}
	if r.Study.Blind {
		out.Order = map[string]string{}
		for _, l := range r.Labels[:min(2, len(r.Labels))] {
			if l.Stored != nil {
				out.Order[l.Name] = l.Stored.Name
			}
		}
	}
	return out
}

// Prefixes of the identifiers of what is said in a study. Such an annotation is
// nobody's own vote.
const (
	AdjudicatedPrefix = "adjudicated:" // somebody decided between people, or between them and a judge
	PreferencePrefix  = "ab:"          // somebody compared two experiments' answers
)

// OfStudy reports an annotation's identifier that was written by a study.
func OfStudy(identifier string) bool {
	return strings.HasPrefix(identifier, AdjudicatedPrefix) || strings.HasPrefix(identifier, PreferencePrefix)
}

// Outcomes of an adjudication, as its buttons say them.
const (
	HumanRight    = "Human right"
	JudgeRight    = "Judge right"
	Ambiguous     = "Ambiguous"
	RubricUnclear = "Rubric unclear"
)

// Adjudication asks who is right about a rubric's question: people who said one
// label, or a judge that said another. What is decided is stored as a label of
// that rubric; of the last two outcomes, none.
func Adjudication(r Rubric, human, judge, identifier string) Rubric {
	stored := func(name string) *Label {
		l, ok := r.Label(name)
		if !ok {
			l = Label{Name: name}
		}
		return &l
	}
	question := strings.TrimSpace(r.Question)
	if question == "" {
		question = r.Name
	}
	return Rubric{
		Name:         r.Name,
		Question:     fmt.Sprintf("Who is right? %s People say “%s”, the judge says “%s”.", question, human, judge),
		Instructions: r.Instructions,
		Labels: []Label{{Name: HumanRight, Stored: stored(human)}, {Name: JudgeRight, Stored: stored(judge)},
			{Name: Ambiguous, Stored: &Label{}}, {Name: RubricUnclear, Stored: &Label{}}},
		Study: &Asked{Prefix: AdjudicatedPrefix, Of: identifier, Rubric: r.Hash()},
	}
}

// Answers of a side by side, as its buttons say them.
const (
	PreferA = "A"
	PreferB = "B"
	Equal   = "Equal"
	BothBad = "Both bad"
)

// Preference is the annotation name of what people say of two experiments'
// answers.
const Preference = "preference"

// SideBySide asks which of two answers is better, without saying whose they are.
// What is stored is the name of the experiment, or equal, or both bad; of is what
// it is about.
func SideBySide(prefix, of, a, b string) Rubric {
	return Rubric{
		Name: Preference, Question: "Which answer is better?",
		Labels: []Label{{Name: PreferA, Stored: &Label{Name: a}}, {Name: PreferB, Stored: &Label{Name: b}},
			{Name: Equal, Stored: &Label{Name: "equal"}}, {Name: BothBad, Stored: &Label{Name: "both bad"}}},
		Study: &Asked{Prefix: prefix, Of: of, Blind: true},
	}
}
