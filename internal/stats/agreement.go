package stats

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Level is what may be done with the values of a rating.
type Level int

// The levels of measurement: what counts as a difference grows from one to the
// next.
const (
	Nominal  Level = iota // equal or not
	Ordinal               // more or less; steps are counted in what was said
	Interval              // differences
	Ratio                 // differences in proportion
)

var levels = []string{"nominal", "ordinal", "interval", "ratio"}

func (l Level) String() string { return levels[l] }

// MarshalText writes the name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// ParseLevel reads the name of a level.
func ParseLevel(s string) (Level, error) {
	i := slices.Index(levels, strings.ToLower(strings.TrimSpace(s)))
	if i < 0 {
		return 0, fmt.Errorf("%q is no level of measurement; want nominal, ordinal, interval or ratio", s)
	}
	return Level(i), nil
}

// Rating is what one rater said of one unit: a label, or a score.
type Rating struct {
	Unit, Rater string
	Label       string
	Score       float64
	HasScore    bool
}

// AgreementOptions say how agreement is measured.
type AgreementOptions struct {
	Level     Level
	Labels    []string // the configured ones, in their order, which ordinal goes by; nil: as seen
	Resamples int      // of the bootstrap; 0: 2,000
	Seed      uint64   // of the bootstrap; 0: 1
}

func (o AgreementOptions) resamples() int { return cmp.Or(o.Resamples, defaultResamples) }

// Agreement is how far raters agree.
type Agreement struct {
	Units             int            `json:"units"` // rated by anybody
	Shared            int            `json:"units_rated_twice"`
	Raters            int            `json:"raters"`
	Ratings           int            `json:"ratings"`
	Level             Level          `json:"level"`
	PercentAgreement  Estimate       `json:"percent_agreement"`
	CohenKappa        Estimate       `json:"cohen_kappa"`
	FleissKappa       Estimate       `json:"fleiss_kappa"`
	KrippendorffAlpha Estimate       `json:"krippendorff_alpha"`
	GwetAC1           Estimate       `json:"gwet_ac1"`
	PABAK             Estimate       `json:"pabak"`
	Pairs             []RaterPair    `json:"pairs"`
	Mix               map[string]int `json:"mix"` // ratings by label
	Resamples         int            `json:"resamples"`
	Seed              uint64         `json:"seed"`
	Warnings          []string       `json:"warnings"`
}

// RaterPair is two raters on the units that both rated.
type RaterPair struct {
	A                string   `json:"a"`
	B                string   `json:"b"`
	N                int      `json:"n"`
	PercentAgreement Estimate `json:"percent_agreement"`
	CohenKappa       Estimate `json:"cohen_kappa"`
}

// mostPairs bounds the list of pairs: for more raters it says nothing to a reader.
const mostPairs = 200

// Agree measures agreement among raters who need not have rated the same units.
// With labels, nominal and ordinal go by the label, and by the score where there
// is none; interval and ratio go by the score. A rater who rated a unit twice
// counts with the last.
//
// It fails, naming unit and rater, for a score that is no finite number, a label
// that is none of the configured ones, and interval or ratio without a score.
func Agree(ratings []Rating, o AgreementOptions) (Agreement, error) {
	if o.Seed == 0 {
		o.Seed = 1
	}
	t, err := tableOf(ratings, o)
	if err != nil {
		return Agreement{}, err
	}
	a := Agreement{Units: len(t.units), Raters: len(t.raters), Level: o.Level, Mix: map[string]int{}, Resamples: o.resamples(), Seed: o.Seed, Warnings: []string{}, Pairs: []RaterPair{}}
	marginal := make([]int, len(t.names))
	for _, u := range t.units {
		a.Ratings += len(u)
		if len(u) > 1 {
			a.Shared++
		}
		for _, v := range u {
			marginal[v.value]++
		}
	}
	for i, n := range marginal {
		if n > 0 {
			a.Mix[t.names[i]] = n
		}
	}
	if t.groups == nil {
		t.group()
	}
	a.PercentAgreement = t.percent(o.resamples(), o.Seed)
	a.KrippendorffAlpha = t.alpha(o.Level, o.resamples(), o.Seed)
	a.FleissKappa = t.fleiss(o.resamples(), o.Seed)
	a.GwetAC1 = t.ac1(o.resamples(), o.Seed)
	a.PABAK = t.pabak(a.PercentAgreement)
	switch {
	case len(t.raters) == 2:
		a.CohenKappa = t.cohen(0, 1)
	case len(t.raters) < 2:
		a.CohenKappa = undefined(0, "it compares two raters, and there is %d", len(t.raters))
	default:
		a.CohenKappa = undefined(0, "it compares two raters, and there are %d: see pairs", len(t.raters))
	}
	t.pairs(&a)
	a.warn(marginal, t.names)
	return a, nil
}

