// Package config turns flags, environment and spanbot.yaml into routes, rubrics
// and addresses, and finds every mistake in them at once.
//
//	settings.go  the table of all settings and of the file's keys
//	config.go    Load: flags before environment before file before defaults
//	env.go       environment and flags, secrets and their _FILE forms
//	standins.go  outside parts of which nothing is said; the data folder
//	file.go      routes and rubrics of the file
//	node.go      YAML nodes, each with its place; unknown keys, syntax errors
//	tls.go       certificates of outside parts
//	value.go     single values: durations, shares, URLs, channels, headers
//	mistake.go   how a mistake is shown; "did you mean"; secrets blotted out
//	docs.go      the tables in the documentation, and the file of `config init`
//
// It connects to nothing and writes nothing. Whether a token is any good, a
// channel or project exists, is found out by package bot; what a schedule may
// be, too (Source.CheckSchedule).
package config

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// Config is everything Spanbot is told from outside. It can be printed: secrets
// come out as "[secret]".
type Config struct {
	Phoenix struct {
		Endpoint string // without trailing slash
		Public   string // base of links; the endpoint where nothing else is said
		APIKey   Secret
		Headers  map[string]Secret
		TLS      *tls.Config `json:"-"` // nil: as usual
	}
	Slack struct {
		BotToken      Secret
		AppToken      Secret // Socket Mode
		SigningSecret Secret // HTTP mode; never together with AppToken
		APIURL        string // with trailing slash; "" = Slack's own
	}
	Redis struct {
		URL Secret
		TLS *tls.Config `json:"-"` // nil: as usual
	}
	Model struct {
		BaseURL string // without trailing slash; "phoenix": Phoenix's gateway; "": a stand-in
		APIKey  Secret
		Task    string // "" where none is named
		Judge   string
	}
	StandIns  StandIns
	Data      string // folder of what the embedded queue keeps; "" = there is no home to put it
	Listen    string
	Retention time.Duration
	LogLevel  slog.Level
	Routes    []review.Route
	Rubrics   map[string]review.Rubric // those that the file defines, by name

	File  string   // the file that was read; "" when there was none
	Notes []string // what is no mistake and may still surprise
}

// Need says what a command cannot do without; what is missing is a mistake.
type Need uint

// Needs of a command.
const (
	NeedPhoenix Need = 1 << iota // Phoenix, and a project for each route
	NeedSlack                    // tokens, and a channel for each route
	NeedRedis

	NeedAll = NeedPhoenix | NeedSlack | NeedRedis
)

// Source is where settings come from.
type Source struct {
	Env      func(string) (string, bool) // os.LookupEnv; an empty value counts as not set
	File     string                      // path of the file; "": SPANBOT_CONFIG, else spanbot.yaml where there is one
	Flags    map[string]string           // by Setting.Flag, those that were given
	ReadFile func(string) ([]byte, error)
	// CheckSchedule says what is wrong with a cron spec; nil: any will do.
	CheckSchedule func(string) error
}

// loader collects what is found while the sources are read.
type loader struct {
	src      Source
	doc      document
	mistakes Mistakes
	notes    []string
}

// Load reads all sources. A failure is Mistakes, all of them.
func Load(src Source, need Need) (Config, error) {
	l := &loader{src: src}
	var c Config
	file := l.readFile(&c)
	l.services(&c, file)
	l.standIns(&c, file)
	l.routes(&c, file)
	if need&NeedPhoenix != 0 && !c.StandIns.Phoenix && c.Phoenix.Endpoint == "" {
		l.missing("PHOENIX_ENDPOINT", l.phoenixHalf())
	}
	if need&NeedRedis != 0 && !c.StandIns.Redis && c.Redis.URL == "" {
		l.missing("REDIS_URL", "")
	}
	if need&NeedSlack != 0 && !c.StandIns.Slack {
		l.needSlack(c)
	}
	if len(file.routes) == 0 {
		l.oneRoute(&c, file.base, need)
	}
	c.Notes = l.notes
	if len(l.mistakes) > 0 {
		l.mistakes.sort()
		return Config{}, l.mistakes
	}
	return c, nil
}

