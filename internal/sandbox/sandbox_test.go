package sandbox

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/redisd"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

func start(t *testing.T, o Options) *Sandbox {
	t.Helper()
	if o.Slack != nil || o.Phoenix != nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o.Listener = l
	}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func all() Options {
	return Options{Slack: &slackd.Options{}, Phoenix: &phoenixd.Options{}, Queue: &redisd.Options{Memory: true}}
}

// get asks the sandbox for a path, with headers "Name: value".
func get(t *testing.T, s *Sandbox, path string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r) // follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b) + resp.Header.Get("Location")
}

func TestRoutes_OneAddressForAll(t *testing.T) {
	s := start(t, all())
	for path, want := range map[string]string{
		"/api/api.test":     `"ok"`,
		"/phoenix":          "/phoenix/",
		"/phoenix/v1/spans": "",
		"/readyz":           "the bot is starting",
	} {
		if _, got := get(t, s, path); !strings.Contains(got, want) {
			t.Errorf("%s says %q, want %q", path, got, want)
		}
	}
	s.Mount(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "the bot: "+r.URL.Path) }))
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/slack/events"} {
		if code, got := get(t, s, path); code != 200 || got != "the bot: "+path {
			t.Errorf("%s is answered with %d %q", path, code, got)
		}
	}
}

func TestRoutes_WithoutWorkspacePhoenixIsHome(t *testing.T) {
	s := start(t, Options{Phoenix: &phoenixd.Options{}})
	if code, got := get(t, s, "/"); code != http.StatusFound || !strings.HasSuffix(got, "/phoenix/") {
		t.Errorf("%d %q", code, got)
	}
}

func TestGuard_RefusesForeignHostsAndPages(t *testing.T) {
	s := start(t, all())
	for _, path := range []string{"/", "/api/auth.test", "/phoenix/v1/projects", "/link", "/ui", "/readyz"} {
		for _, header := range []string{"Host: attacker.example", "Host: localhost.attacker.example", "Origin: https://attacker.example", "Origin: null", "Origin: http://127.0.0.1:1"} {
			if code, got := get(t, s, path, header); code != http.StatusForbidden {
				t.Errorf("%s with %s is answered with %d %q", path, header, code, got)
			}
		}
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.base, "http://"))
	for _, header := range []string{"Host: localhost:" + port, "Host: [::1]:" + port, "Origin: " + s.base} {
		if code, got := get(t, s, "/phoenix/v1/projects", header); code != http.StatusOK {
			t.Errorf("%s is answered with %d %q", header, code, got)
		}
	}
	if code, _ := get(t, s, "/link", "Origin: https://api.slack.com"); code == http.StatusForbidden {
		t.Error("Slack's own client is refused")
	}
}

func TestStart_RefusesAnAddressThatOthersReach(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	o := all()
	o.Listener = l
	_, err = Start(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "this machine only") {
		t.Fatalf("error %v", err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener is still open")
	}
}

func TestNote_IsFoundWhileItsBotRuns(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	if _, found, err := Find(folder); found || err != nil {
		t.Fatalf("without a note: %v, %v", found, err)
	}
	s := start(t, all())
	s.Mount(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	want := s.Note()
	want.Version = "0.0.1"
	if err := s.Publish(folder, want); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(folder, noteFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; it holds tokens", info.Mode(), err)
	}
	got, found, err := Find(folder)
	if err != nil || !found {
		t.Fatalf("found %v, %v", found, err)
	}
	if *got.Slack != *want.Slack || *got.Phoenix != *want.Phoenix || *got.Queue != *want.Queue || got.Version != "0.0.1" {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	left, err := os.ReadFile(filepath.Join(folder, noteFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if list, _ := os.ReadDir(folder); len(list) != 0 {
		t.Errorf("Close leaves %v", list)
	}
	// What a killed bot leaves behind.
	if err := os.WriteFile(filepath.Join(folder, noteFile), left, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, found, err := Find(folder); found || err != nil {
		t.Errorf("the note of a dead bot: %v, %v", found, err)
	}
	if err := os.WriteFile(filepath.Join(folder, noteFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Find(folder); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a broken note: %v", err)
	}
}

func TestInstances_EachStartIsANewOne(t *testing.T) {
	a, b := start(t, all()), start(t, all())
	if a.Slack.Team() == b.Slack.Team() || a.PhoenixName() == b.PhoenixName() {
		t.Error("two starts have one name")
	}
	if !LocalTeam(a.Slack.Team()) || !LocalPhoenix(a.PhoenixName()) || LocalTeam("T01TEST") || LocalPhoenix("phoenix.example.com") {
		t.Error("a stand-in is not recognised by its name, or something else is")
	}
}
