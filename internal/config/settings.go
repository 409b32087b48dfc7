package config

import (
	"slices"
	"strings"
)

// Setting is one thing that can be set from outside.
type Setting struct {
	Env     string   // "PHOENIX_ENDPOINT"; a secret also as Env + "_FILE"
	Aliases []string // other names that are read when Env is not set, in this order
	YAML    string   // path in spanbot.yaml; "" where only the environment will do
	Flag    string   // without dashes; "" where there is none
	Default string   // in words; "" = none
	Example string
	Help    string // one sentence without a full stop
	Secret  bool
	Route   bool // describes the environment's one route
}

// Settings is the one table of what can be set: --help, the README's table and
// docs/configuration.md are made from it, and Load reads by it.
func Settings() []Setting {
	return []Setting{
		{Env: "PHOENIX_ENDPOINT", YAML: "phoenix.endpoint", Flag: "phoenix-endpoint",
			Aliases: []string{"PHOENIX_COLLECTOR_ENDPOINT", "PHOENIX_BASE_URL", "PHOENIX_HOST"}, Default: "a stand-in",
			Example: "https://phoenix.example.com", Help: "Base URL of Phoenix"},
		{Env: "PHOENIX_API_KEY", Secret: true,
			Example: "eyJhbGciOi…", Help: "API key, where Phoenix wants one; a viewer's key is not enough"},
		{Env: "PHOENIX_CLIENT_HEADERS", Secret: true,
			Example: "x-team=ml,x-gateway-key=…", Help: "Further request headers: `k=v,k=v` (URL-encoded) or a JSON object"},
		{Env: "PHOENIX_PUBLIC_URL", YAML: "phoenix.public_url", Flag: "phoenix-public-url", Default: "the endpoint",
			Example: "https://phoenix.example.com", Help: "Base URL of links to Phoenix that reviewers tap"},
		{Env: "PHOENIX_PROJECT", YAML: "routes[].project", Flag: "project", Route: true,
			Aliases: []string{"PHOENIX_PROJECT_NAME"}, Default: phoenixDefault,
			Example: "my-agent", Help: "Phoenix project whose spans are reviewed"},
		{Env: "REDIS_URL", YAML: "redis.url", Secret: true,
			Default: "a stand-in; `memory`: one that keeps nothing",
			Example: "redis://127.0.0.1:6379/0", Help: "Redis or Valkey, where Spanbot keeps its state (in YAML without a password)"},
		{Env: "PHOENIX_CA_FILE", YAML: "phoenix.ca_file", Default: "the system's authorities",
			Example: "/etc/ssl/phoenix-ca.pem", Help: "File of the certificates that may have signed Phoenix's (`https://…`)"},
		{Env: "PHOENIX_CLIENT_CERT_FILE", YAML: "phoenix.client_cert_file",
			Example: "/etc/ssl/spanbot.pem", Help: "File of the certificate that we show to Phoenix"},
		{Env: "PHOENIX_CLIENT_KEY_FILE", YAML: "phoenix.client_key_file",
			Example: "/etc/ssl/spanbot.key", Help: "File of its key"},
		{Env: "REDIS_CA_FILE", YAML: "redis.ca_file", Default: "the system's authorities",
			Example: "/etc/ssl/redis-ca.pem", Help: "File of the certificates that may have signed Redis's (`rediss://…`, `rediss+sentinel://…`, `rediss+cluster://…`)"},
		{Env: "REDIS_CLIENT_CERT_FILE", YAML: "redis.client_cert_file",
			Example: "/etc/ssl/spanbot.pem", Help: "File of the certificate that we show to Redis"},
		{Env: "REDIS_CLIENT_KEY_FILE", YAML: "redis.client_key_file",
			Example: "/etc/ssl/spanbot.key", Help: "File of its key"},
		{Env: "SLACK_BOT_TOKEN", Secret: true,
			Default: "a stand-in",
			Example: "xoxb-…", Help: "Bot token of the Slack app"},
		{Env: "SLACK_APP_TOKEN", Secret: true,
			Example: "xapp-…", Help: "App-level token: Slack is reached by Socket Mode"},
		{Env: "SLACK_SIGNING_SECRET", Secret: true,
			Example: "8f742231b10e…", Help: "Signing secret: Slack calls us (HTTP mode), instead of the app-level token"},
		{Env: "SLACK_CHANNEL", YAML: "routes[].channel", Flag: "channel", Route: true,
			Example: "#reviews", Help: "Channel for the cards: an id, or #name"},
		{Env: "SLACK_API_URL", YAML: "slack.api_url", Flag: "slack-api-url", Default: "https://slack.com/api/",
			Example: "http://127.0.0.1:3000/api/", Help: "Slack Web API, for emulators"},
		{Env: "SPANBOT_SCHEDULE", YAML: "routes[].schedule", Flag: "schedule", Route: true, Default: defaultSchedule,
			Example: "*/5 9-17 * * 1-5", Help: "When Phoenix is polled: a cron spec (UTC)"},
		{Env: "SPANBOT_RUBRIC", YAML: "routes[].rubric", Flag: "rubric", Route: true, Default: defaultRubric,
			Example: "helpfulness", Help: "Rubric, the name of the annotation in Phoenix"},
		{Env: "SPANBOT_MAX_OPEN", YAML: "routes[].max_open", Flag: "max-open", Route: true, Default: "25",
			Example: "40", Help: "Cards that wait for a reviewer at any time; 0 = no limit"},
		{Env: "OPENAI_BASE_URL", YAML: "model.base_url", Default: "OpenAI's, where there is a key; else a stand-in that is no language model",
			Example: "http://127.0.0.1:11434/v1", Help: "OpenAI-compatible endpoint of the models of `traces`, `judge`, `experiment` and `loop`; `phoenix`: Phoenix's own gateway"},
		{Env: "OPENAI_API_KEY", Secret: true,
			Example: "sk-…", Help: "Its key; Phoenix's gateway takes Phoenix's"},
		{Env: "SPANBOT_TASK_MODEL", YAML: "model.task",
			Example: "gpt-4o", Help: "Model that answers questions; on Phoenix's gateway as `openai:gpt-4o`"},
		{Env: "SPANBOT_JUDGE_MODEL", YAML: "model.judge",
			Example: "gpt-4.1", Help: "Model that judges answers"},
		{Env: "SPANBOT_LISTEN", YAML: "listen", Flag: "listen", Default: defaultListen,
			Example: "0.0.0.0:8080", Help: "Address of probes, metrics and Slack's HTTP mode"},
		{Env: "SPANBOT_RETENTION", YAML: "retention", Flag: "retention", Default: "90d",
			Example: "30d", Help: "How long cards are remembered in Redis"},
		{Env: "SPANBOT_STAND_INS", YAML: "stand_ins", Flag: "stand-ins", Default: "on",
			Example: "off", Help: "Whether a stand-in takes the place of a Slack, Phoenix or Redis of which nothing is said: on or off"},
		{Env: "SPANBOT_DATA", YAML: "data", Flag: "data", Default: "~/.local/share/spanbot",
			Example: "/var/lib/spanbot", Help: "Folder of the embedded Redis, and of the note by which commands find a running bot"},
		{Env: "SPANBOT_CONFIG", Flag: "config", Default: defaultFile + ", where there is one",
			Example: "/etc/spanbot.yaml", Help: "Configuration file"},
		{Env: "SPANBOT_LOG_LEVEL", Flag: "log-level", Default: "info",
			Example: "debug", Help: "How much is logged: debug, info, warn or error"},
	}
}

