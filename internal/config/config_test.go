package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/spanbot/spanbot/internal/review"
)

// vars is an environment.
type vars map[string]string

func (v vars) lookup(k string) (string, bool) { s, ok := v[k]; return s, ok }

// files is a disk.
type files map[string]string

func (f files) read(name string) ([]byte, error) {
	s, ok := f[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return []byte(s), nil
}

func checkSchedule(s string) error {
	if strings.HasPrefix(s, "@every 0") {
		return errors.New("@every 0s is faster than once a second; want 1s or more")
	}
	return nil
}

func load(env vars, disk files, need Need, flags map[string]string) (Config, error) {
	return Load(Source{Env: env.lookup, Flags: flags, ReadFile: disk.read, CheckSchedule: checkSchedule}, need)
}

// complete is an environment that `run` can start with.
func complete(more vars) vars {
	all := vars{
		"PHOENIX_ENDPOINT": "http://phoenix:6006", "PHOENIX_PROJECT": "agent", "REDIS_URL": "redis://redis:6379",
		"SLACK_BOT_TOKEN": "xoxb-1-secret", "SLACK_APP_TOKEN": "xapp-1-secret", "SLACK_CHANNEL": "#reviews",
	}
	maps.Copy(all, more)
	return all
}

func mistakes(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var ms Mistakes
	if !errors.As(err, &ms) {
		t.Fatalf("%T is not Mistakes: %v", err, err)
	}
	var out []string
	for _, m := range ms {
		out = append(out, m.String())
	}
	return out
}

func TestEnvironmentAloneIsEnoughForOneRoute(t *testing.T) {
	c, err := load(complete(nil), nil, NeedAll, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []review.Route{{
		Name: "main", Project: "agent", Channel: "#reviews", Schedule: "@every 30s", Rubric: "correctness",
		Sample: 1, Since: 24 * time.Hour, MaxOpen: 25, Backlog: 500, Order: review.Newest, OpenFor: 7 * 24 * time.Hour,
		Uncertainty: review.Uncertainty{Random: 0.3},
	}}
	if d := cmp.Diff(want, c.Routes); d != "" {
		t.Error(d)
	}
	if c.Listen != "127.0.0.1:8080" || c.Retention != 90*24*time.Hour || c.Phoenix.Public != "http://phoenix:6006" {
		t.Errorf("defaults: %+v", c)
	}
	if c.Slack.BotToken.Reveal() != "xoxb-1-secret" || c.Redis.URL.Reveal() != "redis://redis:6379" {
		t.Error("secrets did not come through")
	}
}

func TestEnvironment_Values(t *testing.T) {
	tests := []struct {
		name string
		env  vars
		disk files
		got  func(Config) any
		want any
	}{
		{"slash and collector path are taken off", vars{"PHOENIX_ENDPOINT": "https://p.example.com/s/space/v1/traces/"}, nil, endpoint, "https://p.example.com/s/space"},
		{"collector endpoint", vars{"PHOENIX_ENDPOINT": "", "PHOENIX_COLLECTOR_ENDPOINT": "http://c:6006/v1/traces"}, nil, endpoint, "http://c:6006"},
		{"legacy base url", vars{"PHOENIX_ENDPOINT": "", "PHOENIX_BASE_URL": "http://b:1"}, nil, endpoint, "http://b:1"},
		{"collector endpoint before base url", vars{"PHOENIX_ENDPOINT": "", "PHOENIX_BASE_URL": "http://b:1", "PHOENIX_COLLECTOR_ENDPOINT": "http://c:1"}, nil, endpoint, "http://c:1"},
		{"host and port", vars{"PHOENIX_ENDPOINT": "", "PHOENIX_HOST": "ph", "PHOENIX_PORT": "7007"}, nil, endpoint, "http://ph:7007"},
		{"host alone", vars{"PHOENIX_ENDPOINT": "", "PHOENIX_HOST": "0.0.0.0"}, nil, endpoint, "http://127.0.0.1:6006"},
		{"host with IPv6", vars{"PHOENIX_ENDPOINT": "", "PHOENIX_HOST": "::1"}, nil, endpoint, "http://[::1]:6006"},
		{"port as Kubernetes sets it", vars{"PHOENIX_ENDPOINT": "", "PHOENIX_HOST": "ph", "PHOENIX_PORT": "tcp://10.0.0.1:6006"}, nil, endpoint, "http://ph:6006"},
		{"project by its other name", vars{"PHOENIX_PROJECT": "", "PHOENIX_PROJECT_NAME": "other"}, nil, func(c Config) any { return c.Routes[0].Project }, "other"},
		{"headers URL-encoded", vars{"PHOENIX_CLIENT_HEADERS": "x-a=1%2C2, x-b = b+c%3D "}, nil, headers, map[string]string{"x-a": "1,2", "x-b": "b+c="}},
		{"headers as JSON", vars{"PHOENIX_CLIENT_HEADERS": `{"x-a":"1,2","X-B":"="}`}, nil, headers, map[string]string{"x-a": "1,2", "X-B": "="}},
		{"headers from a file", vars{"PHOENIX_CLIENT_HEADERS_FILE": "/h"}, files{"/h": "{\n \"x-a\": \"1\"\n}\n"}, headers, map[string]string{"x-a": "1"}},
		{"secret from a file, line end dropped", vars{"SLACK_BOT_TOKEN": "", "SLACK_BOT_TOKEN_FILE": "/run/t"}, files{"/run/t": "xoxb-2\n"}, func(c Config) any { return c.Slack.BotToken.Reveal() }, "xoxb-2"},
		{"redis url from a file", vars{"REDIS_URL": "", "REDIS_URL_FILE": "/run/r"}, files{"/run/r": "rediss://u:p@r:1/2\n"}, func(c Config) any { return c.Redis.URL.Reveal() }, "rediss://u:p@r:1/2"},
		{"channel id", vars{"SLACK_CHANNEL": "C01ABC"}, nil, channel, "C01ABC"},
		{"channel without #", vars{"SLACK_CHANNEL": "reviews"}, nil, channel, "#reviews"},
		{"no limit", vars{"SPANBOT_MAX_OPEN": "0"}, nil, func(c Config) any { return c.Routes[0].MaxOpen }, 0},
		{"emulator", vars{"SLACK_API_URL": "http://127.0.0.1:3000/api"}, nil, func(c Config) any { return c.Slack.APIURL }, "http://127.0.0.1:3000/api/"},
		{"retention in days", vars{"SPANBOT_RETENTION": "30d"}, nil, func(c Config) any { return c.Retention }, 30 * 24 * time.Hour},
		{"HTTP mode", vars{"SLACK_APP_TOKEN": "", "SLACK_SIGNING_SECRET": "abc"}, nil, func(c Config) any { return c.Slack.SigningSecret.Reveal() }, "abc"},
		{"file by SPANBOT_CONFIG", vars{"SPANBOT_CONFIG": "/etc/s.yaml"}, files{"/etc/s.yaml": "listen: :1"}, func(c Config) any { return c.Listen }, ":1"},
		{"spanbot.yaml where there is one", nil, files{"spanbot.yaml": "listen: :2"}, func(c Config) any { return c.Listen }, ":2"},
		{"defaults of the file hold for the environment's route", vars{"SPANBOT_RUBRIC": "tone"}, files{"spanbot.yaml": "defaults: {rubric: x, sample: 50%}"},
			func(c Config) any { return fmt.Sprint(c.Routes[0].Rubric, c.Routes[0].Sample) }, "tone0.5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(complete(tt.env), tt.disk, NeedAll, nil)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, tt.got(c)); d != "" {
				t.Error(d)
			}
		})
	}
}

