package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/evals"
	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/modeld"
	"github.com/spanbot/spanbot/internal/sandbox/recorded"
)

// The prompts of the tutorial: the one that fails on purpose, and the one that
// mends it.
const (
	promptBefore = `You are a question-answering assistant. For each user question, randomly choose an option: NONSENSE or RHYME. If you choose RHYME, answer correctly in the form of a rhyme.
If it NONSENSE, do not answer the question at all, and instead respond with nonsense words and random numbers that do not rhyme, ignoring the user's question completely.
When responding with NONSENSE, include at least five nonsense words and at least five random numbers between 0 and 9999 in your response.
Do not explain your choice.`
	promptAfter = `You are a question-answering assistant. For each user question, answer correctly in the form of a rhyme.`
)

type loopCmd struct {
	Labels     string        `enum:"simulated,wait" default:"simulated" help:"Where labels come from: simulated (reviewers with known error rates, marked as such), or wait (people, in Slack or on Phoenix's page)."`
	N          int           `default:"20" help:"Labelled spans to wait for." placeholder:"N"`
	WaitFor    time.Duration `default:"24h" help:"How long to wait for people." placeholder:"DURATION"`
	Reviewers  int           `default:"3" help:"Simulated reviewers." placeholder:"N"`
	ErrorRates []float64     `default:"0.05,0.1,0.15" help:"Error rate of each simulated reviewer, from 0 to 1." placeholder:"RATE"`
	Traces     int           `default:"60" help:"Questions to ask; the tutorial's 20 start over." placeholder:"N"`
	Dataset    string        `default:"annotated-rhymes" help:"Name of the dataset; the full question set is NAME-all." placeholder:"NAME"`
	Judge      string        `default:"judge.yaml" help:"The judge's file; it is made when it does not exist." placeholder:"FILE"`
	Seed       uint64        `default:"1" help:"Seed of simulated reviewers." placeholder:"N"`
	Journal    string        `help:"Folder where answers of experiments wait until Phoenix has them (default spanbot/experiments in the user's cache folder); off for none." placeholder:"DIR"`
	JSON       bool          `help:"Print one JSON object a step."`
	modelFlags
}

// Help is shown below the flags.
func (loopCmd) Help() string {
	return "The tutorial in one go: traces → labels → dataset → judge → alignment → experiments before and after → the full set of questions, each step with its link. " +
		"With the stand-ins where nothing is configured; on a real Phoenix, and with a real model, where they are. What was done stays and is not done again: a loop that was stopped goes on. " +
		"Exit code 0; 1: a step failed; 2: settings are wrong."
}

// step is one line of the loop.
type step struct {
	Step   string `json:"step"`
	Done   string `json:"done"`
	Link   string `json:"link,omitempty"`
	Report any    `json:"report,omitempty"`
}

// Run runs the loop.
func (k loopCmd) Run(a *app) error {
	if k.Reviewers < 1 || k.Traces < 1 || k.N < 1 {
		return usage("--reviewers, --traces and --n must be at least 1")
	}
	for _, r := range k.ErrorRates {
		if !(r >= 0 && r <= 1) {
			return usage("--error-rates: %v is no share of labels; want numbers from 0 to 1, as 0.1", r)
		}
	}
	w, err := a.loopWork(newProject)
	if err != nil {
		return err
	}
	defer w.close()
	if k.Journal, err = a.journalFolder(k.Journal); err != nil { // before anything is bought
		return err
	}
	k.Journal = cmp.Or(k.Journal, "off") // as it was resolved
	ms, err := a.models(w, k.modelFlags)
	if err != nil {
		return err
	}
	defer ms.close()
	n := 0
	say := func(s step) {
		n++
		if k.JSON {
			_ = a.printJSON(s)
			return
		}
		fmt.Fprintf(a.out, "%d. %-10s %s\n", n, s.Step, s.Done)
		if s.Link != "" {
			fmt.Fprintf(a.out, "   %s\n", s.Link)
		}
	}
	return a.interrupted(k.loop(a, w, ms, say), "what was done stays in Phoenix; run it again to go on")
}

