package review

import (
	"slices"
	"strings"
	"time"
)

// State is where a card stands.
type State string

// States of a card. Every state but Loose has a message in Slack. All can be
// judged.
const (
	Open    State = "open"    // waits for a reviewer; counts under Route.MaxOpen
	Judged  State = "judged"  // at least one judgement
	Skipped State = "skipped" // closed without a label, for everyone
	Expired State = "expired" // nobody touched it for Route.OpenFor
	Deleted State = "deleted" // its span is gone from Phoenix, or its message from Slack
	Loose   State = "loose"   // a span without a card, judged through the outline of its trace
)

// Delivery is how far a judgement is on its way to Phoenix.
type Delivery string

// Deliveries.
const (
	Waiting Delivery = "waiting" // Redis has it, Phoenix has not confirmed it
	Stored  Delivery = "stored"  // Phoenix has it
	Failed  Delivery = "failed"  // Phoenix refuses it: dead letter
)

// Vote is a judgement as a card shows it.
type Vote struct {
	Reviewer  string // Slack user id
	OnTrace   bool
	Name      string // annotation name
	Rubric    string // rubric hash
	Label     string
	Score     *float64
	Words     string // start of the explanation
	At        time.Time
	Withdrawn bool // taken back; shown until Phoenix has deleted it
	Delivery  Delivery
	Why       string // Failed: the reason, in words for the reviewer
}

// Card is the message that stands for one span in one route.
type Card struct {
	SpanID  string
	Channel string // Slack channel id; "" for Loose
	TS      string // Slack's name for the message, "1758000000.000200"; "" for Loose
	State   State
	Rubric  string    // hash of the rubric it asks
	Posted  time.Time // when it was posted or opened again
	Summary string    // "question → answer", ≤ 200 bytes
	Closer  string    // Skipped: user id of who skipped it
	Chosen  Chosen    // how its span was chosen
	Votes   []Vote
}

// MaxSummary is the longest Card.Summary in bytes: it is kept for every card as
// long as the card is.
const MaxSummary = 200

// Thread is the cards of one trace in one route. The first card's message is
// the parent; further cards and the outline of the trace are replies to it.
type Thread struct {
	Route   string
	TraceID string
	Project string // Phoenix project name
	Channel string // of the parent
	TS      string // of the parent; "" while nothing is posted
	Outline string // ts of the outline; "" while nobody asked for it
	Cards   []Card
}

// Card returns the card of that span for reading; nil where there is none.
func (t *Thread) Card(spanID string) *Card {
	for i := range t.Cards {
		if t.Cards[i].SpanID == spanID {
			return &t.Cards[i]
		}
	}
	return nil
}

func (t *Thread) card(spanID string) *Card {
	if c := t.Card(spanID); c != nil {
		return c
	}
	t.Cards = append(t.Cards, Card{SpanID: spanID, State: Loose})
	return &t.Cards[len(t.Cards)-1]
}

// Clone is a deep copy; the transitions below change the thread they are called on.
func (t Thread) Clone() Thread {
	t.Cards = slices.Clone(t.Cards)
	for i := range t.Cards {
		t.Cards[i].Votes = slices.Clone(t.Cards[i].Votes)
	}
	return t
}

// Place records where a card's message stands. The thread's first message
// becomes its parent; threadTS is the parent that Slack really used: empty
// where the parent had been deleted and the reply came out on its own, which
// makes this message the new parent.
//
// A judgement may have come in between post and record: then the card is
// judged already and stays so.
func (t *Thread) Place(c Card, threadTS string) {
	if threadTS == "" {
		t.Channel, t.TS = c.Channel, c.TS
	}
	old := t.card(c.SpanID)
	votes := old.Votes
	state := old.State
	*old = c
	old.Votes = votes
	switch {
	case len(votes) > 0:
		old.State = Judged
	case state == Skipped:
		old.State = state
	default:
		old.State = Open
	}
}

// Find returns the reviewer's own judgement of the span (or, onTrace, of the
// trace said on that span's card); nil where there is none or it was withdrawn.
func (c *Card) Find(reviewer, name string, onTrace bool) *Vote {
	if c == nil {
		return nil
	}
	for i := range c.Votes {
		v := &c.Votes[i]
		if v.Reviewer == reviewer && v.Name == name && v.OnTrace == onTrace {
			return v
		}
	}
	return nil
}

