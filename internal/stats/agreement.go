package stats

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Level is what may be said about two different values: only that they differ
// (Nominal), which is more (Ordinal), by how much (Interval), by what share of
// their sum (Ratio).
type Level int

// The levels of measurement, from the least to the most that values tell.
const (
	Nominal Level = iota
	Ordinal
	Interval
	Ratio
)

var levels = []string{"nominal", "ordinal", "interval", "ratio"}

// ParseLevel reads a level's name.
func ParseLevel(s string) (Level, error) {
	if i := slices.Index(levels, strings.ToLower(strings.TrimSpace(s))); i >= 0 {
		return Level(i), nil
	}
	return 0, fmt.Errorf("the level %q is not known; it is one of %s", s, strings.Join(levels, ", "))
}

// String is the level's name.
func (l Level) String() string {
	if l < Nominal || l > Ratio {
		return "level " + strconv.Itoa(int(l))
	}
	return levels[l]
}

// MarshalText gives the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads the level's name.
func (l *Level) UnmarshalText(b []byte) (err error) {
	*l, err = ParseLevel(string(b))
	return err
}

// Rating is what one rater said of one unit: a label, a score, or both.
type Rating struct {
	Unit, Rater, Label string
	Score              float64
	HasScore           bool
	At                 time.Time // when it was given; zero where that is not known
}

// Agreement is what several raters agree on. N of percent_agreement, pabak,
// Gwet's and Fleiss' coefficient counts the units that two or more rated, that
// of Cohen's κ the units both rated, that of Krippendorff's α the ratings of
// units that two or more rated.
type Agreement struct {
	Units   int   `json:"units"`             // with at least one rating
	Shared  int   `json:"units_rated_twice"` // with two or more
	Raters  int   `json:"raters"`
	Ratings int   `json:"ratings"`
	Level   Level `json:"level"`

	PercentAgreement  Estimate `json:"percent_agreement"`
	CohenKappa        Estimate `json:"cohen_kappa"`
	FleissKappa       Estimate `json:"fleiss_kappa"`
	KrippendorffAlpha Estimate `json:"krippendorff_alpha"`
	GwetAC1           Estimate `json:"gwet_ac1"`
	PABAK             Estimate `json:"pabak"`
	// Above the nominal level, of two raters: a miss counts by how far it is off.
	CohenKappaLinear    Estimate `json:"cohen_kappa_linear,omitzero"`
	CohenKappaQuadratic Estimate `json:"cohen_kappa_quadratic,omitzero"`

	Pairs     []RaterPair    `json:"pairs"` // those with the most units first, 200 at most
	Mix       map[string]int `json:"mix"`   // ratings by label
	Resamples int            `json:"resamples"`
	Seed      uint64         `json:"seed"`
	Warnings  []string       `json:"warnings"`
}

// RaterPair is what two raters agree on, over the N units that both rated.
type RaterPair struct {
	A                string   `json:"a"`
	B                string   `json:"b"`
	N                int      `json:"n"`
	PercentAgreement Estimate `json:"percent_agreement"`
	CohenKappa       Estimate `json:"cohen_kappa"`
}

// AgreementOptions says how ratings are to be read.
type AgreementOptions struct {
	Level     Level
	Labels    []string // configured labels in their order; nil: as seen, sorted
	Resamples int      // 0: 2000
	Seed      uint64   // 0: 1
}

const noOverlap = "no span was rated by two people"

