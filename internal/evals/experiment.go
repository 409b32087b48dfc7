package evals

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
)

// Task is what an experiment tries: a system prompt and a model.
type Task struct {
	Prompt string
	Model  *Model
}

// Hash names a prompt: the first 12 hex digits of its SHA-256.
func Hash(prompt string) string {
	sum := sha256.Sum256([]byte(prompt))
	return hex.EncodeToString(sum[:6])
}

// ExperimentOptions say what is run over what.
type ExperimentOptions struct {
	Dataset     phoenix.Dataset
	VersionID   string   // "" for the newest
	Splits      []string // nil: all examples
	Repetitions int
	Name        string
	Description string
	Task        Task
	Judge       *Judge
	JudgeModel  *Model
	Resume      string // id of an experiment to go on with
	Trace       bool
	Journal     string // folder for answers until Phoenix has them; "" for none
	Progress    Progress

	tries int // of a write to Phoenix; 0 for as many as take half a minute
}

// The metadata of our experiments, by which two of them are compared.
const (
	metaJudge   = "judge_identifier"
	metaSplits  = "splits"
	metaPrompt  = "prompt_hash"
	metaModel   = "task_model"
	metaStandIn = "stand_in"
)

// ExperimentReport says what a run of an experiment did.
type ExperimentReport struct {
	ID          string         `json:"experiment_id"`
	Name        string         `json:"name"`
	Dataset     string         `json:"dataset"`
	DatasetID   string         `json:"dataset_id"`
	VersionID   string         `json:"version_id"`
	Judge       string         `json:"judge"`
	Examples    int            `json:"examples"`
	Runs        int            `json:"runs"` // asked for now
	Had         int            `json:"already_run"`
	Delivered   int            `json:"delivered"` // answers of an earlier run that Phoenix had not taken then
	Waiting     int            `json:"waiting"`   // answers that Phoenix did not take now: see Journal
	Journal     string         `json:"journal,omitempty"`
	TaskErrors  int            `json:"task_errors"`
	Evaluated   int            `json:"evaluated"`
	Unparsable  int            `json:"unparsable"`
	EvalErrors  int            `json:"evaluation_errors"`
	Labels      map[string]int `json:"labels"` // of all runs, those of before among them
	TaskSpent   Spent          `json:"task_spent"`
	JudgeSpent  Spent          `json:"judge_spent"`
	Seconds     float64        `json:"seconds"`
	StandIn     bool           `json:"stand_in"`
	FirstError  string         `json:"first_error,omitempty"`
	Unvalidated bool           `json:"unvalidated"`
}

// RunExperiment runs a task over a version of a dataset and judges each answer.
// What is there already is not done again: with Resume it goes on where an
// earlier run stopped, failed runs and failed evaluations among it. When ctx ends
// it starts nothing new and stores what it has.
//
// Answers are in the journal before they are on their way to Phoenix. When it takes
// one no more, nothing new is asked for and what models are at is kept; the next
// run of the experiment delivers it first, and buys none of it again.
//
// Invalid: the dataset has no example in these splits; an experiment to resume is
// of another dataset, prompt or judge.
func RunExperiment(ctx context.Context, px *phoenix.Client, o ExperimentOptions) (ExperimentReport, error) {
	start := time.Now()
	r := ExperimentReport{Dataset: o.Dataset.Name, DatasetID: o.Dataset.ID, Judge: o.Judge.Identifier(), Labels: map[string]int{}, Unvalidated: !o.Judge.Trusted()}
	if err := TryJournal(o.Journal); err != nil { // else each try would leave an empty experiment
		return r, err
	}
	e, err := openExperiment(ctx, px, o)
	if err != nil {
		return r, err
	}
	r.ID, r.Name, r.VersionID, r.Examples = e.ID, e.Name, e.VersionID, e.Examples
	if e.Examples == 0 {
		return r, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("the dataset %s has no example in the splits %s", o.Dataset.Name, strings.Join(o.Splits, ", "))}
	}
	kept, err := openJournal(o.Journal, e)
	if err != nil {
		return r, err
	}
	x := &experiment{o: o, px: px, e: e, journal: kept}
	if r.Delivered, err = x.deliver(ctx); err != nil {
		return r, x.ended(&r, err)
	}
	r, err = x.run(ctx, r, start)
	return r, x.ended(&r, err)
}

