// Package evals is the loop of eval-driven development: the labels that people
// gave become a dataset, a judge that is measured against them, and experiments
// that are compared pairwise.
//
//   - model.go, price.go: one chat model on any OpenAI-compatible endpoint: modes, retries, concurrency, cost
//   - labels.go: from annotations of several people to one label, and why not
//   - dataset.go, split.go: examples made from annotated spans
//   - judge.go, prompt.go: a judge: its file, its prompt, its verdicts
//   - judging.go: a judge over many spans, and what it writes to Phoenix
//   - align.go: judge against people, the gate
//   - traces.go: asking a model questions, recorded as OpenInference spans
//   - experiment.go, compare.go: a task over a dataset, and two of them pairwise
//
// Not here: arithmetic (package stats), the HTTP of Phoenix (package phoenix),
// cards (packages bot and slackui), flags and printing (cmd/bot).
package evals
