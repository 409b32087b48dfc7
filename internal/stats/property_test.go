package stats

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// ragged draws ratings of up to eight units by up to four raters, some missing.
func ragged(t *rapid.T) []Rating {
	var out []Rating
	q := rapid.IntRange(1, 4).Draw(t, "labels")
	raters := rapid.IntRange(1, 4).Draw(t, "raters")
	for u := range rapid.IntRange(1, 8).Draw(t, "units") {
		for r := range raters {
			if v := rapid.IntRange(0, q).Draw(t, "value"); v > 0 {
				out = append(out, Rating{Unit: fmt.Sprint(u), Rater: fmt.Sprint(r), Label: fmt.Sprint(v), Score: float64(v), HasScore: true})
			}
		}
	}
	return out
}

// byUnit is the scores of each unit.
func byUnit(ratings []Rating) map[string][]float64 {
	m := map[string][]float64{}
	for _, r := range ratings {
		m[r.Unit] = append(m[r.Unit], r.Score)
	}
	return m
}

// slowAlpha is the textbook's: a matrix of coincidences, pair by pair, and the
// distance of each two values from its definition.
func slowAlpha(ratings []Rating, level Level) float64 {
	o := map[[2]float64]float64{}
	of := map[float64]float64{}
	var n float64
	for _, vs := range byUnit(ratings) {
		if len(vs) < 2 {
			continue
		}
		for i, c := range vs {
			for j, k := range vs {
				if i != j {
					o[[2]float64{c, k}] += 1 / float64(len(vs)-1)
				}
			}
		}
	}
	for ck, x := range o {
		of[ck[0]] += x
		n += x
	}
	delta := func(c, k float64) float64 {
		if c == k {
			return 0
		}
		switch level {
		case Ordinal:
			low, high := min(c, k), max(c, k)
			sum := 0.0
			for g, x := range of {
				if low <= g && g <= high {
					sum += x
				}
			}
			d := sum - (of[c]+of[k])/2
			return d * d
		case Interval:
			return (c - k) * (c - k)
		case Ratio:
			return (c - k) / (c + k) * (c - k) / (c + k)
		}
		return 1
	}
	var do, de float64
	for ck, x := range o {
		do += x * delta(ck[0], ck[1]) / n
	}
	for c, x := range of {
		for k, y := range of {
			de += x * y * delta(c, k) / (n * (n - 1))
		}
	}
	return 1 - do/de
}

// slowAC1 is Gwet's, unit by unit.
func slowAC1(ratings []Rating, q int) float64 {
	var pa, shared, units float64
	share := map[float64]float64{}
	for _, vs := range byUnit(ratings) {
		units++
		same := 0.0
		for i, c := range vs {
			share[c] += 1 / float64(len(vs))
			for j, k := range vs {
				if i != j && c == k {
					same++
				}
			}
		}
		if m := float64(len(vs)); m > 1 {
			pa += same / (m * (m - 1))
			shared++
		}
	}
	pa /= shared
	pe := 0.0
	for _, s := range share {
		pe += s / units * (1 - s/units) / float64(q-1)
	}
	return (pa - pe) / (1 - pe)
}

func same(t *rapid.T, what string, got Estimate, want float64) {
	t.Helper()
	if math.IsNaN(want) != !got.Defined() {
		t.Fatalf("%s is %s, the slow way gives %v", what, got, want)
	}
	if got.Defined() && math.Abs(got.Value-want) > 1e-9 {
		t.Fatalf("%s is %v, the slow way gives %v", what, got.Value, want)
	}
}

func TestAgree_IsTheTextbooksForAnyVotes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ratings := ragged(t)
		for level := Nominal; level <= Ratio; level++ {
			a, err := Agree(ratings, AgreementOptions{Level: level, Resamples: 20})
			if err != nil {
				t.Fatal(err)
			}
			same(t, level.String()+" α", a.KrippendorffAlpha, slowAlpha(ratings, level))
			seen := map[float64]bool{}
			for _, r := range ratings {
				seen[r.Score] = true
			}
			want := math.NaN()
			if len(seen) > 1 && a.Shared > 0 {
				want = slowAC1(ratings, len(seen))
			}
			same(t, "AC1", a.GwetAC1, want)
		}
	})
}

