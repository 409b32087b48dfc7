package review

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Label is one answer of a rubric. A label without a score is stored without one.
type Label struct {
	Name  string   `json:"name"`
	Score *float64 `json:"score,omitempty"`
	// Stored is the answer that it stands for in a study: what a reviewer taps
	// ("Judge right", "A") is not what the annotation says ("incorrect", the name of
	// an experiment). nil: the label itself; an empty one: no label.
	Stored *Label `json:"stored,omitempty"`
}

// Range bounds a score; a nil end is open.
type Range struct {
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
}

// Rubric is what reviewers are asked: the annotation name, its labels and score
// range, what 👍 and 👎 mean, the question and the instructions.
type Rubric struct {
	Name         string  `json:"name"` // the Phoenix annotation name
	Question     string  `json:"question"`
	Instructions string  `json:"instructions,omitempty"`
	Up           *Label  `json:"up,omitempty"`    // 👍; nil: no thumbs, only the form
	Down         *Label  `json:"down,omitempty"`  // 👎; nil exactly when Up is
	Labels       []Label `json:"labels"`          // all labels in the form's order, Up and Down among them
	Range        *Range  `json:"range,omitempty"` // nil: the form asks for no score
	Study        *Asked  `json:"study,omitempty"` // nil: an ordinary question about a span
}

// MaxExplanation is the longest explanation, and the longest correction, in characters: what Slack lets a
// person type into one field.
const MaxExplanation = 3000

// DefaultRubric is the rubric of that name when neither the configuration nor
// Phoenix defines one: correct = 1, incorrect = 0, a score from 0 to 1.
func DefaultRubric(name string) Rubric {
	up, down := Label{Name: "correct", Score: num(1)}, Label{Name: "incorrect", Score: num(0)}
	r := Rubric{
		Name: name, Question: "Is the answer correct?",
		Up: &up, Down: &down, Labels: []Label{up, down},
		Range: &Range{num(0), num(1)},
	}
	if name != "correctness" {
		r.Question = "Is the answer correct? (" + name + ")"
	}
	return r
}

func num(f float64) *float64 { return &f }

// Hash names this version of the rubric in buttons and annotation metadata: the
// first 8 hex digits of SHA-256 over everything that gives an answer its
// meaning. Instructions may be reworded without changing it.
func (r Rubric) Hash() string {
	r.Instructions = ""
	b, err := json.Marshal(r)
	if err != nil { // NaN or infinity in a score: Check refuses those before
		b = []byte(fmt.Sprintf("%+v", r))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:4])
}

// Thumb is the answer that 👍 (up) or 👎 stands for. It reports false when the
// rubric has no thumbs.
func (r Rubric) Thumb(up bool) (Answer, bool) {
	l := r.Down
	if up {
		l = r.Up
	}
	if l == nil {
		return Answer{}, false
	}
	return Answer{Label: l.Name, Score: l.Score}, true
}

// Sign is "👍" or "👎" when the label is one of the thumbs, else "".
func (r Rubric) Sign(label string) string {
	switch {
	case label == "":
		return ""
	case r.Up != nil && r.Up.Name == label:
		return "👍"
	case r.Down != nil && r.Down.Name == label:
		return "👎"
	}
	return ""
}

// Label returns the label of that name.
func (r Rubric) Label(name string) (Label, bool) {
	for _, l := range r.Labels {
		if l.Name == name {
			return l, true
		}
	}
	return Label{}, false
}

// Answer is what a button or a form says.
type Answer struct {
	Label       string   `json:"label,omitempty"`
	Score       *float64 `json:"score,omitempty"`
	Explanation string   `json:"explanation,omitempty"`
	Correction  string   `json:"correction,omitempty"` // what it should have said
}

// Empty reports whether nothing was said: no label, no score, no words.
func (a Answer) Empty() bool {
	return a.Label == "" && a.Score == nil && strings.TrimSpace(a.Explanation) == "" && strings.TrimSpace(a.Correction) == ""
}

// Field names one input of the form.
type Field string

// The fields of the form, in the order in which one thinks.
const (
	FieldLabel       Field = "label"
	FieldScore       Field = "score"
	FieldExplanation Field = "explanation"
	FieldCorrection  Field = "correction"
	FieldTarget      Field = "target"
)

// Parse turns what was typed into the form into an answer. What is wrong stands
// under the field it belongs to, in words for the reviewer; the answer counts
// only when there is nothing wrong. An empty score takes the label's own.
func (r Rubric) Parse(label, score, explanation, correction string) (Answer, map[Field]string) {
	wrong := map[Field]string{}
	a := Answer{Label: label, Explanation: strings.TrimSpace(explanation), Correction: strings.TrimSpace(correction)}
	l, known := r.Label(label)
	switch {
	case label != "" && !known:
		wrong[FieldLabel] = fmt.Sprintf("“%s” is not one of this question's answers; choose one of the list.", label)
	case label == "" && r.Study != nil:
		// Words alone would decide nothing, and stand where a decision is looked for.
		wrong[FieldLabel] = "Choose an answer: a reason alone does not decide it."
	}
	if score = strings.TrimSpace(score); score != "" {
		f, err := strconv.ParseFloat(strings.Replace(score, ",", ".", 1), 64)
		switch {
		case err != nil || math.IsNaN(f) || math.IsInf(f, 0):
			wrong[FieldScore] = fmt.Sprintf("“%s” is not a number%s.", score, r.want())
		case r.Range != nil && r.Range.Low != nil && f < *r.Range.Low, r.Range != nil && r.Range.High != nil && f > *r.Range.High:
			wrong[FieldScore] = fmt.Sprintf("%s is outside the range%s.", FormatScore(f), r.want())
		default:
			a.Score = &f
		}
	} else if known {
		a.Score = l.Score
	}
	for f, text := range map[Field]string{FieldExplanation: a.Explanation, FieldCorrection: a.Correction} {
		if n := utf8.RuneCountInString(text); n > MaxExplanation {
			wrong[f] = fmt.Sprintf("%d characters are %d too many; at most %d fit.", n, n-MaxExplanation, MaxExplanation)
		}
	}
	if len(wrong) == 0 && a.Empty() {
		f := FieldExplanation
		if len(r.Labels) > 0 {
			f = FieldLabel
		} else if r.Range != nil {
			f = FieldScore
		}
		wrong[f] = "Nothing is filled in: choose an answer, give a score or write a few words."
	}
	if len(wrong) > 0 {
		return a, wrong
	}
	return a, nil
}

