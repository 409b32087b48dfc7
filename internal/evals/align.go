package evals

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/stats"
)

// Floor is what a judge must reach to be trusted. The values that are 0 are the
// usual ones: 0.8 for TPR and TNR, 0.8 accuracy, 0.6 for κ.
type Floor struct {
	Accuracy float64 `yaml:"accuracy,omitempty" json:"accuracy"`
	TPR      float64 `yaml:"tpr,omitempty" json:"tpr"`
	TNR      float64 `yaml:"tnr,omitempty" json:"tnr"`
	Kappa    float64 `yaml:"kappa,omitempty" json:"kappa"`
}

func (f *Floor) full() Floor {
	out := Floor{.8, .8, .8, .6}
	if f == nil {
		return out
	}
	for _, p := range []struct{ to, from *float64 }{{&out.Accuracy, &f.Accuracy}, {&out.TPR, &f.TPR}, {&out.TNR, &f.TNR}, {&out.Kappa, &f.Kappa}} {
		if *p.from > 0 {
			*p.to = *p.from
		}
	}
	return out
}

// Standing is how far a judge can be trusted.
type Standing string

// From the best to the worst. The numbers of labels are those of Arize's
// align-evaluator skill: 50 with 30 of each label, and 10 with 3 of each.
const (
	Validated   Standing = "VALIDATED"
	Directional Standing = "DIRECTIONAL" // good enough to see a direction
	NotUsable   Standing = "NOT USABLE"
)

// Alignment is a judge measured against people.
type Alignment struct {
	stats.Alignment
	Standing  Standing `json:"standing"`
	Failed    []string `json:"failed"`              // the gates that are not passed, in words
	Humans    any      `json:"humans,omitempty"`    // agreement among people, the ceiling
	Flips     any      `json:"flips,omitempty"`     // share of spans whose repeated votes differ
	StandIn   bool     `json:"stand_in"`            // no language model gave these verdicts
	Missing   int      `json:"missing,omitempty"`   // labelled by people, not by the judge
	Simulated int      `json:"simulated,omitempty"` // of the labels: no person gave them
	Leaked    []string `json:"leaked,omitempty"`    // left out: they stand in the judge's prompt
	Rows      []Pair   `json:"-"`
}

// Pair is one thing that both judged. An empty Judge is a verdict that could not
// be read, which agrees with nobody.
type Pair struct {
	ID          string
	Human       string
	Judge       string
	Explanation string // the judge's
	Stream      string // of the sampling, "" for none
}

// Align measures a judge against people. Labels are compared without regard to
// case.
//
// Invalid: nothing to compare, or a label that is none of the labels.
func Align(rows []Pair, labels []string, positive string, floor *Floor) (Alignment, error) {
	if len(rows) == 0 {
		return Alignment{}, &review.Error{Kind: review.Invalid, Text: "there is nothing to compare: no span has both a label of people and a verdict of this judge; run the judge over them first (spanbot judge run)"}
	}
	c := stats.NewConfusion(labels)
	for _, r := range rows {
		if err := c.Add(fold(r.Human, labels), fold(r.Judge, labels)); err != nil {
			return Alignment{}, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("%s: %v; the labels are %s", r.ID, err, strings.Join(labels, ", "))}
		}
	}
	a := Alignment{Alignment: c.Report(fold(positive, labels)), Rows: rows}
	a.Standing, a.Failed = gateOf(a.Alignment, floor.full())
	return a, nil
}

func fold(label string, labels []string) string {
	for _, l := range labels {
		if strings.EqualFold(strings.TrimSpace(label), l) {
			return l
		}
	}
	return label
}

// gateOf holds an alignment against the floor.
func gateOf(a stats.Alignment, f Floor) (Standing, []string) {
	var failed []string
	usable, valid := true, true
	smallest := a.N
	most := 0
	for _, l := range a.Labels {
		smallest = min(smallest, a.HumanMix[l])
		most = max(most, a.HumanMix[l])
	}
	if a.N < 10 || smallest < 3 {
		usable = false
		failed = append(failed, fmt.Sprintf("too few labels: %d, and %d of the rarest; at least 10 and 3 are needed to see a direction, 50 and 30 to validate", a.N, smallest))
	} else if a.N < 50 || smallest < 30 {
		valid = false
		failed = append(failed, fmt.Sprintf("%d labels, and %d of the rarest: enough to see a direction; 50 and 30 are needed to validate", a.N, smallest))
	}
	check := func(name string, e stats.Estimate, floor float64) {
		switch {
		case !e.Defined():
			usable = false
			failed = append(failed, name+" is not defined: "+e.Undefined)
		case e.Value < floor:
			usable = false
			failed = append(failed, fmt.Sprintf("%s %.2f is below the floor of %.2f", name, e.Value, floor))
		case e.Low < floor && valid:
			failed = append(failed, fmt.Sprintf("%s %.2f is above the floor of %.2f, but its interval begins at %.2f", name, e.Value, floor, e.Low))
		}
	}
	check("accuracy", a.Accuracy, f.Accuracy)
	check("TPR", a.TPR, f.TPR)
	check("TNR", a.TNR, f.TNR)
	// Where one label has four fifths of the votes κ is low however well two agree.
	if skewed := a.N > 0 && most*5 >= a.N*4; skewed && a.GwetAC1.Defined() && a.GwetAC1.Value >= f.Kappa {
	} else if !a.CohenKappa.Defined() || a.CohenKappa.Value < f.Kappa {
		valid = false
		if a.CohenKappa.Defined() {
			failed = append(failed, fmt.Sprintf("κ %.2f is below %.2f", a.CohenKappa.Value, f.Kappa))
		} else {
			failed = append(failed, "κ is not defined: "+a.CohenKappa.Undefined)
		}
	}
	switch {
	case !usable:
		return NotUsable, failed
	case !valid:
		return Directional, failed
	}
	return Validated, failed
}

