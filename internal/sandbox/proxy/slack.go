package proxy

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
	"github.com/spanbot/spanbot/internal/sandbox/slackcall"
)

// SlackOptions says how strict the proxy is. The zero value takes the rig's
// tokens, grants every scope that Spanbot's manifest asks for, and keeps Slack's
// paces.
type SlackOptions struct {
	BotToken, AppToken, SigningSecret string
	Scopes                            []string       // granted; nil: DefaultScopes
	PerMinute                         map[string]int // calls of a method in any 60 s; overrides DefaultPerMinute, 0 takes the limit away
	PostEvery                         time.Duration  // chat.postMessage in one channel; 0: a second, < 0: any pace
	PingEvery                         time.Duration  // WebSocket pings to the bot; 0: 5 s, < 0: none
	Redeliver                         int            // how often an envelope is sent again that was not acked for 3 s
	Lenient                           bool           // what Slack would refuse silently (Problems) does not fail the test
}

// DefaultScopes are those that the manifest asks for.
var DefaultScopes = []string{"chat:write", "commands", "users:read", "channels:read", "groups:read", "channels:history", "groups:history"}

// DefaultPerMinute are Slack's tiers, taken at their word.
var DefaultPerMinute = map[string]int{
	"chat.update": 50, "conversations.history": 50, "conversations.replies": 50,
	"conversations.info": 50, "conversations.list": 20, "users.info": 100,
	"views.open": 100, "views.update": 100, "views.push": 100, "views.publish": 100,
}

// Slack is the strict proxy before a lax Slack.
type Slack struct {
	URL    string // http://127.0.0.1:PORT
	APIURL string // URL + "/api/": what the bot is told in SLACK_API_URL

	tb       rig.TB
	upstream atomic.Value // string: the emulator, without a slash at the end; in HTTP mode known only after we serve
	o        SlackOptions
	client   *http.Client

	mu        sync.Mutex
	calls     []Call
	faults    map[string][]slackFault
	problems  []string
	posts     map[string]time.Time   // channel → when the next post may come
	windows   map[string][]time.Time // method → calls of the last minute
	metadata  map[string]any         // channel + ts → message metadata
	channels  map[string]map[string]any
	views     viewBook
	triggers  map[string]*trigger
	links     map[*link]bool
	tickets   map[string]string // id of a link not yet opened → the emulator's URL
	envelopes []*Envelope
	byID      map[string]*Envelope
	hooks     map[string]int // path of a response_url → uses
	botURL    string
	serial    int
}

// Call is one call of the Web API by the bot.
type Call struct {
	Method     string
	Args       map[string]any // decoded: blocks, view and metadata as JSON values; without the token
	Start, End time.Time
	Status     int
	OK         bool
	Error      string // "invalid_blocks", "ratelimited", ...; empty when OK
	Answer     json.RawMessage
	Failed     bool // by a fault of the test
}

// String is an argument as text, "" when it is not there.
func (c Call) String(arg string) string { return slackcall.Text(c.Args[arg]) }

// Fault is what happens to a call in place of Slack's answer.
type Fault struct {
	Delay      time.Duration // wait first
	Accept     bool          // let Slack do it, then lose its answer
	Hang       bool          // never answer; ends when the bot gives up
	Cut        bool          // end the connection without an answer
	Status     int           // answer with this HTTP status; 0: 200
	Error      string        // {"ok":false,"error":Error}
	RetryAfter int           // seconds; with Status 429
}

type slackFault struct {
	left  int
	fault Fault
}

// NewSlack starts the proxy before upstream, the URL of a Slack (rig.SlackServer.URL).
func NewSlack(tb rig.TB, upstream string, o SlackOptions) *Slack {
	tb.Helper()
	orDefault(&o.BotToken, rig.BotToken)
	orDefault(&o.AppToken, rig.AppToken)
	orDefault(&o.SigningSecret, rig.SigningSecret)
	if o.Scopes == nil {
		o.Scopes = DefaultScopes
	}
	limits := maps.Clone(DefaultPerMinute)
	maps.Copy(limits, o.PerMinute)
	o.PerMinute = limits
	if o.PostEvery == 0 {
		o.PostEvery = time.Second
	}
	if o.PingEvery == 0 {
		o.PingEvery = 5 * time.Second
	}
	s := &Slack{
		tb:       tb,
		o:        o,
		client:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second}},
		faults:   map[string][]slackFault{},
		posts:    map[string]time.Time{},
		windows:  map[string][]time.Time{},
		metadata: map[string]any{},
		channels: map[string]map[string]any{},
		views:    newViewBook(),
		triggers: map[string]*trigger{},
		links:    map[*link]bool{},
		tickets:  map[string]string{},
		byID:     map[string]*Envelope{},
		hooks:    map[string]int{},
	}
	s.upstream.Store(strings.TrimSuffix(upstream, "/"))
	mux := http.NewServeMux()
	mux.HandleFunc("/api/{method}", s.serveAPI)
	mux.HandleFunc("/link/{id}", s.serveLink)
	mux.HandleFunc("/events", s.serveEvents)
	mux.HandleFunc("/_hooks/response/{id}", s.serveHook)
	s.URL = serve(tb, mux)
	s.APIURL = s.URL + "/api/"
	tb.Cleanup(func() {
		s.CutLinks()
		if o.Lenient {
			return
		}
		for _, p := range s.Problems() {
			tb.Errorf("Slack would refuse: %s", p)
		}
	})
	return s
}

