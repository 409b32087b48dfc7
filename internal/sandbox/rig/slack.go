package rig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// What local-slack is set up with unless SlackConfig says otherwise.
const (
	BotToken      = "xoxb-test-token"
	AppToken      = "xapp-test-token"
	SigningSecret = "test-signing-secret"
	TeamID        = "T01TEST"
	AppID         = "A01APP"
	BotUser       = "U0BOT"
	Alice         = "U01ALICE"  // Alice Anderson
	Bob           = "U02BOB"    // Bob Brown
	General       = "C01GEN"    // #general: all three are members
	Reviews       = "C02REVIEW" // #llm-review: all three are members
)

// SlackUser is a person of the workspace.
type SlackUser struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	RealName string `json:"real_name"`
	Email    string `json:"email,omitempty"`
}

// SlackChannel is a channel of the workspace.
type SlackChannel struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Private bool     `json:"is_private,omitempty"`
	Members []string `json:"members"`
}

// SlackConfig says what workspace to start. The zero value is Socket Mode with
// Alice, Bob, #general and #llm-review.
type SlackConfig struct {
	RequestURL string // HTTP mode: where events, interactions and commands are sent; empty: Socket Mode
	Users      []SlackUser
	Channels   []SlackChannel
}

// SlackServer is a running local-slack: a Slack emulator by others, which takes
// any token, checks no blocks and knows no limits. internal/sandbox/proxy.Slack
// before it is strict.
//
// Its methods act as people in the workspace. What fails in them is an error of
// the test.
type SlackServer struct {
	URL    string // http://127.0.0.1:PORT
	APIURL string // URL + "/api/", as clients of Slack want it
	tb     TB
	child  *child
	port   int
	page   *page
}

// LocalSlack starts a workspace. It listens on loopback only.
func LocalSlack(tb TB, cfg SlackConfig) *SlackServer {
	tb.Helper()
	bin, err := cached("local-slack", "node_modules", "local-slack-linux-x64", "bin", "local-slack")
	Need(tb, "local-slack", err)
	shim, err := loopbackShim()
	Need(tb, "gcc", err)
	dir, err := newDir()
	if err != nil {
		tb.Fatalf("local-slack: %v", err)
	}
	config := filepath.Join(dir, "config.json")
	if err := writeSlackConfig(config, cfg); err != nil {
		tb.Fatalf("local-slack: %v", err)
	}
	port := freePort()
	s := &SlackServer{
		URL:  fmt.Sprintf("http://127.0.0.1:%d", port),
		tb:   tb,
		port: port,
	}
	s.APIURL = s.URL + "/api/"
	s.child = &child{
		name:    "local-slack",
		logPath: filepath.Join(dir, "log"),
		command: func() *exec.Cmd {
			cmd := exec.Command(bin, "--config", config, "--port", fmt.Sprint(port),
				"--base-host", "127.0.0.1", "--files-dir", filepath.Join(dir, "files"))
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LD_PRELOAD=" + shim}
			cmd.Dir = dir
			return cmd
		},
	}
	s.child.attach(tb, dir)
	s.Start()
	return s
}

// Start starts the workspace again, on the same port. Its messages are lost:
// local-slack keeps them in memory.
func (s *SlackServer) Start() {
	s.tb.Helper()
	err := s.child.start()
	if err == nil {
		err = s.child.await(20*time.Second, func() error {
			_, err := s.get("/_control/state")
			return err
		})
	}
	if err == nil {
		err = onlyLoopback(s.port)
	}
	if err == nil {
		s.page, err = openPage(s.URL)
	}
	if err != nil {
		s.child.stop(syscall.SIGKILL)
		s.tb.Fatalf("local-slack: %v", err)
	}
	s.tb.Cleanup(s.page.close)
}

// Stop ends the workspace and waits for it.
func (s *SlackServer) Stop() {
	s.page.close()
	s.child.stop(syscall.SIGTERM)
}

