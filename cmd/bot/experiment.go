package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spanbot/spanbot/internal/bot"
	"github.com/spanbot/spanbot/internal/evals"
	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

type experimentCmd struct {
	Run     experimentRunCmd     `cmd:"" help:"Run a prompt and a model over a dataset, with the judge as evaluator."`
	Compare experimentCompareCmd `cmd:"" help:"Compare two experiments pairwise."`
	Show    experimentShowCmd    `cmd:"" help:"List the experiments of a dataset."`
}

type experimentRunCmd struct {
	Dataset     string   `required:"" help:"Dataset." placeholder:"NAME"`
	Version     string   `help:"Version of the dataset (default the newest; it is pinned)." placeholder:"ID"`
	Split       []string `help:"Only these splits." placeholder:"NAME"`
	Repetitions int      `help:"How often each example runs (default once)." placeholder:"N"`
	Name        string   `required:"" help:"Name of the experiment." placeholder:"NAME"`
	Description string   `help:"Description." placeholder:"TEXT"`
	Prompt      string   `required:"" help:"System prompt of the task: the text, or @FILE." placeholder:"TEXT|@FILE"`
	Model       string   `help:"Model of the task ($SPANBOT_TASK_MODEL)." placeholder:"MODEL"`
	Judge       string   `default:"judge.yaml" help:"The judge's file." placeholder:"FILE"`
	Resume      string   `help:"Go on with this experiment, whose name is --name: what failed or is missing." placeholder:"ID"`
	Traces      bool     `default:"true" negatable:"" help:"Record the calls in the experiment's project in Phoenix."`
	Journal     string   `help:"Folder where answers wait until Phoenix has them (default spanbot/experiments in the user's cache folder); off for none." placeholder:"DIR"`
	JSON        bool     `help:"Print JSON."`
	modelFlags
}

// Help is shown below the flags.
func (experimentRunCmd) Help() string {
	return "Each example's question goes to the model under the prompt; the judge looks at each answer. Runs and evaluations are stored in Phoenix as they come, so it can be stopped and gone on with: --resume. " +
		"Until Phoenix has an answer it lies in a journal on this machine, so that none is bought twice when Phoenix goes away: --resume delivers what is left there first. " +
		"Exit code 0; 1: a model or Phoenix failed, or --max-cost was reached; 2: settings are wrong, or the experiment to resume is another one."
}

// promptText is the flag's text, or the file's after @.
func promptText(s string) (string, error) {
	path, file := strings.CutPrefix(s, "@")
	if !file {
		return s, nil
	}
	b, err := os.ReadFile(path) //nolint:gosec // the person at the keyboard names it
	if err != nil {
		return "", usage("cannot read the prompt %s: %v", path, rootCause(err))
	}
	return string(b), nil
}

// Run runs.
func (k experimentRunCmd) Run(a *app) error {
	if k.Repetitions < 0 {
		return usage("--repetitions must be at least 1")
	}
	j, err := readJudge(k.Judge)
	if err != nil {
		return err
	}
	prompt, err := promptText(k.Prompt)
	if err != nil {
		return err
	}
	w, err := a.loopWork(noProject)
	if err != nil {
		return err
	}
	defer w.close()
	d, err := w.dataset(a, k.Dataset)
	if err != nil {
		return err
	}
	ms, err := a.models(w, k.modelFlags)
	if err != nil {
		return err
	}
	defer ms.close()
	r, err := k.run(a, w, ms, d, j, prompt)
	if r.ID == "" { // nothing began
		return a.interrupted(err, "nothing was run")
	}
	if k.JSON {
		err = errors.Join(a.printJSON(r), err)
	} else {
		printExperiment(a, w, r)
	}
	if err == nil && r.TaskErrors+r.EvalErrors > 0 {
		return fmt.Errorf("%d runs and %d evaluations failed: %s; go on with --resume %s", r.TaskErrors, r.EvalErrors, r.FirstError, r.ID)
	}
	return a.interrupted(err, "what was run is in Phoenix; go on with --resume "+r.ID)
}

