package slackui

import (
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/spanbot/spanbot/internal/review"
)

// Text of a span is hostile: it may hold <!channel>, links, markup, control
// characters. It goes into rich_text elements, where nothing is parsed, or into
// plain_text. Our own lines are mrkdwn with verbatim, and a name of a span's in
// them is escaped.

// escape is Slack's own: exactly these three characters mean something in text
// (docs.slack.dev, formatting message text).
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// escapedLen is how many characters s takes where Slack counts entities.
func escapedLen(s string) int {
	return utf8.RuneCountInString(s) + 4*strings.Count(s, "&") + 3*(strings.Count(s, "<")+strings.Count(s, ">"))
}

// clean drops what no text in Slack should hold: control characters and marks
// that turn the reading direction of what follows.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < 0x20, r == 0x7f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// line is clean text on one line, at most n characters.
func line(s string, n int) string {
	s = strings.Join(strings.Fields(clean(s)), " ")
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	head, _ := review.CutWords(s, n-1)
	return head + "…"
}

// inLabel makes a name safe inside <url|label> and on a mrkdwn line: what would
// be markup becomes its look-alike. An underscore inside a word is none.
func inLabel(s string, n int) string {
	s = strings.ReplaceAll(line(s, n), "|", "¦")
	return strings.NewReplacer("*", "∗", "~", "∼", "`", "ˋ").Replace(escape(s))
}

// safeLink is an http(s) address that can stand in <url|label>; "" for others.
func safeLink(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return ""
	}
	return strings.NewReplacer("|", "%7C", ">", "%3E", "<", "%3C", " ", "%20").Replace(u.String())
}

// thousands writes 12345 as 12,345.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// latency writes a duration as people read it: 820 ms, 1.24 s, 2 min 3 s.
func latency(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Second:
		return strconv.Itoa(int(d.Milliseconds())) + " ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min " + strconv.Itoa(int(d.Seconds())%60) + " s"
	}
	return strconv.Itoa(int(d.Hours())) + " h " + strconv.Itoa(int(d.Minutes())%60) + " min"
}

// ago is a time that Slack shows as its age, in the reader's own words.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return "<!date^" + strconv.FormatInt(t.Unix(), 10) + "^{ago}|" + t.UTC().Format("2006-01-02 15:04 UTC") + ">"
}

// more says how much was left out.
func more(n int) string {
	if n == 1 {
		return "… 1 more character"
	}
	return "… " + thousands(n) + " more characters"
}

// indent lays JSON out in lines, two blanks a level. It works on a head that
// was cut anywhere, which encoding/json refuses: it only follows strings and
// brackets. Empty objects and lists stay on one line.
func indent(s string) string {
	var b strings.Builder
	depth, inString, escaped := 0, false, false
	newline := func() {
		b.WriteByte('\n')
		for range min(depth, 20) {
			b.WriteString("  ")
		}
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if inString {
			b.WriteByte(c)
			switch {
			case escaped:
				escaped = false
			case c == '\\':
				escaped = true
			case c == '"':
				inString = false
			}
			continue
		}
		switch c {
		case '"':
			inString = true
			b.WriteByte(c)
		case ' ', '\n', '\t', '\r':
		case '{', '[':
			rest := strings.TrimLeft(s[i+1:], " \n\t\r")
			if rest != "" && (rest[0] == '}' || rest[0] == ']') {
				b.WriteByte(c)
				b.WriteByte(rest[0])
				i = len(s) - len(rest)
				continue
			}
			depth++
			b.WriteByte(c)
			if rest != "" {
				newline()
			}
		case '}', ']':
			depth = max(depth-1, 0)
			newline()
			b.WriteByte(c)
		case ',':
			b.WriteByte(c)
			newline()
		case ':':
			b.WriteString(": ")
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Small words of Block Kit.

func plain(s string) *slack.TextBlockObject {
	if s == "" {
		s = "(empty)" // Slack refuses an empty text
	}
	return &slack.TextBlockObject{Type: slack.PlainTextType, Text: s, Emoji: boolp(true)}
}

// mrkdwn is a line of our own; verbatim keeps Slack from linking bare names.
func mrkdwn(s string) *slack.TextBlockObject {
	if s == "" {
		s = "(empty)"
	}
	return &slack.TextBlockObject{Type: slack.MarkdownType, Text: s, Verbatim: true}
}

func boolp(b bool) *bool { return &b }

func note(s string) slack.Block { return slack.NewContextBlock("", mrkdwn(s)) }

func plainNote(s string) slack.Block { return slack.NewContextBlock("", plain(s)) }

func textOf(s string, style *slack.RichTextSectionTextStyle) slack.RichTextSectionElement {
	if s == "" {
		s = " "
	}
	return slack.NewRichTextSectionTextElement(s, style)
}

var (
	bold   = &slack.RichTextSectionTextStyle{Bold: true}
	italic = &slack.RichTextSectionTextStyle{Italic: true}
	codeIn = &slack.RichTextSectionTextStyle{Code: true}
)

func section(elements ...slack.RichTextSectionElement) slack.RichTextElement {
	return slack.NewRichTextSection(elements...)
}

func quote(elements ...slack.RichTextSectionElement) slack.RichTextElement {
	return &slack.RichTextQuote{Type: slack.RTEQuote, Elements: elements}
}

func preformatted(elements ...slack.RichTextSectionElement) slack.RichTextElement {
	return &slack.RichTextPreformatted{Type: slack.RTEPreformatted, Elements: elements}
}

// richTextList is a rich_text_list with the fields that Slack's own types name:
// slack-go's always sends an offset, which they do not know.
type richTextList struct {
	Type     slack.RichTextElementType     `json:"type"`
	Style    slack.RichTextListElementType `json:"style"`
	Elements []slack.RichTextElement       `json:"elements"`
}

// RichTextElementType implements slack.RichTextElement.
func (l *richTextList) RichTextElementType() slack.RichTextElementType { return l.Type }

func list(style slack.RichTextListElementType, items []slack.RichTextElement) slack.RichTextElement {
	return &richTextList{Type: slack.RTEList, Style: style, Elements: items}
}

func option(text, value string) *slack.OptionBlockObject {
	return slack.NewOptionBlockObject(value, plain(line(text, 72)), nil)
}
