package stats

import "math"

// alpha is Krippendorff's α = 1 − Do/De (Krippendorff 2011, Computing
// Krippendorff's Alpha-Reliability). Only units with m_u ≥ 2 ratings count; with the
// coincidences o_ck = Σ_u (ordered pairs c, k in u)/(m_u − 1), n_c = Σ_k o_ck and
// n = Σ n_c: Do = Σ o_ck δ²/n, De = Σ n_c n_k δ²/(n(n−1)). δ² is 0 or 1 (nominal),
// (c−k)² (interval), ((c−k)/(c+k))² (ratio), or (Σ_{g=c..k} n_g − (n_c+n_k)/2)²
// (ordinal). The interval is that of resampled units. N is n, the pairable ratings.
func (t *table) alpha(level Level, times int, seed uint64) Estimate {
	_, ratings := t.shared()
	if ratings == 0 {
		return undefined(0, notMeasured)
	}
	a := newAlpha(t, level)
	if level == Ratio && t.q > 500 {
		times = min(times, 100) // each costs the square of the number of values
	}
	e, ok := t.estimate(ratings, times, seed, a.of)
	if !ok {
		return undefined(ratings, "everybody said the same of everything; there is no variation to agree on")
	}
	return e
}

type alphaSums struct {
	t     *table
	level Level
	do    []float64 // of each group, where δ² does not hang on the data
	n     []float64 // n_c, scratch
	below []float64 // Σ n_g up to and with c, scratch
}

func newAlpha(t *table, level Level) *alphaSums {
	a := &alphaSums{t: t, level: level, n: make([]float64, t.q), below: make([]float64, t.q)}
	if level != Ordinal {
		a.do = make([]float64, len(t.groups))
		for i, g := range t.groups {
			a.do[i] = a.pairs(g)
		}
	}
	return a
}

// pairs is Σ over the ordered pairs of a unit of δ², over m − 1.
func (a *alphaSums) pairs(g group) float64 {
	if g.size < 2 {
		return 0
	}
	sum := 0.0
	for i := range g.values {
		for j := i + 1; j < len(g.values); j++ {
			sum += 2 * g.times[i] * g.times[j] * a.delta(g.values[i], g.values[j])
		}
	}
	return sum / float64(g.size-1)
}

// delta is δ² of two values, c < k.
func (a *alphaSums) delta(c, k int) float64 {
	x, y := a.t.values[c], a.t.values[k]
	switch a.level {
	case Interval:
		return (x - y) * (x - y)
	case Ratio:
		if x+y == 0 {
			return 0
		}
		return (x - y) / (x + y) * (x - y) / (x + y)
	case Ordinal:
		d := a.below[k] - a.below[c] + a.n[c] - (a.n[c]+a.n[k])/2
		return d * d
	}
	return 1
}

// of is α of units with these weights.
func (a *alphaSums) of(w []float64) (float64, bool) {
	clear(a.n)
	total := 0.0
	for i, g := range a.t.groups {
		if g.size < 2 || w[i] == 0 {
			continue
		}
		for k, v := range g.values {
			a.n[v] += w[i] * g.times[k]
		}
		total += w[i] * float64(g.size)
	}
	sum := 0.0
	for c, n := range a.n {
		sum += n
		a.below[c] = sum
	}
	do := 0.0
	for i, g := range a.t.groups {
		if w[i] == 0 {
			continue
		}
		if a.do != nil {
			do += w[i] * a.do[i]
		} else {
			do += w[i] * a.pairs(g)
		}
	}
	de := a.expected(total)
	if total < 2 || de <= 0 || math.IsNaN(de) {
		return 0, false
	}
	return 1 - (total-1)*do/de, true
}

// expected is Σ n_c n_k δ²: in one pass where δ² allows it.
func (a *alphaSums) expected(total float64) float64 {
	de := 0.0
	switch a.level {
	case Nominal:
		de = total * total
		for _, n := range a.n {
			de -= n * n
		}
		if de < 1e-9 {
			return 0
		}
	case Interval:
		// 2(n Σ n_c c² − (Σ n_c c)²), around the middle, which loses no digits.
		mean := 0.0
		for c, n := range a.n {
			mean += n * a.t.values[c]
		}
		mean /= max(1, total)
		for c, n := range a.n {
			d := a.t.values[c] - mean
			de += 2 * total * n * d * d
		}
	default:
		for c := range a.n {
			if a.n[c] == 0 {
				continue
			}
			for k := c + 1; k < len(a.n); k++ {
				if a.n[k] > 0 {
					de += 2 * a.n[c] * a.n[k] * a.delta(c, k)
				}
			}
		}
	}
	return de
}
