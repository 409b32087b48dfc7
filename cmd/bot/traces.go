package main

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/config"
	"github.com/spanbot/spanbot/internal/evals"
	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/recorded"
)

type tracesCmd struct {
	Questions string `help:"Ask a model these questions instead: a CSV file with a column question, or tutorial for its 20. With a model endpoint set, tutorial is the default." placeholder:"FILE|tutorial"`
	Prompt    string `help:"System prompt for them: the text, or @FILE (default the tutorial's, which fails on purpose)." placeholder:"TEXT|@FILE"`
	Model     string `help:"Model that is asked ($SPANBOT_TASK_MODEL)." placeholder:"MODEL"`
	Recorded  bool   `help:"Send recorded traces even where a model endpoint is set."`
	JSON      bool   `help:"Print JSON."`
	modelFlags
	Count int           `help:"Traces to send; more than there are start over (default each once)." placeholder:"N"`
	Every time.Duration `help:"Pause between two traces; 0s: all at once, as if they had come in over the last minutes." default:"0s" placeholder:"DURATION"`
}

// Help is shown below the flags.
func (tracesCmd) Help() string {
	return "Sends the questions of the trivia tutorial with recorded answers, and a few traces that are harder to judge, to Phoenix, to try Spanbot with. " +
		"Where a model endpoint is set (OPENAI_BASE_URL, OPENAI_API_KEY), or with --questions, a model is asked instead, and each call recorded as OpenInference's instrumentation of OpenAI does. " +
		"The project is --project, else $PHOENIX_PROJECT, else that of the routes in spanbot.yaml, else " + recorded.Project + "; it is made when it does not exist. Needs neither Slack nor Redis. " +
		"Exit code 0; 1: Phoenix or the model failed, or it was stopped; what was sent stays; 2: settings are wrong, or the questions cannot be read."
}

// Run sends them, oldest first.
func (t tracesCmd) Run(a *app) error {
	if t.Count < 0 || t.Every < 0 {
		return usage("--count and --every cannot be negative")
	}
	if t.Recorded && t.Questions != "" {
		return usage("--recorded and --questions contradict each other")
	}
	if t.Questions != "" {
		return t.ask(a)
	}
	c, project, err := t.load(a)
	if err != nil {
		return err
	}
	if c.Model.BaseURL != "" && !t.Recorded {
		return t.ask(a)
	}
	set := a.settings(c)
	if c.StandIns.Phoenix {
		running, found, err := a.running(c)
		if err != nil {
			return err
		}
		if !found || running.Phoenix == nil {
			return usage("no PHOENIX_ENDPOINT is set, and no bot with a stand-in Phoenix runs on %s; start one (spanbot), or name a Phoenix", c.Data)
		}
		use(running, c, &set)
	}
	px, err := phoenix.New(set.Phoenix)
	if err != nil {
		return err
	}
	server, err := px.Server(a.ctx)
	if err != nil {
		return err
	}
	target := project
	switch p, err := px.Project(a.ctx, project); {
	case err == nil:
		target = p.ID
	case review.KindOf(err) != review.Gone: // a new one has only its name
		return err
	}
	if !t.JSON {
		fmt.Fprintf(a.out, "Sending recorded traces to project %s of Phoenix %s at %s\n", project, server.Version, set.Phoenix.Endpoint)
	}
	list := []map[string]string{}
	sent, spans, total, err := t.send(a, px, target, func(n int, trace recorded.Trace) {
		if t.JSON {
			list = append(list, map[string]string{"name": trace.Name, "shows": trace.Shows})
			return
		}
		fmt.Fprintf(a.out, "%3d  %s (%s)\n", n, trace.Name, trace.Shows)
	})
	switch {
	case t.JSON:
		if failed := a.printJSON(map[string]any{"project": project, "traces": list, "spans": spans, "link": phoenix.ProjectURL(cmp.Or(c.Phoenix.Public, set.Phoenix.Endpoint), project)}); failed != nil {
			return failed
		}
	case sent > 0:
		are := "are"
		if sent == 1 {
			are = "is"
		}
		fmt.Fprintf(a.out, "%s (%s) %s in project %s: %s\n", several(sent, "trace"), several(spans, "span"), are, project,
			phoenix.ProjectURL(cmp.Or(c.Phoenix.Public, set.Phoenix.Endpoint), project))
	}
	if err == nil && sent < total {
		fmt.Fprintf(a.errOut, "spanbot: stopped after %d of %d traces\n", sent, total)
		return errSaid
	}
	if err != nil {
		return fmt.Errorf("after %d of %d traces: %w", sent, total, err)
	}
	return nil
}

// load reads the settings and finds the project.
func (t tracesCmd) load(a *app) (config.Config, string, error) {
	c, projects, err := t.projects(a)
	if err != nil {
		return c, "", err
	}
	name, err := theProject(c, projects)
	return c, name, err
}

// theProject is the one of them.
func theProject(c config.Config, projects []string) (string, error) {
	if len(projects) > 1 {
		return "", usage("%s names several projects; say which with --project: %s", c.File, strings.Join(projects, ", "))
	}
	return projects[0], nil
}

