package evals

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
)

// chosenVote is a vote as the bot stores it.
func chosenVote(who, label string, c review.Chosen) phoenix.SpanAnnotation {
	o := opinion(who, label)
	o.Metadata = map[string]any{"rubric": "h"}
	if c.Stream != "" {
		o.Metadata["stream"], o.Metadata["selection_probability"] = string(c.Stream), c.Probability
	}
	return o
}

// collected is what Collect finds of these votes, a span each.
func collected(spans ...[]phoenix.SpanAnnotation) Collection {
	c := Collection{Spans: len(spans)}
	for i, votes := range spans {
		l, ok := Resolve(votes)
		if !ok {
			l.How = ""
		}
		l.SpanID = fmt.Sprint(i)
		l.Span.Start = time.Date(2026, 9, 1+i, 0, 0, 0, 0, time.UTC)
		c.Annotated++
		c.Items = append(c.Items, l)
	}
	return c
}

func failures(t *testing.T, r Rates) LabelRate {
	t.Helper()
	for _, l := range r.Labels {
		if l.Label == "incorrect" {
			return l
		}
	}
	t.Fatalf("no rate of incorrect: %+v", r)
	return LabelRate{}
}

// By the rules of a route itself: over many projects the mean of the weighted
// rate is the truth, and so is that of the control stream; that of the plain rate
// is not.
func TestLabelRates_WeightedIsUnbiasedWherePlainIsNot(t *testing.T) {
	const projects, spans = 300, 2000
	rubric := review.DefaultRubric("correctness")
	var plain, weighted, control, truth float64
	holds := 0
	for p := range projects {
		r := rand.New(rand.NewPCG(uint64(p), 1))
		route := review.Route{Name: fmt.Sprint("route ", p), Rubric: "correctness", Order: review.ByUncertainty, Sample: .5, Uncertainty: review.Uncertainty{Random: .2}}
		var votes [][]phoenix.SpanAnnotation
		failed := 0
		for i := range spans {
			id := fmt.Sprintf("%016x", r.Uint64())
			uncertainty, label, rate := 0., "correct", .03
			if i%10 == 0 {
				uncertainty, rate = .4, .5
			}
			if r.Float64() < rate {
				label = "incorrect"
				failed++
			}
			stream := route.StreamOf(id)
			if !review.Sampled(route.Name, id, route.Sample) || route.Sift(stream, uncertainty, true) != review.Post {
				continue
			}
			v := []phoenix.SpanAnnotation{chosenVote("slack:T:a", label, route.Choice(stream, uncertainty > 0))}
			if i%3 == 0 { // more than one reviewer is not more than one span
				v = append(v, chosenVote("slack:T:b", label, route.Choice(stream, uncertainty > 0)))
			}
			votes = append(votes, v)
		}
		got, err := LabelRates(collected(votes...), RatesOptions{Rubric: rubric})
		if err != nil {
			t.Fatal(err)
		}
		l := failures(t, got)
		is := float64(failed) / spans
		truth, plain, weighted, control = truth+is, plain+l.Rate.Value, weighted+l.Weighted.Value, control+l.Control.Value
		if l.Weighted.Low <= is && is <= l.Weighted.High {
			holds++
		}
		if got.Weighed != len(votes) || got.Labelled != len(votes) || got.Unrecorded != 0 || got.Effective >= float64(len(votes)) {
			t.Fatalf("project %d: %+v of %d cards", p, got, len(votes))
		}
	}
	truth, plain, weighted, control = truth/projects, plain/projects, weighted/projects, control/projects
	t.Logf("truth %.4f, plain %.4f, weighted %.4f, control %.4f; interval holds it in %.3f", truth, plain, weighted, control, float64(holds)/projects)
	// Standard errors of the means are some 0.001.
	if math.Abs(weighted-truth) > .004 || math.Abs(control-truth) > .004 {
		t.Errorf("weighted %.4f, control stream %.4f; the truth is %.4f", weighted, control, truth)
	}
	if plain < truth+.05 {
		t.Errorf("plain %.4f is near the truth, %.4f: the example proves nothing", plain, truth)
	}
	if float64(holds)/projects < .92 {
		t.Errorf("the interval holds the truth in %d of %d projects", holds, projects)
	}
}

