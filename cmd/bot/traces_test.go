package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/config"
	"github.com/spanbot/spanbot/internal/sandbox/recorded"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// tracesCommand is the command in an empty folder with nothing set but env.
func tracesCommand(t *testing.T, env []string, args ...string) (cmd *exec.Cmd, out, errs *bytes.Buffer) {
	t.Helper()
	cmd = exec.Command("spanbot", append([]string{"traces"}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	cmd.Dir = t.TempDir()
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, errs
	return cmd, out, errs
}

// roots waits until the project has n root spans, and lists them, newest first.
func roots(t *testing.T, px *rig.PhoenixServer, project string, n int) (list []struct {
	Name       string
	Start      time.Time `json:"start_time"`
	End        time.Time `json:"end_time"`
	Attributes map[string]any
}) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(px.URL + "/v1/projects/" + url.PathEscape(project) + "/spans?parent_id=null&limit=1000")
		if err != nil {
			t.Fatal(err)
		}
		page := struct{ Data any }{&list}
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err == nil && len(list) >= n {
			return list
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q has %d root spans, want %d (%v)", project, len(list), n, err)
		}
	}
}

func TestTraces_AllAtOnce_TheBestIsTheNewest(t *testing.T) {
	px := rig.SharedPhoenix(t)
	project := "all traces " + rig.SpanID()
	start := time.Now()
	cmd, out, errs := tracesCommand(t, []string{"PHOENIX_ENDPOINT=" + px.URL, "PHOENIX_PROJECT=" + project})
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Fatalf("%v\n%s", err, errs)
	}
	all := recorded.Traces()
	for _, trace := range all {
		if !strings.Contains(out.String(), trace.Name) {
			t.Errorf("%q is not named:\n%s", trace.Name, out)
		}
	}
	link := px.URL + "/redirects/projects/" + url.PathEscape(project)
	if !strings.Contains(out.String(), fmt.Sprintf("%d traces (", len(all))) || !strings.HasSuffix(strings.TrimSpace(out.String()), link) {
		t.Errorf("neither number nor %s at the end:\n%s", link, out)
	}
	list := roots(t, px, project, len(all))
	if len(list) != len(all) {
		t.Errorf("%d root spans, want %d", len(list), len(all))
	}
	for i, s := range list {
		if i > 0 && s.End.After(list[i-1].End) {
			t.Errorf("root %d ended at %s, after the one that came later", i, s.End)
		}
		if s.End.After(time.Now()) || s.End.Before(start.Add(-30*time.Minute)) {
			t.Errorf("root %d ended at %s, which is not within the last minutes", i, s.End)
		}
	}
	if q := list[0].Attributes["llm.input_messages.1.message.content"]; q != "What is the capital of France?" {
		t.Errorf("the newest asks %v", q)
	}
}

func TestTraces_CountAndPause_InTheOrderOfTheList(t *testing.T) {
	px := rig.SharedPhoenix(t)
	project := "few traces " + rig.SpanID()
	env := []string{"PHOENIX_ENDPOINT=" + px.URL, "PHOENIX_PROJECT=other"}
	cmd, _, errs := tracesCommand(t, env, "--count", "3", "--every", "150ms", "--project", project)
	start := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	if d := time.Since(start); d < 300*time.Millisecond {
		t.Errorf("three traces in %s, want two pauses", d)
	}
	if list := roots(t, px, project, 3); len(list) != 3 || list[2].Attributes["llm.input_messages.1.message.content"] != "What is the capital of France?" {
		t.Errorf("the project has %v", list)
	}
	// More than there are: they start over, with ids of their own.
	n := len(recorded.Traces()) + 2
	cmd, _, errs = tracesCommand(t, env, "--count", fmt.Sprint(n), "--project", project)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	roots(t, px, project, 3+n)
}

