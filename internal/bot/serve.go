package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/spanbot/spanbot/internal/review"
)

// web serves probes, metrics and, in HTTP mode, Slack's calls. It listens
// before anything else is tried, so that an operator can ask what it waits for.
type web struct {
	l      net.Listener // nil: another server was handed our handler
	server *http.Server
	bot    atomic.Pointer[Bot] // set once clicks can be taken
	once   sync.Once
}

func (b *Bot) listen() (*web, error) {
	if b.set.Mount != nil {
		return &web{}, nil
	}
	l, err := Listen(b.set.Listen)
	return &web{l: l}, err
}

// Listen listens on an address, and says what to do where that is not possible.
func Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &review.Error{Kind: review.Invalid, Err: err, Text: fmt.Sprintf(
			"cannot listen on %s; free the address or set SPANBOT_LISTEN to another one", address)}
	}
	return l, nil
}

func (w *web) serve(b *Bot, reg *prometheus.Registry) {
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintln(rw, "ok") })
	mux.HandleFunc("GET /readyz", w.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/slack/", func(rw http.ResponseWriter, r *http.Request) {
		bot := w.bot.Load()
		if bot == nil || bot.set.Slack.SigningSecret == "" {
			http.Error(rw, "not ready for Slack", http.StatusServiceUnavailable)
			return
		}
		bot.mux.Handler().ServeHTTP(rw, r)
	})
	if w.l == nil {
		b.set.Mount(mux)
		return
	}
	w.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 15 * time.Second, IdleTimeout: 90 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	go func() {
		if err := w.server.Serve(w.l); err != nil && err != http.ErrServerClosed {
			b.log.Error("probes and metrics are not served any more", "error", err)
		}
	}()
	b.log.Info("listening", "address", w.l.Addr().String())
}

// ready lets clicks in.
func (w *web) ready(b *Bot) { w.bot.Store(b) }

// stop finishes the requests in hand and listens no more.
func (w *web) stop() { w.once.Do(w.shutdown) }

func (w *web) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	switch {
	case w.l == nil:
		w.bot.Store(nil) // whoever serves our handler: no click reaches us any more
		return
	case w.server == nil:
		w.l.Close()
		return
	}
	if w.server.Shutdown(ctx) != nil {
		w.server.Close()
	}
}

// condition is one line of /readyz?verbose.
type condition struct {
	Part  string `json:"part"`
	State string `json:"state"` // ok, degraded, down
	Why   string `json:"why,omitempty"`
}

// readyz answers 503 only while a click could not be taken: not connected to
// Slack, or neither Redis nor Phoenix answers. Everything else is degraded:
// restarting the bot would not mend it.
func (w *web) readyz(rw http.ResponseWriter, r *http.Request) {
	b := w.bot.Load()
	var parts []condition
	ready := false
	if b == nil {
		parts = []condition{{"slack", "down", "starting: Slack was not reached yet"}}
	} else {
		parts, ready = b.conditions(r.Context())
	}
	code := http.StatusOK
	if !ready {
		code = http.StatusServiceUnavailable
	}
	verbose := r.URL.Query().Has("verbose")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(code)
		_ = json.NewEncoder(rw).Encode(map[string]any{"ready": ready, "parts": parts})
		return
	}
	rw.WriteHeader(code)
	word := "ready"
	switch {
	case !ready:
		word = "not ready"
	case slices.ContainsFunc(parts, func(c condition) bool { return c.State != "ok" }):
		word = "ready, degraded"
	}
	fmt.Fprintln(rw, word)
	if !verbose && ready {
		return
	}
	for _, c := range parts {
		line := c.Part + ": " + c.State
		if c.Why != "" {
			line += " — " + c.Why
		}
		fmt.Fprintln(rw, line)
	}
}

// conditions says how each part is, and whether a click could be taken.
func (b *Bot) conditions(ctx context.Context) (parts []condition, ready bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	state := func(part string, err error) bool {
		c := condition{Part: part, State: "ok"}
		if err != nil {
			c.State, c.Why = "down", err.Error()
		}
		parts = append(parts, c)
		return err == nil
	}
	slack := true
	if b.set.Slack.AppToken != "" {
		var err error
		if !b.mux.Connected() {
			err = &review.Error{Kind: review.Down, Text: "not connected (Socket Mode)"}
		}
		slack = state("slack", err)
	} else {
		state("slack", nil)
	}
	redis := state("redis", b.queue.Ping(ctx))
	// Asking Phoenix costs it something: only when Redis cannot take the click.
	phoenix := true
	if !redis {
		_, err := b.phoenix.Server(ctx)
		phoenix = state("phoenix", err)
	}
	for _, s := range b.set.StandIns {
		c := condition{Part: "stand-in for " + s.Part, State: "ok", Why: s.What}
		if s.State != nil {
			if err := s.State(); err != nil {
				c.State, c.Why = "degraded", err.Error()
			}
		}
		parts = append(parts, c)
	}
	for _, r := range b.all() {
		c := condition{Part: "route " + r.Name, State: "ok"}
		if why := r.waitsFor(); why != "" {
			c.State, c.Why = "degraded", why
		}
		parts = append(parts, c)
	}
	return parts, slack && (redis || phoenix)
}
