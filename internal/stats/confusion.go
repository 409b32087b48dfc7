package stats

import (
	"fmt"
	"math"
	"slices"
)

// Confusion counts what a judge said of what people had labelled.
type Confusion struct {
	Labels     []string
	Counts     [][]int // human × judge
	Unparsable []int   // per human label: the judge gave no label
}

// NewConfusion is an empty table for these labels.
func NewConfusion(labels []string) *Confusion {
	c := &Confusion{Labels: slices.Clone(labels), Counts: make([][]int, len(labels)), Unparsable: make([]int, len(labels))}
	for i := range c.Counts {
		c.Counts[i] = make([]int, len(labels))
	}
	return c
}

// Add counts one span. A judge's "" is an answer that could not be read. A label
// that is not in the table is an error, and nothing is counted.
func (c *Confusion) Add(human, judge string) error {
	h := slices.Index(c.Labels, human)
	if h < 0 {
		return fmt.Errorf("the human label %q is not among %s", human, quoted(c.Labels))
	}
	if judge == "" {
		c.Unparsable[h]++
		return nil
	}
	j := slices.Index(c.Labels, judge)
	if j < 0 {
		return fmt.Errorf("the judge's label %q is not among %s", judge, quoted(c.Labels))
	}
	c.Counts[h][j]++
	return nil
}

// N is the number of spans counted, unparsable answers among them.
func (c *Confusion) N() int {
	n := 0
	for h, row := range c.Counts {
		for _, k := range row {
			n += k
		}
		n += c.Unparsable[h]
	}
	return n
}

// Alignment is how far a judge says what people say. An unparsable answer is a
// miss in every measure, and no label in any.
type Alignment struct {
	Labels     []string `json:"labels"`
	Confusion  [][]int  `json:"confusion"`  // human × judge
	Unparsable []int    `json:"unparsable"` // per human label
	N          int      `json:"n"`
	Positive   string   `json:"positive"`

	Accuracy         Estimate `json:"accuracy"`
	BalancedAccuracy Estimate `json:"balanced_accuracy"` // mean recall of the labels that people gave
	TPR              Estimate `json:"tpr"`               // of spans that people called positive, those the judge did too
	TNR              Estimate `json:"tnr"`               // of the others, those it gave a label that is not positive
	CohenKappa       Estimate `json:"cohen_kappa"`
	GwetAC1          Estimate `json:"gwet_ac1"`
	MCC              Estimate `json:"mcc"`

	Classes  []Class        `json:"classes"`
	HumanMix map[string]int `json:"human_mix"`
	JudgeMix map[string]int `json:"judge_mix"` // without unparsable answers
	Warnings []string       `json:"warnings"`
}

// Class is how the judge does on one label.
type Class struct {
	Label     string   `json:"label"`
	Precision Estimate `json:"precision"` // of what the judge called so, what people did
	Recall    Estimate `json:"recall"`    // of what people called so, what the judge did
	F1        Estimate `json:"f1"`
	Support   int      `json:"support"` // how often people gave it
}

// alignmentSeed is fixed: the same table always gives the same report.
const alignmentSeed = 1

// Report measures the judge. positive is the label that true positive and true
// negative rate are about.
//
// Rates (accuracy, TPR, TNR, precision, recall) have Wilson's interval.
// F1 = 2TP/(2TP+FP+FN) has that of TP/(TP+FP+FN), carried over. Balanced
// accuracy, a mean of independent rates, has theirs squared and added (Newcombe
// 1998; Zou, Donner 2008). Cohen's κ has the standard error of Fleiss, Cohen
// and Everitt, with unparsable as a column of its own. Gwet's AC1 and MCC have
// a bootstrap over spans. MCC of more than two labels is Gorodkin's R_K; it is 0
// for a judge that always says the same, though such a judge has no correlation.
//
// Sources: B. W. Matthews 1975; J. Gorodkin, Computational Biology and Chemistry
// 28 (2004); G. Y. Zou, A. Donner, Statistics in Medicine 27 (2008).
func (c *Confusion) Report(positive string) Alignment {
	a := Alignment{
		Labels: slices.Clone(c.Labels), Confusion: make([][]int, len(c.Counts)), Unparsable: slices.Clone(c.Unparsable),
		N: c.N(), Positive: positive, Classes: []Class{}, Warnings: []string{},
		HumanMix: map[string]int{}, JudgeMix: map[string]int{},
	}
	q := len(c.Labels)
	human, judge := make([]int, q), make([]int, q)
	same, unread := 0, 0
	for i, row := range c.Counts {
		a.Confusion[i] = slices.Clone(row)
		for j, n := range row {
			human[i] += n
			judge[j] += n
		}
		human[i] += c.Unparsable[i]
		unread += c.Unparsable[i]
		same += row[i]
	}
	for i, l := range c.Labels {
		a.HumanMix[l], a.JudgeMix[l] = human[i], judge[i]
		a.Classes = append(a.Classes, c.class(i, human[i], judge[i]))
	}
	if a.N == 0 {
		none := undefined("no span has both a human label and a verdict of the judge")
		a.Accuracy, a.BalancedAccuracy, a.TPR, a.TNR, a.CohenKappa, a.GwetAC1, a.MCC = none, none, none, none, none, none, none
		return a
	}
	a.Accuracy = Wilson(same, a.N)
	a.BalancedAccuracy = a.balanced()
	a.TPR, a.TNR = c.rates(positive, human)
	a.CohenKappa = c.kappa()
	c.resampled(&a)
	a.Warnings = append(a.Warnings, a.warnings(human, judge, unread)...)
	return a
}

