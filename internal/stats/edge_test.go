package stats

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// said is a rating by label, scored one by number.
func said(unit, rater, label string) Rating { return Rating{Unit: unit, Rater: rater, Label: label} }

func scored(unit, rater string, score float64) Rating {
	return Rating{Unit: unit, Rater: rater, Score: score, HasScore: true}
}

func TestEstimate_ForPeopleAndPrograms(t *testing.T) {
	tests := []struct {
		name                string
		e                   Estimate
		text, percent, json string
	}{
		{"number", Estimate{0.74342, 0.459, 1, 40, ""}, "0.743 (0.459–1.000, n = 40)", "74 % (46–100 %, n = 40)", `{"value":0.74342,"low":0.459,"high":1,"n":40}`},
		{"below zero", Estimate{-0.0234, -0.045, 0.012, 125, ""}, "−0.023 (−0.045 to 0.012, n = 125)", "−2 % (−4 to 1 %, n = 125)", `{"value":-0.0234,"low":-0.045,"high":0.012,"n":125}`},
		{"no minus zero", Estimate{-0.00001, -0.00001, 0.1, 9, ""}, "0.000 (0.000 to 0.100, n = 9)", "0 % (0 to 10 %, n = 9)", `{"value":-0.00001,"low":-0.00001,"high":0.1,"n":9}`},
		// One of 300 failed: that is not all.
		{"almost all", Wilson(299, 300), "0.997 (0.981–0.999, n = 300)", "99.7 % (98–99.9 %, n = 300)", ""},
		{"no interval", Estimate{0.5, math.Inf(-1), math.Inf(1), 1, ""}, "0.500 (no interval, n = 1)", "50 % (no interval, n = 1)", `{"value":0.5,"low":null,"high":null,"n":1}`},
		{"no number", Estimate{Undefined: "no span was rated by two people"}, "not defined: no span was rated by two people", "not defined: no span was rated by two people", `{"undefined":"no span was rated by two people"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.e.String(); got != tt.text {
				t.Errorf("String is %q, want %q", got, tt.text)
			}
			if got := tt.e.Percent(); got != tt.percent {
				t.Errorf("Percent is %q, want %q", got, tt.percent)
			}
			b, err := json.Marshal(tt.e)
			if err != nil {
				t.Fatal(err)
			}
			if tt.json != "" && string(b) != tt.json {
				t.Errorf("JSON is %s, want %s", b, tt.json)
			}
			var back Estimate
			if err := json.Unmarshal(b, &back); err != nil || back != tt.e {
				t.Errorf("read back %+v, %v; want %+v", back, err, tt.e)
			}
		})
	}
	var e Estimate
	if err := json.Unmarshal([]byte(`{"n": 3}`), &e); err == nil {
		t.Error("an estimate without a value and a reason was read")
	}
}

// Reasons are sentences for people, and each is told apart.
func TestAgree_SaysWhyThereIsNoNumber(t *testing.T) {
	tests := []struct {
		name    string
		ratings []Rating
		o       AgreementOptions
		want    map[string]string // reason of an estimate, "" for a number
	}{
		{"nothing", nil, AgreementOptions{}, map[string]string{"alpha": noOverlap, "percent": noOverlap, "cohen": noOverlap, "fleiss": noOverlap, "ac1": noOverlap, "pabak": noOverlap}},
		{"two reviewers, no overlap", []Rating{said("1", "a", "x"), said("2", "b", "y")}, AgreementOptions{},
			map[string]string{"alpha": noOverlap, "percent": noOverlap, "cohen": noOverlap, "fleiss": noOverlap, "ac1": noOverlap, "pabak": noOverlap}},
		{"one reviewer", []Rating{said("1", "a", "x"), said("2", "a", "y")}, AgreementOptions{}, map[string]string{"alpha": noOverlap, "cohen": noOverlap}},
		{"one label, another was possible", []Rating{said("1", "a", "x"), said("1", "b", "x"), said("2", "a", "x"), said("2", "b", "x")}, AgreementOptions{Labels: []string{"x", "y"}},
			map[string]string{
				"alpha": "there is no variation: all ratings of spans that two people rated are the same", "percent": "", "ac1": "", "pabak": "",
				"cohen": "both raters used one label only, the same: chance alone would agree as much", "fleiss": "all ratings are the same: chance alone would agree as much"}},
		{"one label, and no other is known", []Rating{said("1", "a", "x"), said("1", "b", "x")}, AgreementOptions{},
			map[string]string{"ac1": "only one label was ever given; say which labels were possible", "pabak": "only one label was ever given; say which labels were possible"}},
		{"ragged", []Rating{said("1", "a", "x"), said("1", "b", "x"), said("2", "a", "x"), said("2", "b", "y"), said("2", "c", "y")}, AgreementOptions{},
			map[string]string{"alpha": "", "cohen": "three raters; Cohen's κ compares two: see pairs", "fleiss": "the spans have different numbers of ratings; Fleiss' κ wants the same on each: see Krippendorff's α"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all := everyEstimate(agree(t, tt.ratings, tt.o))
			for name, want := range tt.want {
				if got := all[name].Undefined; got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestAgree_EdgesOfEvalloop(t *testing.T) {
	one := agree(t, []Rating{said("1", "a", "x"), said("1", "b", "y")}, AgreementOptions{})
	if one.KrippendorffAlpha.Value != 0 || !one.KrippendorffAlpha.Defined() {
		t.Errorf("α of a single span rated x, y is %s, want 0", one.KrippendorffAlpha)
	}
	equal := agree(t, []Rating{said("1", "a", "x"), said("1", "b", "x")}, AgreementOptions{Labels: []string{"x", "y"}})
	if equal.GwetAC1.Value != 1 {
		t.Errorf("AC1 of equal labels is %s, want 1", equal.GwetAC1)
	}
}

// Ten spans without a disagreement are no proof that there never is one.
func TestAgree_NobodyDisagreedIsNotCertainty(t *testing.T) {
	var ratings []Rating
	for u := range 10 {
		for _, r := range []string{"a", "b"} {
			ratings = append(ratings, said(fmt.Sprint(u), r, []string{"x", "y"}[u%2]))
		}
	}
	least := Wilson(10, 10).Low
	for name, e := range everyEstimate(agree(t, ratings, AgreementOptions{})) {
		if !e.Defined() || name == "linear" || name == "quadratic" {
			continue
		}
		if e.Value != 1 || e.High != 1 || !(e.Low < least+1e-9) || !(e.Low > 0) {
			t.Errorf("%s is %s; the lower end is at most %.3f, Wilson's for 10 of 10", name, e, least)
		}
	}
}

func TestAgree_RefusesWithUnitAndRater(t *testing.T) {
	tests := []struct {
		name   string
		rating Rating
		o      AgreementOptions
		want   string
	}{
		{"NaN", scored("7", "ann", math.NaN()), AgreementOptions{}, `unit "7", rater "ann": the score NaN is not a finite number`},
		{"infinite", scored("7", "ann", math.Inf(1)), AgreementOptions{Level: Interval}, `unit "7", rater "ann": the score +Inf is not a finite number`},
		{"unknown label", said("7", "ann", "z"), AgreementOptions{Labels: []string{"x", "y"}}, `unit "7", rater "ann": the label "z" is not among "x" and "y"`},
		{"no unit", said("", "ann", "x"), AgreementOptions{}, `a rating of rater "ann" names no unit`},
		{"no rater", said("7", "", "x"), AgreementOptions{}, `a rating of unit "7" names no rater`},
		{"no order", said("7", "ann", "good"), AgreementOptions{Level: Ordinal}, `unit "7", rater "ann": the label "good" has no place in an order; give the labels in their order, or scores`},
		{"no score", said("7", "ann", "good"), AgreementOptions{Level: Interval}, `unit "7", rater "ann": the interval level wants scores, and "good" is none`},
		{"below zero", scored("7", "ann", -1), AgreementOptions{Level: Ratio}, `unit "7", rater "ann": the ratio level wants scores of 0 or more, found -1`},
		{"label twice", said("7", "ann", "x"), AgreementOptions{Labels: []string{"x", "x"}}, `the label "x" is configured twice`},
		{"empty label", said("7", "ann", "x"), AgreementOptions{Labels: []string{"x", ""}}, `label 2 of those configured is empty`},
		{"no such level", said("7", "ann", "x"), AgreementOptions{Level: 9}, `there is no level 9; it is one of nominal, ordinal, interval, ratio`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Agree([]Rating{tt.rating}, tt.o)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error is %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAgree_LeavesOutAndTakesTheLast(t *testing.T) {
	a := agree(t, []Rating{said("1", "a", "x"), said("1", "b", "y"), said("1", "b", "x"), {Unit: "2", Rater: "a"}, said("2", "a", "y"), said("2", "b", "y")}, AgreementOptions{})
	if a.Ratings != 4 || a.PercentAgreement.Value != 1 {
		t.Errorf("%d ratings agree at %s; want 4 that all agree", a.Ratings, a.PercentAgreement)
	}
	for _, want := range []string{"Left out, because there is no value in it: one rating.", "Given again by the same rater, so that only the last one counts: one rating."} {
		if !slices.Contains(a.Warnings, want) {
			t.Errorf("no warning %q in %q", want, a.Warnings)
		}
	}
}

func TestAgree_Warns(t *testing.T) {
	var skewed []Rating
	for u := range 50 {
		label := "correct"
		if u%10 == 0 {
			label = "incorrect"
		}
		skewed = append(skewed, said(fmt.Sprint(u), "a", label), said(fmt.Sprint(u), "b", "correct"))
	}
	skewed = append(skewed, said("alone", "a", "correct"))
	a := agree(t, skewed, AgreementOptions{})
	text := strings.Join(a.Warnings, "\n")
	for _, want := range []string{`95 % of the votes say "correct"`, "prevalence paradox", "1 of 51 spans were rated by one person only"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "little to go by") {
		t.Errorf("101 labels are called few:\n%s", text)
	}
	few := agree(t, skewed[:10], AgreementOptions{})
	if text := strings.Join(few.Warnings, "\n"); !strings.Contains(text, "There is little to go by (ten labels, 60 are wanted)") {
		t.Errorf("ten labels are not called few:\n%s", text)
	}
	// The paradox itself: they agree on 90 %, and κ is 0.
	if a.CohenKappa.Value > 1e-9 || a.PercentAgreement.Value != 0.9 || a.GwetAC1.Value < 0.85 {
		t.Errorf("κ %s, agreement %s, AC1 %s", a.CohenKappa, a.PercentAgreement, a.GwetAC1)
	}
}

func TestAgree_ScoresOfAnySizeKeepTheirDigits(t *testing.T) {
	// By hand: Do = 2(1+0+1+0+4)/10 = 1.2, De = 2(10·106 − 30²)/90 = 32/9.
	for _, base := range []float64{0, 1e12, -4e15} {
		var ratings []Rating
		for u, pair := range [][2]float64{{1, 2}, {3, 3}, {4, 5}, {2, 2}, {5, 3}} {
			ratings = append(ratings, scored(fmt.Sprint(u), "a", base+pair[0]), scored(fmt.Sprint(u), "b", base+pair[1]))
		}
		near(t, fmt.Sprint("α at ", base), agree(t, ratings, AgreementOptions{Level: Interval}).KrippendorffAlpha.Value, 0.6625, 1e-9)
	}
	huge := []Rating{scored("1", "a", math.MaxFloat64), scored("1", "b", math.MaxFloat64), scored("2", "a", -math.MaxFloat64), scored("2", "b", -math.MaxFloat64)}
	near(t, "α of the largest numbers", agree(t, huge, AgreementOptions{Level: Interval}).KrippendorffAlpha.Value, 1, 1e-12)
}

// The formula's interval for many scores is close to what resampling gives.
func TestAgree_RatioByFormulaIsNearTheBootstrap(t *testing.T) {
	var ratings []Rating
	r := dice(3)
	for u := range 240 {
		at := 10 + 90*r.Float64()
		for k := range 3 {
			// Few enough values to resample; the other way is taken below.
			ratings = append(ratings, scored(fmt.Sprint(u), fmt.Sprint(k), math.Round(2*math.Max(0, at+8*r.NormFloat64()))/2+5))
		}
	}
	kept, _, err := usable(ratings, AgreementOptions{Level: Ratio})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newScale(kept, AgreementOptions{Level: Ratio})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.scores) > ratioTable {
		t.Fatalf("%d values are too many for this test", len(s.scores))
	}
	v, _ := newVotes(kept, s)
	p := newPatterns(v, s)
	weights := make([]int32, len(p.size))
	for _, k := range p.shared {
		weights[k]++
	}
	var sums totals
	p.evaluate(weights, &sums, new([2][]float64))
	se := p.jackknife(weights, &sums)
	e := agree(t, ratings, AgreementOptions{Level: Ratio}).KrippendorffAlpha
	if boot := (e.High - e.Low) / (2 * z); math.Abs(se-boot) > 0.15*boot {
		t.Errorf("SE by formula %.5f, by resampling %.5f", se, boot)
	}
}

func TestAgree_TheSameSeedGivesTheSameInterval(t *testing.T) {
	ratings := fromTable(t, krippendorff2011)
	a, b := agree(t, ratings, AgreementOptions{Seed: 4}), agree(t, ratings, AgreementOptions{Seed: 4})
	c := agree(t, ratings, AgreementOptions{Seed: 5})
	if a.KrippendorffAlpha != b.KrippendorffAlpha || a.KrippendorffAlpha == c.KrippendorffAlpha {
		t.Errorf("seed 4 gives %+v and %+v, seed 5 %+v", a.KrippendorffAlpha, b.KrippendorffAlpha, c.KrippendorffAlpha)
	}
}

func TestLevel_ReadsWhatItWrites(t *testing.T) {
	for l := Nominal; l <= Ratio; l++ {
		if got, err := ParseLevel(strings.ToUpper(l.String())); err != nil || got != l {
			t.Errorf("%s is read as %v, %v", l, got, err)
		}
	}
	if _, err := ParseLevel("fuzzy"); err == nil || err.Error() != `the level "fuzzy" is not known; it is one of nominal, ordinal, interval, ratio` {
		t.Errorf("error is %v", err)
	}
}

func confusion(t *testing.T, counts [][]int, unparsable ...int) *Confusion {
	t.Helper()
	labels := []string{"correct", "incorrect", "partly"}[:len(counts)]
	c := NewConfusion(labels)
	for h, row := range counts {
		for j, n := range row {
			for range n {
				if err := c.Add(labels[h], labels[j]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(unparsable) > 0 {
			for range unparsable[h] {
				if err := c.Add(labels[h], ""); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return c
}

func TestConfusion_RefusesUnknownLabels(t *testing.T) {
	c := NewConfusion([]string{"correct", "incorrect"})
	for _, tt := range []struct{ human, judge, want string }{
		{"maybe", "correct", `the human label "maybe" is not among "correct" and "incorrect"`},
		{"correct", "maybe", `the judge's label "maybe" is not among "correct" and "incorrect"`},
		{"", "correct", `the human label "" is not among "correct" and "incorrect"`},
	} {
		if err := c.Add(tt.human, tt.judge); err == nil || err.Error() != tt.want {
			t.Errorf("Add(%q, %q) is %v, want %q", tt.human, tt.judge, err, tt.want)
		}
	}
	if c.N() != 0 {
		t.Errorf("%d were counted", c.N())
	}
}

func TestReport_JudgeThatAlwaysSaysTheSame(t *testing.T) {
	a := confusion(t, [][]int{{12, 0}, {8, 0}}).Report("correct")
	if a.MCC.Value != 0 || !a.MCC.Defined() || a.CohenKappa.Value != 0 || a.TPR.Value != 1 || a.TNR.Value != 0 || a.BalancedAccuracy.Value != 0.5 {
		t.Errorf("MCC %s, κ %s, TPR %s, TNR %s, balanced %s", a.MCC, a.CohenKappa, a.TPR, a.TNR, a.BalancedAccuracy)
	}
	if want := `the judge never says "incorrect"`; a.Classes[1].Precision.Undefined != want {
		t.Errorf("precision: %q, want %q", a.Classes[1].Precision.Undefined, want)
	}
	if !slices.Contains(a.Warnings, `The judge always says "correct": that measures nothing.`) {
		t.Errorf("warnings are %q", a.Warnings)
	}
	if e := RoganGladen(15, 20, a.TPR, a.TNR); e.Undefined != "the judge is no better than chance (true positive rate 100 % + true negative rate 0 % is not above 100 %), so its counts say nothing" {
		t.Errorf("corrected rate: %s", e)
	}
}

func TestReport_PeopleGaveOneLabel(t *testing.T) {
	a := confusion(t, [][]int{{15, 5}, {0, 0}}).Report("correct")
	for name, got := range map[string]Estimate{"balanced": a.BalancedAccuracy, "MCC": a.MCC} {
		if got.Undefined != `people gave one label only: "correct"` {
			t.Errorf("%s: %s", name, got)
		}
	}
	if a.TNR.Undefined != `people called every span "correct"` || a.Classes[1].Recall.Undefined != `people called no span "incorrect"` {
		t.Errorf("TNR %s, recall %s", a.TNR, a.Classes[1].Recall)
	}
	all := confusion(t, [][]int{{20, 0}, {0, 0}}).Report("correct")
	if all.CohenKappa.Undefined != "people and judge gave one label only, the same: chance alone would agree as much" {
		t.Errorf("κ: %s", all.CohenKappa)
	}
}

// An answer that cannot be read is a miss everywhere and a label nowhere.
func TestReport_Unparsable(t *testing.T) {
	a := confusion(t, [][]int{{8, 0}, {0, 8}}, 2, 2).Report("correct")
	for name, e := range map[string]Estimate{"accuracy": a.Accuracy, "TPR": a.TPR, "TNR": a.TNR, "balanced": a.BalancedAccuracy} {
		if math.Abs(e.Value-0.8) > 1e-12 {
			t.Errorf("%s is %s, want 0.8", name, e)
		}
	}
	if a.Classes[0].Precision.Value != 1 || a.Classes[0].Precision.N != 8 || a.N != 20 || a.JudgeMix["correct"] != 8 || len(a.JudgeMix) != 2 {
		t.Errorf("precision %s, n %d, the judge said %v", a.Classes[0].Precision, a.N, a.JudgeMix)
	}
	if !(a.CohenKappa.Value < 1) || !(a.GwetAC1.Value < 1) || !(a.MCC.Value < 1) {
		t.Errorf("κ %s, AC1 %s, MCC %s; four answers were missed", a.CohenKappa, a.GwetAC1, a.MCC)
	}
	if !slices.Contains(a.Warnings, "4 of 20 answers of the judge could not be read; they count as misses.") {
		t.Errorf("warnings are %q", a.Warnings)
	}
}

func TestReport_Nothing(t *testing.T) {
	a := NewConfusion([]string{"correct", "incorrect"}).Report("correct")
	if a.Accuracy.Undefined != "no span has both a human label and a verdict of the judge" || a.N != 0 {
		t.Errorf("accuracy: %s", a.Accuracy)
	}
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"labels", "confusion", "unparsable", "n", "accuracy", "balanced_accuracy", "tpr", "tnr", "cohen_kappa", "gwet_ac1", "mcc", "classes", "human_mix", "judge_mix", "warnings"} {
		if !strings.Contains(string(b), `"`+key+`":`) {
			t.Errorf("%s has no %s", b, key)
		}
	}
}

