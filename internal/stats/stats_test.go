package stats

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// krippendorff is the table of Krippendorff (2011), 4 observers and 12 units.
var krippendorff = []string{
	"1 2 3 3 2 1 4 1 2 . . .",
	"1 2 3 3 2 2 4 1 2 5 . 3",
	". 3 3 3 2 3 4 2 2 5 1 .",
	"1 2 3 3 2 4 4 1 2 5 1 .",
}

func ratingsOf(rows []string) []Rating {
	var out []Rating
	for r, row := range rows {
		for u, v := range strings.Fields(row) {
			if v == "." {
				continue
			}
			var f float64
			fmt.Sscan(v, &f)
			out = append(out, Rating{Unit: fmt.Sprint(u), Rater: string(rune('A' + r)), Score: f, HasScore: true})
		}
	}
	return out
}

func near(t *testing.T, what string, got, want, by float64) {
	t.Helper()
	if !(math.Abs(got-want) <= by) {
		t.Errorf("%s is %.6f, published %.6f", what, got, want)
	}
}

func TestAlpha_AsPublishedByKrippendorff2011(t *testing.T) {
	for level, want := range map[Level]float64{Nominal: 0.743421, Ordinal: 0.815388, Interval: 0.849107, Ratio: 0.797403} {
		a, err := Agree(ratingsOf(krippendorff), AgreementOptions{Level: level})
		if err != nil {
			t.Fatal(err)
		}
		near(t, level.String(), a.KrippendorffAlpha.Value, want, 5e-7)
		if a.KrippendorffAlpha.N != 40 || !(a.KrippendorffAlpha.Low < want && want < a.KrippendorffAlpha.High) {
			t.Errorf("%s: %s; want n = 40 and an interval around it", level, a.KrippendorffAlpha)
		}
	}
}

func TestKappa_AsPublishedByCohen1960(t *testing.T) {
	k := CohenKappa([][]int{{88, 14, 18}, {10, 40, 10}, {2, 6, 12}}, Plain)
	near(t, "po", k.Observed, .70, 1e-9)
	near(t, "pe", k.Expected, .41, 1e-9)
	near(t, "κ", k.Value, .49153, 5e-6)
	near(t, "SE (Cohen)", k.SE, .055, 5e-4)
	near(t, "low (Cohen)", k.Value-1.96*k.SE, .384, 5e-4)
	near(t, "high (Cohen)", k.Value+1.96*k.SE, .600, 1e-3)
	near(t, "SE (Fleiss, Cohen, Everitt)", k.SEFleiss, .0510, 5e-5)
}

func TestMcNemar_Values(t *testing.T) {
	for _, x := range []struct {
		b, c int
		p    float64
	}{{10, 0, 0.001953125}, {6, 0, 0.03125}, {5, 0, 0.0625}, {0, 0, 1}, {3, 3, 1}} {
		near(t, fmt.Sprint(x.b, x.c), McNemar(x.b, x.c), x.p, 1e-9)
	}
}

func TestSampleSize_Table(t *testing.T) {
	for _, x := range []struct {
		rate, half float64
		n          int
	}{{.08, .03, 320}, {.08, .02, 713}, {.20, .05, 245}, {.50, .10, 93}, {.50, .05, 381}} {
		if n := SampleSize(x.rate, x.half); n != x.n {
			t.Errorf("%v ± %v: %d, published %d", x.rate, x.half, n, x.n)
		}
	}
	if e := Wilson(18, 20); math.Round(100*e.Low) != 70 || math.Round(100*e.High) != 97 {
		t.Errorf("18 of 20: %s", e)
	}
}
