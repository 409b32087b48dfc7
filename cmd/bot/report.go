package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spanbot/spanbot/internal/config"
	"github.com/spanbot/spanbot/internal/evals"
	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/slackui"
)

type reportCmd struct {
	Since      string `help:"Only spans that began since: a duration such as 24h or 7d, a date or an RFC 3339 time (default all)." placeholder:"WHEN"`
	RubricHash string `help:"Only labels that were given under this version of the rubric." placeholder:"HASH"`
	AnyRubric  bool   `help:"Mix labels of different versions of the rubric."`
	Post       string `help:"Post the result to this Slack channel." placeholder:"CHANNEL"`
	JSON       bool   `help:"Print JSON."`
}

// Help is shown below the flags.
func (reportCmd) Help() string {
	return "How often people give each label to the spans of --project under --rubric: the plain rate of what they labelled, and the rate of all spans, in which each label weighs 1 / the selection probability that the bot wrote beside it (order: uncertainty). " +
		"A span counts once, whoever labelled it; disputed ones are left out and counted. It says how many labels came by which stream, how many have no recorded probability (they are in the plain rate alone) and what they are worth together (effective n). Each rate has a 95 % interval. " +
		"Exit code 0; 1: Phoenix or Slack does not answer; 2: nobody gave a label, the rubric changed midway, or --since is not understood."
}

// Run reports.
func (k reportCmd) Run(a *app) error {
	o := evals.RatesOptions{RubricHash: k.RubricHash, AnyRubric: k.AnyRubric}
	if k.Since != "" {
		var err error
		if o.Since, err = config.ParseSince(k.Since, time.Now()); err != nil {
			return usage("--since: %s", err)
		}
	}
	w, err := a.loopWork(oldProject)
	if err != nil {
		return err
	}
	defer w.close()
	if o.Rubric, err = w.rubric(a.ctx, a.cli.Rubric); err != nil {
		return err
	}
	o.Project = w.name
	p := a.progress("spans read")
	c, err := evals.CollectLabels(a.ctx, w.px, w.project.ID, o.Rubric.Name, nil, p.say)
	p.end()
	if err != nil {
		return a.interrupted(err, "nothing was changed")
	}
	r, err := evals.LabelRates(c, o)
	if err != nil {
		return err
	}
	if k.JSON {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else {
		printRates(a, r)
	}
	return k.tell(a, w, r)
}

// streams says how the labelled spans were chosen.
func streams(r evals.Rates) string {
	parts := []string{}
	if len(r.Streams) > 0 {
		parts = append(parts, tally(r.Streams))
	}
	if r.NoStream > 0 {
		parts = append(parts, fmt.Sprintf("not recorded %d", r.NoStream))
	}
	return strings.Join(parts, ", ")
}

func weights(r evals.Rates) string {
	if r.Weighed == 0 {
		return "recorded for no label"
	}
	return fmt.Sprintf("recorded for %d of %s; effective n %.1f", r.Weighed, several(r.Labelled, "label"), r.Effective)
}

// ratesText is the rates as a table.
func ratesText(r evals.Rates) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	// Columns that say nothing are not there; why is in the warnings.
	weighted, control := r.Weighed > 0, r.Streams["control"] > 0
	head := "LABEL\tSPANS\tPLAIN RATE"
	if weighted {
		head += "\tWEIGHTED RATE"
	}
	if control {
		head += "\tCONTROL STREAM"
	}
	fmt.Fprintln(t, head)
	for _, l := range r.Labels {
		line := fmt.Sprintf("%s\t%d\t%s", oneLine(l.Label, 40), l.N, l.Rate.Percent())
		if weighted {
			line += "\t" + l.Weighted.Percent()
		}
		if control {
			line += "\t" + l.Control.Percent()
		}
		fmt.Fprintln(t, line)
	}
	_ = t.Flush()
	return b.String()
}

func reportHead(r evals.Rates) string {
	since := ""
	if r.Since != nil {
		since = " that began since " + r.Since.Format("2006-01-02 15:04 MST")
	}
	return fmt.Sprintf("%s under %s, of %s annotated%s; left out: %s", several(r.Labelled, "labelled span"), r.Rubric, several(r.Annotated, "span"), since, cmp.Or(r.Left(), "none"))
}

func printRates(a *app, r evals.Rates) {
	fmt.Fprintf(a.out, "%s\n  streams        %s\n  probabilities  %s\n\n%s", reportHead(r), streams(r), weights(r), ratesText(r))
	for _, w := range r.Warnings {
		fmt.Fprintf(a.out, "! %s\n", w)
	}
	fmt.Fprintln(a.out, "Intervals of 95 %: Wilson's; of the weighted rate at its effective number of labels.")
}

// tell posts the result.
func (k reportCmd) tell(a *app, w *loopWork, r evals.Rates) error {
	if k.Post == "" {
		return nil
	}
	lines := []string{reportHead(r), "streams: " + streams(r), "selection probabilities: " + weights(r)}
	for _, l := range r.Labels { // in words: a table of them is wider than a telephone
		line := fmt.Sprintf("%s: %s, plain rate %s", oneLine(l.Label, 40), several(l.N, "span"), l.Rate.Percent())
		if l.Weighted.Defined() {
			line += "; weighted " + l.Weighted.Percent()
		}
		if l.Control.Defined() {
			line += "; control stream " + l.Control.Percent()
		}
		lines = append(lines, line)
	}
	return a.post(w, k.Post, slackui.Report{Title: "Labels of " + r.Rubric + " in " + r.Project, Lines: lines, Notes: r.Warnings,
		Links: []slackui.Link{{Text: "Spans in Phoenix", URL: phoenix.ProjectURL(w.base, w.name)}}}, "", nil)
}