// check refuses to go on with an experiment that is not the one that is meant.
func (k experimentRunCmd) check(a *app, w *loopWork, d phoenix.Dataset) error {
	if k.Resume == "" {
		return k.checkExamples(a, w, d)
	}
	e, err := w.px.Experiment(a.ctx, k.Resume)
	if kind := review.KindOf(err); kind == review.Gone || kind == review.Refused {
		return usage("Phoenix has no experiment %s to go on with; spanbot experiment show --dataset %s lists the ids", k.Resume, k.Dataset)
	}
	if err == nil && e.Name != k.Name {
		return usage("the experiment %s cannot be gone on with: its name is %s, and yours %s", k.Resume, e.Name, k.Name)
	}
	return err
}

// checkExamples refuses a version or splits that the dataset does not have, before
// an experiment is made of nothing.
func (k experimentRunCmd) checkExamples(a *app, w *loopWork, d phoenix.Dataset) error {
	if k.Version != "" {
		_, _, err := w.px.Examples(a.ctx, d.ID, k.Version, "")
		if kind := review.KindOf(err); kind == review.Gone || kind == review.Refused {
			return usage("the dataset %s has no version %s; leave --version out for the newest", d.Name, k.Version)
		}
		if err != nil {
			return err
		}
	}
	for _, split := range k.Split {
		if _, err := w.split(a, d, k.Version, split); err != nil {
			return err
		}
	}
	return nil
}

func (k experimentRunCmd) run(a *app, w *loopWork, ms *models, d phoenix.Dataset, j *evals.Judge, prompt string) (evals.ExperimentReport, error) {
	if err := k.check(a, w, d); err != nil {
		return evals.ExperimentReport{}, err
	}
	task, err := ms.named(k.Model, false)
	if err != nil {
		return evals.ExperimentReport{}, err
	}
	if ms.standIn && j.Model != standInModel {
		return evals.ExperimentReport{}, usage("the judge's model is %s, and no endpoint is set to ask it: set OPENAI_BASE_URL or OPENAI_API_KEY", j.Model)
	}
	judge, err := ms.named(j.Model, true)
	if err != nil {
		return evals.ExperimentReport{}, err
	}
	journal, err := a.journalFolder(k.Journal)
	if err != nil {
		return evals.ExperimentReport{}, err
	}
	p := a.progress("runs")
	defer p.end()
	return evals.RunExperiment(a.ctx, w.px, evals.ExperimentOptions{Dataset: d, VersionID: k.Version, Splits: k.Split, Repetitions: k.Repetitions, Name: k.Name,
		Description: k.Description, Task: evals.Task{Prompt: prompt, Model: task}, Judge: j, JudgeModel: judge, Resume: k.Resume, Trace: k.Traces, Journal: journal, Progress: p.say})
}

// journalFolder is where answers wait until Phoenix has them; "" for nowhere. Only
// a folder that was named must be there: a container may have no other.
func (a *app) journalFolder(dir string) (string, error) {
	switch dir {
	case "off":
		return "", nil
	case "":
		cache, err := os.UserCacheDir()
		if err == nil {
			dir = filepath.Join(cache, "spanbot", "experiments")
			err = evals.TryJournal(dir)
		}
		if err != nil {
			fmt.Fprintf(a.errOut, "spanbot: warning: no journal of the answers is kept, and those that Phoenix does not take are lost (%v)\n", err)
			return "", nil
		}
		return dir, nil
	}
	return dir, evals.TryJournal(dir)
}

func printExperiment(a *app, w *loopWork, r evals.ExperimentReport) {
	if r.ID == "" {
		return
	}
	fmt.Fprintf(a.out, "%s: %d of %d runs done now, %d before; %d answers judged, %d unparsable, %d failed\n", r.Name, r.Runs, r.Examples, r.Had, r.Evaluated, r.Unparsable, r.TaskErrors+r.EvalErrors)
	if r.Delivered > 0 {
		fmt.Fprintf(a.out, "  %s that Phoenix had not taken before came from the journal\n", several(r.Delivered, "answer"))
	}
	fmt.Fprintf(a.out, "  labels  %s\n  task    %s\n  judge   %s\n  time    %.1f s\n", tally(r.Labels), spent(r.TaskSpent), spent(r.JudgeSpent), r.Seconds)
	if r.StandIn {
		fmt.Fprintln(a.out, "  "+noModel)
	}
	if r.Unvalidated {
		fmt.Fprintln(a.out, "  ! the judge was not validated against people, or is below the floor: read its labels with doubt (spanbot judge align)")
	}
	fmt.Fprintf(a.out, "  experiment %s  %s\n", r.ID, phoenix.CompareURL(w.base, r.DatasetID, r.ID))
}

