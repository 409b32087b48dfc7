package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spanbot/spanbot/internal/evals"
	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
	"github.com/spanbot/spanbot/internal/stats"
)

type agreementCmd struct {
	CSV       string   `name:"csv" help:"Measure any file with the columns unit, rater and label or score; needs no Phoenix." placeholder:"FILE"`
	Level     string   `enum:"nominal,ordinal,interval,ratio" default:"nominal" help:"What may be done with the values: nominal, ordinal, interval or ratio."`
	AnyRubric bool     `help:"Measure labels of several versions of the rubric together."`
	Labels    []string `help:"The labels there are, in their order (default the rubric's; of a file, those that occur)." placeholder:"LABEL,…"`
	Resamples int      `default:"2000" help:"Resamples of the bootstrap." placeholder:"N"`
	Seed      uint64   `default:"1" help:"Seed of the bootstrap." placeholder:"N"`
	Picture   string   `help:"Write a picture of α over time, a PNG, to this file." placeholder:"FILE"`
	Post      string   `help:"Post the result to this Slack channel." placeholder:"CHANNEL"`
	JSON      bool     `help:"Print JSON."`
}

// agreed is agreement as a whole and window by window.
type agreed struct {
	stats.Agreement
	Windows []stats.Window `json:"over_time,omitzero"` // not there without times
	over    stats.OverTime
	timed   bool // times are known, at least where they should be
}

// Help is shown below the flags.
func (agreementCmd) Help() string {
	return "How far reviewers agree about the spans of --project under --rubric, or the raters of a file. Adjudications and judges are left out. Every figure has n and a 95 % interval, or says why it is not defined. " +
		"Krippendorff's α is also given over time: by calendar weeks, or, of a project younger than four weeks, by up to eight windows of 20 spans or more. A span counts where it got its second reviewer's word; windows with fewer than two such spans are not defined. Of a file it needs the column time (RFC 3339, or a date). " +
		"Exit code 0; 1: Phoenix or Slack does not answer, or the picture cannot be written; 2: the file cannot be read, a score is no number, or there is nothing to draw."
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
	if k.CSV != "" {
		if k.Post != "" {
			return usage("--post is for the spans of a project; of a file, write the picture with --picture")
		}
		r, err := k.ofFile(o)
		if err != nil {
			return err
		}
		return k.show(a, r, filepath.Base(k.CSV))
	}
	w, err := a.loopWork(oldProject)
	if err != nil {
		return err
	}
	defer w.close()
	rubric, err := w.rubric(a.ctx, a.cli.Rubric)
	if err != nil {
		return err
	}
	r, err := k.ofProject(a, w, rubric, o)
	if err != nil {
		return a.interrupted(err, "nothing was measured")
	}
	if err := k.show(a, r, rubric.Name); err != nil {
		return err
	}
	return a.interrupted(k.tell(a, w, rubric.Name, r), "the measurement stands above and is not posted")
}

// show prints the result and draws it where that was asked for.
func (k agreementCmd) show(a *app, r agreed, name string) error {
	if k.Picture != "" {
		if why := r.undrawable(); why != "" {
			return usage("--picture: %s", why)
		}
		png, err := evals.AlphaPicture(name, r.over)
		if err != nil {
			return fmt.Errorf("the picture cannot be drawn: %w", err)
		}
		if err := os.WriteFile(k.Picture, png, 0o600); err != nil {
			return fmt.Errorf("cannot write %s: %w", k.Picture, rootCause(err))
		}
	}
	if k.JSON {
		return a.printJSON(r)
	}
	printAgreement(a, r)
	return nil
}

// undrawable says why there is no picture; "" where there is one.
func (r agreed) undrawable() string {
	switch {
	case !r.timed:
		return "there are no times, so α over time cannot be drawn; the file needs a column time (RFC 3339, or a date)"
	case !slices.ContainsFunc(r.Windows, func(w stats.Window) bool { return w.Alpha.Defined() }):
		return "α is defined in no window of time, so there is nothing to draw"
	}
	return ""
}

// overTime adds the windows.
func overTime(r stats.Agreement, ratings []stats.Rating, o stats.AgreementOptions) (agreed, error) {
	out := agreed{Agreement: r, timed: slices.ContainsFunc(ratings, func(r stats.Rating) bool { return !r.At.IsZero() })}
	if !out.timed {
		return out, nil
	}
	var err error
	if out.over, err = stats.AlphaOverTime(ratings, o); err != nil {
		return out, err
	}
	out.Windows = append([]stats.Window{}, out.over.Windows...)
	if n := out.over.Untimed; n > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("In no window of time, because times are missing: %s.", several(n, "unit")))
	}
	if n := out.over.Earlier; n > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("Windows of time are the last 104 weeks; %s came before.", several(n, "unit")))
	}
	return out, nil
}

func (k agreementCmd) ofFile(o stats.AgreementOptions) (agreed, error) {
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
		if text = strings.TrimSpace(v["time"]); text != "" {
			var err error
			if r.At, err = parseMoment(text); err != nil {
				return usage("%s, line %d: the time %q is neither RFC 3339, as 2026-11-20T09:00:00Z, nor a date, as 2026-11-20", k.CSV, line, text)
			}
		}
		ratings = append(ratings, r)
		return nil
	})
	if err != nil {
		return agreed{}, err
	}
	r, err := stats.Agree(ratings, o)
	if err != nil {
		return agreed{}, usage("%s: %v", k.CSV, err)
	}
	return overTime(r, ratings, o)
}