// Judge records a judgement on its card and reports whether it changed
// anything. Tapping the same button again does not; a failed one may be tapped
// again. Where the thread does not know the card (its entry expired), the
// judgement's own ids make it known again.
func (t *Thread) Judge(j Judgement) bool {
	c := t.card(j.SpanID)
	if c.TS == "" && j.Message != "" && j.Message != t.Outline {
		c.Channel, c.TS, c.Posted, c.Rubric = j.Channel, j.Message, j.At, j.Rubric
		if t.TS == "" {
			t.Channel, t.TS = j.Channel, j.Message
			if j.ThreadTS != "" {
				t.TS = j.ThreadTS
			}
		}
	}
	v := Vote{
		Reviewer: j.Reviewer.ID, OnTrace: j.OnTrace, Name: j.Name, Rubric: j.Rubric,
		Label: j.Label, Score: j.Score, Words: j.Words(), At: j.At, Delivery: Waiting,
	}
	if j.OnTrace {
		t.dropTraceVotes(j)
	}
	if own := c.Find(j.Reviewer.ID, j.Name, j.OnTrace); own != nil {
		if j.Tap && !own.Withdrawn && own.Delivery != Failed && own.Label == j.Label && sameScore(own.Score, j.Score) {
			return false
		}
		if j.At.Before(own.At) { // a redelivered, older click never wins
			return false
		}
		*own = v
	} else {
		c.Votes = append(c.Votes, v)
	}
	if c.TS != "" {
		c.State, c.Closer = Judged, ""
	}
	return true
}

// dropTraceVotes takes the reviewer's judgement of the trace off the other cards
// of the thread: Phoenix keeps one for the trace, wherever it was said.
func (t *Thread) dropTraceVotes(j Judgement) {
	for i := range t.Cards {
		c := &t.Cards[i]
		if c.SpanID == j.SpanID {
			continue
		}
		n := len(c.Votes)
		c.Votes = slices.DeleteFunc(c.Votes, func(v Vote) bool {
			return v.OnTrace && v.Reviewer == j.Reviewer.ID && v.Name == j.Name && !v.At.After(j.At)
		})
		if len(c.Votes) < n {
			t.reopen(c, j.At)
		}
	}
}

