package stats

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// fromTable reads raters as lines of labels, "." where there is none.
func fromTable(t *testing.T, table string) []Rating {
	t.Helper()
	var out []Rating
	for _, line := range strings.Split(strings.TrimSpace(table), "\n") {
		f := strings.Fields(line)
		for u, v := range f[1:] {
			if v == "." {
				continue
			}
			x, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, Rating{Unit: fmt.Sprint(u + 1), Rater: f[0], Label: v, Score: x, HasScore: true})
		}
	}
	return out
}

func agree(t *testing.T, ratings []Rating, o AgreementOptions) Agreement {
	t.Helper()
	a, err := Agree(ratings, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, example D.
const krippendorff2011 = `
A 1 2 3 3 2 1 4 1 2 . . .
B 1 2 3 3 2 2 4 1 2 5 . 3
C . 3 3 3 2 3 4 2 2 5 1 .
D 1 2 3 3 2 4 4 1 2 5 1 .`

func TestPublished_Krippendorff2011(t *testing.T) {
	for _, tt := range []struct {
		level Level
		want  float64
	}{{Nominal, 0.743421}, {Ordinal, 0.815388}, {Interval, 0.849107}, {Ratio, 0.797403}} {
		a := agree(t, fromTable(t, krippendorff2011), AgreementOptions{Level: tt.level})
		near(t, tt.level.String(), a.KrippendorffAlpha.Value, tt.want, 5e-7)
		if a.KrippendorffAlpha.N != 40 || a.Units != 12 || a.Shared != 11 || a.Raters != 4 || a.Ratings != 41 {
			t.Errorf("counts are %d values, %d of %d units, %d raters, %d ratings", a.KrippendorffAlpha.N, a.Shared, a.Units, a.Raters, a.Ratings)
		}
		t.Log(tt.level, a.KrippendorffAlpha, a.GwetAC1, a.PercentAgreement, a.PABAK, a.FleissKappa)
	}
}

func TestPublished_Cohen1960(t *testing.T) {
	r := CohenKappa([][]int{{88, 14, 18}, {10, 40, 10}, {2, 6, 12}}, Plain)
	near(t, "po", r.Observed, 0.70, 1e-12)
	near(t, "pe", r.Expected, 0.41, 1e-12)
	near(t, "κ", r.Value, 0.49153, 5e-6)
	near(t, "SE of Cohen", r.SE, 0.055, 5e-4)
	near(t, "low with it", r.Value-1.96*r.SE, 0.384, 5e-4)
	// The paper added its rounded standard error.
	near(t, "high with it", r.Value+1.96*0.055, 0.600, 1e-3)
	near(t, "SE of Fleiss, Cohen, Everitt", r.SEFleiss, 0.0510, 5e-5)
}

// The printout of SAS PROC FREQ that statsmodels tests against, and R's irr on
// the ratings of anxiety (raters 2 and 3, without the category neither gave).
func TestPublished_StandardErrorsOfKappa(t *testing.T) {
	sas := [][]int{{0, 4, 1}, {0, 8, 0}, {0, 1, 5}}
	for _, tt := range []struct {
		w                       Weights
		kappa, se, low, hi, se0 float64
	}{
		{Plain, 0.4842, 0.1380, 0.2137, 0.7547, 0.1484},
		{Linear, 0.4701, 0.1457, 0.1845, 0.7558, 0.1426},
	} {
		r := CohenKappa(sas, tt.w)
		near(t, "κ", r.Value, tt.kappa, 5e-5)
		near(t, "SE", r.SEFleiss, tt.se, 5e-5)
		near(t, "low", r.Low, tt.low, 5e-5)
		near(t, "high", r.High, tt.hi, 5e-5)
		near(t, "SE of no agreement", r.SENull, tt.se0, 5e-5)
	}

	second := []int{3, 6, 4, 6, 2, 4, 2, 4, 3, 3, 2, 3, 3, 3, 2, 2, 1, 3, 3, 4}
	third := []int{2, 1, 4, 4, 3, 2, 1, 6, 1, 1, 1, 2, 3, 3, 1, 1, 3, 3, 2, 2}
	place := map[int]int{1: 0, 2: 1, 3: 2, 4: 3, 6: 4}
	table := make([][]int, 5)
	for i := range table {
		table[i] = make([]int, 5)
	}
	for i := range second {
		table[place[second[i]]][place[third[i]]]++
	}
	for _, tt := range []struct {
		w        Weights
		kappa, z float64
	}{{Plain, -0.006289308, -0.0604067}, {Linear, 0.1459075, 1.282472}, {Quadratic, 0.2520325, 1.437451}} {
		r := CohenKappa(table, tt.w)
		near(t, "κ", r.Value, tt.kappa, 5e-8)
		near(t, "z", r.Value/r.SENull, tt.z, 5e-7)
	}
}

// Fleiss 1971: six psychiatrists, 30 patients, five diagnoses.
var fleiss1971 = [][]int{
	{0, 0, 0, 6, 0}, {0, 3, 0, 0, 3}, {0, 1, 4, 0, 1}, {0, 0, 0, 0, 6}, {0, 3, 0, 3, 0},
	{2, 0, 4, 0, 0}, {0, 0, 4, 0, 2}, {2, 0, 3, 1, 0}, {2, 0, 0, 4, 0}, {0, 0, 0, 0, 6},
	{1, 0, 0, 5, 0}, {1, 1, 0, 4, 0}, {0, 3, 3, 0, 0}, {1, 0, 0, 5, 0}, {0, 2, 0, 3, 1},
	{0, 0, 5, 0, 1}, {3, 0, 0, 1, 2}, {5, 1, 0, 0, 0}, {0, 2, 0, 4, 0}, {1, 0, 2, 0, 3},
	{0, 0, 0, 0, 6}, {0, 1, 0, 5, 0}, {0, 2, 0, 1, 3}, {2, 0, 0, 4, 0}, {1, 0, 0, 4, 1},
	{0, 5, 0, 1, 0}, {4, 0, 0, 0, 2}, {0, 2, 0, 4, 0}, {1, 0, 5, 0, 0}, {0, 0, 0, 0, 6},
}

func TestPublished_Fleiss1971(t *testing.T) {
	r, err := Fleiss(fleiss1971, 500, 1)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "κ", r.Kappa.Value, 0.4302445, 5e-8)
	near(t, "P", r.Observed, 0.5556, 5e-5)
	near(t, "Pe", r.Expected, 0.2199, 5e-5)
	for j, want := range []float64{0.245, 0.245, 0.520, 0.471, 0.566} {
		near(t, fmt.Sprintf("κ of diagnosis %d", j+1), r.Categories[j].Value, want, 5e-4)
	}
	t.Log(r.Kappa, r.Categories)
}

// The same table rating by rating.
func TestPublished_Fleiss1971ByRatings(t *testing.T) {
	a := agree(t, fromCounts(fleiss1971), AgreementOptions{})
	near(t, "κ", a.FleissKappa.Value, 0.4302445, 5e-8)
	if a.FleissKappa.N != 30 {
		t.Errorf("n = %d, want 30", a.FleissKappa.N)
	}
	if want := "six raters; Cohen's κ compares two: see pairs"; a.CohenKappa.Undefined != want {
		t.Errorf("Cohen's κ: %q, want %q", a.CohenKappa.Undefined, want)
	}
}

// fromCounts makes up raters for counts of labels.
func fromCounts(counts [][]int) []Rating {
	var out []Rating
	for u, row := range counts {
		rater := 0
		for l, n := range row {
			for range n {
				out = append(out, Rating{Unit: fmt.Sprint(u), Rater: fmt.Sprint(rater), Label: fmt.Sprint(l)})
				rater++
			}
		}
	}
	return out
}

// fromPairs makes the ratings of two raters out of their table.
func fromPairs(table [][]int) []Rating {
	var out []Rating
	for i, row := range table {
		for j, n := range row {
			for range n {
				unit := fmt.Sprint(len(out) / 2)
				out = append(out, Rating{Unit: unit, Rater: "a", Label: fmt.Sprint(i)}, Rating{Unit: unit, Rater: "b", Label: fmt.Sprint(j)})
			}
		}
	}
	return out
}

// K. L. Gwet's own package irrCAC 1.0 on its table cont3x3abstractors.
func TestPublished_GwetAbstractors(t *testing.T) {
	a := agree(t, fromPairs([][]int{{13, 0, 0}, {0, 20, 7}, {0, 4, 56}}), AgreementOptions{})
	near(t, "AC1", a.GwetAC1.Value, 0.8493305, 5e-8)
	near(t, "κ", a.CohenKappa.Value, 0.7964094, 5e-8)
	near(t, "α", a.KrippendorffAlpha.Value, 0.7972585, 5e-8)
	near(t, "PABAK", a.PABAK.Value, 0.835, 1e-12)
	near(t, "percent agreement", a.PercentAgreement.Value, 0.89, 1e-12)
	t.Log(a.GwetAC1, a.CohenKappa, a.KrippendorffAlpha)
}

// Fagerland, Lydersen, Laake, Statistical Analysis of Contingency Tables (2017),
// chapter 8: complete response before and after consolidation therapy.
func TestPublished_NewcombeSquareAndAdd(t *testing.T) {
	// Their difference is the first minus the second.
	d := Newcombe(Paired{Both: 59, Fixed: 6, Broken: 16, Neither: 80})
	near(t, "difference", d.Value, -0.0621, 5e-5)
	near(t, "low", d.Low, -0.1186, 5e-5)
	near(t, "high", d.High, -0.0046, 5e-5)
}
