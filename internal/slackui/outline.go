package slackui

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/spanbot/spanbot/internal/review"
)

const (
	// outlineLines is how many spans an outline lists; the rest is counted.
	outlineLines = 40
	// outlineWidth is how wide a line may be before a desktop breaks it.
	outlineWidth = 74
	outlineDepth = 8 // levels that are indented; deeper ones stand below each other
)

// OutlineView is all that the outline of a trace shows.
type OutlineView struct {
	Ref     review.Ref // the card in whose thread it stands
	Trace   review.Trace
	Thread  review.Thread
	Rubric  review.Rubric
	Names   map[string]string
	Phoenix string
	Now     time.Time
}

// DrawOutline draws the tree of a trace with the verdicts on its spans, and a
// select that opens the form for any span that is listed.
func DrawOutline(v OutlineView) Message {
	tree := v.Trace.Tree()
	shown := tree[:min(len(tree), outlineLines)]
	var lines []string
	var options []*slack.OptionBlockObject
	budget := cardBudget - 200 // title, link and placeholder
	for i, n := range shown {
		l := v.line(n)
		label := line(strings.Repeat("· ", min(n.Depth, outlineDepth))+v.named(n.Span), 72)
		if budget -= escapedLen(l) + 1 + escapedLen(label); budget < 0 { // the options of the select count, too
			shown = shown[:i]
			break
		}
		lines = append(lines, l)
		ref := v.Ref
		ref.SpanID = n.Span.ID
		options = append(options, option(label, encodeValue(ref, v.Rubric.Hash())))
	}
	title := "The trace: " + count(len(tree), "span", v.Trace.Partial)
	blocks := []slack.Block{
		slack.NewRichTextBlock(OutlineBlockID(v.Ref), section(textOf(title, bold)), preformatted(textOf(strings.Join(lines, "\n"), nil))),
	}
	link := traceLink(v.Phoenix, v.Trace.ID)
	if left := len(tree) - len(shown); left > 0 || v.Trace.Partial {
		t := "and " + thousands(left) + " more"
		if v.Trace.Partial {
			t = "and more"
		}
		if link != "" {
			t += "  ·  <" + link + "|Open the trace in Phoenix>"
		}
		blocks = append(blocks, note(t))
	} else if link != "" {
		blocks = append(blocks, note("<"+link+"|Open the trace in Phoenix>"))
	}
	if v.Rubric.Name != "" && len(options) > 0 {
		pick := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("Annotate a span…"), string(Pick), options...)
		blocks = append(blocks, slack.NewActionBlock("pick", pick))
	}
	text := title + ". " + line(strings.Join(lines, "; "), 600)
	return Message{Text: bounded(escape(text), textBudget), Blocks: blocks}
}

func count(n int, what string, partial bool) string {
	s := thousands(n) + " " + what
	if n != 1 {
		s += "s"
	}
	if partial {
		s = "more than " + s
	}
	return s
}

func (v OutlineView) named(s review.Span) string {
	name := line(s.Name, 50)
	if name == "" {
		name = s.ID
	}
	return line(s.Kind, 12) + " " + name
}

// line is one span: "  LLM ChatCompletion · 1.24 s · 👎 Ana → Blorptang …".
func (v OutlineView) line(n review.Node) string {
	parts := []string{strings.Repeat("  ", min(n.Depth, outlineDepth)) + v.named(n.Span)}
	if t := latency(n.Span.Latency()); t != "" {
		parts = append(parts, t)
	}
	if n.Span.Failed() {
		parts = append(parts, "⚠ error")
	}
	if t := v.verdict(n.Span.ID); t != "" {
		parts = append(parts, t)
	}
	l := strings.Join(parts, " · ")
	out := n.Span.Output
	if a := n.Span.Answer(); a != nil {
		// One that only calls tools has no words, and its raw output is the
		// provider's own JSON.
		if out = a.Content; out.Empty() {
			out = review.Text{Head: calls(a.ToolCalls)}
		}
	}
	if out.Empty() && n.Span.Failed() {
		out = review.Text{Head: n.Span.StatusMessage}
	}
	if room := outlineWidth - utf8.RuneCountInString(l) - 3; room > 10 && !out.Empty() {
		l += " → " + line(out.Head, min(room, 40))
	}
	return line2(l, outlineWidth+30)
}

// calls names the tools that a model called: "search(…), lookup(…)".
func calls(list []review.ToolCall) string {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = line(c.Name, 40)
		if names[i] == "" {
			names[i] = "tool"
		}
		names[i] += "(…)"
	}
	return strings.Join(names, ", ")
}

// line2 bounds a line without folding its leading blanks.
func line2(s string, n int) string {
	head := s[:len(s)-len(strings.TrimLeft(s, " "))]
	return head + line(s, n)
}

// verdict is what was said of a span: the thumbs or labels with the names.
func (v OutlineView) verdict(spanID string) string {
	c := v.Thread.Card(spanID)
	if c == nil {
		return ""
	}
	if c.State == review.Skipped {
		return "skipped"
	}
	var out []string
	for _, o := range c.Votes {
		if o.Withdrawn {
			continue
		}
		t := v.Rubric.Sign(o.Label)
		if t == "" {
			t = line(o.Label, 20)
		}
		if t == "" {
			t = "📝"
		}
		if o.OnTrace {
			t += " (trace)"
		}
		name := line(v.Names[o.Reviewer], 20)
		if name == "" {
			name = o.Reviewer
		}
		if len(out) == 3 {
			out = append(out, "…")
			break
		}
		out = append(out, t+" "+name)
	}
	return strings.Join(out, ", ")
}