func TestReport_UnnamedPositive(t *testing.T) {
	c := confusion(t, [][]int{{5, 1}, {1, 5}})
	if got := c.Report("").TPR.Undefined; got != "no label was named as the positive one" {
		t.Errorf("TPR: %q", got)
	}
	if got := c.Report("good").TNR.Undefined; got != `the positive label "good" is not among "correct" and "incorrect"` {
		t.Errorf("TNR: %q", got)
	}
}

func TestPaired_Warnings(t *testing.T) {
	text := strings.Join(Paired{Both: 10, Fixed: 5, Neither: 5}.Warnings(), "\n")
	if !strings.Contains(text, "five examples changed between before and after: fewer than 6 cannot reach p < 0.05") || !strings.Contains(text, "20 examples, 60 are wanted") {
		t.Errorf("warnings are\n%s", text)
	}
	if w := (Paired{Both: 60, Fixed: 6, Broken: 1, Neither: 20}).Warnings(); len(w) != 0 {
		t.Errorf("warnings are %q", w)
	}
}

func TestRates_SayWhyThereIsNone(t *testing.T) {
	tpr := Wilson(9, 10)
	for _, tt := range []struct {
		e    Estimate
		want string
	}{
		{Wilson(0, 0), "there is nothing to count"},
		{Wilson(3, 2), "3 of 2 is not a rate"},
		{Newcombe(Paired{}), "no example was in both"},
		{WeightedRate(nil, nil), "there is nothing to count"},
		{WeightedRate([]bool{true, false}, []float64{0.5, 0}), "the selection probability of label 2 is 0; it must be above 0 and at most 1"},
		{WeightedRate([]bool{true}, []float64{1.5}), "the selection probability of label 1 is 1.5; it must be above 0 and at most 1"},
		{WeightedRate([]bool{true}, []float64{math.NaN()}), "the selection probability of label 1 is NaN; it must be above 0 and at most 1"},
		{WeightedRate([]bool{true}, nil), "there are one label and 0 selection probabilities"},
		{RoganGladen(0, 0, tpr, tpr), "the judge has judged nothing"},
		{RoganGladen(1, 2, Estimate{Undefined: "people called no span \"a\""}, tpr), `the judge's true positive rate is not defined: people called no span "a"`},
		{ClusterBootstrap(nil, 0, 1), "there are no values"},
		{ClusterBootstrap([][]float64{{1}, {math.NaN()}}, 0, 1), "a value of example 2 is not a number"},
		{PairedBootstrap([]float64{1}, nil, 0, 1), "before has one value and after 0; they must be of the same examples"},
	} {
		if tt.e.Undefined != tt.want {
			t.Errorf("reason is %q, want %q", tt.e.Undefined, tt.want)
		}
	}
}

