package stats

import (
	"fmt"
	"math"
)

// Wilson is the rate k of n with Wilson's score interval:
//
//	(p + z²/2n ± z√(p(1−p)/n + z²/4n²)) / (1 + z²/n)
//
// It keeps its promise for small n and for rates near 0 and 1, where the
// interval ±z√(p(1−p)/n) does not.
//
// Source: E. B. Wilson, Probable inference, the law of succession, and
// statistical inference, JASA 22 (1927).
func Wilson(k, n int) Estimate {
	switch {
	case n == 0:
		return undefined("there is nothing to count")
	case k < 0 || n < 0 || k > n:
		return undefined("%d of %d is not a rate", k, n)
	}
	low, high := wilson(float64(k)/float64(n), float64(n))
	return between(float64(k)/float64(n), low, high, n, 0, 1)
}

// wilson is Wilson's interval for a share p of n, which need not be whole.
func wilson(p, n float64) (low, high float64) {
	middle := (p + z*z/(2*n)) / (1 + z*z/n)
	h := halfWidth(p, n)
	low, high = math.Max(0, middle-h), math.Min(1, middle+h)
	if p == 0 {
		low = 0 // exactly, not but for rounding
	}
	if p == 1 {
		high = 1
	}
	return low, high
}

func halfWidth(p, n float64) float64 {
	if n <= 0 {
		return 0.5 // the limit: anything from 0 to 1
	}
	return z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n)) / (1 + z*z/n)
}

// HalfWidth is half the width of Wilson's interval for k of n: the m in
// "± m". Of nothing it is 0.5, for the rate may then be anything.
func HalfWidth(k, n int) float64 {
	if n <= 0 {
		return 0.5
	}
	return halfWidth(clip(float64(k)/float64(n), 0, 1), float64(n))
}

