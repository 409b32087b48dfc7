package slackui

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/spanbot/spanbot/internal/review"
)

// Limits of the App Home: it is read at a glance.
const (
	homeRoutes = 20
	homeJudged = 10
)

// HomeView is all that a person's App Home shows.
type HomeView struct {
	Routes  []HomeRoute
	Judged  []HomeJudged // today's, newest first, as many as are listed
	Labels  []HomeCount  // today's by label
	Total   int          // of today
	OnWay   int          // judgements, anybody's, that Phoenix does not have yet
	Version string
}

// HomeRoute is one route as reviewers see it.
type HomeRoute struct {
	Name    string
	Channel string // id; "" while it is not known
	Open    int    // cards that wait for a reviewer
	Waiting int    // spans that wait for a place
	Judge   int    // spans that wait for a judge first
	Oldest  time.Time
	Why     string // why the route posts nothing right now; "" when it does

	Progress string // how far it is on its way to enough judgements; "" where nobody said what is enough
}

// HomeJudged is one of the person's own judgements. It holds no content of a
// span: Slack keeps a Home when the card's message is deleted, or when the person
// may not see its channel any more.
type HomeJudged struct {
	Label   string // what was said, "👍 correct"
	Channel string // id of the card's channel; "" where it has no card
	Link    string // to the card; "" where it has none
	At      time.Time
}

// HomeCount is how often a person said something.
type HomeCount struct {
	Label string
	N     int
}

// DrawHome draws a person's App Home.
func DrawHome(v HomeView) slack.HomeTabViewRequest {
	blocks := []slack.Block{
		slack.NewHeaderBlock(plain("Judge what the model said")),
		slack.NewSectionBlock(mrkdwn("*1.*  Spans of your LLM application that nobody has judged come to the channels below, as cards.\n"+
			"*2.*  👍 or 👎 is enough. *Annotate…* takes a score and a few words; *⋯* has the whole text and the trace.\n"+
			"*3.*  What you say is stored in Phoenix under your name. Tap again to change it; *Annotate…* can take it back."), nil, nil),
		slack.NewHeaderBlock(plain("Open cards")),
	}
	for i, r := range v.Routes {
		if i == homeRoutes {
			blocks = append(blocks, note(fmt.Sprintf("and %d more routes", len(v.Routes)-homeRoutes)))
			break
		}
		blocks = append(blocks, slack.NewSectionBlock(mrkdwn(r.line()), nil, nil))
	}
	blocks = append(blocks, slack.NewHeaderBlock(plain("Judged by you today")))
	blocks = append(blocks, v.judged()...)
	if v.OnWay > 0 {
		blocks = append(blocks, note(fmt.Sprintf("⏳ %s on the way to Phoenix.", judgements(v.OnWay))))
	}
	refresh := slack.NewButtonBlockElement(actionRefresh, "v1", plain("Refresh"))
	blocks = append(blocks, slack.NewActionBlock("home", refresh), note("Spanbot "+escape(v.Version)+"  ·  `/spanbot help` in any channel"))
	return slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: blocks}}
}

func judgements(n int) string {
	if n == 1 {
		return "1 judgement is"
	}
	return thousands(n) + " judgements are"
}

// line says how one route is.
func (r HomeRoute) line() string {
	where := "*" + inLabel(r.Name, 60) + "*"
	if r.Channel != "" {
		where = "<#" + escape(r.Channel) + ">"
	}
	var parts []string
	switch {
	case r.Open == 0 && r.Waiting == 0:
		parts = append(parts, "nothing to judge")
	case r.Open == 0:
		parts = append(parts, "no open card")
	case r.Open == 1:
		parts = append(parts, "*1 open card*")
	default:
		parts = append(parts, "*"+thousands(r.Open)+" open cards*")
	}
	if r.Waiting > 0 {
		parts = append(parts, thousands(r.Waiting)+" more to come")
	}
	if r.Judge > 0 {
		parts = append(parts, thousands(r.Judge)+" wait for the judge")
	}
	if r.Open > 0 && !r.Oldest.IsZero() {
		parts = append(parts, "the oldest "+ago(r.Oldest))
	}
	text := where + "  ·  " + strings.Join(parts, "  ·  ")
	if r.Progress != "" {
		text += "\n📏 " + inLabel(r.Progress, 300)
	}
	if r.Why != "" {
		text += "\n⚠️ " + inLabel(r.Why, 300)
	}
	return text
}

func (v HomeView) judged() []slack.Block {
	if v.Total == 0 {
		return []slack.Block{slack.NewSectionBlock(mrkdwn("Nothing yet."), nil, nil)}
	}
	var counts []string
	counted := 0
	for i, c := range v.Labels {
		if i == 8 {
			counts = append(counts, "…")
			break
		}
		counts = append(counts, inLabel(c.Label, 60)+" "+thousands(c.N))
		if counted += c.N; i == len(v.Labels)-1 && counted < v.Total {
			counts = append(counts, "…") // not all were looked at
		}
	}
	out := []slack.Block{slack.NewSectionBlock(mrkdwn("*"+thousands(v.Total)+"*  ·  "+strings.Join(counts, "  ·  ")), nil, nil)}
	var lines []string
	size := 0
	for i, j := range v.Judged {
		text := inLabel(j.Label, 60)
		if link := safeLink(j.Link); link != "" {
			text += "  ·  <" + link + "|card>"
			if j.Channel != "" {
				text += " in <#" + escape(j.Channel) + ">"
			}
		}
		text += "  ·  " + ago(j.At)
		if size += len(text) + 1; i == homeJudged || size > 2900 {
			break
		}
		lines = append(lines, text)
	}
	if len(lines) > 0 {
		out = append(out, slack.NewSectionBlock(mrkdwn(strings.Join(lines, "\n")), nil, nil))
	}
	return out
}

// PublishHome shows a person their App Home. An app whose Home tab is switched
// off is review.Denied.
//
// Slack: views.publish.
func (c *Client) PublishHome(ctx context.Context, user string, v slack.HomeTabViewRequest) error {
	_, err := c.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: user, View: v})
	return c.call("views.publish", true, err)
}

// Zone is a person's time zone, by its offset now: when their day begins.
//
// Slack: users.info.
func (c *Client) Zone(ctx context.Context, user string) (*time.Location, error) {
	u, err := c.api.GetUserInfoContext(ctx, user)
	if err := c.call("users.info", false, err); err != nil {
		return nil, err
	}
	return time.FixedZone(u.TZ, u.TZOffset), nil
}

// OnHome registers what happens when a person opens their App Home or asks for
// it anew. It runs after the ack.
func (m *Mux) OnHome(f func(context.Context, review.Reviewer) error) {
	if m.home != nil {
		panic("slackui: two handlers for the App Home")
	}
	m.home = f
}

// homeBudget is how long the App Home may take to be drawn.
const homeBudget = 10 * time.Second

// showHome runs the handler beside; nobody waits for it.
func (m *Mux) showHome(user string) {
	if m.home == nil || user == "" {
		return
	}
	m.running.Go(func() {
		defer m.recovered("home")
		ctx, cancel := context.WithTimeout(context.Background(), homeBudget)
		defer cancel()
		if err := m.home(ctx, review.Reviewer{Team: m.opts.Team(), ID: user}); err != nil {
			m.log.Warn("an App Home could not be shown", "user", user, "error", err)
		}
	})
}
