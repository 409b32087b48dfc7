package stats

import (
	"math"
)

// Wilson is the proportion k of n with the score interval of Wilson (1927):
// (p + z²/2n ± z√(p(1−p)/n + z²/4n²)) / (1 + z²/n). It stays within [0, 1] and
// holds for small n, where p ± z√(p(1−p)/n) does not.
func Wilson(k, n int) Estimate {
	if n <= 0 {
		return undefined(0, "nothing was observed")
	}
	if k < 0 || k > n {
		return undefined(n, "%d of %d is no proportion", k, n)
	}
	p := float64(k) / float64(n)
	low, high := wilson(p, float64(n))
	if k == 0 {
		low = 0
	}
	if k == n {
		high = 1
	}
	return Estimate{p, low, high, n, ""}
}

func wilson(p, n float64) (low, high float64) {
	middle := p + z*z/(2*n)
	half := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	d := 1 + z*z/n
	return max(0, (middle-half)/d), min(1, (middle+half)/d)
}

// HalfWidth is half the width of Wilson's interval for k of n; 1 for n = 0.
func HalfWidth(k, n int) float64 {
	if n <= 0 {
		return 1
	}
	return halfWidth(float64(k)/float64(n), float64(n))
}

func halfWidth(p, n float64) float64 {
	return z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n)) / (1 + z*z/n)
}

