package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/config"
	"github.com/spanbot/spanbot/internal/sandbox"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/redisd"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// The address that is printed is the one that is opened.
func TestRun_OpensTheWorkspace(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the browser is started otherwise here")
	}
	home := t.TempDir()
	programs, opened := filepath.Join(home, "bin"), filepath.Join(home, "opened")
	if err := os.Mkdir(programs, 0o700); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nprintf %s \"$1\" > " + opened + ".new && /bin/mv " + opened + ".new " + opened + "\n"
	if err := os.WriteFile(filepath.Join(programs, "xdg-open"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	spanbot, err := exec.LookPath("spanbot")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(spanbot, "run", "--open", "--listen", "127.0.0.1:0")
	cmd.Dir, cmd.Env, cmd.Stdout = home, []string{"HOME=" + home, "PATH=" + programs}, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := ""
	for end := time.Now().Add(20 * time.Second); address == "" && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		b, _ := os.ReadFile(opened)
		address = string(b)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if !strings.HasPrefix(address, "http://127.0.0.1:") || !strings.Contains(out.String(), " "+address+" ") {
		t.Errorf("opened %q, printed\n%s", address, out.String())
	}
}

// What a person sees first.
func TestBanner(t *testing.T) {
	box := &sandbox.Sandbox{}
	var c config.Config
	c.Phoenix.Endpoint = "https://phoenix.example.com"
	for name, k := range map[string]struct {
		edit func()
		want string
	}{
		"a Redis of our own": {func() {
			q, err := redisd.Start(t.Context(), redisd.Options{Memory: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = q.Close() })
			box.Queue = q
		}, `Spanbot ` + versionText() + `
  Slack    yours
  Phoenix  yours  https://phoenix.example.com
  Redis    miniredis, in memory: nothing is kept after exit  your own: REDIS_URL, or install valkey-server
`},
	} {
		k.edit()
		var b strings.Builder
		banner(&b, c, box)
		if b.String() != k.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, b.String(), k.want)
		}
	}
}

func TestGone_RecognisesStandInsAlone(t *testing.T) {
	s, p := slackd.New(slackd.Options{}), phoenixd.New(phoenixd.Options{})
	defer s.Close()
	defer p.Close()
	name := (&sandbox.Sandbox{Phoenix: p}).PhoenixName()
	for instance, want := range map[string][2]bool{
		s.Team() + "@" + name:                  {true, true},
		s.Team() + "@phoenix.example.com:6006": {true, false},
		"T01REAL@" + name:                      {true, true},
		"T01REAL@phoenix.example.com:6006":     {false, false},
	} {
		if team, phoenix := gone(instance); [2]bool{team, phoenix} != want {
			t.Errorf("%s: %v %v", instance, team, phoenix)
		}
	}
}
