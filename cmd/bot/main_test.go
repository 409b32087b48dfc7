package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/spanbot/spanbot/internal/config"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"spanbot": main})
}

// Each script in testdata/script is one promise of the command line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			// A Phoenix below the floor, for scripts that need an answer at all.
			old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("x-phoenix-server-version", "12.0.0")
				http.Error(w, "not here", http.StatusNotFound)
			}))
			e.Defer(old.Close)
			e.Setenv("OLD_PHOENIX", old.URL)
			// A port that is taken, and a PATH without programs.
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Defer(func() { taken.Close() })
			e.Setenv("TAKEN", taken.Addr().String())
			spanbot, err := exec.LookPath("spanbot")
			if err != nil {
				return err
			}
			e.Setenv("SPANBOT", spanbot)
			e.Values[worldKey{}] = &world{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"standins": standInsFor,
			"posted":   postedTo,
			// exits CODE program args…: runs it and compares the exit code.
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: exits CODE program [args]")
				}
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				err = ts.Exec(args[1], args[2:]...)
				got := 0
				var ee *exec.ExitError
				if errors.As(err, &ee) {
					got = ee.ExitCode()
				} else {
					ts.Check(err)
				}
				if got != want {
					ts.Fatalf("exit code %d, want %d", got, want)
				}
			},
		},
	})
}

// With Slack out of reach the bot listens and waits, says so when asked, and
// goes when it is told to.
func TestRun_WaitsForSlackAndStopsOnSIGTERM(t *testing.T) {
	cmd := exec.Command("spanbot", "run", "--listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "PHOENIX_ENDPOINT=http://127.0.0.1:1", "PHOENIX_PROJECT=agent", "REDIS_URL=redis://127.0.0.1:1",
		"SLACK_BOT_TOKEN=xoxb-hunter2", "SLACK_APP_TOKEN=xapp-hunter2", "SLACK_API_URL=http://127.0.0.1:1/api/", "SLACK_CHANNEL=C01ABC")
	cmd.Dir = t.TempDir()
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(log)
	var seen []string
	address, waiting := "", false
	for (address == "" || !waiting) && lines.Scan() {
		var line struct{ Msg, Address string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("away from a terminal each line is JSON: %q", lines.Text())
		}
		seen = append(seen, lines.Text())
		address = cmp.Or(address, line.Address)
		waiting = waiting || strings.Contains(line.Msg, "Slack does not answer yet")
	}
	if address == "" {
		t.Fatalf("it does not listen:\n%s", strings.Join(seen, "\n"))
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/metrics": 200} {
		r, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != want {
			t.Errorf("%s = %d, want %d", path, r.StatusCode, want)
		}
	}
	start := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		seen = append(seen, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it went with %v, want exit code 0", err)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("stopping took %s, want ≤ 10 s", d)
	}
	if all := strings.Join(seen, "\n"); strings.Contains(all, "hunter2") {
		t.Errorf("a secret is in the log:\n%s", all)
	}
}

// A setting with a flag has one, its help names variable and default, and what
// is given reaches the configuration.
func TestFlags_AreTheSettings(t *testing.T) {
	var c cli
	parser, err := kong.New(&c, kong.Name("spanbot"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range config.Settings() {
		if s.Flag == "" {
			continue
		}
		names = append(names, s.Flag)
		i := slices.IndexFunc(parser.Model.Flags, func(f *kong.Flag) bool { return f.Name == s.Flag })
		if i < 0 {
			t.Errorf("no --%s for %s", s.Flag, s.Env)
			continue
		}
		help := parser.Model.Flags[i].Help
		if !strings.Contains(help, "$"+s.Env) || !strings.Contains(help, s.Default) {
			t.Errorf("--%s: help %q wants to name $%s and its default %q", s.Flag, help, s.Env, s.Default)
		}
		if _, err := parser.Parse([]string{"--" + s.Flag, "x"}); err != nil {
			t.Errorf("--%s x: %v", s.Flag, err)
		}
		if s.Flag != "config" && c.flags()[s.Flag] != "x" {
			t.Errorf("--%s is read and forgotten", s.Flag)
		}
	}
	for _, f := range parser.Model.Flags {
		if f.Name != "help" && !slices.Contains(names, f.Name) {
			t.Errorf("--%s is no setting of internal/config", f.Name)
		}
	}
}

func TestVersion_IsTheLinkersOrTheReleases(t *testing.T) {
	if got := versionText(); got == "" {
		t.Error("no version")
	}
	version = "1.2.3-test"
	defer func() { version = "" }()
	if got := versionText(); got != "1.2.3-test" {
		t.Errorf("version %q is not the linker's", got)
	}
	if b, err := os.ReadFile("../../CHANGELOG.md"); err != nil || !strings.Contains(string(b), "## "+release) {
		t.Errorf("CHANGELOG.md has no section %q: %v", "## "+release, err)
	}
}
