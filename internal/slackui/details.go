package slackui

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/spanbot/spanbot/internal/review"
)

const (
	// detailsMost is how much of a span's text can be paged through, in
	// characters; the rest is in Phoenix.
	detailsMost = 200_000
	// detailsPage is the size of a page: a view may be 250 KB of JSON, in which a
	// character takes up to six bytes, twelve as a pair.
	detailsPage = 16_000
	// chunk is the longest text in one element.
	chunk = 2_800
)

// DetailsView is all that the details of a span show.
type DetailsView struct {
	Ref     review.Ref
	Rubric  review.Rubric
	Project string
	Span    review.Span // whole
	Trace   review.Trace
	Page    int    // from 0
	Note    string // "" or why this is not the whole
	Phoenix string
	Now     time.Time
}

// piece is a stretch of the details: a title or text of one kind.
type piece struct {
	title string // opens a part
	text  string
	code  bool
}

// DrawDetails draws one page of a span's whole text: system prompt and earlier
// turns, input and output, documents, calls, the error, and the trace.
func DrawDetails(v DetailsView) slack.ModalViewRequest {
	if v.Rubric.Study != nil && v.Rubric.Study.Blind {
		v.Phoenix = "" // what stands there would tell which is which
	}
	pages, left := v.pages()
	page := min(max(v.Page, 0), len(pages)-1)
	var blocks []slack.Block
	if v.Note != "" {
		blocks = append(blocks, plainNote("⚠️ "+line(v.Note, 300)))
	}
	blocks = append(blocks, note(facts(v.Span, v.Project, v.Phoenix)))
	for _, p := range pages[page] {
		var es []slack.RichTextElement
		if p.title != "" {
			es = append(es, section(textOf(p.title, bold)))
		}
		if p.text != "" {
			if p.code {
				es = append(es, preformatted(textOf(p.text, nil)))
			} else {
				es = append(es, quote(textOf(p.text, nil)))
			}
		}
		blocks = append(blocks, slack.NewRichTextBlock("", es...))
	}
	if page == len(pages)-1 && left > 0 {
		t := more(left)
		if l := spanLink(v.Phoenix, v.Ref.SpanID); l != "" {
			t += "  ·  <" + l + "|Read the rest in Phoenix>"
		}
		blocks = append(blocks, note(t))
	}
	if len(pages) > 1 {
		blocks = append(blocks, note("Page "+strconv.Itoa(page+1)+" of "+strconv.Itoa(len(pages))))
		var buttons []slack.BlockElement
		if page > 0 {
			buttons = append(buttons, v.turn("◀ Previous", page-1))
		}
		if page < len(pages)-1 {
			buttons = append(buttons, v.turn("Next ▶", page+1))
		}
		// Two blocks, because an action_id may stand once in a block.
		for i, b := range buttons {
			blocks = append(blocks, slack.NewActionBlock("page"+strconv.Itoa(i), b))
		}
	}
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: callbackRead, Title: plain("Details"), Close: plain("Close"),
		Blocks:          slack.Blocks{BlockSet: blocks},
		PrivateMetadata: place{Value: encodeValue(v.Ref, v.Rubric.Hash()), Page: page}.encode(),
	}
}

func (v DetailsView) turn(text string, page int) slack.BlockElement {
	return slack.NewButtonBlockElement(string(Page), pageValue(v.Ref, v.Rubric.Hash(), page), plain(text))
}

// pages splits everything into pages; left is how many characters do not fit
// into what can be paged through, or were not read.
func (v DetailsView) pages() (pages [][]piece, left int) {
	var page []piece
	size, total := 0, 0
	flush := func() {
		if len(page) > 0 {
			pages, page, size = append(pages, page), nil, 0
		}
	}
	for _, p := range v.pieces() {
		n := weight(p)
		if total += utf8.RuneCountInString(p.text); total > detailsMost {
			left += utf8.RuneCountInString(p.text)
			continue
		}
		if size+n > detailsPage || len(page) >= 80 {
			flush()
		}
		page, size = append(page, p), size+n
	}
	flush()
	if len(pages) == 0 {
		pages = [][]piece{{{title: "Nothing was recorded"}}}
	}
	return pages, left + v.unread()
}

// weight is how much of a view a piece takes, in characters of plain text: what
// JSON writes as an escape weighs more.
func weight(p piece) int {
	n := utf8.RuneCountInString(p.title) + 60
	for _, r := range p.text {
		switch {
		case r == '<' || r == '>' || r == '&' || r == '"' || r == '\\' || r == '\n' || r == '\t':
			n += 2
		case r > 0xffff:
			n += 2
		default:
			n++
		}
	}
	return n
}

// unread is what was cut while the span was read.
func (v DetailsView) unread() int {
	s := once(v.Span)
	n := s.Exception.More
	if len(s.Asked) == 0 { // else the messages are the input
		n += s.Input.More
	}
	if len(s.Answered) == 0 {
		n += s.Output.More
	}
	calls := slices.Clone(s.ToolCalls)
	for _, list := range [][]review.Message{s.Asked, s.Answered} {
		for _, m := range list {
			n += m.Content.More
			calls = append(calls, m.ToolCalls...)
		}
	}
	for _, c := range calls {
		n += c.Arguments.More
	}
	for _, d := range s.Documents {
		n += d.Content.More
	}
	return n
}