// want is "; want 0 to 1", for messages.
func (r Rubric) want() string {
	if t := r.RangeText(); t != "" {
		return "; want " + t
	}
	return ""
}

// RangeText is "0 to 1", "at least 0", "at most 5" or "" in words.
func (r Rubric) RangeText() string {
	if r.Range == nil {
		return ""
	}
	switch lo, hi := r.Range.Low, r.Range.High; {
	case lo != nil && hi != nil:
		return FormatScore(*lo) + " to " + FormatScore(*hi)
	case lo != nil:
		return "at least " + FormatScore(*lo)
	case hi != nil:
		return "at most " + FormatScore(*hi)
	}
	return ""
}

// FormatScore writes a score as people do: 1, 0.5, never 1e+00.
func FormatScore(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// Check reports everything that is wrong with a rubric, in words.
func (r Rubric) Check() []string {
	var wrong []string
	if strings.TrimSpace(r.Name) == "" || r.Name == "note" {
		wrong = append(wrong, "the name must not be empty or “note” (Phoenix keeps notes under it)")
	}
	if (r.Up == nil) != (r.Down == nil) {
		wrong = append(wrong, "👍 and 👎 need a label each, or neither has one")
	}
	if r.Up != nil && r.Down != nil && r.Up.Name == r.Down.Name {
		wrong = append(wrong, fmt.Sprintf("👍 and 👎 are the same label “%s”", r.Up.Name))
	}
	seen := map[string]bool{}
	for _, l := range r.Labels {
		switch {
		case l.Name == "":
			wrong = append(wrong, "a label has no name")
		case seen[l.Name]:
			wrong = append(wrong, fmt.Sprintf("label “%s” stands twice", l.Name))
		case utf8.RuneCountInString(l.Name) > 70:
			wrong = append(wrong, fmt.Sprintf("label “%s” is longer than the 70 characters a Slack option can show", l.Name))
		}
		seen[l.Name] = true
		if l.Score != nil && (math.IsNaN(*l.Score) || math.IsInf(*l.Score, 0)) {
			wrong = append(wrong, fmt.Sprintf("label “%s”: the score must be a finite number", l.Name))
		}
	}
	if len(r.Labels) > 100 {
		wrong = append(wrong, fmt.Sprintf("%d labels; a Slack select holds 100", len(r.Labels)))
	}
	if r.Range != nil && r.Range.Low != nil && r.Range.High != nil && *r.Range.Low >= *r.Range.High {
		wrong = append(wrong, fmt.Sprintf("the score range %s is empty", r.RangeText()))
	}
	return wrong
}

// Annotation config types and directions, as Phoenix writes them.
const (
	Categorical = "CATEGORICAL"
	Continuous  = "CONTINUOUS"
	Freeform    = "FREEFORM"

	Minimize = "MINIMIZE"
	Maximize = "MAXIMIZE"
)

// AnnotationConfig is a Phoenix annotation config, as far as a rubric needs it.
type AnnotationConfig struct {
	Name        string
	Type        string // Categorical, Continuous or Freeform
	Description string
	Direction   string // Minimize, Maximize, or NONE
	Values      []Label
	Low, High   *float64 // Continuous
}

// Rubric makes a rubric of the config. With a direction the best and the worst
// label become the thumbs. Without one, or when all scores are equal, up and
// down name them (a route's setting); when they name none, there are no thumbs
// and the form alone is offered, as for continuous and freeform configs.
func (c AnnotationConfig) Rubric(up, down string) Rubric {
	r := Rubric{Name: c.Name, Question: c.Description}
	if r.Question == "" {
		r.Question = "How do you judge it: " + c.Name + "?"
	}
	switch c.Type {
	case Continuous:
		r.Range = &Range{c.Low, c.High}
		return r
	case Categorical:
	default:
		return r
	}
	r.Labels = slices.Clone(c.Values)
	if u, ok := r.Label(up); ok {
		if d, ok := r.Label(down); ok && up != down {
			r.Up, r.Down = &u, &d
			return r
		}
	}
	scored := slices.DeleteFunc(slices.Clone(c.Values), func(l Label) bool { return l.Score == nil })
	if len(scored) < 2 || (c.Direction != Minimize && c.Direction != Maximize) {
		return r
	}
	slices.SortStableFunc(scored, func(a, b Label) int { return cmp.Compare(*a.Score, *b.Score) })
	worst, best := scored[0], scored[len(scored)-1]
	if *worst.Score == *best.Score {
		return r
	}
	if c.Direction == Minimize {
		best, worst = worst, best
	}
	r.Up, r.Down = &best, &worst
	return r
}
