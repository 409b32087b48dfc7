package main

import (
	"cmp"
	"errors"

	"github.com/spanbot/spanbot/internal/bot"
	"github.com/spanbot/spanbot/internal/config"
)

type runCmd struct {
	Open bool `help:"Open the local workspace, else the stand-in Phoenix, in the browser."`
}

// Run is the bot itself, with a stand-in for each part of which nothing is said.
func (r runCmd) Run(a *app) (err error) {
	c, err := a.load(config.NeedAll)
	if err != nil {
		return err
	}
	set := a.settings(c)
	box, err := a.startStandIns(c, &set)
	if err != nil {
		return err
	}
	page := ""
	if box != nil {
		defer func() { err = errors.Join(err, box.Close()) }()
		banner(a.out, c, box)
		switch {
		case box.Slack != nil:
			page = box.Workspace()
		case box.Phoenix != nil:
			page = box.PhoenixEndpoint() + "/"
		}
	}
	if r.Open {
		if page == "" {
			set.Log.Warn("--open: nothing to open; Slack and Phoenix are yours", "phoenix", cmp.Or(c.Phoenix.Public, c.Phoenix.Endpoint))
		} else if err := openBrowser(page); err != nil {
			set.Log.Warn(err.Error())
		}
	}
	return bot.Run(a.ctx, set)
}
