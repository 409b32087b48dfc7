package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spanbot/spanbot/internal/evals"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/stats"
)

type agreementCmd struct {
	CSV       string   `name:"csv" help:"Measure any file with the columns unit, rater and label or score; needs no Phoenix." placeholder:"FILE"`
	Level     string   `enum:"nominal,ordinal,interval,ratio" default:"nominal" help:"What may be done with the values: nominal, ordinal, interval or ratio."`
	Labels    []string `help:"The labels there are, in their order (default the rubric's; of a file, those that occur)." placeholder:"LABEL,…"`
	Resamples int      `default:"2000" help:"Resamples of the bootstrap." placeholder:"N"`
	Seed      uint64   `default:"1" help:"Seed of the bootstrap." placeholder:"N"`
	JSON      bool     `help:"Print JSON."`
}

// Help is shown below the flags.
func (agreementCmd) Help() string {
	return "How far reviewers agree about the spans of --project under --rubric, or the raters of a file. Adjudications and judges are left out. Every figure has n and a 95 % interval, or says why it is not defined. " +
		"Exit code 0; 1: Phoenix does not answer; 2: the file cannot be read, or a score is no number."
}

// Run measures.
func (k agreementCmd) Run(a *app) error {
	level, err := stats.ParseLevel(k.Level)
	if err != nil {
		return usage("--level: %v", err)
	}
	if k.Resamples < 1 || k.Resamples > 1_000_000 {
		return usage("--resamples must be between 1 and 1,000,000")
	}
	o := stats.AgreementOptions{Level: level, Labels: k.Labels, Resamples: k.Resamples, Seed: k.Seed}
	var r stats.Agreement
	if k.CSV != "" {
		r, err = k.ofFile(o)
	} else {
		r, err = k.ofProject(a, o)
	}
	if err != nil {
		return err
	}
	if k.JSON {
		return a.printJSON(r)
	}
	printAgreement(a, r)
	return nil
}

func (k agreementCmd) ofFile(o stats.AgreementOptions) (stats.Agreement, error) {
	var ratings []stats.Rating
	err := readCSV(k.CSV, []string{"unit", "rater"}, func(line int, v map[string]string) error {
		label, hasLabel := v["label"]
		text, hasScore := v["score"]
		if !hasLabel && !hasScore {
			return usage("%s has neither a column label nor a column score", k.CSV)
		}
		r := stats.Rating{Unit: v["unit"], Rater: v["rater"], Label: strings.TrimSpace(label)}
		if r.Unit == "" || r.Rater == "" {
			return usage("%s, line %d: unit or rater is empty", k.CSV, line)
		}
		if text = strings.TrimSpace(text); text != "" {
			f, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
				return usage("%s, line %d: the score %q of unit %s by %s is not a finite number", k.CSV, line, text, r.Unit, r.Rater)
			}
			r.Score, r.HasScore = f, true
		}
		ratings = append(ratings, r)
		return nil
	})
	if err != nil {
		return stats.Agreement{}, err
	}
	r, err := stats.Agree(ratings, o)
	if err != nil {
		return r, usage("%s: %v", k.CSV, err)
	}
	return r, nil
}

func (k agreementCmd) ofProject(a *app, o stats.AgreementOptions) (stats.Agreement, error) {
	w, err := a.loopWork(true)
	if err != nil {
		return stats.Agreement{}, err
	}
	defer w.close()
	rubric, err := w.rubric(a.ctx, a.cli.Rubric)
	if err != nil {
		return stats.Agreement{}, err
	}
	if o.Labels == nil && (o.Level == stats.Nominal || o.Level == stats.Ordinal) {
		for _, l := range rubric.Labels {
			o.Labels = append(o.Labels, l.Name)
		}
	}
	p := a.progress("spans read")
	c, err := evals.Collect(a.ctx, w.px, w.project.ID, rubric.Name, nil, p.say)
	p.end()
	if err != nil {
		return stats.Agreement{}, err
	}
	if c.Annotated == 0 {
		return stats.Agreement{}, usage("none of the %d spans of project %s has a HUMAN annotation named %s", c.Spans, w.name, rubric.Name)
	}
	r, err := evals.Reviewers(c.Items, o)
	if err != nil {
		return r, &review.Error{Kind: review.Invalid, Text: err.Error()}
	}
	return r, nil
}

func printAgreement(a *app, r stats.Agreement) {
	fmt.Fprintf(a.out, "%s by %s, %s; %s rated by two or more (%s)\n  %s\n\n", several(r.Ratings, "rating"), several(r.Raters, "rater"), several(r.Units, "unit"), several(r.Shared, "unit"), r.Level, tally(r.Mix))
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	for _, l := range []struct {
		name string
		e    stats.Estimate
	}{
		{"percent agreement", r.PercentAgreement}, {"Krippendorff's α", r.KrippendorffAlpha}, {"Cohen's κ", r.CohenKappa},
		{"Fleiss' κ", r.FleissKappa}, {"Gwet's AC1", r.GwetAC1}, {"PABAK", r.PABAK},
	} {
		fmt.Fprintf(t, "%s\t%s\n", l.name, l.e)
	}
	_ = t.Flush()
	if e := r.KrippendorffAlpha; e.Defined() {
		fmt.Fprintf(a.out, "\nα of %.2f: %s\n", e.Value, alphaWord(e.Value))
	}
	if len(r.Pairs) > 1 {
		fmt.Fprintln(a.out)
		t = tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "PAIR\tN\tAGREE\tκ")
		for i, p := range r.Pairs {
			if i == 20 {
				break
			}
			fmt.Fprintf(t, "%s – %s\t%d\t%s\t%s\n", p.A, p.B, p.N, p.PercentAgreement.Percent(), p.CohenKappa)
		}
		_ = t.Flush()
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(a.out, "! %s\n", w)
	}
	fmt.Fprintf(a.out, "Intervals of 95 %%; those of α, Fleiss' κ and AC1 by %d resamples of units, seed %d.\n", r.Resamples, r.Seed)
}

// alphaWord reads α as Krippendorff does.
func alphaWord(v float64) string {
	switch {
	case v >= .8:
		return "firm (0.80 and above)"
	case v >= .667:
		return "good enough for tentative conclusions (0.667 to 0.80)"
	}
	return "below 0.667: these labels do not support conclusions; look at the pairs and at the rubric"
}