func everyEstimate(a Agreement) map[string]Estimate {
	m := map[string]Estimate{"percent": a.PercentAgreement, "cohen": a.CohenKappa, "fleiss": a.FleissKappa, "alpha": a.KrippendorffAlpha,
		"ac1": a.GwetAC1, "pabak": a.PABAK, "linear": a.CohenKappaLinear, "quadratic": a.CohenKappaQuadratic}
	for _, p := range a.Pairs {
		m["percent "+p.A+p.B], m["cohen "+p.A+p.B] = p.PercentAgreement, p.CohenKappa
	}
	return m
}

func TestAgree_StaysWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := AgreementOptions{Level: Level(rapid.IntRange(0, 3).Draw(t, "level")), Resamples: 30, Seed: rapid.Uint64().Draw(t, "seed")}
		a, err := Agree(ragged(t), o)
		if err != nil {
			t.Fatal(err)
		}
		for name, e := range everyEstimate(a) {
			if e.Defined() && (!(-1 <= e.Low && e.Low <= e.Value && e.Value <= e.High && e.High <= 1)) && !(name == "pabak" && e.Low >= -1.0001) {
				t.Fatalf("%s is %v (%v to %v)", name, e.Value, e.Low, e.High)
			}
		}
	})
}

// Who is called what changes nothing at the nominal level, nor does the order in
// which ratings come; at the interval level moving and stretching changes nothing.
func TestAgree_NamesOrderAndUnitsOfMeasureDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ratings := ragged(t)
		if len(ratings) == 0 {
			return
		}
		other := slices.Clone(ratings)
		names := map[string]string{"1": "z", "2": "b", "3": "y", "4": "a"}
		for i := range other {
			other[i].Label = names[other[i].Label]
			other[i].Unit = "unit " + other[i].Unit
			other[i].Rater = fmt.Sprint(9 - int(other[i].Rater[0]-'0'))
			other[i].Score = 1e6 - 3*other[i].Score
		}
		other = rapid.Permutation(other).Draw(t, "order")
		for _, level := range []Level{Nominal, Interval} {
			o := AgreementOptions{Level: level, Resamples: 10}
			a, err := Agree(ratings, o)
			if err != nil {
				t.Fatal(err)
			}
			b, err := Agree(other, o)
			if err != nil {
				t.Fatal(err)
			}
			for name, pair := range map[string][2]Estimate{"α": {a.KrippendorffAlpha, b.KrippendorffAlpha}, "AC1": {a.GwetAC1, b.GwetAC1},
				"Fleiss": {a.FleissKappa, b.FleissKappa}, "Cohen": {a.CohenKappa, b.CohenKappa}, "PABAK": {a.PABAK, b.PABAK}} {
				if pair[0].Undefined != pair[1].Undefined || math.Abs(pair[0].Value-pair[1].Value) > 1e-9 {
					t.Fatalf("%s %s is %s, and %s when renamed", level, name, pair[0], pair[1])
				}
			}
		}
	})
}

func square(t *rapid.T, least, most int) [][]int {
	q := rapid.IntRange(least, most).Draw(t, "labels")
	table := make([][]int, q)
	for i := range table {
		table[i] = rapid.SliceOfN(rapid.IntRange(0, 9), q, q).Draw(t, "row")
	}
	return table
}