// AtLeast reports whether a standing is as good as another.
func (s Standing) AtLeast(o Standing) bool {
	order := []Standing{NotUsable, Directional, Validated}
	return slices.Index(order, s) >= slices.Index(order, o)
}

// Disagreements are the pairs in which judge and people differ, those first whose
// verdict could be read.
func (a Alignment) Disagreements() []Pair {
	var out []Pair
	for _, r := range a.Rows {
		if !strings.EqualFold(r.Human, r.Judge) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(x, y Pair) int {
		switch {
		case x.Judge != "" && y.Judge == "":
			return -1
		case x.Judge == "" && y.Judge != "":
			return 1
		}
		return 0
	})
	return out
}

// Good is the label of some that is no opposite of another ("correct" of correct
// and incorrect), else the first.
func Good(labels []string) string {
	for _, a := range labels {
		for _, b := range labels {
			for _, not := range []string{"in", "un", "not ", "not_", "non-"} {
				if strings.EqualFold(b, not+a) {
					return a
				}
			}
		}
	}
	if len(labels) == 0 {
		return ""
	}
	return labels[0]
}

// Measured is what an alignment found, as the judge's file remembers it.
type Measured struct {
	Version   string   `yaml:"version" json:"version"` // of the judge that was measured
	Standing  Standing `yaml:"standing" json:"standing"`
	N         int      `yaml:"n" json:"n"`
	TP        int      `yaml:"true_positives" json:"true_positives"`
	Pos       int      `yaml:"positives" json:"positives"`
	TN        int      `yaml:"true_negatives" json:"true_negatives"`
	Neg       int      `yaml:"negatives" json:"negatives"`
	StandIn   bool     `yaml:"stand_in,omitempty" json:"stand_in,omitempty"`
	Simulated int      `yaml:"simulated_labels,omitempty" json:"simulated_labels,omitempty"` // among N: no person gave them
}

// Trusted reports that this very version of the judge was measured against people,
// and is at least good enough to see a direction.
func (j *Judge) Trusted() bool {
	return j.Measured != nil && j.Measured.Version == j.Version() && j.Measured.Standing.AtLeast(Directional) && j.Measured.Simulated == 0
}

// StandingText says in words how far the judge can be trusted.
func (j *Judge) StandingText() string {
	switch {
	case j.Measured == nil:
		return "not measured against people yet: its annotations are marked unvalidated"
	case j.Measured.Version != j.Version():
		return "changed since it was measured: its annotations are marked unvalidated"
	case j.Measured.Simulated > 0:
		return fmt.Sprintf("%s by %d labels, %d of them of simulated reviewers: its annotations are marked unvalidated until people have judged", j.Measured.Standing, j.Measured.N, j.Measured.Simulated)
	}
	return fmt.Sprintf("%s by %d labels of people", j.Measured.Standing, j.Measured.N)
}

// Errors are the judge's true positive and true negative rates, to correct rates
// by; nil when this version was not measured.
func (j *Judge) Errors() *Known {
	m := j.Measured
	if m == nil || m.Version != j.Version() || m.Pos == 0 || m.Neg == 0 {
		return nil
	}
	return &Known{TPR: stats.Wilson(m.TP, m.Pos), TNR: stats.Wilson(m.TN, m.Neg)}
}

// Places says in which projects of Phoenix spans are, by id. The zero value of Of
// is for spans that are all in one.
type Places struct {
	Usual string            // of spans of which Of says nothing
	Of    map[string]string // projects, by span
}

