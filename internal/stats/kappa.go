package stats

import "math"

// Kappa is Cohen's κ of a square table of two raters (Cohen 1960), or weighted
// with disagreement weights (Cohen 1968).
type Kappa struct {
	Estimate
	Observed, Expected float64 // agreement; of weighted κ 1 − Σvp and 1 − Σvpe
	SE                 float64 // of Cohen (1960), √(po(1−po)/(n(1−pe)²)); NaN where weighted
	SEFleiss           float64 // large-sample, Fleiss, Cohen and Everitt (1969)
}

// Weights are disagreement weights for weighted κ, by the distance of two labels
// in their order.
type Weights int

// Plain counts each disagreement alike; the others by distance and its square.
const (
	Plain Weights = iota
	Linear
	Quadratic
)

// CohenKappa is κ = (po − pe)/(1 − pe) of a table with one rater's labels down and
// the other's across; weighted, 1 − Σvp/Σvpe. Its interval is κ ± 1.96 SE of
// Fleiss, Cohen and Everitt (1969), within [−1, 1]. Not defined where pe is 1: both
// gave one label to everything.
func CohenKappa(counts [][]int, weights Weights) Kappa {
	q := len(counts)
	rows, cols := make([]float64, q), make([]float64, q)
	n := 0
	for i := range q {
		for j := range q {
			n += counts[i][j]
			rows[i] += float64(counts[i][j])
			cols[j] += float64(counts[i][j])
		}
	}
	if n == 0 {
		return Kappa{Estimate: undefined(0, notMeasured), SE: math.NaN(), SEFleiss: math.NaN()}
	}
	N := float64(n)
	// Agreement weights: 1 on the diagonal.
	w := func(i, j int) float64 {
		d := math.Abs(float64(i-j)) / float64(max(1, q-1))
		switch weights {
		case Linear:
			return 1 - d
		case Quadratic:
			return 1 - d*d
		}
		if i == j {
			return 1
		}
		return 0
	}
	var po, pe float64
	wr, wc := make([]float64, q), make([]float64, q) // mean weights of a row's and a column's label
	for i := range q {
		for j := range q {
			po += w(i, j) * float64(counts[i][j]) / N
			pe += w(i, j) * rows[i] * cols[j] / (N * N)
			wr[i] += w(i, j) * cols[j] / N
			wc[j] += w(i, j) * rows[i] / N
		}
	}
	k := Kappa{Observed: po, Expected: pe, SE: math.NaN(), SEFleiss: math.NaN()}
	if 1-pe < 1e-12 {
		k.Estimate = undefined(n, "both gave one label to everything; there is no variation to agree on")
		return k
	}
	k.Value, k.N = (po-pe)/(1-pe), n
	if weights == Plain {
		k.SE = math.Sqrt(po * (1 - po) / (N * (1 - pe) * (1 - pe)))
	}
	sum := 0.0
	for i := range q {
		for j := range q {
			p := float64(counts[i][j]) / N
			x := w(i, j) - (wr[i]+wc[j])*(1-k.Value)
			sum += p * x * x
		}
	}
	x := k.Value - pe*(1-k.Value)
	k.SEFleiss = math.Sqrt(max(0, sum-x*x)) / ((1 - pe) * math.Sqrt(N))
	k.Low, k.High = max(-1, k.Value-z*k.SEFleiss), min(1, k.Value+z*k.SEFleiss)
	return k
}

// cohen is κ of two raters on the units that both rated.
func (t *table) cohen(i, j int) Estimate {
	counts := make([][]int, t.q)
	if t.q > 1000 {
		return undefined(0, "there are %d different values; κ is for few labels", t.q)
	}
	for k := range counts {
		counts[k] = make([]int, t.q)
	}
	for _, u := range t.units {
		x, y := -1, -1
		for _, v := range u {
			switch v.rater {
			case i:
				x = v.value
			case j:
				y = v.value
			}
		}
		if x >= 0 && y >= 0 {
			counts[x][y]++
		}
	}
	return CohenKappa(counts, Plain).Estimate
}

// fromConfusion is a table of two raters, people and judge.
func fromConfusion(c *Confusion) *table {
	t := &table{raters: []string{"people", "judge"}, names: c.Labels, q: len(c.Labels)}
	for h := range c.Labels {
		t.values = append(t.values, float64(h))
		for j, n := range c.Counts[h] {
			for range n {
				t.units = append(t.units, []vote{{0, h}, {1, j}})
			}
		}
	}
	t.group()
	return t
}

// fleiss is Fleiss' κ (1971): P_i = (Σ_j n_ij² − n)/(n(n−1)), κ = (P̄ − Σp_j²)/(1 −
// Σp_j²), where every unit has exactly n ratings.
func (t *table) fleiss(times int, seed uint64) Estimate {
	size := 0
	for _, g := range t.groups {
		if size == 0 {
			size = g.size
		}
		if g.size != size {
			return undefined(len(t.units), "it wants the same number of ratings of each unit, and here it differs; use Krippendorff's α")
		}
	}
	if size < 2 {
		return undefined(0, notMeasured)
	}
	f := func(w []float64) (float64, bool) {
		po, ok := t.agreeing(w)
		if !ok {
			return 0, false
		}
		p := make([]float64, t.q)
		total := 0.0
		for i, g := range t.groups {
			for k, v := range g.values {
				p[v] += w[i] * g.times[k]
				total += w[i] * g.times[k]
			}
		}
		pe := 0.0
		for _, x := range p {
			pe += x / total * x / total
		}
		if 1-pe < 1e-12 {
			return 0, false
		}
		return (po - pe) / (1 - pe), true
	}
	e, ok := t.estimate(len(t.units), times, seed, f)
	if !ok {
		return undefined(len(t.units), "everybody gave one label to everything; there is no variation to agree on")
	}
	return e
}

// ac1 is Gwet's AC1 (2008): pe = Σπ_k(1−π_k)/(q−1) with q labels, π_k the mean share
// of k over units with a rating; po over units with two; (po − pe)/(1 − pe).
func (t *table) ac1(times int, seed uint64) Estimate {
	units, _ := t.shared()
	switch {
	case units == 0:
		return undefined(0, notMeasured)
	case t.q < 2:
		return undefined(units, "one label only was seen; with the configured labels it could be said")
	}
	f := func(w []float64) (float64, bool) {
		po, ok := t.agreeing(w)
		if !ok {
			return 0, false
		}
		pi := make([]float64, t.q)
		n := 0.0
		for i, g := range t.groups {
			if g.size == 0 {
				continue
			}
			for k, v := range g.values {
				pi[v] += w[i] * g.times[k] / float64(g.size)
			}
			n += w[i]
		}
		pe := 0.0
		for _, x := range pi {
			pe += x / n * (1 - x/n)
		}
		pe /= float64(t.q - 1)
		return (po - pe) / (1 - pe), true
	}
	e, _ := t.estimate(units, times, seed, f)
	return e
}
