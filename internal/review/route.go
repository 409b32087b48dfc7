package review

import (
	"slices"
	"strings"
	"time"
)

// Order is the order in which a route posts its backlog.
type Order string

// Orders of a route.
const (
	Newest Order = "newest"
	Oldest Order = "oldest"
	// ByUncertainty posts what a judge is unsure of first, and some by chance.
	ByUncertainty Order = "uncertainty"
)

// Attribute is one "dot.path: value" condition on a span's attributes.
type Attribute struct {
	Path  string // "llm.model_name", "metadata.tenant"
	Value any    // string, float64 or bool, as JSON reads it
}

// Filter says which spans of a project a route looks at. Empty lists match all.
type Filter struct {
	AllSpans   bool        // false: root spans only
	Kinds      []string    // upper case; EVALUATOR spans are left out unless named here
	Names      []string    // exact
	Statuses   []string    // OK, ERROR, UNSET
	Attributes []Attribute // all must match; checked by the phoenix package, which has them
}

// Match applies the filter to a span, but for attributes. Servers ignore the
// filters that they are too old to know, so it is applied on our side always.
func (f Filter) Match(s Span) bool {
	if !f.AllSpans && !s.Root() {
		return false
	}
	if len(f.Kinds) == 0 && strings.EqualFold(s.Kind, "EVALUATOR") {
		return false
	}
	in := func(list []string, v string) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(l string) bool { return strings.EqualFold(l, v) })
	}
	return in(f.Kinds, s.Kind) && in(f.Statuses, s.Status) &&
		(len(f.Names) == 0 || slices.Contains(f.Names, s.Name))
}

// Route says which spans of which project go to which channel, under which
// rubric, when, and how many.
type Route struct {
	Name     string // ≤ 32 characters of a-z, 0-9, "-", "_"; part of every button
	Project  string // Phoenix project name
	Channel  string // as configured: a channel id, or "#name"
	Schedule string // cron spec, "@every 30s"
	Rubric   string // rubric name = annotation name
	Up, Down string // labels of 👍 and 👎 where the annotation config has no direction

	Spans   Filter
	Sample  float64       // share of the matching spans that is posted, 0 to 1
	Since   time.Duration // how far back the first poll looks
	MaxOpen int           // cards waiting for a reviewer at any time; 0 = no limit
	Backlog int           // found spans that wait in Redis for a free place
	Order   Order
	// Uncertainty counts in a route of that order only.
	Uncertainty Uncertainty
	Stop        Stop
	OpenFor     time.Duration // a card nobody touched closes as expired after this

	// Reviewers are who may judge: user ids ("U…", "W…"), ids of user groups
	// ("S…"), and ChannelMembers. None: everybody of the workspace who can see the
	// card.
	Reviewers []string
	// External lets cards into a channel that is shared with other organisations.
	External bool
}

// ChannelMembers among Route.Reviewers are the members of the route's channel.
const ChannelMembers = "channel"

// MayJudge says whether a person may judge the route's cards; when their id alone
// does not tell, ask are the user groups and the channel of whose members one may.
// channel is the id of the route's channel.
func (r Route) MayJudge(user, channel string) (may bool, ask []string) {
	if len(r.Reviewers) == 0 || slices.Contains(r.Reviewers, user) {
		return true, nil
	}
	for _, id := range r.Reviewers {
		switch {
		case id == ChannelMembers:
			ask = append(ask, channel)
		case strings.HasPrefix(id, "S"):
			ask = append(ask, id)
		}
	}
	return false, ask
}

// Verdict is the named reason why a span is posted or not: metric label, log
// field and line of the dry run are the same word.
type Verdict string

// Verdicts.
const (
	Post      Verdict = "post"
	Annotated Verdict = "annotated"  // a human has judged it already
	Tracked   Verdict = "tracked"    // it has a card, or waits for one
	NotChosen Verdict = "not_chosen" // outside the sample
	NoMatch   Verdict = "no_match"   // the route's filter leaves it out
	TooOld    Verdict = "too_old"    // started before the route looks back
	Full      Verdict = "full"       // no free place; it waits
	Vanished  Verdict = "vanished"   // deleted in Phoenix before it was posted
	Enough    Verdict = "enough"     // the route has enough judgements
	Unjudged  Verdict = "unjudged"   // ordered by uncertainty, and no judge has seen it; it waits
)

// Decide says whether a span that the feed showed is for this route. oldest is
// the earliest start time that still counts; zero: any.
func (r Route) Decide(s Span, oldest time.Time, annotated, tracked bool) Verdict {
	switch {
	case !r.Spans.Match(s):
		return NoMatch
	case tracked:
		return Tracked
	case s.Start.Before(oldest):
		return TooOld
	case !Sampled(r.Name, s.ID, r.Sample):
		return NotChosen
	case annotated:
		return Annotated
	}
	return Post
}

// Sampled reports whether a span is in the route's sample. It is a hash of both
// names, so that poll, replica and dry run agree.
func Sampled(route, spanID string, share float64) bool {
	return share >= 1 || chance(route, spanID) < share
}