type experimentCompareCmd struct {
	Before string `arg:"" help:"The base: an experiment's id, or its name with --dataset." placeholder:"BEFORE"`
	After  string `arg:"" help:"The candidate." placeholder:"AFTER"`
	Data   string `name:"dataset" help:"Dataset, to find experiments by name; of several of one name the newest counts." placeholder:"NAME"`
	Judge  string `help:"The judge's file, to correct rates by its known errors." placeholder:"FILE"`
	Post   string `help:"Post the result to this Slack channel." placeholder:"CHANNEL"`
	Cards  string `help:"Put pairs of answers before the reviewers of this route, blind and side by side: which is better?" placeholder:"ROUTE"`
	Most   int    `name:"cards-most" default:"20" help:"New cards to ask at most; 0: all." placeholder:"N"`
	Reveal bool   `help:"Tell what people prefer, and on the cards which answer was whose, before all cards are answered."`
	JSON   bool   `help:"Print JSON."`
}

// Help is shown below the flags.
func (experimentCompareCmd) Help() string {
	return "With --cards a running bot asks the reviewers which of two answers is better, without saying whose they are; which stands first is drawn for each example, and stored with the answer. " +
		"Once all cards are answered, comparing again tells what people prefer (sign test), and whether they went by the place. " +
		"Pass rates with Wilson's interval, examples fixed and broken, the difference with Newcombe's interval, exact McNemar. Refused, with the reason, where a difference would mean nothing: another dataset, version, judge, splits or number of repetitions. " +
		"Exit code 0; 1: Phoenix does not answer; 2: they cannot be compared."
}

// Run compares.
func (k experimentCompareCmd) Run(a *app) error {
	w, err := a.loopWork(noProject)
	if err != nil {
		return err
	}
	defer w.close()
	var known *evals.Known
	var j *evals.Judge
	if k.Judge != "" {
		if j, err = readJudge(k.Judge); err != nil {
			return err
		}
		known = j.Errors()
	}
	before, after := k.Before, k.After
	if k.Data != "" {
		d, err := w.dataset(a, k.Data)
		if err != nil {
			return err
		}
		list, err := w.px.Experiments(a.ctx, d.ID)
		if err != nil {
			return err
		}
		for _, to := range []*string{&before, &after} {
			found := false
			for _, e := range list { // newest first
				if e.Name == *to || e.ID == *to {
					*to, found = e.ID, true
					break
				}
			}
			if !found {
				return usage("the dataset %s has no experiment %s; it has %s", k.Data, *to, names(list))
			}
		}
	}
	c, err := evals.Compare(a.ctx, w.px, before, after, known)
	if review.KindOf(err) == review.Gone || review.KindOf(err) == review.Refused {
		if k.Data == "" {
			return usage("Phoenix has no experiment whose id is %s or %s; to give their names, say of which dataset they are with --dataset", k.Before, k.After)
		}
		return usage("there is no experiment %s or %s any more", k.Before, k.After)
	}
	if err != nil {
		return a.interrupted(err, "nothing was compared")
	}
	if k.Most < 0 {
		return usage("--cards-most must be at least 0, which is all")
	}
	if j != nil && c.Judge != j.Identifier() {
		return usage("the experiments were judged by %s, and %s is %s: its errors are not theirs", c.Judge, k.Judge, j.Identifier())
	}
	if j != nil && j.Measured != nil && j.Measured.Simulated > 0 {
		c.Warnings = append(c.Warnings, "the judge's errors were measured against simulated reviewers: the corrected rates are no better than these")
	}
	told, err := k.preferred(a, w, &c)
	if err != nil {
		return a.interrupted(err, "nothing was compared")
	}
	blind := k.Cards != "" || told != "" // reviewers may read the channel that it is posted to
	if k.JSON {
		err = a.printJSON(c)
	} else {
		printComparison(a, w, c, 3)
	}
	if err != nil {
		return err
	}
	if told != "" {
		fmt.Fprintln(a.errOut, "spanbot: "+told)
	}
	err = k.tell(a, w, c, blind)
	if err == nil {
		err = k.ask(a, w, c)
	}
	return a.interrupted(err, "the comparison stands above; run it again to go on")
}