func (k loopCmd) loop(a *app, w *loopWork, ms *models, say func(step)) error {
	task, err := ms.named("", false)
	if err != nil {
		return err
	}
	if err := k.checkJudge(ms); err != nil { // before anything is bought
		return err
	}
	asked, err := k.ask(a, w, task)
	if err != nil {
		return err
	}
	say(step{"traces", fmt.Sprintf("%s in project %s, %d of them new, by model %s", several(asked.total, "trace"), w.name, asked.new, task.Name()), phoenix.ProjectURL(w.base, w.name), nil})

	rubric, err := w.rubric(a.ctx, a.cli.Rubric)
	if err != nil {
		return err
	}
	labelled, err := k.label(a, w, rubric)
	if err != nil {
		return err
	}
	say(step{"labels", labelled, phoenix.ProjectURL(w.base, w.name), nil})
	if a.cli.Rubric == "" {
		a.cli.Rubric = rubric.Name
	}

	report, err := datasetCmd{Name: k.Dataset, Seed: 1}.build(a, w)
	if err != nil {
		return err
	}
	say(step{"dataset", fmt.Sprintf("%s: %d examples (%s), splits %s; left out: %s", report.Dataset, report.Included, tally(report.Labels), tally(report.Splits), cmp.Or(report.Left(), "none")),
		phoenix.DatasetURL(w.base, report.DatasetID), report})

	j, made, err := k.judge(a, w)
	if err != nil {
		return err
	}
	what := "read from"
	if made {
		what = "written to"
	}
	say(step{"judge", fmt.Sprintf("%s, model %s, %s from the train split; %s %s", j.Identifier(), j.Model, several(len(j.Examples), "example"), what, k.Judge), "", nil})

	al, err := k.align(a, w, ms, j)
	if err != nil {
		return err
	}
	whom := "people"
	if al.Simulated > 0 {
		whom = "simulated reviewers"
	}
	done := fmt.Sprintf("%s against %s on dev: accuracy %s, TPR %s, TNR %s", al.Standing, whom, al.Accuracy.Percent(), al.TPR.Percent(), al.TNR.Percent())
	if len(al.Failed) > 0 {
		done += "; " + strings.Join(al.Failed, "; ")
	}
	say(step{"alignment", done, "", al})

	d, err := w.dataset(a, k.Dataset)
	if err != nil {
		return err
	}
	var ids [2]string
	for i, e := range []struct{ name, prompt string }{{"initial system prompt", promptBefore}, {"updated system prompt", promptAfter}} {
		r, err := k.experiment(a, w, ms, d, j, e.name, e.prompt)
		if err != nil {
			return err
		}
		ids[i] = r.ID
		say(step{"experiment", fmt.Sprintf("%s: %s", e.name, tally(r.Labels)), phoenix.CompareURL(w.base, d.ID, r.ID), r})
	}
	c, err := evals.Compare(a.ctx, w.px, ids[0], ids[1], j.Errors())
	if err != nil {
		return err
	}
	say(step{"comparison", fmt.Sprintf("before %s, after %s; %d fixed, %d broken; difference %+.0f points (%+.0f to %+.0f), McNemar p = %.2g", c.Before.Rate.Percent(), c.After.Rate.Percent(), c.Fixed, c.Broken,
		100*c.Difference.Value, 100*c.Difference.Low, 100*c.Difference.High, *c.McNemar), phoenix.CompareURL(w.base, d.ID, ids[0], ids[1]), c})

	full, r, err := k.full(a, w, ms, j)
	if err != nil {
		return err
	}
	say(step{"full set", fmt.Sprintf("%s: %s", "modified-system-prompt-full-dataset", tally(r.Labels)), phoenix.CompareURL(w.base, full.ID, r.ID), r})
	if ms.standIn && !k.JSON {
		fmt.Fprintln(a.out, "\n"+noModel)
	}
	return nil
}