func (c *Confusion) class(i, human, judge int) Class {
	k := Class{Label: c.Labels[i], Support: human}
	hit := c.Counts[i][i]
	k.Precision, k.Recall = Wilson(hit, judge), Wilson(hit, human)
	if judge == 0 {
		k.Precision = undefined("the judge never says %q", k.Label)
	}
	if human == 0 {
		k.Recall = undefined("people called no span %q", k.Label)
	}
	either := human + judge - hit
	if either == 0 {
		k.F1 = undefined("neither people nor the judge ever say %q", k.Label)
		return k
	}
	k.F1 = Wilson(hit, either)
	for _, v := range []*float64{&k.F1.Value, &k.F1.Low, &k.F1.High} {
		*v = 2 * *v / (1 + *v)
	}
	return k
}

// balanced is the mean recall of the labels that people gave.
func (a *Alignment) balanced() Estimate {
	var mean, low, high, k float64
	for _, c := range a.Classes {
		if r := c.Recall; r.Defined() {
			mean += r.Value
			low += (r.Value - r.Low) * (r.Value - r.Low)
			high += (r.High - r.Value) * (r.High - r.Value)
			k++
		}
	}
	if k < 2 {
		return undefined("people gave one label only: %s", a.onlyLabel())
	}
	mean /= k
	return between(mean, mean-math.Sqrt(low)/k, mean+math.Sqrt(high)/k, a.N, 0, 1)
}

func (a *Alignment) onlyLabel() string {
	for _, c := range a.Classes {
		if c.Support > 0 {
			return fmt.Sprintf("%q", c.Label)
		}
	}
	return "none"
}

func (c *Confusion) rates(positive string, human []int) (tpr, tnr Estimate) {
	at := slices.Index(c.Labels, positive)
	if at < 0 {
		none := undefined("the positive label %q is not among %s", positive, quoted(c.Labels))
		if positive == "" {
			none = undefined("no label was named as the positive one")
		}
		return none, none
	}
	negatives, right := 0, 0
	for i, row := range c.Counts {
		if i == at {
			continue
		}
		negatives += human[i]
		for j, n := range row {
			if j != at {
				right += n
			}
		}
	}
	tpr, tnr = Wilson(c.Counts[at][at], human[at]), Wilson(right, negatives)
	if human[at] == 0 {
		tpr = undefined("people called no span %q", positive)
	}
	if negatives == 0 {
		tnr = undefined("people called every span %q", positive)
	}
	return tpr, tnr
}

// cells is the table with unparsable as one more label, which people never give.
func (c *Confusion) cells() []pairOfValues {
	var out []pairOfValues
	q := len(c.Labels)
	for i, row := range c.Counts {
		for j, n := range append(slices.Clone(row), c.Unparsable[i]) {
			if n > 0 {
				out = append(out, pairOfValues{int32(i), int32(min(j, q)), float64(n)})
			}
		}
	}
	return out
}

func (c *Confusion) kappa() Estimate {
	k := cohen(c.cells(), len(c.Labels)+1, Plain, nil).Estimate
	if !k.Defined() {
		return undefined("people and judge gave one label only, the same: chance alone would agree as much")
	}
	return k
}

