// Package recorded holds traces to look at and to judge: the questions of the
// trivia tutorial with answers in rhyme, slightly wrong, or nonsense, and a few
// that are harder to show, such as retrieval, tools, an error, right-to-left
// text. The stand-in Phoenix serves them; `spanbot traces` sends them anywhere.
//
//   - recorded.go: Traces, and how a trace becomes spans
//   - chat.go: what a call of a chat model leaves in a span
//   - trivia.go: the tutorial's questions
//   - texts.go, itinerary.go, conversation.go: single calls whose text is hard to show
//   - steps.go: traces of several spans
//
// Everything in here was written for this package, the answers too: no vendor's
// model said any of it, and the model is called recorded-example. Nothing here
// sends or stores a span, and no trace is judged in advance.
package recorded

import (
	"encoding/hex"
	"math/rand/v2"
	"sync"
	"time"
)

// Project is the project of the tutorial, to which the traces belong.
const Project = "my-annotations-app"

// Trace is one recorded run of an application.
type Trace struct {
	Name  string // what it is about, "trivia: the capital of France"
	Shows string // what there is to see, "an answer in rhyme"
	root  step
}

// step is one span of a trace and what happened within it.
type step struct {
	name    string // of the span
	kind    string // OpenInference: LLM, CHAIN, …
	after   time.Duration
	took    time.Duration // 0: what chat and steps took together
	chat    *chat         // of an LLM span
	more    map[string]any
	failure *failure
	steps   []step
}

// failure is how a step ended that did not go well.
type failure struct {
	kind, message, stack string // as an exception event has them
}

// Traces lists all traces in the order in which they look best: whoever sees
// only the first eight has seen right, wrong and odd answers, retrieval, and
// another script.
func Traces() []Trace { return append([]Trace(nil), all()...) }

var all = sync.OnceValue(func() []Trace {
	q := trivia()
	hard := map[string]Trace{}
	for _, t := range [][]Trace{texts(), steps()} {
		for _, t := range t {
			hard[t.Name] = t
		}
	}
	var list []Trace
	add := func(t ...Trace) { list = append(list, t...) }
	add(q[0], q[6], q[1], hard[retrieval], q[11], hard[rightToLeft], q[13], hard[pictures])
	add(q[2], hard[agent], q[3], q[4], hard[code], q[5], q[7], hard[broken], q[8], q[9])
	add(hard[conversation], q[10], q[12], hard[hostile], q[14], q[15], hard[long], q[16], q[17])
	add(hard[brokenCall], q[18], q[19])
	return list
})

// Took is how long the trace took, from the start of its root to its end.
func (t Trace) Took() time.Duration { return t.root.length() }

// Spans is the trace as if it had happened at start: the items of "data" in the
// body of POST /v1/projects/{project}/spans, attributes with flat dotted keys,
// times in UTC to the microsecond, which is what Phoenix keeps. Children come
// before their parent, as spans end. Ids are drawn from ids: the same trace can
// be sent often, and the same seed gives the same spans.
func (t Trace) Spans(start time.Time, ids *rand.ChaCha8) []map[string]any {
	r := run{trace: hexID(ids, 16), ids: ids}
	r.add(t.root, start.UTC().Truncate(time.Microsecond), nil)
	return r.spans
}

// run is one trace while its spans are made.
type run struct {
	trace string
	ids   *rand.ChaCha8
	spans []map[string]any
}

// add makes the spans of a step that started then, its children's first.
func (r *run) add(s step, start time.Time, parent any) {
	id := hexID(r.ids, 8)
	end := start.Add(s.length())
	attributes := map[string]any{"openinference.span.kind": s.kind}
	for k, v := range s.more {
		attributes[k] = v
	}
	if s.chat != nil {
		s.chat.describe(attributes, end, "chatcmpl-"+hexID(r.ids, 12), s.failure == nil)
	}
	at := start
	for _, child := range s.steps {
		at = at.Add(child.after)
		r.add(child, at, id)
		at = at.Add(child.length())
	}
	span := map[string]any{
		"name":           s.name,
		"context":        map[string]any{"trace_id": r.trace, "span_id": id},
		"span_kind":      s.kind,
		"parent_id":      parent,
		"start_time":     start.Format(time.RFC3339Nano),
		"end_time":       end.Format(time.RFC3339Nano),
		"status_code":    "OK",
		"status_message": "",
		"attributes":     attributes,
		"events":         []any{},
	}
	if f := s.failure; f != nil {
		span["status_code"] = "ERROR"
		span["status_message"] = f.kind + ": " + f.message
		span["events"] = []any{map[string]any{
			"name": "exception", "timestamp": end.Format(time.RFC3339Nano),
			"attributes": map[string]any{
				"exception.type": f.kind, "exception.message": f.message,
				"exception.stacktrace": f.stack, "exception.escaped": "False",
			},
		}}
	}
	r.spans = append(r.spans, span)
}

// length is the time that a step took.
func (s step) length() time.Duration {
	if s.took > 0 {
		return s.took
	}
	var d time.Duration
	if s.chat != nil {
		d = s.chat.length()
	}
	for _, child := range s.steps {
		d += child.after + child.length()
	}
	if len(s.steps) > 0 {
		d += 2 * time.Millisecond // of its own
	}
	return d
}

// hexID is an OpenTelemetry id of n bytes.
func hexID(ids *rand.ChaCha8, n int) string {
	b := make([]byte, n)
	_, _ = ids.Read(b) // never fails
	b[0] |= 1          // all zeros is no id
	return hex.EncodeToString(b)
}
