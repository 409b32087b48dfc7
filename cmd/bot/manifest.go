package main

import (
	"net/url"

	"github.com/spanbot/spanbot/internal/slackui"
)

type manifestCmd struct {
	HTTP string `name:"http" help:"Public base URL of the bot, for HTTP mode; without it the app uses Socket Mode." placeholder:"URL"`
	Name string `help:"Name of the app (default Spanbot)." placeholder:"NAME"`
}

// Run prints the manifest; it needs no settings.
func (m manifestCmd) Run(a *app) error {
	if m.HTTP != "" {
		u, err := url.Parse(m.HTTP)
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return usage("--http %q: want the public base URL, https://…, under which Slack reaches the bot", m.HTTP)
		}
	}
	b, err := slackui.Manifest(slackui.ManifestOptions{Name: m.Name, HTTPURL: m.HTTP})
	if err != nil {
		return err
	}
	_, err = a.out.Write(b)
	return err
}
