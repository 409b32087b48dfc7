package main

import (
	"bufio"
	"errors"

	"github.com/spanbot/spanbot/internal/bot"
	"github.com/spanbot/spanbot/internal/config"
)

type previewCmd struct {
	Limit int    `help:"Spans to show for each route (default 25)." placeholder:"N"`
	JSON  bool   `help:"Print one JSON object a line: the spans as they are found, then the route's sums."`
	Route string `help:"Only this route." placeholder:"NAME"`
}

// Help is shown below the flags.
func (previewCmd) Help() string {
	return "Needs Phoenix only, neither Slack nor Redis; so it does not know which spans have a card already."
}

// Run polls once.
func (p previewCmd) Run(a *app) error {
	c, err := a.load(config.NeedPhoenix)
	if err != nil {
		return err
	}
	set := a.settings(c)
	standIns, err := a.borrow(c, config.NeedPhoenix, &set)
	if err != nil {
		return err
	}
	defer standIns.Close()
	o := bot.PreviewOptions{Out: a.out, JSON: p.JSON, Limit: p.Limit, Route: p.Route}
	if p.JSON { // for programs that read along
		return bot.Preview(a.ctx, set, o)
	}
	b := bufio.NewWriter(a.out)
	o.Out = b
	err = bot.Preview(a.ctx, set, o)
	return errors.Join(err, b.Flush())
}
