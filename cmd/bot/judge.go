package main

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spanbot/spanbot/internal/bot"
	"github.com/spanbot/spanbot/internal/evals"
	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
	"github.com/spanbot/spanbot/internal/stats"
)

type judgeCmd struct {
	Init  judgeInitCmd  `cmd:"" help:"Make a judge's file from a rubric and the train split of a dataset."`
	Run   judgeRunCmd   `cmd:"" help:"Judge spans or the examples of a dataset, and write the verdicts to Phoenix."`
	Align judgeAlignCmd `cmd:"" help:"Measure a judge against people, and hold it to the floor."`
	Show  judgeShowCmd  `cmd:"" help:"Print a judge: its identifier, labels, examples and the prompt of one case."`
}

func readJudge(path string) (*evals.Judge, error) {
	f, err := os.Open(path) //nolint:gosec // the person at the keyboard names it
	if err != nil {
		return nil, usage("cannot read the judge's file %s: %v; make one with spanbot judge init", path, rootCause(err))
	}
	defer f.Close()
	return evals.ReadJudge(f, path)
}

func rootCause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

type judgeInitCmd struct {
	Out     string `short:"o" default:"judge.yaml" help:"File to write; it must not exist." placeholder:"FILE"`
	Name    string `help:"Name of the judge, part of the identifier of its annotations (default the rubric's)." placeholder:"NAME"`
	Model   string `help:"Model that judges ($SPANBOT_JUDGE_MODEL)." placeholder:"MODEL"`
	Dataset string `help:"Dataset whose train split gives the examples; without it there are none." placeholder:"NAME"`
	Shots   int    `default:"6" help:"Examples at most, balanced between the labels." placeholder:"N"`
	JSON    bool   `help:"Print JSON."`
}

// Help is shown below the flags.
func (judgeInitCmd) Help() string {
	return "The rubric is --rubric: the file's, or Phoenix's annotation config of that name. Examples are undisputed, of the train split alone, adjudicated ones first and those with an explanation before others; the same dataset gives the same file. " +
		"The file is yours to edit: each change of template, labels, examples or model is another judge. Exit code 0; 1: Phoenix does not answer; 2: the file exists, the dataset does not, or the rubric has no labels."
}

// Run writes the file.
func (k judgeInitCmd) Run(a *app) error {
	w, err := a.loopWork(noProject)
	if err != nil {
		return err
	}
	defer w.close()
	j, err := k.build(a, w)
	if err != nil {
		return a.interrupted(err, "no file was written")
	}
	var b bytes.Buffer
	if err := j.Write(&b); err != nil {
		return err
	}
	f, err := os.OpenFile(k.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usage("%s exists already; remove it, or write another file with -o", k.Out)
	}
	if err != nil {
		return usage("cannot write %s: %v", k.Out, rootCause(err))
	}
	_, err = f.Write(b.Bytes())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if k.JSON {
		return a.printJSON(map[string]any{"file": k.Out, "identifier": j.Identifier(), "annotation": j.Annotation(), "examples": len(j.Examples), "labels": j.Names(), "model": j.Model})
	}
	fmt.Fprintf(a.out, "%s: judge %s, model %s, %s; its annotations will be called %s\n", k.Out, j.Identifier(), j.Model, several(len(j.Examples), "example"), j.Annotation())
	return nil
}

func (k judgeInitCmd) build(a *app, w *loopWork) (*evals.Judge, error) {
	rubric, err := w.rubric(a.ctx, a.cli.Rubric)
	if err != nil {
		return nil, err
	}
	var train []evals.Labelled
	if k.Dataset != "" {
		d, err := w.dataset(a, k.Dataset)
		if err != nil {
			return nil, err
		}
		examples, _, err := w.px.Examples(a.ctx, d.ID, "", "train")
		if err != nil {
			return nil, err
		}
		if train, err = evals.FromExamples(examples); err != nil {
			return nil, err
		}
	}
	model := cmp.Or(k.Model, w.c.Model.Judge)
	if w.c.Model.BaseURL == "" {
		model = standInModel
	}
	if model == "" {
		return nil, usage("no model is named that judges: set SPANBOT_JUDGE_MODEL, or say it with --model")
	}
	return evals.NewJudge(cmp.Or(k.Name, strings.ReplaceAll(rubric.Name, " ", "-")), model, rubric, train, k.Shots)
}

