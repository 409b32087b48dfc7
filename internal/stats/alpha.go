package stats

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// patterns are the units by what was said of them. Units that got the same
// values are one pattern with a count, whoever said so: a coefficient then costs
// as many steps as there are patterns, of which a few labels make a few, and a
// resample only counts anew.
type patterns struct {
	level  Level
	q      int       // values that occur or are configured
	at     []float64 // their places, at the interval and ratio level
	starts []int32   // of each pattern in value and times, and the end
	value  []int32
	times  []float64 // how many gave the value
	size   []float64 // ratings of each pattern
	agree  []float64 // share of its pairs of ratings that are the same
	differ []float64 // Σ δ² over its ordered pairs / (size − 1); at the ordinal level see evaluate
	shared []int32   // pattern of each unit with two ratings or more
	single []int32   // pattern of each unit with one
	equal  float64   // ratings of each unit, where all have the same number; else 0
	ratio  [][]float64
}

func newPatterns(v *votes, s *scale) *patterns {
	p := &patterns{level: s.level, q: len(s.labels), at: places(s), starts: []int32{0}}
	// The votes of each unit side by side, found by counting.
	begin := make([]int32, v.units+1)
	for _, list := range v.of {
		for _, x := range list {
			begin[x.unit+1]++
		}
	}
	for i := range v.units {
		begin[i+1] += begin[i]
	}
	values, next := make([]int32, begin[v.units]), slices.Clone(begin)
	for _, list := range v.of {
		for _, x := range list {
			values[next[x.unit]] = x.value
			next[x.unit]++
		}
	}
	if s.level == Ratio && p.q <= ratioTable {
		p.ratio = make([][]float64, p.q)
		for i := range p.ratio {
			p.ratio[i] = make([]float64, p.q)
			for j := range p.ratio {
				p.ratio[i][j] = ratioDifference(p.at[i], p.at[j])
			}
		}
	}
	known := map[string]int32{}
	var key []byte
	least, most := math.MaxInt, 0
	for u := range v.units {
		said := values[begin[u]:begin[u+1]]
		slices.Sort(said)
		key = key[:0]
		for _, x := range said {
			key = binary.AppendUvarint(key, uint64(x)) //nolint:gosec // an index
		}
		k, old := known[string(key)]
		if !old {
			k = int32(len(p.size)) //nolint:gosec // at most as many as units
			known[string(key)] = k
			p.add(said)
		}
		least, most = min(least, len(said)), max(most, len(said))
		if len(said) > 1 {
			p.shared = append(p.shared, k)
		} else {
			p.single = append(p.single, k)
		}
	}
	if least == most {
		p.equal = float64(least)
	}
	return p
}

// places puts scores around 0 and within −1 and 1: α does not change by it at
// the interval level, and squares neither overflow nor lose their digits.
func places(s *scale) []float64 {
	if s.level < Interval || len(s.scores) == 0 {
		return nil
	}
	if s.level == Ratio {
		return s.scores
	}
	low, high := s.scores[0]/2, s.scores[len(s.scores)-1]/2
	middle, half := low+(high-low)/2, (high-low)/2
	at := make([]float64, len(s.scores))
	for i, x := range s.scores {
		if half > 0 {
			at[i] = (x/2 - middle) / half
		}
	}
	return at
}

// ratioDifference is ((c−k)/(c+k))², 0 for two zeros.
func ratioDifference(c, k float64) float64 {
	if c == k {
		return 0
	}
	d := (c/2 - k/2) / (c/2 + k/2)
	return d * d
}

