package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spanbot/spanbot/internal/bot"
	"github.com/spanbot/spanbot/internal/config"
	"github.com/spanbot/spanbot/internal/review"
)

type outboxCmd struct {
	List   outboxListCmd   `cmd:"" help:"List the judgements that Phoenix does not have: those on their way, and those it refused."`
	Show   outboxShowCmd   `cmd:"" help:"Show one of them, whole."`
	Replay outboxReplayCmd `cmd:"" help:"Send to Phoenix again what it refused."`
	Drop   outboxDropCmd   `cmd:"" help:"Remove what Phoenix refused, for good; it is printed once more."`
}

type outboxListCmd struct {
	Dead bool `help:"Only what Phoenix refused."`
	JSON bool `help:"Print JSON, one judgement a line."`
}

type outboxShowCmd struct {
	Key  string `arg:"" help:"Key of the judgement, its start, or the id of its span."`
	JSON bool   `help:"Print JSON."`
}

type outboxReplayCmd struct {
	Key  []string `arg:"" optional:"" help:"Keys of the judgements."`
	All  bool     `help:"All that Phoenix refused."`
	JSON bool     `help:"Print JSON, one judgement a line."`
}

type outboxDropCmd struct {
	Key  []string `arg:"" optional:"" help:"Keys of the judgements."`
	All  bool     `help:"All that Phoenix refused."`
	JSON bool     `help:"Print JSON, one judgement a line."`
}

// Help is shown below the flags.
func (outboxListCmd) Help() string {
	return "A judgement that Phoenix refused for good (its span was deleted, its value is not taken) is a dead letter: nothing is lost, and nothing is tried again by itself. Exit code 0; 1: Slack or Redis does not answer."
}

// Help is shown below the flags.
func (outboxDropCmd) Help() string {
	return "What is dropped stays in spanbot history for as long as that is kept."
}

// letter is a judgement of the outbox as JSON.
type letter struct {
	Key         string     `json:"key"`
	State       string     `json:"state"` // waiting, sending, dead
	Route       string     `json:"route"`
	Project     string     `json:"project"`
	TraceID     string     `json:"trace_id"`
	SpanID      string     `json:"span_id"`
	OnTrace     bool       `json:"on_trace,omitempty"`
	Name        string     `json:"name"`
	Identifier  string     `json:"identifier"`
	Reviewer    string     `json:"reviewer,omitempty"`
	Label       string     `json:"label,omitempty"`
	Score       *float64   `json:"score,omitempty"`
	Explanation string     `json:"explanation,omitempty"`
	Withdrawn   bool       `json:"withdrawn,omitempty"`
	ClickedAt   time.Time  `json:"clicked_at"`
	Tries       int        `json:"tries"`
	Due         *time.Time `json:"due,omitempty"`
	Why         string     `json:"why,omitempty"`
	GivenUp     *time.Time `json:"given_up_at,omitempty"`
}

func letterOf(l bot.Letter) letter {
	out := letter{Key: l.Key, State: state(l), Route: l.Route, Project: l.Project, TraceID: l.TraceID, SpanID: l.SpanID, OnTrace: l.OnTrace,
		Name: l.Name, Identifier: l.Reviewer.Identifier(), Reviewer: l.Reviewer.Name, Label: l.Label, Score: l.Score, Explanation: l.Explanation,
		Withdrawn: l.Withdrawn, ClickedAt: l.At.UTC(), Tries: l.Tries, Why: l.Why}
	if !l.Due.IsZero() {
		due := l.Due.UTC()
		out.Due = &due
	}
	if !l.Given.IsZero() {
		given := l.Given.UTC()
		out.GivenUp = &given
	}
	return out
}

func state(l bot.Letter) string {
	switch {
	case l.Dead:
		return "dead"
	case l.Leased:
		return "sending"
	}
	return "waiting"
}

// said is an answer in a few words.
func said(a review.Answer, withdrawn bool) string {
	s := a.Label
	if a.Score != nil {
		s = strings.TrimSpace(s + " " + review.FormatScore(*a.Score))
	}
	if withdrawn {
		s = strings.TrimSpace("taken back " + s)
	}
	return cmp.Or(s, "(comment)")
}

// open connects to the outbox of a bot with these settings.
func (a *app) outbox() (*bot.Outbox, func(), error) {
	set, close, err := a.beside()
	if err != nil {
		return nil, nil, err
	}
	o, err := bot.OpenOutbox(a.ctx, set)
	if err != nil {
		close()
		return nil, nil, err
	}
	return o, func() { _ = o.Close(); close() }, nil
}

