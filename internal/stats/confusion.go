package stats

import (
	"fmt"
	"math"
	"slices"
)

// Confusion counts what people said against what a judge said.
type Confusion struct {
	Labels     []string
	Counts     [][]int // human × judge
	Unparsable []int   // per human label: the judge's answer was no label
}

// NewConfusion makes an empty one over these labels.
func NewConfusion(labels []string) *Confusion {
	c := &Confusion{Labels: slices.Clone(labels), Unparsable: make([]int, len(labels))}
	for range labels {
		c.Counts = append(c.Counts, make([]int, len(labels)))
	}
	return c
}

// Add counts one. An empty judge is an answer that was no label. The error says
// which label is none of the labels.
func (c *Confusion) Add(human, judge string) error {
	h := slices.Index(c.Labels, human)
	if h < 0 {
		return fmt.Errorf("people's label %q is none of the labels", human)
	}
	if judge == "" {
		c.Unparsable[h]++
		return nil
	}
	j := slices.Index(c.Labels, judge)
	if j < 0 {
		return fmt.Errorf("the judge's label %q is none of the labels", judge)
	}
	c.Counts[h][j]++
	return nil
}

// Class is how a judge did with one label.
type Class struct {
	Label     string   `json:"label"`
	Precision Estimate `json:"precision"`
	Recall    Estimate `json:"recall"`
	F1        Estimate `json:"f1"`
	Support   int      `json:"support"` // people's labels
}

// Alignment is a judge against people.
type Alignment struct {
	Labels           []string       `json:"labels"`
	Confusion        [][]int        `json:"confusion"`
	Unparsable       []int          `json:"unparsable"`
	N                int            `json:"n"`
	Positive         string         `json:"positive"`
	Accuracy         Estimate       `json:"accuracy"`
	BalancedAccuracy Estimate       `json:"balanced_accuracy"`
	TPR              Estimate       `json:"tpr"`
	TNR              Estimate       `json:"tnr"`
	CohenKappa       Estimate       `json:"cohen_kappa"`
	GwetAC1          Estimate       `json:"gwet_ac1"`
	MCC              Estimate       `json:"mcc"`
	Classes          []Class        `json:"classes"`
	HumanMix         map[string]int `json:"human_mix"`
	JudgeMix         map[string]int `json:"judge_mix"`
	Warnings         []string       `json:"warnings"`
}

// Report measures. An answer that was no label agrees with nobody: it counts
// against accuracy, recall, TPR and TNR, and is left out of κ, AC1, MCC and
// precision, which compare labels with labels. positive names the label whose
// recall is TPR; TNR is the recall of all others together.
//
// Proportions have Wilson's interval; balanced accuracy, F1 and MCC that of a
// bootstrap over the items; κ as in Agree.
func (c *Confusion) Report(positive string) Alignment {
	k := len(c.Labels)
	a := Alignment{Labels: c.Labels, Confusion: c.Counts, Unparsable: c.Unparsable, Positive: positive, HumanMix: map[string]int{}, JudgeMix: map[string]int{}, Warnings: []string{}}
	agree, parsed := 0, 0
	rows, cols := make([]int, k), make([]int, k)
	for h := range k {
		rows[h] += c.Unparsable[h]
		a.N += c.Unparsable[h]
		for j := range k {
			rows[h] += c.Counts[h][j]
			cols[j] += c.Counts[h][j]
			parsed += c.Counts[h][j]
		}
		agree += c.Counts[h][h]
	}
	a.N += parsed
	p := slices.Index(c.Labels, positive)
	tn, negatives := 0, 0
	for h := range k {
		a.HumanMix[c.Labels[h]], a.JudgeMix[c.Labels[h]] = rows[h], cols[h]
		if h == p {
			continue
		}
		negatives += rows[h]
		for j := range k {
			if j != p {
				tn += c.Counts[h][j]
			}
		}
	}
	a.Accuracy = Wilson(agree, a.N)
	if p < 0 {
		a.TPR, a.TNR = undefined(a.N, "the positive label %q is none of the labels", positive), undefined(a.N, "the positive label %q is none of the labels", positive)
	} else {
		if a.TPR = Wilson(c.Counts[p][p], rows[p]); rows[p] == 0 {
			a.TPR = undefined(0, "people gave the label %q to nothing", positive)
		}
		if a.TNR = Wilson(tn, negatives); negatives == 0 {
			a.TNR = undefined(0, "people gave no other label than %q", positive)
		}
	}
	for h, l := range c.Labels {
		cl := Class{Label: l, Support: rows[h], Precision: Wilson(c.Counts[h][h], cols[h]), Recall: Wilson(c.Counts[h][h], rows[h])}
		if cols[h] == 0 {
			cl.Precision = undefined(0, "the judge never said %q", l)
		}
		if rows[h] == 0 {
			cl.Recall = undefined(0, "people never said %q", l)
		}
		a.Classes = append(a.Classes, cl)
	}
	c.resampled(&a)
	t := fromConfusion(c)
	a.CohenKappa = t.cohen(0, 1)
	a.GwetAC1 = t.ac1(AgreementOptions{}.resamples(), 1)
	a.warn(rows, parsed)
	return a
}

