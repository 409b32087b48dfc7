package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// servePhoenix is a process of its own: a stand-in Phoenix with a project of n
// spans. It says its address and serves until it is killed.
func servePhoenix(n int) error {
	s := phoenixd.New(phoenixd.Options{Keep: n + 100_000})
	s.Fill(seeded, n, 20*time.Hour, map[string]any{
		"input.value": strings.Repeat("What is it? ", 120), "output.value": strings.Repeat("It is this. ", 120), "llm.model_name": "gpt-4o-mini",
	})
	debug.FreeOSMemory()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	return s.Serve(l)
}

// standIn starts one.
func standIn(l *lab, n int) (url string, pid int) {
	self, err := os.Executable()
	if err != nil {
		l.Fatalf("%v", err)
	}
	cmd := exec.Command(self, "-phoenix", strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.Fatalf("%v", err)
	}
	if err := cmd.Start(); err != nil {
		l.Fatalf("%v", err)
	}
	l.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		l.Fatalf("the stand-in Phoenix says nothing: %v", err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid
}

// projectSize is what a bot needs for a project of some size.
type projectSize struct {
	spans       int
	bot         *crowd // the last one
	url         string
	first       []time.Duration
	later       []time.Duration
	rss         int // kB, the largest seen
	keys, bytes int64
}

// millions compares a bot before a project of a million spans with one before a
// thousand.
func millions(l *lab) {
	sizes := []*projectSize{{spans: 1_000}, {spans: 1_000_000}}
	if l.small {
		sizes[1].spans = 50_000
	}
	for _, s := range sizes {
		var pid int
		began := time.Now()
		s.url, pid = standIn(l, s.spans)
		l.Logf("a stand-in Phoenix with %d spans: %.0f MB, %.1f s", s.spans, float64(rss(l, pid))/1024, time.Since(began).Seconds())
	}
	const rounds = 10
	for i := range rounds {
		for k := range sizes {
			s := sizes[(k+i)%len(sizes)] // neither is always the first
			// Everything but Phoenix is new, so that it is a first poll again.
			c := newCrowd(l, s.url, rig.Redis(l), []crowdRoute{{"main", seeded, "ChatCompletion"}}, anyPace(), `schedule: "@every 1s"`, "max_open: 25")
			c.start()
			sum := c.lookedBack()
			if i > 0 { // the first one reads files and pages that are cold
				s.first = append(s.first, sum)
			}
			if i == rounds-1 {
				s.bot = c
			} else {
				_ = c.cmd.Process.Kill()
				_ = c.cmd.Wait()
			}
		}
	}
	for _, s := range sizes {
		s.bot.posted(25, 2*time.Minute)
	}
	const polls = 40
	done := make(chan struct{})
	for _, s := range sizes {
		go func() {
			defer func() { done <- struct{}{} }()
			sum, n := s.bot.polled(2)
			for range polls {
				next, count := s.bot.polled(n + 1)
				s.later = append(s.later, (next-sum)/time.Duration(count-n))
				sum, n = next, count
			}
		}()
	}
	for k, running := 0, len(sizes); running > 0; k++ {
		for _, s := range sizes {
			if k%4 == 0 && k < 80 { // new ones come in both, as many as the backlog has room for
				rig.PhoenixAt(l, s.url).Call(l, http.MethodPost, "/v1/projects/"+seeded+"/spans", map[string]any{"data": []any{rig.NewSpan("ChatCompletion", "What is it?", "It is this.")}})
			}
			s.rss = max(s.rss, rss(l, s.bot.cmd.Process.Pid))
		}
		select {
		case <-done:
			running--
		case <-time.After(time.Second):
		}
	}
	for _, s := range sizes {
		if len(s.later) < polls {
			l.Fatalf("%d polls instead of %d", len(s.later), polls)
		}
		s.keys, s.bytes = holds(l, s.bot.redis.Addr)
	}
	small, large := sizes[0], sizes[1]
	compare := func(what string, a, b float64, format string) {
		l.report(b <= 1.2*a, fmt.Sprintf("%s, a project of %d spans: ≤ 1.2 × that with %d", what, large.spans, small.spans), format+" against "+format+": %.2f ×", b, a, b/a)
	}
	compare("first poll (median of nine)", median(small.first).Seconds()*1000, median(large.first).Seconds()*1000, "%.1f ms")
	compare(fmt.Sprintf("later polls (median of %d)", polls), median(small.later).Seconds()*1000, median(large.later).Seconds()*1000, "%.1f ms")
	compare("resident memory of the bot", float64(small.rss)/1024, float64(large.rss)/1024, "%.1f MB")
	compare("keys in Redis", float64(small.keys), float64(large.keys), "%.0f")
	compare("memory of Redis's data", float64(small.bytes)/1024, float64(large.bytes)/1024, "%.0f kB")
}

// polled waits until the bot has polled n times and returns how long it took in
// all, and how often it was by then.
func (c *crowd) polled(n int) (sum time.Duration, count int) {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if sum, count, _ = c.counters(); count >= n {
			return sum, count
		}
	}
	c.l.Fatalf("the bot does not poll: %d times instead of %d", count, n)
	return 0, 0
}

// lookedBack waits until the backlog was filled for the first time and returns
// how long the bot had polled by then: one that finds its cards not looked for
// yet ends at once.
func (c *crowd) lookedBack() time.Duration {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, _, full := c.counters(); full {
			time.Sleep(100 * time.Millisecond) // the poll ends with that
			sum, _, _ := c.counters()
			return sum
		}
	}
	c.l.Fatalf("the bot does not fill its backlog")
	return 0
}

// counters are what the bot says of its polls: their time, their number, and
// whether a span had to wait outside a full backlog.
func (c *crowd) counters() (sum time.Duration, count int, full bool) {
	resp, err := http.Get("http://" + c.listen + "/metrics")
	if err != nil {
		return 0, 0, false
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), "} ")
		f, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case strings.HasPrefix(name, "spanbot_poll_duration_seconds_sum"):
			sum += time.Duration(f * 1e9)
		case strings.HasPrefix(name, "spanbot_poll_duration_seconds_count"):
			count += int(f)
		case strings.HasPrefix(name, "spanbot_spans_seen_total") && strings.Contains(name, `"full"`):
			full = f > 0
		}
	}
	return sum, count, full
}

// holds is how many keys a Redis has, and how much memory its data takes.
func holds(l *lab, addr string) (keys, bytes int64) {
	db := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = db.Close() }()
	ctx := context.Background()
	keys, err := db.DBSize(ctx).Result()
	if err != nil {
		l.Fatalf("%v", err)
	}
	info, err := db.Info(ctx, "memory").Result()
	if err != nil {
		l.Fatalf("%v", err)
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory_dataset:"); ok {
			bytes, err = strconv.ParseInt(v, 10, 64)
			if err != nil {
				l.Fatalf("%v", err)
			}
		}
	}
	return keys, bytes
}
