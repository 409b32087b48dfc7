package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/spanbot/spanbot/internal/config"
	"github.com/spanbot/spanbot/internal/evals"
	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/modeld"
)

// modelFlags are those of all commands that ask models.
type modelFlags struct {
	Concurrency int           `default:"16" help:"Calls of a model at a time at most; it begins with 4 and backs off when the endpoint says so." placeholder:"N"`
	Timeout     time.Duration `default:"60s" help:"How long one call may take." placeholder:"DURATION"`
	MaxCost     float64       `help:"Stop when the calls of all models of this command have cost this much in US dollars; what was done is kept." placeholder:"USD"`
	Price       []string      `help:"Price of a model in US dollars per million tokens, as gpt-x=1.25,10 (prompt, completion)." placeholder:"MODEL=IN,OUT" sep:"none"`
	StandInSeed uint64        `default:"1" help:"Seed of the stand-in model, where no endpoint is set." placeholder:"N"`
}

// loopWork is what the commands of the eval loop share: Phoenix and a project.
type loopWork struct {
	c       config.Config
	px      *phoenix.Client
	project phoenix.Project
	name    string // of the project
	base    string // of links
	places  evals.Places
	close   func()
}

// need says what a command of the eval loop wants of a project.
type need int

const (
	noProject  need = iota // none: what it reads is named otherwise
	newProject             // a name; Phoenix need not have it
	oldProject             // one that Phoenix has
)