func sameScore(a, b *float64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// Withdraw takes back the reviewer's judgement. It is shown as being withdrawn
// until Confirm; with the last one gone the card opens again. It reports false
// when there is nothing to take back.
func (t *Thread) Withdraw(j Judgement) bool {
	c := t.Card(j.SpanID)
	own := c.Find(j.Reviewer.ID, j.Name, j.OnTrace)
	if own == nil || own.Withdrawn {
		return false
	}
	own.Withdrawn, own.At, own.Delivery, own.Why = true, j.At, Waiting, ""
	t.reopen(c, j.At)
	return true
}

func (t *Thread) reopen(c *Card, now time.Time) {
	if c.State == Judged && !slices.ContainsFunc(c.Votes, func(v Vote) bool { return !v.Withdrawn }) {
		c.State, c.Posted = Open, now
	}
}

// Confirm records what became of a delivered judgement: err nil, Phoenix has it
// (or has deleted it, when it was withdrawn); else why it never will. It
// reports false when the vote has moved on since: then the news is old.
func (t *Thread) Confirm(j Judgement, failure string) bool {
	c := t.Card(j.SpanID)
	v := c.Find(j.Reviewer.ID, j.Name, j.OnTrace)
	if v == nil || !v.At.Equal(j.At) {
		return false
	}
	switch {
	case failure != "":
		v.Delivery, v.Why = Failed, failure
	case v.Withdrawn:
		gone := *v
		c.Votes = slices.DeleteFunc(c.Votes, func(o Vote) bool {
			return o.Reviewer == gone.Reviewer && o.Name == gone.Name && o.OnTrace == gone.OnTrace
		})
	default:
		v.Delivery, v.Why = Stored, ""
	}
	return true
}

// Skip closes an open or expired card without a label, for everyone.
func (t *Thread) Skip(spanID, reviewer string) bool {
	c := t.Card(spanID)
	if c == nil || (c.State != Open && c.State != Expired) {
		return false
	}
	c.State, c.Closer = Skipped, reviewer
	return true
}

// Close moves an open card to Expired, or any card to Deleted.
func (t *Thread) Close(spanID string, to State) bool {
	c := t.Card(spanID)
	if c == nil || c.State == to || (to == Expired && c.State != Open) {
		return false
	}
	c.State = to
	return true
}

// Unplace records that a card's message is gone from Slack: its span is tracked
// without one, like a span that was judged through an outline.
func (t *Thread) Unplace(spanID string) bool {
	c := t.Card(spanID)
	if c == nil || c.TS == "" {
		return false
	}
	if c.TS == t.TS {
		t.TS, t.Outline = "", "" // a thread without its parent is no thread
	}
	c.Channel, c.TS, c.State = "", "", Loose
	return true
}

// Outstanding is the earliest click on the card that Phoenix has not
// confirmed; zero when all are.
func (c *Card) Outstanding() time.Time {
	var first time.Time
	for _, v := range c.Votes {
		if v.Delivery == Waiting && (first.IsZero() || v.At.Before(first)) {
			first = v.At
		}
	}
	return first
}

// InPhoenix begins the Vote.Reviewer of somebody who judged in Phoenix itself,
// not in Slack: "phoenix:" and the annotation's identifier.
const InPhoenix = "phoenix:"

// Elsewhere reports a vote that was not given in this workspace.
func (v Vote) Elsewhere() bool {
	return strings.HasPrefix(v.Reviewer, InPhoenix)
}

func (v Vote) same(o Vote) bool {
	return v.Reviewer == o.Reviewer && v.Name == o.Name && v.OnTrace == o.OnTrace
}

// Difference is how a card and Phoenix differ.
type Difference struct {
	Adopted []Vote // in Phoenix and not on the card
	Changed []Vote // another answer in Phoenix than on the card; the new one
	Missing []Vote // on the card as stored, and not in Phoenix
	Behind  []Vote // Phoenix holds an earlier word of the reviewer than it confirmed
}

// None reports that there is no difference.
func (d Difference) None() bool {
	return len(d.Adopted)+len(d.Changed)+len(d.Missing)+len(d.Behind) == 0
}

// Compare tells how a card differs from what Phoenix holds of its span under a
// rubric's name. Votes that wait for Phoenix or failed are ours to deliver and
// are no difference.
func (c *Card) Compare(name string, held []Vote) (d Difference) {
	for _, h := range held {
		i := slices.IndexFunc(c.Votes, h.same)
		switch {
		case i < 0:
			d.Adopted = append(d.Adopted, h)
		case c.Votes[i].Delivery != Stored || c.Votes[i].Withdrawn:
		case !h.At.IsZero() && h.At.Before(c.Votes[i].At):
			d.Behind = append(d.Behind, c.Votes[i])
		case h.Label != c.Votes[i].Label || !sameScore(h.Score, c.Votes[i].Score) || h.Words != c.Votes[i].Words:
			if h.At.IsZero() {
				h.At = c.Votes[i].At
			}
			d.Changed = append(d.Changed, h)
		}
	}
	for _, v := range c.Votes {
		if v.Name == name && v.Delivery == Stored && !v.Withdrawn && !slices.ContainsFunc(held, v.same) {
			d.Missing = append(d.Missing, v)
		}
	}
	return d
}

// Follow makes a card show what Phoenix holds: what was adopted and changed is
// shown, what is missing is not any more. With the last vote gone the card
// opens again. A vote that is another by now than before is left alone: its
// reviewer spoke meanwhile. It reports whether anything changed.
func (t *Thread) Follow(spanID string, before []Vote, d Difference, now time.Time) bool {
	c := t.Card(spanID)
	if c == nil {
		return false
	}
	untouched := func(v Vote) bool {
		i, k := slices.IndexFunc(c.Votes, v.same), slices.IndexFunc(before, v.same)
		if i < 0 || k < 0 {
			return i < 0 && k < 0
		}
		return c.Votes[i].At.Equal(before[k].At) && c.Votes[i].Delivery == before[k].Delivery && c.Votes[i].Withdrawn == before[k].Withdrawn
	}
	changed := false
	for _, v := range slices.Concat(d.Adopted, d.Changed) {
		if !untouched(v) {
			continue
		}
		v.Delivery, changed = Stored, true
		if i := slices.IndexFunc(c.Votes, v.same); i >= 0 {
			c.Votes[i] = v
		} else {
			c.Votes = append(c.Votes, v)
		}
		if c.TS != "" && c.State != Deleted {
			c.State, c.Closer = Judged, ""
		}
	}
	for _, v := range d.Missing {
		if !untouched(v) {
			continue
		}
		changed = true
		c.Votes = slices.DeleteFunc(c.Votes, v.same)
		t.reopen(c, now)
	}
	return changed
}

// Retry makes a vote wait for Phoenix again that Phoenix refused or lost; false
// when it is another by now, and the news is old.
func (t *Thread) Retry(j Judgement) bool {
	c := t.Card(j.SpanID)
	v := c.Find(j.Reviewer.ID, j.Name, j.OnTrace)
	if v == nil || !v.At.Equal(j.At) {
		return false
	}
	v.Delivery, v.Why = Waiting, ""
	if c.State == Deleted && c.TS != "" {
		c.State = Judged // whether the span is there shows when it is delivered
		t.reopen(c, j.At)
	}
	return true
}
