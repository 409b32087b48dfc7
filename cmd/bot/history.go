package main

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spanbot/spanbot/internal/bot"
	"github.com/spanbot/spanbot/internal/config"
	"github.com/spanbot/spanbot/internal/review"
)

type historyCmd struct {
	Since string `default:"24h" help:"How far back: a duration such as 24h or 7d, a date or an RFC 3339 time." placeholder:"WHEN"`
	JSON  bool   `xor:"form" help:"Print JSON, one judgement a line."`
	CSV   bool   `xor:"form" help:"Print CSV with a header."`
}

// Help is shown below the flags.
func (historyCmd) Help() string {
	return "What reviewers said, in order: who, what, what they had said before, when it was clicked, when Phoenix had it, and how long that took. It is kept in Redis for SPANBOT_RETENTION. Exit code 0; 1: Slack or Redis does not answer; 2: --since is not understood."
}

// deed is a judgement of the history as JSON.
type deed struct {
	ClickedAt   time.Time  `json:"clicked_at"`
	StoredAt    *time.Time `json:"stored_at,omitempty"`
	LatencyMS   *int64     `json:"latency_ms,omitempty"`
	Outcome     string     `json:"outcome"` // stored, waiting, replaced, failed, dropped
	Why         string     `json:"why,omitempty"`
	Later       string     `json:"later,omitempty"`
	Resent      int        `json:"resent,omitempty"`
	Route       string     `json:"route"`
	Project     string     `json:"project"`
	TraceID     string     `json:"trace_id"`
	SpanID      string     `json:"span_id"`
	OnTrace     bool       `json:"on_trace"`
	Name        string     `json:"name"`
	Identifier  string     `json:"identifier"`
	Reviewer    string     `json:"reviewer"`
	Before      *answer    `json:"before,omitempty"`
	Label       string     `json:"label"`
	Score       *float64   `json:"score,omitempty"`
	Explanation string     `json:"explanation"`
	Withdrawn   bool       `json:"withdrawn"`

	Stream      string   `json:"stream,omitempty"`
	Probability *float64 `json:"selection_probability,omitempty"`
}

type answer struct {
	Label       string   `json:"label,omitempty"`
	Score       *float64 `json:"score,omitempty"`
	Explanation string   `json:"explanation,omitempty"`
}

func deedOf(d bot.Deed) deed {
	out := deed{ClickedAt: d.At.UTC(), Outcome: d.Outcome, Why: d.Why, Later: d.Later, Resent: d.Resent, Route: d.Route, Project: d.Project,
		TraceID: d.TraceID, SpanID: d.SpanID, OnTrace: d.OnTrace, Name: d.Name, Identifier: d.Reviewer.Identifier(), Reviewer: cmp.Or(d.Reviewer.Name, d.Reviewer.ID),
		Label: d.Label, Score: d.Score, Explanation: d.Explanation, Withdrawn: d.Withdrawn}
	if d.Chosen.Stream != "" {
		out.Stream, out.Probability = string(d.Chosen.Stream), &d.Chosen.Probability
	}
	if !d.Stored.IsZero() {
		at, ms := d.Stored.UTC(), d.Latency().Milliseconds()
		out.StoredAt, out.LatencyMS = &at, &ms
	}
	if d.Before != nil {
		out.Before = &answer{d.Before.Label, d.Before.Score, d.Before.Explanation}
	}
	return out
}

// Run prints the history.
func (k historyCmd) Run(a *app) error {
	since, err := config.ParseSince(k.Since, time.Now())
	if err != nil {
		return usage("--since: %s", err)
	}
	set, close, err := a.beside()
	if err != nil {
		return err
	}
	defer close()
	deeds, done, err := bot.History(a.ctx, set, since)
	if err != nil {
		return err
	}
	defer func() { _ = done() }()
	w := bufio.NewWriter(a.out)
	defer func() { _ = w.Flush() }()
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	sheet := csv.NewWriter(w)
	if k.CSV {
		if err := sheet.Write(csvHead); err != nil {
			return err
		}
	}
	n := 0
	for d, err := range deeds {
		if err != nil {
			return err
		}
		n++
		switch {
		case k.JSON:
			err = json.NewEncoder(w).Encode(deedOf(d))
		case k.CSV:
			err = sheet.Write(csvLine(deedOf(d)))
		default:
			if n == 1 {
				fmt.Fprintln(table, "CLICKED\tREVIEWER\tBEFORE\tSAID\tOUTCOME\tAFTER\tSPAN")
			}
			before, after := "-", "-"
			if d.Before != nil {
				before = said(*d.Before, false)
			}
			if !d.Stored.IsZero() {
				after = d.Latency().Round(time.Millisecond).String()
			}
			_, err = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.At.Local().Format(time.DateTime), cmp.Or(d.Reviewer.Name, d.Reviewer.ID), before, said(d.Answer, d.Withdrawn), d.Outcome, after, d.SpanID)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case k.CSV:
		sheet.Flush()
		return sheet.Error()
	case !k.JSON && n == 0:
		fmt.Fprintf(w, "Nobody judged anything since %s.\n", since.Local().Format(time.DateTime))
	}
	return table.Flush()
}

var csvHead = []string{"clicked_at", "stored_at", "latency_ms", "outcome", "why", "later", "route", "project", "trace_id", "span_id", "on_trace", "name", "identifier", "reviewer",
	"before_label", "before_score", "label", "score", "explanation", "withdrawn", "stream", "selection_probability"}

func csvLine(d deed) []string {
	at := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return t.Format(time.RFC3339Nano)
	}
	number := func(f *float64) string {
		if f == nil {
			return ""
		}
		return review.FormatScore(*f)
	}
	latency := ""
	if d.LatencyMS != nil {
		latency = strconv.FormatInt(*d.LatencyMS, 10)
	}
	b := answer{}
	if d.Before != nil {
		b = *d.Before
	}
	return []string{at(&d.ClickedAt), at(d.StoredAt), latency, d.Outcome, d.Why, d.Later, d.Route, d.Project, d.TraceID, d.SpanID, strconv.FormatBool(d.OnTrace), d.Name, d.Identifier, d.Reviewer,
		b.Label, number(b.Score), d.Label, number(d.Score), d.Explanation, strconv.FormatBool(d.Withdrawn), d.Stream, number(d.Probability)}
}
