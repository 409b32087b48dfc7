// Package bot is what Spanbot does: one file per behaviour.
//
//	route.go    what a route needs before it can work: project, rubric, channel
//	poll.go     new spans of a project → the route's backlog
//	sample.go   which spans of a route ordered by uncertainty are posted, and why
//	stop.go     when a route has enough judgements, and who is told
//	post.go     backlog → claim → card in Slack → record
//	study.go    what commands ask the reviewers about: who is right, which answer is better
//	reviewers.go  who may judge
//	judge.go    a tap or a form → card and outbox, in one step
//	form.go     the forms and the details that a click opens
//	outline.go  the trace in a card's thread
//	deliver.go  outbox → Phoenix
//	outbox.go   dead letters: looked at, sent again, dropped
//	history.go  what was said and what became of it
//	rebuild.go  what Slack and Phoenix hold → a Redis that lost it
//	reconcile.go  what others did in Phoenix and Slack → cards
//	redraw.go   state → what a card in Slack says
//	expire.go   cards that nobody touched
//	forget.go   what instances left that never come back
//	home.go     a reviewer's App Home
//	command.go  what /spanbot status says
//	check.go, preview.go   the commands of those names
//	serve.go    probes, metrics, and Slack's HTTP mode
//
// It holds no rule (review does) and knows no wire format (phoenix, slackui and
// queue do). Whatever must survive a kill is in Redis before the next step.
package bot

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

