package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/proxy"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// stage is a running bot with its surroundings.
type stage struct {
	l       *lab
	px      *rig.PhoenixServer
	phoenix *proxy.HTTP
	redis   *rig.RedisServer
	people  *rig.SlackServer
	slack   *proxy.Slack
	listen  string
	cmd     *exec.Cmd
	ready   time.Duration // from start to ready
}

func newStage(l *lab, px *rig.PhoenixServer, project string, env ...string) *stage {
	// What is measured is Spanbot, not Slack's paces.
	return newStageAt(l, px, project, map[string]int{
		"chat.update": 0, "conversations.info": 0, "users.info": 0, "conversations.history": 0, "conversations.list": 0}, env...)
}

func newStageAt(l *lab, px *rig.PhoenixServer, project string, perMinute map[string]int, env ...string) *stage {
	s := &stage{l: l, px: px, phoenix: proxy.NewHTTP(l, px.URL), redis: rig.Redis(l)}
	l.redis = s.redis.Name
	s.people, s.slack = proxy.Workspace(l, rig.SlackConfig{}, false, proxy.SlackOptions{PostEvery: -1, PerMinute: perMinute})
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.Fatalf("%v", err)
	}
	s.listen = free.Addr().String()
	free.Close()
	s.cmd = exec.Command(l.bot)
	s.cmd.Env = append(os.Environ(),
		"PHOENIX_ENDPOINT="+s.phoenix.URL, "PHOENIX_PROJECT="+project, "PHOENIX_PUBLIC_URL=https://phoenix.example.com",
		"REDIS_URL="+s.redis.URL, "SLACK_BOT_TOKEN="+rig.BotToken, "SLACK_APP_TOKEN="+rig.AppToken, "SLACK_API_URL="+s.slack.APIURL,
		"SLACK_CHANNEL="+rig.Reviews, "SPANBOT_SCHEDULE=@every 1s", "SPANBOT_MAX_OPEN=0", "SPANBOT_LISTEN="+s.listen, "SPANBOT_LOG_LEVEL=error")
	s.cmd.Env = append(s.cmd.Env, env...)
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return s
}

// newCommand is the same command, not started yet.
func newCommand(c *exec.Cmd) *exec.Cmd {
	n := exec.Command(c.Path)
	n.Env, n.Stderr, n.SysProcAttr = c.Env, c.Stderr, c.SysProcAttr
	return n
}

func (s *stage) start() {
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		s.l.Fatalf("%v", err)
	}
	s.l.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	for time.Since(began) < 20*time.Second {
		if resp, err := http.Get("http://" + s.listen + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				s.ready = time.Since(began)
				return
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	s.l.Fatalf("the bot does not get ready")
}

// cards waits for n cards and returns them.
func (s *stage) cards(n int) []rig.SlackMessage {
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		var out []rig.SlackMessage
		for _, m := range s.people.Messages(rig.Reviews) {
			if strings.HasPrefix(m.BlockID(), "card:") {
				out = append(out, m)
			}
		}
		if len(out) >= n {
			return out
		}
	}
	s.l.Fatalf("%d cards do not come", n)
	return nil
}

func (s *stage) tap(m rig.SlackMessage, user, action string) proxy.Envelope {
	a, ok := m.Button(action)
	if !ok {
		s.l.Fatalf("no %s on the card", action)
	}
	s.slack.Forget()
	s.people.Click(rig.Reviews, m.TS, user, a)
	e := s.slack.Envelopes("block_actions")
	if len(e) == 0 || e[len(e)-1].Acked.IsZero() {
		s.l.Fatalf("a click was not acked")
	}
	return e[len(e)-1]
}

