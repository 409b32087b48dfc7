package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spanbot/spanbot/internal/evals"
	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/modeld"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// evalLoop measures the commands of the eval loop against a model that answers in
// 200 ms, and a dataset against the official client's way. Its parts are size,
// judge, experiment and dataset.
func evalLoop(l *lab) {
	n, many := 1000, 10_000
	if l.small {
		n, many = 100, 1000
	}
	if i, err := os.Stat(l.bot); err != nil {
		l.Fatalf("%v", err)
	} else if l.wants("size") {
		l.report(i.Size() <= 65<<20, "binary: ≤ 65 MB", "%.1f MB", float64(i.Size())/(1<<20))
	}
	if l.wants("judge") || l.wants("experiment") {
		judged(l, n)
	}
	if l.wants("dataset") {
		datasets(l, many)
	}
}

// judged measures a judge over n spans, and experiments over n examples.
func judged(l *lab, n int) {
	const answer, at = 200 * time.Millisecond, 16
	ctx := context.Background()
	server := rig.Phoenix(l)
	px, err := phoenix.New(phoenix.Options{Endpoint: server.URL})
	if err != nil {
		l.Fatalf("%v", err)
	}
	if _, err := px.Server(ctx); err != nil {
		l.Fatalf("%v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.Fatalf("%v", err)
	}
	model := &http.Server{Handler: modeld.New(modeld.Options{Latency: answer}), ReadHeaderTimeout: time.Second}
	go func() { _ = model.Serve(listener) }()
	l.Cleanup(func() { _ = model.Close() })
	newModel := func() *evals.Model {
		m, err := evals.NewModel(evals.ModelOptions{BaseURL: "http://" + listener.Addr().String() + "/v1", Name: modeld.Model, Concurrency: at})
		if err != nil {
			l.Fatalf("%v", err)
		}
		return m
	}

	project := "bench-evals"
	rubric := review.DefaultRubric("correctness")
	judge, err := evals.NewJudge("bench", modeld.Model, rubric, nil, 0)
	if err != nil {
		l.Fatalf("%v", err)
	}
	ideal := answer * time.Duration(n) / at
	if l.wants("judge") {
		var cases []evals.Case
		for _, id := range annotated(l, server, px, project, n) {
			cases = append(cases, evals.Case{SpanID: id, Question: "What is it?", Answer: "It is this and that."})
		}
		start := time.Now()
		if r, err := evals.RunJudge(ctx, judge, newModel(), cases, evals.JudgingOptions{Write: judge.Writer(px, true)}); err != nil || r.Written != n {
			l.Fatalf("%v, %+v", err, r)
		}
		took := time.Since(start)
		l.report(ideal.Seconds()/took.Seconds() >= .9, fmt.Sprintf("judging %d spans, 200 ms a verdict, 16 at a time, written to Phoenix: ≥ 0.9 of the ideal rate", n),
			"%.2f (%.1f s; ideal %.1f s)", ideal.Seconds()/took.Seconds(), took.Seconds(), ideal.Seconds())
	}
	if !l.wants("experiment") {
		return
	}

	var examples []phoenix.NewExample
	for i := range n {
		examples = append(examples, phoenix.NewExample{ID: fmt.Sprint(i), Input: map[string]any{"question": fmt.Sprintf("What is %d?", i)}})
	}
	if _, err := px.Append(ctx, project, "", examples); err != nil {
		l.Fatalf("%v", err)
	}
	d, _, err := px.Dataset(ctx, project)
	if err != nil {
		l.Fatalf("%v", err)
	}
	journal, err := os.MkdirTemp("", "spanbot-bench-")
	if err != nil {
		l.Fatalf("%v", err)
	}
	l.Cleanup(func() { _ = os.RemoveAll(journal) })
	for _, traces := range []bool{false, true} {
		start := time.Now()
		r, err := evals.RunExperiment(ctx, px, evals.ExperimentOptions{Journal: journal, Dataset: d, Name: fmt.Sprint("traces ", traces), Task: evals.Task{Prompt: "RHYME", Model: newModel()}, Judge: judge, JudgeModel: newModel(), Trace: traces})
		if err != nil || r.Evaluated != n {
			l.Fatalf("%v, %+v", err, r)
		}
		took, ideal := time.Since(start), 2*answer*time.Duration(n)/at
		over := 100 * (took.Seconds()/ideal.Seconds() - 1)
		what := fmt.Sprintf("experiment of %d examples, task and judge 200 ms each, 16 at a time", n)
		if traces {
			l.report(true, what+", with traces: stated", "%.0f %% over the ideal (%.1f s; ideal %.1f s)", over, took.Seconds(), ideal.Seconds())
		} else {
			l.report(over <= 10, what+", without traces: ≤ 10 % over the ideal", "%.1f %% (%.1f s; ideal %.1f s)", over, took.Seconds(), ideal.Seconds())
		}
	}
}

// annotated fills a project with n spans of which each has one label of a person.
func annotated(l *lab, server *rig.PhoenixServer, px *phoenix.Client, project string, n int) []string {
	var ids []string
	one := 1.0
	rubric := review.DefaultRubric("correctness")
	for len(ids) < n {
		var spans []map[string]any
		for range min(250, n-len(ids)) { // what Phoenix lists a few seconds later
			spans = append(spans, rig.NewSpan("ChatCompletion", fmt.Sprintf("What is %d?", len(ids)+len(spans)), "It is this and that, and so on."))
		}
		server.Ingest(l, project, spans...)
		fresh := rig.SpanIDs(spans)
		for i := 0; i < len(fresh); i += 100 {
			var list []phoenix.SpanAnnotation
			for _, id := range fresh[i:min(i+100, len(fresh))] {
				list = append(list, phoenix.SpanAnnotation{SpanID: id, Name: "correctness", Kind: "HUMAN", Identifier: "slack:T1:U1", Answer: review.Answer{Label: "correct", Score: &one}, Metadata: map[string]any{"rubric": rubric.Hash()}})
			}
			if err := px.AddSpanAnnotations(context.Background(), list); err != nil {
				l.Fatalf("%v", err)
			}
		}
		ids = append(ids, fresh...)
	}
	return ids
}

// officialDataset is how the official client makes a dataset of annotated spans.
const officialDataset = `
import sys
from phoenix.client import Client
from phoenix.client.types import spans
client = Client()
df = client.spans.get_spans_dataframe(query=spans.SpanQuery().where("annotations['correctness']"), project_identifier=sys.argv[1], limit=100000, timeout=600)
assert len(df) == int(sys.argv[3]), len(df)
client.datasets.create_dataset(dataframe=df, name=sys.argv[2], input_keys=["attributes.input.value"], output_keys=["attributes.output.value"], span_id_key="context.span_id", timeout=600)
`

// datasets measures a dataset of some n annotated spans of 3 kB in turns with the
// official way.
func datasets(l *lab, n int) {
	server := seed(l, n, n-n/100)
	px, err := phoenix.New(phoenix.Options{Endpoint: server.URL})
	if err != nil {
		l.Fatalf("%v", err)
	}
	p, err := px.Project(context.Background(), seeded)
	if err != nil {
		l.Fatalf("%v", err)
	}
	found, err := px.Spoken(context.Background(), p.ID, "correctness")
	if err != nil {
		l.Fatalf("%v", err)
	}
	n = len(found.OnSpan)
	dir, err := os.MkdirTemp("", "spanbot-bench-")
	if err != nil {
		l.Fatalf("%v", err)
	}
	l.Cleanup(func() { _ = os.RemoveAll(dir) })
	run := func(name string, args ...string) (time.Duration, float64) {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "PHOENIX_ENDPOINT="+server.URL, "PHOENIX_COLLECTOR_ENDPOINT="+server.URL, "PHOENIX_PROJECT="+seeded)
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			l.Fatalf("%s: %v\n%s", filepath.Base(name), err, out)
		}
		usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		return time.Since(start), float64(usage.Maxrss) / 1024
	}
	run(l.bot, "dataset", "--name", "ours", "--dry-run") // the server reads its file
	ours, memory := run(l.bot, "dataset", "--name", "ours")
	theirs, theirMemory := run(rig.Python(l), "-c", officialDataset, seeded, "theirs", fmt.Sprint(n))
	again, againMemory := run(l.bot, "dataset", "--name", "ours")
	l.report(ours <= theirs, fmt.Sprintf("dataset of %d annotated spans: ≤ 1.0 × the time of the official client's way", n), "%.2f × (%.1f s and %.1f s)", ours.Seconds()/theirs.Seconds(), ours.Seconds(), theirs.Seconds())
	l.report(max(memory, againMemory) <= theirMemory/5, "its memory: ≤ 1/5 of the official client's", "1/%.1f (%.0f MB, again %.0f MB, and %.0f MB)", theirMemory/max(memory, againMemory), memory, againMemory, theirMemory)
	l.report(again <= ours/5, "again with nothing new: ≤ 1/5 of the time", "%.2f × (%.1f s)", again.Seconds()/ours.Seconds(), again.Seconds())
}