// setting is the row of that environment variable; the table is the only list
// of names, so a name that is not in it is our bug.
func setting(env string) Setting {
	for _, s := range Settings() {
		if s.Env == env {
			return s
		}
	}
	panic("config: no setting " + env)
}

// Key is one key of spanbot.yaml.
type Key struct {
	Name    string
	Form    string // what may be written, "10% or 0.1"
	Default string
	Help    string
}

// Section is a place in spanbot.yaml and the keys that may stand there.
type Section struct {
	Path string // "routes[]"
	Help string
	Keys []Key
}

var topSection = Section{"", "The file.", []Key{
	{"phoenix", "section", "", "Where Phoenix is"},
	{"slack", "section", "", "Where Slack is"},
	{"redis", "section", "", "Where Redis is"},
	{"model", "section", "", "Where language models are"},
	{"listen", "host:port", defaultListen, "Address of probes, metrics and Slack's HTTP mode"},
	{"retention", "duration", "90d", "How long cards are remembered in Redis"},
	{"stand_ins", "on or off", "on", "Whether a stand-in takes the place of a Slack, Phoenix or Redis of which nothing is said"},
	{"data", "path", "~/.local/share/spanbot", "Folder of the embedded Redis, and of the note by which commands find a running bot"},
	{"defaults", "section", "", "What holds for each route that does not say otherwise; takes the keys of a route except `name`, `up` and `down`"},
	{"routes", "list", "one route from the environment", "Which spans go to which channel"},
	{"rubrics", "list", "", "What reviewers are asked. A rubric that is not defined here comes from the Phoenix annotation config of its name; without one it is correct = 1, incorrect = 0"},
}}

