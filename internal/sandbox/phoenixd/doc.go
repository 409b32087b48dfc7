// Package phoenixd is the stand-in Phoenix: the part of Phoenix 20.26.1 that
// Spanbot uses, kept in memory, on the same HTTP.
//
// Answers have the shapes, the errors and the traps of the real server: the web
// page that it answers to every path it does not know, 404 in plain text, 422 in
// JSON for the shape and in text for the meaning, row ids that are used again, a
// connection that is cut after a 500. The tests of this package send the same
// requests to both and compare; the tests of internal/phoenix run on both.
//
//   - server.go, routes.go: one request, from the listener to its handler
//   - json.go, check.go, moment.go: reading requests as strictly, and as laxly, as it does
//   - store.go: projects, traces, spans and annotations, bounded
//   - datasets.go, upload.go, experiments.go, runs.go, export.go: datasets with all of
//     their versions and what was run over them, bounded as well
//   - projects.go, spans.go, ingest.go, attributes.go, annotations.go,
//     annotate.go, configs.go, graphql.go, probes.go: one resource each
//   - feed.go: recorded traces that arrive by themselves
//   - faults.go: failing on command, for tests; nothing of it is reachable by HTTP
//   - hands.go: what people do to it behind Spanbot's back, for tests
//   - page.go, datasetpage.go, live.go: what a person sees
//
// Not here: accounts and tokens (every caller is anonymous), OTLP, sessions,
// prompts, notes, datasets uploaded as files, compressed answers, every route that is not in routes.go, and
// most of GraphQL: of that it knows the queries that Spanbot sends and refuses all
// others. Two things are quicker than in reality: a span is listed as soon as it is
// accepted, and nothing waits for a disk. One is stricter: see maxHead.
package phoenixd