// loopWork connects to Phoenix, a running bot's stand-in where none is set. A file
// that names several projects is in order where none is needed.
func (a *app) loopWork(n need) (*loopWork, error) {
	c, projects, err := tracesCmd{}.projects(a)
	if err != nil {
		return nil, err
	}
	name := ""
	if n == noProject {
		if len(projects) == 1 {
			name = projects[0]
		}
	} else if name, err = theProject(c, projects); err != nil {
		return nil, err
	}
	set := a.settings(c)
	standIns, err := a.borrow(c, config.NeedPhoenix, &set)
	if err != nil {
		return nil, err
	}
	w := &loopWork{c: c, name: name, base: cmp.Or(c.Phoenix.Public, set.Phoenix.Endpoint), close: standIns.Close}
	w.c.Phoenix.Endpoint = set.Phoenix.Endpoint
	if w.px, err = phoenix.New(set.Phoenix); err == nil {
		_, err = w.px.Server(a.ctx)
	}
	if err == nil && n == oldProject {
		w.project, err = w.px.Project(a.ctx, name)
		if review.KindOf(err) == review.Gone {
			err = &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("Phoenix has no project %s; name another with --project, or make it (spanbot traces)", name)}
		}
		w.places.Usual = w.project.ID
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// usualRubric is that of the first route to the project, and that of all routes
// where no project is named.
func (w *loopWork) usualRubric() (string, error) {
	var all []string
	for _, r := range w.c.Routes {
		if r.Project == w.name {
			return r.Rubric, nil
		}
		if !slices.Contains(all, r.Rubric) {
			all = append(all, r.Rubric)
		}
	}
	if w.name == "" && len(all) > 1 {
		return "", usage("%s names several rubrics; say which with --rubric: %s", w.c.File, strings.Join(all, ", "))
	}
	return all[0], nil
}

// rubric is the rubric of that name, "" for the usual one: the file's, else
// Phoenix's annotation config, else correct and incorrect.
func (w *loopWork) rubric(ctx context.Context, name string) (review.Rubric, error) {
	if name == "" {
		var err error
		if name, err = w.usualRubric(); err != nil {
			return review.Rubric{}, err
		}
	}
	if r, ok := w.c.Rubrics[name]; ok {
		return r, nil
	}
	var up, down string
	for _, r := range w.c.Routes {
		if r.Rubric == name {
			up, down = r.Up, r.Down
		}
	}
	found, ok, err := w.px.AnnotationConfig(ctx, name)
	if err != nil {
		return review.Rubric{}, err
	}
	if !ok {
		return review.DefaultRubric(name), nil
	}
	return found.Rubric(up, down), nil
}

// models are those of the task and the judge.
type models struct {
	base    string
	key     string
	text    bool
	header  http.Header
	standIn bool
	close   func()
	flags   modelFlags
	prices  map[string]evals.Price
	names   [2]string // task and judge, as configured
	budget  *evals.Budget
}

const standInModel = modeld.Model

// prices are those of the flags.
func (f modelFlags) prices() (map[string]evals.Price, error) {
	out := map[string]evals.Price{}
	for _, p := range f.Price {
		name, numbers, ok := strings.Cut(p, "=")
		in, after, _ := strings.Cut(numbers, ",")
		x, err1 := strconv.ParseFloat(in, 64)
		y, err2 := strconv.ParseFloat(after, 64)
		if !ok || name == "" || err1 != nil || err2 != nil || !price(x) || !price(y) {
			return nil, usage("--price %s: want a model and its prices, as gpt-x=1.25,10", p)
		}
		out[name] = evals.Price{Prompt: x, Completion: y}
	}
	return out, nil
}

func price(x float64) bool { return x >= 0 && !math.IsInf(x, 1) } // false for NaN

// models finds the endpoint, and starts the stand-in where there is none.
func (a *app) models(w *loopWork, f modelFlags) (*models, error) {
	prices, err := f.prices()
	if err != nil {
		return nil, err
	}
	if f.MaxCost < 0 || math.IsNaN(f.MaxCost) {
		return nil, usage("--max-cost must be at least 0, which is no ceiling")
	}
	m := &models{flags: f, close: func() {}, prices: prices, budget: evals.NewBudget(f.MaxCost), names: [2]string{w.c.Model.Task, w.c.Model.Judge}, header: http.Header{}}
	switch {
	case w.c.Model.BaseURL == config.PhoenixGateway:
		m.base, m.key, m.text = w.c.Phoenix.Endpoint+"/v1", w.c.Phoenix.APIKey.Reveal(), true
		for k, v := range w.c.Phoenix.Headers {
			m.header.Set(k, v.Reveal())
		}
	case w.c.Model.BaseURL != "":
		m.base, m.key = w.c.Model.BaseURL, w.c.Model.APIKey.Reveal()
	default:
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		s := &http.Server{Handler: modeld.New(modeld.Options{Seed: f.StandInSeed, Nonsense: .5, ErrorRate: .05}), ReadHeaderTimeout: 5 * time.Second}
		go func() {
			_ = s.Serve(l) // ends with close
		}()
		m.base, m.standIn, m.names = "http://"+l.Addr().String()+"/v1", true, [2]string{standInModel, standInModel}
		m.close = func() { _ = s.Close() }
		fmt.Fprintln(a.errOut, "spanbot: no model endpoint is set (OPENAI_BASE_URL, OPENAI_API_KEY): a stand-in answers, which is no language model")
	}
	closing := m.close
	quiet := context.AfterFunc(a.ctx, func() {
		fmt.Fprintf(a.errOut, "\nspanbot: stopping; answers under way are waited for, at most %s (Ctrl-C again ends it at once)\n", evals.Grace)
	})
	m.close = func() { quiet(); closing() }
	return m, nil
}

// named makes a model; an empty name is the role's configured one.
func (m *models) named(name string, judge bool) (*evals.Model, error) {
	role := 0
	if judge {
		role = 1
	}
	if m.standIn {
		name = standInModel
	}
	return evals.NewModel(evals.ModelOptions{BaseURL: m.base, APIKey: m.key, Header: m.header, Name: cmp.Or(name, m.names[role]), TextOnly: m.text,
		Concurrency: m.flags.Concurrency, Timeout: m.flags.Timeout, Budget: m.budget, Prices: m.prices})
}

// progress shows how far something is: on a terminal in place, with rate and time
// left; else a line now and then.
type progress struct {
	w     io.Writer
	what  string
	live  bool
	start time.Time

	mu   sync.Mutex
	last time.Time
	said bool
}

func (a *app) progress(what string) *progress {
	f, ok := a.errOut.(*os.File)
	return &progress{w: a.errOut, what: what, live: ok && term.IsTerminal(int(f.Fd())), start: time.Now()}
}

const (
	liveEvery  = 100 * time.Millisecond
	plainEvery = 10 * time.Second
)

// say is an evals.Progress.
func (p *progress) say(done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	every := plainEvery
	if p.live {
		every = liveEvery
	}
	last := total > 0 && done == total
	if p.last.IsZero() {
		p.last = p.start
	}
	if time.Since(p.last) < every && (!last || !p.said) {
		return
	}
	p.last, p.said = time.Now(), true
	rate := float64(done) / max(1e-9, time.Since(p.start).Seconds())
	line := fmt.Sprintf("%s: %d", p.what, done)
	if total > 0 {
		line += fmt.Sprintf(" of %d", total)
	}
	line += fmt.Sprintf(", %.1f/s", rate)
	if left := total - done; left > 0 && rate > 0 {
		line += ", " + (time.Duration(float64(left) / rate * float64(time.Second))).Round(time.Second).String() + " left"
	}
	if p.live {
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(p.w, line)
}

func (p *progress) end() {
	if p.live && p.said {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// printJSON prints a report for programs.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// interrupted turns the end by Ctrl-C into the exit code of a failure, once what
// was done has been said.
func (a *app) interrupted(err error, what string) error {
	if errors.Is(err, context.Canceled) && a.ctx.Err() != nil {
		fmt.Fprintf(a.errOut, "spanbot: stopped; %s\n", what)
		return errSaid
	}
	return err
}

func spent(s evals.Spent) string {
	return fmt.Sprintf("%d calls (%d retries, at most %d at a time), %d + %d tokens, cost %s", s.Calls, s.Retries, s.Peak, s.Usage.Prompt, s.Usage.Completion, s.Cost)
}