// bare posts one annotation as simply as can be, through the same proxy, and
// returns how long the proxy saw it.
func (s *stage) bare(span string, n int) time.Duration {
	body, err := json.Marshal(map[string]any{"data": []any{map[string]any{
		"span_id": span, "name": "correctness", "annotator_kind": "HUMAN", "identifier": fmt.Sprintf("bare:%d", n),
		"result":   map[string]any{"label": "correct", "score": 1},
		"metadata": map[string]any{"reviewer": "Alice Anderson", "channel": rig.Reviews, "rubric": "cafe0123", "clicked_at": "2026-11-25T10:00:00Z", "spanbot": "x", "permalink": "https://x.slack.com/archives/C1/p1"}}}})
	if err != nil {
		s.l.Fatalf("%v", err)
	}
	s.phoenix.Forget()
	resp, err := http.Post(s.phoenix.URL+"/v1/span_annotations?sync=true", "application/json", bytes.NewReader(body))
	if err != nil {
		s.l.Fatalf("%v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.l.Fatalf("bare POST: %s", resp.Status)
	}
	for range 200 {
		if x := s.phoenix.Exchanges("POST /v1/span_annotations"); len(x) > 0 {
			return x[0].End.Sub(x[0].Start)
		}
		time.Sleep(time.Millisecond)
	}
	s.l.Fatalf("the proxy did not see the bare POST")
	return 0
}

// stored taps and returns the time from the envelope reaching the bot to
// Phoenix's 200, both stamped by the proxies.
func (s *stage) stored(m rig.SlackMessage, user, action string) time.Duration {
	s.phoenix.Forget()
	e := s.tap(m, user, action)
	for range 10_000 {
		for _, x := range s.phoenix.Exchanges("POST /v1/span_annotations") {
			if x.Status == http.StatusOK {
				return x.End.Sub(e.Sent)
			}
		}
		time.Sleep(time.Millisecond)
	}
	s.l.Fatalf("a judgement does not reach Phoenix")
	return 0
}

func clicks(l *lab) {
	const n = 50
	px := rig.Phoenix(l)
	var spans []map[string]any
	for range n {
		spans = append(spans, rig.NewSpan("ChatCompletion", "What is the largest planet?", "Jupiter."))
	}
	px.Ingest(l, "bench-clicks", spans...)
	s := newStage(l, px, "bench-clicks")
	s.start()
	cards := s.cards(n)
	other := rig.SpanIDs(spans)
	round := func(user string) (click, bare []time.Duration) {
		for i, m := range cards[:n] {
			click = append(click, s.stored(m, user, []string{"up", "down"}[i%2]))
			bare = append(bare, s.bare(other[i], len(bare)))
			time.Sleep(20 * time.Millisecond)
		}
		return click, bare
	}
	check := func(what string, click, bare []time.Duration) {
		a, b := median(click), median(bare)
		limit := b + b/4 + 5*time.Millisecond
		l.report(a <= limit, "click → stored, "+what+": p50 ≤ 1.25 × a bare POST through the same proxy + 5 ms",
			"%s against %s (limit %s, n = %d, p90 %s against %s)", ms(a), ms(b), ms(limit), len(click), ms(quantile(click, .9)), ms(quantile(bare, .9)))
	}
	s.stored(cards[0], rig.Bob, "down") // names and connections are warm in production
	click, bare := round(rig.Alice)
	check("idle", click, bare)

	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(500 * time.Millisecond):
			}
			var more []map[string]any
			for range 20 {
				more = append(more, rig.NewSpan("busy", strings.Repeat("q", 1500), strings.Repeat("a", 1500)))
			}
			px.Call(l, http.MethodPost, "/v1/projects/bench-busy/spans", map[string]any{"data": more})
		}
	}()
	time.Sleep(2 * time.Second)
	click, bare = round(rig.Bob)
	close(stop)
	check("while 20 spans arrive each half second", click, bare)

	px.Stop()
	var acks []time.Duration
	for i := range 400 {
		m := cards[i%n]
		e := s.tap(m, []string{rig.Alice, rig.Bob}[i%2], []string{"up", "down"}[(i/n)%2])
		acks = append(acks, e.Acked.Sub(e.Sent))
	}
	p99 := quantile(acks, .99)
	l.report(p99 <= 50*time.Millisecond, "click → ack with Phoenix stopped: p99 ≤ 50 ms", "p50 %s, p99 %s, longest %s (n = %d)",
		ms(median(acks)), ms(p99), ms(quantile(acks, 1)), len(acks))
}
