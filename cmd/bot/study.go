package main

import (
	"fmt"
	"strings"

	"github.com/spanbot/spanbot/internal/bot"
	"github.com/spanbot/spanbot/internal/evals"
	"github.com/spanbot/spanbot/internal/review"
)

// ask hands a study to the bot that runs with these settings: most new cases (0:
// all).
func (a *app) ask(s review.Study, cases []review.Case, most int) (bot.Asking, error) {
	set, done, err := a.beside()
	if err != nil {
		return bot.Asking{}, err
	}
	defer done()
	asked, err := bot.Ask(a.ctx, set, s, cases, most)
	if err != nil {
		return asked, fmt.Errorf("--cards: %w", err)
	}
	if asked.Alone {
		fmt.Fprintf(a.errOut, "spanbot: no bot ever ran for route %s with this workspace, Phoenix (%s) and Redis; the cards come when one does\n", s.Route, set.Phoenix.Endpoint)
	}
	return asked, nil
}

// studies are the side by sides of two experiments, in any route.
func (a *app) studies(c evals.Comparison) (list []bot.StudyState, err error) {
	set, done, err := a.beside()
	if err != nil {
		return nil, err
	}
	defer done()
	for _, r := range set.Routes {
		s, ok, err := bot.LookAt(a.ctx, set, bot.SideBySideOf(r.Name, c.Pair()))
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, s)
		}
	}
	return list, nil
}

// reveal ends a side by side.
func (a *app) reveal(name string) error {
	set, done, err := a.beside()
	if err != nil {
		return err
	}
	defer done()
	return bot.Reveal(a.ctx, set, name)
}

// preferenceLines say what people prefer; nil while that is not told.
func preferenceLines(c evals.Comparison) []string {
	p := c.Preferences
	if p == nil {
		return nil
	}
	line := fmt.Sprintf("people, side by side and blind (%s, %s): %d prefer after, %d before, %d equal, %d both bad",
		several(p.Examples, "example"), several(p.Votes, "vote"), p.After, p.Before, p.Equal, p.BothBad)
	if p.Sign != nil {
		line += fmt.Sprintf("; sign test p = %.3g", *p.Sign)
	}
	lines := []string{line}
	if p.Left.Defined() {
		lines = append(lines, "the answer that stood first was chosen "+p.Left.Percent()+" of the time; a half is to be expected")
	}
	for _, w := range p.Warnings {
		lines = append(lines, "! "+strings.TrimSpace(w))
	}
	return lines
}
