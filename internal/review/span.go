package review

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Text is a text of a span, which may have been cut while it was read: a span
// can hold ten megabytes, a card two thousand characters.
type Text struct {
	Head string `json:"h,omitempty"` // what was kept: valid UTF-8, without control characters other than \n and \t
	More int    `json:"m,omitempty"` // characters (code points) behind Head that were not kept
	JSON bool   `json:"j,omitempty"` // the span says it is JSON, or it parses as an object or a list
}

// Empty reports whether there is nothing to show.
func (t Text) Empty() bool { return t.More == 0 && strings.TrimSpace(t.Head) == "" }

// Len is the length of the whole text in characters.
func (t Text) Len() int { return utf8.RuneCountInString(t.Head) + t.More }

// Cut keeps at most n characters of Head and counts the rest. It cuts at the
// last blank when one is near, so that no word is torn.
func (t Text) Cut(n int) Text {
	head, dropped := CutWords(t.Head, n)
	return Text{Head: head, More: t.More + dropped, JSON: t.JSON}
}

// CutWords cuts s to at most n characters, at a blank where one stands in the
// last quarter, and returns how many characters were dropped.
func CutWords(s string, n int) (head string, dropped int) {
	if n < 0 {
		n = 0
	}
	if len(s) <= n {
		return s, 0
	}
	count, at, blank := 0, -1, -1
	for i, r := range s {
		if count == n {
			at = i
			break
		}
		if (r == ' ' || r == '\n' || r == '\t') && count > n*3/4 {
			blank = i
		}
		count++
	}
	if at < 0 {
		return s, 0
	}
	// A word that ends exactly at the limit stays whole.
	if r, _ := utf8.DecodeRuneInString(s[at:]); blank >= 0 && r != ' ' && r != '\n' && r != '\t' {
		at = blank
	}
	head = strings.TrimRight(s[:at], " \n\t")
	return head, utf8.RuneCountInString(s) - utf8.RuneCountInString(head)
}

// Message is one message of a chat, as OpenInference records it.
type Message struct {
	Role      string     `json:"r,omitempty"` // system, user, assistant, tool …
	Content   Text       `json:"c,omitzero"`
	ToolCalls []ToolCall `json:"t,omitempty"`
}

// ToolCall is a call that a model asked for or a tool span made.
type ToolCall struct {
	Name      string `json:"n,omitempty"`
	Arguments Text   `json:"a,omitzero"` // JSON as the model wrote it
}

// Document is a retrieved document.
type Document struct {
	ID      string   `json:"i,omitempty"`
	Score   *float64 `json:"s,omitempty"`
	Content Text     `json:"c,omitzero"`
}

// Span is a Phoenix span, as far as a reviewer needs it.
type Span struct {
	Row      int64  `json:"-"` // place in Phoenix's feed: orders spans, is no identity (SQLite reuses it)
	ID       string `json:"id"`
	TraceID  string `json:"tr"`
	ParentID string `json:"pa,omitempty"` // "" for a root

	Name          string    `json:"na,omitempty"`
	Kind          string    `json:"ki,omitempty"` // upper case: LLM, CHAIN, TOOL, RETRIEVER …, UNKNOWN
	Status        string    `json:"st,omitempty"` // OK, ERROR, UNSET
	StatusMessage string    `json:"sm,omitempty"`
	Start         time.Time `json:"t0"`
	End           time.Time `json:"t1"`
	SessionID     string    `json:"se,omitempty"`

	Model  string `json:"mo,omitempty"`
	Tokens int    `json:"to,omitempty"` // total; 0 when not recorded

	Input  Text `json:"in,omitzero"`  // input.value
	Output Text `json:"out,omitzero"` // output.value

	Asked     []Message  `json:"q,omitempty"` // llm.input_messages, in order
	Answered  []Message  `json:"a,omitempty"` // llm.output_messages, in order
	Documents []Document `json:"d,omitempty"`
	ToolCalls []ToolCall `json:"tc,omitempty"` // a tool span's own call
	Exception Text       `json:"ex,omitzero"`  // "type: message" of the first exception event

	Exhibits []Exhibit `json:"b,omitempty"` // what a study shows beside it
}

// Latency is how long the span took; 0 when its end is not recorded.
func (s Span) Latency() time.Duration {
	if s.End.Before(s.Start) {
		return 0
	}
	return s.End.Sub(s.Start)
}

// Root reports whether the span has no parent.
func (s Span) Root() bool { return s.ParentID == "" }

// Failed reports whether the span ended in an error.
func (s Span) Failed() bool { return s.Status == "ERROR" }

// Sizes of an Excerpt, in characters: what a card can show at most.
const (
	excerptText      = 1800
	excerptMessage   = 1800
	excerptDocument  = 160
	excerptDocuments = 5
	excerptCall      = 200
	excerptCalls     = 5
	excerptName      = 200
)