// Ten runs of each of ten examples are ten examples: the interval is that of
// ten, not of a hundred.
func TestClusterBootstrap_RepetitionsAreNoExamples(t *testing.T) {
	var clusters [][]float64
	var flat [][]float64
	for i := range 10 {
		var c []float64
		for range 10 {
			c = append(c, float64(i%2))
			flat = append(flat, []float64{float64(i % 2)})
		}
		clusters = append(clusters, c)
	}
	whole, apart := ClusterBootstrap(clusters, 0, 1), ClusterBootstrap(flat, 0, 1)
	if whole.N != 10 || whole.Value != 0.5 || !(whole.High-whole.Low > 2.5*(apart.High-apart.Low)) {
		t.Errorf("whole examples %s, runs for themselves %s", whole, apart)
	}
	if one := ClusterBootstrap([][]float64{{1, 0, 1}, nil}, 0, 1); one.HasInterval() || one.N != 1 {
		t.Errorf("one example has %s", one)
	}
	if all := ClusterBootstrap([][]float64{{1, 1}, {1}, {1}}, 0, 1); all != Wilson(3, 3) {
		t.Errorf("three that all passed: %s, want Wilson's %s", all, Wilson(3, 3))
	}
}

func TestPairedBootstrap_CountsTheDifference(t *testing.T) {
	before, after := []float64{1, 2, 3, 4, 5, 6}, []float64{2, 3, 3, 6, 5, 7}
	e := PairedBootstrap(before, after, 0, 1)
	if math.Abs(e.Value-5.0/6) > 1e-12 || !(e.Low > 0.1 && e.Low < 0.6 && e.High > 1 && e.High < 1.6) {
		t.Errorf("difference is %s", e)
	}
	if e := PairedBootstrap(before, before, 0, 1); e.Value != 0 || e.Low != 0 || e.High != 0 {
		t.Errorf("no difference is %s", e)
	}
}

