package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

// Finding is one line of a check.
type Finding struct {
	Part  string `json:"part"`
	State string `json:"state"` // ok, warn, fail
	Text  string `json:"text"`
	Do    string `json:"do,omitempty"` // what to do about it
}

// checker collects findings.
type checker struct {
	b    *Bot
	list []Finding
}

func (c *checker) ok(part, format string, args ...any) {
	c.list = append(c.list, Finding{part, "ok", fmt.Sprintf(format, args...), ""})
}
func (c *checker) warn(part, do, format string, args ...any) {
	c.list = append(c.list, Finding{part, "warn", fmt.Sprintf(format, args...), do})
}
func (c *checker) fail(part, do string, err error) {
	c.list = append(c.list, Finding{part, "fail", err.Error(), do})
}

// Check asks each outside part what a bot with these settings would find, and
// says what to do. It reports false when something would keep it from working.
func Check(ctx context.Context, set Settings, out io.Writer, asJSON bool) (bool, error) {
	px, err := phoenix.New(set.Phoenix)
	if err != nil {
		return false, err
	}
	c := &checker{b: &Bot{set: set, log: set.Log, phoenix: px, slack: slackui.New(set.Slack)}}
	team := c.slack(ctx)
	c.redis(ctx, team)
	c.phoenix(ctx)
	c.standIns()
	good := !slices.ContainsFunc(c.list, func(f Finding) bool { return f.State == "fail" })
	if asJSON {
		return good, json.NewEncoder(out).Encode(map[string]any{"ok": good, "findings": c.list})
	}
	mark := map[string]string{"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}
	for _, f := range c.list {
		fmt.Fprintf(out, "%s  %-10s %s\n", mark[f.State], f.Part, f.Text)
		if f.Do != "" {
			fmt.Fprintf(out, "      %-10s → %s\n", "", f.Do)
		}
	}
	return good, nil
}

// standIns names what is not the real thing; nobody may run production on it.
func (c *checker) standIns() {
	for _, s := range c.b.set.StandIns {
		part := strings.ToUpper(s.Part[:1]) + s.Part[1:]
		c.warn(part, "", "a stand-in: %s", s.What)
	}
}

// standIn reports whether a part is one.
func (c *checker) standIn(part string) bool {
	return slices.ContainsFunc(c.b.set.StandIns, func(s StandIn) bool { return s.Part == part })
}

// failBy adds a failure with the advice that its Kind asks for: an address that
// does not answer is no wrong token.
func (c *checker) failBy(part string, err error, wrong, unreachable string) {
	switch review.KindOf(err) {
	case review.Down, review.Busy, review.Unsure:
		c.fail(part, unreachable, err)
	case review.Denied, review.Gone:
		c.fail(part, wrong, err)
	default:
		c.fail(part, "", err) // its own sentence says what to do
	}
}

type scope struct {
	name, use string
	must      bool
}

// scopes says what each scope is for. The first two are indispensable.
var scopes = []scope{
	{"chat:write", "posting cards", true},
	{"users:read", "the names of reviewers", false},
	{"channels:read", "finding and checking public channels", false},
	{"groups:read", "finding and checking private channels", false},
	{"channels:history", "finding a card again after an unsure post, in public channels", false},
	{"groups:history", "the same in private channels", false},
	{"commands", "the slash command", false},
}

// groupScope is wanted only where a route names a user group.
var groupScope = scope{"usergroups:read", "the members of the user groups that a route names as reviewers; without it nobody of them can judge", true}

// scopes are those that these settings need.
func (c *checker) scopes() []scope {
	for _, r := range c.b.set.Routes {
		if slices.ContainsFunc(r.Reviewers, func(id string) bool { return strings.HasPrefix(id, "S") }) {
			return append(slices.Clone(scopes), groupScope)
		}
	}
	return scopes
}

func (c *checker) slack(ctx context.Context) (team string) {
	const part = "Slack"
	id, err := c.b.slack.Identity(ctx)
	if err != nil {
		c.failBy(part, err, "check SLACK_BOT_TOKEN (xoxb-…; “OAuth & Permissions” of the app)",
			"check the network, a proxy (HTTPS_PROXY), or SLACK_API_URL if it is set")
		return ""
	}
	c.ok(part, "team %s (%s), bot %s", id.TeamName, id.Team, id.BotUser)
	if len(id.Scopes) > 0 {
		for _, s := range c.scopes() {
			if slices.Contains(id.Scopes, s.name) {
				continue
			}
			text := fmt.Sprintf("scope %s is missing: %s", s.name, s.use)
			do := "add it under “OAuth & Permissions” (or use the manifest that `spanbot manifest` prints) and install the app again"
			if s.must {
				c.list = append(c.list, Finding{part, "fail", text, do})
			} else {
				c.warn(part, do, "%s", text)
			}
		}
	}
	if c.b.set.Slack.AppToken != "" {
		if err := c.b.slack.CheckAppToken(ctx); err != nil {
			c.failBy(part, err, "check SLACK_APP_TOKEN (xapp-…, “Basic Information” → “App-Level Tokens”, scope connections:write)",
				"check the network, a proxy (HTTPS_PROXY), or SLACK_API_URL if it is set")
		} else {
			c.ok(part, "Socket Mode: the app token works")
		}
	} else {
		c.ok(part, "HTTP mode: Slack calls /slack/events, /slack/interactive and /slack/commands; signatures are checked when they come")
	}
	for _, r := range c.b.set.Routes {
		ch, err := c.b.slack.Channel(ctx, r.Channel)
		if err == nil {
			err = usable(ch, r.External)
		}
		if err != nil {
			c.fail(part, "", fmt.Errorf("route %s, channel %s: %w", r.Name, r.Channel, err))
			continue
		}
		c.ok(part, "route %s posts to #%s (%s)", r.Name, ch.Name, ch.ID)
		if ch.ExtShared {
			c.warn(part, "", "route %s: #%s is shared with another organisation, which sees the content of your traces; external: true allows it", r.Name, ch.Name)
		}
		c.reviewers(ctx, r, ch)
	}
	return id.Team
}

// reviewers asks who may judge the cards of a route: while Slack does not say it,
// nobody can whom the route does not name by id.
func (c *checker) reviewers(ctx context.Context, r review.Route, ch slackui.Channel) {
	const part = "Slack"
	_, ask := r.MayJudge("", ch.ID)
	for _, id := range ask {
		users, err := c.b.slack.Members(ctx, id)
		switch {
		case err != nil:
			c.fail(part, "", fmt.Errorf("route %s, reviewers %s: %w", r.Name, id, err))
		case len(users) == 0:
			c.warn(part, "add people to it in Slack", "route %s: nobody belongs to the reviewers %s", r.Name, id)
		default:
			c.ok(part, "route %s: %d people are members of the reviewers %s", r.Name, len(users), id)
		}
	}
}

func (c *checker) redis(ctx context.Context, team string) {
	const part = "Redis"
	q, err := queue.Open(ctx, c.b.set.Redis, queue.Options{Instance: c.b.set.instance(team), TLS: c.b.set.RedisTLS})
	if err != nil {
		c.fail(part, "check REDIS_URL", err)
		return
	}
	defer q.Close()
	s, err := q.Server(ctx)
	if err != nil {
		c.failBy(part, err, "check user and password in REDIS_URL", "check REDIS_URL, and whether the server runs there")
		return
	}
	c.ok(part, "%s", strings.TrimSpace(s.Name+" "+s.Version))
	if old(s.Version, 6, 2) {
		c.fail(part, "use Redis 6.2 or later, or Valkey", fmt.Errorf("%s %s is too old: 6.2 is the first that knows what Spanbot asks", s.Name, s.Version))
	}
	if !s.AOF && !c.standIn("redis") {
		c.warn(part, "set appendonly yes (judgements are safe there until Phoenix has them)", "nothing is written to disk at once: a crash of Redis loses the last judgements")
	}
	if s.Eviction != "" && s.Eviction != "noeviction" {
		c.warn(part, "set maxmemory-policy noeviction", "maxmemory-policy is %s: Redis may throw judgements away when it is full", s.Eviction)
	}
	if s.Role == "slave" {
		c.fail(part, "name the master in REDIS_URL", fmt.Errorf("it is a read-only replica"))
	}
}

// old compares a dotted version; what cannot be read is not old.
func old(version string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(version, "%d.%d", &a, &b); n < 2 {
		return false
	}
	return a < major || (a == major && b < minor)
}

func (c *checker) phoenix(ctx context.Context) {
	const part = "Phoenix"
	s, err := c.b.phoenix.Server(ctx)
	if err != nil {
		c.failBy(part, err, "check PHOENIX_API_KEY: a viewer's key cannot write annotations",
			"check PHOENIX_ENDPOINT, and whether the server runs there")
		return
	}
	who := "without authentication"
	if s.User != "" || s.Role != "" {
		who = strings.TrimSpace("as " + s.User + " " + strings.ToLower(s.Role))
	}
	c.ok(part, "version %s at %s, %s", s.Version, c.b.set.Phoenix.Endpoint, who)
	if why := homeOnly(c.b.set.public()); why != "" && !c.standIn("slack") { // who uses the local workspace sits here
		c.warn(part, "set PHOENIX_PUBLIC_URL to the address under which reviewers reach Phoenix", "links on cards lead to %s, %s", c.b.set.public(), why)
	}
	for _, r := range c.b.set.Routes {
		id, err := c.b.projectID(ctx, r.Project)
		if review.KindOf(err) == review.Gone {
			c.warn(part, "send a first trace to it, or correct the name; the route waits until then", "route %s: project %s does not exist yet", r.Name, r.Project)
			continue
		}
		if err != nil {
			c.fail(part, "", fmt.Errorf("route %s, project %s: %w", r.Name, r.Project, err))
			continue
		}
		c.ok(part, "route %s reads project %s", r.Name, r.Project)
		c.rubric(ctx, r)
		if note, err := c.b.noRoots(ctx, id, r); err == nil && note != "" {
			c.warn(part, "", "%s", note)
		}
	}
}

func (c *checker) rubric(ctx context.Context, r review.Route) {
	const part = "Rubric"
	rubric, err := c.b.rubricOf(ctx, r)
	if err != nil {
		c.fail(part, "", fmt.Errorf("route %s: %w", r.Name, err))
		return
	}
	from := "the configuration"
	if _, ok := c.b.set.Rubrics[r.Rubric]; !ok {
		from = "Phoenix's annotation config"
		if _, ok, err := c.b.phoenix.AnnotationConfig(ctx, r.Rubric); err == nil && !ok {
			from = "the default (Phoenix has no annotation config of that name)"
		}
	}
	thumbs := "no thumbs, only “Annotate…”; name up and down in the route if its labels should have some"
	if rubric.Up != nil {
		thumbs = fmt.Sprintf("👍 %s, 👎 %s", rubric.Up.Name, rubric.Down.Name)
	}
	c.ok(part, "route %s asks “%s” (%s, from %s): %s", r.Name, rubric.Question, rubric.Name, from, thumbs)
}

// homeOnly says why a phone cannot open an address; "" when it may.
func homeOnly(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "which is not an address"
	}
	switch h := u.Hostname(); {
	case h == "localhost", h == "::1", h == "0.0.0.0", strings.HasPrefix(h, "127."):
		return "which a phone cannot open"
	case !strings.Contains(h, ".") && !strings.Contains(h, ":"):
		return "a name that only your own network may know"
	case strings.HasSuffix(h, ".local"), strings.HasSuffix(h, ".internal"), strings.HasSuffix(h, ".svc.cluster.local"):
		return "a name that only your own network knows"
	}
	return ""
}