func writeSlackConfig(path string, cfg SlackConfig) error {
	if cfg.Users == nil {
		cfg.Users = []SlackUser{
			{ID: Alice, Name: "alice", RealName: "Alice Anderson", Email: "alice@example.com"},
			{ID: Bob, Name: "bob", RealName: "Bob Brown", Email: "bob@example.com"},
		}
	}
	if cfg.Channels == nil {
		all := []string{Alice, Bob, BotUser}
		cfg.Channels = []SlackChannel{
			{ID: General, Name: "general", Members: all},
			{ID: Reviews, Name: "llm-review", Members: all},
		}
	}
	app := map[string]any{
		"appId": AppID, "botUserId": BotUser, "botName": "spanbot", "botToken": BotToken,
		"appToken": AppToken, "signingSecret": SigningSecret, "mode": "socket",
	}
	if cfg.RequestURL != "" {
		app["mode"], app["requestUrl"] = "events", cfg.RequestURL
	}
	b, err := json.Marshal(map[string]any{
		"workspace": map[string]any{"name": "Test Workspace", "domain": "test-workspace", "teamId": TeamID},
		"apps":      []any{app},
		"users":     cfg.Users,
		"channels":  cfg.Channels,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// slackClient has no time limit of a second or two: a control call returns when
// the bot has acked or local-slack has given up on it (5 s).
var slackClient = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

func (s *SlackServer) get(path string) ([]byte, error) {
	resp, err := slackClient.Get(s.URL + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s %s", path, resp.Status, b)
	}
	return b, err
}

// notAcked is how long local-slack waits for the bot before it goes on as if it
// had been answered.
const notAcked = 4900 * time.Millisecond

// control posts to the control API and reports whether the bot acked in time.
func (s *SlackServer) control(path string, body map[string]any) bool {
	s.tb.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		s.tb.Errorf("local-slack %s: %v", path, err)
		return false
	}
	start := time.Now()
	resp, err := slackClient.Post(s.URL+"/_control"+path, "application/json", bytes.NewReader(b))
	if err != nil {
		s.tb.Errorf("local-slack %s: %v", path, err)
		return false
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.tb.Errorf("local-slack %s: %s %s %v", path, resp.Status, answer, err)
		return false
	}
	return time.Since(start) < notAcked
}

// Say posts a message as a person and returns when the bot has acked it.
func (s *SlackServer) Say(channel, user, text string) bool {
	s.tb.Helper()
	return s.control("/message", map[string]any{"channel": channel, "user": user, "text": text})
}

// Click is a person's tap on an element of a message; SlackMessage.Button and
// SlackMessage.Option find the action. It reports whether the bot acked.
func (s *SlackServer) Click(channel, ts, user string, action map[string]any) bool {
	s.tb.Helper()
	return s.control("/interact", map[string]any{"channel": channel, "messageTs": ts, "user": user, "action": action})
}

// Command is a person's slash command ("/spanbot", "help"). It reports whether
// the bot acked.
func (s *SlackServer) Command(channel, user, command, text string) bool {
	s.tb.Helper()
	return s.control("/command", map[string]any{"channel": channel, "user": user, "command": command, "text": text})
}

// OpenHome opens the bot's App Home as a person. It reports whether the bot
// acked; Home shows what it published.
func (s *SlackServer) OpenHome(user string) bool {
	s.tb.Helper()
	return s.control("/open-home", map[string]any{"user": user})
}

// LogEntry is one line of what passed between workspace and bot.
type LogEntry struct {
	ID        string          `json:"id"`
	Time      int64           `json:"time"`      // Unix ms
	Direction string          `json:"direction"` // to_bot, from_bot, internal
	Kind      string          `json:"kind"`      // web_api, interactive, ack, socket, ...
	Summary   string          `json:"summary"`
	Detail    json.RawMessage `json:"detail"`
}

// Log is what passed, in order; local-slack keeps the last 1,000 entries.
func (s *SlackServer) Log() []LogEntry {
	s.tb.Helper()
	var out struct {
		Log []LogEntry `json:"log"`
	}
	s.decode("/_control/log", &out)
	return out.Log
}

// State is the workspace as raw JSON: workspace, apps, users, channels.
func (s *SlackServer) State() map[string]any {
	s.tb.Helper()
	var out map[string]any
	s.decode("/_control/state", &out)
	return out
}

// Messages are the messages of a channel, thread replies and ephemeral ones
// among them, oldest first.
func (s *SlackServer) Messages(channel string) []SlackMessage {
	s.tb.Helper()
	var out struct {
		Messages []json.RawMessage `json:"messages"`
	}
	s.decode("/_control/messages/"+url.PathEscape(channel), &out)
	all := make([]SlackMessage, len(out.Messages))
	for i, raw := range out.Messages {
		if err := json.Unmarshal(raw, &all[i]); err != nil {
			s.tb.Errorf("local-slack message: %v", err)
		}
		all[i].Raw = raw
	}
	return all
}

// WaitMessage returns the first message of the channel for which ok is true; it
// fails the test when there is none within limit.
func (s *SlackServer) WaitMessage(channel string, limit time.Duration, what string, ok func(SlackMessage) bool) SlackMessage {
	s.tb.Helper()
	deadline := time.Now().Add(limit)
	for {
		all := s.Messages(channel)
		for _, m := range all {
			if ok(m) {
				return m
			}
		}
		if time.Now().After(deadline) {
			var raw bytes.Buffer
			for _, m := range all {
				fmt.Fprintf(&raw, "%s\n", m.Raw)
			}
			s.tb.Fatalf("no message in %s after %v: %s; there are %d:\n%s", channel, limit, what, len(all), raw.String())
			return SlackMessage{}
		}
		time.Sleep(15 * time.Millisecond)
	}
}

// Message reads one message again; it fails the test when it is gone.
func (s *SlackServer) Message(channel, ts string) SlackMessage {
	s.tb.Helper()
	for _, m := range s.Messages(channel) {
		if m.TS == ts {
			return m
		}
	}
	s.tb.Fatalf("no message %s in %s", ts, channel)
	return SlackMessage{}
}

func (s *SlackServer) decode(path string, into any) {
	s.tb.Helper()
	b, err := s.get(path)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		s.tb.Errorf("local-slack %s: %v", path, err)
	}
}