type asked struct{ total, new int }

// ask asks the tutorial's questions; a project that has enough spans is left as it is.
func (k loopCmd) ask(a *app, w *loopWork, m *evals.Model) (asked, error) {
	have := 0
	p, err := w.px.Project(a.ctx, w.name)
	if err == nil {
		cases, err := evals.Cases(a.ctx, w.px, p.ID, k.Traces, nil)
		if err != nil {
			return asked{}, err
		}
		have = len(cases)
	} else if review.KindOf(err) != review.Gone {
		return asked{}, err
	}
	questions := recorded.Questions()
	var todo []string
	for i := have; i < k.Traces; i++ {
		todo = append(todo, questions[i%len(questions)])
	}
	if len(todo) > 0 {
		pr := a.progress("asked")
		n := 0
		_, err := evals.AskAll(a.ctx, m, evals.NewRecorder(w.px), w.name, promptBefore, todo, func(int, evals.Asked) { n++; pr.say(n, len(todo)) })
		pr.end()
		if err != nil {
			return asked{}, err
		}
	}
	// Spans are there a moment after Phoenix has accepted them.
	for try := 0; ; try++ {
		if w.project, err = w.px.Project(a.ctx, w.name); err == nil {
			w.places.Usual = w.project.ID
			cases, err := evals.Cases(a.ctx, w.px, w.project.ID, k.Traces, nil)
			if err != nil {
				return asked{}, err
			}
			if len(cases) >= k.Traces {
				return asked{len(cases), len(todo)}, nil
			}
		} else if review.KindOf(err) != review.Gone {
			return asked{}, err
		}
		if try == 120 {
			return asked{}, fmt.Errorf("the traces do not appear in project %s of Phoenix, a minute after it accepted them", w.name)
		}
		if !sleep(a.ctx, 500*time.Millisecond) {
			return asked{}, a.ctx.Err()
		}
	}
}

// label waits for people, or lets simulated reviewers label the answers to the
// tutorial's questions, which are all that they know, where no person has.
func (k loopCmd) label(a *app, w *loopWork, rubric review.Rubric) (string, error) {
	if k.Labels == "wait" {
		return k.wait(a, w, rubric)
	}
	if rubric.Up == nil {
		return "", usage("the rubric %s has no 👍 and 👎; simulated reviewers know no other labels", rubric.Name)
	}
	c, err := k.unlabelled(a, w, rubric)
	if err != nil {
		return "", err
	}
	var rates []string
	var list []phoenix.SpanAnnotation
	for r := range k.Reviewers {
		rate := .1
		if len(k.ErrorRates) > 0 {
			rate = k.ErrorRates[r%len(k.ErrorRates)]
		}
		rates = append(rates, fmt.Sprintf("%.0f %%", 100*rate))
		for _, s := range c {
			good := modeld.Sound(s.Answer)
			if chance(k.Seed, uint64(r), s.SpanID) < rate {
				good = !good
			}
			l, why := rubric.Down, "These words and numbers answer nothing."
			if good {
				l, why = rubric.Up, "It answers, and in rhyme."
			}
			list = append(list, phoenix.SpanAnnotation{SpanID: s.SpanID, Name: rubric.Name, Kind: "HUMAN", Identifier: fmt.Sprintf("simulated:reviewer-%d", r+1),
				Answer:   review.Answer{Label: l.Name, Score: l.Score, Explanation: why},
				Metadata: map[string]any{"simulated": true, "error_rate": rate, "rubric": rubric.Hash(), "reviewer": fmt.Sprintf("simulated reviewer %d", r+1)}})
		}
	}
	p := a.progress("labelled")
	for i := 0; i < len(list); i += 100 {
		if err := w.px.AddSpanAnnotations(a.ctx, list[i:min(i+100, len(list))]); err != nil {
			return "", err
		}
		p.say(min(i+100, len(list)), len(list))
	}
	p.end()
	if len(c) == 0 {
		return "people have labelled every answer; simulated reviewers add nothing", nil
	}
	return fmt.Sprintf("%s by %s with error rates of %s: no person looked at them (identifier simulated:…, metadata.simulated)", several(len(list), "label"), several(k.Reviewers, "simulated reviewer"), strings.Join(rates, ", ")), nil
}

