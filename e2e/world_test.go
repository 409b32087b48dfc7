// Package e2e runs the whole of Spanbot, as the binary that people start, on a
// real Phoenix, a real Redis and a Slack emulator that others wrote, behind a
// strict proxy. Its tests are what the README promises.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/proxy"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// patience is how long a test waits for what should come at once; a loaded
// machine with two cores needs some, Phoenix for 10 MB of text above all. How
// soon things come is measured by make bench.
const patience = 45 * time.Second

// buildBot is the binary that people start, buildFaulty the one that a test can
// tell where to die (internal/bot/fault_points.go).
var (
	buildBot    = sync.OnceValues(func() (string, error) { return build("") })
	buildFaulty = sync.OnceValues(func() (string, error) { return build("faultpoints") })
)

// built are the folders of the binaries, until the tests have ended.
var built struct {
	mu   sync.Mutex
	dirs []string
}

func build(tags string) (string, error) {
	dir, err := os.MkdirTemp("", "spanbot-e2e-")
	if err != nil {
		return "", err
	}
	built.mu.Lock()
	built.dirs = append(built.dirs, dir)
	built.mu.Unlock()
	path := filepath.Join(dir, "spanbot")
	out, err := exec.Command("go", "build", "-race", "-tags", tags, "-o", path, "../cmd/bot").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build ./cmd/bot: %w\n%s", err, out)
	}
	return path, nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range built.dirs {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// world is one Spanbot with its surroundings.
type world struct {
	t       *testing.T
	px      *rig.PhoenixServer
	phoenix *proxy.HTTP // the wire to Phoenix
	redis   *rig.RedisServer
	people  *rig.SlackServer // what people do in Slack
	slack   *proxy.Slack     // what the bot talks to
	project string
	env     map[string]string
	binary  func() (string, error) // nil: buildBot
	bot     *process
}

type option func(*world)

func withEnv(k, v string) option { return func(w *world) { w.env[k] = v } }
func withHTTPMode() option       { return func(w *world) { w.env["http"] = "1" } }
func withSlack(o proxy.SlackOptions) option {
	return func(w *world) { slackOptions[w.t.Name()] = o }
}

var slackOptions = map[string]proxy.SlackOptions{}

// newWorld starts everything and the bot.
func newWorld(t *testing.T, options ...option) *world {
	w := &world{t: t, env: map[string]string{}, project: "e2e-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))}
	for _, o := range options {
		o(w)
	}
	httpMode := w.env["http"] == "1"
	delete(w.env, "http")
	w.px = rig.SharedPhoenix(t)
	w.phoenix = proxy.NewHTTP(t, w.px.URL)
	w.redis = rig.Redis(t)
	o, ok := slackOptions[t.Name()]
	if !ok {
		o = proxy.SlackOptions{PostEvery: time.Second}
	}
	w.people, w.slack = proxy.Workspace(t, rig.SlackConfig{}, httpMode, o)

	listen := freeAddress(t)
	env := map[string]string{
		"PHOENIX_ENDPOINT": w.phoenix.URL, "PHOENIX_PROJECT": w.project, "PHOENIX_PUBLIC_URL": "https://phoenix.example.com",
		"REDIS_URL": w.redis.URL, "SLACK_BOT_TOKEN": rig.BotToken, "SLACK_API_URL": w.slack.APIURL,
		"SLACK_CHANNEL": "#llm-review", "SPANBOT_SCHEDULE": "@every 1s", "SPANBOT_LISTEN": listen, "SPANBOT_LOG_LEVEL": "debug",
	}
	if httpMode {
		env["SLACK_SIGNING_SECRET"] = rig.SigningSecret
		w.slack.SetBotURL("http://" + listen + "/slack/events")
	} else {
		env["SLACK_APP_TOKEN"] = rig.AppToken
	}
	for k, v := range w.env {
		env[k] = v
	}
	w.env = env
	return w
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// process is a running bot.
type process struct {
	cmd  *exec.Cmd
	done chan error
	log  *buffer
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start starts the bot and waits until it is ready.
func (w *world) start() {
	w.t.Helper()
	w.launch()
	w.ready()
}

func (w *world) launch() {
	w.t.Helper()
	binary := w.binary
	if binary == nil {
		binary = buildBot
	}
	w.bot = launch(w.t, binary, w.env)
}

// launch starts a bot with this environment beside the test's own.
func launch(t *testing.T, binary func() (string, error), env map[string]string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(path), done: make(chan error, 1), log: &buffer{}}
	p.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	for k, v := range env {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if t.Failed() {
			log := p.log.String()
			if len(log) > 12000 {
				log = "…" + log[len(log)-12000:]
			}
			t.Logf("the bot said:\n%s", log)
		}
		if strings.Contains(p.log.String(), "WARNING: DATA RACE") {
			t.Errorf("data race:\n%s", p.log.String())
		}
	})
	return p
}

func (w *world) ready() {
	w.t.Helper()
	w.eventually("the bot is ready", func() bool {
		code, _ := w.get("/readyz")
		return code == http.StatusOK
	})
}

// kill ends the bot as a crash does.
func (w *world) kill() {
	w.t.Helper()
	_ = w.bot.cmd.Process.Signal(syscall.SIGKILL)
	<-w.bot.done
}

// stop ends the bot in order and returns how long that took.
func (w *world) stop() time.Duration {
	w.t.Helper()
	start := time.Now()
	if err := w.bot.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Fatal(err)
	}
	select {
	case err := <-w.bot.done:
		if err != nil {
			w.t.Errorf("the bot ended with %v", err)
		}
	case <-time.After(15 * time.Second):
		w.t.Fatal("the bot does not stop")
	}
	return time.Since(start)
}

func (w *world) get(path string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.env["SPANBOT_LISTEN"]+path, nil)
	if err != nil {
		return 0, ""
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("not within %s: %s", patience, what)
}

// ingest sends spans to the project and returns their ids.
func (w *world) ingest(spans ...map[string]any) []string {
	w.t.Helper()
	w.px.Ingest(w.t, w.project, spans...)
	return rig.SpanIDs(spans)
}

// card waits for a span's card.
func (w *world) card(spanID string) rig.SlackMessage {
	w.t.Helper()
	return w.people.WaitMessage(rig.Reviews, patience, "the card of span "+spanID, func(m rig.SlackMessage) bool {
		return m.BlockID() == "card:main:"+spanID
	})
}

// shows waits until a card says all of these.
func (w *world) shows(spanID string, texts ...string) rig.SlackMessage {
	w.t.Helper()
	var last rig.SlackMessage
	w.eventually(fmt.Sprintf("the card of %s shows %q", spanID, texts), func() bool {
		last = w.card(spanID)
		for _, s := range texts {
			if !strings.Contains(last.Shown(), s) {
				return false
			}
		}
		return true
	})
	return last
}

// tap is a person's tap on a card: a button, or an option behind ⋯.
func (w *world) tap(spanID, user, action string) {
	w.t.Helper()
	m := w.card(spanID)
	a, ok := m.Button(action)
	if !ok {
		a, ok = m.Option("more", ":"+action)
	}
	if !ok {
		w.t.Fatalf("the card of %s has no %q; it has %v:\n%s", spanID, action, m.Actions(), m.Raw)
	}
	if !w.people.Click(rig.Reviews, m.TS, user, a) {
		w.t.Errorf("the click %s by %s was not acked", action, user)
	}
}

// annotation is one as Phoenix holds it.
type annotation struct {
	SpanID     string         `json:"span_id"`
	TraceID    string         `json:"trace_id"`
	Name       string         `json:"name"`
	Kind       string         `json:"annotator_kind"`
	Identifier string         `json:"identifier"`
	Metadata   map[string]any `json:"metadata"`
	Result     struct {
		Label       string   `json:"label"`
		Score       *float64 `json:"score"`
		Explanation string   `json:"explanation"`
	} `json:"result"`
}

// by is the annotation of one reviewer, nil for none.
func by(list []annotation, user string) *annotation {
	for i := range list {
		if list[i].Identifier == "slack:"+rig.TeamID+":"+user {
			return &list[i]
		}
	}
	return nil
}

func (w *world) annotations(spanID string) []annotation {
	w.t.Helper()
	return decode(w.t, w.px.Annotations(w.t, w.project, spanID))
}

func (w *world) traceAnnotations(traceID string) []annotation {
	w.t.Helper()
	return decode(w.t, w.px.TraceAnnotations(w.t, w.project, traceID))
}

func decode(t *testing.T, raw []map[string]any) []annotation {
	t.Helper()
	b, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	var out []annotation
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// stored waits until Phoenix holds what a reviewer said of a span.
func (w *world) stored(spanID, user, label string) annotation {
	w.t.Helper()
	var got *annotation
	w.eventually(fmt.Sprintf("Phoenix holds %q by %s", label, user), func() bool {
		got = by(w.annotations(spanID), user)
		return got != nil && got.Result.Label == label
	})
	return *got
}

// traceOf is the trace id of a span made by rig.NewSpan.
func traceOf(span map[string]any) string {
	return span["context"].(map[string]any)["trace_id"].(string)
}

// child makes a span below another.
func child(parent map[string]any, name, kind, input, output string) map[string]any {
	s := rig.NewSpan(name, input, output)
	c := s["context"].(map[string]any)
	p := parent["context"].(map[string]any)
	c["trace_id"] = p["trace_id"]
	s["parent_id"] = p["span_id"]
	s["span_kind"] = kind
	return s
}