// Excerpt is the span cut down to what its card shows: the last user message
// and the answer of a chat, else input and output; a few documents and tool
// calls. It is small enough to keep while the card is open.
func (s Span) Excerpt() Span {
	s.Name, _ = CutWords(s.Name, excerptName)
	s.StatusMessage, _ = CutWords(s.StatusMessage, excerptName)
	s.Model, _ = CutWords(s.Model, excerptName)
	s.Exception = s.Exception.Cut(excerptName)
	s.Input, s.Output = s.Input.Cut(excerptText), s.Output.Cut(excerptText)
	s.Exhibits = slices.Clone(s.Exhibits)
	for i := range s.Exhibits {
		s.Exhibits[i].Text = s.Exhibits[i].Text.Cut(excerptText)
	}
	asked, answered := s.Question(), s.Answer()
	s.Asked, s.Answered = nil, nil
	if asked != nil {
		s.Asked = []Message{asked.excerpt()}
		s.Input = Text{}
	}
	if answered != nil {
		s.Answered = []Message{answered.excerpt()}
		s.Output = Text{}
	}
	docs := s.Documents
	if n := len(docs); n > 0 && n <= excerptDocuments+1 && docs[n-1].counts() {
		return s.excerptCallsOnly() // an excerpt already
	}
	s.Documents = nil
	for i, d := range docs {
		if i == excerptDocuments {
			// The rest is counted by an empty document: a card says "and 12 more".
			s.Documents = append(s.Documents, Document{Content: Text{More: len(docs) - i}})
			break
		}
		d.ID, _ = CutWords(d.ID, excerptName)
		d.Content = d.Content.Cut(excerptDocument)
		s.Documents = append(s.Documents, d)
	}
	return s.excerptCallsOnly()
}

func (s Span) excerptCallsOnly() Span {
	s.ToolCalls = excerptToolCalls(s.ToolCalls)
	return s
}

// counts reports whether the document stands for those that an excerpt left out.
func (d Document) counts() bool {
	return d.ID == "" && d.Score == nil && d.Content.Head == "" && d.Content.More > 0
}

func (m Message) excerpt() Message {
	m.Content = m.Content.Cut(excerptMessage)
	m.ToolCalls = excerptToolCalls(m.ToolCalls)
	return m
}

func excerptToolCalls(calls []ToolCall) []ToolCall {
	if n := len(calls); n > 0 && n <= excerptCalls+1 && calls[n-1].Name == "" && calls[n-1].Arguments.Head == "" && calls[n-1].Arguments.More > 0 {
		return calls // an excerpt already
	}
	var out []ToolCall
	for i, c := range calls {
		if i == excerptCalls {
			// As with documents: a call without a name counts the rest.
			out = append(out, ToolCall{Arguments: Text{More: len(calls) - i}})
			break
		}
		c.Name, _ = CutWords(c.Name, excerptName)
		c.Arguments = c.Arguments.Cut(excerptCall)
		out = append(out, c)
	}
	return out
}

// Question is the last user message of a chat span; nil where there is none.
func (s Span) Question() *Message {
	for i := len(s.Asked) - 1; i >= 0; i-- {
		if s.Asked[i].Role == "user" && !s.Asked[i].Content.Empty() {
			return &s.Asked[i]
		}
	}
	return nil
}

// Answer is the last message the model gave; nil where there is none.
func (s Span) Answer() *Message {
	for i := len(s.Answered) - 1; i >= 0; i-- {
		if m := s.Answered[i]; !m.Content.Empty() || len(m.ToolCalls) > 0 {
			return &s.Answered[i]
		}
	}
	return nil
}

// Summary is one line "question → answer" of at most n characters, for a
// judged card, a notification and a screen reader.
func (s Span) Summary(n int) string {
	in, out := s.Input, s.Output
	if q := s.Question(); q != nil {
		in = q.Content
	}
	if a := s.Answer(); a != nil {
		out = a.Content
		if out.Empty() && len(a.ToolCalls) > 0 {
			out = Text{Head: a.ToolCalls[0].Name + "(…)"}
		}
	}
	if out.Empty() && s.Failed() {
		out = Text{Head: s.StatusMessage}
	}
	left := oneLine(in, n/2-2)
	right := oneLine(out, n-utf8.RuneCountInString(left)-5)
	switch {
	case left == "" && right == "":
		return oneLine(Text{Head: s.Name}, n)
	case left == "":
		return right
	case right == "":
		return left
	}
	return left + "  →  " + right
}

// oneLine is t without line breaks, cut to n characters with an ellipsis.
func oneLine(t Text, n int) string {
	// Enough for any n here: a text of megabytes is not worth folding whole.
	head := t.Head
	if len(head) > 8*n+64 {
		head = head[:8*n+64]
	}
	s := strings.Join(strings.Fields(strings.ToValidUTF8(head, "")), " ")
	if utf8.RuneCountInString(s) <= n && t.More == 0 && len(head) == len(t.Head) {
		return s
	}
	s, _ = CutWords(s, n-1)
	if s == "" {
		return ""
	}
	return s + "…"
}
