package review

import (
	"hash/fnv"
	"slices"
	"strings"
)

// Uncertainty says how a route of that order finds the spans worth a human look.
type Uncertainty struct {
	Judge  string  // annotation name of the judge; "" = the rubric's name and "_judge"
	Random float64 // share of the spans that are chosen by chance alone, 0 to 1
}

// JudgeName is the name under which the judge of the route's rubric annotates.
func (r Route) JudgeName() string {
	if r.Uncertainty.Judge != "" {
		return r.Uncertainty.Judge
	}
	return r.Rubric + "_judge"
}

// FeedbackName is the name of the annotation that holds what users of the
// application said. Phoenix itself defines it: positive = 1, negative = 0.
const FeedbackName = "user_feedback"

// Stream is the reason why a span has a card, in a route ordered by uncertainty.
type Stream string

// Streams. A rate may be read off the control stream as it is. In one that
// counts both streams each card weighs 1 / its selection probability.
const (
	Uncertain Stream = "uncertain" // people and judges may differ on it
	Control   Stream = "control"   // chosen by chance, whatever is thought of it
)

// Chosen is how a card's span was chosen. The zero value: by a route that
// takes the spans as they come.
type Chosen struct {
	Stream      Stream
	Probability float64 // of being chosen, in either stream, 0 to 1
}

// Random reports that what is thought of a span had no part in choosing it.
func (c Chosen) Random() bool { return c.Stream != Uncertain }

// StreamOf is the stream that a span belongs to if it is chosen; "" in a route
// of another order. It is a hash of route and span, so that replicas and later
// polls agree, and another one than Sampled's, so that the two are independent.
func (r Route) StreamOf(spanID string) Stream {
	switch {
	case r.Order != ByUncertainty:
		return ""
	case chance("stream", r.Name, spanID) < r.Uncertainty.Random:
		return Control
	}
	return Uncertain
}

// Choice is how a span of that stream was chosen. worth says that it is worth a
// look (see Evidence.Uncertainty): then it has a card whichever stream the hash
// gave it, else only by chance.
func (r Route) Choice(s Stream, worth bool) Chosen {
	switch {
	case s == "":
		return Chosen{}
	case worth || s == Uncertain:
		return Chosen{s, r.Sample}
	}
	return Chosen{s, r.Sample * r.Uncertainty.Random}
}

// Sift says whether a span that Decide lets through is posted in a route
// ordered by uncertainty.
func (r Route) Sift(s Stream, uncertainty float64, known bool) Verdict {
	switch {
	case s != Uncertain:
		return Post
	case !known:
		return Unjudged
	case uncertainty <= 0:
		return NotChosen
	}
	return Post
}

// Opinion is what one judge said of a span.
type Opinion struct {
	Label string
	Votes map[string]float64 // label -> how often, where it was asked several times
}

// Evidence is what Phoenix holds of a span besides human judgements.
type Evidence struct {
	Judges   []Opinion // one for each identifier
	Feedback []Answer  // of users of the application
}

// Uncertainty is how much a span is worth a human look, 0 to 1; false while no
// judge has seen it. It is the largest of these: the share of one judge's votes
// that are not for its commonest label; the same of the labels of several
// judges; 1 where a judge contradicts what a user of the application said.
func (e Evidence) Uncertainty(rubric Rubric) (u float64, known bool) {
	labels := map[string]float64{}
	for _, j := range e.Judges {
		u = max(u, split(j.Votes))
		if j.Label == "" {
			continue
		}
		known = true
		labels[j.Label]++
		up, directed := rubric.direction(j.Label)
		if directed && slices.ContainsFunc(e.Feedback, func(a Answer) bool { liked, said := liked(a); return said && liked != up }) {
			u = 1
		}
	}
	return max(u, split(labels)), known || u > 0
}

// split is 1 less the largest share.
func split(votes map[string]float64) float64 {
	var sum, most float64
	for _, n := range votes {
		if n > 0 { // also leaves out NaN
			sum, most = sum+n, max(most, n)
		}
	}
	if sum == 0 {
		return 0
	}
	return 1 - most/sum
}

// direction says whether a label is the rubric's 👍 or its 👎; false for others.
func (r Rubric) direction(label string) (up, known bool) {
	switch {
	case r.Up != nil && r.Up.Name == label:
		return true, true
	case r.Down != nil && r.Down.Name == label:
		return false, true
	}
	return false, false
}

// What applications call a user's thumb, where there is no score.
var (
	likes    = []string{"positive", "thumbs-up", "thumbs_up", "thumbs up", "up", "like", "good", "👍"}
	dislikes = []string{"negative", "thumbs-down", "thumbs_down", "thumbs down", "down", "dislike", "bad", "👎"}
)

func liked(a Answer) (yes, said bool) {
	word := strings.ToLower(strings.TrimSpace(a.Label))
	switch {
	case slices.Contains(likes, word):
		return true, true
	case slices.Contains(dislikes, word):
		return false, true
	case a.Score != nil && *a.Score > 0.5:
		return true, true
	case a.Score != nil && *a.Score < 0.5:
		return false, true
	}
	return false, false
}

// chance is a number from 0 up to 1 that is the same for the same words.
func chance(words ...string) float64 {
	h := fnv.New64a()
	h.Write([]byte(strings.Join(words, "\x00")))
	// FNV's high bits mix badly on short inputs; one multiply-shift spreads them.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}