var phoenixSection = Section{"phoenix", "Where Phoenix is. The key comes from `PHOENIX_API_KEY`.", []Key{
	{"endpoint", "URL", "", "Base URL of Phoenix"},
	{"public_url", "URL", "the endpoint", "Base URL of links to Phoenix that reviewers tap"},
	{"ca_file", "path", "the system's authorities", "File of the certificates that may have signed Phoenix's (`https://…`)"},
	{"client_cert_file", "path", "", "File of the certificate that we show to Phoenix"},
	{"client_key_file", "path", "", "File of its key"},
}}

var slackSection = Section{"slack", "Where Slack is. The tokens come from `SLACK_BOT_TOKEN` and `SLACK_APP_TOKEN` or `SLACK_SIGNING_SECRET`.", []Key{
	{"api_url", "URL", "https://slack.com/api/", "Slack Web API, for emulators"},
}}

var redisSection = Section{"redis", "Where Redis is.", []Key{
	{"url", "URL without password", "", "Redis or Valkey; with a password use `REDIS_URL`"},
	{"ca_file", "path", "the system's authorities", "File of the certificates that may have signed Redis's (`rediss…://…`)"},
	{"client_cert_file", "path", "", "File of the certificate that we show to Redis"},
	{"client_key_file", "path", "", "File of its key"},
}}

var modelSection = Section{"model", "Where language models are, for the commands of the eval loop. The key comes from `OPENAI_API_KEY`.", []Key{
	{"base_url", "URL or phoenix", "", "OpenAI-compatible endpoint; `phoenix`: Phoenix's own gateway"},
	{"task", "text", "", "Model that answers questions"},
	{"judge", "text", "", "Model that judges answers"},
}}

var routeSection = Section{"routes[]", "One route: which spans of which project go to which channel, under which rubric, when, and how many.", []Key{
	{"name", "≤ 32 of a-z, 0-9, -, _", "", "Part of every button; do not change it while cards are open"},
	{"project", "text", "", "Phoenix project"},
	{"channel", "id or \"#name\"", "", "Slack channel; Spanbot must be a member"},
	{"schedule", "cron spec", defaultSchedule, "When Phoenix is polled, in UTC; `@every 30s`, five fields, or six with seconds first. In quotes: `@` and `*` mean something else in YAML"},
	{"rubric", "name", defaultRubric, "The rubric, and so the name of the annotation in Phoenix"},
	{"up", "label", "", "Label of 👍, where the rubric comes from a Phoenix annotation config that has no direction"},
	{"down", "label", "", "Label of 👎, likewise"},
	{"spans", "roots or all", "roots", "Root spans only, or every span"},
	{"kinds", "list", "all but EVALUATOR", "Span kinds, as `[LLM, AGENT]`"},
	{"names", "list", "all", "Span names, exactly as in Phoenix"},
	{"status", "list", "all", "Status codes: OK, ERROR, UNSET"},
	{"attributes", "map", "", "Attributes that must all match, as `llm.model_name: gpt-5`"},
	{"sample", "10% or 0.1", "100%", "Share of the matching spans that is posted"},
	{"since", "duration", "24h", "How far back the first poll looks"},
	{"max_open", "number", "25", "Cards that wait for a reviewer at any time; 0 = no limit"},
	{"backlog", "number", "500", "Found spans that wait in Redis for a free place"},
	{"reviewers", "list", "everybody", "Who may judge: user ids (`U…`), ids of user groups (`S…`), `channel` for the channel's members, or `everybody`"},
	{"external", "true or false", "false", "Cards may go to a channel that is shared with other organisations, which see the content of your traces then"},
	{"order", "newest, oldest or uncertainty", "newest", "Which waiting span is posted first; by uncertainty: what a judge is unsure of, and some by chance"},
	{"uncertainty", "section", "", "How a route of `order: uncertainty` chooses"},
	{"stop", "section or off", "off", "When the route has enough judgements and posts no more"},
	{"open_for", "duration", "7d", "A card that nobody touched closes after this"},
}}