// FindPlaces finds the projects that the examples of a dataset name as those of
// their spans; usual is that of the others. An example whose project was deleted
// is left to the usual one, which has no such span.
func FindPlaces(ctx context.Context, px *phoenix.Client, usual string, examples []phoenix.Example) (Places, error) {
	p := Places{Usual: usual, Of: map[string]string{}}
	found := map[string]string{} // ids, by name
	for _, e := range examples {
		name, _ := e.Metadata["project"].(string)
		if name == "" {
			continue
		}
		id, known := found[name]
		if !known {
			project, err := px.Project(ctx, name)
			if err != nil && review.KindOf(err) != review.Gone {
				return p, err
			}
			id = project.ID
			found[name] = id
		}
		if id != "" {
			p.Of[e.ID] = id
		}
	}
	return p, nil
}

// projects are all that are named.
func (p Places) projects() []string {
	all := slices.Sorted(maps.Values(p.Of))
	if p.Usual != "" {
		all = append(all, p.Usual)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Verdicts is Verdicts of spans in several projects.
func (p Places) Verdicts(ctx context.Context, px *phoenix.Client, annotation string, spans []string) (map[string][]phoenix.SpanAnnotation, error) {
	by := map[string][]string{}
	for _, id := range spans {
		if project := cmp.Or(p.Of[id], p.Usual); project != "" {
			by[project] = append(by[project], id)
		}
	}
	out := map[string][]phoenix.SpanAnnotation{}
	for _, project := range slices.Sorted(maps.Keys(by)) {
		found, err := Verdicts(ctx, px, project, annotation, by[project])
		if err != nil {
			return nil, err
		}
		for who, list := range found {
			out[who] = append(out[who], list...)
		}
	}
	return out, nil
}

// AlignItems measures a judge on spans that people labelled, by its verdicts in
// Phoenix. Spans of its own prompt are left out and named, disputed ones too.
//
// Invalid: nothing to compare; labels of another version of the rubric than the
// judge's, unless anyRubric.
func AlignItems(ctx context.Context, px *phoenix.Client, in Places, j *Judge, items []Labelled, anyRubric bool) (Alignment, error) {
	var ids []string
	var leaked []string
	by := map[string]Labelled{}
	for _, l := range items {
		switch {
		case l.How == Disputed || l.How == "" || l.Label == "":
			continue
		case j.Knows(l.SpanID):
			leaked = append(leaked, l.SpanID)
			continue
		}
		ids = append(ids, l.SpanID)
		by[l.SpanID] = l
	}
	if !anyRubric {
		if err := sameRubric(items, j); err != nil {
			return Alignment{}, err
		}
	}
	all, err := in.Verdicts(ctx, px, j.Annotation(), ids)
	if err != nil {
		return Alignment{}, err
	}
	var rows []Pair
	standIn := false
	votes, split := 0, 0
	seen := map[string]bool{}
	simulated := 0
	for _, v := range all[j.Identifier()] {
		if _, ok := by[v.SpanID]; !ok || seen[v.SpanID] {
			continue
		}
		seen[v.SpanID] = true
		if s, _ := v.Metadata["stand_in"].(string); s != "" {
			standIn = true
		}
		if m, ok := v.Metadata["votes"].(map[string]any); ok {
			votes++
			if len(m) > 1 {
				split++
			}
		}
		if by[v.SpanID].Simulated() {
			simulated++
		}
		rows = append(rows, Pair{ID: v.SpanID, Human: by[v.SpanID].Label, Judge: v.Label, Explanation: v.Explanation})
	}
	slices.SortFunc(rows, func(a, b Pair) int { return strings.Compare(a.ID, b.ID) })
	a, err := Align(rows, j.Names(), j.Positive, j.Floor)
	if err != nil {
		return a, err
	}
	a.Leaked, a.StandIn, a.Missing, a.Simulated = leaked, standIn, len(ids)-len(rows), simulated
	if simulated > 0 {
		a.Warnings = append(a.Warnings, fmt.Sprintf("%d of %d labels are of simulated reviewers: no person gave them, and the judge stays unvalidated", simulated, len(rows)))
	}
	if votes > 0 {
		a.Flips = stats.Wilson(split, votes)
	}
	if h, err := Reviewers(items, stats.AgreementOptions{Labels: j.Names()}); err == nil && h.KrippendorffAlpha.Defined() {
		a.Humans = h
	}
	return a, nil
}

// sameRubric refuses to measure a judge by labels of another version of the
// rubric than it was made for.
func sameRubric(items []Labelled, j *Judge) error {
	if j.Hash == "" {
		return nil
	}
	other := map[string]int{}
	for _, l := range items {
		for _, h := range l.Rubrics {
			if h != "" && h != j.Hash {
				other[h]++
			}
		}
	}
	if len(other) == 0 {
		return nil
	}
	var parts []string
	for _, h := range slices.Sorted(maps.Keys(other)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", h, other[h]))
	}
	return &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("the judge was made for version %s of the rubric %s, and people labelled under %s, too; make a dataset of one version under another name (spanbot dataset --rubric-hash %s --name …), or take all with --any-rubric", j.Hash, j.Criterion, strings.Join(parts, ", "), j.Hash)}
}

// Reviewers is the agreement between the reviewers of spans: each vote counts,
// adjudications do not.
func Reviewers(items []Labelled, o stats.AgreementOptions) (stats.Agreement, error) {
	return stats.Agree(Ratings(items), o)
}

// Ratings are the votes of spans, as Reviewers counts them, each with its time.
func Ratings(items []Labelled) []stats.Rating {
	var ratings []stats.Rating
	for _, l := range items {
		for _, op := range l.Opinions {
			if strings.HasPrefix(op.Identifier, review.AdjudicatedPrefix) {
				continue
			}
			r := stats.Rating{Unit: l.SpanID, Rater: op.Identifier, Label: op.Label, At: saidAt(op)}
			if op.Score != nil {
				r.Score, r.HasScore = *op.Score, true
			}
			ratings = append(ratings, r)
		}
	}
	return ratings
}

// saidAt is when a reviewer said it: the click, which the bot writes down, else
// when Phoenix stored it.
func saidAt(op phoenix.SpanAnnotation) time.Time {
	text, _ := op.Metadata["clicked_at"].(string)
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t
	}
	return op.Updated
}

