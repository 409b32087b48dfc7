package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spanbot/spanbot/internal/evals"
	"github.com/spanbot/spanbot/internal/phoenix"
)

// datasetName is the tutorial's.
const datasetName = "annotated-rhymes"

type datasetCmd struct {
	Name          string `help:"Name of the dataset; it is made when it does not exist, and extended when it does." default:"annotated-rhymes" placeholder:"NAME"`
	Description   string `help:"Description, for a new dataset." placeholder:"TEXT"`
	RubricHash    string `help:"Only labels that were given under this version of the rubric." placeholder:"HASH"`
	AnyRubric     bool   `help:"Mix labels of different versions of the rubric."`
	TutorialShape bool   `help:"Keys of the tutorial's notebook (attributes.input.value, attributes.llm.output_messages) in place of question and answer."`
	Corrections   bool   `help:"A dataset of what people corrected: the output is what the model should have said, its answer is in the metadata."`
	Seed          uint64 `default:"1" help:"Seed of the splits of new examples." placeholder:"N"`
	DryRun        bool   `help:"Say what would be done, and do nothing."`
	JSON          bool   `help:"Print JSON."`
}

// Help is shown below the flags.
func (datasetCmd) Help() string {
	return "Builds or extends a Phoenix dataset from the spans of --project that people annotated under --rubric, in Slack or on Phoenix's page. " +
		"An example's id is its span's, so running it again changes only what people changed; nothing is ever deleted. " +
		"Each example has a split, train, dev or test (20, 40, 40 %), which it keeps. Spans over which people disagree are left out and counted. " +
		"Exit code 0; 1: Phoenix does not answer; 2: there is nothing to build from, the rubric changed midway, or the name is taken by something else."
}

// Run builds it.
func (k datasetCmd) Run(a *app) error {
	if strings.TrimSpace(k.Name) == "" {
		return usage("--name is empty; name the dataset, or leave it out for %s", datasetName)
	}
	w, err := a.loopWork(oldProject)
	if err != nil {
		return err
	}
	defer w.close()
	r, err := k.build(a, w)
	if err != nil {
		return a.interrupted(err, "examples that were uploaded stay; run it again to go on")
	}
	if k.JSON {
		return a.printJSON(r)
	}
	printDataset(a, w, r)
	return nil
}

// build collects and uploads.
func (k datasetCmd) build(a *app, w *loopWork) (evals.DatasetReport, error) {
	rubric, err := w.rubric(a.ctx, a.cli.Rubric)
	if err != nil {
		return evals.DatasetReport{}, err
	}
	p := a.progress("labels read")
	c, err := evals.CollectLabels(a.ctx, w.px, w.project.ID, rubric.Name, nil, p.say)
	p.end()
	if err != nil {
		return evals.DatasetReport{}, err
	}
	if k.Corrections {
		if k.TutorialShape {
			return evals.DatasetReport{}, usage("--corrections and --tutorial-shape do not go together: the notebook knows no corrections")
		}
		if k.Name == datasetName {
			k.Name = "corrected-answers"
		}
	}
	p = a.progress("examples uploaded")
	defer p.end()
	return evals.BuildDataset(a.ctx, w.px, c, evals.DatasetOptions{Name: k.Name, Description: cmp.Or(k.Description, "Spans that people annotated, collected by Spanbot."),
		Rubric: rubric, Project: w.name, RubricHash: k.RubricHash, AnyRubric: k.AnyRubric || k.Corrections, TutorialShape: k.TutorialShape, Corrections: k.Corrections,
		DryRun: k.DryRun, Seed: k.Seed}, p.say)
}

func printDataset(a *app, w *loopWork, r evals.DatasetReport) {
	if r.DryRun {
		fmt.Fprintln(a.out, "Dry run: nothing was written.")
	}
	by := " by people"
	if r.Simulated > 0 {
		by = ""
	}
	fmt.Fprintf(a.out, "%d of %d spans of project %s were annotated%s; %d make the dataset %s: %d new, %d changed, %d as they were\n",
		r.Annotated, r.Spans, w.name, by, r.Included, r.Dataset, r.Created, r.Updated, r.Unchanged)
	fmt.Fprintf(a.out, "  labels  %s\n  splits  %s\n", tally(r.Labels), tally(r.Splits))
	if r.Corrected > 0 {
		fmt.Fprintf(a.out, "  with a correction  %d\n", r.Corrected)
	}
	if r.Cleared > 0 {
		fmt.Fprintf(a.out, "  %s without a label now: people disagree, or took it back\n", several(r.Cleared, "example"))
	}
	if r.Simulated > 0 {
		fmt.Fprintf(a.out, "  %s of simulated reviewers: no person gave them\n", several(r.Simulated, "label"))
	}
	if left := r.Left(); left != "" {
		fmt.Fprintf(a.out, "  left out  %s\n", left)
	}
	if link := phoenix.DatasetURL(w.base, r.DatasetID); link != "" {
		fmt.Fprintf(a.out, "  %s\n", link)
	}
}

// tally is "correct 12, incorrect 8".
func tally(m map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}