// dataset finds a dataset by its name.
func (w *loopWork) dataset(a *app, name string) (phoenix.Dataset, error) {
	d, ok, err := w.px.Dataset(a.ctx, name)
	if err == nil && !ok {
		err = usage("Phoenix has no dataset %s; make it with spanbot dataset --name %s", name, name)
	}
	return d, err
}

type judgeRunCmd struct {
	judgeTarget
	modelFlags
	Votes  int  `default:"1" help:"Ask several times, with seeds; how the votes split is kept for sampling." placeholder:"N"`
	Traces bool `default:"true" negatable:"" help:"Record what was asked in Phoenix's project evaluators."`
	DryRun bool `help:"Print the prompt of one case and what it would cost; ask nobody."`
	JSON   bool `help:"Print JSON."`
}

// judgeTarget says what is judged.
type judgeTarget struct {
	Judge   string `arg:"" optional:"" default:"judge.yaml" help:"The judge's file." placeholder:"FILE"`
	Dataset string `help:"Judge the examples of this dataset; without it, the spans of --project." placeholder:"NAME"`
	Split   string `help:"Only this split of the dataset." placeholder:"NAME"`
	Limit   int    `help:"So many at most, the newest spans first." placeholder:"N"`
}

// Help is shown below the flags.
func (judgeRunCmd) Help() string {
	return "Verdicts become annotations <rubric>_judge of kind LLM, whose identifier bears the judge's hash: the same judge overwrites its own, another one does not, and nobody's label is touched. What this judge has judged is not asked again, so it can be stopped and run again. " +
		"A judge that was not aligned, or is below the floor, writes them marked unvalidated. Exit code 0; 1: a model or Phoenix failed, or --max-cost was reached; 2: settings are wrong."
}

// need is the project of the spans; examples of a dataset name theirs.
func (t judgeTarget) need() need {
	if t.Dataset != "" {
		return noProject
	}
	return oldProject
}

// examples reads a dataset, and where its spans are. Where that is one project it
// is the one that is worked on, whatever is configured.
func (w *loopWork) examples(a *app, name, split string) ([]evals.Labelled, error) {
	d, err := w.dataset(a, name)
	if err != nil {
		return nil, err
	}
	examples, err := w.split(a, d, "", split)
	if err != nil {
		return nil, err
	}
	if err := w.locate(a, examples); err != nil {
		return nil, err
	}
	return evals.FromExamples(examples)
}

// split reads the examples of a split, of all for "".
func (w *loopWork) split(a *app, d phoenix.Dataset, version, split string) ([]phoenix.Example, error) {
	list, _, err := w.px.Examples(a.ctx, d.ID, version, split)
	kind := review.KindOf(err)
	if split != "" && (err == nil && len(list) == 0 || kind == review.Gone || kind == review.Refused) {
		return nil, usage("the dataset %s has no example in a split %s; those of spanbot dataset are train, dev and test", d.Name, split)
	}
	return list, err
}

// locate finds the projects of examples. Those that name none are in the
// configured one, if Phoenix has it.
func (w *loopWork) locate(a *app, examples []phoenix.Example) error {
	names := map[string]bool{}
	for _, e := range examples {
		name, _ := e.Metadata["project"].(string)
		names[name] = true
	}
	if names[""] && w.name != "" && w.project.ID == "" {
		var err error
		if w.project, err = w.px.Project(a.ctx, w.name); err != nil && review.KindOf(err) != review.Gone {
			return err
		}
	}
	var err error
	if w.places, err = evals.FindPlaces(a.ctx, w.px, w.project.ID, examples); err != nil {
		return err
	}
	if len(names) != 1 || names[""] {
		return nil
	}
	for name := range names {
		w.name = name
	}
	for _, id := range w.places.Of { // one and the same
		w.project, w.places.Usual = phoenix.Project{ID: id, Name: w.name}, id
		break
	}
	return nil
}

// cases lists what is to be judged.
func (t judgeTarget) cases(a *app, w *loopWork, j *evals.Judge) ([]evals.Case, error) {
	if t.Dataset != "" {
		labelled, err := w.examples(a, t.Dataset, t.Split)
		if err != nil {
			return nil, err
		}
		var out []evals.Case
		for _, l := range labelled {
			out = append(out, evals.Case{SpanID: l.SpanID, Question: l.Question, Answer: l.Answer})
		}
		return t.limited(out), nil
	}
	if t.Split != "" {
		return nil, usage("--split is of a dataset; name it with --dataset")
	}
	p := a.progress("spans read")
	defer p.end()
	out, err := evals.CasesFor(a.ctx, w.px, w.project.ID, j, t.Limit, p.say)
	return out, err
}