func TestLabelRates_WhatIsCountedAndWhatIsSaid(t *testing.T) {
	rubric := review.DefaultRubric("correctness")
	sure, chance := review.Chosen{Stream: review.Uncertain, Probability: 1}, review.Chosen{Stream: review.Control, Probability: .25}
	bad := chosenVote("a", "correct", chance)
	bad.Metadata["selection_probability"] = 0.
	words := chosenVote("a", "correct", chance)
	words.Metadata["selection_probability"] = "half"
	adjudged := chosenVote("adjudicated:u", "incorrect", review.Chosen{Stream: review.Uncertain, Probability: .9})
	none := review.Chosen{}
	tests := []struct {
		name                                   string
		votes                                  []phoenix.SpanAnnotation
		labelled, weighed, streamless, differs int
		warning                                string
	}{
		{"one reviewer", []phoenix.SpanAnnotation{chosenVote("a", "correct", chance)}, 1, 1, 0, 0, ""},
		{"three reviewers are one span", []phoenix.SpanAnnotation{chosenVote("a", "correct", chance), chosenVote("b", "correct", chance), chosenVote("c", "incorrect", chance)}, 1, 1, 0, 0, ""},
		{"nobody wrote how", []phoenix.SpanAnnotation{chosenVote("a", "correct", none)}, 1, 0, 1, 0, "No selection probability is recorded"},
		{"one of two wrote how", []phoenix.SpanAnnotation{chosenVote("admin", "correct", none), chosenVote("b", "correct", chance)}, 1, 1, 0, 0, ""},
		{"two routes", []phoenix.SpanAnnotation{chosenVote("a", "correct", chance), chosenVote("b", "correct", sure)}, 1, 1, 0, 1, "the largest counts"},
		{"a probability of nothing", []phoenix.SpanAnnotation{bad}, 1, 0, 0, 0, "have one that is not above 0"},
		{"a probability in words", []phoenix.SpanAnnotation{words}, 1, 0, 0, 0, "have one that is not above 0"},
		{"an adjudication chose nothing", []phoenix.SpanAnnotation{chosenVote("a", "correct", chance), adjudged}, 1, 1, 0, 0, ""},
		{"an adjudication alone", []phoenix.SpanAnnotation{adjudged}, 1, 0, 1, 0, ""},
		{"the uncertain stream", []phoenix.SpanAnnotation{chosenVote("a", "correct", sure)}, 1, 1, 0, 0, "because a judge was unsure"},
		{"a label of nobody's rubric", []phoenix.SpanAnnotation{chosenVote("a", "odd", chance)}, 1, 1, 0, 0, "counted all the same: odd"},
	}
	for _, tt := range tests {
		r, err := LabelRates(collected(tt.votes), RatesOptions{Rubric: rubric})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if r.Labelled != tt.labelled || r.Weighed != tt.weighed || r.Unrecorded != tt.labelled-tt.weighed || r.NoStream != tt.streamless || r.Differing != tt.differs {
			t.Errorf("%s: %+v", tt.name, r)
		}
		said := strings.Join(r.Warnings, "\n")
		if !strings.Contains(said, tt.warning) || tt.warning == "" && tt.weighed > 0 && said != "" {
			t.Errorf("%s: it says %q, want %q", tt.name, said, tt.warning)
		}
	}
	two := collected([]phoenix.SpanAnnotation{chosenVote("a", "correct", chance), chosenVote("b", "correct", sure)}, []phoenix.SpanAnnotation{chosenVote("a", "incorrect", review.Chosen{Stream: review.Control, Probability: .5})})
	if r, err := LabelRates(two, RatesOptions{Rubric: rubric}); err != nil || math.Abs(failures(t, r).Weighted.Value-2./3) > 1e-12 || r.Streams["uncertain"] != 1 || r.Streams["control"] != 1 {
		t.Errorf("the larger probability of two is 1: %+v, %v", r, err)
	}
}

