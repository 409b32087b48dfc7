package review

import (
	"fmt"
	"math"
	"testing"
)

func byUncertainty(sample, random float64) Route {
	return Route{Name: "main", Rubric: "correctness", Order: ByUncertainty, Sample: sample, Uncertainty: Uncertainty{Random: random}}
}

func TestJudgeName_IsTheRubricsUnlessSaid(t *testing.T) {
	r := byUncertainty(1, .3)
	if got := r.JudgeName(); got != "correctness_judge" {
		t.Error(got)
	}
	r.Uncertainty.Judge = "strict"
	if got := r.JudgeName(); got != "strict" {
		t.Error(got)
	}
}

func TestStream_OnlyInARouteOrderedByUncertainty(t *testing.T) {
	if s := (Route{Name: "main", Order: Newest, Sample: 1}).StreamOf("a"); s != "" {
		t.Error(s)
	}
}

// Two thousand spans, every tenth of which is uncertain, and every fifth of those
// wrong against every twentieth of the others: the streams have their shares, and
// weighed by its selection probability what is posted speaks for all.
func TestSampling_SharesHold_AndWeighedTheCardsSpeakForAllSpans(t *testing.T) {
	for _, sample := range []float64{1, .5} {
		r := byUncertainty(sample, .3)
		const n = 2000
		var sampled, control, posted int
		var all, wrong, weights, weighedWrong, plainWrong float64
		for i := range n {
			id := fmt.Sprintf("%016x", i*7919)
			uncertain := i%10 == 0
			fails := uncertain && i%50 == 0 || !uncertain && i%20 == 1
			if all++; fails {
				wrong++
			}
			if !Sampled(r.Name, id, r.Sample) {
				continue
			}
			sampled++
			s := r.StreamOf(id)
			if s != r.StreamOf(id) {
				t.Fatal("asked twice, a span is in two streams")
			}
			if s == Control {
				control++
			}
			u := 0.0
			if uncertain {
				u = .5
			}
			if r.Sift(s, u, true) != Post {
				continue
			}
			posted++
			c := r.Choice(s, u > 0)
			weights += 1 / c.Probability
			if fails {
				weighedWrong += 1 / c.Probability
				plainWrong++
			}
		}
		near := func(what string, got, want, by float64) {
			t.Helper()
			if math.Abs(got-want) > by {
				t.Errorf("sample %v: %s is %.4f; want %.4f ± %.4f", sample, what, got, want, by)
			}
		}
		near("the sample's share", float64(sampled)/n, sample, .03)
		near("the control stream's share", float64(control)/float64(sampled), .3, .03)
		near("what is posted", float64(posted)/float64(sampled), .3+.7*.1, .03)
		near("the sum of the weights", weights/all, 1, .06)
		near("the weighed failure rate", weighedWrong/weights, wrong/all, .02)
		if plain := plainWrong / float64(posted); plain < weighedWrong/weights+.01 {
			t.Errorf("unweighed the rate is %.3f; a test in which that does no harm shows nothing", plain)
		}
	}
}

func TestUncertainty(t *testing.T) {
	rubric := DefaultRubric("correctness")
	votes := func(label string, correct, incorrect float64) Opinion {
		return Opinion{label, map[string]float64{"correct": correct, "incorrect": incorrect}}
	}
	said := func(label string, score float64) []Answer { return []Answer{{Label: label, Score: &score}} }
	tests := []struct {
		name  string
		e     Evidence
		want  float64
		known bool
	}{
		{"no judge", Evidence{}, 0, false},
		{"a user alone is no judge", Evidence{Feedback: said("negative", 0)}, 0, false},
		{"one vote", Evidence{Judges: []Opinion{{Label: "correct"}}}, 0, true},
		{"all the same", Evidence{Judges: []Opinion{votes("correct", 5, 0)}}, 0, true},
		{"four to one", Evidence{Judges: []Opinion{votes("correct", 4, 1)}}, .2, true},
		{"three to two", Evidence{Judges: []Opinion{votes("incorrect", 2, 3)}}, .4, true},
		{"a judge whose votes found no label", Evidence{Judges: []Opinion{votes("", 1, 1)}}, .5, true},
		{"two judges differ", Evidence{Judges: []Opinion{{Label: "correct"}, {Label: "incorrect"}}}, .5, true},
		{"two of three agree", Evidence{Judges: []Opinion{{Label: "correct"}, {Label: "correct"}, {Label: "incorrect"}}}, 1. / 3, true},
		{"judges agree, one was unsure", Evidence{Judges: []Opinion{votes("correct", 3, 2), {Label: "correct"}}}, .4, true},
		{"the user did not like it", Evidence{[]Opinion{{Label: "correct"}}, said("negative", 0)}, 1, true},
		{"the user liked what the judge did not", Evidence{[]Opinion{{Label: "incorrect"}}, said("positive", 1)}, 1, true},
		{"judge and user agree", Evidence{[]Opinion{{Label: "correct"}}, said("positive", 1)}, 0, true},
		{"a score says it where the label does not", Evidence{[]Opinion{{Label: "correct"}}, said("", 0)}, 1, true},
		{"a score in the middle says nothing", Evidence{[]Opinion{{Label: "correct"}}, said("", .5)}, 0, true},
		{"a label without direction", Evidence{[]Opinion{{Label: "unclear"}}, said("negative", 0)}, 0, true},
		{"votes that are no counts", Evidence{Judges: []Opinion{votes("correct", math.NaN(), -1)}}, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, known := tt.e.Uncertainty(rubric)
			if math.Abs(u-tt.want) > 1e-9 || known != tt.known {
				t.Errorf("%v, %v; want %v, %v", u, known, tt.want, tt.known)
			}
		})
	}
}

func TestSift(t *testing.T) {
	r := byUncertainty(1, .3)
	tests := []struct {
		name  string
		s     Stream
		u     float64
		known bool
		want  Verdict
	}{
		{"chosen by chance", Control, 0, true, Post},
		// Else the control stream would depend on the judge.
		{"chosen by chance, no judge", Control, 0, false, Post},
		{"uncertain", Uncertain, .2, true, Post},
		{"certain", Uncertain, 0, true, NotChosen},
		{"no judge yet", Uncertain, 0, false, Unjudged},
		{"another order", "", 0, false, Post},
	}
	for _, tt := range tests {
		if got := r.Sift(tt.s, tt.u, tt.known); got != tt.want {
			t.Errorf("%s: %s; want %s", tt.name, got, tt.want)
		}
	}
}