// add appends a pattern of sorted values.
func (p *patterns) add(said []int32) {
	from := len(p.value)
	for i, x := range said {
		if i > 0 && x == said[i-1] {
			p.times[len(p.times)-1]++
			continue
		}
		p.value, p.times = append(p.value, x), append(p.times, 1)
	}
	p.starts = append(p.starts, int32(len(p.value))) //nolint:gosec // at most as many as ratings
	m := float64(len(said))
	p.size = append(p.size, m)
	if m < 2 {
		p.agree, p.differ = append(p.agree, 0), append(p.differ, 0)
		return
	}
	values, times := p.value[from:], p.times[from:]
	var same, differ float64
	for _, n := range times {
		same += n * n
	}
	switch p.level {
	case Nominal:
		differ = m*m - same
	case Ordinal:
	case Interval:
		differ = spread(values, times, p.at)
	case Ratio:
		for i, c := range values {
			for j, k := range values[:i] {
				differ += 2 * times[i] * times[j] * ratioDifference(p.at[c], p.at[k])
			}
		}
	}
	p.agree = append(p.agree, (same-m)/(m*(m-1)))
	p.differ = append(p.differ, differ/(m-1))
}

// spread is Σ (x−y)² over all ordered pairs, by sums: 2(mΣx² − (Σx)²).
func spread(values []int32, times, at []float64) float64 {
	if len(values) == 1 {
		return 0 // exactly
	}
	// Around the first value, so that near ones do not cancel out.
	var m, sum, square float64
	for i, v := range values {
		x := at[v] - at[values[0]]
		m += times[i]
		sum += times[i] * x
		square += times[i] * x * x
	}
	return 2 * (m*square - sum*sum)
}

// totals are what the coefficients are made of, for some weights of patterns.
type totals struct {
	observed float64 // share of pairs that agree, mean over shared units
	pairable float64 // ratings of shared units
	labels   []float64
	fleiss   float64 // Σ p_j² over ratings of shared units
	gwet     float64 // chance agreement by Gwet
	do, de   float64 // disagreement by Krippendorff; NaN where nothing varies
}

// evaluate takes O(patterns + values) steps, at the ratio level also
// O(values²). scratch is kept between calls.
func (p *patterns) evaluate(weights []int32, t *totals, scratch *[2][]float64) {
	if scratch[0] == nil {
		scratch[0], scratch[1] = make([]float64, p.q), make([]float64, p.q)
	}
	of, share := scratch[0], scratch[1]
	clear(of)
	clear(share)
	var shared, units, agree, differ float64
	for k, w := range weights {
		if w == 0 {
			continue
		}
		n := float64(w)
		from, to, m := p.starts[k], p.starts[k+1], p.size[k]
		units += n
		for i := from; i < to; i++ {
			share[p.value[i]] += n * p.times[i] / m
		}
		if m < 2 {
			continue
		}
		shared += n
		agree += n * p.agree[k]
		differ += n * p.differ[k]
		for i := from; i < to; i++ {
			of[p.value[i]] += n * p.times[i]
		}
	}
	*t = totals{observed: agree / shared, labels: of}
	distinct := 0
	for i, n := range of {
		t.pairable += n
		if n > 0 {
			distinct++
		}
		part := share[i] / units
		t.gwet += part * (1 - part)
	}
	t.gwet /= float64(p.q - 1)
	for _, n := range of {
		t.fleiss += n / t.pairable * n / t.pairable
	}
	if distinct < 2 {
		t.do, t.de = math.NaN(), math.NaN()
		return
	}
	at := p.at
	if p.level == Ordinal {
		// Σ_{g=c..k} n_g − (n_c+n_k)/2 is the difference of two middle ranks, so the
		// ordinal α is the interval α of ranks.
		at = share
		before := 0.0
		for i, n := range of {
			at[i] = (before + n/2) / t.pairable
			before += n
		}
		for k, w := range weights {
			if m := p.size[k]; w > 0 && m > 1 {
				from, to := p.starts[k], p.starts[k+1]
				differ += float64(w) * spread(p.value[from:to], p.times[from:to], at) / (m - 1)
			}
		}
	}
	n := t.pairable
	t.do = differ / n
	t.de = p.expected(of, at, n) / (n * (n - 1))
	if !(t.de > 0) { // values nearer to each other than numbers can tell
		t.do, t.de = math.NaN(), math.NaN()
	}
}