// Agree measures what raters agree on. Ratings may be ragged: any number of
// raters for each unit, who need not be the same ones. Units that one person
// rated count for the mix of labels in Gwet's coefficient and for nothing else.
//
// At the nominal level values are labels (a score where there is no label); at
// the ordinal level labels in the order of the options, or scores; above, they
// are scores. κ, AC1, PABAK and percent agreement ask only whether two values
// are the same, at every level.
//
// Intervals: bootstrap over units with the seed, but Wilson's for percent
// agreement where each unit has two ratings, the same made into PABAK's, and
// the large-sample standard error of Fleiss, Cohen and Everitt for Cohen's κ.
//
// Ratings without a value are left out, of a rater who rated a unit twice the
// last one counts, and warnings say how many. It refuses, naming unit and rater,
// scores that are not numbers, labels outside the configured ones, and values
// that the level cannot use.
func Agree(ratings []Rating, o AgreementOptions) (Agreement, error) {
	a := Agreement{Level: o.Level, Pairs: []RaterPair{}, Mix: map[string]int{}, Seed: o.Seed, Warnings: []string{}}
	if o.Level < Nominal || o.Level > Ratio {
		return a, fmt.Errorf("there is no %v; it is one of %s", o.Level, strings.Join(levels, ", "))
	}
	if a.Seed == 0 {
		a.Seed = 1
	}
	kept, skipped, err := usable(ratings, o)
	if err != nil {
		return a, err
	}
	s, err := newScale(kept, o)
	if err != nil {
		return a, err
	}
	v, again := newVotes(kept, s)
	a.Ratings = len(kept) - again
	a.Units, a.Raters = v.units, len(v.raters)
	a.Pairs = v.pairs(&a, s)

	p := newPatterns(v, s)
	a.Shared = len(p.shared)
	p.agreement(&a, o.Resamples, a.Seed)
	v.cohen(&a, s)
	if skipped > 0 {
		a.Warnings = append(a.Warnings, fmt.Sprintf("Left out, because there is no value in it: %s.", count(skipped, "rating")))
	}
	if again > 0 {
		a.Warnings = append(a.Warnings, fmt.Sprintf("Given again by the same rater, so that only the last one counts: %s.", count(again, "rating")))
	}
	a.Warnings = append(a.Warnings, v.warnings(&a, s)...)
	return a, nil
}

// scale numbers the values that occur: labels in their order, scores by size.
type scale struct {
	level  Level
	labels []string
	scores []float64 // of each value, above the ordinal level
	values []int32   // of each rating
}

func where(r Rating) string {
	return fmt.Sprintf("unit %q, rater %q", r.Unit, r.Rater)
}

// usable checks ratings and leaves out those without a value: words alone, or a
// score among labels.
func usable(ratings []Rating, o AgreementOptions) (kept []Rating, skipped int, err error) {
	for i, l := range o.Labels {
		if l == "" {
			return nil, 0, fmt.Errorf("label %d of those configured is empty", i+1)
		}
		if slices.Contains(o.Labels[:i], l) {
			return nil, 0, fmt.Errorf("the label %q is configured twice", l)
		}
	}
	labelled := false
	for _, r := range ratings {
		switch {
		case r.Unit == "":
			return nil, 0, fmt.Errorf("a rating of rater %q names no unit", r.Rater)
		case r.Rater == "":
			return nil, 0, fmt.Errorf("a rating of unit %q names no rater", r.Unit)
		case r.HasScore && (math.IsNaN(r.Score) || math.IsInf(r.Score, 0)):
			return nil, 0, fmt.Errorf("%s: the score %v is not a finite number", where(r), r.Score)
		}
		labelled = labelled || r.Label != ""
	}
	byLabel := labelled && !byScore(o)
	kept = make([]Rating, 0, len(ratings))
	for _, r := range ratings {
		if r.Label == "" && (byLabel || !r.HasScore) {
			skipped++
			continue
		}
		kept = append(kept, r)
	}
	return kept, skipped, nil
}

// byScore: at the ordinal level labels without an order of their own have that
// of their scores.
func byScore(o AgreementOptions) bool {
	return o.Level >= Interval || o.Level == Ordinal && o.Labels == nil
}

// newScale numbers the values of ratings.
func newScale(ratings []Rating, o AgreementOptions) (*scale, error) {
	s := &scale{level: o.Level, values: make([]int32, len(ratings))}
	if byScore(o) {
		return s, s.numberScores(ratings)
	}
	return s, s.numberLabels(ratings, o.Labels)
}

// labelOf is the label, or the score where there is none.
func labelOf(r Rating) string {
	if r.Label != "" {
		return r.Label
	}
	return strconv.FormatFloat(r.Score, 'g', -1, 64)
}