// ended closes the journal, and says where answers wait that Phoenix did not take.
func (x *experiment) ended(r *ExperimentReport, err error) error {
	waiting := len(x.journal.waiting())
	if failed := x.journal.close(); failed != nil && err == nil {
		err = fmt.Errorf("the experiment is stored, but its journal cannot be closed: %w", failed)
	}
	if waiting == 0 {
		return err
	}
	r.Waiting, r.Journal = waiting, x.journal.path
	if err == nil {
		err = &review.Error{Kind: review.Unsure, Text: "Phoenix did not take everything"}
	}
	return fmt.Errorf("%w; %d answers wait in %s, and the next run of the experiment delivers them first", err, waiting, x.journal.path)
}

// run does what the experiment lacks.
func (x *experiment) run(ctx context.Context, r ExperimentReport, start time.Time) (ExperimentReport, error) {
	px, e, o := x.px, x.e, x.o
	todo, err := pending(ctx, px, e, o, r.Labels)
	if err != nil {
		return r, err
	}
	r.Had = e.Examples*max(1, e.Repetitions) - len(todo)
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if o.Trace {
		x.rec = NewRecorder(px)
	}
	work, done := make(chan piece), make(chan outcome)
	var workers sync.WaitGroup
	// Workers wait for models, storers for Phoenix, which takes writes one at a
	// time anyway: no model waits for a database. Each model bounds its own calls;
	// while one answers, the other need not rest.
	store := make(chan outcome, 256)
	for range min(o.Task.Model.Concurrency()+o.JudgeModel.Concurrency(), max(1, len(todo))) {
		workers.Go(func() {
			for p := range work {
				if out, ok := x.do(run, p); ok {
					store <- out
				}
			}
		})
	}
	var storers sync.WaitGroup
	for range 4 {
		storers.Go(func() {
			for out := range store {
				if x.journal == nil || !x.refused.Load() {
					out.err = x.store(context.WithoutCancel(ctx), out)
				} else { // it lies in the journal; trying each in vain would take hours
					out.err = errWaits
				}
				if out.err != nil {
					x.refused.Store(true)
				}
				done <- out
			}
		})
	}
	go func() {
		for _, p := range todo {
			select {
			case work <- p:
				continue
			case <-run.Done():
			}
			break
		}
		close(work)
		workers.Wait()
		close(store)
		storers.Wait()
		close(done)
	}()
	n := 0
	var storeErr error
	for out := range done {
		n++
		if out.err == nil || x.journal == nil {
			r.count(out)
		}
		switch {
		case out.err != nil && (storeErr == nil || errors.Is(storeErr, errWaits)):
			storeErr = out.err
			stop(out.err)
		case out.fatal != nil:
			stop(out.fatal)
		}
		o.Progress.say(n, len(todo))
	}
	if err := x.rec.Flush(context.WithoutCancel(ctx)); err != nil && storeErr == nil {
		storeErr = fmt.Errorf("the experiment is stored, but not all of its traces: %w", err)
	}
	r.TaskSpent, r.JudgeSpent, r.Seconds = o.Task.Model.Spent(), o.JudgeModel.Spent(), time.Since(start).Seconds()
	switch {
	case storeErr != nil:
		return r, storeErr
	case ctx.Err() != nil:
		return r, ctx.Err()
	case context.Cause(run) != nil:
		return r, context.Cause(run)
	}
	return r, nil
}

func (r *ExperimentReport) count(out outcome) {
	r.Runs++
	r.StandIn = r.StandIn || out.verdict.StandIn || out.answer.StandIn()
	said := ""
	switch {
	case out.failed != "":
		r.TaskErrors++
		said = out.failed
	case out.verdict.Status == Judged:
		r.Evaluated++
		r.Labels[out.verdict.Label]++
	case out.verdict.Status == Unparsable:
		r.Unparsable++
		said = out.verdict.Why
	default:
		r.EvalErrors++
		said = out.verdict.Why
	}
	if r.FirstError == "" {
		r.FirstError = said
	}
}