// preferred adds what people prefer, unless cards wait for an answer: who knows how
// it stands is not blind any more. told is what to say about it.
func (k experimentCompareCmd) preferred(a *app, w *loopWork, c *evals.Comparison) (told string, err error) {
	if k.Cards != "" {
		return "", nil
	}
	p, err := evals.Preferred(a.ctx, w.px, *c, bot.SideBySidePrefix(c.Pair()))
	if err != nil {
		return "", err
	}
	if p.Votes == 0 {
		if k.Reveal {
			told = "nobody answered a card with these two side by side yet (--cards asks)"
		}
		return told, nil
	}
	states, err := a.studies(*c)
	if err != nil {
		if !k.Reveal {
			return fmt.Sprintf("people answered %s side by side; whether all are answered the bot's Redis knows, which cannot be asked (%v). --reveal tells the result all the same", several(p.Examples, "example"), err), nil
		}
		c.Preferences = &p
		return "", nil
	}
	if len(states) == 0 && !k.Reveal {
		return fmt.Sprintf("people answered %s side by side; whether cards still wait is not known: the bot's Redis holds none of these two. --reveal tells the result all the same", several(p.Examples, "example")), nil
	}
	open, asked := 0, 0
	for _, s := range states {
		open, asked = open+s.Waiting+s.Open, asked+s.Cases
	}
	if open > 0 && !k.Reveal {
		return fmt.Sprintf("%d of %s side by side wait for an answer; what people prefer is told when all have one, or with --reveal", open, several(asked, "example")), nil
	}
	c.Preferences = &p
	for _, s := range states {
		if s.Revealed && !k.Reveal { // asked for again, its cards are drawn again
			continue
		}
		if err := a.reveal(s.Name); err != nil {
			return "", err
		}
	}
	return "", nil
}

// ask puts pairs of answers before the reviewers.
func (k experimentCompareCmd) ask(a *app, w *loopWork, c evals.Comparison) error {
	if k.Cards == "" {
		return nil
	}
	pair := c.Pair()
	cases, project, left, err := evals.SideBySide(a.ctx, w.px, c, bot.SideBySidePrefix(pair))
	if err != nil {
		return err
	}
	if len(cases) == 0 {
		return usage("there is nothing to put side by side: %s", left)
	}
	s := review.Study{Name: bot.SideBySideOf(k.Cards, pair), Route: k.Cards, Project: project, About: review.Preference, Prefix: bot.SideBySidePrefix(pair),
		Title: "which of two answers is better", Created: time.Now().UTC()}
	asked, err := a.ask(s, cases, k.Most)
	if err != nil {
		return err
	}
	left.More = asked.More
	fmt.Fprintf(a.errOut, "spanbot: %s asked side by side on cards in route %s, %d of them new; compare again when they are answered\n", several(len(cases)-asked.More, "example"), k.Cards, asked.New)
	if text := left.String(); text != "" {
		fmt.Fprintf(a.errOut, "spanbot: not asked: %s\n", text)
	}
	return nil
}

func names(list []phoenix.Experiment) string {
	var out []string
	for _, e := range list {
		out = append(out, e.Name)
	}
	return cmp.Or(strings.Join(out, ", "), "none")
}

