package slackui

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/spanbot/spanbot/internal/review"
)

// part is a piece of what a span did: a title and a text, a list of documents
// or of calls.
type part struct {
	title string
	text  review.Text
	docs  []review.Document
	calls []review.ToolCall
}

// partsOf are what a reviewer looks at: of a chat the last question and the
// answer, of others what went in and came out, with documents and calls between.
func partsOf(s review.Span) []part {
	var out []part
	switch q := s.Question(); {
	case q != nil:
		out = append(out, part{title: "User", text: q.Content})
	case !s.Input.Empty():
		out = append(out, part{title: "Input", text: s.Input})
	}
	if len(s.Documents) > 0 {
		out = append(out, part{title: "Documents", docs: s.Documents})
	}
	answer := s.Answer()
	calls := s.ToolCalls
	if answer != nil && len(answer.ToolCalls) > 0 {
		calls = answer.ToolCalls
	}
	if len(calls) > 0 {
		out = append(out, part{title: "Tool calls", calls: calls})
	}
	switch {
	case answer != nil && !answer.Content.Empty():
		out = append(out, part{title: "Assistant", text: answer.Content})
	case !s.Output.Empty() && (answer == nil || len(calls) == 0):
		out = append(out, part{title: "Output", text: s.Output})
	}
	if s.Failed() {
		t := s.Exception
		if t.Empty() {
			t = review.Text{Head: s.StatusMessage}
		}
		if t.Empty() {
			t = review.Text{Head: "(no message recorded)"}
		}
		out = append(out, part{title: "Error", text: t})
	}
	for _, e := range s.Exhibits {
		out = append(out, part{title: e.Title, text: e.Text})
	}
	if len(out) == 0 {
		out = append(out, part{title: "Input and output", text: review.Text{Head: "(nothing was recorded)"}})
	}
	return out
}

// elements draws a part with at most n characters of each text.
func (p part) elements(n int) []slack.RichTextElement {
	title := []slack.RichTextSectionElement{textOf(p.title, bold)}
	switch {
	case p.docs != nil:
		return p.documents(title, n)
	case p.calls != nil:
		return p.toolCalls(title, n)
	}
	return []slack.RichTextElement{section(title...), body(p.text, n)}
}

// body draws a text: JSON laid out in a preformatted block, prose as a quote.
func body(t review.Text, n int) slack.RichTextElement {
	head := clean(t.Head)
	shown := review.Text{Head: head, More: t.More}.Cut(n)
	if t.JSON {
		laidOut, _ := review.CutWords(indent(head), n)
		shown = review.Text{Head: laidOut, More: t.More + behind(head, laidOut)}
	}
	if strings.TrimSpace(shown.Head) == "" && shown.More == 0 {
		shown.Head = "(empty)"
	}
	e := []slack.RichTextSectionElement{textOf(shown.Head, nil)}
	if t.JSON {
		if shown.More > 0 {
			e = append(e, textOf("\n"+more(shown.More), nil)) // code knows no italics
		}
		return preformatted(e...)
	}
	if shown.More > 0 {
		e = append(e, textOf(" "+more(shown.More), italic))
	}
	return quote(e...)
}

