package stats

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var firstMonday = time.Date(2026, 9, 7, 0, 0, 0, 0, time.UTC)

// pair is a unit that a and b rated at that moment and a minute later.
func pair(unit, a, b string, at time.Time) []Rating {
	return []Rating{{Unit: unit, Rater: "a", Label: a, At: at}, {Unit: unit, Rater: "b", Label: b, At: at.Add(time.Minute)}}
}

func overTime(t *testing.T, ratings []Rating) OverTime {
	t.Helper()
	o, err := AlphaOverTime(ratings, AgreementOptions{Labels: []string{"x", "y"}, Resamples: 200})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestAlphaOverTime_WeeksAndTheirGaps(t *testing.T) {
	var ratings []Rating
	for i := range 12 { // week 1: half of them agree
		ratings = append(ratings, pair(fmt.Sprint("one", i), "xy"[i%2:i%2+1], "xxyy"[i%4:i%4+1], firstMonday.Add(time.Duration(i)*time.Hour))...)
	}
	// Week 2 has one pair, week 3 none, week 4 twelve that agree, week 5 the same label throughout.
	ratings = append(ratings, pair("two", "x", "y", firstMonday.AddDate(0, 0, 7))...)
	for i := range 12 {
		ratings = append(ratings, pair(fmt.Sprint("four", i), "xy"[i%2:i%2+1], "xy"[i%2:i%2+1], firstMonday.AddDate(0, 0, 21))...)
		ratings = append(ratings, pair(fmt.Sprint("five", i), "x", "x", firstMonday.AddDate(0, 0, 35).Add(-2*time.Minute))...)
	}
	o := overTime(t, ratings)
	if !o.Weekly || len(o.Windows) != 5 || o.Untimed+o.Earlier != 0 {
		t.Fatalf("%+v", o)
	}
	for i, want := range []struct {
		units, raters int
		alpha         string
	}{{12, 2, ""}, {1, 2, "only one span"}, {0, 0, noOverlap}, {12, 2, ""}, {12, 2, "no variation"}} {
		w := o.Windows[i]
		if w.Units != want.units || w.Raters != want.raters || !strings.Contains(w.Alpha.Undefined, want.alpha) || w.Alpha.Defined() != (want.alpha == "") {
			t.Errorf("week %d: %+v, want %+v", i+1, w, want)
		}
		if !w.From.Equal(firstMonday.AddDate(0, 0, 7*i)) || !w.To.Equal(w.From.AddDate(0, 0, 7)) {
			t.Errorf("week %d goes from %s to %s", i+1, w.From, w.To)
		}
	}
	whole, err := Agree(ratings[:24], AgreementOptions{Labels: []string{"x", "y"}, Resamples: 200})
	if err != nil || o.Windows[0].Alpha != whole.KrippendorffAlpha {
		t.Errorf("week 1: α %s, of its ratings alone %s (%v)", o.Windows[0].Alpha, whole.KrippendorffAlpha, err)
	}
	if a := o.Windows[3].Alpha; a.Value != 1 || a.Low > .9 || a.N != 24 {
		t.Errorf("week 4, twelve that agree: %s", a)
	}
}

// A unit counts where it got its second rater, whoever comes later.
func TestAlphaOverTime_AUnitStaysInItsWindow(t *testing.T) {
	ratings := append(pair("u", "x", "y", firstMonday), pair("v", "y", "y", firstMonday)...)
	ratings = append(ratings, pair("w", "x", "x", firstMonday.AddDate(0, 0, 28))...)
	before := overTime(t, ratings)
	ratings = append(ratings, Rating{Unit: "u", Rater: "c", Label: "x", At: firstMonday.AddDate(0, 0, 15)})
	after := overTime(t, ratings)
	if before.Windows[0].Units != 2 || after.Windows[0].Units != 2 || after.Windows[0].Raters != 3 || after.Windows[2].Units != 0 {
		t.Errorf("a third rater moves a unit: %+v", after)
	}
	// Who changes a rating moves the unit: of it only the last time is known.
	changed := append(pair("u", "x", "y", firstMonday), Rating{Unit: "u", Rater: "a", Label: "y", At: firstMonday.AddDate(0, 0, 21)})
	if o := overTime(t, append(changed, pair("v", "y", "x", firstMonday)...)); !o.Weekly || o.Windows[0].Units != 1 || o.Windows[3].Units != 1 {
		t.Errorf("a changed rating: %+v", o)
	}
	// One rater alone, twice, is no pair.
	ratings = append(ratings, Rating{Unit: "s", Rater: "a", Label: "x", At: firstMonday}, Rating{Unit: "s", Rater: "a", Label: "y", At: firstMonday})
	if o := overTime(t, ratings); o.Windows[0].Units != 2 {
		t.Errorf("a rater is compared with himself: %+v", o)
	}
}

func TestAlphaOverTime_AYoungProjectHasWindowsOfAsManyUnits(t *testing.T) {
	for _, tt := range []struct {
		units, windows int
	}{{1, 1}, {39, 1}, {40, 2}, {61, 3}, {160, 8}, {1000, 8}} {
		var ratings []Rating
		for i := range tt.units {
			ratings = append(ratings, pair(fmt.Sprint(i), "x", "y", firstMonday.Add(time.Duration(i)*time.Minute))...)
		}
		o := overTime(t, ratings)
		if o.Weekly || len(o.Windows) != tt.windows {
			t.Errorf("%d units: %d windows, weekly %v; want %d", tt.units, len(o.Windows), o.Weekly, tt.windows)
		}
		least, most := tt.units, 0
		for _, w := range o.Windows {
			least, most = min(least, w.Units), max(most, w.Units)
		}
		if most-least > 1 {
			t.Errorf("%d units: windows of %d to %d", tt.units, least, most)
		}
	}
	var once []Rating
	for i := range 100 {
		once = append(once, pair(fmt.Sprint(i), "x", "y", firstMonday)...)
	}
	if o := overTime(t, once); len(o.Windows) != 1 || o.Windows[0].Units != 100 {
		t.Errorf("units of one moment are torn apart: %+v", o)
	}
}

func TestAlphaOverTime_WhatHasNoTimeIsCounted(t *testing.T) {
	ratings := append(pair("u", "x", "y", firstMonday), pair("v", "x", "y", firstMonday)...)
	ratings = append(ratings, Rating{Unit: "n", Rater: "a", Label: "x"}, Rating{Unit: "n", Rater: "b", Label: "x", At: firstMonday})
	if o := overTime(t, ratings); o.Untimed != 1 || o.Windows[0].Units != 2 {
		t.Errorf("%+v", o)
	}
	if o := overTime(t, nil); len(o.Windows) != 0 {
		t.Errorf("of nothing: %+v", o)
	}
	old := append(ratings, pair("old", "x", "y", time.Date(1969, 3, 1, 0, 0, 0, 0, time.UTC))...)
	if o := overTime(t, old); o.Earlier != 1 || len(o.Windows) != 104 || o.Windows[103].Units != 2 {
		t.Errorf("%d earlier, %d windows", o.Earlier, len(o.Windows))
	}
	ratings[0].Label = "z"
	if _, err := AlphaOverTime(ratings, AgreementOptions{Labels: []string{"x", "y"}}); err == nil || !strings.Contains(err.Error(), `"z" is not among`) {
		t.Errorf("a label that there is not: %v", err)
	}
}

// Every unit with two raters and their times is in one window, within its bounds,
// whatever the times are and in whatever order ratings come.
func TestAlphaOverTime_EachUnitIsInOneWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ratings := ragged(t)
		raters := map[string]map[string]bool{}
		for i := range ratings {
			ratings[i].At = firstMonday.Add(time.Duration(rapid.IntRange(-5000, 5000).Draw(t, "hours")) * time.Hour)
			u := ratings[i].Unit
			if raters[u] == nil {
				raters[u] = map[string]bool{}
			}
			raters[u][ratings[i].Rater] = true
		}
		want := 0
		for _, r := range raters {
			if len(r) > 1 {
				want++
			}
		}
		o, err := AlphaOverTime(ratings, AgreementOptions{Resamples: 10})
		if err != nil {
			t.Fatal(err)
		}
		got := o.Untimed + o.Earlier
		for i, w := range o.Windows {
			got += w.Units
			if w.To.Before(w.From) || i > 0 && w.From.Before(o.Windows[i-1].To) {
				t.Fatalf("windows overlap: %+v", o.Windows)
			}
			if w.Alpha.Defined() && w.Units < 2 {
				t.Fatalf("α of %d units: %+v", w.Units, w)
			}
		}
		if got != want {
			t.Fatalf("%d units in windows, want %d: %+v", got, want, o)
		}
	})
}