// warn says in words what the figures do not show.
func (a *Alignment) warn(rows []int, parsed int) {
	most, label := 0, ""
	smallest := a.N
	for h, n := range rows {
		if n > most {
			most, label = n, a.Labels[h]
		}
		smallest = min(smallest, n)
	}
	say := func(format string, args ...any) { a.Warnings = append(a.Warnings, fmt.Sprintf(format, args...)) }
	if a.N > 0 && most*5 >= a.N*4 {
		say("people gave the label %q to %d of %d: κ is low then however well two agree (the prevalence paradox); look at AC1 and at both recalls", label, most, a.N)
	}
	if a.N < 60 {
		say("only %d labels: the intervals are wide, and a judge that looks good may not be", a.N)
	}
	if smallest < 10 && a.N >= 60 {
		say("the rarest label has %d examples: what is said of it rests on these alone", smallest)
	}
	for _, n := range a.JudgeMix {
		if n == parsed && parsed > 0 {
			say("the judge always says the same: it measures nothing")
		}
	}
	if u := a.N - parsed; u > 0 {
		say("%d of %d answers of the judge were no label; they count as wrong", u, a.N)
	}
}

// MCC is Matthews' correlation of a table, for two labels
// (TP·TN − FP·FN)/√((TP+FP)(TP+FN)(TN+FP)(TN+FN)), and Gorodkin's extension for
// more; 0 where a factor is 0.
func MCC(table [][]int) float64 {
	var n, trace, rc, r2, c2 float64
	k := len(table)
	rows, cols := make([]float64, k), make([]float64, k)
	for i := range k {
		for j := range k {
			v := float64(table[i][j])
			n += v
			rows[i] += v
			cols[j] += v
		}
		trace += float64(table[i][i])
	}
	for i := range k {
		rc += rows[i] * cols[i]
		r2 += rows[i] * rows[i]
		c2 += cols[i] * cols[i]
	}
	d := math.Sqrt((n*n - r2) * (n*n - c2))
	if d == 0 {
		return 0
	}
	return (trace*n - rc) / d
}

// resampled fills what has no closed interval: by resampling items, cell by cell.
func (c *Confusion) resampled(a *Alignment) {
	k := len(c.Labels)
	balanced := func(t [][]int, un []int) (float64, bool) {
		sum, with := 0.0, 0
		for h := range k {
			row := un[h]
			for j := range k {
				row += t[h][j]
			}
			if row > 0 {
				sum += float64(t[h][h]) / float64(row)
				with++
			}
		}
		return sum / float64(max(1, with)), with > 0
	}
	f1 := func(t [][]int, un []int, l int) (float64, bool) {
		tp, fp, fn := float64(t[l][l]), 0.0, float64(un[l])
		for j := range k {
			if j != l {
				fp += float64(t[j][l])
				fn += float64(t[l][j])
			}
		}
		if 2*tp+fp+fn == 0 {
			return 0, false
		}
		return 2 * tp / (2*tp + fp + fn), true
	}
	if a.N == 0 {
		why := undefined(0, "nothing was compared")
		a.BalancedAccuracy, a.MCC = why, why
		for i := range a.Classes {
			a.Classes[i].F1 = why
		}
		return
	}
	// Items by their cell: k columns of labels and one for what was no label.
	type cell struct{ h, j int }
	var items []cell
	for h := range k {
		for j := range k {
			for range c.Counts[h][j] {
				items = append(items, cell{h, j})
			}
		}
		for range c.Unparsable[h] {
			items = append(items, cell{h, k})
		}
	}
	r := random(1)
	times := defaultResamples
	if len(items) > 20_000 {
		times = 200 // the interval is narrow then, and its ends well known
	}
	var bs, ms []float64
	fs := make([][]float64, k)
	t := make([][]int, k)
	for range times {
		un := make([]int, k)
		for h := range t {
			t[h] = make([]int, k)
		}
		for range items {
			x := items[r.IntN(len(items))]
			if x.j == k {
				un[x.h]++
			} else {
				t[x.h][x.j]++
			}
		}
		if v, ok := balanced(t, un); ok {
			bs = append(bs, v)
		}
		ms = append(ms, MCC(t))
		for l := range k {
			if v, ok := f1(t, un, l); ok {
				fs[l] = append(fs[l], v)
			}
		}
	}
	with := func(v float64, xs []float64) Estimate {
		e := Estimate{Value: v, N: a.N}
		e.Low, e.High = percentiles(xs)
		return e
	}
	v, _ := balanced(c.Counts, c.Unparsable)
	a.BalancedAccuracy = with(v, bs)
	one := 0
	for _, n := range a.HumanMix {
		if n > 0 {
			one++
		}
	}
	if one < 2 {
		a.BalancedAccuracy = undefined(a.N, "people gave one label only")
		a.MCC = undefined(a.N, "people gave one label only")
	} else {
		a.MCC = with(MCC(c.Counts), ms)
	}
	for l := range k {
		if v, ok := f1(c.Counts, c.Unparsable, l); ok && len(fs[l]) > 0 {
			a.Classes[l].F1 = with(v, fs[l])
		} else {
			a.Classes[l].F1 = undefined(0, "nobody said %q", c.Labels[l])
		}
	}
}