// behind is how many characters of a JSON text stand behind what is shown of it
// in lines: our own blanks are not the text's.
func behind(text, shown string) int {
	n := 0
	for _, r := range shown {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	for i, r := range text {
		if !unicode.IsSpace(r) {
			if n == 0 {
				return utf8.RuneCountInString(text[i:])
			}
			n--
		}
	}
	return 0
}

// documents lists them with their scores. A last one without text stands for
// those that an excerpt left out (review.Span.Excerpt).
func (p part) documents(title []slack.RichTextSectionElement, n int) []slack.RichTextElement {
	docs, left := p.docs, 0
	if last := docs[len(docs)-1]; last.Content.Head == "" && last.Content.More > 0 && last.ID == "" && last.Score == nil {
		docs, left = docs[:len(docs)-1], last.Content.More
	}
	counted := "  " + thousands(len(docs)+left)
	if left > 0 {
		counted += ", the first " + strconv.Itoa(len(docs)) + " are shown"
	}
	title = append(title, textOf(counted, nil))
	var items []slack.RichTextElement
	for _, d := range docs {
		var e []slack.RichTextSectionElement
		if d.Score != nil {
			e = append(e, textOf(strconv.FormatFloat(*d.Score, 'f', 2, 64), codeIn), textOf("  ", nil))
		}
		t := line(d.Content.Head, max(n/12, 20))
		if d.Content.More > 0 && !strings.HasSuffix(t, "…") {
			t += " …"
		}
		if t == "" {
			t = line(d.ID, 60)
		}
		if t == "" {
			t = "(empty)"
		}
		items = append(items, section(append(e, textOf(t, nil))...))
	}
	out := []slack.RichTextElement{section(title...)}
	if len(items) > 0 {
		out = append(out, list(slack.RTEListOrdered, items))
	}
	return out
}

func (p part) toolCalls(title []slack.RichTextSectionElement, n int) []slack.RichTextElement {
	calls := p.calls
	if last := calls[len(calls)-1]; last.Name == "" && last.Arguments.Head == "" && last.Arguments.More > 0 {
		calls = calls[:len(calls)-1]
		which := ", the first " + strconv.Itoa(len(calls)) + " are shown"
		if len(calls) == 0 {
			which = ", none of them shown"
		}
		title = append(title, textOf("  "+thousands(len(calls)+last.Arguments.More)+which, nil))
	}
	var items []slack.RichTextElement
	for _, c := range calls {
		args := line(c.Arguments.Head, max(n/12, 20))
		if c.Arguments.More > 0 && !strings.HasSuffix(args, "…") {
			args += " …"
		}
		items = append(items, section(textOf(line(c.Name, 60)+"("+args+")", codeIn)))
	}
	if len(items) == 0 {
		return []slack.RichTextElement{section(title...)} // Slack refuses an empty list
	}
	return []slack.RichTextElement{section(title...), list(slack.RTEListBullet, items)}
}

// length is how many characters elements take, as Slack counts them.
func length(es []slack.RichTextElement) int {
	n := 0
	for _, e := range es {
		switch e := e.(type) {
		case *slack.RichTextSection:
			n += sectionLength(e.Elements)
		case *slack.RichTextQuote:
			n += sectionLength(e.Elements)
		case *slack.RichTextPreformatted:
			n += sectionLength(e.Elements)
		case *richTextList:
			n += length(e.Elements)
		}
	}
	return n
}

func sectionLength(es []slack.RichTextSectionElement) int {
	n := 0
	for _, e := range es {
		if t, ok := e.(*slack.RichTextSectionTextElement); ok {
			n += escapedLen(t.Text)
		}
	}
	return n
}

// textOnCard is how many characters of each text a card shows: some thirty lines
// on a phone.
const textOnCard = 1200

// characters is how many characters blocks take, as Slack counts them.
func characters(blocks []slack.Block) int {
	b, err := json.Marshal(blocks)
	if err != nil {
		return cardBudget
	}
	var v any
	if json.Unmarshal(b, &v) != nil {
		return cardBudget
	}
	n := 0
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for k, x := range v {
				if s, ok := x.(string); ok && k == "text" {
					n += escapedLen(s)
				}
				walk(x)
			}
		}
	}
	walk(v)
	return n
}

// content draws parts so that they take at most budget characters.
func content(parts []part, budget int) []slack.RichTextElement {
	var out []slack.RichTextElement
	for n := textOnCard; ; n = n * 2 / 3 {
		out = nil
		for _, p := range parts {
			out = append(out, p.elements(n)...)
		}
		if length(out) <= budget || n < 20 {
			return out
		}
	}
}

// facts is the quiet line below the question.
func facts(s review.Span, project, phoenix string) string {
	name := inLabel(s.Name, 80)
	if name == "" {
		name = "span"
	}
	if link := spanLink(phoenix, s.ID); link != "" {
		name = "<" + link + "|" + name + ">"
	}
	list := []string{name}
	add := func(t string) {
		if t != "" {
			list = append(list, t)
		}
	}
	add(inLabel(s.Kind, 20))
	add(inLabel(project, 60))
	add(inLabel(s.Model, 60))
	add(latency(s.Latency()))
	if s.Tokens == 1 {
		add("1 token")
	} else if s.Tokens > 1 {
		add(thousands(s.Tokens) + " tokens")
	}
	if s.Failed() {
		add("⚠️ error")
	}
	if !s.Start.IsZero() {
		add(ago(s.End))
	}
	return strings.Join(list, " · ")
}

// spanLink is where Phoenix shows a span (redirected in the browser).
func spanLink(phoenix, spanID string) string {
	if phoenix == "" {
		return ""
	}
	return safeLink(phoenix + "/redirects/spans/" + spanID)
}

func traceLink(phoenix, traceID string) string {
	if phoenix == "" {
		return ""
	}
	return safeLink(phoenix + "/redirects/traces/" + traceID)
}

// bounded is s cut to n bytes at a character.
func bounded(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