// Settings is everything a bot is told from outside.
type Settings struct {
	Phoenix       phoenix.Options
	PhoenixPublic string // base URL of links people tap; "" = Phoenix.Endpoint
	Slack         slackui.Options
	Redis         string             // redis://, rediss:// or unix:// URL
	RedisTLS      *tls.Config        // nil: as usual
	Listen        string             // address of probes, metrics and HTTP mode
	Mount         func(http.Handler) // where given, takes what would be served there, and nothing is listened on
	Retention     time.Duration
	Routes        []review.Route
	Rubrics       map[string]review.Rubric // those that the configuration defines
	PhoenixName   string                   // under which state is kept instead of Phoenix's address: one that begins anew there wants another
	Gone          Gone                     // nil: all that is in Redis stays
	StandIns      []StandIn
	Version       string
	Log           *slog.Logger

	// Idle is how often waiting lines are looked at without a word that something
	// is in them; 0 = 5 s. The word comes at once, but it can be lost.
	Idle time.Duration

	// Dial makes all connections to the outside; nil: as usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Gone says of an instance (Slack team and Phoenix, "T01TEST@phoenix.example:6006")
// that it never comes back, so that what it left in Redis goes; and whether its
// Phoenix is gone as well, so that nobody waits for the judgements there.
type Gone func(instance string) (gone, phoenix bool)

// StandIn is an outside part that is not the real one. The bot treats it like
// any other; it only says so where operators look.
type StandIn struct {
	Part  string       // slack, phoenix, redis
	What  string       // "local workspace"
	State func() error // how it is; nil = always well
}

// public is the base URL of links, without a trailing slash.
func (s Settings) public() string {
	if s.PhoenixPublic != "" {
		return strings.TrimRight(s.PhoenixPublic, "/")
	}
	return strings.TrimRight(s.Phoenix.Endpoint, "/")
}

// instance names the pair whose state is kept together: Slack team and Phoenix.
func (s Settings) instance(team string) string {
	if s.PhoenixName != "" {
		return team + "@" + s.PhoenixName
	}
	at := strings.TrimRight(s.Phoenix.Endpoint, "/")
	if u, err := url.Parse(at); err == nil && u.Host != "" {
		at = u.Host + u.Path
	}
	return team + "@" + at
}

// shutdownGrace is how long steps in hand may take after the bot was told to stop.
const shutdownGrace = 8 * time.Second

// Bot is one running replica.
type Bot struct {
	set      Settings
	log      *slog.Logger
	phoenix  *phoenix.Client
	slack    *slackui.Client
	queue    *queue.Queue
	mux      *slackui.Mux
	identity slackui.Identity
	routes   []*route
	metrics  *metrics
	names    *names
	rubrics  rubrics
	drawn    *recent[string, drawing]   // what each message said when we last drew it
	details  *recent[string, wholeSpan] // spans that someone is paging through
	projects projects
	homes    *homes
	members  *members
	accepted *recent[string, review.Judgement] // taken here, and not seen confirmed
	trusted  atomic.Int64                      // ms since when Redis has answered this replica
	kick     signal                            // a judgement went into the outbox
	redraw   signal                            // a card wants to be redrawn
	studies  studies
	token    string // names this replica

	// finish outlives the context of Run by shutdownGrace: a step in hand is
	// done under it, so that stopping leaves nothing half done.
	finish context.Context
	work   sync.WaitGroup

	asking   chan struct{} // holds one while somebody asks Phoenix what it is; guards:
	server   phoenix.Server
	serverOK time.Time
}

// signal is a wake-up that folds: many sends, one receive.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) send() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// Run polls, posts, takes clicks and delivers until ctx ends, then finishes
// what is in hand and returns. It returns early only for what cannot heal: a
// Slack token that Slack refuses, an address that cannot be listened on, a
// Redis whose state is newer than this program.
func Run(ctx context.Context, set Settings) error {
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	registry := prometheus.NewRegistry()
	set.Phoenix.Registry, set.Slack.Registry, set.Slack.Log = registry, registry, set.Log
	set.Phoenix.Dial, set.Slack.Dial = set.Dial, set.Dial
	px, err := phoenix.New(set.Phoenix)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	finish, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		// Slack, Redis or Phoenix may hang; stopping must not.
		time.AfterFunc(shutdownGrace, cancel)
	})()

	b := newBot(set, px, registry)
	b.finish = finish
	for _, s := range set.StandIns {
		b.metrics.standIn.WithLabelValues(s.Part).Set(1)
	}

	web, err := b.listen()
	if err != nil {
		return err
	}
	defer web.stop()
	web.serve(b, registry)

	if b.identity, err = b.identify(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	b.queue, err = queue.Open(ctx, set.Redis, queue.Options{
		Instance: set.instance(b.identity.Team), Retention: set.Retention, Registry: registry, Log: set.Log, TLS: set.RedisTLS, Dial: set.Dial,
	})
	if err != nil {
		return err
	}
	defer b.queue.Close()
	b.mux = slackui.NewMux(b.slack, slackui.MuxOptions{
		Team: func() string { return b.identity.Team }, Org: func() string { return b.identity.Enterprise }, Log: set.Log, Version: set.Version,
	})
	b.handle()
	web.ready(b)
	b.log.Info("ready", "version", set.Version, "team", b.identity.TeamName, "phoenix", set.Phoenix.Endpoint,
		"routes", len(b.routes), "pid", os.Getpid())

	if set.Gone != nil {
		b.spawn(func() { b.forget(ctx) })
	}
	b.spawn(func() { b.wake(ctx) })
	b.spawn(func() { b.deliver(ctx) })
	b.spawn(func() { b.redrawing(ctx) })
	for _, r := range b.routes {
		b.spawn(func() { r.run(ctx) })
	}
	b.spawn(func() { b.studying(ctx) })
	err = b.takeClicks(ctx)
	stop()     // also when Slack refuses us: a bot that nobody can click posts nothing
	web.stop() // no new click by HTTP while the steps in hand end
	b.work.Wait()
	if err == nil {
		b.log.Info("stopped; nothing was in hand any more")
	}
	return err
}

// newBot is a bot without connections, that runs nothing yet.
func newBot(set Settings, px *phoenix.Client, registry *prometheus.Registry) *Bot {
	if set.Idle <= 0 {
		set.Idle = 5 * time.Second
	}
	b := &Bot{
		token: rand.Text(),
		set:   set, log: set.Log, phoenix: px, slack: slackui.New(set.Slack), metrics: newMetrics(registry),
		finish: context.Background(), kick: newSignal(), redraw: newSignal(),
		drawn: newRecent[string, drawing](4096), details: newRecent[string, wholeSpan](4),
		asking:   make(chan struct{}, 1),
		accepted: newRecent[string, review.Judgement](acceptedMost),
	}
	b.rubrics.bot, b.names, b.homes, b.members = b, newNames(b), newHomes(), newMembers(b)
	b.studies.wake = newSignal()
	b.trusted.Store(time.Now().UnixMilli())
	for _, r := range set.Routes {
		b.routes = append(b.routes, newRoute(b, r))
	}
	return b
}

// acceptedMost bounds what a replica remembers of what it accepted.
const acceptedMost = 4096