// SampleSize is the smallest n at which Wilson's interval of that rate is no
// wider than ± half. A half-width of 0 or less cannot be reached: the answer is
// then math.MaxInt. The rate 0.5, which is taken for one that is not a number,
// needs most.
func SampleSize(rate, half float64) int {
	if math.IsNaN(rate) {
		rate = 0.5
	}
	rate = clip(rate, 0, 1)
	if half >= 0.5 {
		return 0
	}
	// The half-width falls with n for every rate, so halving finds the smallest.
	high := 1
	for !(halfWidth(rate, float64(high)) <= half) {
		if high > math.MaxInt/2 || !(half > 0) {
			return math.MaxInt
		}
		high *= 2
	}
	low := high / 2
	for high-low > 1 {
		if middle := low + (high-low)/2; halfWidth(rate, float64(middle)) <= half {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}

// Paired counts what became of the same examples before and after a change.
type Paired struct {
	Both    int `json:"both"`    // passed before and after
	Fixed   int `json:"fixed"`   // failed before, passed after
	Broken  int `json:"broken"`  // passed before, failed after
	Neither int `json:"neither"` // failed before and after
}

// N is the number of examples.
func (p Paired) N() int { return p.Both + p.Fixed + p.Broken + p.Neither }

// Before is the pass rate before the change, with Wilson's interval.
func (p Paired) Before() Estimate { return Wilson(p.Both+p.Broken, p.N()) }

// After is the pass rate after the change, with Wilson's interval.
func (p Paired) After() Estimate { return Wilson(p.Both+p.Fixed, p.N()) }

// Discordant is the number of examples that changed: only they say anything
// about which is better.
func (p Paired) Discordant() int { return p.Fixed + p.Broken }

// PValue is McNemar's exact one, two-sided.
func (p Paired) PValue() float64 { return McNemar(p.Fixed, p.Broken) }

// leastDiscordant is the smallest number of changes, all in one direction, with
// which McNemar's exact test is below 0.05: 2·½⁶ = 0.031, while 2·½⁵ = 0.0625.
const leastDiscordant = 6

// Warnings says in words what the counts cannot tell.
func (p Paired) Warnings() []string {
	var out []string
	if d := p.Discordant(); p.N() > 0 && d < leastDiscordant {
		out = append(out, fmt.Sprintf("%s changed between before and after: fewer than 6 cannot reach p < 0.05, whichever way they go.", count(d, "example")))
	}
	if p.N() > 0 && p.N() < FewLabels {
		out = append(out, fewLabels(p.N(), "example"))
	}
	return out
}

func fewLabels(n int, noun string) string {
	return fmt.Sprintf("There is little to go by (%s, %d are wanted): read the intervals, not the values.", count(n, noun), FewLabels)
}

// Newcombe is the difference of two pass rates over the same examples, after
// minus before, with Newcombe's square-and-add interval for paired proportions
// (method 10: Wilson's limits, and a correlation φ that is corrected for
// continuity).
//
//	low  = d − √((p₂−l₂)² − 2φ(p₂−l₂)(u₁−p₁) + (u₁−p₁)²)
//	high = d + √((u₂−p₂)² − 2φ(u₂−p₂)(p₁−l₁) + (p₁−l₁)²)
//
// with 1 before, 2 after, d = p₂−p₁.
//
// Source: R. G. Newcombe, Improved confidence intervals for the difference
// between binomial proportions based on paired data, Statistics in Medicine 17
// (1998).
func Newcombe(p Paired) Estimate {
	n := p.N()
	if p.Both < 0 || p.Fixed < 0 || p.Broken < 0 || p.Neither < 0 {
		return undefined("a count of examples is below zero")
	}
	if n == 0 {
		return undefined("no example was in both")
	}
	before, after := p.Before(), p.After()
	d := float64(p.Fixed-p.Broken) / float64(n)
	phi := correlation(p)
	add := func(x, y float64) float64 { return math.Sqrt(math.Max(0, x*x-2*phi*x*y+y*y)) }
	return between(d,
		d-add(after.Value-after.Low, before.High-before.Value),
		d+add(after.High-after.Value, before.Value-before.Low),
		n, -1, 1)
}

// correlation is Newcombe's φ of method 10: a positive one loses n/2 in its
// numerator, though not more than it has.
func correlation(p Paired) float64 {
	a, b, c, d := float64(p.Both), float64(p.Broken), float64(p.Fixed), float64(p.Neither)
	margins := (a + b) * (c + d) * (a + c) * (b + d)
	if margins == 0 {
		return 0
	}
	top := a*d - b*c
	if top > 0 {
		top = math.Max(0, top-(a+b+c+d)/2)
	}
	return top / math.Sqrt(margins)
}

// McNemar is the exact two-sided p-value that b changes one way and c the other
// come from chance alone:
//
//	min(1, 2·Σ_{i=0..min(b,c)} C(b+c, i) / 2^(b+c))
//
// Examples that did not change say nothing and are not counted. With no change
// at all it is 1.
//
// Source: Q. McNemar, Psychometrika 12 (1947); the exact form is the binomial
// test at one half.
func McNemar(b, c int) float64 {
	k, n := min(b, c), b+c
	if k < 0 {
		return math.NaN()
	}
	if 2*k == n {
		return 1
	}
	// From the largest term down: each next one is a share of it, so that nothing
	// overflows and what is lost is smaller than the last digit.
	lg := func(x int) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	term := math.Exp(lg(n) - lg(k) - lg(n-k) - float64(n)*math.Ln2)
	sum := term
	for i := k; i > 0 && term > sum*1e-17; i-- {
		term *= float64(i) / float64(n-i+1)
		sum += term
	}
	return math.Min(1, 2*sum)
}

// SignTest is the exact two-sided p-value that of two equally good answers one
// is preferred a times and the other b times. Ties are left out beforehand. The
// formula is McNemar's.
func SignTest(a, b int) float64 { return McNemar(a, b) }

// RoganGladen is the share of positives, corrected for the errors of the judge
// that counted them: the judge called positives of n so, and against people's
// labels it has the true positive rate tpr (on tpr.N positives) and the true
// negative rate tnr (on tnr.N negatives).
//
//	θ = (p + TNR − 1) / (TPR + TNR − 1), kept within 0 and 1
//
// The interval is the closed form of arXiv 2511.21140: with each rate drawn
// towards one half (p by z²/2 of z², the judge's by 1 of 2), θ' + d ± z·se. It
// counts the uncertainty of all three rates, so 10 + 10 labels give nearly all
// from 0 to 1. A judge no better than chance corrects nothing: not defined.
//
// Sources: W. J. Rogan, B. Gladen, Estimating prevalence from the results of a
// screening test, American Journal of Epidemiology 107 (1978); C. Lee et al.,
// arXiv 2511.21140.
func RoganGladen(positives, n int, tpr, tnr Estimate) Estimate {
	switch {
	case n <= 0:
		return undefined("the judge has judged nothing")
	case positives < 0 || positives > n:
		return undefined("%d of %d is not a rate", positives, n)
	case !tpr.Defined():
		return undefined("the judge's true positive rate is not defined: %s", tpr.Undefined)
	case !tnr.Defined():
		return undefined("the judge's true negative rate is not defined: %s", tnr.Undefined)
	case tpr.N <= 0 || tnr.N <= 0:
		return undefined("the judge was not measured on both positive and negative labels")
	case tpr.Value+tnr.Value <= 1:
		return undefined("the judge is no better than chance (true positive rate %s %% + true negative rate %s %% is not above 100 %%), so its counts say nothing", percent(tpr.Value), percent(tnr.Value))
	}
	p, m0, m1 := float64(positives)/float64(n), float64(tnr.N), float64(tpr.N)
	theta := clip((p+tnr.Value-1)/(tpr.Value+tnr.Value-1), 0, 1)

	nn := float64(n) + z*z
	pp := (float64(positives) + z*z/2) / nn
	q0, q1 := (m0*tnr.Value+1)/(m0+2), (m1*tpr.Value+1)/(m1+2)
	slope := q0 + q1 - 1
	if slope <= 0 {
		// So few labels of one kind that the drawn-in judge is none: it may be anything.
		return between(theta, 0, 1, n, 0, 1)
	}
	v0, v1 := q0*(1-q0)/(m0+2), q1*(1-q1)/(m1+2)
	t := (pp + q0 - 1) / slope
	d := 2 * z * z * (-(1-t)*v0 + t*v1)
	se := math.Sqrt(pp*(1-pp)/nn+(1-t)*(1-t)*v0+t*t*v1) / slope
	return between(theta, t+d-z*se, t+d+z*se, n, 0, 1)
}

// WeightedRate is the rate of hits among spans that were drawn with unequal
// probabilities, weighted so that it is the rate of all spans (Hájek):
//
//	r = Σ(y/π) / Σ(1/π)
//
// The interval is Wilson's at the effective number of labels r(1−r)/V, V the
// linearised variance Σ((y−r)/π)² / (Σ1/π)², but never more than there are;
// where all or none hit, Kish's (Σw)²/Σw². With equal probabilities it is
// Wilson's interval. N is the number of labels.
//
// Sources: J. Hájek 1971, in Foundations of Statistical Inference; L. Kish,
// Survey Sampling (1965); E. L. Korn, B. I. Graubard, Survey Methodology 24
// (1998), for intervals at an effective sample size.
func WeightedRate(hit []bool, probability []float64) Estimate {
	n := len(hit)
	if n != len(probability) {
		return undefined("there are %s and %d selection probabilities", count(n, "label"), len(probability))
	}
	if n == 0 {
		return undefined("there is nothing to count")
	}
	least := math.Inf(1)
	for i, p := range probability {
		if !(p > 0 && p <= 1) {
			return undefined("the selection probability of label %d is %v; it must be above 0 and at most 1", i+1, p)
		}
		least = math.Min(least, p)
	}
	// Weights relative to the largest: 1/π of a tiny π would overflow in squares.
	var sum, squares, hits float64
	k := 0
	for i, p := range probability {
		w := least / p
		sum += w
		squares += w * w
		if hit[i] {
			hits += w
			k++
		}
	}
	r := hits / sum
	effective := sum * sum / squares
	if k > 0 && k < n {
		var v float64
		for i, p := range probability {
			e := -r
			if hit[i] {
				e = 1 - r
			}
			v += (e * least / p) * (e * least / p)
		}
		effective = math.Min(r*(1-r)*sum*sum/v, float64(n))
	}
	if k == n {
		r = 1
	}
	low, high := wilson(r, effective)
	return between(r, low, high, n, 0, 1)
}

// EffectiveSize is how many labels of equal probability say as much about a rate
// as these: Kish's (Σw)²/Σw² with w = 1/π. It is 0 of none, and where one is no
// probability. The interval of WeightedRate knows more: it counts who hit.
//
// Source: L. Kish, Survey Sampling (1965).
func EffectiveSize(probability []float64) float64 {
	least := math.Inf(1)
	for _, p := range probability {
		if !(p > 0 && p <= 1) {
			return 0
		}
		least = math.Min(least, p)
	}
	if len(probability) == 0 {
		return 0
	}
	var sum, squares float64 // relative to the largest weight, as above
	for _, p := range probability {
		sum += least / p
		squares += (least / p) * (least / p)
	}
	return math.Min(sum*sum/squares, float64(len(probability)))
}
