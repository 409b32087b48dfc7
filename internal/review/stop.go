package review

import "slices"

// Stop says when a route has enough judgements. The zero value: never.
type Stop struct {
	// Width is the wanted half-width of the 95 % interval of the failure rate, as
	// a share: 0.03 is three points. 0: any will do.
	Width float64
	// Labels is the most spans that are judged; 0: no limit.
	Labels int
	// Looks are the numbers of judged spans at which it is looked whether the
	// interval is narrow enough. An interval holds for a number that was fixed
	// beforehand: looking after each judgement and stopping at the first good look
	// would find one too early.
	Looks []int
}

// SameWidth is by how much two widths may differ that are the same: they are
// written in points, and 3 is not to fail by the last bit of 0.03.
const SameWidth = 1e-9

// Set reports that the route stops at all.
func (s Stop) Set() bool { return s.Width > 0 || s.Labels > 0 }

// Look is what was counted when it was looked whether a route has enough.
type Look struct {
	Size   int // one of Stop.Looks, or Stop.Labels
	Judged int // spans, at least Size
	Failed int // of these, the ones whose verdict is the rubric's 👎
}

// Due is the look to take when so many spans are judged: the largest that was
// not taken. Smaller ones that were missed are not made up for: they would look
// at the same judgements.
func (s Stop) Due(judged int, taken []Look) (size int, due bool) {
	for _, n := range append(slices.Clone(s.Looks), s.Labels) {
		if n > 0 && n <= judged {
			size = max(size, n)
		}
	}
	return size, size > 0 && !slices.ContainsFunc(taken, func(l Look) bool { return l.Size == size })
}

// Enough is the first of the looks taken at which the route may stop; false while
// there is none. wide is the half-width of a look's interval. It goes by what was
// counted at the looks and by the wish of today: a smaller Width makes a route go on
// that had enough.
func (s Stop) Enough(taken []Look, wide func(Look) float64) (Look, bool) {
	var first Look
	for _, l := range taken {
		capped := s.Labels > 0 && l.Size == s.Labels
		narrow := s.Width > 0 && slices.Contains(s.Looks, l.Size) && wide(l) <= s.Width+SameWidth
		if (capped || narrow) && (first.Size == 0 || l.Size < first.Size) {
			first = l
		}
	}
	return first, first.Size > 0
}

// Verdict is what the reviewers of a card say of its span together, for rates:
// the label that most of them gave, and the hash of the rubric they gave it under.
// It is false where there is none or two are level, and where the card says
// nothing about all spans: one whose span was not chosen by chance, or that was
// judged through an outline without being chosen.
func (c *Card) Verdict() (rubric, label string, ok bool) {
	if c == nil || c.TS == "" || !c.Chosen.Random() {
		return "", "", false
	}
	var last *Vote
	for i := range c.Votes {
		if v := &c.Votes[i]; v.counts() && (last == nil || v.At.After(last.At)) {
			last = v
		}
	}
	if last == nil {
		return "", "", false
	}
	of := func(v Vote) string { // a judgement made in Phoenix itself names no rubric
		if v.Rubric == "" {
			return c.Rubric
		}
		return v.Rubric
	}
	rubric = of(*last)
	counts := map[string]int{}
	for _, v := range c.Votes {
		if v.counts() && v.Name == last.Name && of(v) == rubric {
			counts[v.Label]++
		}
	}
	most, level := 0, false
	for l, n := range counts {
		switch {
		case n > most:
			label, most, level = l, n, false
		case n == most:
			level = true
		}
	}
	if level {
		return "", "", false
	}
	return rubric, label, true
}

// counts reports a vote that says something of the span, as far as we know.
func (v Vote) counts() bool {
	return !v.OnTrace && !v.Withdrawn && v.Delivery != Failed && v.Label != ""
}