func TestLabelRates_Refusals(t *testing.T) {
	rubric := review.DefaultRubric("correctness")
	other := chosenVote("a", "correct", review.Chosen{})
	other.Metadata["rubric"] = "g"
	score := 1.
	mixed := collected([]phoenix.SpanAnnotation{chosenVote("a", "correct", review.Chosen{})}, []phoenix.SpanAnnotation{other})
	for name, tt := range map[string]struct {
		c    Collection
		o    RatesOptions
		want string
	}{
		"nobody":         {Collection{Spans: 9}, RatesOptions{Project: "shop"}, "none of the 9 spans of project shop has a HUMAN annotation named correctness;"},
		"nobody since":   {mixed, RatesOptions{Since: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}, "named correctness since 2027-01-01T00:00:00Z"},
		"rubric changed": {mixed, RatesOptions{}, "the rubric was changed midway"},
		"other rubric":   {mixed, RatesOptions{RubricHash: "x"}, "none has a label to count: 2 under another version of the rubric"},
		"disputed":       {collected([]phoenix.SpanAnnotation{opinion("a", "correct"), opinion("b", "incorrect")}), RatesOptions{}, "1 disputed"},
		"scores alone":   {collected([]phoenix.SpanAnnotation{{Kind: "HUMAN", Identifier: "a", Answer: review.Answer{Score: &score}}}), RatesOptions{}, "1 with a score or words alone"},
	} {
		tt.o.Rubric = rubric
		if _, err := LabelRates(tt.c, tt.o); review.KindOf(err) != review.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", name, err, tt.want)
		}
	}
	for _, o := range []RatesOptions{{AnyRubric: true}, {RubricHash: "g"}, {Since: time.Date(2026, 9, 2, 0, 0, 0, 0, time.UTC)}} {
		o.Rubric = rubric
		want := 1
		if o.AnyRubric {
			want = 2
		}
		if r, err := LabelRates(mixed, o); err != nil || r.Labelled != want {
			t.Errorf("%+v: %d labelled, %v", o, r.Labelled, err)
		}
	}
}

// With equal probabilities, whatever they are, weighing changes nothing; the
// weighted rates of all labels add up to one; an effective size is never more
// than the labels there are.
func TestLabelRates_AddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var spans [][]phoenix.SpanAnnotation
		equal := rapid.Bool().Draw(t, "equal")
		same := rapid.Float64Range(1e-6, 1).Draw(t, "probability")
		for range rapid.IntRange(1, 30).Draw(t, "spans") {
			p := same
			if !equal {
				p = rapid.Float64Range(1e-6, 1).Draw(t, "probability")
			}
			spans = append(spans, []phoenix.SpanAnnotation{chosenVote("a", rapid.SampledFrom([]string{"correct", "incorrect", "odd"}).Draw(t, "label"), review.Chosen{Stream: review.Control, Probability: p})})
		}
		r, err := LabelRates(collected(spans...), RatesOptions{Rubric: review.DefaultRubric("correctness")})
		if err != nil {
			t.Fatal(err)
		}
		sum, n := 0., 0
		for _, l := range r.Labels {
			sum, n = sum+l.Weighted.Value, n+l.N
			if equal && (math.Abs(l.Weighted.Value-l.Rate.Value) > 1e-9 || math.Abs(l.Weighted.Low-l.Rate.Low) > 1e-6) {
				t.Fatalf("%s: plain %s, weighted %s", l.Label, l.Rate, l.Weighted)
			}
		}
		if math.Abs(sum-1) > 1e-9 || n != len(spans) {
			t.Fatalf("rates add up to %v, spans to %d of %d", sum, n, len(spans))
		}
		if k := float64(len(spans)); r.Effective > k || r.Effective < 1-1e-9 || equal && math.Abs(r.Effective-k) > 1e-6 {
			t.Fatalf("effective n %v of %d", r.Effective, len(spans))
		}
	})
}