// openExperiment makes the experiment, or finds the one to go on with.
func openExperiment(ctx context.Context, px *phoenix.Client, o ExperimentOptions) (phoenix.Experiment, error) {
	splits := slices.Clone(o.Splits)
	slices.Sort(splits)
	meta := map[string]any{metaJudge: o.Judge.Identifier(), "judge_model": o.Judge.Model, metaSplits: strings.Join(splits, ","), metaPrompt: Hash(o.Task.Prompt), "prompt": o.Task.Prompt,
		metaModel: o.Task.Model.Name(), "positive": o.Judge.Positive, "evaluation": o.Judge.Annotation()}
	if o.Task.Model.Name() == standin || o.Judge.Model == standin {
		meta[metaStandIn] = "no language model was used"
	}
	if o.Resume == "" {
		version := o.VersionID
		if version == "" {
			v, ok, err := px.NewestVersion(ctx, o.Dataset.ID)
			if err != nil {
				return phoenix.Experiment{}, err
			}
			if !ok {
				return phoenix.Experiment{}, &review.Error{Kind: review.Invalid, Text: "the dataset " + o.Dataset.Name + " has no version; it is empty"}
			}
			version = v.ID
		}
		return px.CreateExperiment(ctx, o.Dataset.ID, phoenix.NewExperiment{Name: o.Name, Description: o.Description, Metadata: meta, VersionID: version, Splits: o.Splits, Repetitions: max(1, o.Repetitions)})
	}
	e, err := px.Experiment(ctx, o.Resume)
	if err != nil {
		return e, err
	}
	wrong := func(what string, was, is any) error {
		return &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("the experiment %s cannot be gone on with: its %s is %v, and yours %v", o.Resume, what, was, is)}
	}
	switch {
	case e.DatasetID != o.Dataset.ID:
		return e, wrong("dataset", e.DatasetID, o.Dataset.ID)
	case o.VersionID != "" && e.VersionID != o.VersionID:
		return e, wrong("dataset version", e.VersionID, o.VersionID)
	case len(splits) > 0 && e.Metadata[metaSplits] != meta[metaSplits]:
		return e, wrong("choice of splits", cmp.Or(fmt.Sprint(e.Metadata[metaSplits]), "all"), meta[metaSplits])
	case o.Repetitions > 0 && max(1, e.Repetitions) != o.Repetitions:
		return e, wrong("number of repetitions", max(1, e.Repetitions), o.Repetitions)
	case e.Metadata[metaPrompt] != meta[metaPrompt]:
		return e, wrong("prompt (hash)", e.Metadata[metaPrompt], meta[metaPrompt])
	case e.Metadata[metaModel] != meta[metaModel]:
		return e, wrong("model", e.Metadata[metaModel], meta[metaModel])
	case e.Metadata[metaJudge] != meta[metaJudge]:
		return e, wrong("judge", e.Metadata[metaJudge], meta[metaJudge])
	}
	return e, nil
}

// SameExperiment reports that an experiment was run with this judge, this prompt
// and this model, so that it can be gone on with.
func SameExperiment(e phoenix.Experiment, j *Judge, prompt, model string) bool {
	return e.Metadata[metaJudge] == j.Identifier() && e.Metadata[metaPrompt] == Hash(prompt) && e.Metadata[metaModel] == model
}

// piece is one run to do, or one answer to judge.
type piece struct {
	example    string // node id
	spanID     string
	question   string
	repetition int
	runID      string // of a run that lacks only its verdict
	output     string
}

