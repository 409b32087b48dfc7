// Command bot is Spanbot: it posts spans that no human has annotated to Slack
// and stores what reviewers say of them in Phoenix.
//
// Here are the flags, the exit codes and the wiring; one file per command. What
// the commands do is in internal/bot, what may be set in internal/config.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	_ "time/tzdata" // schedules name time zones, and a container has none

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/spanbot/spanbot/internal/bot"
	"github.com/spanbot/spanbot/internal/config"
	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

// Exit codes.
const (
	exitFailed = 1 // it was tried and did not work
	exitUsage  = 2 // settings or words are wrong; nothing was started
)

// version is set by the linker (-X main.version=…); else the module's own.
var version = ""

func versionText() string {
	if version != "" {
		return version
	}
	if i, ok := debug.ReadBuildInfo(); ok && i.Main.Version != "" && i.Main.Version != "(devel)" {
		return i.Main.Version
	}
	return release
}

// release is the version under development, as CHANGELOG names it.
const release = "0.4.0"

// cli is every command and flag. Flags are settings of internal/config: they
// count before the environment and the file.
type cli struct {
	Config           string `help:"Configuration file ($SPANBOT_CONFIG; default spanbot.yaml, where there is one)." placeholder:"FILE"`
	PhoenixEndpoint  string `help:"Base URL of Phoenix ($PHOENIX_ENDPOINT; default a stand-in)." placeholder:"URL"`
	PhoenixPublicURL string `name:"phoenix-public-url" help:"Base URL of links to Phoenix that reviewers tap ($PHOENIX_PUBLIC_URL; default the endpoint)." placeholder:"URL"`
	Project          string `help:"Phoenix project whose spans are reviewed ($PHOENIX_PROJECT; default default)." placeholder:"NAME"`
	Channel          string `help:"Channel for the cards: an id, or #name ($SLACK_CHANNEL)." placeholder:"CHANNEL"`
	SlackAPIURL      string `name:"slack-api-url" help:"Slack Web API, for emulators ($SLACK_API_URL; default https://slack.com/api/)." placeholder:"URL"`
	Schedule         string `help:"When Phoenix is polled, a cron spec in UTC ($SPANBOT_SCHEDULE; default @every 30s)." placeholder:"SPEC"`
	Rubric           string `help:"Rubric, the name of the annotation in Phoenix ($SPANBOT_RUBRIC; default correctness)." placeholder:"NAME"`
	MaxOpen          string `help:"Cards that wait for a reviewer at any time, 0 = no limit ($SPANBOT_MAX_OPEN; default 25)." placeholder:"N"`
	Listen           string `help:"Address of probes, metrics and Slack's HTTP mode ($SPANBOT_LISTEN; default 127.0.0.1:8080)." placeholder:"ADDRESS"`
	Retention        string `help:"How long cards are remembered in Redis ($SPANBOT_RETENTION; default 90d)." placeholder:"DURATION"`
	StandIns         string `help:"Whether a stand-in takes the place of a Slack, Phoenix or Redis of which nothing is said: on or off ($SPANBOT_STAND_INS; default on)." placeholder:"on|off"`
	Data             string `help:"Folder of the embedded Redis ($SPANBOT_DATA; default ~/.local/share/spanbot)." placeholder:"FOLDER"`
	LogLevel         string `help:"How much is logged: debug, info, warn or error ($SPANBOT_LOG_LEVEL; default info)." placeholder:"LEVEL"`

	Run        runCmd        `cmd:"" default:"1" help:"Poll, post, take clicks and deliver, until stopped (the default)."`
	Check      checkCmd      `cmd:"" help:"Ask Slack, Phoenix and Redis whether all is well, and say what to do."`
	Preview    previewCmd    `cmd:"" help:"Poll once and post nothing: what would be posted, and how many cards a day."`
	Outbox     outboxCmd     `cmd:"" help:"Look at judgements that Phoenix does not have, send them again, or drop them."`
	History    historyCmd    `cmd:"" help:"Print what reviewers said and what became of it."`
	Rebuild    rebuildCmd    `cmd:"" help:"Bring back from Slack and Phoenix what Redis does not know of the cards."`
	Traces     tracesCmd     `cmd:"" help:"Send recorded traces to Phoenix, or ask a model questions, to try Spanbot with."`
	Dataset    datasetCmd    `cmd:"" help:"Build or extend a Phoenix dataset from spans that people annotated."`
	Judge      judgeCmd      `cmd:"" help:"Make a judge, let it judge, measure it against people."`
	Agreement  agreementCmd  `cmd:"" help:"Measure how far reviewers agree."`
	Report     reportCmd     `cmd:"" help:"Say how often people give each label, in what they labelled and in all spans."`
	Experiment experimentCmd `cmd:"" help:"Run a prompt over a dataset, and compare two of them."`
	Loop       loopCmd       `cmd:"" help:"The eval loop in one go: traces, labels, dataset, judge, alignment, experiments."`
	Manifest   manifestCmd   `cmd:"" help:"Print the manifest of the Slack app."`
	ConfigCmd  configCmd     `cmd:"" name:"config" help:"Write a spanbot.yaml to start from, or check one."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// flags are the given flags by their setting.
func (c *cli) flags() map[string]string {
	out := map[string]string{}
	for name, v := range map[string]string{
		"phoenix-endpoint": c.PhoenixEndpoint, "phoenix-public-url": c.PhoenixPublicURL, "project": c.Project,
		"channel": c.Channel, "slack-api-url": c.SlackAPIURL, "schedule": c.Schedule, "rubric": c.Rubric,
		"max-open": c.MaxOpen, "listen": c.Listen, "retention": c.Retention, "log-level": c.LogLevel,
		"stand-ins": c.StandIns, "data": c.Data,
	} {
		if v != "" {
			out[name] = v
		}
	}
	return out
}

// app is what every command is handed.
type app struct {
	ctx    context.Context
	cli    *cli
	out    io.Writer
	errOut io.Writer
}

// load reads the settings a command needs.
func (a *app) load(need config.Need) (config.Config, error) { return a.loadWith(nil, need) }

// loadWith is load with some flags given in addition.
func (a *app) loadWith(more map[string]string, need config.Need) (config.Config, error) {
	flags := a.cli.flags()
	maps.Copy(flags, more)
	return config.Load(config.Source{
		Env: os.LookupEnv, File: a.cli.Config, Flags: flags, ReadFile: os.ReadFile,
		CheckSchedule: func(spec string) error { _, err := bot.ParseSchedule(spec); return err },
	}, need)
}

// settings turns a configuration into what the bot is told.
func (a *app) settings(c config.Config) bot.Settings {
	log := a.log(c)
	for _, n := range c.Notes {
		log.Warn(n)
	}
	headers := map[string]string{}
	for k, v := range c.Phoenix.Headers {
		headers[k] = v.Reveal()
	}
	return bot.Settings{
		Phoenix:       phoenix.Options{Endpoint: c.Phoenix.Endpoint, APIKey: c.Phoenix.APIKey.Reveal(), Headers: headers, Version: versionText(), TLS: c.Phoenix.TLS},
		PhoenixPublic: c.Phoenix.Public,
		Slack: slackui.Options{BotToken: c.Slack.BotToken.Reveal(), AppToken: c.Slack.AppToken.Reveal(),
			SigningSecret: c.Slack.SigningSecret.Reveal(), APIURL: c.Slack.APIURL},
		Redis: c.Redis.URL.Reveal(), RedisTLS: c.Redis.TLS, Listen: c.Listen, Retention: c.Retention,
		Routes: c.Routes, Rubrics: c.Rubrics, Version: versionText(), Log: log,
	}
}

// log writes text to a terminal and JSON to anything else.
func (a *app) log(c config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.LogLevel}
	if f, ok := a.errOut.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(a.errOut, o))
	}
	return slog.New(slog.NewJSONHandler(a.errOut, o))
}

// usage is a mistake of the person who typed.
func usage(format string, args ...any) error {
	return &review.Error{Kind: review.Invalid, Text: fmt.Sprintf(format, args...)}
}

// errSaid fails a command that has printed what is wrong.
var errSaid = errors.New("")

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errOut io.Writer) int {
	// The bot itself is small; what makes it grow are texts of spans on their way
	// through. Collecting earlier costs little and keeps the process small.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(80 << 20)
	}
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("spanbot"),
		kong.Description("Review what your LLM application did, in Slack. Settings come from flags, the environment, spanbot.yaml and defaults, in this order."),
		kong.Help(help),
		kong.UsageOnError(), kong.Writers(out, errOut),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Exit(func(code int) { exited = code }))
	if err != nil {
		fmt.Fprintln(errOut, "spanbot:", err)
		return exitFailed
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // --help was printed
		return exited
	}
	if err != nil {
		fmt.Fprintf(errOut, "spanbot: %v; see spanbot --help\n", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err = parsed.Run(&app{ctx: ctx, cli: &c, out: out, errOut: errOut})
	return report(err, errOut)
}

// help prints kong's help and, below that of the whole program, the settings
// that have no flag.
func help(o kong.HelpOptions, c *kong.Context) error {
	if err := kong.DefaultHelpPrinter(o, c); err != nil || c.Selected() != nil {
		return err
	}
	fmt.Fprintln(c.Stdout, "\nSecrets have no flag; they come from the environment, or from the file named in NAME_FILE:")
	for _, s := range config.Settings() {
		if s.Flag == "" {
			fmt.Fprintf(c.Stdout, "  %-24s %s.\n", s.Env, s.Help)
		}
	}
	return nil
}

// report says what went wrong and turns it into an exit code.
func report(err error, w io.Writer) int {
	var mistakes config.Mistakes
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSaid):
		return exitFailed
	case errors.As(err, &mistakes):
		fmt.Fprintln(w, strings.TrimRight(mistakes.Error(), "\n"))
		return exitUsage
	}
	fmt.Fprintln(w, "spanbot:", err)
	if review.KindOf(err) == review.Invalid {
		return exitUsage
	}
	return exitFailed
}
