package main

import (
	"github.com/spanbot/spanbot/internal/bot"
	"github.com/spanbot/spanbot/internal/config"
)

type runCmd struct{}

// Run is the bot itself.
func (runCmd) Run(a *app) error {
	c, err := a.load(config.NeedAll)
	if err != nil {
		return err
	}
	return bot.Run(a.ctx, a.settings(c))
}