// expected is Σ n_c n_k δ² over all values.
func (p *patterns) expected(of, at []float64, n float64) float64 {
	var sum, square, all float64
	switch p.level {
	case Nominal:
		for _, c := range of {
			square += c * c
		}
		return n*n - square
	case Ratio:
		for i, c := range of {
			if c == 0 {
				continue
			}
			for j, k := range of[:i] {
				if k == 0 {
					continue
				}
				d := 0.0
				if p.ratio != nil {
					d = p.ratio[i][j]
				} else {
					d = ratioDifference(at[i], at[j])
				}
				all += 2 * c * k * d
			}
		}
		return all
	default:
		mean := 0.0
		for i, c := range of {
			mean += c * at[i] / n
		}
		for i, c := range of {
			x := at[i] - mean
			sum += c * x
			square += c * x * x
		}
		return 2 * (n*square - sum*sum)
	}
}

const (
	// ratioTable is the number of values up to which the ratio level resamples;
	// beyond, each resample would look at too many pairs of values.
	ratioTable = 300
	// ratioMost is the number of values beyond which it would take minutes even once.
	ratioMost = 20_000
	// effort is how many steps all resamples together may take: a few seconds.
	effort = 400_000_000
	// leastResamples is how many there are at least, however many units.
	leastResamples = 200
)

// agreement fills in what rests on the patterns.
func (p *patterns) agreement(a *Agreement, resamples int, seed uint64) {
	resamples = resamplesOr(resamples)
	if len(p.shared) == 0 {
		none := undefined(noOverlap)
		a.PercentAgreement, a.FleissKappa, a.KrippendorffAlpha, a.GwetAC1, a.PABAK = none, none, none, none, none
		return
	}
	work := len(p.shared) + len(p.single) + len(p.value) + p.q
	if p.ratio != nil {
		work += p.q * p.q / 2
	}
	if most := max(leastResamples, effort/work); resamples > most {
		a.Warnings = append(a.Warnings, fmt.Sprintf("With so many spans the intervals rest on %d resamples, not %d.", most, resamples))
		resamples = most
	}
	a.Resamples = resamples

	weights := make([]int32, len(p.size))
	for _, list := range [][]int32{p.shared, p.single} {
		for _, k := range list {
			weights[k]++
		}
	}
	tooMany := p.level == Ratio && p.q > ratioMost
	byFormula := p.level == Ratio && p.q > ratioTable
	var t, r totals
	var scratch [2][]float64
	if tooMany {
		p.level = Nominal // for all but α, which is left out below
	}
	p.evaluate(weights, &t, &scratch)
	t.labels = slices.Clone(t.labels)
	alpha := 1 - t.do/t.de
	var alphaSE float64
	if byFormula && !tooMany {
		alphaSE = p.jackknife(weights, &t)
		p.level = Nominal // resamples are for the others
	}

	var same, fleiss, alphas, gwet []float64
	keep := func(to *[]float64, v float64) {
		if !math.IsNaN(v) {
			*to = append(*to, v)
		}
	}
	resample([][]int32{p.shared, p.single}, len(p.size), resamples, seed, func(w []int32) {
		p.evaluate(w, &r, &scratch)
		keep(&same, r.observed)
		keep(&fleiss, corrected(r.observed, r.fleiss))
		keep(&alphas, 1-r.do/r.de)
		keep(&gwet, corrected(r.observed, r.gwet))
	})

	units := len(p.shared)
	a.PercentAgreement = p.percent(t.observed, units, same)
	switch {
	case p.equal == 0:
		a.FleissKappa = undefined("the spans have different numbers of ratings; Fleiss' κ wants the same on each: see Krippendorff's α")
	case math.IsNaN(corrected(t.observed, t.fleiss)):
		a.FleissKappa = undefined("all ratings are the same: chance alone would agree as much")
	default:
		a.FleissKappa = resampled(corrected(t.observed, t.fleiss), t.observed, t.fleiss, float64(units), units, fleiss)
	}
	switch {
	case tooMany:
		a.KrippendorffAlpha = undefined("there are %d different scores, and the ratio level compares each with each: round them, or take the interval level", p.q)
	case math.IsNaN(alpha):
		a.KrippendorffAlpha = undefined("there is no variation: all ratings of spans that two people rated are the same")
	case byFormula:
		a.KrippendorffAlpha = between(alpha, alpha-z*alphaSE, alpha+z*alphaSE, int(t.pairable), -1, 1)
	default:
		a.KrippendorffAlpha = p.alphaEstimate(alpha, &t, alphas)
		if lost := resamples - len(alphas); lost*20 > resamples {
			a.Warnings = append(a.Warnings, fmt.Sprintf("In %s %% of the resamples all ratings were the same, and α is not defined there: its interval is rough.", percent(float64(lost)/float64(resamples))))
		}
	}
	if p.q < 2 {
		one := undefined("only one label was ever given; say which labels were possible")
		a.GwetAC1, a.PABAK = one, one
		return
	}
	a.GwetAC1 = resampled(corrected(t.observed, t.gwet), t.observed, t.gwet, float64(units), units, gwet)
	a.PABAK = a.PercentAgreement
	chance := 1 / float64(p.q)
	for _, v := range []*float64{&a.PABAK.Value, &a.PABAK.Low, &a.PABAK.High} {
		*v = (*v - chance) / (1 - chance)
	}
}