func (t judgeTarget) limited(c []evals.Case) []evals.Case {
	if t.Limit > 0 && len(c) > t.Limit {
		return c[:t.Limit]
	}
	return c
}

// Run judges.
func (k judgeRunCmd) Run(a *app) error {
	j, err := readJudge(k.Judge)
	if err != nil {
		return err
	}
	w, err := a.loopWork(k.need())
	if err != nil {
		return err
	}
	defer w.close()
	cases, err := k.cases(a, w, j)
	if err != nil {
		return a.interrupted(err, "nothing was judged")
	}
	if k.DryRun {
		return a.interrupted(k.forecast(a, w, j, cases), "nothing was judged")
	}
	r, err := k.judge(a, w, j, cases)
	if r.Identifier == "" { // nothing began
		return a.interrupted(err, "nothing was judged")
	}
	if k.JSON {
		err = errors.Join(a.printJSON(r), err)
	} else {
		printJudging(a, r)
	}
	if err == nil && r.Errors > 0 {
		return fmt.Errorf("%d of %d could not be judged: %s", r.Errors, r.Cases, r.FirstError)
	}
	return a.interrupted(err, "verdicts so far are in Phoenix; run it again to go on")
}

// forecast says what it would cost.
func (k judgeRunCmd) forecast(a *app, w *loopWork, j *evals.Judge, cases []evals.Case) error {
	prices, err := k.prices()
	if err != nil {
		return err
	}
	had, err := w.judged(a, j, cases)
	if err != nil {
		return err
	}
	before := 0
	for i, c := range cases {
		if cases[i].Had = c.Had || had[c.SpanID]; cases[i].Had {
			before++
		}
	}
	prompt, calls, cost := j.Forecast(cases, k.Votes, prices)
	if k.JSON {
		return a.printJSON(map[string]any{"dry_run": true, "cases": len(cases), "already_judged": before, "calls": calls, "cost_usd": cost, "prompt": prompt})
	}
	if prompt != "" {
		fmt.Fprintf(a.out, "%s\n\n", prompt)
	}
	fmt.Fprintf(a.out, "Dry run: %s of model %s for %s, %d of them judged before; roughly %s\n", several(calls, "call"), j.Model, several(len(cases), "case"), before, cost)
	return nil
}

// judged are the spans that this very judge has judged.
func (w *loopWork) judged(a *app, j *evals.Judge, cases []evals.Case) (map[string]bool, error) {
	var ids []string
	for _, c := range cases {
		if !c.Had {
			ids = append(ids, c.SpanID)
		}
	}
	before, err := w.places.Verdicts(a.ctx, w.px, j.Annotation(), ids)
	if err != nil {
		return nil, err
	}
	had := map[string]bool{}
	for _, v := range before[j.Identifier()] {
		had[v.SpanID] = true
	}
	return had, nil
}

func (k judgeRunCmd) judge(a *app, w *loopWork, j *evals.Judge, cases []evals.Case) (evals.JudgingReport, error) {
	ms, err := a.models(w, k.modelFlags)
	if err != nil {
		return evals.JudgingReport{}, err
	}
	defer ms.close()
	return k.with(a, w, ms, j, cases)
}

func (k judgeRunCmd) with(a *app, w *loopWork, ms *models, j *evals.Judge, cases []evals.Case) (evals.JudgingReport, error) {
	if ms.standIn && j.Model != standInModel {
		return evals.JudgingReport{}, usage("the judge's model is %s, and no endpoint is set to ask it: set OPENAI_BASE_URL or OPENAI_API_KEY", j.Model)
	}
	m, err := ms.named(j.Model, true)
	if err != nil {
		return evals.JudgingReport{}, err
	}
	had, err := w.judged(a, j, cases)
	if err != nil {
		return evals.JudgingReport{}, err
	}
	o := evals.JudgingOptions{Votes: k.Votes, Had: had, Write: j.Writer(w.px, !j.Trusted())}
	if k.Traces {
		o.Trace = evals.NewRecorder(w.px)
	}
	p := a.progress("judged")
	o.Progress = p.say
	r, err := evals.RunJudge(a.ctx, j, m, cases, o)
	p.end()
	return r, err
}

