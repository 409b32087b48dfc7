package rig

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DefaultPhoenix is the version of Phoenix that make deps installs.
const DefaultPhoenix = "20.26.1"

// PhoenixServer is a real Phoenix with a SQLite file of its own.
type PhoenixServer struct {
	URL         string // http://127.0.0.1:PORT, without a slash at the end
	Version     string // "20.26.1"
	WorkingDir  string // holds phoenix.db
	AdminSecret string // a bearer token that may do everything; empty without WithAuth
	tb          TB
	child       *child
}

// An Option changes how Phoenix starts.
type Option func(*phoenixOptions)

type phoenixOptions struct {
	env     []string
	auth    bool
	version string
}

// WithAuth makes the server demand a bearer token (AdminSecret is one).
func WithAuth() Option { return func(o *phoenixOptions) { o.auth = true } }

// Env sets an environment variable of the server.
func Env(key, value string) Option {
	return func(o *phoenixOptions) { o.env = append(o.env, key+"="+value) }
}

// WithVersion starts that version in place of SPANBOT_TEST_PHOENIX or the
// default; scripts/phoenix VERSION installs one.
func WithVersion(v string) Option { return func(o *phoenixOptions) { o.version = v } }

const adminSecret = "rig0admin0secret0rig0admin0secret0rig"

// Phoenix starts a server of the test's own; it takes about 13 s. Use
// SharedPhoenix unless the test stops it or needs other settings.
func Phoenix(tb TB, options ...Option) *PhoenixServer {
	tb.Helper()
	s, dir, err := newPhoenix(tb, options...)
	Need(tb, "Phoenix", err)
	s.child.attach(tb, dir)
	s.Start()
	return s
}

// PhoenixVersion is the version that the tests run against.
func PhoenixVersion() string {
	if v := os.Getenv("SPANBOT_TEST_PHOENIX"); v != "" {
		return v
	}
	return DefaultPhoenix
}

var shared struct {
	once   sync.Once
	server *PhoenixServer
	absent error // it is not installed
	broken error // it is, and did not start
}

// SharedPhoenix is one server for all tests of the process, started by the
// first call and ended with the process. Tests use project names of their own
// on it and never stop it.
func SharedPhoenix(tb TB) *PhoenixServer {
	tb.Helper()
	shared.once.Do(func() {
		s, _, err := newPhoenix(nil)
		if err != nil {
			shared.absent = err
			return
		}
		shared.server, shared.broken = s, s.start()
	})
	Need(tb, "Phoenix", shared.absent)
	if shared.broken != nil {
		tb.Fatalf("phoenix: %v", shared.broken)
	}
	return shared.server
}

// PhoenixAt speaks to a server that is there already, as the stand-in is in tests
// that run on both. It cannot be started, stopped or killed from here.
func PhoenixAt(tb TB, url string) *PhoenixServer {
	tb.Helper()
	s := &PhoenixServer{URL: strings.TrimRight(url, "/"), tb: tb}
	status, version, err := s.call(http.MethodGet, "/arize_phoenix_version", nil)
	if err != nil || status != http.StatusOK {
		tb.Fatalf("no Phoenix at %s: %d, %v", url, status, err)
	}
	s.Version = strings.TrimSpace(string(version))
	return s
}

// Python is the interpreter of the server's own environment, which has Phoenix's
// official client and evals beside it.
func Python(tb TB) string {
	tb.Helper()
	bin, err := cached("phoenix-"+PhoenixVersion(), "bin", "python")
	Need(tb, "Phoenix's Python", err)
	return bin
}

// newPhoenix prepares a server; the error says what is not installed.
func newPhoenix(tb TB, options ...Option) (*PhoenixServer, string, error) {
	o := phoenixOptions{version: PhoenixVersion()}
	for _, option := range options {
		option(&o)
	}
	bin, err := cached("phoenix-"+o.version, "bin", "phoenix")
	if err != nil {
		return nil, "", err
	}
	dir, err := newDir()
	if err != nil {
		return nil, "", err
	}
	port, grpc := freePort(), freePort()
	for grpc == port {
		grpc = freePort()
	}
	s := &PhoenixServer{
		URL:        fmt.Sprintf("http://127.0.0.1:%d", port),
		Version:    o.version,
		WorkingDir: dir,
		tb:         tb,
	}
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8", "TMPDIR=" + os.TempDir(),
		"PHOENIX_HOST=127.0.0.1",
		fmt.Sprintf("PHOENIX_PORT=%d", port),
		fmt.Sprintf("PHOENIX_GRPC_PORT=%d", grpc),
		"PHOENIX_WORKING_DIR=" + dir,
		// No call leaves the machine.
		"PHOENIX_ALLOW_EXTERNAL_RESOURCES=false",
		"PHOENIX_ALLOWED_SANDBOX_PROVIDERS=NONE",
		"PHOENIX_DISABLE_AGENT_ASSISTANT=true",
		"PHOENIX_TELEMETRY_ENABLED=false",
	}
	if o.auth {
		s.AdminSecret = adminSecret
		env = append(env, "PHOENIX_ENABLE_AUTH=true",
			"PHOENIX_SECRET=rig0signing0secret0rig0signing0secret",
			"PHOENIX_ADMIN_SECRET="+adminSecret)
	}
	env = append(env, o.env...)
	s.child = &child{
		name:    "Phoenix " + o.version,
		logPath: filepath.Join(dir, "log"),
		command: func() *exec.Cmd {
			cmd := exec.Command(bin, "serve")
			cmd.Env, cmd.Dir = env, dir
			return cmd
		},
	}
	return s, dir, nil
}

// Start starts the server again, on the same ports and data.
func (s *PhoenixServer) Start() {
	s.tb.Helper()
	if err := s.start(); err != nil {
		s.tb.Fatalf("phoenix: %v", err)
	}
}

func (s *PhoenixServer) start() error {
	if err := s.child.start(); err != nil {
		return err
	}
	return s.child.await(2*time.Minute, func() error {
		resp, err := client.Get(s.URL + "/readyz")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz answered %s", resp.Status)
		}
		return nil
	})
}

// Stop ends the server and waits for it.
func (s *PhoenixServer) Stop() { s.child.stop(syscall.SIGTERM) }

// Kill ends the server as a crash does.
func (s *PhoenixServer) Kill() { s.child.stop(syscall.SIGKILL) }

// Log is the end of what the server wrote.
func (s *PhoenixServer) Log() string { return s.child.tail() }

// AtLeast reports whether the server's version is at least v ("20.16").
func (s *PhoenixServer) AtLeast(v string) bool {
	have, want := versionNumbers(s.Version), versionNumbers(v)
	for i := range want {
		if have[i] != want[i] {
			return have[i] > want[i]
		}
	}
	return true
}

func versionNumbers(v string) (n [3]int) {
	for i, part := range strings.SplitN(v, ".", 3) {
		_, _ = fmt.Sscanf(part, "%d", &n[i]) // what is no number counts as 0
	}
	return n
}