func printComparison(a *app, w *loopWork, c evals.Comparison, show int) {
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "\tpass rate\tcorrected for the judge's errors\n")
	for _, s := range []struct {
		what string
		evals.Side
	}{{"before", c.Before}, {"after", c.After}} {
		fmt.Fprintf(t, "%s  %s\t%s\t%s\n", s.what, s.Name, s.Rate.Percent(), s.Corrected.Percent())
	}
	_ = t.Flush()
	fmt.Fprintf(a.out, "%d pairs: %d pass both, %d fixed, %d broken, %d fail both\n", c.Pairs, c.Both, c.Fixed, c.Broken, c.Neither)
	fmt.Fprintf(a.out, "difference %+.0f points (%+.0f to %+.0f)", 100*c.Difference.Value, 100*c.Difference.Low, 100*c.Difference.High)
	if c.McNemar != nil {
		fmt.Fprintf(a.out, ", McNemar p = %.3g", *c.McNemar)
	}
	fmt.Fprintln(a.out)
	for _, line := range preferenceLines(c) {
		fmt.Fprintln(a.out, line)
	}
	for _, warning := range c.Warnings {
		fmt.Fprintf(a.out, "! %s\n", warning)
	}
	for _, list := range []struct {
		what string
		of   []evals.Change
	}{{"broken", c.BrokenList}, {"fixed", c.FixedList}} {
		for i, ch := range list.of {
			if i == show {
				break
			}
			fmt.Fprintf(a.out, "\n%s: %s\n  before  %s\n  after   %s\n", list.what, oneLine(ch.Question, 120), oneLine(ch.Before, 120), oneLine(ch.After, 120))
		}
	}
	fmt.Fprintf(a.out, "%s\n", phoenix.CompareURL(w.base, c.DatasetID, c.Before.ID, c.After.ID))
}

type experimentShowCmd struct {
	Dataset string `required:"" help:"Dataset." placeholder:"NAME"`
	JSON    bool   `help:"Print JSON."`
}

// Help is shown below the flags.
func (experimentShowCmd) Help() string {
	return "The newest first. Exit code 0, also when there are none; 1: Phoenix does not answer; 2: there is no such dataset."
}

// Run lists.
func (k experimentShowCmd) Run(a *app) error {
	w, err := a.loopWork(noProject)
	if err != nil {
		return err
	}
	defer w.close()
	d, err := w.dataset(a, k.Dataset)
	if err != nil {
		return err
	}
	list, err := w.px.Experiments(a.ctx, d.ID)
	if err != nil {
		return err
	}
	if k.JSON {
		return a.printJSON(list)
	}
	if len(list) == 0 {
		fmt.Fprintf(a.out, "The dataset %s has no experiments yet.\n", k.Dataset)
		return nil
	}
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tRUNS\tFAILED\tMISSING\tMODEL\tCREATED\tID")
	for _, e := range list {
		model, _ := e.Metadata["task_model"].(string)
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\t%s\t%s\n", e.Name, e.Successful, e.Failed, e.Missing, cmp.Or(model, "-"), e.Created.Local().Format("2006-01-02 15:04"), e.ID)
	}
	return t.Flush()
}

// tell posts the result.
func (k experimentCompareCmd) tell(a *app, w *loopWork, c evals.Comparison, blind bool) error {
	if k.Post == "" {
		return nil
	}
	title := fmt.Sprintf("%s → %s: %+.0f points", c.Before.Name, c.After.Name, 100*c.Difference.Value)
	r := slackui.Report{Title: title, Notes: c.Warnings, Lines: []string{
		"before: " + c.Before.Rate.Percent() + " pass",
		"after: " + c.After.Rate.Percent() + " pass",
		fmt.Sprintf("difference %+.0f points (%+.0f to %+.0f)", 100*c.Difference.Value, 100*c.Difference.Low, 100*c.Difference.High),
		fmt.Sprintf("%d pairs: %d fixed, %d broken, %d pass both, %d fail both", c.Pairs, c.Fixed, c.Broken, c.Both, c.Neither),
	}, Links: []slackui.Link{{Text: "Compare in Phoenix", URL: phoenix.CompareURL(w.base, c.DatasetID, c.Before.ID, c.After.ID)}}}
	if c.McNemar != nil {
		r.Lines = append(r.Lines, fmt.Sprintf("McNemar p = %.3g", *c.McNemar))
	}
	if c.After.Corrected.Defined() {
		r.Lines = append(r.Lines, "corrected for the judge's errors: before "+c.Before.Corrected.Percent()+", after "+c.After.Corrected.Percent())
	}
	r.Lines = append(r.Lines, preferenceLines(c)...)
	for i, ch := range c.BrokenList {
		if blind { // whose answer is whose is asked on cards
			break
		}
		if i == 3 {
			r.Lines = append(r.Lines, fmt.Sprintf("… and %d more broken", len(c.BrokenList)-i))
			break
		}
		r.Lines = append(r.Lines, "broken: "+oneLine(ch.Question, 120)+" → "+oneLine(ch.After, 160))
	}
	return a.post(w, k.Post, r, "Pass rates before and after", c.Picture)
}
