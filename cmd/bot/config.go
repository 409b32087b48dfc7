package main

import (
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
	f, err := os.OpenFile(c.Output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
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
	fmt.Fprintf(a.out, "%s is written. Edit it, then: spanbot config check --config %s\n", c.Output, c.Output)
	return nil
}

type configCheckCmd struct{}

// Run reads everything and connects to nothing. Secrets need not be set for it.
func (configCheckCmd) Run(a *app) error {
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
		fmt.Fprintf(a.out, "Route %s: %s of project %s → %s, rubric %s, %s, at most %d open\n",
			r.Name, spans, r.Project, r.Channel, r.Rubric, r.Schedule, r.MaxOpen)
	}
	return nil
}