func (a *Agreement) warn(marginal []int, names []string) {
	say := func(format string, args ...any) { a.Warnings = append(a.Warnings, fmt.Sprintf(format, args...)) }
	for i, n := range marginal {
		if n*5 >= a.Ratings*4 && a.Ratings > 0 {
			say("%q has %d of %d ratings: κ and α are low then however well raters agree (the prevalence paradox); look at AC1 or PABAK beside them", names[i], n, a.Ratings)
		}
	}
	switch {
	case a.Shared == 0:
		say("no unit was rated by two raters: agreement was not measured")
	case a.Shared < 20:
		say("only %d units were rated by two raters or more: the intervals are wide", a.Shared)
	}
}

// table is ratings by unit.
type table struct {
	units  [][]vote
	raters []string
	names  []string  // of values
	values []float64 // what they are as numbers
	q      int       // how many labels are configured, or seen
	level  Level

	groups []group // units of the same make, for sums that need no more
	of     []int   // unit → group
}

type vote struct{ rater, value int }

// group is units in which the same values were given, whoever gave them.
type group struct {
	count  int
	size   int       // m: ratings in a unit
	values []int     // ascending, once each
	times  []float64 // how often
}

// tableOf reads ratings.
func tableOf(ratings []Rating, o AgreementOptions) (*table, error) {
	t := &table{level: o.Level}
	units, raters := map[string]int{}, map[string]int{}
	numeric := o.Level == Interval || o.Level == Ratio
	labelled := false
	for _, r := range ratings {
		if r.HasScore && (math.IsNaN(r.Score) || math.IsInf(r.Score, 0)) {
			return nil, fmt.Errorf("unit %s, rater %s: the score is not a finite number", r.Unit, r.Rater)
		}
		if o.Level == Ratio && r.HasScore && r.Score < 0 {
			return nil, fmt.Errorf("unit %s, rater %s: the score %g is below 0, which the ratio level has no meaning for", r.Unit, r.Rater, r.Score)
		}
		labelled = labelled || r.Label != ""
	}
	byScore := numeric || !labelled
	type key struct {
		label string
		score float64
	}
	values := map[key]int{}
	if !byScore {
		for _, l := range o.Labels {
			values[key{label: l}] = len(t.names)
			t.names = append(t.names, l)
		}
	}
	var seen []key
	where := map[[2]int]int{} // unit, rater → place in the unit
	for _, r := range ratings {
		if r.Label == "" && !r.HasScore || !byScore && r.Label == "" {
			continue // words alone, or a score among labels
		}
		if byScore && !r.HasScore {
			return nil, fmt.Errorf("unit %s, rater %s: the %s level needs a score, and there is only the label %q", r.Unit, r.Rater, o.Level, r.Label)
		}
		k := key{label: r.Label}
		if byScore {
			k = key{score: r.Score}
		}
		v, known := values[k]
		if !known {
			if !byScore && o.Labels != nil {
				return nil, fmt.Errorf("unit %s, rater %s: %q is none of the labels %s", r.Unit, r.Rater, r.Label, strings.Join(o.Labels, ", "))
			}
			v = len(t.names)
			values[k] = v
			t.names = append(t.names, "")
			seen = append(seen, k)
		}
		u, ok := units[r.Unit]
		if !ok {
			u = len(t.units)
			units[r.Unit] = u
			t.units = append(t.units, nil)
		}
		w, ok := raters[r.Rater]
		if !ok {
			w = len(t.raters)
			raters[r.Rater] = w
			t.raters = append(t.raters, r.Rater)
		}
		at := [2]int{u, w}
		if i, twice := where[at]; twice {
			t.units[u][i].value = v
			continue
		}
		where[at] = len(t.units[u])
		t.units[u] = append(t.units[u], vote{w, v})
	}
	// Values in their order: as configured, else by number or name.
	if byScore || o.Labels == nil {
		order := slices.Clone(seen)
		slices.SortFunc(order, func(a, b key) int { return cmp.Or(cmp.Compare(a.score, b.score), strings.Compare(a.label, b.label)) })
		to := make([]int, len(seen))
		t.names = make([]string, len(seen))
		for i, k := range order {
			to[values[k]] = i
			t.names[i] = k.label
			if byScore {
				t.names[i] = fmt.Sprint(k.score)
				t.values = append(t.values, k.score)
			}
		}
		for _, u := range t.units {
			for i := range u {
				u[i].value = to[u[i].value]
			}
		}
	}
	if t.values == nil {
		for i := range t.names {
			t.values = append(t.values, float64(i))
		}
	}
	t.q = len(t.names)
	t.group()
	return t, nil
}