// The uncertain stream holds most failures, the control stream is one of fifty:
// unweighted the rate is wrong, weighted it is not.
func TestWeightedRate_TakesOutTheSampling(t *testing.T) {
	r := dice(1)
	var hit []bool
	var chance []float64
	plain := 0
	for range 20_000 {
		uncertain := r.Float64() < 0.1
		fails, p := r.Float64() < 0.03, 0.02
		if uncertain {
			fails, p = r.Float64() < 0.5, 0.5
		}
		if r.Float64() < p {
			hit, chance = append(hit, fails), append(chance, p)
			if fails {
				plain++
			}
		}
	}
	const truth = 0.1*0.5 + 0.9*0.03
	e := WeightedRate(hit, chance)
	if !(e.Low < truth && truth < e.High) || e.High-e.Low > 0.06 {
		t.Errorf("weighted %s does not hold %.3f", e, truth)
	}
	if e := Wilson(plain, len(hit)); e.Low < truth {
		t.Errorf("unweighted %s; the example proves nothing", e)
	}
}

// Intervals of 95 % hold the truth in about 95 of 100 studies.
func TestIntervals_HoldTheTruthAsOftenAsTheySay(t *testing.T) {
	r := dice(7)
	const studies = 1000
	var corrected, paired, weighted, mix int
	draw := func(n int, p float64) (k int) {
		for range n {
			if r.Float64() < p {
				k++
			}
		}
		return k
	}
	for range studies {
		// A rate of 30 % seen by a judge with TPR 0.9 on 60 and TNR 0.85 on 60 labels.
		seen := draw(200, 0.3*0.9+0.7*0.15)
		if e := RoganGladen(seen, 200, Wilson(draw(60, 0.9), 60), Wilson(draw(60, 0.85), 60)); e.Low <= 0.3 && 0.3 <= e.High {
			corrected++
		}
		var p Paired
		for range 60 {
			switch x := r.Float64(); {
			case x < 0.5:
				p.Both++
			case x < 0.75:
				p.Fixed++
			case x < 0.83:
				p.Broken++
			default:
				p.Neither++
			}
		}
		if e := Newcombe(p); e.Low <= 0.17 && 0.17 <= e.High {
			paired++
		}
		var hit []bool
		var chance []float64
		for range 150 {
			p, fails := 0.2, r.Float64() < 0.1
			if r.Float64() < 0.3 {
				p, fails = 0.8, r.Float64() < 0.4
			}
			if r.Float64() < p {
				hit, chance = append(hit, fails), append(chance, p)
			}
		}
		if len(hit) == 0 {
			continue
		}
		mix++
		if e := WeightedRate(hit, chance); e.Low <= 0.19 && 0.19 <= e.High {
			weighted++
		}
	}
	for name, share := range map[string]float64{"corrected": float64(corrected) / studies, "paired": float64(paired) / studies, "weighted": float64(weighted) / float64(mix)} {
		t.Logf("%s: %.3f", name, share)
		if share < 0.925 {
			t.Errorf("the %s interval holds the truth in %.3f of studies", name, share)
		}
	}
}

