package main

import (
	"encoding/json"
	"fmt"

	"github.com/spanbot/spanbot/internal/bot"
)

type rebuildCmd struct {
	JSON bool `help:"Print JSON, one route a line."`
}

// Help is shown below the flags.
func (rebuildCmd) Help() string {
	return "A running bot does this by itself when it finds that Redis lost what it held. By hand it is for when a part was lost. Nothing is posted, and a card that Redis knows is left alone. Exit code 0; 1: Slack, Phoenix or Redis does not answer."
}

// Run rebuilds.
func (k rebuildCmd) Run(a *app) error {
	set, close, err := a.beside()
	if err != nil {
		return err
	}
	defer close()
	return bot.Rebuild(a.ctx, set, func(route string, n bot.Rebuilt) {
		if k.JSON {
			_ = json.NewEncoder(a.out).Encode(map[string]any{"route": route, "cards": n.Cards, "new": n.New, "stored": n.Stored, "waiting": n.Waiting, "reopened": n.Reopened})
			return
		}
		fmt.Fprintf(a.out, "%s: %d cards in Slack, %d of them not known before; of those %d judgements are in Phoenix, %d go there now, %d cards ask again\n",
			route, n.Cards, n.New, n.Stored, n.Waiting, n.Reopened)
	})
}