func printJudging(a *app, r evals.JudgingReport) {
	fmt.Fprintf(a.out, "%s: %d of %d judged now, %d before; %d skipped, %d unparsable, %d errors; annotations %s\n", r.Identifier, r.Judged, r.Cases, r.Had, r.Skipped, r.Unparsable, r.Errors, r.Annotation)
	fmt.Fprintf(a.out, "  labels  %s\n  model   %s\n", tally(r.Labels), spent(r.Spent))
	if r.Missing > 0 {
		fmt.Fprintf(a.out, "  ! %s of spans that Phoenix does not have any more: not written\n", several(r.Missing, "verdict"))
	}
	if r.Judged > 0 {
		fmt.Fprintf(a.out, "  time    %.1f s, a verdict %.0f ms (p50), %.0f ms (p95); mode %s\n", r.Seconds, r.P50, r.P95, r.Mode)
	}
	if r.StandIn {
		fmt.Fprintln(a.out, "  "+noModel)
	}
}

const noModel = "No language model was used: a stand-in judged by rule. These figures say nothing about a model."

type judgeAlignCmd struct {
	judgeTarget
	CSV       string `name:"csv" help:"Align any file with the columns id, human, judge instead; needs neither Phoenix nor a judge's file." placeholder:"FILE"`
	Positive  string `help:"With --csv: the label of a passed example (default the first that is no opposite)." placeholder:"LABEL"`
	AnyRubric bool   `help:"Take labels of other versions of the rubric than the judge's, too."`
	Require   string `enum:"validated,directional,none" default:"directional" help:"Standing below which it exits with 1: validated, directional or none."`
	Mark      bool   `default:"true" negatable:"" help:"Set or remove the mark unvalidated on the judge's annotations, and remember the result in its file, whose other lines stay as they are."`
	Post      string `help:"Post the result to this Slack channel." placeholder:"CHANNEL"`
	Cards     string `help:"Put the disagreements before the reviewers of this route, which has the judge's rubric, a card each: who is right, they or the judge?" placeholder:"ROUTE"`
	Most      int    `name:"cards-most" default:"20" help:"New cards to ask at most; 0: all." placeholder:"N"`
	Show      int    `default:"5" help:"Disagreements to print." placeholder:"N"`
	JSON      bool   `help:"Print JSON."`
}

// Help is shown below the flags.
func (judgeAlignCmd) Help() string {
	return "Compares the judge's verdicts with the labels of people, from --dataset (the dev split unless --split says otherwise) or from the annotated spans of --project. Spans in the judge's prompt are left out. " +
		"Prints the confusion matrix, agreement, per-class figures, each with n and a 95 % interval, and the standing: VALIDATED, DIRECTIONAL or NOT USABLE, with the gates that failed. " +
		"With --cards a running bot asks the reviewers about the disagreements; what they decide counts before all votes, in the next dataset (spanbot dataset), the next judge's examples and the next alignment. What was asked or decided before is not asked again. " +
		"Exit code 0; 1: the standing is below --require, or Phoenix does not answer; 2: nothing to compare, or a label that the judge does not have."
}

// Run aligns.
func (k judgeAlignCmd) Run(a *app) error {
	if k.Most < 0 {
		return usage("--cards-most must be at least 0, which is all")
	}
	if k.Limit != 0 {
		return usage("--limit is of spanbot judge run: a judge is measured on all that people labelled")
	}
	if k.CSV != "" {
		if k.Cards != "" || k.Post != "" {
			return usage("--csv stands alone: a file has no spans to ask about (--cards), and nothing to link to (--post)")
		}
		if k.Dataset != "" || k.Split != "" || k.AnyRubric {
			return usage("--csv stands alone: --dataset, --split and --any-rubric are of labels in Phoenix")
		}
		return k.alignCSV(a)
	}
	if k.Positive != "" {
		return usage("--positive is for --csv: of a judge, its file says which label is the good one (positive: in %s)", k.Judge)
	}
	if k.Split != "" && k.Dataset == "" {
		return usage("--split is of a dataset; name it with --dataset")
	}
	j, err := readJudge(k.Judge)
	if err != nil {
		return err
	}
	w, err := a.loopWork(k.need())
	if err != nil {
		return err
	}
	defer w.close()
	al, items, err := k.align(a, w, j)
	if err != nil {
		return a.interrupted(err, "nothing was measured")
	}
	if k.JSON {
		err = a.printJSON(al)
	} else {
		printAlignment(a, al, k.Show)
	}
	if err != nil {
		return err
	}
	if k.Mark { // after the figures, which are worth more
		if err := k.mark(a, w, j, al); err != nil {
			return a.interrupted(err, "the measurement stands above and is not remembered; run it again")
		}
	}
	if err := k.tell(a, w, j, al); err != nil {
		return a.interrupted(err, "the measurement stands above and is not posted")
	}
	if err := k.ask(a, w, j, al, items); err != nil {
		return a.interrupted(err, "the measurement stands above; run it again to ask about what is left")
	}
	return k.require(a, al)
}