// Two raters may change places, and κ of two labels is that of its formula.
func TestCohenKappa_IsSymmetricAndTheTextbooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := square(t, 2, 4)
		turned := make([][]int, len(table))
		var n, hit, chance float64
		for i := range table {
			for j := range table {
				turned[i] = append(turned[i], table[j][i])
				n += float64(table[i][j])
			}
			hit += float64(table[i][i])
		}
		for _, w := range []Weights{Plain, Linear, Quadratic} {
			a, b := CohenKappa(table, w), CohenKappa(turned, w)
			if a.Undefined != b.Undefined || math.Abs(a.Value-b.Value) > 1e-9 || math.Abs(a.SEFleiss-b.SEFleiss) > 1e-6 {
				t.Fatalf("κ is %s, turned %s", a, b)
			}
		}
		for i := range table {
			var row, column float64
			for j := range table {
				row += float64(table[i][j])
				column += float64(table[j][i])
			}
			chance += row * column / (n * n)
		}
		k := CohenKappa(table, Plain)
		if k.Defined() && math.Abs(k.Value-(hit/n-chance)/(1-chance)) > 1e-9 {
			t.Fatalf("κ is %v, by its formula %v", k.Value, (hit/n-chance)/(1-chance))
		}
	})
}

// The closed form of Fleiss, Cohen and Everitt as it is printed for plain κ.
func TestCohenKappa_StandardErrorByThePrintedFormula(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := square(t, 2, 4)
		k := CohenKappa(table, Plain)
		if !k.Defined() {
			return
		}
		var n float64
		rows, columns := make([]float64, len(table)), make([]float64, len(table))
		for i := range table {
			for j, c := range table[i] {
				n += float64(c)
				rows[i] += float64(c)
				columns[j] += float64(c)
			}
		}
		var sum, off float64
		for i := range table {
			for j, c := range table[i] {
				p := float64(c) / n
				if i == j {
					d := 1 - (rows[i]+columns[i])/n*(1-k.Value)
					sum += p * d * d
				} else {
					d := (columns[i] + rows[j]) / n
					off += p * d * d
				}
			}
		}
		d := k.Value - k.Expected*(1-k.Value)
		v := sum + (1-k.Value)*(1-k.Value)*off - d*d
		want := math.Sqrt(math.Max(0, v)) / ((1 - k.Expected) * math.Sqrt(n))
		if math.Abs(k.SEFleiss-want) > 1e-5 {
			t.Fatalf("SE is %v, printed formula %v", k.SEFleiss, want)
		}
	})
}

func TestProportions_StayWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		k := rapid.IntRange(0, n).Draw(t, "k")
		e, mirror := Wilson(k, n), Wilson(n-k, n)
		if !(0 <= e.Low && e.Low <= e.Value && e.Value <= e.High && e.High <= 1) || !(e.Low < e.High) {
			t.Fatalf("Wilson(%d, %d) is %+v", k, n, e)
		}
		if math.Abs(e.Low-(1-mirror.High)) > 1e-12 {
			t.Fatalf("Wilson is not the same for misses: %s and %s", e, mirror)
		}
		if w := HalfWidth(k, n); SampleSize(e.Value, w) > n || SampleSize(e.Value, w*(1-1e-9)) != n+1 && SampleSize(e.Value, w*(1-1e-9)) != n {
			t.Fatalf("SampleSize(%v, %v) is %d, it is the half-width of %d", e.Value, w, SampleSize(e.Value, w), n)
		}
		p := Paired{rapid.IntRange(0, 40).Draw(t, "both"), rapid.IntRange(0, 40).Draw(t, "fixed"), rapid.IntRange(0, 40).Draw(t, "broken"), rapid.IntRange(0, 40).Draw(t, "neither")}
		d, back := Newcombe(p), Newcombe(Paired{p.Both, p.Broken, p.Fixed, p.Neither})
		if d.Defined() && (!(-1 <= d.Low && d.Low <= d.Value && d.Value <= d.High && d.High <= 1) || math.Abs(d.Low+back.High) > 1e-9) {
			t.Fatalf("Newcombe is %s, the other way round %s", d, back)
		}
	})
}

// choose is C(n, k) as a float, by Pascal's way.
func choose(n, k int) float64 {
	c := 1.0
	for i := range k {
		c = c * float64(n-i) / float64(i+1)
	}
	return c
}

