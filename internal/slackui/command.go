package slackui

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// statusMost bounds what the routes take of a status, in bytes: it is an ack, and
// Slack drops those that are too large.
const statusMost = 12_000

// StatusView is what /spanbot status says.
type StatusView struct {
	Version string
	Phoenix string // address that people can open
	Server  string // its version; "" while it does not answer
	Trouble string // why Phoenix does not answer
	Redis   string // why Redis does not answer; "" when it does
	Routes  []StatusRoute
	OnWay   int // judgements that Phoenix does not have yet
	Dead    int // judgements that Phoenix will never take
}

// StatusRoute is one route in StatusView.
type StatusRoute struct {
	HomeRoute
	Schedule string
	MaxOpen  int
	Polled   time.Time // when it last looked at Phoenix with success
	Study    string    // what a command asks the reviewers; "" for a route of the configuration
}

// DrawStatus draws the answer to /spanbot status. No content of a span is in it.
func DrawStatus(v StatusView) string {
	lines := []string{"*Spanbot " + escape(v.Version) + "*"}
	where := inLabel(v.Phoenix, 200)
	if link := safeLink(v.Phoenix); link != "" {
		where = "<" + link + "|" + where + ">"
	}
	if v.Server != "" {
		lines = append(lines, "✅ Phoenix "+escape(v.Server)+" at "+where)
	} else {
		lines = append(lines, "⚠️ Phoenix at "+where+": "+inLabel(v.Trouble, 300))
	}
	if v.Redis == "" {
		lines = append(lines, "✅ Redis")
	} else {
		lines = append(lines, "⚠️ Redis: "+inLabel(v.Redis, 300))
	}
	switch {
	case v.Redis != "":
	case v.OnWay == 0:
		lines = append(lines, "✅ Phoenix has every judgement")
	default:
		lines = append(lines, "⏳ "+judgements(v.OnWay)+" on the way to Phoenix")
	}
	if v.Dead > 0 {
		lines = append(lines, fmt.Sprintf("⚠️ Phoenix refuses %s; each card says why", plural(v.Dead, "judgement")))
	}
	size := 0
	for i, r := range v.Routes {
		text := r.text()
		if size += len(text); i == homeRoutes || size > statusMost {
			lines = append(lines, "and "+plural(len(v.Routes)-i, "more route"))
			break
		}
		lines = append(lines, text)
	}
	return strings.Join(lines, "\n")
}

func (r StatusRoute) text() string {
	limit := ""
	if r.MaxOpen > 0 {
		limit = fmt.Sprintf(" (at most %s at a time)", thousands(r.MaxOpen))
	}
	if r.Study != "" {
		return "• *" + inLabel(r.Name, 60) + "*  " + r.line() + limit + "\n   asks " + inLabel(r.Study, 200)
	}
	polled := "has not looked at Phoenix yet"
	if !r.Polled.IsZero() {
		polled = "looked at Phoenix " + ago(r.Polled)
	}
	return "• *" + inLabel(r.Name, 60) + "*  " + r.line() + limit + "\n   " + polled + ", schedule `" + strings.ReplaceAll(inLabel(r.Schedule, 60), "`", "'") + "`"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(n) + " " + what + "s"
}

// OnStatus registers who answers /spanbot status.
func (m *Mux) OnStatus(f func(context.Context) StatusView) {
	if m.status != nil {
		panic("slackui: two handlers for the status")
	}
	m.status = f
}

const helpText = "*On a card*  👍 or 👎 is enough. *Annotate…* takes a score and a few words, and can take back what you said. Behind *⋯*: the whole text, the trace in the thread, *Skip*.\n" +
	"*Your App Home*  open cards of each channel, and what you judged today.\n" +
	"`/spanbot status`  how Spanbot, Phoenix and the routes are\n" +
	"`/spanbot help`  this text"

// command answers the slash command, for the person alone. The answer goes into
// the ack: that works in every channel, also where the bot may not post.
func (m *Mux) command(ctx context.Context, text string, received time.Time) (ack any) {
	defer func() {
		if p := recover(); p != nil {
			m.panicked("command", p)
			ack = told("Something is broken in Spanbot. It was logged; please tell whoever runs it.")
		}
		m.c.metrics.acks.WithLabelValues("command").Observe(time.Since(received).Seconds())
	}()
	switch word := strings.ToLower(strings.TrimSpace(text)); {
	case word == "status" && m.status != nil:
		ctx, cancel := context.WithDeadline(ctx, received.Add(handlerBudget))
		defer cancel()
		return told(DrawStatus(m.status(ctx)))
	case word == "", word == "help":
		return told("Spanbot " + escape(m.opts.Version) + " posts spans of your LLM application that nobody has judged yet; what you say of them is stored in Phoenix.\n" + helpText)
	default:
		return told(fmt.Sprintf("“%s” is not known.\n%s", escape(firstWords(word)), helpText))
	}
}

func told(text string) any { return map[string]any{"response_type": "ephemeral", "text": text} }

func firstWords(s string) string { s, _ = review.CutWords(clean(s), 40); return s }
