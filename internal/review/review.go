// Package review holds Spanbot's words and its rules: what a span, a route, a
// rubric, a card and a judgement are, which span is posted, what a click means,
// and what a card may say.
//
// Everything here is data and pure functions: no I/O, no goroutine, no clock
// (functions that need the time are handed it). Nothing here knows Slack's,
// Phoenix's or Redis's wire formats; phoenix, slackui and queue translate
// theirs into these words and never meet each other.
package review

// Ref names one span in one route: the identity of a card. It is written into
// every button, so that a click can be understood when Redis has forgotten the
// card.
type Ref struct {
	Route   string // Route.Name
	TraceID string // OpenTelemetry trace id, 32 lower-case hex digits
	SpanID  string // OpenTelemetry span id, 16 lower-case hex digits
}

// String is "route/trace/span", for logs.
func (r Ref) String() string { return r.Route + "/" + r.TraceID + "/" + r.SpanID }

// Reviewer is a person in Slack.
type Reviewer struct {
	Team string // Slack's team id, "T01TEST"
	ID   string // Slack's user id, "U01ALICE"
	Name string // the name people see, "Ana Silva"; empty when not yet known
}

// Identifier is the Phoenix annotation identifier of everything this reviewer
// says: one annotation per reviewer, name and target. An empty identifier
// would be one slot shared by all writers.
func (r Reviewer) Identifier() string { return "slack:" + r.Team + ":" + r.ID }