// readFile finds and reads spanbot.yaml.
func (l *loader) readFile(c *Config) fileSettings {
	name, from := l.src.File, "--config"
	if name == "" {
		name, from = l.env("SPANBOT_CONFIG"), "SPANBOT_CONFIG"
	}
	given := name != ""
	if !given {
		name = defaultFile
	}
	data, err := l.src.ReadFile(name)
	switch {
	case err == nil:
		c.File = name
		return l.top(l.parse(name, data))
	case given || !errors.Is(err, fs.ErrNotExist):
		if !given {
			from = ""
		}
		l.elsewhere(from, fmt.Sprintf("cannot read %s: %s", name, cause(err)))
	}
	return l.top(nil)
}

// services reads all that is not a route.
func (l *loader) services(c *Config, file fileSettings) {
	l.phoenixEndpoint(c, file)
	set(l, "PHOENIX_PUBLIC_URL", file, &c.Phoenix.Public, parsePhoenix)
	if c.Phoenix.Public == "" {
		c.Phoenix.Public = c.Phoenix.Endpoint
	}
	c.Phoenix.APIKey = l.token("PHOENIX_API_KEY")
	if s := l.secret("PHOENIX_CLIENT_HEADERS"); s != "" {
		h, err := parseHeaders(s.Reveal())
		if err != nil {
			l.elsewhere("PHOENIX_CLIENT_HEADERS", err.Error())
		}
		c.Phoenix.Headers = h
	}
	for k, v := range c.Phoenix.Headers {
		if strings.EqualFold(k, "authorization") && c.Phoenix.APIKey != "" && v.Reveal() != "Bearer "+c.Phoenix.APIKey.Reveal() {
			l.elsewhere("PHOENIX_CLIENT_HEADERS", fmt.Sprintf("header %q and PHOENIX_API_KEY contradict each other; remove one", k))
		}
	}

	c.Slack.BotToken = l.slackToken("SLACK_BOT_TOKEN", "xoxb-")
	c.Slack.AppToken = l.slackToken("SLACK_APP_TOKEN", "xapp-")
	c.Slack.SigningSecret = l.slackToken("SLACK_SIGNING_SECRET", "")
	set(l, "SLACK_API_URL", file, &c.Slack.APIURL, parseSlackAPI)
	if c.Slack.AppToken != "" && c.Slack.SigningSecret != "" {
		l.elsewhere("SLACK_APP_TOKEN", "it asks for Socket Mode, SLACK_SIGNING_SECRET for HTTP mode; choose one and remove the other")
	}

	set(l, "OPENAI_BASE_URL", file, &c.Model.BaseURL, parseModel)
	c.Model.APIKey = l.token("OPENAI_API_KEY")
	set(l, "SPANBOT_TASK_MODEL", file, &c.Model.Task, parseWord)
	set(l, "SPANBOT_JUDGE_MODEL", file, &c.Model.Judge, parseWord)
	if c.Model.BaseURL == "" && c.Model.APIKey != "" {
		c.Model.BaseURL = openAI
	}

	l.redisURL(c, file)
	c.Phoenix.TLS = l.tls(phoenixTLS, file, c.Phoenix.Endpoint, "https://")
	c.Redis.TLS = l.tls(redisTLS, file, c.Redis.URL.Reveal(), "rediss://", "rediss+sentinel://", "rediss+cluster://")
	c.Listen, c.Retention = defaultListen, defaultRetention
	set(l, "SPANBOT_LISTEN", file, &c.Listen, parseListen)
	set(l, "SPANBOT_RETENTION", file, &c.Retention, positiveDuration)
	set(l, "SPANBOT_LOG_LEVEL", file, &c.LogLevel, parseLevel)
}