// ask puts the disagreements before the reviewers.
func (k judgeAlignCmd) ask(a *app, w *loopWork, j *evals.Judge, al evals.Alignment, items []evals.Labelled) error {
	if k.Cards == "" {
		return nil
	}
	rubric, err := w.rubric(a.ctx, j.Criterion)
	if err != nil {
		return err
	}
	cases := evals.Adjudicate(j, rubric, al, items)
	if len(cases) == 0 {
		fmt.Fprintln(a.errOut, "spanbot: nothing to ask: people and judge agree where the verdict can be read, or somebody decided already")
		return nil
	}
	s := review.Study{Name: bot.AdjudicationOf(k.Cards), Route: k.Cards, Project: w.name, About: rubric.Name, Prefix: review.AdjudicatedPrefix,
		Title: "who is right, people or " + j.Identifier(), Created: time.Now().UTC()}
	asked, err := a.ask(s, cases, k.Most)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.errOut, "spanbot: %s asked on cards in route %s, %d of them new", several(len(cases)-asked.More, "disagreement"), k.Cards, asked.New)
	if asked.More > 0 {
		fmt.Fprintf(a.errOut, "; %d more are left (--cards-most)", asked.More)
	}
	fmt.Fprintln(a.errOut)
	return nil
}

func (k judgeAlignCmd) require(a *app, al evals.Alignment) error {
	want := map[string]evals.Standing{"validated": evals.Validated, "directional": evals.Directional, "none": evals.NotUsable}[k.Require]
	if al.Standing.AtLeast(want) {
		return nil
	}
	fmt.Fprintf(a.errOut, "spanbot: the judge is %s, below what --require asks for (%s)\n", al.Standing, want)
	return errSaid
}

// align reads labels and verdicts.
func (k judgeAlignCmd) align(a *app, w *loopWork, j *evals.Judge) (evals.Alignment, []evals.Labelled, error) {
	var items []evals.Labelled
	if k.Dataset != "" {
		var err error
		if items, err = w.examples(a, k.Dataset, cmp.Or(k.Split, "dev")); err != nil {
			return evals.Alignment{}, nil, err
		}
	} else {
		p := a.progress("spans read")
		c, err := evals.Collect(a.ctx, w.px, w.project.ID, j.Criterion, nil, p.say)
		p.end()
		if err != nil {
			return evals.Alignment{}, nil, err
		}
		items = c.Items
	}
	al, err := evals.AlignItems(a.ctx, w.px, w.places, j, items, k.AnyRubric)
	return al, items, err
}

// mark remembers the standing where the judge is used. A file that cannot be written
// takes nothing from the measurement.
func (k judgeAlignCmd) mark(a *app, w *loopWork, j *evals.Judge, al evals.Alignment) error {
	changed, err := evals.Mark(a.ctx, w.px, w.places, j, al)
	if err != nil {
		return err
	}
	if changed > 0 && !k.JSON {
		fmt.Fprintf(a.errOut, "spanbot: the mark unvalidated was changed on %s\n", several(changed, "annotation"))
	}
	if err := rememberJudge(k.Judge, j.Measured); err != nil {
		fmt.Fprintf(a.errOut, "spanbot: the result is not remembered in %s, which cannot be written (%v): spanbot judge run and show will not know it; make it writable and align again, or leave it out with --no-mark\n", k.Judge, rootCause(err))
	}
	return nil
}