func orDefault(s *string, d string) {
	if *s == "" {
		*s = d
	}
}

// Fail makes the next n calls of a method ("chat.postMessage"; n < 0: all) fail so.
func (s *Slack) Fail(method string, n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[method] = append(s.faults[method], slackFault{n, f})
}

// Heal forgets all faults.
func (s *Slack) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// Calls are the calls that have ended, in that order: those of the methods
// named, or all.
func (s *Slack) Calls(methods ...string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Call
	for _, c := range s.calls {
		named := len(methods) == 0
		for _, m := range methods {
			named = named || m == c.Method
		}
		if named {
			out = append(out, c)
		}
	}
	return out
}

// Forget empties Calls, Envelopes and Problems.
func (s *Slack) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.envelopes, s.problems = nil, nil, nil
}

// Problems are the bot's mistakes that no caller may notice: refused blocks and
// views (the bot may fall back and hide it), answers to forms that Slack would
// not understand. Unless SlackOptions.Lenient they fail the test at its end.
func (s *Slack) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.problems...)
}

func (s *Slack) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// SetChannel changes fields of a channel as conversations.info and .list show
// them: is_member and is_archived also make posts and history fail.
func (s *Slack) SetChannel(id string, fields map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channels[id] == nil {
		s.channels[id] = map[string]any{}
	}
	maps.Copy(s.channels[id], fields)
}

// answer is what the bot gets: HTTP status, headers, body.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

func ok(body map[string]any) *answer { return &answer{status: http.StatusOK, body: body} }

func refuse(code string) *answer {
	return ok(map[string]any{"ok": false, "error": code})
}

func (s *Slack) serveAPI(w http.ResponseWriter, r *http.Request) {
	c := Call{Method: r.PathValue("method"), Start: time.Now()}
	token, args, err := slackcall.Read(r)
	c.Args = args
	var a *answer
	defer func() {
		c.End = time.Now()
		s.mu.Lock()
		s.calls = append(s.calls, c)
		s.mu.Unlock()
	}()
	if err != nil {
		a = refuse("invalid_form_data")
	} else if fault, is := s.takeFault(c.Method); is {
		c.Failed = true
		a = s.applyFault(r, fault, token, &c)
	} else {
		a = s.handle(r, token, &c)
	}
	c.Status = a.status
	c.OK, _ = a.body["ok"].(bool)
	c.Error = slackcall.Text(a.body["error"])
	c.Answer, err = json.Marshal(a.body)
	if err != nil {
		s.tb.Errorf("slack proxy: %v", err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-OAuth-Scopes", strings.Join(s.o.Scopes, ","))
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(c.Answer)
}

func (s *Slack) takeFault(method string) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.faults[method]
	for i := range list {
		if list[i].left != 0 {
			if list[i].left > 0 {
				list[i].left--
			}
			return list[i].fault, true
		}
	}
	return Fault{}, false
}

func (s *Slack) applyFault(r *http.Request, f Fault, token string, c *Call) *answer {
	select {
	case <-time.After(f.Delay):
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
	if !f.Accept && !f.Hang && !f.Cut && f.Status == 0 && f.Error == "" { // a delay and nothing else
		return s.handle(r, token, c)
	}
	if f.Accept {
		s.handle(r, token, c)
	}
	switch {
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Cut:
		panic(http.ErrAbortHandler)
	}
	a := refuse(f.Error)
	if f.Status != 0 {
		a.status = f.Status
	}
	if f.RetryAfter > 0 {
		a.header = http.Header{"Retry-After": {strconv.Itoa(f.RetryAfter)}}
	}
	return a
}

// handle checks a call and, when Slack would take it, passes it on and mends
// the answer.
func (s *Slack) handle(r *http.Request, token string, c *Call) *answer {
	if a := s.checkToken(c.Method, token); a != nil {
		return a
	}
	if a := s.checkPace(c); a != nil {
		return a
	}
	if a := s.checkCall(c); a != nil {
		return a
	}
	body, err := s.forward(r, token, c.Method, s.outgoing(c))
	if err != nil {
		return &answer{status: http.StatusBadGateway, body: map[string]any{"ok": false, "error": "upstream", "detail": err.Error()}}
	}
	if body["ok"] == true {
		s.mend(c, body)
	}
	return ok(body)
}

// at is where the emulator is.
func (s *Slack) at() string { return s.upstream.Load().(string) }

// forward calls the emulator with a form, as every method takes one.
func (s *Slack) forward(r *http.Request, token, method string, args map[string]any) (map[string]any, error) {
	form := url.Values{"token": {token}}
	for k, v := range args {
		form.Set(k, slackcall.Text(v))
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, s.at()+"/api/"+method, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return nil, err
	}
	return body, nil
}