// SampleSize is the smallest n at which Wilson's interval around that rate is at
// most half wide on either side; both are shares (0.03 is three points). It is 0
// for a half of nothing or less, which no sample reaches.
func SampleSize(rate, half float64) int {
	if !(half > 0) || !(rate >= 0 && rate <= 1) {
		return 0
	}
	low, high := 0, 1
	for halfWidth(rate, float64(high)) > half {
		low, high = high, high*2
		if high > 1<<40 {
			return high
		}
	}
	for high-low > 1 { // the width falls as n grows
		if mid := (low + high) / 2; halfWidth(rate, float64(mid)) > half {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// Paired counts what became of examples that were tried twice.
type Paired struct {
	Both    int // passed before and after
	Fixed   int // failed before, passed after
	Broken  int // passed before, failed after
	Neither int
}

// N is the number of pairs.
func (p Paired) N() int { return p.Both + p.Fixed + p.Broken + p.Neither }

// Before is the pass rate before, with Wilson's interval.
func (p Paired) Before() Estimate { return Wilson(p.Both+p.Broken, p.N()) }

// After is the pass rate after, with Wilson's interval.
func (p Paired) After() Estimate { return Wilson(p.Both+p.Fixed, p.N()) }

// Newcombe is the difference after − before of two paired proportions with the
// interval of Newcombe (1998), Statistics in Medicine 17, 2635–2650, method 10:
// the intervals of Wilson of both, joined by the correlation φ, which is lowered
// by a continuity correction where it is positive.
func Newcombe(p Paired) Estimate {
	n := p.N()
	if n == 0 {
		return undefined(0, "there are no pairs")
	}
	a, b, c, d := float64(p.Both), float64(p.Fixed), float64(p.Broken), float64(p.Neither)
	after, before := p.After(), p.Before()
	diff := after.Value - before.Value
	phi := 0.0
	if q := (a + b) * (c + d) * (a + c) * (b + d); q > 0 {
		num := a*d - b*c
		if num > 0 {
			num = max(num-float64(n)/2, 0)
		}
		phi = num / math.Sqrt(q)
	}
	du, dl := after.High-after.Value, after.Value-after.Low
	eu, el := before.High-before.Value, before.Value-before.Low
	low := diff - math.Sqrt(max(0, dl*dl-2*phi*dl*eu+eu*eu))
	high := diff + math.Sqrt(max(0, du*du-2*phi*du*el+el*el))
	return Estimate{diff, max(-1, low), min(1, high), n, ""}
}

// McNemar is the two-sided p of McNemar's exact test for b and c pairs that went
// one way and the other: min(1, 2·Σ_{i=0..min(b,c)} C(b+c, i)/2^(b+c)). Pairs that
// stayed the same say nothing about a difference. 1 for no pairs.
func McNemar(b, c int) float64 {
	n, k := b+c, min(b, c)
	if n <= 0 || k < 0 {
		return 1
	}
	sum := 0.0
	lg := func(x int) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	for i := 0; i <= k; i++ {
		sum += math.Exp(lg(n) - lg(i) - lg(n-i) - float64(n)*math.Ln2)
	}
	return min(1, 2*sum)
}

// SignTest is the two-sided p of the exact sign test for a wins against b, ties
// left out. The formula is McNemar's.
func SignTest(a, b int) float64 { return McNemar(a, b) }

// RoganGladen is a rate that an imperfect judge measured, with the judge's errors
// taken out (Rogan and Gladen 1978): θ = (p + TNR − 1)/(TPR + TNR − 1), where
// positives of n were judged positive and TPR and TNR were measured on their N
// labels of people. The interval is the closed form of arXiv 2511.21140, which
// takes in that TPR and TNR are estimates themselves; with few labels it is wide.
// Not defined for a judge that does no better than chance.
func RoganGladen(positives, n int, tpr, tnr Estimate) Estimate {
	switch {
	case n <= 0:
		return undefined(0, "nothing was judged")
	case !tpr.Defined() || !tnr.Defined() || tpr.N == 0 || tnr.N == 0:
		return undefined(n, "the judge's errors are not known")
	case tpr.Value+tnr.Value <= 1:
		return undefined(n, "the judge is no better than chance (TPR %.2f, TNR %.2f); its rate says nothing", tpr.Value, tnr.Value)
	}
	p := float64(positives) / float64(n)
	value := (p + tnr.Value - 1) / (tpr.Value + tnr.Value - 1)
	N, m1, m0 := float64(n)+z*z, float64(tpr.N)+2, float64(tnr.N)+2
	ps := (float64(n)*p + z*z/2) / N
	q1 := (float64(tpr.N)*tpr.Value + 1) / m1
	q0 := (float64(tnr.N)*tnr.Value + 1) / m0
	if q0+q1 <= 1 {
		return undefined(n, "the judge is hardly better than chance for so few labels; its rate says nothing")
	}
	t := (ps + q0 - 1) / (q0 + q1 - 1)
	v1, v0 := q1*(1-q1)/m1, q0*(1-q0)/m0
	d := 2 * z * z * (-(1-t)*v0 + t*v1)
	se := math.Sqrt(ps*(1-ps)/N+(1-t)*(1-t)*v0+t*t*v1) / (q0 + q1 - 1)
	clip := func(x float64) float64 { return min(1, max(0, x)) }
	return Estimate{clip(value), min(clip(t+d-z*se), clip(value)), max(clip(t+d+z*se), clip(value)), n, ""}
}

// WeightedRate is the rate of hits in a sample whose members were chosen with
// different probabilities: Hájek's estimate Σ(y/π)/Σ(1/π), with the interval of its
// linearised variance, √Σ((y−θ)/π)² / Σ(1/π), laid around it by Wilson's formula
// at the effective number of observations (Kish): that is not 0 wide at a rate of
// 0 or 1. N is the number of members.
//
// Not defined where a probability is not within (0, 1].
func WeightedRate(hit []bool, probability []float64) Estimate {
	if len(hit) != len(probability) || len(hit) == 0 {
		return undefined(len(hit), "nothing was observed")
	}
	var sw, sw2, sy float64
	for i, p := range probability {
		if !(p > 0 && p <= 1) {
			return undefined(len(hit), "a selection probability of %g is not above 0 and at most 1", p)
		}
		w := 1 / p
		sw += w
		sw2 += w * w
		if hit[i] {
			sy += w
		}
	}
	rate := sy / sw
	low, high := wilson(rate, sw*sw/sw2)
	return Estimate{rate, min(low, rate), max(high, rate), len(hit), ""}
}