// percent is the share of pairs of ratings that agree, mean over units.
func (p *patterns) percent(observed float64, units int, drawn []float64) Estimate {
	two := !slices.ContainsFunc(p.shared, func(k int32) bool { return p.size[k] != 2 })
	if two {
		return Wilson(int(math.Round(observed*float64(units))), units)
	}
	low, high := percentiles(drawn)
	if high-low < 1e-9 {
		low, high = wilson(observed, float64(units))
	}
	return between(observed, low, high, units, 0, 1)
}

// alphaEstimate is α with its bootstrap interval. Where all resamples are alike,
// Wilson's for the share of agreement is carried over: disagreement is taken to
// grow with the share of pairs that differ, and where none do, to be as large as
// by chance.
func (p *patterns) alphaEstimate(alpha float64, t *totals, drawn []float64) Estimate {
	low, high := alpha, alpha
	if len(drawn) > 0 {
		low, high = percentiles(drawn)
	}
	if high-low < 1e-9 {
		l, h := wilson(clip(t.observed, 0, 1), float64(len(p.shared)))
		each := t.de // of a pair that differs
		if p.level == Nominal {
			each = 1
		}
		if t.observed < 1 {
			each = t.do / (1 - t.observed)
		}
		low, high = 1-(1-l)*each/t.de, 1-(1-h)*each/t.de
	}
	return between(alpha, low, high, int(t.pairable), -1, 1)
}

// jackknife is the standard error of α by the infinitesimal jackknife over
// units: the root of the sum of squares of how much α moves with each one.
//
// Source: B. Efron, The Jackknife, the Bootstrap and Other Resampling Plans
// (1982), chapter 6.
func (p *patterns) jackknife(weights []int32, t *totals) float64 {
	n := t.pairable
	d, e := t.do*n, t.de*n*(n-1) // α = 1 − (n−1) d/e
	slope := make([]float64, p.q)
	for i := range slope {
		for j := range slope[:i] {
			x := 2 * ratioDifference(p.at[i], p.at[j])
			slope[i] += t.labels[j] * x
			slope[j] += t.labels[i] * x
		}
	}
	var v, units float64
	for k, w := range weights {
		if w == 0 || p.size[k] < 2 {
			continue
		}
		moved := 0.0
		for i := p.starts[k]; i < p.starts[k+1]; i++ {
			moved += p.times[i] * slope[p.value[i]]
		}
		u := p.size[k]*d/e + (n-1)*p.differ[k]/e - (n-1)*d/e*moved/e
		v += float64(w) * u * u
		units += float64(w)
	}
	if units > 1 {
		v *= units / (units - 1)
	}
	return math.Sqrt(v)
}
