package review

import (
	"testing"
	"time"
)

func TestStop_IsLookedAtOnlyAtItsSizes_AndOnceEach(t *testing.T) {
	s := Stop{Width: .03, Labels: 300, Looks: []int{50, 100, 200}}
	tests := []struct {
		judged int
		taken  []Look
		size   int
		due    bool
	}{
		{0, nil, 0, false},
		{49, nil, 0, false},
		{50, nil, 50, true},
		{51, nil, 50, true}, // two judged at once
		{99, []Look{{Size: 50}}, 50, false},
		{250, nil, 200, true}, // the wish came late: the smaller looks are not made up for
		{250, []Look{{Size: 50}, {Size: 200}}, 200, false},
		{300, []Look{{Size: 200}}, 300, true},
		{900, []Look{{Size: 300}}, 300, false},
	}
	for _, tt := range tests {
		if size, due := s.Due(tt.judged, tt.taken); due != tt.due || due && size != tt.size {
			t.Errorf("%d judged, taken %v: %d, %v; want %d, %v", tt.judged, tt.taken, size, due, tt.size, tt.due)
		}
	}
	if _, due := (Stop{}).Due(1000, nil); due {
		t.Error("a route that never stops looks")
	}
}

func TestStop_GoesByTheWishOfToday(t *testing.T) {
	wide := func(l Look) float64 { return map[int]float64{50: .08, 200: .04, 400: .03, 2000: .012}[l.Size] }
	taken := []Look{{400, 401, 40}, {50, 50, 5}, {200, 203, 20}, {2000, 2000, 200}}
	looks := []int{50, 200, 400}
	tests := []struct {
		name string
		s    Stop
		want int
	}{
		{"the first that is narrow enough", Stop{.04, 5000, looks}, 200},
		{"as wide as wanted", Stop{.03, 5000, looks}, 400},
		{"narrower is wanted now", Stop{.02, 5000, looks}, 0},
		// The look at 2,000 was the end once; it is none of the sizes.
		{"the end was moved", Stop{.02, 3000, looks}, 0},
		{"the end", Stop{.01, 2000, looks}, 2000},
		{"only an end", Stop{Labels: 2000}, 2000},
		{"a look that is none of today's", Stop{.04, 5000, []int{400}}, 400},
		{"never", Stop{}, 0},
	}
	for _, tt := range tests {
		if got, ok := tt.s.Enough(taken, wide); got.Size != tt.want || ok != (tt.want > 0) {
			t.Errorf("%s: %+v %v; want %d", tt.name, got, ok, tt.want)
		}
	}
}

func TestVerdict_IsOneOfASpan_AndOnlyOfThoseChosenByChance(t *testing.T) {
	at := time.Unix(1_758_000_000, 0)
	vote := func(user, label string, change ...func(*Vote)) Vote {
		v := Vote{Reviewer: user, Name: "correctness", Rubric: "a", Label: label, At: at, Delivery: Stored}
		for _, f := range change {
			f(&v)
		}
		return v
	}
	later := func(v *Vote) { v.At, v.Rubric = at.Add(time.Hour), "b" }
	card := func(c Chosen, votes ...Vote) *Card { return &Card{TS: "1.2", Rubric: "a", Chosen: c, Votes: votes} }
	tests := []struct {
		name string
		c    *Card
		want string
	}{
		{"nobody", card(Chosen{}), ""},
		{"no card", nil, ""},
		{"one", card(Chosen{}, vote("U1", "correct")), "a correct"},
		{"of the control stream", card(Chosen{Control, .3}, vote("U1", "correct")), "a correct"},
		{"of the uncertain stream", card(Chosen{Uncertain, 1}, vote("U1", "correct")), ""},
		{"judged through an outline", &Card{State: Loose, Votes: []Vote{vote("U1", "correct")}}, ""},
		{"most", card(Chosen{}, vote("U1", "correct"), vote("U2", "incorrect"), vote("U3", "incorrect")), "a incorrect"},
		{"disputed", card(Chosen{}, vote("U1", "correct"), vote("U2", "incorrect")), ""},
		{"taken back", card(Chosen{}, vote("U1", "correct", func(v *Vote) { v.Withdrawn = true })), ""},
		{"refused by Phoenix", card(Chosen{}, vote("U1", "correct", func(v *Vote) { v.Delivery = Failed })), ""},
		{"of the trace", card(Chosen{}, vote("U1", "correct", func(v *Vote) { v.OnTrace = true })), ""},
		{"a score alone", card(Chosen{}, vote("U1", "")), ""},
		{"the question changed", card(Chosen{}, vote("U1", "correct"), vote("U2", "correct"), vote("U3", "incorrect", later)), "b incorrect"},
		{"judged in Phoenix", card(Chosen{}, vote("phoenix:x", "correct", func(v *Vote) { v.Rubric = "" })), "a correct"},
	}
	for _, tt := range tests {
		got := ""
		if rubric, label, ok := tt.c.Verdict(); ok {
			got = rubric + " " + label
		}
		if got != tt.want {
			t.Errorf("%s: %q; want %q", tt.name, got, tt.want)
		}
	}
}
