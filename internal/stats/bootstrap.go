package stats

import (
	"math"
	"math/rand/v2"
)

// defaultResamples is how often the bootstrap draws when nobody says.
const defaultResamples = 2000

func resamplesOr(n int) int {
	if n <= 0 {
		return defaultResamples
	}
	return n
}

// dice are those of a seed: the same votes give the same interval on every run
// and every machine.
func dice(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0x5b1a7e57a71571c5)) //nolint:gosec // resampling is meant to be repeatable
}

// resample draws as many units as there are, with replacement and within each
// stratum, and calls each with how often every kind of unit came up. A stratum
// lists the kind of each of its units. Units of one kind are alike, so what is
// then computed costs as many steps as there are kinds, not units.
func resample(strata [][]int32, kinds, resamples int, seed uint64, each func(weights []int32)) {
	r := dice(seed)
	weights := make([]int32, kinds)
	for range resamples {
		clear(weights)
		for _, units := range strata {
			n := len(units)
			for range n {
				weights[units[r.IntN(n)]]++
			}
		}
		each(weights)
	}
}

// ClusterBootstrap is the mean over all values, with a percentile interval for
// which whole clusters are drawn: repetitions of one example are no new
// examples. N is the number of clusters that hold a value. With one cluster
// there is no interval. Where every value is 1, or every value is 0, all
// resamples are alike, and the other end is Wilson's for that many clusters.
//
// Source: A. C. Davison, D. V. Hinkley, Bootstrap Methods and their Application
// (1997), chapter 3.8.
func ClusterBootstrap(clusters [][]float64, resamples int, seed uint64) Estimate {
	var sums, sizes []float64
	var total, n float64
	lowest, highest := math.Inf(1), math.Inf(-1)
	for i, c := range clusters {
		if len(c) == 0 {
			continue
		}
		sum := 0.0
		for _, v := range c {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return undefined("a value of example %d is not a number", i+1)
			}
			sum += v
			lowest, highest = math.Min(lowest, v), math.Max(highest, v)
		}
		sums, sizes = append(sums, sum), append(sizes, float64(len(c)))
		total, n = total+sum, n+float64(len(c))
	}
	k := len(sums)
	if k == 0 {
		return undefined("there are no values")
	}
	mean := clip(total/n, lowest, highest)
	if k == 1 {
		return Estimate{Value: mean, Low: math.Inf(-1), High: math.Inf(1), N: 1}
	}
	if lowest == highest && (lowest == 0 || lowest == 1) {
		e := Wilson(k*int(lowest), k)
		return e
	}
	r := dice(seed)
	means := make([]float64, resamplesOr(resamples))
	for i := range means {
		var s, m float64
		for range k {
			j := r.IntN(k)
			s += sums[j]
			m += sizes[j]
		}
		means[i] = s / m
	}
	low, high := percentiles(means)
	return between(mean, low, high, k, lowest, highest)
}

// PairedBootstrap is the mean of after − before over the same examples, with a
// percentile interval for which examples are drawn. Where no example changed
// the interval has no width; for pass and fail Newcombe has a better one. With
// one example there is no interval.
func PairedBootstrap(before, after []float64, resamples int, seed uint64) Estimate {
	if len(before) != len(after) {
		return undefined("before has %s and after %d; they must be of the same examples", count(len(before), "value"), len(after))
	}
	diffs := make([]float64, len(before))
	flat := make([][]float64, len(before))
	for i := range before {
		diffs[i] = after[i] - before[i]
		flat[i] = diffs[i : i+1]
	}
	e := ClusterBootstrap(flat, resamples, seed)
	if e.HasInterval() && (e.Value == 0 || e.Value == 1) && allEqual(diffs) {
		e.Low, e.High = e.Value, e.Value // differences are no shares: Wilson is not theirs
	}
	return e
}

func allEqual(values []float64) bool {
	for _, v := range values {
		if v != values[0] {
			return false
		}
	}
	return true
}