// beside are the settings of a command that works on what a bot uses.
func (a *app) beside() (bot.Settings, func(), error) {
	c, err := a.load(config.NeedAll)
	if err != nil {
		return bot.Settings{}, nil, err
	}
	set := a.settings(c)
	standIns, err := a.borrow(c, config.NeedAll, &set)
	if err != nil {
		return bot.Settings{}, nil, err
	}
	return set, standIns.Close, nil
}

// Run lists.
func (k outboxListCmd) Run(a *app) error {
	o, done, err := a.outbox()
	if err != nil {
		return err
	}
	defer done()
	list, err := o.List(a.ctx)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(a.out)
	defer func() { _ = w.Flush() }()
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	shown, dead := 0, 0
	for _, l := range list {
		if l.Dead {
			dead++
		}
		if k.Dead && !l.Dead {
			continue
		}
		if k.JSON {
			if err := json.NewEncoder(w).Encode(letterOf(l)); err != nil {
				return err
			}
			continue
		}
		if shown == 0 {
			fmt.Fprintln(table, "STATE\tCLICKED\tREVIEWER\tSAID\tWHY\tKEY")
		}
		shown++
		why := l.Why
		if !l.Dead && l.Tries > 0 {
			why = fmt.Sprintf("tried %d times, next %s", l.Tries, l.Due.Local().Format(time.TimeOnly))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", state(l), l.At.Local().Format(time.DateTime), cmp.Or(l.Reviewer.Name, l.Reviewer.ID), said(l.Answer, l.Withdrawn), why, l.Key)
	}
	if k.JSON {
		return nil
	}
	if err := table.Flush(); err != nil {
		return err
	}
	switch {
	case shown == 0 && k.Dead:
		fmt.Fprintln(w, "Phoenix refused nothing.")
	case shown == 0:
		fmt.Fprintln(w, "Empty: Phoenix has every judgement.")
	case dead > 0:
		fmt.Fprintf(w, "\n%d refused by Phoenix; spanbot outbox replay --all sends them again.\n", dead)
	}
	return nil
}

// Run shows one.
func (k outboxShowCmd) Run(a *app) error {
	o, done, err := a.outbox()
	if err != nil {
		return err
	}
	defer done()
	l, err := o.Find(a.ctx, k.Key)
	if err != nil {
		return err
	}
	e := json.NewEncoder(a.out)
	if !k.JSON {
		e.SetIndent("", "  ")
	}
	e.SetEscapeHTML(false)
	return e.Encode(letterOf(l))
}

// Run replays.
func (k outboxReplayCmd) Run(a *app) error {
	return a.eachDead(k.Key, k.All, k.JSON, "goes to Phoenix again", (*bot.Outbox).Replay)
}

// Run drops.
func (k outboxDropCmd) Run(a *app) error {
	return a.eachDead(k.Key, k.All, k.JSON, "dropped", (*bot.Outbox).Drop)
}

// eachDead does something to the dead letters that were named, or to all, and
// prints each.
func (a *app) eachDead(keys []string, all, asJSON bool, done string, do func(*bot.Outbox, context.Context, bot.Letter) error) error {
	if all == (len(keys) > 0) {
		return usage("name the judgements by their keys, or give --all for everything that Phoenix refused; spanbot outbox list --dead shows them")
	}
	o, close, err := a.outbox()
	if err != nil {
		return err
	}
	defer close()
	var list []bot.Letter
	if all {
		everything, err := o.List(a.ctx)
		if err != nil {
			return err
		}
		for _, l := range everything {
			if l.Dead {
				list = append(list, l)
			}
		}
	}
	for _, key := range keys {
		l, err := o.Find(a.ctx, key)
		if err != nil {
			return err
		}
		list = append(list, l)
	}
	for _, l := range list {
		if err := do(o, a.ctx, l); err != nil {
			return err
		}
		if asJSON {
			if err := json.NewEncoder(a.out).Encode(letterOf(l)); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(a.out, "%s: %s by %s: %s\n", done, said(l.Answer, l.Withdrawn), cmp.Or(l.Reviewer.Name, l.Reviewer.ID), l.Key)
		if l.Explanation != "" {
			fmt.Fprintf(a.out, "  %s\n", strings.ReplaceAll(l.Explanation, "\n", "\n  "))
		}
	}
	if len(list) == 0 && !asJSON {
		fmt.Fprintln(a.out, "Phoenix refused nothing.")
	}
	return nil
}
