package main

import (
	"bufio"
	"io"

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
	out := a.out
	if !p.JSON { // JSON lines are for programs that read along; people read a whole
		b := bufio.NewWriter(out)
		defer b.Flush()
		out = b
	}
	return bot.Preview(a.ctx, a.settings(c), bot.PreviewOptions{Out: io.Writer(out), JSON: p.JSON, Limit: p.Limit, Route: p.Route})
}
