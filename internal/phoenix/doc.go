// Package phoenix is Spanbot's client of the Arize Phoenix server: it reads
// spans and annotations and writes annotations, and speaks of both in the words
// of package review.
//
//   - client.go: one request: timeouts, retries, the JSON that is demanded
//   - errors.go: what an answer means: the Kind of every failure
//   - server.go, projects.go: who is at the other end
//   - spans.go: the feed of spans, forward and newest first
//   - cut.go: texts are cut while they are read, so that a page of huge spans is small
//   - openinference.go, text.go: attributes become a review.Span
//   - annotations.go, withdraw.go: reading, writing, taking back
//   - ingest.go: sending spans, for trying things out
//   - hints.go: a faster way to unannotated spans, which may fail
//
// Only documented REST routes are relied on. The two uses of GraphQL (the exact
// deletion of one annotation, and Hints) have something to fall back on.
//
// Nothing here decides which span is posted or what a judgement means, and
// nothing waits for the outbox: a write is tried once, the caller repeats it.
package phoenix