// once leaves out what a span says twice: a tool's input is the arguments of
// its call, and an exception's text mostly is the status message, too.
func once(s review.Span) review.Span {
	for i, c := range s.ToolCalls {
		// Reading may have cut one of them shorter.
		if c.Arguments.Len() != s.Input.Len() || !strings.HasPrefix(s.Input.Head, c.Arguments.Head) {
			continue
		}
		s.ToolCalls = slices.Clone(s.ToolCalls)
		s.ToolCalls[i].Arguments, s.Input = s.Input, review.Text{}
		break
	}
	message, exception := strings.TrimSpace(s.StatusMessage), strings.TrimSpace(s.Exception.Head)
	switch {
	case strings.Contains(exception, message):
		s.StatusMessage = ""
	case s.Exception.More == 0 && strings.Contains(message, exception):
		s.Exception = review.Text{}
	}
	return s
}

// pieces is everything there is to read, in the order in which it happened.
func (v DetailsView) pieces() []piece {
	var out []piece
	add := func(title string, t review.Text) {
		if t.Empty() {
			return
		}
		text := clean(t.Head)
		if t.JSON {
			text = indent(text)
		}
		for i, part := range split(text, chunk) {
			if i > 0 {
				title = ""
			}
			out = append(out, piece{title, part, t.JSON})
		}
	}
	s := once(v.Span)
	if t := v.Rubric.Instructions; strings.TrimSpace(t) != "" {
		add("Instructions", review.Text{Head: t})
	}
	messages := func(list []review.Message, fallback string) {
		for _, m := range list {
			role := m.Role
			if role == "" {
				role = fallback
			}
			title := capital(line(role, 30))
			if m.Content.Empty() && len(m.ToolCalls) == 0 {
				continue
			}
			add(title, m.Content)
			for _, c := range m.ToolCalls {
				add(title+" calls "+line(c.Name, 60), jsonText(c.Arguments))
			}
		}
	}
	messages(s.Asked, "user")
	if len(s.Asked) == 0 {
		add("Input", s.Input)
	}
	for i, d := range s.Documents {
		title := "Document " + strconv.Itoa(i+1)
		if d.Score != nil {
			title += "  ·  " + strconv.FormatFloat(*d.Score, 'f', 3, 64)
		}
		if d.ID != "" {
			title += "  ·  " + line(d.ID, 60)
		}
		add(title, d.Content)
	}
	for _, c := range s.ToolCalls {
		add("Tool call "+line(c.Name, 60), jsonText(c.Arguments))
	}
	messages(s.Answered, "assistant")
	if len(s.Answered) == 0 {
		add("Output", s.Output)
	}
	for _, e := range s.Exhibits {
		add(line(e.Title, 140), e.Text)
	}
	if s.Failed() {
		title := "Error"
		if s.StatusMessage != "" {
			add(title, review.Text{Head: s.StatusMessage})
			title = "Exception"
		}
		add(title, s.Exception)
	}
	if len(v.Trace.Spans) > 1 {
		out = append(out, v.outline())
	}
	return out
}

// capital begins a word with a capital letter.
func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

func jsonText(t review.Text) review.Text {
	if t.Empty() {
		return review.Text{Head: "()"}
	}
	h := strings.TrimSpace(t.Head)
	t.JSON = strings.HasPrefix(h, "{") || strings.HasPrefix(h, "[")
	return t
}

// outline is the trace around the span, without verdicts: those are in the
// thread.
func (v DetailsView) outline() piece {
	o := OutlineView{Trace: v.Trace}
	tree := v.Trace.Tree()
	var lines []string
	for _, n := range tree[:min(len(tree), outlineLines)] {
		l := o.line(n)
		if n.Span.ID == v.Ref.SpanID {
			l += "   ◀ this span"
		}
		lines = append(lines, l)
	}
	if left := len(tree) - len(lines); left > 0 {
		lines = append(lines, "and "+thousands(left)+" more")
	}
	t, _ := review.CutWords(strings.Join(lines, "\n"), 2*chunk)
	return piece{title: "Trace: " + count(len(tree), "span", v.Trace.Partial), text: t, code: true}
}

// split cuts a text into stretches of at most n characters, at line ends or
// blanks where there are some.
func split(s string, n int) []string {
	var out []string
	for utf8.RuneCountInString(s) > n {
		at := 0
		for i := range s {
			if at == n {
				at = i
				break
			}
			at++
		}
		// at is a byte offset now; a line end in the last half is the best place.
		cut := at
		if i := strings.LastIndexByte(s[:at], '\n'); i > at/2 {
			cut = i + 1
		} else if i := strings.LastIndexByte(s[:at], ' '); i > at/2 {
			cut = i + 1
		}
		out = append(out, s[:cut])
		s = s[cut:]
	}
	if s != "" {
		out = append(out, s)
	}
	return out
}
