package stats

import (
	"fmt"
	"math"
)

// Weights says how much of an agreement two different labels are.
type Weights int

// Plain counts only equal labels as agreement; the others give part of it to
// labels that are near: 1 − d/D and 1 − (d/D)², d their distance, D the largest
// one.
const (
	Plain Weights = iota
	Linear
	Quadratic
)

// Kappa is Cohen's κ of two raters and what it is made of. Its interval is
// κ ± z·SEFleiss.
type Kappa struct {
	Estimate
	Observed float64 // agreement that was seen, weighted
	Expected float64 // agreement that two such raters reach by chance
	// SE is that of Cohen (1960, weighted 1968), √(po(1−po)/n)/(1−pe). It takes
	// chance agreement as known; kept for comparison with older papers.
	SE float64
	// SEFleiss is the large-sample standard error of Fleiss, Cohen and Everitt (1969).
	SEFleiss float64
	// SENull is theirs where κ is 0: κ/SENull tests for agreement beyond chance.
	SENull float64
}

// CohenKappa is Cohen's κ of a table of counts, one rater's labels down and the
// other's across:
//
//	κ = (po − pe) / (1 − pe), pe = Σ p_i. p_.i
//
// With weights w (1 on the diagonal) po is Σ w p_ij and pe Σ w p_i. p_.j; labels
// are as far apart as their places in the table. The interval's standard error,
// with w̄_i. = Σ_j w_ij p_.j and w̄_.j = Σ_i w_ij p_i., is
//
//	√{Σ p_ij [w_ij − (w̄_i. + w̄_.j)(1−κ)]² − [κ − pe(1−κ)]²} / ((1−pe)√n)
//
// Where that is 0 (no disagreement, or one that never varies) the interval is
// Wilson's for po, carried over at the chance agreement that was seen.
//
// Sources: J. Cohen, A coefficient of agreement for nominal scales, Educational
// and Psychological Measurement 20 (1960); J. Cohen, Weighted kappa,
// Psychological Bulletin 70 (1968); J. L. Fleiss, J. Cohen, B. S. Everitt, Large
// sample standard errors of kappa and weighted kappa, Psychological Bulletin 72
// (1969).
func CohenKappa(table [][]int, w Weights) Kappa {
	var cells []pairOfValues
	for i, row := range table {
		if len(row) != len(table) {
			return Kappa{Estimate: undefined("row %d of the table has %s, and the table %s", i+1, count(len(row), "column"), count(len(table), "row"))}
		}
		for j, n := range row {
			if n < 0 {
				return Kappa{Estimate: undefined("row %d, column %d of the table is below zero", i+1, j+1)}
			}
			if n > 0 {
				cells = append(cells, pairOfValues{int32(i), int32(j), float64(n)})
			}
		}
	}
	return cohen(cells, len(table), w, nil)
}

// pairOfValues is how often two raters gave these two values to one unit.
type pairOfValues struct {
	a, b int32
	n    float64
}

// cohen is Cohen over a sparse table: unweighted it takes O(cells + labels)
// steps, weighted O(cells + labels²). at places the labels (nil: one apart).
func cohen(cells []pairOfValues, q int, w Weights, at []float64) Kappa {
	rows, columns := make([]float64, q), make([]float64, q)
	var n float64
	for _, c := range cells {
		n += c.n
	}
	if n == 0 {
		return Kappa{Estimate: undefined(noOverlap)}
	}
	varied := false
	for _, c := range cells {
		varied = varied || c.a != cells[0].a || c.b != cells[0].a
		rows[c.a] += c.n / n
		columns[c.b] += c.n / n
	}
	if !varied {
		return Kappa{Observed: 1, Expected: 1, Estimate: undefined("both raters used one label only, the same: chance alone would agree as much")}
	}
	weight, meanA, meanB := weighing(rows, columns, w, at)
	var r Kappa
	var square float64
	for _, c := range cells {
		x := weight(c.a, c.b)
		r.Observed += c.n * x
		square += c.n / n * x * x
	}
	r.Observed /= n // last, so that all of n is exactly 1
	for i, p := range rows {
		r.Expected += p * meanA[i]
	}
	k := (r.Observed - r.Expected) / (1 - r.Expected)
	var v float64
	for _, c := range cells {
		d := weight(c.a, c.b) - (meanA[c.a]+meanB[c.b])*(1-k)
		v += c.n / n * d * d
	}
	d := k - r.Expected*(1-k)
	// What is left of a difference of equal numbers is rounding, not spread.
	if v -= d * d; v < 1e-12 {
		v = 0
	}
	scale := 1 / ((1 - r.Expected) * math.Sqrt(n))
	r.SEFleiss = math.Sqrt(v) * scale
	r.SE = math.Sqrt(math.Max(0, square-r.Observed*r.Observed)) * scale
	r.SENull = math.Sqrt(math.Max(0, nullVariance(rows, columns, meanA, meanB, weight, w)-r.Expected*r.Expected)) * scale
	low, high := k-z*r.SEFleiss, k+z*r.SEFleiss
	if r.SEFleiss == 0 {
		low, high = carried(r.Observed, r.Expected, n)
	}
	r.Estimate = between(k, low, high, int(math.Round(n)), -1, 1)
	return r
}

