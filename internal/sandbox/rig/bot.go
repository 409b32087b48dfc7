package rig

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// BotProcess is the product as somebody tries it: the binary with nothing
// configured but a free port, in a home of its own.
type BotProcess struct {
	URL       string         // where it answers /readyz: "http://127.0.0.1:PORT"
	Workspace string         // page of the local workspace, URL + "/"; "" without one
	Phoenix   *PhoenixServer // the stand-in, its page is at URL + "/"; nil without one
	PID       int
	Started   time.Time     // when the binary was started
	Ready     time.Duration // from then until it answered that it is ready

	binary, home string
	environment  []string
	child        *child
	tb           TB
}

// Bot starts a binary and waits until it is ready. Each element of environment
// is "NAME=value"; of the test's own environment only PATH is passed on.
func Bot(tb TB, binary string, environment ...string) *BotProcess {
	tb.Helper()
	dir, err := newDir()
	if err != nil {
		tb.Fatalf("bot: %v", err)
	}
	b := &BotProcess{binary: binary, home: dir, environment: environment, tb: tb}
	b.child = &child{name: "spanbot", logPath: filepath.Join(dir, "log"), command: b.command}
	b.child.attach(tb, dir)
	b.Start()
	return b
}

func (b *BotProcess) command() *exec.Cmd {
	cmd := exec.Command(b.binary, "--listen", "127.0.0.1:0")
	cmd.Dir = b.home
	cmd.Env = append([]string{"HOME=" + b.home, "PATH=" + os.Getenv("PATH"), "GORACE=halt_on_error=1"}, b.environment...)
	return cmd
}

// Start starts it again after Stop or Kill, in the same home; what it printed
// before is forgotten.
func (b *BotProcess) Start() {
	b.tb.Helper()
	_ = os.Remove(b.child.logPath)
	b.Started = time.Now()
	if err := b.child.start(); err != nil {
		b.tb.Fatalf("%v", err)
	}
	b.PID = b.child.cmd.Process.Pid
	err := b.child.await(15*time.Second, func() error {
		b.Workspace, b.URL = b.printed("Slack", "local workspace"), ""
		px := b.printed("Phoenix", "stand-in")
		for _, at := range []string{b.Workspace, px} {
			if u, err := url.Parse(at); err == nil && at != "" {
				b.URL = "http://" + u.Host
			}
		}
		if b.URL == "" {
			return errors.New("it has not printed its address")
		}
		if b.Phoenix = nil; px != "" {
			b.Phoenix = PhoenixAt(b.tb, strings.TrimSuffix(px, "/"))
		}
		r, err := http.Get(b.URL + "/readyz")
		if err != nil {
			return err
		}
		r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz answers %s", r.Status)
		}
		return nil
	})
	if err != nil {
		b.tb.Fatalf("%v", err)
	}
	b.Ready = time.Since(b.Started)
}

// printed is the address on the line of a part, when that part is what.
func (b *BotProcess) printed(part, what string) string {
	out, _ := os.ReadFile(b.child.logPath)
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 0 || f[0] != part || !strings.Contains(line, what) {
			continue
		}
		for word := range strings.FieldsSeq(line) {
			if strings.HasPrefix(word, "http://") {
				return word
			}
		}
	}
	return ""
}

// Output is what it has printed since it was started, both streams.
func (b *BotProcess) Output() string {
	out, err := os.ReadFile(b.child.logPath)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// Home is its home folder.
func (b *BotProcess) Home() string { return b.home }

// Stop ends it as Ctrl-C does, Kill as kill -9 does.
func (b *BotProcess) Stop() { b.child.stop(syscall.SIGINT) }

// Kill ends it at once.
func (b *BotProcess) Kill() { b.child.stop(syscall.SIGKILL) }