// unlabelled are the answers to the tutorial's questions that no person labelled.
func (k loopCmd) unlabelled(a *app, w *loopWork, rubric review.Rubric) ([]evals.Case, error) {
	all, err := evals.Cases(a.ctx, w.px, w.project.ID, 0, nil)
	if err != nil {
		return nil, err
	}
	said, err := evals.CollectLabels(a.ctx, w.px, w.project.ID, rubric.Name, nil, nil)
	if err != nil {
		return nil, err
	}
	people := map[string]bool{}
	for _, l := range said.Items {
		people[l.SpanID] = !l.Simulated()
	}
	known := 0
	out := slices.DeleteFunc(all, func(c evals.Case) bool {
		tutorial := slices.Contains(recorded.Questions(), c.Question)
		if tutorial {
			known++
		}
		return !tutorial || people[c.SpanID]
	})
	if known == 0 {
		return nil, usage("project %s holds no answer to a question of the tutorial, and simulated reviewers know no others: name another project (--project), or let people label (--labels wait)", w.name)
	}
	return out, nil
}

// chance is a number in [0, 1) by seed, reviewer and span.
func chance(seed, reviewer uint64, span string) float64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s", seed, reviewer, span))
	return float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)
}

func (k loopCmd) wait(a *app, w *loopWork, rubric review.Rubric) (string, error) {
	ctx, cancel := context.WithTimeout(a.ctx, k.WaitFor)
	defer cancel()
	p := a.progress("labelled by people")
	defer p.end()
	for {
		c, err := evals.CollectLabels(ctx, w.px, w.project.ID, rubric.Name, nil, nil)
		if err != nil && ctx.Err() == nil {
			return "", err
		}
		people := c.Annotated - c.Simulated
		if people >= k.N {
			return fmt.Sprintf("%s labelled by people", several(people, "span")), nil
		}
		p.say(people, k.N)
		if !sleep(ctx, 5*time.Second) {
			if a.ctx.Err() != nil {
				return "", a.ctx.Err()
			}
			return "", &review.Error{Kind: review.Busy, Text: fmt.Sprintf("only %d of %d spans were labelled within %s; run it again to go on waiting", people, k.N, k.WaitFor)}
		}
	}
}

// checkJudge refuses a judge that could not be asked in the end.
func (k loopCmd) checkJudge(ms *models) error {
	name := ms.names[1]
	if _, err := os.Stat(k.Judge); err == nil {
		j, err := readJudge(k.Judge)
		if err != nil {
			return err
		}
		name = j.Model
	}
	_, err := ms.named(name, true)
	return err
}

// judge reads the judge's file, or makes it.
func (k loopCmd) judge(a *app, w *loopWork) (*evals.Judge, bool, error) {
	if _, err := os.Stat(k.Judge); err == nil {
		j, err := readJudge(k.Judge)
		return j, false, err
	}
	j, err := judgeInitCmd{Dataset: k.Dataset, Shots: 6}.build(a, w)
	if err != nil {
		return nil, false, err
	}
	return j, true, writeJudge(k.Judge, j)
}

// writeJudge writes the file of a new judge.
func writeJudge(path string, j *evals.Judge) error {
	var b bytes.Buffer
	if err := j.Write(&b); err != nil {
		return err
	}
	if err := replaceFile(path, b.Bytes(), 0o600); err != nil {
		return usage("cannot write %s: %v", path, rootCause(err))
	}
	return nil
}