// carried is Wilson's interval of an observed agreement, made chance-corrected.
func carried(observed, expected, n float64) (low, high float64) {
	low, high = wilson(clip(observed, 0, 1), n)
	return (low - expected) / (1 - expected), (high - expected) / (1 - expected)
}

// weighing gives the weight of two labels, and the mean weight of each label
// against the other rater's mix.
func weighing(rows, columns []float64, w Weights, at []float64) (weight func(a, b int32) float64, meanA, meanB []float64) {
	if w == Plain {
		same := func(a, b int32) float64 {
			if a == b {
				return 1
			}
			return 0
		}
		return same, columns, rows
	}
	q := len(rows)
	place := func(i int) float64 {
		if at == nil {
			return float64(i)
		}
		return at[i]
	}
	widest := math.Abs(place(q-1) - place(0))
	weight = func(a, b int32) float64 {
		d := math.Abs(place(int(a))-place(int(b))) / widest
		if w == Quadratic {
			d *= d
		}
		return 1 - d
	}
	meanA, meanB = make([]float64, q), make([]float64, q)
	for i := range rows {
		for j := range columns {
			x := weight(int32(i), int32(j))
			meanA[i] += columns[j] * x
			meanB[j] += rows[i] * x
		}
	}
	return weight, meanA, meanB
}

// nullVariance is Σ p_i. p_.j [w_ij − (w̄_i. + w̄_.j)]². Plain it is worked
// out from the margins, so that many labels cost no table.
func nullVariance(rows, columns, meanA, meanB []float64, weight func(a, b int32) float64, w Weights) float64 {
	var v float64
	if w != Plain {
		for i, p := range rows {
			for j, q := range columns {
				d := weight(int32(i), int32(j)) - meanA[i] - meanB[j]
				v += p * q * d * d
			}
		}
		return v
	}
	// E(x+y)² for independent rows and columns, and on the diagonal 1 − 2(x+y).
	var ex, exx, ey, eyy float64
	for i := range rows {
		ex += rows[i] * meanA[i]
		exx += rows[i] * meanA[i] * meanA[i]
		ey += columns[i] * meanB[i]
		eyy += columns[i] * meanB[i] * meanB[i]
		v += rows[i] * columns[i] * (1 - 2*(meanA[i]+meanB[i]))
	}
	return v + exx + 2*ex*ey + eyy
}

// FleissResult is Fleiss' κ and that of each label against all others.
type FleissResult struct {
	Kappa      Estimate
	Categories []Estimate
	Observed   float64 // P̄: the mean share of pairs of raters that agree
	Expected   float64 // Σ p_j²
}