// projects reads the settings and finds the project that is named, else those of
// all routes.
func (t tracesCmd) projects(a *app) (config.Config, []string, error) {
	said := a.cli.Project
	for _, env := range []string{"PHOENIX_PROJECT", "PHOENIX_PROJECT_NAME"} {
		said = cmp.Or(said, os.Getenv(env))
	}
	usual := cmp.Or(said, recorded.Project)
	if said == "" {
		// A project for all routes in the file would not outlive the flag below.
		c, err := a.load(0)
		if err != nil {
			return c, nil, err
		}
		if c.File != "" && len(c.Routes) > 0 && c.Routes[0].Project != phoenixDefault {
			usual = c.Routes[0].Project
		}
	}
	c, err := a.loadWith(map[string]string{"project": usual}, config.NeedPhoenix)
	c.Notes = nil // they are about routes and rubrics
	if err != nil || said != "" {
		return c, []string{said}, err
	}
	var projects []string
	for _, r := range c.Routes {
		if !slices.Contains(projects, r.Project) {
			projects = append(projects, r.Project)
		}
	}
	return c, projects, nil
}

// phoenixDefault is the project that package config takes where none is named.
const phoenixDefault = "default"

// send sends the traces one by one and says so, until all are sent, one is
// refused or the person has enough. All at once, those at the start of the list
// come last: a route posts the newest first.
func (t tracesCmd) send(a *app, px *phoenix.Client, target string, say func(n int, trace recorded.Trace)) (sent, spans, total int, err error) {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	ids := rand.NewChaCha8(seed)
	list := recorded.Traces()
	total = cmp.Or(t.Count, len(list))
	ends := t.ends(total, rand.New(ids)) //nolint:gosec // times of examples, which --seed repeats
	for i := range total {
		if i > 0 && !sleep(a.ctx, t.Every) {
			break // the person has enough
		}
		trace := list[i%len(list)]
		if t.Every == 0 {
			trace = list[(total-1-i)%len(list)]
		}
		made := trace.Spans(time.Now().Add(-ends(i)-trace.Took()), ids)
		// What is on its way is waited for, so that the number is right.
		if err = px.AddSpans(context.WithoutCancel(a.ctx), target, made); err != nil {
			break
		}
		sent, spans = sent+1, spans+len(made)
		say(sent, trace)
	}
	return sent, spans, total, err
}

// ends says how long ago the trace i of total ended when it is sent: just now
// where traces are sent with pauses, else one after the other, up to half a
// minute apart, the last one now.
func (t tracesCmd) ends(total int, r *rand.Rand) func(i int) time.Duration {
	if t.Every > 0 {
		return func(int) time.Duration { return 0 }
	}
	gaps := make([]time.Duration, total)
	sum := time.Duration(0)
	for i := total - 1; i >= 0; i-- {
		gaps[i] = sum
		sum += 5*time.Second + time.Duration(r.Int64N(int64(25*time.Second)))
	}
	return func(i int) time.Duration { return gaps[i] }
}

// several is "1 span" or "2 spans".
func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// sleep waits and reports whether ctx is still good.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return ctx.Err() == nil
}

// ask asks a model the questions and records it.
func (t tracesCmd) ask(a *app) error {
	var questions []string
	if t.Questions == "" || t.Questions == "tutorial" {
		questions = recorded.Questions()
	} else {
		err := readCSV(t.Questions, []string{"question"}, func(line int, v map[string]string) error {
			q := strings.TrimSpace(v["question"])
			if q == "" {
				return usage("%s, line %d: the question is empty", t.Questions, line)
			}
			questions = append(questions, q)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if t.Count > 0 {
		all := questions
		questions = nil
		for i := range t.Count {
			questions = append(questions, all[i%len(all)])
		}
	}
	prompt, err := promptText(cmp.Or(t.Prompt, promptBefore))
	if err != nil {
		return err
	}
	w, err := a.loopWork(newProject)
	if err != nil {
		return err
	}
	defer w.close()
	ms, err := a.models(w, t.modelFlags)
	if err != nil {
		return err
	}
	defer ms.close()
	m, err := ms.named(t.Model, false)
	if err != nil {
		return err
	}
	p := a.progress("asked")
	n := 0
	done, err := evals.AskAll(a.ctx, m, evals.NewRecorder(w.px), w.name, prompt, questions, func(int, evals.Asked) { n++; p.say(n, len(questions)) })
	p.end()
	link := phoenix.ProjectURL(w.base, w.name)
	if t.JSON {
		list := make([]map[string]any, len(done))
		for i, d := range done {
			list[i] = map[string]any{"question": d.Question, "answer": d.Answer, "span_id": d.SpanID, "trace_id": d.TraceID, "model": d.Model, "stand_in": d.StandIn}
		}
		err = errors.Join(a.printJSON(map[string]any{"project": w.name, "traces": list, "spent": m.Spent(), "link": link}), err)
	} else {
		for i, d := range done {
			fmt.Fprintf(a.out, "%3d  %s → %s\n", i+1, oneLine(d.Question, 60), oneLine(d.Answer, 80))
		}
		fmt.Fprintf(a.out, "%s in project %s: %s\n  %s\n", several(len(done), "trace"), w.name, link, spent(m.Spent()))
		if ms.standIn {
			fmt.Fprintln(a.out, "  No language model was used: a stand-in answered by rule.")
		}
	}
	return a.interrupted(err, "the answers that came are recorded")
}
