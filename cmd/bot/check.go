package main

import (
	"github.com/spanbot/spanbot/internal/bot"
	"github.com/spanbot/spanbot/internal/config"
)

type checkCmd struct {
	JSON bool `help:"Print JSON."`
}

// Help is shown below the flags.
func (checkCmd) Help() string {
	return "Exit code 0: a bot with these settings would work; 1: something keeps it from working; 2: the settings themselves are wrong."
}

// Run asks every part.
func (k checkCmd) Run(a *app) error {
	c, err := a.load(config.NeedAll)
	if err != nil {
		return err
	}
	set := a.settings(c)
	standIns, err := a.borrow(c, config.NeedAll, &set)
	if err != nil {
		return err
	}
	defer standIns.Close()
	good, err := bot.Check(a.ctx, set, a.out, k.JSON)
	if err == nil && !good {
		err = errSaid
	}
	return err
}
