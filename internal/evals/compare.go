package evals

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/stats"
)

// Change is one example that passed in one experiment only.
type Change struct {
	ExampleID   string `json:"example_id"` // node id
	Question    string `json:"question"`
	Before      string `json:"before"` // the outputs
	After       string `json:"after"`
	LabelBefore string `json:"label_before"`
	LabelAfter  string `json:"label_after"`
	Why         string `json:"why,omitempty"` // the judge's reason for what failed
	SpanID      string `json:"span_id,omitempty"`
}

// Side is one of two experiments.
type Side struct {
	ID     string         `json:"experiment_id"`
	Name   string         `json:"name"`
	Model  string         `json:"task_model"`
	Prompt string         `json:"prompt_hash"`
	Rate   stats.Estimate `json:"pass_rate"`
	// Corrected is the rate with the judge's known errors taken out (Rogan-Gladen).
	Corrected stats.Estimate `json:"corrected_rate"`
}

// Comparison is two experiments over the same examples, pair by pair.
type Comparison struct {
	Before     Side           `json:"before"`
	After      Side           `json:"after"`
	DatasetID  string         `json:"dataset_id"`
	VersionID  string         `json:"version_id"`
	Judge      string         `json:"judge"`
	Positive   string         `json:"positive"`
	Pairs      int            `json:"pairs"`
	Both       int            `json:"both_pass"`
	Fixed      int            `json:"fixed"`
	Broken     int            `json:"broken"`
	Neither    int            `json:"both_fail"`
	LeftOut    int            `json:"left_out"` // pairs without a verdict on both sides
	Difference stats.Estimate `json:"difference"`
	McNemar    *float64       `json:"mcnemar_p"` // nil with repetitions: the difference is by bootstrap over examples then
	Warnings   []string       `json:"warnings"`
	FixedList  []Change       `json:"fixed_examples"`
	BrokenList []Change       `json:"broken_examples"`
	StandIn    bool           `json:"stand_in"`
	// Preferences is what people said of the answers side by side; nil: nobody did, or
	// it is not told yet.
	Preferences *Preferences `json:"preferences,omitempty"`
	All         []Change     `json:"-"` // every pair with outputs on both sides
}

// Significant reports a difference that chance alone would rarely make.
func (c Comparison) Significant() bool { return c.McNemar != nil && *c.McNemar < .05 }

// Known is how a judge did against people, to correct rates by.
type Known struct{ TPR, TNR stats.Estimate }

// Compare compares two experiments pairwise: before is the base. A run passes
// when its verdict is the positive label.
//
// Invalid, with the reason: they differ in dataset, version, judge, splits or
// repetitions, or are not finished; then a difference would mean nothing.
func Compare(ctx context.Context, px *phoenix.Client, before, after string, known *Known) (Comparison, error) {
	var c Comparison
	a, err := px.Experiment(ctx, before)
	if err != nil {
		return c, err
	}
	b, err := px.Experiment(ctx, after)
	if err != nil {
		return c, err
	}
	if err := comparable(a, b); err != nil {
		return c, err
	}
	ra, err := px.Results(ctx, before)
	if err != nil {
		return c, err
	}
	rb, err := px.Results(ctx, after)
	if err != nil {
		return c, err
	}
	text := func(e phoenix.Experiment, key string) string { s, _ := e.Metadata[key].(string); return s }
	c.DatasetID, c.VersionID, c.Judge, c.Positive = a.DatasetID, a.VersionID, text(a, metaJudge), text(a, "positive")
	c.Before = Side{ID: a.ID, Name: a.Name, Model: text(a, metaModel), Prompt: text(a, metaPrompt)}
	c.After = Side{ID: b.ID, Name: b.Name, Model: text(b, metaModel), Prompt: text(b, metaPrompt)}
	c.StandIn = text(a, metaStandIn)+text(b, metaStandIn) != ""
	if c.Before.Prompt == c.After.Prompt && c.Before.Model == c.After.Model {
		c.Warnings = append(c.Warnings, "both experiments have the same prompt and the same model: what differs is chance")
	}
	name := text(a, "evaluation")
	later := map[string]phoenix.Result{}
	for _, r := range rb {
		later[fmt.Sprint(r.Example, "#", r.Repetition)] = r
	}
	per := map[string][]float64{} // differences by example
	seen := 0
	for _, x := range ra {
		y, ok := later[fmt.Sprint(x.Example, "#", x.Repetition)]
		seen++
		vx, okx := verdictOf(x, name)
		vy, oky := verdictOf(y, name)
		ch := Change{ExampleID: x.Example, Question: Question(x.Input), Before: outputOf(x), After: outputOf(y), LabelBefore: vx.Label, LabelAfter: vy.Label}
		if ok && x.Error == "" && y.Error == "" {
			c.All = append(c.All, ch)
		}
		if !ok || !okx || !oky {
			c.LeftOut++
			continue
		}
		c.Pairs++
		px, py := vx.Label == c.Positive, vy.Label == c.Positive
		d := 0.0
		switch {
		case px && py:
			c.Both++
		case py:
			c.Fixed++
			d = 1
			ch.Why = vx.Explanation
			c.FixedList = append(c.FixedList, ch)
		case px:
			c.Broken++
			d = -1
			ch.Why = vy.Explanation
			c.BrokenList = append(c.BrokenList, ch)
		default:
			c.Neither++
		}
		per[x.Example] = append(per[x.Example], d)
	}
	c.LeftOut += max(0, len(rb)-seen)
	if c.Pairs == 0 {
		return c, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("the experiments %s and %s have no example that was judged in both; finish them first (spanbot experiment run --resume ID)", a.Name, b.Name)}
	}
	c.measure(per, a.Repetitions, known)
	return c, nil
}

