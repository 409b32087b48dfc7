package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spanbot/spanbot/internal/config"
)

type configCmd struct {
	Init  configInitCmd  `cmd:"" help:"Write a commented spanbot.yaml to start from."`
	Check configCheckCmd `cmd:"" help:"Find every mistake in the settings, without connecting to anything."`
}

type configInitCmd struct {
	Output string `short:"o" help:"File to write; - for standard output (default)." default:"-" placeholder:"FILE"`
}

// Run writes the example; a file that exists is not touched.
func (c configInitCmd) Run(a *app) error {
	if c.Output == "-" {
		_, err := a.out.Write(config.Example)
		return err
	}
	f, err := os.OpenFile(c.Output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // a template that a team shares; it holds no secret
	if errors.Is(err, fs.ErrExist) {
		return usage("%s exists and is left as it is; name another file with --output", c.Output)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(config.Example)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s is written. Edit it, then: spanbot config check %s\n", c.Output, c.Output)
	return nil
}

type configCheckCmd struct {
	File string `arg:"" optional:"" help:"File to check (default as for run)." placeholder:"FILE"`
}

// Run reads everything and connects to nothing. What only `run` needs, secrets
// above all, may be missing: a file is checked where they are not.
func (k configCheckCmd) Run(a *app) error {
	if k.File != "" {
		a.cli.Config = k.File
	}
	c, err := a.load(0)
	if err != nil {
		return err
	}
	from := c.File
	if from == "" {
		from = "the environment (there is no spanbot.yaml)"
	}
	fmt.Fprintf(a.out, "No mistakes in %s.\n", from)
	for _, n := range c.Notes {
		fmt.Fprintln(a.out, "Note:", n)
	}
	for _, r := range c.Routes {
		spans := "root spans"
		if r.Spans.AllSpans {
			spans = "all spans"
		}
		open := fmt.Sprintf("at most %d open cards", r.MaxOpen)
		if r.MaxOpen == 0 {
			open = "any number of open cards"
		}
		fmt.Fprintf(a.out, "Route %s: %s of project %s → %s, rubric %s, %s, %s\n",
			r.Name, spans, r.Project, cmp.Or(r.Channel, "(no channel)"), r.Rubric, r.Schedule, open)
	}
	var missing config.Mistakes
	if _, err := a.loadWith(map[string]string{"stand-ins": "off"}, config.NeedAll); errors.As(err, &missing) {
		head := "Not set here, and needed to run:"
		if c.StandIns.Allowed {
			head = "Not set here, and needed to run without stand-ins:"
		}
		fmt.Fprintln(a.out, head)
		for _, m := range missing {
			fmt.Fprintln(a.out, " ", m.Text)
		}
	}
	return nil
}