// rememberJudge writes into a judge's file what an alignment found.
func rememberJudge(path string, m *evals.Measured) error {
	// What is there now counts, and not what was read before the measurement.
	raw, err := os.ReadFile(path) //nolint:gosec // the person at the keyboard names it
	if err != nil {
		return err
	}
	out, err := evals.Remember(raw, m)
	if err != nil || bytes.Equal(raw, out) {
		return err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil { // the link stays one
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o222 == 0 {
		return errors.New("it is read-only")
	}
	return replaceFile(path, out, info.Mode().Perm())
}

// replaceFile writes a file whole or not at all: it is a person's work.
func replaceFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".judge-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (k loopCmd) align(a *app, w *loopWork, ms *models, j *evals.Judge) (evals.Alignment, error) {
	run := judgeRunCmd{judgeTarget: judgeTarget{Judge: k.Judge, Dataset: k.Dataset}, modelFlags: k.modelFlags, Traces: true, Votes: 1}
	cases, err := run.cases(a, w, j)
	if err != nil {
		return evals.Alignment{}, err
	}
	r, err := run.with(a, w, ms, j, cases)
	if err == nil && r.Errors > 0 {
		err = fmt.Errorf("%d of %d could not be judged: %s", r.Errors, r.Cases, r.FirstError)
	}
	if err != nil {
		return evals.Alignment{}, err
	}
	al := judgeAlignCmd{judgeTarget: judgeTarget{Judge: k.Judge, Dataset: k.Dataset, Split: "dev"}, JSON: true}
	got, _, err := al.align(a, w, j)
	if err != nil {
		return got, err
	}
	return got, al.mark(a, w, j, got)
}

func (k loopCmd) experiment(a *app, w *loopWork, ms *models, d phoenix.Dataset, j *evals.Judge, name, prompt string) (evals.ExperimentReport, error) {
	x := experimentRunCmd{Name: name, Description: "by spanbot loop", Journal: k.Journal, Repetitions: 1, Traces: true}
	// One that an earlier loop began over these very examples is gone on with.
	v, _, err := w.px.NewestVersion(a.ctx, d.ID)
	if err != nil {
		return evals.ExperimentReport{}, err
	}
	list, err := w.px.Experiments(a.ctx, d.ID)
	if err != nil {
		return evals.ExperimentReport{}, err
	}
	for _, e := range list {
		if e.Name == name && e.VersionID == v.ID && evals.SameExperiment(e, j, prompt, cmp.Or(ms.names[0], standInModel)) {
			x.Resume = e.ID
			break
		}
	}
	r, err := x.run(a, w, ms, d, j, prompt)
	if err == nil && r.TaskErrors+r.EvalErrors > 0 {
		err = fmt.Errorf("%d runs and %d evaluations of the experiment %s failed: %s", r.TaskErrors, r.EvalErrors, name, r.FirstError)
	}
	return r, err
}

// full runs the mended prompt over all questions.
func (k loopCmd) full(a *app, w *loopWork, ms *models, j *evals.Judge) (phoenix.Dataset, evals.ExperimentReport, error) {
	name := k.Dataset + "-all"
	if k.Dataset == "annotated-rhymes" {
		name = "all-trivia-questions"
	}
	var examples []phoenix.NewExample
	for i, q := range recorded.Questions() {
		examples = append(examples, phoenix.NewExample{ID: fmt.Sprintf("question-%02d", i+1), Input: map[string]any{"Questions": q}})
	}
	if _, err := w.px.Append(a.ctx, name, "The questions of the tutorial.", examples); err != nil {
		return phoenix.Dataset{}, evals.ExperimentReport{}, err
	}
	d, err := w.dataset(a, name)
	if err != nil {
		return d, evals.ExperimentReport{}, err
	}
	r, err := k.experiment(a, w, ms, d, j, "modified-system-prompt-full-dataset", promptAfter)
	return d, r, err
}