func (c *Comparison) measure(per map[string][]float64, repetitions int, known *Known) {
	p := stats.Paired{Both: c.Both, Fixed: c.Fixed, Broken: c.Broken, Neither: c.Neither}
	c.Before.Rate, c.After.Rate, c.Difference = p.Before(), p.After(), stats.Newcombe(p)
	if repetitions <= 1 {
		m := stats.McNemar(c.Fixed, c.Broken)
		c.McNemar = &m
		if n := c.Fixed + c.Broken; n < 6 {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%d examples changed sides: with fewer than 6, even if all go one way, no test can tell the difference from chance (p stays above 0.05)", n))
		}
	} else {
		keys := make([]string, 0, len(per))
		for k := range per {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		var clusters [][]float64
		for _, k := range keys {
			clusters = append(clusters, per[k])
		}
		c.Difference = stats.ClusterBootstrap(clusters, 2000, 1)
		c.Warnings = append(c.Warnings, fmt.Sprintf("each example ran %d times: the interval of the difference is by bootstrap over examples, and the intervals of the rates, which take runs for independent, are too narrow", repetitions))
	}
	none := stats.Estimate{Undefined: "the judge was not measured against people (spanbot judge align)"}
	c.Before.Corrected, c.After.Corrected = none, none
	if known != nil {
		c.Before.Corrected = stats.RoganGladen(c.Both+c.Broken, c.Pairs, known.TPR, known.TNR)
		c.After.Corrected = stats.RoganGladen(c.Both+c.Fixed, c.Pairs, known.TPR, known.TNR)
	}
	if c.LeftOut > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%d pairs are left out: they lack a run or a readable verdict on one side", c.LeftOut))
	}
	if c.StandIn {
		c.Warnings = append(c.Warnings, "no language model was used: a stand-in answered or judged, and the figures say nothing about a model")
	}
}

func verdictOf(r phoenix.Result, name string) (phoenix.Evaluated, bool) {
	i := slices.IndexFunc(r.Evaluations, func(v phoenix.Evaluated) bool { return v.Name == name && v.Error == "" && v.Label != "" })
	if i < 0 || r.Error != "" {
		return phoenix.Evaluated{}, false
	}
	return r.Evaluations[i], true
}

func outputOf(r phoenix.Result) string {
	s, _ := r.Output.(string)
	return strings.TrimSpace(s)
}

// comparable says why two experiments must not be compared.
func comparable(a, b phoenix.Experiment) error {
	refuse := func(what string, x, y any) error {
		return &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("the experiments %s and %s cannot be compared: %s (%v and %v)", nameOr(a), nameOr(b), what, x, y)}
	}
	switch {
	case a.ID == b.ID:
		return &review.Error{Kind: review.Invalid, Text: "an experiment cannot be compared with itself (" + nameOr(a) + ")"}
	case a.DatasetID != b.DatasetID:
		return refuse("they ran over different datasets", a.DatasetID, b.DatasetID)
	case a.VersionID != b.VersionID:
		return refuse("they ran over different versions of the dataset", a.VersionID, b.VersionID)
	case a.Metadata[metaJudge] == nil || b.Metadata[metaJudge] == nil:
		return refuse("one was not run by Spanbot, and says nothing of its judge", a.Metadata[metaJudge], b.Metadata[metaJudge])
	case a.Metadata[metaJudge] != b.Metadata[metaJudge]:
		return refuse("they were judged by different judges", a.Metadata[metaJudge], b.Metadata[metaJudge])
	case a.Metadata[metaSplits] != b.Metadata[metaSplits]:
		return refuse("they ran over different splits", a.Metadata[metaSplits], b.Metadata[metaSplits])
	case a.Repetitions != b.Repetitions:
		return refuse("each example ran a different number of times", a.Repetitions, b.Repetitions)
	}
	return nil
}

func nameOr(e phoenix.Experiment) string {
	if e.Name != "" {
		return e.Name
	}
	return e.ID
}
