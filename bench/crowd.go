package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
	"github.com/spanbot/spanbot/internal/sandbox/slackcall"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// crowd is a running bot in HTTP mode with a whole team before it. Slack is the
// local workspace: the emulator of the other groups takes one click at a time.
type crowd struct {
	*stage
	local    *slackd.Server
	client   *http.Client
	channels []string // ids, by route

	mu      sync.Mutex
	posts   map[string][]time.Time // channel → when a message was accepted
	updates map[string][]time.Time // channel and ts → when an update was accepted
	limited int                    // answers of 429
	told    map[string]string      // click → the words that its reviewer got: it was not accepted
	base    string                 // where the bot reaches us
}

// crowdRoute is one route of a crowd: the spans of its name in a project, and a
// channel of its own.
type crowdRoute struct{ name, project, spans string }

// card is what a click needs to know of a message.
type card struct {
	channel, ts, span string
	message           map[string]any
}

func newCrowd(l *lab, phoenix string, redis *rig.RedisServer, routes []crowdRoute, o slackd.Options, defaults ...string) *crowd {
	c := &crowd{posts: map[string][]time.Time{}, updates: map[string][]time.Time{}, told: map[string]string{},
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 512}}}
	for _, r := range routes {
		o.Channels = append(o.Channels, r.name)
	}
	c.local = slackd.New(o)
	l.Cleanup(c.local.Close)
	var file strings.Builder
	if defaults == nil {
		defaults = []string{`schedule: "@every 30s"`, "max_open: 0"}
	}
	fmt.Fprintf(&file, "defaults:\n  %s\nroutes:\n", strings.Join(defaults, "\n  "))
	for _, r := range routes {
		id := c.local.Channel(r.name)
		c.channels = append(c.channels, id)
		fmt.Fprintf(&file, "  - name: %s\n    project: %s\n    channel: %s\n    names: [%s]\n", r.name, r.project, id, r.spans)
	}
	dir, err := os.MkdirTemp("", "spanbot-bench-")
	if err != nil {
		l.Fatalf("%v", err)
	}
	l.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := filepath.Join(dir, "spanbot.yaml")
	if err := os.WriteFile(config, []byte(file.String()), 0o600); err != nil {
		l.Fatalf("%v", err)
	}
	c.base = serve(l, c)
	s := &stage{l: l, redis: redis, listen: freeAddress(l)}
	l.redis = redis.Name
	s.cmd = exec.Command(l.bot)
	s.cmd.Env = append(os.Environ(), "SPANBOT_CONFIG="+config,
		"PHOENIX_ENDPOINT="+phoenix, "PHOENIX_PUBLIC_URL=https://phoenix.example.com", "REDIS_URL="+redis.URL,
		"SLACK_BOT_TOKEN="+c.local.BotToken(), "SLACK_SIGNING_SECRET="+c.local.SigningSecret(), "SLACK_API_URL="+c.base+"/api/",
		"SPANBOT_LISTEN="+s.listen, "SPANBOT_LOG_LEVEL=error")
	// Under load a word for each click would be more than anyone reads: the end
	// of it is told when the group ends.
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		l.Fatalf("%v", err)
	}
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	l.Cleanup(func() {
		b, _ := os.ReadFile(log.Name())
		log.Close()
		if lines := bytes.Split(bytes.TrimSpace(b), []byte("\n")); len(b) > 0 {
			l.Logf("the bot logged %d errors, the last: %.600s", len(lines), lines[len(lines)-1])
		}
	})
	c.stage = s
	return c
}

// anyPace takes Slack's limits away: what is measured is Spanbot.
func anyPace() slackd.Options {
	o := slackd.Options{PostEvery: -1, PerMinute: map[string]int{}}
	for _, m := range []string{"chat.update", "conversations.info", "conversations.list", "conversations.history", "conversations.replies", "users.info"} {
		o.PerMinute[m] = 0
	}
	return o
}

func freeAddress(l *lab) string {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.Fatalf("%v", err)
	}
	defer free.Close()
	return free.Addr().String()
}

// serve answers on a free port until the group ends.
func serve(l *lab, h http.Handler) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.Fatalf("%v", err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(ln) }() // ends with Close
	l.Cleanup(func() { s.Close() })
	return "http://" + ln.Addr().String()
}

// noted is an answer whose status is remembered.
type noted struct {
	http.ResponseWriter
	status int
}