// resampled fills in what has a bootstrap interval.
func (c *Confusion) resampled(a *Alignment) {
	cells, q := c.cells(), len(c.Labels)
	units := make([]int32, 0, a.N)
	weights := make([]int32, len(cells))
	for k, x := range cells {
		weights[k] = int32(x.n)
		for range weights[k] {
			units = append(units, int32(k))
		}
	}
	at := newAligner(cells, q)
	observed, chance, expected, mcc := at.measure(weights)
	var gwet, mccs []float64
	draws := max(leastResamples, min(defaultResamples, effort/a.N))
	resample([][]int32{units}, len(cells), draws, alignmentSeed, func(w []int32) {
		o, g, _, m := at.measure(w)
		if v := corrected(o, g); !math.IsNaN(v) {
			gwet = append(gwet, v)
		}
		if !math.IsNaN(m) {
			mccs = append(mccs, m)
		}
	})
	n := float64(a.N)
	a.GwetAC1 = undefined("there is one label only; agreement on it says nothing")
	if q > 1 {
		a.GwetAC1 = resampled(corrected(observed, chance), observed, chance, n, a.N, gwet)
	}
	a.MCC = undefined("people gave one label only: %s", a.onlyLabel())
	if !math.IsNaN(mcc) {
		a.MCC = resampled(mcc, observed, expected, n, a.N, mccs)
	}
}

// aligner measures tables of the same cells with other counts.
type aligner struct {
	cells        []pairOfValues
	q            int
	human, judge []float64 // with unparsable last
}

func newAligner(cells []pairOfValues, q int) *aligner {
	return &aligner{cells: cells, q: q, human: make([]float64, q+1), judge: make([]float64, q+1)}
}

// measure gives the share of agreement, chance agreement by Gwet and by Cohen,
// and MCC, which is NaN where people gave one label only.
func (t *aligner) measure(weights []int32) (observed, gwet, expected, mcc float64) {
	clear(t.human)
	clear(t.judge)
	var n, hits float64
	unparsable := make([]float64, t.q)
	for k, c := range t.cells {
		w := float64(weights[k])
		n += w
		t.human[c.a] += w
		t.judge[c.b] += w
		if c.a == c.b {
			hits += w
		}
		if int(c.b) == t.q {
			unparsable[c.a] += w
		}
	}
	observed = hits / n
	var both, hh, jj float64
	for i := range t.human {
		both += t.human[i] * t.judge[i]
		hh += t.human[i] * t.human[i]
		jj += t.judge[i] * t.judge[i]
		if i < t.q {
			// The mean share of a label in a span's two verdicts; people's alone
			// where the judge's could not be read.
			p := (t.human[i] + t.judge[i] + unparsable[i]) / 2 / n
			gwet += p * (1 - p)
		}
	}
	gwet /= float64(t.q - 1)
	expected = both / (n * n)
	switch {
	case n*n-hh < 0.5:
		mcc = math.NaN()
	case n*n-jj < 0.5:
		mcc = 0
	default:
		mcc = (hits*n - both) / (math.Sqrt(n*n-hh) * math.Sqrt(n*n-jj))
	}
	return observed, gwet, expected, mcc
}

// MCC is Matthews' correlation of a table, for two labels
// (TP·TN − FP·FN)/√((TP+FP)(TP+FN)(TN+FP)(TN+FN)), and Gorodkin's R_K for more;
// 0 where a factor is 0.
func MCC(table [][]int) float64 {
	c := &Confusion{Labels: make([]string, len(table)), Counts: table, Unparsable: make([]int, len(table))}
	cells := c.cells()
	weights := make([]int32, len(cells))
	for k, x := range cells {
		weights[k] = int32(x.n)
	}
	_, _, _, mcc := newAligner(cells, len(table)).measure(weights)
	if math.IsNaN(mcc) {
		return 0
	}
	return mcc
}

func (a *Alignment) warnings(human, judge []int, unread int) []string {
	var out []string
	for i, l := range a.Labels {
		switch share := float64(human[i]) / float64(a.N); {
		case human[i] == a.N:
			out = append(out, fmt.Sprintf("People gave one label only, %q: what the judge does with the others is not known.", l))
		case share >= Skewed:
			out = append(out, fmt.Sprintf("%s %% of the human labels are %q: accuracy is high for a judge that always says so, and κ is low even for a good one (the prevalence paradox); read balanced accuracy and AC1.", percent(share), l))
		case human[i] == 0:
			out = append(out, fmt.Sprintf("No span is %q by people: the judge was not measured on it.", l))
		}
		if judge[i] == a.N-unread && judge[i] > 0 {
			out = append(out, fmt.Sprintf("The judge always says %q: that measures nothing.", l))
		}
	}
	if a.N < FewLabels {
		out = append(out, fewLabels(a.N, "label"))
	}
	if unread > 0 {
		out = append(out, fmt.Sprintf("%d of %d answers of the judge could not be read; they count as misses.", unread, a.N))
	}
	return out
}