// group puts units of the same make together. What they have in common is worked
// out once, however many there are.
func (t *table) group() {
	t.groups, t.of = nil, make([]int, len(t.units))
	index := map[string]int{}
	var buf []byte
	var vs []int
	for i, u := range t.units {
		vs = vs[:0]
		for _, v := range u {
			vs = append(vs, v.value)
		}
		slices.Sort(vs)
		buf = buf[:0]
		for _, v := range vs {
			buf = binary.AppendVarint(buf, int64(v))
		}
		g, ok := index[string(buf)]
		if !ok {
			g = len(t.groups)
			index[string(buf)] = g
			n := group{size: len(vs)}
			for _, v := range vs {
				if k := len(n.values); k > 0 && n.values[k-1] == v {
					n.times[k-1]++
				} else {
					n.values, n.times = append(n.values, v), append(n.times, 1)
				}
			}
			t.groups = append(t.groups, n)
		}
		t.groups[g].count++
		t.of[i] = g
	}
}

// weights are how often each group is in the data.
func (t *table) weights() []float64 {
	w := make([]float64, len(t.groups))
	for i, g := range t.groups {
		w[i] = float64(g.count)
	}
	return w
}

// resample calls f with the weights of samples of the units, each as large as the
// data, and returns what f made of them. Samples for which f has no value are left
// out.
func (t *table) resample(times int, seed uint64, f func(w []float64) (float64, bool)) (low, high float64, ok bool) {
	if n := len(t.units); n > 20_000 {
		times = min(times, 200) // the interval is narrow then, and its ends well known
	}
	r := random(seed)
	var out []float64
	w := make([]float64, len(t.groups))
	for range times {
		clear(w)
		for range t.units {
			w[t.of[r.IntN(len(t.of))]]++
		}
		if v, ok := f(w); ok {
			out = append(out, v)
		}
	}
	if len(out) < times/2 || len(out) == 0 {
		return math.NaN(), math.NaN(), false
	}
	low, high = percentiles(out)
	return low, high, true
}

// estimate is a value of the data with its interval over resampled units.
func (t *table) estimate(n, times int, seed uint64, f func(w []float64) (float64, bool)) (Estimate, bool) {
	v, ok := f(t.weights())
	if !ok {
		return Estimate{}, false
	}
	e := Estimate{Value: v, N: n, Low: math.NaN(), High: math.NaN()}
	if n > 1 {
		e.Low, e.High, _ = t.resample(times, seed, f)
	}
	return e, true
}

// shared counts the units with two ratings or more, and their ratings.
func (t *table) shared() (units, ratings int) {
	for _, g := range t.groups {
		if g.size > 1 {
			units += g.count
			ratings += g.count * g.size
		}
	}
	return units, ratings
}

const notMeasured = "no unit was rated by two raters"

// agreeing is the share of equal pairs of ratings within units: the mean over
// units with two ratings or more.
func (t *table) agreeing(w []float64) (float64, bool) {
	var sum, n float64
	for i, g := range t.groups {
		if g.size < 2 || w[i] == 0 {
			continue
		}
		m, pairs := float64(g.size), 0.0
		for _, c := range g.times {
			pairs += c * (c - 1)
		}
		sum += w[i] * pairs / (m * (m - 1))
		n += w[i]
	}
	return sum / n, n > 0
}

// percent is the share of equal pairs. With two raters to each unit it is a
// proportion, and has Wilson's interval; else that of the bootstrap.
func (t *table) percent(times int, seed uint64) Estimate {
	units, _ := t.shared()
	if units == 0 {
		return undefined(0, notMeasured)
	}
	two, same := true, 0
	for _, g := range t.groups {
		if g.size > 2 {
			two = false
		}
		if g.size == 2 && len(g.values) == 1 {
			same += g.count
		}
	}
	if two {
		return Wilson(same, units)
	}
	e, _ := t.estimate(units, times, seed, t.agreeing)
	return e
}

// pabak is the prevalence-adjusted, bias-adjusted kappa, 2·po − 1 (Byrt, Bishop
// and Carlin 1993), of two labels.
func (t *table) pabak(po Estimate) Estimate {
	switch {
	case !po.Defined():
		return po
	case t.q != 2:
		return undefined(po.N, "it is for two labels, and there are %d", t.q)
	}
	return Estimate{2*po.Value - 1, 2*po.Low - 1, 2*po.High - 1, po.N, ""}
}

// pairs fills the list of rater pairs, those with the most units first.
func (t *table) pairs(a *Agreement) {
	if len(t.raters) > 100 {
		a.Warnings = append(a.Warnings, fmt.Sprintf("%d raters: pairs are not listed", len(t.raters)))
		return
	}
	for i := range t.raters {
		for j := i + 1; j < len(t.raters); j++ {
			n, same := t.both(i, j)
			if n == 0 {
				continue
			}
			a.Pairs = append(a.Pairs, RaterPair{t.raters[i], t.raters[j], n, Wilson(same, n), t.cohen(i, j)})
		}
	}
	slices.SortStableFunc(a.Pairs, func(x, y RaterPair) int { return y.N - x.N })
	if len(a.Pairs) > mostPairs {
		a.Pairs = a.Pairs[:mostPairs]
	}
}

func (t *table) both(i, j int) (n, same int) {
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
			n++
			if x == y {
				same++
			}
		}
	}
	return n, same
}