func (n *noted) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}

// ServeHTTP is the way from the bot to the workspace. It notes what was posted
// and drawn, and what was refused for its pace.
func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id, is := strings.CutPrefix(r.URL.Path, "/told/"); is {
		words, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		c.told[id] = string(words)
		c.mu.Unlock()
		return
	}
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	if method != "chat.postMessage" && method != "chat.update" {
		n := &noted{ResponseWriter: w, status: http.StatusOK}
		c.local.ServeHTTP(n, r)
		if n.status == http.StatusTooManyRequests {
			c.mu.Lock()
			c.limited++
			c.mu.Unlock()
		}
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	channel, ts := form.Get("channel"), form.Get("ts")
	arrived := time.Now()
	n := &noted{ResponseWriter: w, status: http.StatusOK}
	c.local.ServeHTTP(n, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case n.status == http.StatusTooManyRequests:
		c.limited++
	case method == "chat.postMessage":
		c.posts[channel] = append(c.posts[channel], arrived)
	default:
		c.updates[channel+ts] = append(c.updates[channel+ts], time.Now())
	}
}

// posted waits until each channel has n cards and returns them.
func (c *crowd) posted(n int, limit time.Duration) []card {
	for end := time.Now().Add(limit); ; time.Sleep(500 * time.Millisecond) {
		var all []card
		full := true
		for _, id := range c.channels {
			have := 0
			for _, m := range c.local.Messages(id) {
				blocks, _ := m["blocks"].([]any)
				if len(blocks) == 0 {
					continue
				}
				first, _ := blocks[0].(map[string]any)
				block, _ := first["block_id"].(string)
				if f := strings.Split(block, ":"); f[0] == "card" && len(f) == 3 {
					all = append(all, card{channel: id, ts: m["ts"].(string), span: f[2], message: m})
					have++
				}
			}
			full = full && have >= n
		}
		if full {
			return all
		}
		if time.Now().After(end) {
			c.l.Fatalf("%d cards in each of %d channels do not come: there are %d in all", n, len(c.channels), len(all))
		}
	}
}

// click is what Slack sends for a tap on 👍 or 👎, signed: the body of the
// request, and its signature.
type click struct{ id, body, stamp, signature string }

func (c *crowd) click(m card, who slackd.Person, up bool) click {
	action := "down"
	if up {
		action = "up"
	}
	blocks, _ := json.Marshal(m.message["blocks"])
	var list []map[string]any
	_ = json.Unmarshal(blocks, &list)
	tapped, ok := rig.SlackMessage{Blocks: list}.Button(action)
	if !ok {
		c.l.Fatalf("no %s on the card %s", action, m.span)
	}
	id := rig.SpanID()
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	tapped["action_ts"] = stamp + ".000100"
	payload, err := json.Marshal(map[string]any{
		"type": "block_actions", "team": map[string]any{"id": c.local.Team(), "domain": "local"}, "enterprise": nil, "is_enterprise_install": false,
		"user":       map[string]any{"id": who.ID, "username": who.Name, "name": who.Name, "team_id": c.local.Team()},
		"api_app_id": c.local.App(), "trigger_id": "1.2.3", "channel": map[string]any{"id": m.channel, "name": "reviews"},
		"container":    map[string]any{"type": "message", "message_ts": m.ts, "channel_id": m.channel, "is_ephemeral": false},
		"message":      m.message,
		"state":        map[string]any{"values": map[string]any{}},
		"response_url": c.base + "/told/" + id, "actions": []any{tapped},
	})
	if err != nil {
		c.l.Fatalf("%v", err)
	}
	body := url.Values{"payload": {string(payload)}}.Encode()
	return click{id, body, stamp, slackcall.Sign(c.local.SigningSecret(), stamp, body)}
}

// send sends a click and returns how long its ack took. Whether it was refused is
// told beside that, by its response_url.
func (c *crowd) send(to string, k click) (time.Duration, error) {
	began := time.Now()
	r, err := http.NewRequest(http.MethodPost, "http://"+to+"/slack/interactive", strings.NewReader(k.body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Slack-Request-Timestamp", k.stamp)
	r.Header.Set("X-Slack-Signature", k.signature)
	resp, err := c.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || len(answer) > 0) {
		err = fmt.Errorf("%s %s", resp.Status, answer)
	}
	return time.Since(began), err
}