func TestTraces_InterruptedKeepsWhatWasSent(t *testing.T) {
	px := rig.SharedPhoenix(t)
	project := "some traces " + rig.SpanID()
	cmd, _, errs := tracesCommand(t, []string{"PHOENIX_ENDPOINT=" + px.URL, "PHOENIX_PROJECT=" + project}, "--every", "1h")
	cmd.Stdout = nil
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var said []string
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		said = append(said, lines.Text())
		if strings.HasPrefix(lines.Text(), "  1") {
			_ = cmd.Process.Signal(syscall.SIGINT)
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("it ended with %v, want exit code %d", err, exitFailed)
	}
	if want := fmt.Sprintf("stopped after 1 of %d traces", len(recorded.Traces())); !strings.Contains(errs.String(), want) {
		t.Errorf("%q does not say %q", errs, want)
	}
	if last := said[len(said)-1]; !strings.HasPrefix(last, "1 trace (1 span) is in project") {
		t.Errorf("the last line is %q", last)
	}
	roots(t, px, project, 1)
}

// A Phoenix that refuses: the words, the exit code, and no secret.
func TestTraces_RefusalsAreSaid(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"wrong key", 401, "Invalid token", "set PHOENIX_API_KEY to a key that is valid"},
		{"duplicates", 400, `{"duplicate_spans":[{"span_id":"00f0"}],"invalid_spans":[]}`, "after 0 of 30 traces: Phoenix has 1 of the spans already"},
		{"project gone", 404, "Project with ID x not found", "does not have this project"},
		{"queue full", 503, "Server is at capacity", "after 0 of 30 traces: Phoenix failed (503)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("x-phoenix-server-version", "20.26.1")
				if r.Method == http.MethodPost || tt.status == 401 {
					http.Error(w, tt.body, tt.status)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				if r.URL.Path == "/v1/user" {
					fmt.Fprint(w, `{"data":{"auth_method":"ANONYMOUS"}}`)
					return
				}
				fmt.Fprint(w, `{"data":[],"next_cursor":null}`)
			}))
			defer srv.Close()
			cmd, out, errs := tracesCommand(t, []string{"PHOENIX_ENDPOINT=" + srv.URL, "PHOENIX_API_KEY=hunter2"})
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
				t.Errorf("it ended with %v, want exit code %d", err, exitFailed)
			}
			if !strings.Contains(errs.String(), tt.want) || strings.Contains(errs.String()+out.String(), "hunter2") {
				t.Errorf("%q; want %q and no secret", errs, tt.want)
			}
		})
	}
}

func TestTraces_ProjectIsThatOfFlagEnvironmentFileOrTutorial(t *testing.T) {
	if recorded.Project != config.DemoProject {
		t.Errorf("the traces belong to %q, the demonstration shows %q", recorded.Project, config.DemoProject)
	}
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "spanbot.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	routes := file(`routes: [{name: a, project: shop, channel: "#a"}]`)
	tests := []struct {
		name string
		cli  cli
		env  map[string]string
		want string
	}{
		{"nothing said", cli{}, nil, "my-annotations-app"},
		{"environment", cli{}, map[string]string{"PHOENIX_PROJECT": "env"}, "env"},
		{"its other name", cli{}, map[string]string{"PHOENIX_PROJECT_NAME": "other"}, "other"},
		{"flag first", cli{Project: "flag"}, map[string]string{"PHOENIX_PROJECT": "env"}, "flag"},
		{"stand-ins off", cli{StandIns: "off"}, nil, "my-annotations-app"},
		{"routes of the file", cli{Config: routes}, nil, "shop"},
		{"flag before routes", cli{Config: routes, Project: "flag"}, nil, "flag"},
		{"route of Phoenix's default", cli{Config: file(`routes: [{name: a, project: default, channel: "#a"}]`)}, nil, "default"},
		{"for all routes, of which there is none", cli{Config: file(`defaults: {project: shop}`)}, nil, "shop"},
		{"file without a project", cli{Config: file(`retention: 30d`)}, nil, "my-annotations-app"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for _, env := range []string{"PHOENIX_PROJECT", "PHOENIX_PROJECT_NAME", "SPANBOT_CONFIG", "SPANBOT_STAND_INS"} {
				t.Setenv(env, tt.env[env])
			}
			t.Setenv("PHOENIX_ENDPOINT", "http://127.0.0.1:1")
			c, got, err := tracesCmd{}.load(&app{ctx: t.Context(), cli: &tt.cli})
			if err != nil || got != tt.want || len(c.Notes) != 0 {
				t.Errorf("project %q, notes %v, %v; want %q", got, c.Notes, err, tt.want)
			}
		})
	}
}