func TestMcNemar_IsTheBinomialSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, c := rapid.IntRange(0, 60).Draw(t, "b"), rapid.IntRange(0, 60).Draw(t, "c")
		want := 0.0
		for i := 0; i <= min(b, c); i++ {
			want += 2 * choose(b+c, i) * math.Pow(0.5, float64(b+c))
		}
		if got := McNemar(b, c); math.Abs(got-min(1, want)) > 1e-9 || got != McNemar(c, b) || got != SignTest(b, c) {
			t.Fatalf("McNemar(%d, %d) = %v, by the sum %v", b, c, got, want)
		}
	})
	if p := McNemar(400_000, 401_000); !(p > 0.26 && p < 0.27) { // z = 1.117
		t.Errorf("of 801,000 changes p = %v", p)
	}
}

func TestWeightedRate_OfEqualChancesIsWilson(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hit := rapid.SliceOfN(rapid.Bool(), 1, 60).Draw(t, "hit")
		p := rapid.Float64Range(1e-300, 1).Draw(t, "probability")
		chances, k := make([]float64, len(hit)), 0
		for i, h := range hit {
			chances[i] = p
			if h {
				k++
			}
		}
		got, want := WeightedRate(hit, chances), Wilson(k, len(hit))
		if math.Abs(got.Value-want.Value) > 1e-9 || math.Abs(got.Low-want.Low) > 1e-9 || math.Abs(got.High-want.High) > 1e-9 {
			t.Fatalf("weighted %+v, Wilson %+v", got, want)
		}
	})
}

func TestRoganGladen_StaysWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "n")
		m1, m0 := rapid.IntRange(1, 100).Draw(t, "positives labelled"), rapid.IntRange(1, 100).Draw(t, "negatives labelled")
		tpr, tnr := Wilson(rapid.IntRange(0, m1).Draw(t, "tp"), m1), Wilson(rapid.IntRange(0, m0).Draw(t, "tn"), m0)
		e := RoganGladen(rapid.IntRange(0, n).Draw(t, "k"), n, tpr, tnr)
		if (tpr.Value+tnr.Value <= 1) == e.Defined() || e.Defined() && !(0 <= e.Low && e.Low <= e.Value && e.Value <= e.High && e.High <= 1) {
			t.Fatalf("%s for TPR %v, TNR %v", e, tpr.Value, tnr.Value)
		}
	})
}

// The judge's own numbers, cell by cell against their definitions.
func TestReport_IsTheTextbooksForAnyTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := square(t, 2, 3)
		labels := []string{"a", "b", "c"}[:len(table)]
		c := NewConfusion(labels)
		c.Counts = table
		c.Unparsable = rapid.SliceOfN(rapid.IntRange(0, 3), len(table), len(table)).Draw(t, "unparsable")
		a := c.Report("a")
		for name, e := range map[string]Estimate{"accuracy": a.Accuracy, "balanced": a.BalancedAccuracy, "tpr": a.TPR, "tnr": a.TNR, "κ": a.CohenKappa, "AC1": a.GwetAC1, "MCC": a.MCC} {
			if e.Defined() && !(-1 <= e.Low && e.Low <= e.Value && e.Value <= e.High && e.High <= 1) {
				t.Fatalf("%s is %+v", name, e)
			}
		}
		if len(table) != 2 || a.N == 0 || c.Unparsable[0]+c.Unparsable[1] > 0 {
			return
		}
		tp, fn, fp, tn := float64(table[0][0]), float64(table[0][1]), float64(table[1][0]), float64(table[1][1])
		same(t, "TPR", a.TPR, tp/(tp+fn))
		same(t, "TNR", a.TNR, tn/(tn+fp))
		same(t, "precision", a.Classes[0].Precision, tp/(tp+fp))
		same(t, "F1", a.Classes[0].F1, 2*tp/(2*tp+fp+fn))
		same(t, "balanced accuracy", a.BalancedAccuracy, (tp/(tp+fn)+tn/(tn+fp))/2)
		if f := (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn); f > 0 {
			same(t, "MCC", a.MCC, (tp*tn-fp*fn)/math.Sqrt(f))
			if math.Abs(MCC(table)-a.MCC.Value) > 1e-12 {
				t.Fatalf("MCC alone is %v", MCC(table))
			}
		}
	})
}