// pending lists what an experiment lacks, and counts the labels that it has.
func pending(ctx context.Context, px *phoenix.Client, e phoenix.Experiment, o ExperimentOptions, labels map[string]int) ([]piece, error) {
	examples, _, err := px.Examples(ctx, o.Dataset.ID, e.VersionID, "")
	if err != nil {
		return nil, err
	}
	by := map[string]phoenix.Example{}
	for _, x := range examples {
		by[x.NodeID] = x
	}
	var out []piece
	missing, err := px.IncompleteRuns(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	open := map[string]bool{}
	for _, m := range missing {
		for _, rep := range m.Repetitions {
			open[fmt.Sprint(m.Example.NodeID, rep)] = true
			out = append(out, piece{example: m.Example.NodeID, spanID: by[m.Example.NodeID].ID, question: Question(m.Example.Input), repetition: rep})
		}
	}
	if o.Resume == "" {
		return out, nil
	}
	results, err := px.Results(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	runs, err := px.Runs(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for _, r := range runs {
		ids[fmt.Sprint(r.Example, r.Repetition)] = r.ID
	}
	for _, r := range results {
		key := fmt.Sprint(r.Example, r.Repetition)
		if open[key] || r.Error != "" {
			continue
		}
		if v, ok := verdictOf(r, o.Judge.Annotation()); ok {
			labels[v.Label]++
			continue
		}
		text, _ := r.Output.(string)
		out = append(out, piece{example: r.Example, spanID: by[r.Example].ID, question: Question(r.Input), repetition: r.Repetition, runID: ids[key], output: text})
	}
	return out, nil
}

// outcome is a run with its verdict, on its way to Phoenix.
type outcome struct {
	piece
	answer     Answer
	failed     string // the task's error
	start, end time.Time
	traceID    string
	verdict    Verdict
	evalTrace  string
	fatal      error // concerns all
	err        error // of storing
}

type experiment struct {
	o       ExperimentOptions
	px      *phoenix.Client
	e       phoenix.Experiment
	rec     *Recorder
	journal *journal
	refused atomic.Bool // Phoenix did not take something

	mu   sync.Mutex
	runs map[string]phoenix.Run // that Phoenix has, as they were last listed
}

// errWaits is of what was not sent because Phoenix had not taken something before.
var errWaits = errors.New("it was not sent to Phoenix")

// key is a piece's in the journal.
func (p piece) key() string { return fmt.Sprintf("%s %d", p.example, p.repetition) }

// deliver brings Phoenix what an earlier run left in the journal. What Phoenix will
// never take stays there, and its example is asked for again.
func (x *experiment) deliver(ctx context.Context) (int, error) {
	n := 0
	for _, p := range x.journal.waiting() {
		err := x.send(ctx, p)
		switch {
		case err == nil:
			n++
		case transient(err) || ctx.Err() != nil:
			return n, err
		}
	}
	return n, nil
}

// send brings Phoenix an answer, or a verdict, or both.
func (x *experiment) send(ctx context.Context, p paid) error {
	id := ""
	if p.Run != nil {
		var had bool
		err := x.stubborn(ctx, func() error {
			var err error
			id, had, err = x.px.AddRun(ctx, x.e.ID, *p.Run)
			return err
		})
		if err == nil && had && p.Evaluation != nil {
			id, err = x.stored(ctx, p)
		}
		if err != nil {
			return err
		}
	}
	if p.Evaluation != nil {
		e := *p.Evaluation
		e.RunID = cmp.Or(e.RunID, id)
		if e.RunID != "" {
			if err := x.stubborn(ctx, func() error { return x.px.AddEvaluation(ctx, e) }); err != nil {
				return err
			}
		}
	}
	return x.journal.keep(paid{Key: p.Key, Stored: true})
}

// stored finds the run that Phoenix had already; "" where its answer is another
// one: somebody else was quicker, and the verdict is not of theirs. It is ours
// where the answer to its storing was lost.
func (x *experiment) stored(ctx context.Context, p paid) (string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.runs[p.Key]; !known {
		list, err := x.px.Runs(ctx, x.e.ID)
		if err != nil {
			return "", err
		}
		x.runs = map[string]phoenix.Run{}
		for _, r := range list {
			x.runs[piece{example: r.Example, repetition: r.Repetition}.key()] = r
		}
	}
	if r := x.runs[p.Key]; reflect.DeepEqual(r.Output, p.Run.Output) {
		return r.ID, nil
	}
	return "", nil
}

// do asks the model and the judge; false when it was interrupted before there was
// anything to keep.
func (x *experiment) do(ctx context.Context, p piece) (outcome, bool) {
	out := outcome{piece: p, start: time.Now()}
	if p.runID == "" {
		a, err := x.o.Task.Model.Ask(ctx, x.o.Task.Prompt, p.question)
		out.answer, out.end = a, time.Now()
		if err != nil {
			if ctx.Err() != nil {
				return out, false
			}
			out.failed = err.Error()
			if x.o.Task.Model.hopeless(err) {
				out.fatal = err
			}
			return out, true
		}
		out.output = strings.TrimSpace(a.Text)
		run := out.run()
		if err := x.journal.keep(paid{Key: p.key(), Run: &run}); err != nil {
			out.fatal = err
		}
		out.traceID = x.rec.task(x.o.Name, x.e.Project, p.question, out)
	}
	// The judge never learned from an answer that was made a moment ago: only its
	// wording of the question can stand in the prompt.
	c := Case{Question: p.question, Answer: out.output}
	if out.output == "" {
		out.verdict = Verdict{Status: Unparsable, Why: "the task's output is empty; there is nothing to judge", started: time.Now()}
		return out, true
	}
	out.verdict = x.o.Judge.Judge(ctx, x.o.JudgeModel, c, 1)
	if out.verdict.Status == Failed {
		if ctx.Err() != nil {
			out.verdict = Verdict{Status: Failed, Why: "interrupted before it was judged", started: out.end}
			return out, true // the answer was paid for; the verdict is made up for by the next run
		}
		if x.o.JudgeModel.hopeless(out.verdict.Err) {
			out.fatal = out.verdict.Err
		}
	}
	out.evalTrace = x.rec.verdict(x.o.Judge, out.verdict)
	if out.verdict.Status != Failed {
		e := x.evaluation(out, out.runID)
		if err := x.journal.keep(paid{Key: p.key(), Evaluation: &e}); err != nil && out.fatal == nil {
			out.fatal = err
		}
	}
	return out, true
}

// run is the answer as Phoenix takes it.
func (out outcome) run() phoenix.Run {
	r := phoenix.Run{Example: out.example, Repetition: out.repetition, Output: out.output, Error: out.failed, Start: out.start, End: out.end, TraceID: out.traceID}
	if out.failed != "" {
		r.Output = nil
	}
	return r
}

// task records the run as Phoenix's own runner does: a CHAIN span "Task: name" in
// the experiment's project, with the call below it.
func (r *Recorder) task(name, project, question string, out outcome) string {
	if r == nil || project == "" {
		return ""
	}
	ids := newIDs()
	input, _ := json.Marshal(map[string]any{"question": question}) // strings
	r.add(project, span(ids, "", "Task: "+name, "CHAIN", out.start, out.end, "", map[string]any{"openinference.span.kind": "CHAIN",
		"input.value": string(input), "input.mime_type": "application/json", "output.value": out.output}),
		span(spanIDs{ids.trace, id(8)}, ids.span, "ChatCompletion", "LLM", out.start, out.end, "", chatAttributes(out.answer)))
	return ids.trace
}

// store writes a run and its evaluation to Phoenix.
func (x *experiment) store(ctx context.Context, out outcome) error {
	p := paid{Key: out.key()}
	if out.runID == "" {
		run := out.run()
		p.Run = &run
	}
	if out.failed == "" {
		e := x.evaluation(out, out.runID)
		p.Evaluation = &e
	}
	return x.send(ctx, p)
}

// evaluation is a verdict on a run as Phoenix takes it.
func (x *experiment) evaluation(out outcome, runID string) phoenix.Evaluation {
	e := phoenix.Evaluation{RunID: runID, Name: x.o.Judge.Annotation(), Kind: "LLM", Start: out.verdict.started, End: out.verdict.started.Add(out.verdict.Took), TraceID: out.evalTrace,
		Answer:   review.Answer{Label: out.verdict.Label, Score: out.verdict.Score, Explanation: out.verdict.Explanation},
		Metadata: map[string]any{"judge": x.o.Judge.Identifier(), "status": string(out.verdict.Status), "model": out.verdict.Model, "mode": string(out.verdict.Mode)}}
	if !x.o.Judge.Trusted() {
		e.Metadata["unvalidated"] = true
	}
	if out.verdict.StandIn {
		e.Metadata["stand_in"] = "no language model was used"
	}
	if out.verdict.Status != Judged {
		e.Answer, e.Error = review.Answer{}, string(out.verdict.Status)+": "+out.verdict.Why
	}
	return e
}

// stubborn repeats a write that Phoenix may take a moment later: what it holds was
// paid for.
func (x *experiment) stubborn(ctx context.Context, f func() error) error {
	tries := x.o.tries
	if tries == 0 {
		tries = 8
	}
	for try := 0; ; try++ {
		err := f()
		if err == nil || !transient(err) || try == tries-1 || !sleep(ctx, time.Duration(250<<try)*time.Millisecond) {
			return err
		}
	}
}
