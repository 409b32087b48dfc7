package evals

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/stats"
)

// RatesOptions say which labels are counted.
type RatesOptions struct {
	Rubric     review.Rubric
	Project    string    // its name
	Since      time.Time // only spans that began then or later; zero: all
	RubricHash string    // only labels that were given under it
	AnyRubric  bool
}

// LabelRate is how often one label is given.
type LabelRate struct {
	Label string `json:"label"`
	N     int    `json:"n"` // spans with this label
	// Rate is the share of the labelled spans, as they are: of all spans only where
	// these were chosen by chance.
	Rate stats.Estimate `json:"rate"`
	// Weighted is that of all spans, each labelled one weighing 1 / its selection
	// probability. Spans without a recorded one are not in it.
	Weighted stats.Estimate `json:"weighted_rate"`
	// Control is the share of the control stream, which was chosen by chance.
	Control stats.Estimate `json:"control_rate"`
}

// Rates is how often each label is given in a project, with how the labelled
// spans were chosen. A span counts once, however many reviewers it had.
type Rates struct {
	Project     string         `json:"project"`
	Rubric      string         `json:"rubric"`
	Since       *time.Time     `json:"since,omitempty"`
	Spans       int            `json:"spans"`           // looked at
	Annotated   int            `json:"annotated"`       // by people, under the rubric's name, since then
	Labelled    int            `json:"labelled"`        // with one label that all follows from
	Disputed    int            `json:"disputed"`        // people disagree, and nobody decided
	NoLabel     int            `json:"no_label"`        // a score or words alone
	OtherRubric int            `json:"other_rubric"`    // left out by RubricHash
	Streams     map[string]int `json:"streams"`         // labelled spans by their stream, where one is recorded
	NoStream    int            `json:"no_stream"`       // labelled spans of which none is
	Weighed     int            `json:"weighed"`         // labelled spans with a selection probability
	Unrecorded  int            `json:"no_probability"`  // labelled spans without one: nothing is assumed of them
	Unusable    int            `json:"bad_probability"` // of these, the ones whose probability is none
	Differing   int            `json:"differing"`       // chosen more than once, with different probabilities
	Effective   float64        `json:"effective_n"`     // as many labels of equal probability say as much
	Labels      []LabelRate    `json:"labels"`
	Warnings    []string       `json:"warnings"`
}

// LabelRates counts the labels of a project's spans.
//
// Invalid: nobody gave a label, or the rubric changed midway.
func LabelRates(c Collection, o RatesOptions) (Rates, error) {
	r := Rates{Project: o.Project, Rubric: o.Rubric.Name, Spans: c.Spans, Streams: map[string]int{}, Labels: []LabelRate{}, Warnings: []string{}}
	if !o.Since.IsZero() {
		since := o.Since.UTC()
		r.Since = &since
	}
	var items []Labelled
	for _, l := range c.Items {
		if l.Span.Start.Before(o.Since) {
			continue
		}
		r.Annotated++
		switch {
		case l.How == "":
			r.NoLabel++
		case o.RubricHash != "" && !slices.Equal(l.Rubrics, []string{o.RubricHash}):
			r.OtherRubric++
		case l.How == Disputed || l.Label == "":
			r.Disputed++
		default:
			items = append(items, l)
		}
	}
	if !o.AnyRubric && o.RubricHash == "" {
		if err := Mixed(items, "name one with --rubric-hash, or take all with --any-rubric"); err != nil {
			return r, err
		}
	}
	r.Labelled = len(items)
	if len(items) == 0 {
		return r, &review.Error{Kind: review.Invalid, Text: r.nothing()}
	}

	names := make([]string, 0, len(o.Rubric.Labels))
	for _, l := range o.Rubric.Labels {
		names = append(names, l.Name)
	}
	var others []string
	var probability []float64
	weighed, control := make([]bool, len(items)), make([]bool, len(items))
	for i, l := range items {
		if !slices.Contains(names, l.Label) && !slices.Contains(others, l.Label) {
			others = append(others, l.Label)
		}
		how := chosenOf(l)
		if how.stream == "" {
			r.NoStream++
		} else {
			r.Streams[how.stream]++
		}
		control[i] = how.stream == string(review.Control)
		if how.differing {
			r.Differing++
		}
		switch {
		case how.probability > 0:
			weighed[i] = true
			probability = append(probability, how.probability)
		case how.unusable:
			r.Unusable++
		}
	}
	r.Weighed, r.Unrecorded = len(probability), len(items)-len(probability)
	r.Effective = stats.EffectiveSize(probability)
	slices.Sort(others)
	for _, name := range append(names, others...) {
		r.Labels = append(r.Labels, rateOf(name, items, weighed, control, probability))
	}
	r.warn(others)
	if c.Simulated > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("Labelled by simulated reviewers, and looked at by no person: %d of the %d spans.", c.Simulated, c.Annotated))
	}
	return r, nil
}

