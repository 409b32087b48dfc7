package evals

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	yaml "go.yaml.in/yaml/v4"

	"github.com/spanbot/spanbot/internal/review"
)

// Judge is a judge's file: everything that gives its verdicts their meaning.
type Judge struct {
	Name      string    `yaml:"judge" json:"judge"`                           // part of the identifier of its annotations
	Criterion string    `yaml:"criterion" json:"criterion"`                   // the rubric, which is the name of people's annotations
	Hash      string    `yaml:"rubric_hash,omitempty" json:"rubric_hash"`     // of the rubric whose labels it learned from
	Model     string    `yaml:"model" json:"model"`                           // part of what the judge is: another model is another judge
	Rubric    string    `yaml:"rubric" json:"rubric"`                         // the question and the instructions
	Labels    []Choice  `yaml:"labels" json:"labels"`                         // the good one among them is Positive
	Positive  string    `yaml:"positive" json:"positive"`                     // the label of a passed example
	Template  string    `yaml:"template" json:"template"`                     // with {question} and {answer}
	Examples  []FewShot `yaml:"examples,omitempty" json:"examples,omitempty"` // spans that it must not judge: it knows their label
	Floor     *Floor    `yaml:"floor,omitempty" json:"floor,omitempty"`       // below it its annotations are marked unvalidated
	Measured  *Measured `yaml:"measured,omitempty" json:"measured,omitempty"` // what the last alignment found; no part of its hash
}

// Choice is a label that a judge can give.
type Choice struct {
	Label string   `yaml:"label" json:"label"`
	Score *float64 `yaml:"score,omitempty" json:"score,omitempty"`
	Means string   `yaml:"means,omitempty" json:"means,omitempty"`
}

// FewShot is an example in the prompt, with the label people gave and why.
type FewShot struct {
	SpanID      string `yaml:"span" json:"span"`
	Question    string `yaml:"question" json:"question"`
	Answer      string `yaml:"answer" json:"answer"`
	Label       string `yaml:"label" json:"label"`
	Explanation string `yaml:"explanation" json:"explanation"`
}

// ReadJudge reads a judge's file, strictly: an unknown key is a mistake.
func ReadJudge(r io.Reader, name string) (*Judge, error) {
	raw, err := io.ReadAll(io.LimitReader(r, 4<<20))
	if err != nil {
		return nil, err
	}
	var j Judge
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&j); err != nil {
		return nil, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("%s is not a judge's file: %s", name, strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " "))}
	}
	if wrong := j.Check(); len(wrong) > 0 {
		return nil, &review.Error{Kind: review.Invalid, Text: name + ": " + strings.Join(wrong, "; ")}
	}
	return &j, nil
}

// Check reports everything that is wrong with a judge, in words.
func (j *Judge) Check() []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if j.Name == "" || strings.ContainsAny(j.Name, ": \t\n") || len(j.Name) > 100 {
		say("judge: needs a name without blanks and colons, of at most 100 bytes")
	}
	if j.Criterion == "" {
		say("criterion: the rubric's name is missing")
	}
	if len(j.Labels) < 2 {
		say("labels: a judge needs at least two to choose from")
	}
	seen := map[string]bool{}
	for _, l := range j.Labels {
		if l.Label == "" || seen[strings.ToLower(l.Label)] {
			say("labels: %q is empty or stands twice", l.Label)
		}
		seen[strings.ToLower(l.Label)] = true
	}
	if !seen[strings.ToLower(j.Positive)] {
		say("positive: %q is none of the labels", j.Positive)
	}
	for _, place := range []string{"{question}", "{answer}"} {
		if strings.Count(j.Template, place) != 1 {
			say("template: %s must stand in it exactly once", place)
		}
	}
	for _, e := range j.Examples {
		if !seen[strings.ToLower(e.Label)] {
			say("examples: %s has the label %q, which is none of the labels", e.SpanID, e.Label)
		}
	}
	return wrong
}

// Write writes a judge's file.
func (j *Judge) Write(w io.Writer) error {
	fmt.Fprintf(w, "# A judge made by Spanbot. Its annotations are called %s and bear the identifier\n# %s, which changes with the template, the labels, the examples and the model.\n", j.Annotation(), j.Identifier())
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	return errors.Join(e.Encode(j), e.Close())
}

