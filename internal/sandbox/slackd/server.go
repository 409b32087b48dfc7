package slackd

import (
	"cmp"
	cryptorand "crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/local"
)

// Options say what the workspace is like. The zero value has one channel,
// #llm-reviews, and #general.
type Options struct {
	Channels []string     // names, "#llm-reviews" or "llm-reviews", or ids; none: llm-reviews. Everybody is a member of each
	Commands []Command    // what the composer offers; none: /spanbot
	HTTP     string       // where an app in HTTP mode takes requests, "http://127.0.0.1:8080/slack/events"; "": Socket Mode
	Page     http.Handler // what is served beside the API; nil: nothing
	// PingEvery is how often a Socket Mode connection is pinged; 0: 5 s.
	PingEvery time.Duration

	More   int          // people beside the three
	Scopes []string     // that the app was granted beside those of its manifest
	Seed   uint64       // of ids and tokens; 0: different ones each time
	Log    *slog.Logger // nil: silent

	// PostEvery is how often one channel takes a message, PerMinute how many
	// calls of a method are taken in any 60 s. Zero values are Slack's own;
	// PostEvery < 0 and a limit of 0 take the limit away.
	PostEvery time.Duration
	PerMinute map[string]int
}

// Command is a slash command of the app.
type Command struct {
	Command     string `json:"command"` // "/spanbot"
	Description string `json:"description"`
	UsageHint   string `json:"usage_hint"`
}

// Person is a member of the workspace.
type Person struct {
	ID    string
	Name  string // "ana"
	Real  string // "Ana Lima"
	Color string // "#2563eb"
}

// Server is a local workspace. It is an http.Handler for the root of a server.
type Server struct {
	o       Options
	log     *slog.Logger
	team    string
	app     string
	bot     string // user id
	botID   string
	botName string
	tokens  struct{ bot, app, signing, verification string }
	people  []Person
	client  *http.Client // HTTP mode
	http    *http.Server
	done    chan struct{}
	close   func()

	spawnMu sync.Mutex
	closed  bool
	running sync.WaitGroup

	baseMu sync.Mutex
	base   string

	mu    sync.Mutex
	ids   *rand.Rand
	store store
	views viewBook
	pace  paceBook

	groups map[string][]string // user groups, by id
	links  linkBook
	hooks  map[string]*hook
	pages  map[*page]bool

	envelopes map[string]*envelope

	faultMu  sync.Mutex
	faults   []*fault
	calls    map[string]int
	lostAcks int
	twice    int
}

// New makes a workspace; Close ends it.
func New(o Options) *Server {
	seed := [2]uint64{o.Seed, 1}
	if o.Seed == 0 {
		var b [16]byte
		_, _ = cryptorand.Read(b[:]) // never fails
		seed = [2]uint64{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])}
	}
	s := &Server{
		o: o, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)), done: make(chan struct{}),
		ids:       rand.New(rand.NewPCG(seed[0], seed[1])),
		client:    &http.Client{Timeout: 10 * time.Second},
		hooks:     map[string]*hook{},
		pages:     map[*page]bool{},
		envelopes: map[string]*envelope{},
		calls:     map[string]int{},
		botName:   "spanbot",
	}
	s.close = sync.OnceFunc(func() { close(s.done) })
	s.team, s.app = "TLOCAL"+s.id("", 6), s.id("A", 10)
	s.bot, s.botID = s.id("U", 10), s.id("B", 10)
	s.tokens.bot, s.tokens.app = "xoxb-local-"+s.id("", 24), "xapp-1-"+s.app+"-"+s.id("", 24)
	s.tokens.signing, s.tokens.verification = strings.ToLower(s.id("", 32)), s.id("", 24)
	for _, p := range []Person{
		{Name: "ana", Real: "Ana Lima", Color: "#1d6fb8"},
		{Name: "ben", Real: "Ben Okafor", Color: "#8a4fbf"},
		{Name: "chen", Real: "Chen Wei", Color: "#b4552d"},
	} {
		p.ID = s.id("U", 10)
		s.people = append(s.people, p)
	}
	for i := range o.More {
		s.people = append(s.people, Person{ID: s.id("U", 10), Name: fmt.Sprintf("reviewer%d", i+1), Real: fmt.Sprintf("Reviewer %d", i+1), Color: "#555555"})
	}
	if len(s.o.Commands) == 0 {
		s.o.Commands = []Command{{"/spanbot", "What is open, how it is, help", "status | help"}}
	}
	s.store = newStore()
	s.views = newViewBook()
	s.pace = newPace(o)
	s.links = newLinkBook()
	names := o.Channels
	if len(names) == 0 {
		names = []string{"llm-reviews"}
	}
	for _, name := range append(append([]string{}, names...), "general") {
		s.addChannel(name)
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	return s
}

const idLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// id makes an id. The caller holds the lock, or is New.
func (s *Server) id(prefix string, n int) string {
	b := []byte(prefix)
	for range n {
		b = append(b, idLetters[s.ids.IntN(len(idLetters))])
	}
	return string(b)
}

// BotToken is what the app is told as its bot token.
func (s *Server) BotToken() string { return s.tokens.bot }

// AppToken is what the app is told as its app-level token.
func (s *Server) AppToken() string { return s.tokens.app }

// SigningSecret is what the app is told as its signing secret.
func (s *Server) SigningSecret() string { return s.tokens.signing }

// Team is the workspace's id: a new one each time, "TLOCAL…".
func (s *Server) Team() string { return s.team }

// BotUser is the bot's user id.
func (s *Server) BotUser() string { return s.bot }

// Reviewers are the people who are there to begin with.
func (s *Server) Reviewers() []Person { return append([]Person{}, s.people...) }

// At says under which address the workspace is reached: "http://127.0.0.1:8080".
// Without it that of each request counts.
func (s *Server) At(base string) {
	s.baseMu.Lock()
	defer s.baseMu.Unlock()
	s.base = strings.TrimRight(base, "/")
}

// at is the workspace's address.
func (s *Server) at() string {
	s.baseMu.Lock()
	defer s.baseMu.Unlock()
	return s.base
}

// Serve answers on l until Close. It refuses a TCP listener that others than
// this machine can reach: there are no accounts.
func (s *Server) Serve(l net.Listener) error {
	if err := local.Listener(l.Addr(), "the local workspace"); err != nil {
		return err
	}
	if s.at() == "" {
		s.At("http://" + l.Addr().String())
	}
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Close ends Serve, every connection and every page. All that was said is gone.
func (s *Server) Close() {
	s.close()
	s.spawnMu.Lock()
	s.closed = true
	s.spawnMu.Unlock()
	_ = s.http.Close()
	s.mu.Lock()
	var conns []interface{ shut() }
	for l := range s.links.live {
		conns = append(conns, l)
	}
	for p := range s.pages {
		conns = append(conns, p)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.shut()
	}
	s.running.Wait()
}

// spawn runs f beside; Close waits for it, and nothing begins after Close.
func (s *Server) spawn(f func()) {
	s.spawnMu.Lock()
	defer s.spawnMu.Unlock()
	if !s.closed {
		s.running.Go(f)
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if why := foreign(r); why != "" {
		http.Error(w, why, http.StatusForbidden)
		return
	}
	if s.at() == "" {
		s.At("http://" + r.Host)
	}
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, "/api/"):
		s.serveAPI(w, r, strings.TrimPrefix(path, "/api/"))
	case path == "/link":
		s.serveLink(w, r)
	case path == "/ui":
		s.serveUI(w, r)
	case strings.HasPrefix(path, "/hook/"):
		s.serveHook(w, r, strings.TrimPrefix(path, "/hook/"))
	case strings.HasPrefix(path, "/archives/"):
		s.serveArchive(w, r)
	case s.o.Page != nil:
		s.o.Page.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// foreign says why a request is refused; "" when it is not. Slack's clients name
// Slack's own origin when they open a socket.
func foreign(r *http.Request) string {
	if r.URL.Path == "/link" {
		return local.Foreign(r, "The local workspace", "https://api.slack.com")
	}
	return local.Foreign(r, "The local workspace")
}

// serveArchive leads from a permalink to the place on the page.
func (s *Server) serveArchive(w http.ResponseWriter, r *http.Request) {
	f := strings.Split(strings.TrimPrefix(r.URL.Path, "/archives/"), "/")
	to := "/#/me/" + url.PathEscape(f[0])
	if len(f) > 1 && len(f[1]) > 7 && f[1][0] == 'p' {
		ts := f[1][1:len(f[1])-6] + "." + f[1][len(f[1])-6:]
		if parent := r.URL.Query().Get("thread_ts"); parent != "" {
			to += "/thread/" + url.PathEscape(parent)
		}
		to += "/at/" + url.PathEscape(ts)
	}
	http.Redirect(w, r, to, http.StatusFound)
}

// obj is a JSON object.
type obj = map[string]any

// copied is a deep copy of what JSON can hold.
func copied[T any](v T) T {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // all that is stored came from JSON
	}
	var out T
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}
