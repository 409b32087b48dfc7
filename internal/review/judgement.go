package review

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Judgement is what one reviewer said of one target under one rubric. The
// latest one counts: Phoenix keeps one annotation per reviewer, name and
// target, and so does the outbox.
type Judgement struct {
	Ref
	// OnTrace: the target is the whole trace, not the span.
	OnTrace  bool
	Name     string // annotation name = Rubric.Name
	Rubric   string // Rubric.Hash of the question that was answered
	Reviewer Reviewer
	Answer
	// Withdrawn: the reviewer took it back; it is deleted in Phoenix.
	Withdrawn bool
	At        time.Time // when it was clicked
	// Tap: it came from a button, not from the form.
	Tap bool

	// Where it was said, for the annotation's metadata.
	Channel  string // Slack channel id
	Message  string // ts of the card, "1758000000.000200"
	ThreadTS string // ts of the parent when the card is a reply
	Chosen   Chosen // how the card's span was chosen

	// Recorded is how the answer is written to Phoenix when it was given in a study;
	// nil: as it is.
	Recorded *Recorded
}

// Identifier is the annotation's, by which Phoenix keeps one per reviewer.
func (j Judgement) Identifier() string {
	if j.Recorded != nil {
		return j.Recorded.Prefix + j.Reviewer.Identifier()
	}
	return j.Reviewer.Identifier()
}

// Target is the id of what was judged: "span:<id>" or "trace:<id>".
func (j Judgement) Target() string {
	if j.OnTrace {
		return "trace:" + j.TraceID
	}
	return "span:" + j.SpanID
}

// Key names the judgement in the outbox: target, annotation name, reviewer. A
// newer judgement of the same key replaces an older one.
func (j Judgement) Key() string {
	return j.Target() + "|" + j.Name + "|" + j.Identifier()
}

// wordsOnCard is how many characters of an explanation a card shows.
const wordsOnCard = 80

// Words is the start of the explanation as a card shows it, or of the correction
// where there is none.
func (a Answer) Words() string {
	s := strings.Join(strings.Fields(a.Explanation), " ")
	if s == "" && a.Correction != "" {
		s = "should be: " + strings.Join(strings.Fields(a.Correction), " ")
	}
	if utf8.RuneCountInString(s) <= wordsOnCard {
		return s
	}
	s, _ = CutWords(s, wordsOnCard-1)
	return s + "…"
}