var uncertaintySection = Section{"routes[].uncertainty", "How a route of `order: uncertainty` chooses.", []Key{
	{"judge", "name", "the rubric's name and `_judge`", "Annotation name of the judge in Phoenix (kind LLM or CODE)"},
	{"random", "30% or 0.3", "30%", "Share of the spans that is chosen by chance alone: the control stream, off which rates are read"},
}}

var stopSection = Section{"routes[].stop", "When a route has enough judgements: the 95 % interval of the failure rate (👎 among the judged spans, those chosen by chance) is narrow enough, or the number is reached. Neither: it never has.", []Key{
	{"width", "points", "", "Wanted half-width of the interval: 3 stops at a failure rate such as 8 % ± 3 points"},
	{"labels", "number", "2000", "Judged spans after which the route stops however wide the interval is"},
	{"looks", "list of numbers", "50, 100, 200, 400, 800, 1600", "Numbers of judged spans at which the width is looked at, and only then: an interval that is looked at after every judgement is too narrow by chance now and then"},
}}

var rubricSection = Section{"rubrics[]", "One rubric: what reviewers are asked.", []Key{
	{"name", "text", "", "Name of the annotation in Phoenix"},
	{"question", "text", "", "The question on the card"},
	{"instructions", "text", "", "How to judge, shown in the form"},
	{"up", "label", "", "What 👍 stores: `{label: good, score: 1}`, or the bare label to store no score"},
	{"down", "label", "", "What 👎 stores"},
	{"labels", "list of labels", "", "Further labels for the form"},
	{"score", "low and high", "", "`{low: 0, high: 1}`: the form asks for a score in this range"},
}}

var labelSection = Section{"rubrics[].labels[]", "One label.", []Key{
	{"label", "text", "", "The label, ≤ 70 characters"},
	{"score", "number", "", "The score that is stored with it"},
}}

var scoreSection = Section{"rubrics[].score", "The range of the form's score; an end that is left out is open.", []Key{
	{"low", "number", "", "Lowest score"},
	{"high", "number", "", "Highest score"},
}}

// Sections lists every place of spanbot.yaml with its keys, from the outside in.
func Sections() []Section {
	return []Section{topSection, phoenixSection, slackSection, redisSection, modelSection, routeSection, uncertaintySection, stopSection, rubricSection, labelSection, scoreSection}
}

// refused are keys that people write into the file and that only the
// environment may hold: the file is shared and checked in.
var refused = map[string]string{ //nolint:gosec // names of settings, no secrets
	"phoenix.api_key":        "PHOENIX_API_KEY",
	"phoenix.key":            "PHOENIX_API_KEY",
	"phoenix.headers":        "PHOENIX_CLIENT_HEADERS",
	"phoenix.client_headers": "PHOENIX_CLIENT_HEADERS",
	"slack.token":            "SLACK_BOT_TOKEN",
	"slack.bot_token":        "SLACK_BOT_TOKEN",
	"slack.app_token":        "SLACK_APP_TOKEN",
	"slack.signing_secret":   "SLACK_SIGNING_SECRET",
	"redis.password":         "REDIS_URL",
	"model.api_key":          "OPENAI_API_KEY",
	"model.key":              "OPENAI_API_KEY",
}

func (s Section) names() []string {
	var out []string
	for _, k := range s.Keys {
		out = append(out, k.Name)
	}
	return out
}

// without is the section without some of its keys, at another path.
func (s Section) without(path string, names ...string) Section {
	out := Section{Path: path, Help: s.Help}
	for _, k := range s.Keys {
		if !slices.Contains(names, k.Name) {
			out.Keys = append(out.Keys, k)
		}
	}
	return out
}

// missing is the sentence for a setting that a command cannot do without.
func (s Setting) missing() string {
	var b strings.Builder
	b.WriteString(s.Env + " is not set: " + s.Help + ". Example: " + s.Env + "=" + quoteShell(s.Example))
	switch {
	case s.Secret && s.YAML == "":
		b.WriteString(" (environment only, or its path in " + s.Env + "_FILE)")
	case s.Secret:
		b.WriteString(" (or its path in " + s.Env + "_FILE, or " + s.YAML + " in YAML)")
	case s.YAML != "":
		b.WriteString(" (or " + s.YAML + " in YAML)")
	}
	return b.String()
}

// quoteShell quotes an example where a shell would cut it.
func quoteShell(s string) string {
	if strings.ContainsAny(s, "# *") {
		return "'" + s + "'"
	}
	return s
}