// alignCSV aligns a file.
func (k judgeAlignCmd) alignCSV(a *app) error {
	rows, labels, folded, err := readPairs(k.CSV)
	if err != nil {
		return err
	}
	if len(folded) > 0 {
		fmt.Fprintf(a.errOut, "spanbot: labels that differ by upper and lower case alone are taken for one: %s\n", strings.Join(folded, ", "))
	}
	positive := k.Positive
	if positive == "" {
		positive = evals.Good(labels)
	} else if !slices.ContainsFunc(labels, func(l string) bool { return strings.EqualFold(l, positive) }) {
		return usage("--positive %s is none of the labels in %s: %s", positive, k.CSV, strings.Join(labels, ", "))
	}
	al, err := evals.Align(rows, labels, positive, nil)
	if err != nil {
		return err
	}
	if k.JSON {
		err = a.printJSON(al)
	} else {
		printAlignment(a, al, k.Show)
	}
	if err != nil {
		return err
	}
	return k.require(a, al)
}

// readPairs reads a file with the columns id, human, judge. Labels that differ by
// case alone are one, as in a judge's file; folded says which ones.
func readPairs(path string) (rows []evals.Pair, labels, folded []string, err error) {
	err = readCSV(path, []string{"id", "human", "judge"}, func(line int, v map[string]string) error {
		p := evals.Pair{ID: v["id"], Human: strings.TrimSpace(v["human"]), Judge: strings.TrimSpace(v["judge"])}
		if p.Human == "" {
			return usage("%s, line %d: the column human is empty", path, line)
		}
		for _, l := range []string{p.Human, p.Judge} {
			if l == "" || slices.Contains(labels, l) {
				continue
			}
			if i := slices.IndexFunc(labels, func(was string) bool { return strings.EqualFold(was, l) }); i < 0 {
				labels = append(labels, l)
			} else if what := l + " is " + labels[i]; !slices.Contains(folded, what) {
				folded = append(folded, what)
			}
		}
		rows = append(rows, p)
		return nil
	})
	slices.Sort(labels)
	if err == nil && len(labels) == 1 {
		// One label alone is a table, too; its figures say why they are not defined.
		labels = append(labels, "not "+labels[0])
	}
	return rows, labels, folded, err
}

// readCSV reads a file with a header that has at least these columns.
func readCSV(path string, want []string, row func(line int, v map[string]string) error) error {
	f, err := os.Open(path) //nolint:gosec // the person at the keyboard names it
	if err != nil {
		return usage("cannot read %s: %v", path, rootCause(err))
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.TrimLeadingSpace = true
	head, err := r.Read()
	if err != nil {
		return usage("%s: no header line: %v", path, err)
	}
	place := map[string]int{}
	for i, h := range head {
		place[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")))] = i
	}
	for _, name := range want {
		if _, ok := place[name]; !ok {
			if len(head) == 1 && strings.Contains(head[0], ";") {
				return usage("%s separates its columns by semicolons; what is read here separates them by commas (save it as CSV, comma delimited)", path)
			}
			return usage("%s has no column %s; its columns are %s, wanted are %s", path, name, strings.Join(head, ", "), strings.Join(want, ", "))
		}
	}
	n := 0
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return usage("%s: %v", path, err)
		}
		n++
		v := map[string]string{}
		for name, i := range place {
			v[name] = rec[i]
		}
		line, _ := r.FieldPos(0)
		if err := row(line, v); err != nil {
			return err
		}
	}
	if n == 0 {
		return usage("%s has a header and no rows", path)
	}
	return nil
}