// Mark sets the mark unvalidated on all of the judge's annotations in these
// projects, or takes it away, by how it did, and remembers the result in the judge. It returns
// how many changed.
func Mark(ctx context.Context, px *phoenix.Client, in Places, j *Judge, a Alignment) (int, error) {
	m := &Measured{Version: j.Version(), Standing: a.Standing, N: a.N, StandIn: a.StandIn, Simulated: a.Simulated}
	for i, l := range a.Labels {
		for k, n := range a.Confusion[i] {
			switch positive := l == a.Positive; {
			case positive:
				m.Pos += n
				if k == i {
					m.TP += n
				}
			default:
				m.Neg += n
				if a.Labels[k] != a.Positive {
					m.TN += n
				}
			}
		}
		if l == a.Positive {
			m.Pos += a.Unparsable[i]
		} else {
			m.Neg += a.Unparsable[i]
		}
	}
	j.Measured = m
	want := !j.Trusted()
	var ids []string
	for _, r := range a.Rows {
		ids = append(ids, r.ID)
	}
	// Those it was not measured on, too; where Phoenix cannot list them, all spans
	// are asked for.
	of := maps.Clone(in.Of)
	if of == nil {
		of = map[string]string{}
	}
	for _, project := range in.projects() {
		_, with, err := px.Unjudged(ctx, project, j.Annotation(), j.Identifier())
		if err != nil {
			cases, failed := Cases(ctx, px, project, 0, nil)
			if failed != nil {
				return 0, failed
			}
			for _, c := range cases {
				ids, of[c.SpanID] = append(ids, c.SpanID), project
			}
		}
		for _, s := range with {
			ids, of[s.ID] = append(ids, s.ID), project
		}
	}
	slices.Sort(ids)
	all, err := Places{in.Usual, of}.Verdicts(ctx, px, j.Annotation(), slices.Compact(ids))
	if err != nil {
		return 0, err
	}
	var change []phoenix.SpanAnnotation
	for _, v := range all[j.Identifier()] {
		if marked, _ := v.Metadata["unvalidated"].(bool); marked == want {
			continue
		}
		v.Metadata = maps.Clone(v.Metadata)
		if v.Metadata == nil {
			v.Metadata = map[string]any{}
		}
		delete(v.Metadata, "unvalidated")
		if want {
			v.Metadata["unvalidated"] = true
		}
		change = append(change, v)
	}
	for part := range slices.Chunk(change, 100) {
		if _, err := addAnnotations(ctx, px, slices.Clone(part)); err != nil {
			return 0, err
		}
	}
	return len(change), nil
}

// Cases lists what a project holds for a judge: root spans and orphans of any
// kind but evaluators', newest first, at most limit of them (0: all).
func Cases(ctx context.Context, px *phoenix.Client, project string, limit int, say Progress) ([]Case, error) {
	var out []Case
	q := phoenix.Query{Project: project, Filter: review.Filter{}, Text: maxData + 1, Page: 100}
	n := 0
	for row, err := range px.Newest(ctx, q, 0) {
		if err != nil {
			return nil, err
		}
		n++
		if n%100 == 0 {
			say.say(n, 0)
		}
		if !row.Match || row.Kind == "EVALUATOR" {
			continue
		}
		question, answer, _ := sides(row.Span)
		out = append(out, Case{SpanID: row.ID, Question: question, Answer: answer})
		if len(out) == limit {
			break
		}
	}
	return out, nil
}
