// Package sandbox puts stand-ins in the place of what is not configured: a local
// workspace for Slack, a stand-in Phoenix, an embedded queue.
//
//	sandbox.go  which of them run, and the one server that they share
//	note.go     the file by which other commands find a bot that runs
//
// Each stand-in is a package of its own (slackd, phoenixd, redisd) and knows
// nothing of the others; what they show is in recorded. Packages below that
// serve tests alone: rig, proxy, browser. Nothing here imports the bot: it
// reaches a stand-in as it reaches the real one, by its address.
package sandbox

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/local"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/redisd"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// Options say which stand-ins run; nil: that one does not.
type Options struct {
	Slack   *slackd.Options
	Phoenix *phoenixd.Options
	Queue   *redisd.Options

	// Listener is where the workspace and Phoenix are served. Only this machine
	// may reach it. Needed with either of the two; Close closes it.
	Listener net.Listener
}

// Sandbox is the stand-ins of one process.
type Sandbox struct {
	Slack   *slackd.Server
	Phoenix *phoenixd.Server
	Queue   *redisd.Server

	base   string // "http://127.0.0.1:8080"
	server *http.Server
	bot    atomic.Pointer[http.Handler]
	note   string // the file, once written
}

// phoenixPath is where the stand-in Phoenix is on the shared server.
const phoenixPath = "/phoenix"

// Start starts them. ctx bounds the start alone; they run until Close. An error
// is a sentence for the person who started the program; then nothing runs.
func Start(ctx context.Context, o Options) (*Sandbox, error) {
	s := &Sandbox{}
	if o.Slack != nil || o.Phoenix != nil {
		if err := local.Listener(o.Listener.Addr(), "a stand-in"); err != nil {
			o.Listener.Close()
			return nil, fmt.Errorf("%w (SPANBOT_LISTEN), or name the real Slack and Phoenix", err)
		}
		s.base = "http://" + o.Listener.Addr().String()
	}
	if o.Queue != nil {
		var err error
		if s.Queue, err = redisd.Start(ctx, *o.Queue); err != nil {
			if o.Listener != nil {
				o.Listener.Close()
			}
			return nil, err
		}
	}
	if o.Phoenix != nil {
		s.Phoenix = phoenixd.New(*o.Phoenix)
	}
	if o.Slack != nil {
		s.Slack = slackd.New(*o.Slack)
		s.Slack.At(s.base)
	}
	if s.base != "" {
		s.server = &http.Server{Handler: guard(s.routes()), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 64 << 10}
		go func() {
			_ = s.server.Serve(o.Listener) // ends with Close
		}()
	}
	return s, nil
}

// routes shares one address between the workspace, Phoenix and the bot's probes.
func (s *Sandbox) routes() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/slack/"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if h := s.bot.Load(); h != nil {
				(*h).ServeHTTP(w, r)
				return
			}
			http.Error(w, "the bot is starting", http.StatusServiceUnavailable)
		})
	}
	home := http.RedirectHandler(phoenixPath+"/", http.StatusFound)
	if s.Slack != nil {
		home = s.Slack
	}
	mux.Handle("/", home)
	if s.Phoenix != nil {
		mux.Handle(phoenixPath+"/", http.StripPrefix(phoenixPath, s.Phoenix))
	}
	return mux
}

// Mount serves the bot's probes, metrics and HTTP mode on the shared address.
func (s *Sandbox) Mount(h http.Handler) { s.bot.Store(&h) }

// Workspace is the address of the local workspace's page.
func (s *Sandbox) Workspace() string { return s.base + "/" }

// SlackAPI is the address of the local workspace's Web API, as slack-go takes it.
func (s *Sandbox) SlackAPI() string { return s.base + "/api/" }

// PhoenixEndpoint is the address of the stand-in Phoenix.
func (s *Sandbox) PhoenixEndpoint() string { return s.base + phoenixPath }

const (
	teamPrefix    = "TLOCAL"
	phoenixPrefix = "stand-in-"
)

// PhoenixName is the name under which state about this start of the stand-in
// Phoenix is kept.
func (s *Sandbox) PhoenixName() string { return phoenixPrefix + s.Phoenix.Instance() }

// LocalTeam reports whether a Slack team is a local workspace, and as such gone
// when its process ends.
func LocalTeam(team string) bool { return strings.HasPrefix(team, teamPrefix) }

// LocalPhoenix does the same for the name of a Phoenix.
func LocalPhoenix(name string) bool { return strings.HasPrefix(name, phoenixPrefix) }

// Close ends them all. Whoever uses them must have finished.
func (s *Sandbox) Close() error {
	s.withdraw()
	if s.server != nil {
		_ = s.server.Close()
	}
	if s.Slack != nil {
		s.Slack.Close()
	}
	if s.Phoenix != nil {
		s.Phoenix.Close()
	}
	if s.Queue != nil {
		return s.Queue.Close()
	}
	return nil
}

// guard refuses what is not of this machine, for the bot's own paths, too.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var origins []string
		if r.URL.Path == "/link" { // Slack's clients name Slack's origin
			origins = []string{"https://api.slack.com"}
		}
		if why := local.Foreign(r, "This is a stand-in. It", origins...); why != "" {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
