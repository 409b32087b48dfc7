package review

import (
	"errors"
	"time"
)

// Kind says what can be done about a failure, and by whom. It is also the
// metric label of the failure.
type Kind string

const (
	Broken  Kind = "broken"  // our bug: logged, counted, never shown
	Invalid Kind = "invalid" // the reviewer or operator can fix it: Text stands at the field
	Denied  Kind = "denied"  // this person or this key may not
	Gone    Kind = "gone"    // span, card, channel or project does not exist (any more)
	Refused Kind = "refused" // the other side will never take it: dead letter
	Busy    Kind = "busy"    // try again after Wait
	Down    Kind = "down"    // nothing was done: try again
	Unsure  Kind = "unsure"  // it may have been done: look before trying again
)

// Error is a failure someone can act on. Text is for the person at the other
// end: what happened, to which thing, what to do. Err is for the log and may
// hold anything.
type Error struct {
	Kind Kind
	Text string
	Wait time.Duration // Busy: how long the other side asked us to wait; 0 when it did not say
	Err  error
}

// Error implements error: the text, then the cause.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Text
	case e.Text == "":
		return e.Err.Error()
	default:
		return e.Text + ": " + e.Err.Error()
	}
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the Kind of the first Error in err's chain; Broken for an error
// that nobody classified, "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Broken
}

// TextOf is the sentence a person may be shown for err; "" when there is none.
func TextOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Text
	}
	return ""
}

// WaitOf is how long the other side asked us to wait; 0 when it did not say.
func WaitOf(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.Wait
	}
	return 0
}