func (s *scale) numberLabels(ratings []Rating, configured []string) error {
	s.labels = slices.Clone(configured)
	index := map[string]int32{}
	for i, l := range s.labels {
		index[l] = int32(i)
	}
	for i, r := range ratings {
		l := labelOf(r)
		v, known := index[l]
		if !known {
			if configured != nil {
				return fmt.Errorf("%s: the label %q is not among %s", where(r), l, quoted(configured))
			}
			v = int32(len(s.labels)) //nolint:gosec // as many as there are ratings at most
			index[l] = v
			s.labels = append(s.labels, l)
		}
		s.values[i] = v
	}
	if configured == nil {
		seen := slices.Clone(s.labels)
		slices.Sort(s.labels)
		for i, l := range s.labels {
			index[l] = int32(i)
		}
		for i, v := range s.values {
			s.values[i] = index[seen[v]]
		}
	}
	return nil
}

func (s *scale) numberScores(ratings []Rating) error {
	scores := make([]float64, len(ratings))
	for i, r := range ratings {
		switch {
		case r.HasScore:
			scores[i] = r.Score
		default:
			x, err := strconv.ParseFloat(strings.TrimSpace(r.Label), 64)
			if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
				if s.level == Ordinal {
					return fmt.Errorf("%s: the label %q has no place in an order; give the labels in their order, or scores", where(r), r.Label)
				}
				return fmt.Errorf("%s: the %s level wants scores, and %q is none", where(r), s.level, r.Label)
			}
			scores[i] = x
		}
		if s.level == Ratio && scores[i] < 0 {
			return fmt.Errorf("%s: the ratio level wants scores of 0 or more, found %v", where(r), scores[i])
		}
	}
	s.scores = slices.Clone(scores)
	slices.Sort(s.scores)
	s.scores = slices.Compact(s.scores)
	names := map[float64]string{}
	if s.level == Ordinal {
		for i, r := range ratings {
			if r.Label != "" && names[scores[i]] == "" {
				names[scores[i]] = r.Label
			}
		}
	}
	s.labels = make([]string, len(s.scores))
	for i, x := range s.scores {
		s.labels[i] = cmp.Or(names[x], strconv.FormatFloat(x, 'g', -1, 64))
	}
	for i, x := range scores {
		v, _ := slices.BinarySearch(s.scores, x)
		s.values[i] = int32(v) //nolint:gosec // as many as there are ratings at most
	}
	return nil
}

// vote is a rating by numbers.
type vote struct{ unit, value int32 }

// votes are all ratings by rater, each rater's in the order of units.
type votes struct {
	units  int
	raters []string // sorted
	of     [][]vote
}

// newVotes sorts ratings by rater and unit, and counts those that came again.
func newVotes(ratings []Rating, s *scale) (v *votes, again int) {
	v = &votes{}
	units, raters := map[string]int32{}, map[string]int{}
	var names []string
	var of [][]vote
	for i, r := range ratings {
		u, known := units[r.Unit]
		if !known {
			u = int32(len(units)) //nolint:gosec // memory ends long before
			units[r.Unit] = u
		}
		k, known := raters[r.Rater]
		if !known {
			k = len(names)
			raters[r.Rater] = k
			names, of = append(names, r.Rater), append(of, nil)
		}
		of[k] = append(of[k], vote{u, s.values[i]})
	}
	v.units = len(units)
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(names[a], names[b]) })
	for _, k := range order {
		list := of[k]
		slices.SortStableFunc(list, func(a, b vote) int { return cmp.Compare(a.unit, b.unit) })
		last := list[:0]
		for _, x := range list {
			if n := len(last); n > 0 && last[n-1].unit == x.unit {
				last[n-1] = x
				again++
				continue
			}
			last = append(last, x)
		}
		list = last
		v.raters, v.of = append(v.raters, names[k]), append(v.of, list)
	}
	return v, again
}

// both lists the values of the units that two raters share.
func (v *votes) both(i, j int) []pairOfValues {
	var out []pairOfValues
	a, b := v.of[i], v.of[j]
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].unit < b[0].unit:
			a = a[1:]
		case a[0].unit > b[0].unit:
			b = b[1:]
		default:
			out = append(out, pairOfValues{a[0].value, b[0].value, 1})
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// mostPairs bounds the list of pairs, and mostRaters who is compared with whom at
// all: for more the list says nothing to a reader.
const (
	mostPairs  = 200
	mostRaters = 200
)