func (l *loader) redisURL(c *Config, file fileSettings) {
	if f, ok := file.values["redis.url"]; ok {
		if s, ok := l.text(f); ok {
			if hasPassword(s) {
				l.wrong(f.value, f.path, "a password does not belong into a file that is shared; set REDIS_URL, or REDIS_URL_FILE to the path of a file that holds the URL")
			} else if err := checkRedis(s); err != nil {
				l.wrong(f.value, f.path, "%s", err)
			} else {
				c.Redis.URL = Secret(s)
			}
		}
	}
	if s := l.secret("REDIS_URL"); s == inMemory {
		c.StandIns.Memory, c.Redis.URL = true, ""
	} else if s != "" {
		if err := checkRedis(s.Reveal()); err != nil {
			l.elsewhere("REDIS_URL", err.Error())
		}
		c.Redis.URL = s
	}
}

func (l *loader) needSlack(c Config) {
	if c.Slack.BotToken == "" && !l.given("SLACK_BOT_TOKEN") {
		why := ""
		if c.Slack.AppToken != "" {
			why = "SLACK_APP_TOKEN alone is not enough"
		} else if c.Slack.SigningSecret != "" {
			why = "SLACK_SIGNING_SECRET alone is not enough"
		}
		l.missing("SLACK_BOT_TOKEN", why)
	}
	if c.Slack.AppToken == "" && c.Slack.SigningSecret == "" && !l.given("SLACK_APP_TOKEN") && !l.given("SLACK_SIGNING_SECRET") {
		l.missing("SLACK_APP_TOKEN", "Or SLACK_SIGNING_SECRET for HTTP mode")
	}
}

// routes takes over the file's routes and rubrics and looks at what only shows
// when all are known.
func (l *loader) routes(c *Config, file fileSettings) {
	c.Rubrics = map[string]review.Rubric{}
	rubricAt := map[string]fileRubric{}
	for _, r := range file.rubrics {
		if r.Name == "" {
			continue
		}
		if first, ok := rubricAt[r.Name]; ok {
			l.wrong(r.node, r.path+".name", "%q is taken by %s in line %d", r.Name, first.path, first.node.Line)
			continue
		}
		rubricAt[r.Name], c.Rubrics[r.Name] = r, r.Rubric
	}
	routeAt := map[string]fileRoute{}
	used := map[string]bool{}
	for _, r := range file.routes {
		for _, key := range []string{"name", "project", "channel"} {
			_, said := r.at[key]
			if have := map[string]string{"name": r.Name, "project": r.Project, "channel": r.Channel}[key]; have == "" && !said {
				example := map[string]string{"name": "support", "project": "my-agent", "channel": `"#reviews"`}[key]
				l.wrong(r.node, r.path, "no %s; add a line such as %s: %s", key, key, example)
			}
		}
		if first, ok := routeAt[r.Name]; ok && r.Name != "" {
			f := r.at["name"]
			l.wrong(f.value, f.path, "%q is taken by %s in line %d", r.Name, first.path, first.node.Line)
		} else {
			routeAt[r.Name] = r
		}
		l.thumbs(r, rubricAt)
		l.order(r)
		if f, said := r.at["stop"]; said && r.Stop.Width > 0 {
			if rub, ok := rubricAt[r.Rubric]; ok && rub.Down == nil {
				l.wrong(f.at, f.path, "rubric %q, defined in line %d, has no down: without a 👎 there is no failure rate; add one, or say labels instead of width", r.Rubric, rub.node.Line)
			}
		}
		l.keepsCards(r.Route, c.Retention, func(text string) {
			if f, ok := r.at["open_for"]; ok {
				l.wrong(f.value, f.path, "%s", text)
			} else {
				l.wrong(r.node, r.path, "%s", text)
			}
		})
		used[r.Rubric] = true
		if _, ok := rubricAt[r.Rubric]; !ok && r.Rubric != "" {
			var names []string
			for n := range rubricAt {
				names = append(names, n)
			}
			if n := nearest(r.Rubric, names); n != "" {
				l.note("%s.rubric: %q is not defined in %s and will be looked up in Phoenix; did you mean %q?", r.path, r.Rubric, c.File, n)
			}
		}
		c.Routes = append(c.Routes, r.Route)
	}
	for _, r := range file.rubrics {
		if len(file.routes) > 0 && r.Name != "" && !used[r.Name] {
			l.note("%s: no route asks %q", r.path, r.Name)
		}
	}
	if len(file.routes) > 0 {
		for _, s := range Settings() {
			if s.Route && l.given(s.Env) {
				l.note("%s is not used: %s names its own routes", s.Env, c.File)
			}
		}
	}
}