// Fleiss is Fleiss' κ of counts: for each unit, how many raters gave each
// label. Each unit has the same number n of ratings, by whichever raters.
//
//	P_i = (Σ_j n_ij² − n) / (n(n−1)), κ = (P̄ − Σ p_j²) / (1 − Σ p_j²)
//	κ_j = 1 − Σ_i n_ij(n − n_ij) / (N n(n−1) p_j(1 − p_j))
//
// Intervals: bootstrap over units. Units with unequal numbers of ratings are
// refused: Krippendorff's α takes them.
//
// Source: J. L. Fleiss, Measuring nominal scale agreement among many raters,
// Psychological Bulletin 76 (1971).
func Fleiss(counts [][]int, resamples int, seed uint64) (FleissResult, error) {
	if len(counts) == 0 {
		return FleissResult{Kappa: undefined("there is no unit")}, nil
	}
	q, raters := len(counts[0]), 0
	for _, n := range counts[0] {
		raters += n
	}
	kinds := make([]int32, len(counts))
	for i, row := range counts {
		sum := 0
		for j, n := range row {
			if n < 0 {
				return FleissResult{}, fmt.Errorf("unit %d, label %d: the count is below zero", i+1, j+1)
			}
			sum += n
		}
		if len(row) != q || sum != raters {
			return FleissResult{}, fmt.Errorf("unit %d has %s of %s and unit 1 %d of %d: Fleiss' κ wants the same on each; Krippendorff's α does not", i+1, count(sum, "rating"), count(len(row), "label"), raters, q)
		}
		kinds[i] = int32(i)
	}
	if raters < 2 {
		return FleissResult{Kappa: undefined(noOverlap)}, nil
	}
	at := func(weights []int32) (observed, expected float64, categories []float64) {
		p, miss := make([]float64, q), make([]float64, q)
		var units, n float64 = 0, float64(raters)
		for i, row := range counts {
			w := float64(weights[i])
			units += w
			for j, c := range row {
				p[j] += w * float64(c)
				miss[j] += w * float64(c) * (n - float64(c))
				observed += w * float64(c) * (float64(c) - 1)
			}
		}
		observed /= units * n * (n - 1)
		categories = make([]float64, q)
		for j := range p {
			p[j] /= units * n
			expected += p[j] * p[j]
			categories[j] = 1 - miss[j]/(units*n*(n-1)*p[j]*(1-p[j])) // NaN for a label that nobody, or everybody, gave
		}
		return observed, expected, categories
	}
	ones := make([]int32, len(counts))
	for i := range ones {
		ones[i] = 1
	}
	observed, expected, categories := at(ones)
	r := FleissResult{Observed: observed, Expected: expected, Categories: make([]Estimate, q)}
	drawn := make([][]float64, q+1)
	resample([][]int32{kinds}, len(counts), resamplesOr(resamples), seed, func(weights []int32) {
		o, e, c := at(weights)
		for j, v := range append(c, corrected(o, e)) {
			if !math.IsNaN(v) {
				drawn[j] = append(drawn[j], v)
			}
		}
	})
	n := float64(len(counts))
	if math.IsNaN(corrected(observed, expected)) {
		r.Kappa = undefined("all raters gave the same label throughout: chance alone would agree as much")
	} else {
		r.Kappa = resampled(corrected(observed, expected), observed, expected, n, len(counts), drawn[q])
	}
	for j, v := range categories {
		if math.IsNaN(v) {
			r.Categories[j] = undefined("the label was given to no unit, or to all by everybody")
			continue
		}
		// For one label against the others, chance and agreement are those of two labels.
		p := 0.0
		for _, row := range counts {
			p += float64(row[j]) / (n * float64(raters))
		}
		e := p*p + (1-p)*(1-p)
		r.Categories[j] = resampled(v, e+v*(1-e), e, n, len(counts), drawn[j])
	}
	return r, nil
}

// corrected is agreement beyond chance as a share of what could be; NaN where
// chance explains all.
func corrected(observed, expected float64) float64 {
	if 1-expected < 1e-12 {
		return math.NaN()
	}
	return (observed - expected) / (1 - expected)
}

// resampled is a chance-corrected estimate with its bootstrap interval. Where
// all resamples are alike (nobody ever disagreed, or there is one unit) they
// would claim certainty: the interval is then Wilson's for the agreement of
// that many units, carried over.
func resampled(value, observed, expected, units float64, n int, drawn []float64) Estimate {
	low, high := value, value
	if len(drawn) > 0 {
		low, high = percentiles(drawn)
	}
	if high-low < 1e-9 {
		low, high = carried(observed, expected, units)
	}
	return between(value, low, high, n, -1, 1)
}