func votesOf(units, raters, values int) []Rating {
	r := dice(1)
	out := make([]Rating, 0, units*raters)
	for u := range units {
		base := r.IntN(values)
		for k := range raters {
			v := base
			if r.IntN(4) == 0 {
				v = r.IntN(values)
			}
			out = append(out, scored(fmt.Sprint("span-", u), fmt.Sprint("reviewer-", k), float64(v+1)))
		}
	}
	return out
}

// BenchmarkAgree_PointEstimates is 100,000 spans with five ratings each, with as
// few resamples as there can be.
func BenchmarkAgree_PointEstimates(b *testing.B) {
	for _, values := range []int{5, 100_000} {
		ratings := votesOf(100_000, 5, values)
		for l := Nominal; l <= Ratio; l++ {
			if l == Ratio && values > ratioMost {
				continue // refused
			}
			b.Run(fmt.Sprintf("%s/values=%d", l, values), func(b *testing.B) {
				for b.Loop() {
					if _, err := Agree(ratings, AgreementOptions{Level: l, Resamples: 1}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkAgree_Intervals is 10,000 spans with five ratings each, resampled 2,000
// times.
func BenchmarkAgree_Intervals(b *testing.B) {
	for _, values := range []int{5, 10_000} {
		ratings := votesOf(10_000, 5, values)
		for l := Nominal; l <= Ratio; l++ {
			b.Run(fmt.Sprintf("%s/values=%d", l, values), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Agree(ratings, AgreementOptions{Level: l}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func TestEffectiveSize_IsKishs(t *testing.T) {
	if got := EffectiveSize([]float64{1, 1, .5}); math.Abs(got-16./6) > 1e-12 { // weights 1, 1, 2
		t.Errorf("%v, want 2.667", got)
	}
	for _, p := range [][]float64{nil, {.5, 0}, {1.5}, {math.NaN()}} {
		if got := EffectiveSize(p); got != 0 {
			t.Errorf("%v: %v, want 0", p, got)
		}
	}
}