// thumbs looks at a route's up and down, which go together and only count where
// the rubric does not say it itself.
func (l *loader) thumbs(r fileRoute, rubrics map[string]fileRubric) {
	for _, key := range []string{"up", "down"} {
		f, ok := r.at[key]
		if !ok {
			continue
		}
		if (r.Up == "") != (r.Down == "") {
			l.wrong(f.at, f.path, "up and down go together; name both labels or neither")
		}
		if rub, ok := rubrics[r.Rubric]; ok {
			l.wrong(f.at, f.path, "rubric %q is defined in line %d and has its own %s; remove this line", r.Rubric, rub.node.Line, key)
		}
	}
	if f, ok := r.at["down"]; ok && r.Up != "" && r.Up == r.Down {
		l.wrong(f.value, f.path, "up and down are the same label %q", r.Down)
	}
}

// order looks at what only counts in one order, and at a judge that would be asked
// about itself.
func (l *loader) order(r fileRoute) {
	f, said := r.at["uncertainty"]
	switch {
	case said && r.Order != review.ByUncertainty:
		l.wrong(f.at, f.path, "it counts with order: uncertainty only, and the order is %s; add order: uncertainty or remove this section", r.Order)
	case r.Order == review.ByUncertainty && r.JudgeName() == r.Rubric:
		f := r.at["uncertainty"]
		l.wrong(cmp.Or(f.at, r.node), cmp.Or(f.path, r.path), "the judge and the reviewers would annotate under the same name %q; want the judge's own, such as %s_judge", r.Rubric, r.Rubric)
	}
}

// keepsCards: a card that Redis has forgotten cannot expire.
func (l *loader) keepsCards(r review.Route, retention time.Duration, wrong func(string)) {
	if retention > 0 && r.OpenFor > retention {
		wrong(fmt.Sprintf("cards stay open for %s, longer than the retention of %s; shorten open_for or lengthen SPANBOT_RETENTION (retention in YAML)",
			formatDuration(r.OpenFor), formatDuration(retention)))
	}
}

// oneRoute is the route that the environment describes, over the file's
// defaults.
func (l *loader) oneRoute(c *Config, base review.Route, need Need) {
	r := base
	r.Name = oneRoute
	override(l, "PHOENIX_PROJECT", &r.Project, parseText)
	override(l, "SLACK_CHANNEL", &r.Channel, parseChannel)
	override(l, "SPANBOT_SCHEDULE", &r.Schedule, l.schedule)
	override(l, "SPANBOT_RUBRIC", &r.Rubric, parseRubricName)
	override(l, "SPANBOT_MAX_OPEN", &r.MaxOpen, func(s string) (int, error) { return parseCount(s, 0, most) })
	if r.Project == "" && !l.given("PHOENIX_PROJECT") {
		switch {
		case c.StandIns.Phoenix:
			r.Project = DemoProject
		case c.StandIns.Allowed:
			r.Project = phoenixDefault
		case need&NeedPhoenix != 0:
			l.missing("PHOENIX_PROJECT", "")
		}
	}
	if r.Channel == "" && !l.given("SLACK_CHANNEL") {
		switch {
		case c.StandIns.Slack:
			r.Channel = demoChannel
		case need&NeedSlack != 0:
			l.missing("SLACK_CHANNEL", "")
		}
	}
	if c.StandIns.Phoenix {
		l.demoPace(&r, base)
	}
	l.keepsCards(r, c.Retention, func(text string) { l.elsewhere("SPANBOT_RETENTION", text) })
	if r.Project != "" {
		c.Routes = []review.Route{r}
	}
}
