package slackd

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/slackcall"
)

// scopes are those that the app was granted: what its manifest asks for.
const scopes = "chat:write,commands,users:read,channels:read,groups:read,channels:history,groups:history"

// call is one call of the Web API.
type call struct {
	method string
	args   obj
	base   string
}

func (c call) text(arg string) string { return slackcall.Text(c.args[arg]) }

func (c call) flag(arg string) bool {
	t := c.text(arg)
	return t == "1" || t == "true"
}

// answer is what a method answers: a body, or the code of a refusal.
type answer struct {
	body       obj
	status     int // 0: 200
	retryAfter time.Duration
}

func yes(body obj) answer {
	if body == nil {
		body = obj{}
	}
	body["ok"] = true
	return answer{body: body}
}

func no(code string) answer { return answer{body: obj{"ok": false, "error": code}} }

// wrong is a refusal of what was drawn, with what is wrong where.
func wrong(code string, problems []string) answer {
	a := no(code)
	said := make([]string, len(problems))
	for i, p := range problems {
		said[i] = "[ERROR] " + p
	}
	a.body["errors"] = problems
	a.body["response_metadata"] = obj{"messages": said}
	return a
}

// method is one method of the Web API. do is called with the lock held.
type method struct {
	do       func(*Server, call) answer
	appToken bool // wants the app-level token
}

// methods are all that are served.
var methods = map[string]method{
	"api.test":              {do: apiTest},
	"auth.test":             {do: authTest},
	"apps.connections.open": {do: connectionsOpen, appToken: true},
	"chat.postMessage":      {do: chatPost},
	"chat.update":           {do: chatUpdate},
	"chat.delete":           {do: chatDelete},
	"chat.postEphemeral":    {do: chatEphemeral},
	"chat.getPermalink":     {do: chatPermalink},
	"conversations.list":    {do: conversationsList},
	"conversations.info":    {do: conversationsInfo},
	"conversations.history": {do: conversationsHistory},
	"conversations.replies": {do: conversationsReplies},
	"conversations.members": {do: conversationsMembers},
	"conversations.join":    {do: conversationsJoin},
	"users.info":            {do: usersInfo},
	"users.list":            {do: usersList},
	"usergroups.users.list": {do: usergroupMembers},
	"views.open":            {do: viewsOpen},
	"views.push":            {do: viewsPush},
	"views.update":          {do: viewsUpdate},
	"views.publish":         {do: viewsPublish},
}

// serveAPI serves one call.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, name string) {
	token, args, err := slackcall.Read(r)
	if f, failing := s.failure(name); failing {
		s.serveFault(f, w, r, func(w http.ResponseWriter) { s.write(w, s.handle(name, token, args, err)) })
		return
	}
	s.write(w, s.handle(name, token, args, err))
}

func (s *Server) handle(name, token string, args obj, unread error) answer {
	m, known := methods[name]
	switch {
	case unread != nil:
		return no("invalid_form_data")
	case !known:
		a := no("unknown_method")
		a.body["req_method"] = name
		return a
	}
	if name != "api.test" {
		if code := s.checkToken(token, m.appToken); code != "" {
			return no(code)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := call{method: name, args: args, base: s.at()}
	if wait := s.pace.take(c, s.channel(c.text("channel"))); wait > 0 {
		a := no("ratelimited")
		a.status, a.retryAfter = http.StatusTooManyRequests, wait
		return a
	}
	return m.do(s, c)
}

// checkToken is the code of the refusal; "" for a token that may.
func (s *Server) checkToken(token string, app bool) string {
	switch {
	case token == "":
		return "not_authed"
	case app && token == s.tokens.bot, !app && token == s.tokens.app:
		return "not_allowed_token_type"
	case token != s.tokens.bot && token != s.tokens.app:
		return "invalid_auth"
	}
	return ""
}

func (s *Server) write(w http.ResponseWriter, a answer) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-OAuth-Scopes", strings.Join(append([]string{scopes}, s.o.Scopes...), ","))
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((a.retryAfter+time.Second-1)/time.Second)))
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(a.body) // the caller may have left
}

// perMinute are Slack's tiers, taken at their word.
var perMinute = map[string]int{
	"chat.update": 50, "chat.delete": 50, "conversations.history": 50, "conversations.replies": 50,
	"conversations.info": 50, "conversations.join": 50, "conversations.list": 20, "conversations.members": 100,
	"users.info": 100, "users.list": 20, "usergroups.users.list": 20, "chat.postEphemeral": 100,
	"views.open": 100, "views.update": 100, "views.push": 100, "views.publish": 100,
}

// paceBook is who called what how often.
type paceBook struct {
	postEvery time.Duration
	limits    map[string]int
	calls     map[string][]time.Time // of the last minute, by method
	posts     map[string]time.Time   // by channel: how far ahead of its pace it is
}

// postBurst is how many messages a channel takes at once before its pace counts.
const postBurst = 3

func newPace(o Options) paceBook {
	p := paceBook{postEvery: o.PostEvery, limits: maps.Clone(perMinute), calls: map[string][]time.Time{}, posts: map[string]time.Time{}}
	maps.Copy(p.limits, o.PerMinute)
	if p.postEvery == 0 {
		p.postEvery = time.Second
	}
	return p
}

// take counts a call, or says how long to wait.
func (p *paceBook) take(c call, at *channel) time.Duration {
	now := time.Now()
	if c.method == "chat.postMessage" && p.postEvery > 0 && at != nil {
		next := p.posts[at.id]
		if next.Before(now) {
			next = now
		}
		if ahead := next.Sub(now); ahead > (postBurst-1)*p.postEvery {
			return p.postEvery
		}
		p.posts[at.id] = next.Add(p.postEvery)
	}
	limit := p.limits[c.method]
	if limit <= 0 {
		return 0
	}
	list := p.calls[c.method]
	for len(list) > 0 && now.Sub(list[0]) >= time.Minute {
		list = list[1:]
	}
	if len(list) >= limit {
		p.calls[c.method] = list
		return time.Minute - now.Sub(list[0])
	}
	p.calls[c.method] = append(slices.Clip(list), now)
	return 0
}

// page cuts a list for one answer: the cursor of the next page, "" for none.
func (c call) page(n, usual, most int) (from, to int, next string, ok bool) {
	limit := usual
	if t := c.text("limit"); t != "" && t != "0" {
		l, err := strconv.Atoi(t)
		if err != nil || l < 0 {
			return 0, 0, "", false
		}
		limit = min(l, most)
	}
	if t := c.text("cursor"); t != "" {
		at, is := strings.CutPrefix(t, "next:")
		i, err := strconv.Atoi(at)
		if !is || err != nil || i < 0 || i > n {
			return 0, 0, "", false
		}
		from = i
	}
	to = min(n, from+limit)
	if to < n {
		next = "next:" + strconv.Itoa(to)
	}
	return from, to, next, true
}