// Remember writes what an alignment found into a judge's file, and leaves all else
// as it is, to the byte where that can be: the file is a person's work.
func Remember(raw []byte, m *Measured) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is not a judge's file any more")
	}
	top := doc.Content[0]
	var value *yaml.Node
	first, last := 0, 0 // lines of what was remembered before, from 1
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value == measuredKey {
			value = top.Content[i+1]
			first, last = top.Content[i].Line, lastLine(value)
		}
	}
	var block bytes.Buffer
	e := yaml.NewEncoder(&block)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(map[string]*Measured{measuredKey: m}), e.Close()); err != nil {
		return nil, err
	}
	end := "\n"
	if bytes.Contains(raw, []byte("\r\n")) {
		end = "\r\n"
	}
	text := strings.ReplaceAll(block.String(), "\n", end)
	lines := strings.SplitAfter(string(raw), "\n")
	switch {
	case first > 0:
		lines = slices.Replace(lines, first-1, last, text)
	case !strings.HasSuffix(string(raw), "\n"):
		lines = append(lines, end, text)
	default:
		lines = append(lines, text)
	}
	out := []byte(strings.Join(lines, ""))
	// A file in another style, as with braces, is written anew from its parts.
	was, err := ReadJudge(bytes.NewReader(raw), measuredKey)
	if err != nil {
		return nil, err
	}
	is, err := ReadJudge(bytes.NewReader(out), measuredKey)
	if err == nil && is.Version() == was.Version() && is.Name == was.Name && is.Measured != nil && *is.Measured == *m {
		return out, nil
	}
	var fresh yaml.Node
	if err := fresh.Encode(m); err != nil {
		return nil, err
	}
	if value != nil {
		*value = fresh
	} else {
		top.Content = append(top.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: measuredKey}, &fresh)
	}
	block.Reset()
	e = yaml.NewEncoder(&block)
	e.SetIndent(2)
	err = errors.Join(e.Encode(&doc), e.Close())
	return block.Bytes(), err
}

const measuredKey = "measured"

func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, c := range n.Content {
		last = max(last, lastLine(c))
	}
	return last
}

// Names are the labels, in their order.
func (j *Judge) Names() []string {
	var out []string
	for _, l := range j.Labels {
		out = append(out, l.Label)
	}
	return out
}

// Score is the score of a label; nil for none.
func (j *Judge) Score(label string) *float64 {
	for _, l := range j.Labels {
		if l.Label == label {
			return l.Score
		}
	}
	return nil
}

// Annotation is the name of the judge's annotations: never that of people's, so
// that a filter on theirs stays theirs.
func (j *Judge) Annotation() string { return j.Criterion + "_judge" }

// Version is the first 12 hex digits of SHA-256 over template, rubric, choices,
// examples and model.
func (j *Judge) Version() string {
	b, _ := json.Marshal([]any{j.Template, j.Rubric, j.Labels, j.Examples, j.Model}) // no value of these cannot be written
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}

// Identifier is that of the judge's annotations in Phoenix: this very judge's
// are overwritten by it, another version's are not.
func (j *Judge) Identifier() string { return "judge:" + j.Name + ":" + j.Version() }

// Knows reports that a span stands in the prompt: its label is no news, and
// judging it would measure nothing.
func (j *Judge) Knows(spanID string) bool {
	return slices.ContainsFunc(j.Examples, func(e FewShot) bool { return e.SpanID == spanID && spanID != "" })
}

// NewJudge makes a judge from a rubric and the labelled items of the train split:
// up to shots examples, the clear ones, balanced between the labels, the same for
// the same items.
func NewJudge(name, model string, rubric review.Rubric, train []Labelled, shots int) (*Judge, error) {
	if len(rubric.Labels) < 2 {
		return nil, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("the rubric %s has fewer than two labels; a judge needs labels to choose from", rubric.Name)}
	}
	j := &Judge{Name: name, Criterion: rubric.Name, Hash: rubric.Hash(), Model: model, Template: defaultTemplate, Rubric: rubric.Question}
	if rubric.Instructions != "" {
		j.Rubric += " " + rubric.Instructions
	}
	for _, l := range rubric.Labels {
		j.Labels = append(j.Labels, Choice{Label: l.Name, Score: l.Score})
	}
	j.Positive = rubric.Labels[0].Name
	if rubric.Up != nil {
		j.Positive = rubric.Up.Name
	}
	j.Examples = pickShots(train, j.Names(), shots)
	if wrong := j.Check(); len(wrong) > 0 {
		return nil, &review.Error{Kind: review.Invalid, Text: "the judge cannot be made: " + strings.Join(wrong, "; ")}
	}
	return j, nil
}

// pickShots picks examples: adjudicated before unanimous, with an explanation
// before without, by span id; one label after the other.
func pickShots(train []Labelled, labels []string, most int) []FewShot {
	by := map[string][]Labelled{}
	for _, l := range train {
		if l.How == Disputed || l.How == Majority || l.Answer == "" || len([]rune(l.Question))+len([]rune(l.Answer)) > 4000 {
			continue // not clear, or too long to learn from
		}
		by[l.Label] = append(by[l.Label], l)
	}
	for _, list := range by {
		sort.SliceStable(list, func(a, b int) bool {
			x, y := list[a], list[b]
			if (x.How == Adjudicated) != (y.How == Adjudicated) {
				return x.How == Adjudicated
			}
			if (x.Explanation != "") != (y.Explanation != "") {
				return x.Explanation != ""
			}
			return x.SpanID < y.SpanID
		})
	}
	var out []FewShot
	for round := 0; len(out) < most; round++ {
		before := len(out)
		for _, label := range labels {
			if list := by[label]; round < len(list) && len(out) < most {
				l := list[round]
				why := l.Explanation
				if why == "" {
					why = "people agreed on it without giving a reason"
				}
				out = append(out, FewShot{l.SpanID, l.Question, l.Answer, l.Label, why})
			}
		}
		if len(out) == before {
			break
		}
	}
	return out
}