func printAlignment(a *app, al evals.Alignment, show int) {
	fmt.Fprintf(a.out, "%s (n = %d)\n", al.Standing, al.N)
	for _, f := range al.Failed {
		fmt.Fprintf(a.out, "  · %s\n", f)
	}
	fmt.Fprintf(a.out, "\n%s\n", confusionText(al))
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	for _, l := range []struct {
		name string
		e    stats.Estimate
	}{
		{"accuracy", al.Accuracy}, {"TPR (" + al.Positive + ")", al.TPR}, {"TNR", al.TNR}, {"balanced accuracy", al.BalancedAccuracy},
		{"Cohen's κ", al.CohenKappa}, {"Gwet's AC1", al.GwetAC1}, {"MCC", al.MCC},
	} {
		fmt.Fprintf(t, "%s\t%s\n", l.name, l.e)
	}
	for _, c := range al.Classes {
		fmt.Fprintf(t, "%s\tprecision %s\trecall %s\tF1 %s\n", c.Label, short(c.Precision), short(c.Recall), short(c.F1))
	}
	if h, ok := al.Humans.(stats.Agreement); ok {
		fmt.Fprintf(t, "people among each other, α\t%s\n", h.KrippendorffAlpha)
	}
	_ = t.Flush()
	for _, w := range al.Warnings {
		fmt.Fprintf(a.out, "! %s\n", w)
	}
	if al.Missing > 0 {
		fmt.Fprintf(a.out, "! %s labelled by people have no verdict of this judge; run it over them\n", several(al.Missing, "span"))
	}
	if len(al.Leaked) > 0 {
		fmt.Fprintf(a.out, "! %s left out: the judge knows their labels from its prompt\n", several(len(al.Leaked), "span"))
	}
	if al.StandIn {
		fmt.Fprintln(a.out, "! "+noModel)
	}
	for i, d := range al.Disagreements() {
		if i == show {
			break
		}
		judge := cmp.Or(d.Judge, "nothing readable")
		fmt.Fprintf(a.out, "\n%s: people say %s, the judge %s\n  %s\n", d.ID, d.Human, judge, oneLine(d.Explanation, 160))
	}
}

// confusionText is the confusion matrix as a table.
func confusionText(al evals.Alignment) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "people \\ judge\t%s\tunparsable\n", strings.Join(al.Labels, "\t"))
	for i, l := range al.Labels {
		fmt.Fprintf(t, "%s", l)
		for _, n := range al.Confusion[i] {
			fmt.Fprintf(t, "\t%d", n)
		}
		fmt.Fprintf(t, "\t%d\n", al.Unparsable[i])
	}
	_ = t.Flush()
	return b.String()
}

func oneLine(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func short(e stats.Estimate) string {
	if !e.Defined() {
		return "–"
	}
	return fmt.Sprintf("%.2f", e.Value)
}

type judgeShowCmd struct {
	Judge string `arg:"" optional:"" default:"judge.yaml" help:"The judge's file." placeholder:"FILE"`
	JSON  bool   `help:"Print JSON."`
}

// Help is shown below the flags.
func (judgeShowCmd) Help() string {
	return "Needs no Phoenix. Exit code 0; 2: the file cannot be read, or is not a judge's."
}

// Run prints.
func (k judgeShowCmd) Run(a *app) error {
	j, err := readJudge(k.Judge)
	if err != nil {
		return err
	}
	if k.JSON {
		return a.printJSON(map[string]any{"identifier": j.Identifier(), "annotation": j.Annotation(), "trusted": j.Trusted(), "judge": j})
	}
	fmt.Fprintf(a.out, "%s\nannotations %s, model %s, labels %s (%s is the good one), %s\n%s\n\n%s\n", j.Identifier(), j.Annotation(), j.Model,
		strings.Join(j.Names(), ", "), j.Positive, several(len(j.Examples), "example"), j.StandingText(), j.Prompt("(the question)", "(the answer)"))
	return nil
}

// tell posts the result.
func (k judgeAlignCmd) tell(a *app, w *loopWork, j *evals.Judge, al evals.Alignment) error {
	if k.Post == "" {
		return nil
	}
	r := slackui.Report{Title: fmt.Sprintf("Judge %s: %s", j.Name, al.Standing), Table: confusionText(al), Notes: append(slices.Clone(al.Failed), al.Warnings...),
		Lines: []string{
			fmt.Sprintf("%d labels of people, model %s, %s", al.N, j.Model, j.Identifier()),
			"accuracy " + al.Accuracy.Percent(), fmt.Sprintf("TPR (%s) %s", al.Positive, al.TPR.Percent()), "TNR " + al.TNR.Percent(),
			"Cohen's κ " + al.CohenKappa.String(), "Gwet's AC1 " + al.GwetAC1.String(),
		},
		Links: []slackui.Link{{Text: "Spans in Phoenix", URL: phoenix.ProjectURL(w.base, w.name)}}}
	if h, ok := al.Humans.(stats.Agreement); ok {
		r.Lines = append(r.Lines, "people among each other, α "+h.KrippendorffAlpha.String())
	}
	if al.StandIn {
		r.Notes = append([]string{noModel}, r.Notes...)
	}
	return a.post(w, k.Post, r, "Judge against people", func() ([]byte, error) { return al.Picture(j.Name) })
}