func (v *votes) pairs(a *Agreement, s *scale) []RaterPair {
	out := []RaterPair{}
	if len(v.of) > mostRaters {
		a.Warnings = append(a.Warnings, fmt.Sprintf("With %d raters, pairs of raters are not listed.", len(v.of)))
		return out
	}
	for i := range v.of {
		for j := i + 1; j < len(v.of); j++ {
			shared := v.both(i, j)
			if len(shared) == 0 {
				continue
			}
			same := 0
			for _, p := range shared {
				if p.a == p.b {
					same++
				}
			}
			out = append(out, RaterPair{
				A: v.raters[i], B: v.raters[j], N: len(shared),
				PercentAgreement: Wilson(same, len(shared)),
				CohenKappa:       cohen(shared, len(s.labels), Plain, nil).Estimate,
			})
		}
	}
	slices.SortStableFunc(out, func(x, y RaterPair) int { return cmp.Compare(y.N, x.N) })
	if len(out) > mostPairs {
		a.Warnings = append(a.Warnings, fmt.Sprintf("Of %d pairs of raters the %d with the most spans are listed.", len(out), mostPairs))
		out = out[:mostPairs]
	}
	return out
}

// manyValues is the number of values above which weighted κ, which looks at
// each pair of values, is left to Krippendorff's α.
const manyValues = 500

func (v *votes) cohen(a *Agreement, s *scale) {
	none := func(e Estimate) {
		a.CohenKappa = e
		if s.level > Nominal {
			a.CohenKappaLinear, a.CohenKappaQuadratic = e, e
		}
	}
	switch {
	case len(v.of) < 2 || a.Shared == 0:
		none(undefined(noOverlap))
		return
	case len(v.of) > 2:
		none(undefined("%s; Cohen's κ compares two: see pairs", count(len(v.of), "rater")))
		return
	}
	shared := v.both(0, 1)
	a.CohenKappa = cohen(shared, len(s.labels), Plain, nil).Estimate
	if s.level == Nominal {
		return
	}
	if len(s.labels) > manyValues {
		a.CohenKappaLinear = undefined("there are %d different values: see Krippendorff's α, which weighs them too", len(s.labels))
		a.CohenKappaQuadratic = a.CohenKappaLinear
		return
	}
	var at []float64 // ordinal: by rank
	if s.level > Ordinal {
		at = s.scores
	}
	a.CohenKappaLinear = cohen(shared, len(s.labels), Linear, at).Estimate
	a.CohenKappaQuadratic = cohen(shared, len(s.labels), Quadratic, at).Estimate
}

func (v *votes) warnings(a *Agreement, s *scale) []string {
	var out []string
	if a.Ratings == 0 {
		return nil
	}
	mix := make([]int, len(s.labels))
	for _, list := range v.of {
		for _, x := range list {
			mix[x.value]++
		}
	}
	top := 0
	for i, n := range mix {
		if n > 0 {
			a.Mix[s.labels[i]] = n
		}
		if n > mix[top] {
			top = i
		}
	}
	if share := float64(mix[top]) / float64(a.Ratings); share >= Skewed && a.Shared > 0 {
		out = append(out, fmt.Sprintf("%s %% of the votes say %q: with such a mix κ and α are low even where people agree (the prevalence paradox); read AC1 or PABAK beside them.", percent(share), s.labels[top]))
	}
	if a.Ratings < FewLabels {
		out = append(out, fewLabels(a.Ratings, "label"))
	}
	if alone := a.Units - a.Shared; alone > 0 && a.Shared > 0 {
		out = append(out, fmt.Sprintf("%d of %d spans were rated by one person only and say nothing about agreement.", alone, a.Units))
	}
	if s.level >= Interval {
		out = append(out, "κ, AC1, PABAK and percent agreement take each score for a label of its own; α counts how far apart scores are.")
	}
	return out
}
