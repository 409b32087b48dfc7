package stats

import (
	"math/rand/v2"
	"slices"
)

// defaultResamples is how often is resampled where nothing else is said.
const defaultResamples = 2000

func random(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0x9E3779B97F4A7C15)) //nolint:gosec // resampling, which the seed repeats
}

// percentiles are the 2.5 % and the 97.5 % point of xs.
func percentiles(xs []float64) (low, high float64) {
	slices.Sort(xs)
	at := func(q float64) float64 {
		x := q * float64(len(xs)-1)
		i := int(x)
		if i+1 >= len(xs) {
			return xs[len(xs)-1]
		}
		return xs[i] + (x-float64(i))*(xs[i+1]-xs[i])
	}
	return at(.025), at(.975)
}

// ClusterBootstrap is the mean of all values, with the percentile interval of
// resampling whole clusters: what is in one hangs together, as repetitions of one
// example do. N is the number of clusters. The same seed gives the same interval.
func ClusterBootstrap(clusters [][]float64, resamples int, seed uint64) Estimate {
	if resamples <= 0 {
		resamples = defaultResamples
	}
	var sums, counts []float64
	var total, n float64
	for _, c := range clusters {
		if len(c) == 0 {
			continue
		}
		s := 0.0
		for _, v := range c {
			s += v
		}
		sums, counts = append(sums, s), append(counts, float64(len(c)))
		total, n = total+s, n+float64(len(c))
	}
	if n == 0 {
		return undefined(0, "nothing was observed")
	}
	e := Estimate{Value: total / n, N: len(sums)}
	r := random(seed)
	means := make([]float64, resamples)
	for i := range means {
		var s, m float64
		for range sums {
			k := r.IntN(len(sums))
			s, m = s+sums[k], m+counts[k]
		}
		means[i] = s / m
	}
	e.Low, e.High = percentiles(means)
	return e
}

// PairedBootstrap is the mean of after − before over the same examples, with the
// percentile interval of resampling pairs. Not defined for different lengths.
func PairedBootstrap(before, after []float64, resamples int, seed uint64) Estimate {
	if len(before) != len(after) {
		return undefined(0, "%d values before and %d after are no pairs", len(before), len(after))
	}
	pairs := make([][]float64, len(before))
	for i := range before {
		pairs[i] = []float64{after[i] - before[i]}
	}
	return ClusterBootstrap(pairs, resamples, seed)
}