func rateOf(name string, items []Labelled, weighed, control []bool, probability []float64) LabelRate {
	out := LabelRate{Label: name}
	var hits []bool
	in, of := 0, 0
	for i, l := range items {
		hit := l.Label == name
		if hit {
			out.N++
		}
		if weighed[i] {
			hits = append(hits, hit)
		}
		if control[i] {
			of++
			if hit {
				in++
			}
		}
	}
	out.Rate = stats.Wilson(out.N, len(items))
	out.Weighted = stats.WeightedRate(hits, probability)
	if len(hits) == 0 {
		out.Weighted = stats.Estimate{Undefined: "no label has a recorded selection probability"}
	}
	out.Control = stats.Wilson(in, of)
	if of == 0 {
		out.Control = stats.Estimate{Undefined: "no label is of the control stream"}
	}
	return out
}

// chosenBy is how a span came to be labelled, by what its annotations say.
type chosenBy struct {
	stream      string
	probability float64 // 0: not recorded
	differing   bool
	unusable    bool
}

// chosenOf reads it from the votes. A span that was chosen by two routes was
// chosen with at least the larger of their probabilities: that one counts.
// Adjudications do not count: they choose among spans that were chosen before.
func chosenOf(l Labelled) chosenBy {
	var c chosenBy
	for _, op := range l.Opinions {
		if strings.HasPrefix(op.Identifier, review.AdjudicatedPrefix) || op.Label == "" {
			continue
		}
		stream, _ := op.Metadata["stream"].(string)
		if v, recorded := op.Metadata["selection_probability"]; recorded {
			p, ok := v.(float64)
			switch {
			case !ok || !(p > 0 && p <= 1):
				c.unusable = true
			case c.probability == 0:
				c.probability, c.stream = p, stream
				continue
			case p != c.probability:
				c.differing = true
				if p > c.probability {
					c.probability, c.stream = p, stream
					continue
				}
			}
		}
		if c.stream == "" {
			c.stream = stream
		}
	}
	return c
}

// nothing says why there is nothing to count.
func (r Rates) nothing() string {
	since := ""
	if r.Since != nil {
		since = " since " + r.Since.Format(time.RFC3339)
	}
	if r.Annotated == 0 {
		return fmt.Sprintf("none of the %d spans of project %s has a HUMAN annotation named %s%s; let people judge some first (spanbot), or name another rubric with --rubric", r.Spans, r.Project, r.Rubric, since)
	}
	return fmt.Sprintf("of %d annotated spans%s none has a label to count: %s", r.Annotated, since, r.Left())
}

// Left says in words what was left out; "" for nothing.
func (r Rates) Left() string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{r.Disputed, "disputed"}, {r.NoLabel, "with a score or words alone"}, {r.OtherRubric, "under another version of the rubric"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

// warn says what keeps one from reading too much into the rates.
func (r *Rates) warn(others []string) {
	say := func(format string, args ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...)) }
	if k := r.Streams[string(review.Uncertain)]; k > 0 {
		say("The plain rate counts %d of %d spans that were posted because a judge was unsure or contradicted: it is the rate of what was labelled. For all spans read the weighted rate, or that of the control stream.", k, r.Labelled)
	}
	switch {
	case r.Weighed == 0:
		say("No selection probability is recorded: the spans came from routes that take them as they come, from Phoenix's page or from elsewhere. The plain rate is that of all spans only if these were chosen by chance.")
	case r.Unrecorded > 0:
		say("%d of %d labels have no recorded selection probability. Nothing is assumed about how their spans were chosen: they are in the plain rate, and not in the weighted one.", r.Unrecorded, r.Labelled)
	}
	if r.Unusable > 0 {
		say("Of these, %d have one that is not above 0 and at most 1.", r.Unusable)
	}
	if r.Differing > 0 {
		say("Chosen more than once, with different probabilities, so that the largest counts, which weighs least: %d of the spans.", r.Differing)
	}
	if r.Disputed > 0 {
		what := "spans over which people disagree are"
		if r.Disputed == 1 {
			what = "span over which people disagree is"
		}
		say("%d %s in no rate, and such spans are the hard ones.", r.Disputed, what)
	}
	if r.Weighed > 0 && r.Effective < float64(r.Weighed)/2 {
		say("The weights differ much: %d labels say as much as %.0f of equal probability. The random share of the route (uncertainty.random) makes them more alike.", r.Weighed, r.Effective)
	}
	if len(others) > 0 {
		say("Not among the rubric's labels, and counted all the same: %s.", strings.Join(others, ", "))
	}
}