// connect is a bot for a command that works beside a running one. It takes no
// clicks.
func connect(ctx context.Context, set Settings) (*Bot, error) {
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	set.Phoenix.Dial, set.Slack.Dial = set.Dial, set.Dial
	px, err := phoenix.New(set.Phoenix)
	if err != nil {
		return nil, err
	}
	b := newBot(set, px, prometheus.NewRegistry())
	if b.identity, err = b.slack.Identity(ctx); err != nil {
		return nil, fmt.Errorf("slack: %w", err)
	}
	b.queue, err = queue.Open(ctx, set.Redis, queue.Options{Instance: set.instance(b.identity.Team), Retention: set.Retention, Log: set.Log, TLS: set.RedisTLS, Dial: set.Dial})
	if err != nil {
		return nil, err
	}
	if err := b.queue.Ping(ctx); err != nil {
		return nil, errors.Join(err, b.queue.Close())
	}
	return b, nil
}

// spawn runs f and lets Run wait for it.
func (b *Bot) spawn(f func()) {
	b.work.Go(f)
}

// takeClicks receives from Slack until ctx ends: over Socket Mode, or, without
// an app token, over the HTTP server that runs already.
func (b *Bot) takeClicks(ctx context.Context) error {
	if b.set.Slack.AppToken == "" {
		<-ctx.Done()
		return nil
	}
	err := b.mux.Run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// identify asks Slack who we are. While Slack cannot be reached it goes on
// asking; a token that Slack refuses ends the start.
func (b *Bot) identify(ctx context.Context) (slackui.Identity, error) {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		id, err := b.slack.Identity(ctx)
		switch review.KindOf(err) {
		case "":
			return id, nil
		case review.Down, review.Busy, review.Unsure:
			b.log.Warn("Slack does not answer yet; trying again", "in", wait, "error", err)
			if !pause(ctx, max(wait, review.WaitOf(err))) {
				return id, nil
			}
		default:
			return id, fmt.Errorf("slack: %w", err)
		}
	}
}

// wake passes on what other replicas publish, so that work of theirs and room
// they made is seen without waiting for a timer.
func (b *Bot) wake(ctx context.Context) {
	b.queue.Wake(ctx, func(what string) {
		all := what == queue.WakeAll
		if all || what == queue.WakeOutbox {
			b.kick.send()
		}
		if all || what == queue.WakeRedraw {
			b.redraw.send()
		}
		if all || what == queue.WakeStudies {
			b.studies.wake.send()
		}
		for _, r := range b.all() {
			if all || what == r.Name {
				r.room.send()
			}
		}
	})
}

// pause waits and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// server asks Phoenix for its version and our rights, at most once a minute
// while the answer is good.
func (b *Bot) checkServer(ctx context.Context) error {
	select {
	case b.asking <- struct{}{}:
		defer func() { <-b.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !b.serverOK.IsZero() && time.Since(b.serverOK) < time.Minute {
		return nil
	}
	s, err := b.phoenix.Server(ctx)
	if err != nil {
		b.serverOK = time.Time{}
		return err
	}
	b.server, b.serverOK = s, time.Now()
	return nil
}

// gone reports whether Phoenix itself says that something does not exist. A 404
// may be a proxy's while Phoenix restarts, and costs no card.
func gone(err error) bool {
	var status *phoenix.StatusError
	return review.KindOf(err) == review.Gone && !errors.As(err, &status)
}

// projects remembers the global ids of project names: threads keep the name.
type projects struct {
	mu  sync.Mutex
	ids map[string]string
}

// projectID resolves a project name to its global id.
func (b *Bot) projectID(ctx context.Context, name string) (string, error) {
	b.projects.mu.Lock()
	id := b.projects.ids[name]
	b.projects.mu.Unlock()
	if id != "" {
		return id, nil
	}
	p, err := b.phoenix.Project(ctx, name)
	if err != nil {
		return "", err
	}
	b.projects.mu.Lock()
	defer b.projects.mu.Unlock()
	if b.projects.ids == nil {
		b.projects.ids = map[string]string{}
	}
	b.projects.ids[name] = p.ID
	return p.ID, nil
}

// forgetProject makes the next look-up ask Phoenix again: a project that was
// deleted and made anew has another id.
func (b *Bot) forgetProject(name string) {
	b.projects.mu.Lock()
	defer b.projects.mu.Unlock()
	delete(b.projects.ids, name)
}

// route returns the configured route of that name, or the study; nil when it was
// taken out of the configuration, or is forgotten. Its cards still take clicks.
func (b *Bot) route(name string) *route {
	for _, r := range b.routes {
		if r.Name == name {
			return r
		}
	}
	return b.studies.route(name)
}