func endpoint(c Config) any { return c.Phoenix.Endpoint }
func channel(c Config) any  { return c.Routes[0].Channel }
func headers(c Config) any {
	out := map[string]string{}
	for k, v := range c.Phoenix.Headers {
		out[k] = v.Reveal()
	}
	return out
}

func TestEnvironment_Mistakes(t *testing.T) {
	tests := []struct {
		name string
		env  vars
		disk files
		want []string // parts, one for each mistake
	}{
		{"other tools' endpoint does not count", vars{"PHOENIX_ENDPOINT": "", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:1", "SPANBOT_STAND_INS": "off"}, nil, []string{"PHOENIX_ENDPOINT is not set"}},
		{"port alone does not count", vars{"PHOENIX_ENDPOINT": "", "PHOENIX_PORT": "6006", "SPANBOT_STAND_INS": "off"}, nil, []string{"PHOENIX_ENDPOINT is not set"}},
		{"endpoint without scheme", vars{"PHOENIX_ENDPOINT": "phoenix:6006"}, nil, []string{`PHOENIX_ENDPOINT: "phoenix:6006" has no http:// or https://; did you mean "http://phoenix:6006"?`, "PHOENIX_ENDPOINT is not set"}},
		{"endpoint with password", vars{"PHOENIX_ENDPOINT": "http://me:pw@phoenix"}, nil, []string{"PHOENIX_ENDPOINT: a user or password", "not set"}},
		{"secret and its file", vars{"SLACK_BOT_TOKEN_FILE": "/t"}, files{"/t": "xoxb-2"}, []string{"SLACK_BOT_TOKEN: it is set, and SLACK_BOT_TOKEN_FILE too; remove one"}},
		{"secret's file is not there", vars{"SLACK_BOT_TOKEN": "", "SLACK_BOT_TOKEN_FILE": "/run/nope"}, nil, []string{"SLACK_BOT_TOKEN_FILE: cannot read /run/nope: there is no such file"}},
		{"secret's file is empty", vars{"SLACK_BOT_TOKEN": "", "SLACK_BOT_TOKEN_FILE": "/t"}, files{"/t": " \n"}, []string{"SLACK_BOT_TOKEN_FILE: /t is empty"}},
		{"tokens swapped", vars{"SLACK_BOT_TOKEN": "xapp-1", "SLACK_APP_TOKEN": "xoxb-1"}, nil, []string{"SLACK_BOT_TOKEN: this is an app-level token; it belongs into SLACK_APP_TOKEN", "SLACK_APP_TOKEN: this is a bot token; it belongs into SLACK_BOT_TOKEN"}},
		{"a user's token", vars{"SLACK_BOT_TOKEN": "xoxp-1"}, nil, []string{"this is a user token"}},
		{"both ways in", vars{"SLACK_SIGNING_SECRET": "abc"}, nil, []string{"choose one"}},
		{"app token alone", vars{"SLACK_BOT_TOKEN": ""}, nil, []string{"SLACK_BOT_TOKEN is not set: Bot token of the Slack app. Example: SLACK_BOT_TOKEN=xoxb-… (environment only, or its path in SLACK_BOT_TOKEN_FILE). SLACK_APP_TOKEN alone is not enough"}},
		{"no way in", vars{"SLACK_APP_TOKEN": ""}, nil, []string{"Or SLACK_SIGNING_SECRET for HTTP mode"}},
		{"broken key", vars{"PHOENIX_API_KEY": "abc def"}, nil, []string{"PHOENIX_API_KEY: it holds a blank"}},
		{"two ways to say who", vars{"PHOENIX_API_KEY": "abc", "PHOENIX_CLIENT_HEADERS": "Authorization=Bearer%20x"}, nil, []string{"contradict"}},
		{"headers without =", vars{"PHOENIX_CLIENT_HEADERS": "a=b,secretvalue"}, nil, []string{`PHOENIX_CLIENT_HEADERS: part 2 has no "="`}},
		{"headers of JSON numbers", vars{"PHOENIX_CLIENT_HEADERS": `{"a":1}`}, nil, []string{"not a JSON object of texts"}},
		{"redis of another kind", vars{"REDIS_URL": "http://redis"}, nil, []string{"REDIS_URL: the URL must start with redis://"}},
		{"redis password not encoded", vars{"REDIS_URL": "redis://:p%zz@redis"}, nil, []string{"REDIS_URL: not a URL"}},
		{"channel by link", vars{"SLACK_CHANNEL": "https://x.slack.com/archives/C01ABC/p1"}, nil, []string{`did you mean "C01ABC"?`}},
		{"channel in capitals", vars{"SLACK_CHANNEL": "#My Reviews"}, nil, []string{`did you mean "#my-reviews"?`}},
		{"schedule", vars{"SPANBOT_SCHEDULE": "@every 0s"}, nil, []string{"SPANBOT_SCHEDULE: @every 0s is faster than once a second"}},
		{"not a number", vars{"SPANBOT_MAX_OPEN": "many"}, nil, []string{`SPANBOT_MAX_OPEN: "many" is not a whole number`}},
		{"log level", vars{"SPANBOT_LOG_LEVEL": "wran"}, nil, []string{`SPANBOT_LOG_LEVEL: "wran" is not known; did you mean "warn"?`}},
		{"port alone", vars{"SPANBOT_LISTEN": "8080"}, nil, []string{`did you mean "127.0.0.1:8080"?`}},
		{"retention shorter than a card is open", vars{"SPANBOT_RETENTION": "2d"}, nil, []string{"cards stay open for 7d, longer than the retention of 2d"}},
		{"file that is not there", vars{"SPANBOT_CONFIG": "/etc/no.yaml"}, nil, []string{"SPANBOT_CONFIG: cannot read /etc/no.yaml: there is no such file"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(complete(tt.env), tt.disk, NeedAll, nil)
			got := mistakes(t, err)
			if len(got) != len(tt.want) {
				t.Fatalf("%d mistakes, want %d:\n%s", len(got), len(tt.want), strings.Join(got, "\n"))
			}
			for i := range got {
				if !strings.Contains(got[i], tt.want[i]) {
					t.Errorf("got  %s\nwant %s", got[i], tt.want[i])
				}
			}
		})
	}
}

func TestNothingSet_NamesAllThatIsNeeded(t *testing.T) {
	_, err := load(vars{"SPANBOT_STAND_INS": "off"}, nil, NeedAll, nil)
	want := `PHOENIX_ENDPOINT is not set: Base URL of Phoenix. Example: PHOENIX_ENDPOINT=https://phoenix.example.com (or phoenix.endpoint in YAML)
REDIS_URL is not set: Redis or Valkey, where Spanbot keeps its state (in YAML without a password). Example: REDIS_URL=redis://127.0.0.1:6379/0 (or its path in REDIS_URL_FILE, or redis.url in YAML)
SLACK_BOT_TOKEN is not set: Bot token of the Slack app. Example: SLACK_BOT_TOKEN=xoxb-… (environment only, or its path in SLACK_BOT_TOKEN_FILE)
SLACK_APP_TOKEN is not set: App-level token: Slack is reached by Socket Mode. Example: SLACK_APP_TOKEN=xapp-… (environment only, or its path in SLACK_APP_TOKEN_FILE). Or SLACK_SIGNING_SECRET for HTTP mode
PHOENIX_PROJECT is not set: Phoenix project whose spans are reviewed. Example: PHOENIX_PROJECT=my-agent (or routes[].project in YAML)
SLACK_CHANNEL is not set: Channel for the cards: an id, or #name. Example: SLACK_CHANNEL='#reviews' (or routes[].channel in YAML)
6 mistakes; nothing was started.`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if _, err := load(vars{"SPANBOT_STAND_INS": "off"}, nil, 0, nil); err != nil {
		t.Errorf("nothing is needed, and yet: %v", err)
	}
}

func TestOrder_FlagThenEnvironmentThenFileThenDefault(t *testing.T) {
	disk := files{"spanbot.yaml": "listen: :3\n"}
	for _, tt := range []struct {
		env   vars
		disk  files
		flags map[string]string
		want  string
	}{
		{vars{"SPANBOT_LISTEN": ":2"}, disk, map[string]string{"listen": ":1"}, ":1"},
		{vars{"SPANBOT_LISTEN": ":2"}, disk, nil, ":2"},
		{nil, disk, nil, ":3"},
		{nil, nil, nil, "127.0.0.1:8080"},
	} {
		c, err := load(tt.env, tt.disk, 0, tt.flags)
		if err != nil || c.Listen != tt.want {
			t.Errorf("listen = %q, %v; want %q", c.Listen, err, tt.want)
		}
	}
}

func TestFilesRoutesReplaceTheEnvironmentsOne(t *testing.T) {
	c, err := load(complete(nil), files{"spanbot.yaml": "routes: [{name: a, project: p, channel: C01AB, rubric: corectness}]\nrubrics: [{name: correctness}]"}, NeedAll, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Routes) != 1 || c.Routes[0].Name != "a" || c.Routes[0].Project != "p" {
		t.Errorf("routes = %+v", c.Routes)
	}
	want := []string{
		`routes[0].rubric: "corectness" is not defined in spanbot.yaml and will be looked up in Phoenix; did you mean "correctness"?`,
		`rubrics[0]: no route asks "correctness"`,
		"PHOENIX_PROJECT is not used: spanbot.yaml names its own routes",
		"SLACK_CHANNEL is not used: spanbot.yaml names its own routes",
	}
	if d := cmp.Diff(want, c.Notes); d != "" {
		t.Error(d)
	}
}

func TestFile_EverySettingOfARoute(t *testing.T) {
	c, err := load(nil, files{"spanbot.yaml": `
defaults: {project: agent, since: 2d, kinds: [tool], reviewers: W01ABCDEF}
routes:
  - name: a
    channel: "#a"
    schedule: "*/5 * * * *"
    rubric: tone
    up: kind
    down: rude
    spans: all
    kinds: [llm, Agent]
    names: ChatCompletion
    status: error
    attributes:
      llm.model_name: gpt-5
      metadata.tenant: 7
      metadata.paid: true
      metadata.zip: "0123"
    sample: 12.5%
    since: 1d12h
    max_open: 3
    backlog: 7
    order: oldest
    open_for: 2w
    reviewers: [U01ABCDEF, S01ABCDEF, Channel, U01ABCDEF]
    external: true
  - name: b
    channel: C0B
    sample: 0.25
    reviewers: Everybody
rubrics:
  - name: help
    question: Did it help?
    up: {label: yes, score: 1}
    down: no
    labels: [partly, {label: mostly, score: 0.5}]
    score: {low: 0}
`}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	base := defaultRoute()
	base.Project, base.Since, base.Spans.Kinds = "agent", 48*time.Hour, []string{"TOOL"}
	a, b := base, base
	a.Name, a.Channel, a.Schedule, a.Rubric, a.Up, a.Down = "a", "#a", "*/5 * * * *", "tone", "kind", "rude"
	a.Spans = review.Filter{AllSpans: true, Kinds: []string{"LLM", "AGENT"}, Names: []string{"ChatCompletion"}, Statuses: []string{"ERROR"}, Attributes: []review.Attribute{
		{Path: "llm.model_name", Value: "gpt-5"}, {Path: "metadata.tenant", Value: 7.0}, {Path: "metadata.paid", Value: true}, {Path: "metadata.zip", Value: "0123"},
	}}
	a.Sample, a.Since, a.MaxOpen, a.Backlog, a.Order, a.OpenFor = 0.125, 36*time.Hour, 3, 7, review.Oldest, 14*24*time.Hour
	a.Reviewers, a.External = []string{"U01ABCDEF", "S01ABCDEF", review.ChannelMembers}, true
	b.Name, b.Channel, b.Sample = "b", "C0B", 0.25
	if d := cmp.Diff([]review.Route{a, b}, c.Routes); d != "" {
		t.Error(d)
	}
	one, half, zero := 1.0, 0.5, 0.0
	yes := review.Label{Name: "yes", Score: &one}
	no := review.Label{Name: "no"}
	want := review.Rubric{
		Name: "help", Question: "Did it help?", Up: &yes, Down: &no,
		Labels: []review.Label{yes, {Name: "partly"}, {Name: "mostly", Score: &half}, no},
		Range:  &review.Range{Low: &zero},
	}
	if d := cmp.Diff(want, c.Rubrics["help"]); d != "" {
		t.Error(d)
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	env := complete(vars{
		"SLACK_BOT_TOKEN": "xoxb-hunter2", "SLACK_APP_TOKEN": "xapp-hunter2", "REDIS_URL": "redis://:hunter2@r",
		"PHOENIX_API_KEY": "hunter2", "PHOENIX_CLIENT_HEADERS": "x-key=hunter2",
	})
	c, err := load(env, nil, NeedAll, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%T"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", &c)
		fmt.Fprintf(&out, verb+"\n", c.Slack.BotToken)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("config", "config", c, "token", c.Slack.BotToken, "headers", c.Phoenix.Headers)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	y, err := yaml.Dump(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(y)
	if s := out.String(); strings.Contains(s, "hunter2") || strings.Contains(s, fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("a secret came out:\n%s", s)
	}
	if !strings.Contains(out.String(), "[secret]") {
		t.Error("[secret] does not come out either")
	}
}

func TestMistakesNeverRepeatASecret(t *testing.T) {
	for name, tt := range map[string]struct {
		env  vars
		yaml string
	}{
		"token in the file":            {nil, "slack:\n  bot_token: xoxb-hunter2\n  app_token: 'hunter2'\n"},
		"tokens in one line":           {nil, "slack: {bot_token: hunter2, foo: 1}\n"},
		"key where YAML ends":          {nil, "phoenix:\n  api_key: hunter2: x\n"},
		"password in the file":         {nil, "redis:\n  url: redis://:hunter2@r\n"},
		"password beside a mistake":    {nil, "redis: {url: 'redis://u:hunter2@r', db: 3}\n"},
		"token under a foreign key":    {nil, "slack:\n  tokn: xoxb-hunter2\n"},
		"token where a list should be": {nil, "routes: xoxb-hunter2\n"},
		"password in an endpoint":      {vars{"PHOENIX_ENDPOINT": "http://u:hunter2@p/%zz"}, ""},
		"password in a redis url":      {vars{"REDIS_URL": "redis://u:hunter2@r:x y/"}, ""},
		"redis without scheme":         {vars{"REDIS_URL": "u:hunter2@r:6379"}, ""},
		"endpoint without scheme":      {vars{"PHOENIX_ENDPOINT": "u:hunter2@p:6006"}, ""},
		"headers":                      {vars{"PHOENIX_CLIENT_HEADERS": "hunter2"}, ""},
		"headers encoded wrongly":      {vars{"PHOENIX_CLIENT_HEADERS": "a=hunter2%"}, ""},
		"key with a blank":             {vars{"PHOENIX_API_KEY": "hunter2 hunter2"}, ""},
		"swapped":                      {vars{"SLACK_BOT_TOKEN": "xapp-hunter2"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(tt.env, files{"spanbot.yaml": tt.yaml}, 0, nil)
			if err == nil {
				t.Fatal("no mistake")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the secret came out:\n%s", err)
			}
		})
	}
}

func TestSettings_TheTableIsWhole(t *testing.T) {
	known := []string{"routes[].project"}
	for _, s := range Sections() {
		for _, k := range s.Keys {
			known = append(known, join(s.Path, k.Name))
		}
	}
	seen := map[string]bool{}
	for _, s := range Settings() {
		if s.Help == "" || s.Example == "" || strings.HasSuffix(s.Help, ".") {
			t.Errorf("%s: wants a help sentence without full stop, and an example", s.Env)
		}
		if s.YAML != "" && !slices.Contains(known, s.YAML) {
			t.Errorf("%s: the file has no %s", s.Env, s.YAML)
		}
		if s.Secret && s.Flag != "" {
			t.Errorf("%s: a secret on the command line is seen by everybody on the machine", s.Env)
		}
		for _, name := range append([]string{s.Env, "--" + s.Flag}, s.Aliases...) {
			if name != "--" && seen[name] {
				t.Errorf("%s stands twice", name)
			}
			seen[name] = true
		}
	}
}

func TestExampleIsValid(t *testing.T) {
	disk := files{"spanbot.yaml": string(Example)}
	if c, err := load(nil, disk, 0, nil); err != nil || len(c.Notes) > 0 {
		t.Errorf("%v %v", err, c.Notes)
	}
	// What is commented out must be right, too.
	var all []string
	for _, line := range strings.Split(string(Example), "\n") {
		rest, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "# ")
		words := strings.Fields(rest)
		if ok && (strings.HasPrefix(rest, "- ") || strings.HasPrefix(rest, " ") || len(words) > 0 && strings.HasSuffix(words[0], ":") && !strings.HasPrefix(words[0], "spanbot.yaml")) &&
			!strings.Contains(rest, "SLACK_") && !strings.Contains(rest, "PHOENIX_API_KEY") {
			line = line[:len(line)-len(strings.TrimLeft(line, " "))] + rest
		}
		all = append(all, line)
	}
	c, err := load(nil, files{"spanbot.yaml": strings.Join(all, "\n")}, 0, nil)
	if err != nil || len(c.Routes) != 2 || c.Routes[1].Sample != 0.1 || c.Phoenix.Public == c.Phoenix.Endpoint || c.Redis.URL == "" {
		t.Errorf("%v\n%+v\n%s", err, c, strings.Join(all, "\n"))
	}
}