// parseMoment reads RFC 3339, or a date, which is its midnight in UTC.
func parseMoment(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Parse(time.DateOnly, s)
}

func (k agreementCmd) ofProject(a *app, w *loopWork, rubric review.Rubric, o stats.AgreementOptions) (agreed, error) {
	if o.Labels == nil && (o.Level == stats.Nominal || o.Level == stats.Ordinal) {
		for _, l := range rubric.Labels {
			o.Labels = append(o.Labels, l.Name)
		}
	}
	p := a.progress("spans read")
	c, err := evals.CollectLabels(a.ctx, w.px, w.project.ID, rubric.Name, nil, p.say)
	p.end()
	if err != nil {
		return agreed{}, err
	}
	if c.Annotated == 0 {
		return agreed{}, usage("none of the %d spans of project %s has a HUMAN annotation named %s", c.Spans, w.name, rubric.Name)
	}
	if !k.AnyRubric {
		if err := evals.Mixed(c.Items, "take all with --any-rubric"); err != nil {
			return agreed{}, err
		}
	}
	r, err := evals.Reviewers(c.Items, o)
	if err != nil {
		return agreed{}, &review.Error{Kind: review.Invalid, Text: err.Error()}
	}
	if c.Simulated > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("Rated by simulated reviewers, and looked at by no person: %s.", several(c.Simulated, "span")))
	}
	return overTime(r, evals.Ratings(c.Items), o)
}

func printAgreement(a *app, r agreed) {
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
	if len(r.Windows) > 1 {
		fmt.Fprintf(a.out, "\nα over time\n%s", windowsText(r.over, 0))
		for _, g := range gaps(r.Windows) {
			fmt.Fprintf(a.out, "! %s\n", g)
		}
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

// windowsText is α window by window as a table; of more than most (0: all) the
// last ones. Why it is not defined is said below the table: gaps.
func windowsText(o stats.OverTime, most int) string {
	list := o.Windows
	if most > 0 && len(list) > most {
		list = list[len(list)-most:]
	}
	form := "2006-01-02 15:04"
	if o.Weekly {
		form = time.DateOnly
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "FROM (UTC)\tSPANS\tα")
	for _, w := range list {
		alpha := "not defined"
		if w.Alpha.Defined() {
			alpha = w.Alpha.String()
		}
		fmt.Fprintf(t, "%s\t%d\t%s\n", w.From.Format(form), w.Units, alpha)
	}
	_ = t.Flush()
	return b.String()
}

// gaps says in how many windows α is not defined, and why.
func gaps(windows []stats.Window) []string {
	var whys, out []string
	count := map[string]int{}
	for _, w := range windows {
		if why := w.Alpha.Undefined; why != "" {
			if count[why]++; count[why] == 1 {
				whys = append(whys, why)
			}
		}
	}
	for _, why := range whys {
		out = append(out, fmt.Sprintf("α is not defined in %s of time, gaps in the picture: %s.", several(count[why], "window"), why))
	}
	return out
}

// mostPosted is how many windows a posted table has room for.
const mostPosted = 20

// tell posts the result.
func (k agreementCmd) tell(a *app, w *loopWork, rubric string, r agreed) error {
	if k.Post == "" {
		return nil
	}
	report := slackui.Report{Title: "Agreement of reviewers: " + rubric, Notes: slices.Clone(r.Warnings),
		Lines: []string{
			fmt.Sprintf("%s by %s, %s; %s rated by two or more (%s)", several(r.Ratings, "rating"), several(r.Raters, "reviewer"), several(r.Units, "span"), several(r.Shared, "span"), r.Level),
			"Krippendorff's α " + r.KrippendorffAlpha.String(), "Cohen's κ " + r.CohenKappa.String(), "Fleiss' κ " + r.FleissKappa.String(),
			"Gwet's AC1 " + r.GwetAC1.String(), "percent agreement " + r.PercentAgreement.Percent(),
		},
		Links: []slackui.Link{{Text: "Spans in Phoenix", URL: phoenix.ProjectURL(w.base, w.name)}}}
	if e := r.KrippendorffAlpha; e.Defined() {
		report.Lines = append(report.Lines, fmt.Sprintf("α of %.2f: %s", e.Value, alphaWord(e.Value)))
	}
	if len(r.Windows) > 0 {
		report.Table = windowsText(r.over, mostPosted)
		report.Notes = append(report.Notes, gaps(r.Windows)...)
		if n := len(r.Windows) - mostPosted; n > 0 {
			report.Notes = append(report.Notes, fmt.Sprintf("The table has the last %d windows; the %d before them are in spanbot agreement --json.", mostPosted, n))
		}
	}
	if why := r.undrawable(); why != "" {
		report.Notes = append(report.Notes, "No picture: "+why+".")
		return a.post(w, k.Post, report, "", nil)
	}
	return a.post(w, k.Post, report, "Krippendorff's α over time", func() ([]byte, error) { return evals.AlphaPicture(rubric, r.over) })
}
