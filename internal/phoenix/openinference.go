package phoenix

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// wireSpan is an item of GET /v1/projects/{id}/spans.
type wireSpan struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Context struct {
		TraceID string `json:"trace_id"`
		SpanID  string `json:"span_id"`
	} `json:"context"`
	Kind          string                     `json:"span_kind"`
	ParentID      string                     `json:"parent_id"`
	Start         string                     `json:"start_time"`
	End           string                     `json:"end_time"`
	Status        string                     `json:"status_code"`
	StatusMessage string                     `json:"status_message"`
	Attributes    map[string]json.RawMessage `json:"attributes"`
	Events        []struct {
		Name       string          `json:"name"`
		Attributes json.RawMessage `json:"attributes"`
	} `json:"events"`
}

// Limits of one span, beside the characters of each text.
const (
	nameSize    = 500  // characters of a name, a model, an id
	mostTurns   = 1000 // messages, documents, tool calls of one list
	textsOfSpan = 16   // times the limit of one text: all texts of a span together
)

// span translates: OpenInference attributes, which Phoenix sends with flattened
// keys ("llm.input_messages.0.message.role"), become the fields that a reviewer
// needs. limit is the characters kept of each text.
//
// Source of the keys: the OpenInference semantic conventions.
func (w *wireSpan) span(limit int) review.Span {
	s := review.Span{
		Row: rowOf(w.ID), ID: word(w.Context.SpanID, nameSize), TraceID: word(w.Context.TraceID, nameSize),
		ParentID: word(w.ParentID, nameSize), Name: word(w.Name, nameSize), Kind: kindOf(w.Kind),
		Status: strings.ToUpper(word(w.Status, nameSize)), StatusMessage: word(w.StatusMessage, limit),
		Start: timeOf(w.Start), End: timeOf(w.End),
	}
	a := attributes{w.Attributes, limit}
	s.SessionID = word(a.str("session.id"), nameSize)
	for _, key := range []string{"llm.model_name", "embedding.model_name", "reranker.model_name"} {
		if s.Model = word(a.str(key), nameSize); s.Model != "" {
			break
		}
	}
	s.Tokens = a.integer("llm.token_count.total")
	if s.Tokens == 0 {
		s.Tokens = a.integer("llm.token_count.prompt") + a.integer("llm.token_count.completion")
	}
	s.Input = a.value("input.value", "input.mime_type")
	s.Output = a.value("output.value", "output.mime_type")
	a.lists(&s)
	if s.Kind == "TOOL" || a.str("tool.name") != "" {
		s.ToolCalls = []review.ToolCall{a.ownCall(s)}
	}
	for _, e := range w.Events {
		if e.Name == "exception" {
			s.Exception = exception(e.Attributes, limit)
			break
		}
	}
	bound(&s, textsOfSpan*limit)
	return s
}

func kindOf(kind string) string {
	if k := strings.ToUpper(strings.TrimSpace(word(kind, 64))); k != "" {
		return k
	}
	return "UNKNOWN"
}

// timeOf is zero for a time that is missing or that is none.
func timeOf(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// attributes of one span; values are read when they are asked for.
type attributes struct {
	raw   map[string]json.RawMessage
	limit int
}

// str is the value under key with the mark of the cutter, if any: a string as
// it is, anything else as JSON; "" for null and where there is none.
func (a attributes) str(key string) string { return rawString(a.raw[key]) }

func rawString(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	if raw[0] == '"' {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return ""
		}
		return s
	}
	// A list of texts that were cut: the mark in words.
	return string(cutMark.ReplaceAll(raw, []byte(`… $1 more characters"`)))
}

var cutMark = regexp.MustCompile(`\\u0000(\d+)"`)

func (a attributes) text(raw json.RawMessage) review.Text {
	t := cleanText(rawString(raw), a.limit)
	t.JSON = looksJSON(t)
	return t
}

// value is input.value or output.value.
func (a attributes) value(key, mime string) review.Text {
	t := a.text(a.raw[key])
	kind, _, _ := strings.Cut(a.str(mime), ";")
	if strings.EqualFold(strings.TrimSpace(kind), "application/json") && !t.Empty() {
		t.JSON = true
	}
	return t
}

func (a attributes) number(key string) *float64 { return rawNumber(a.raw[key]) }

// rawNumber reads a number, also one that stands in a string.
func rawNumber(raw json.RawMessage) *float64 {
	f, err := strconv.ParseFloat(strings.TrimSpace(rawString(raw)), 64)
	if err != nil || f != f || f > 1e300 || f < -1e300 {
		return nil
	}
	return &f
}

func (a attributes) integer(key string) int {
	f := a.number(key)
	if f == nil || *f < 0 || *f > 1e12 {
		return 0
	}
	return int(*f)
}

// part is one element of a flattened list of messages or documents.
type part struct {
	fields map[string]json.RawMessage
	lists  map[string]map[int]map[string]json.RawMessage // "contents" → 0 → "message_content.text"
}

// lists reads everything that Phoenix flattened from a list.
func (a attributes) lists(s *review.Span) {
	groups := map[string]map[int]*part{}
	for key, raw := range a.raw {
		for _, prefix := range []string{
			"llm.input_messages.", "llm.output_messages.", "llm.prompts.", "llm.choices.",
			"retrieval.documents.", "reranker.output_documents.", "reranker.input_documents.", "embedding.embeddings.",
		} {
			rest, ok := strings.CutPrefix(key, prefix)
			if !ok {
				continue
			}
			n, field, ok := index(rest)
			if !ok {
				break
			}
			if groups[prefix] == nil {
				groups[prefix] = map[int]*part{}
			}
			p := groups[prefix][n]
			if p == nil {
				p = &part{fields: map[string]json.RawMessage{}}
				groups[prefix][n] = p
			}
			p.add(field, raw)
			break
		}
	}
	s.Asked = a.messages(groups["llm.input_messages."], true)
	s.Answered = a.messages(groups["llm.output_messages."], true)
	if len(s.Asked) == 0 {
		s.Asked = a.completions(groups["llm.prompts."], "prompt.text", "user")
	}
	if len(s.Answered) == 0 {
		s.Answered = a.completions(groups["llm.choices."], "completion.text", "assistant")
	}
	for _, prefix := range []string{"retrieval.documents.", "reranker.output_documents.", "reranker.input_documents."} {
		if s.Documents = a.documents(groups[prefix]); len(s.Documents) > 0 {
			break
		}
	}
	if s.Input.Empty() {
		var texts []review.Text
		for _, n := range order(groups["embedding.embeddings."], false) {
			texts = append(texts, a.text(groups["embedding.embeddings."][n].fields["embedding.text"]))
		}
		s.Input = a.join(texts)
	}
}

// index splits "10.message.role" at the number. Numbers are compared as
// numbers: 10 stands after 9.
func index(s string) (n int, rest string, ok bool) {
	head, rest, ok := strings.Cut(s, ".")
	n, err := strconv.Atoi(head)
	return n, rest, ok && err == nil && n >= 0
}

// add files a field of a message, "message.role", or of a list in it,
// "message.tool_calls.0.tool_call.id".
func (p *part) add(field string, raw json.RawMessage) {
	for _, list := range []string{"contents", "tool_calls"} {
		rest, ok := strings.CutPrefix(field, "message."+list+".")
		if !ok {
			continue
		}
		if n, inner, ok := index(rest); ok {
			if p.lists == nil {
				p.lists = map[string]map[int]map[string]json.RawMessage{}
			}
			if p.lists[list] == nil {
				p.lists[list] = map[int]map[string]json.RawMessage{}
			}
			if p.lists[list][n] == nil {
				p.lists[list][n] = map[string]json.RawMessage{}
			}
			p.lists[list][n][inner] = raw
		}
		return
	}
	p.fields[field] = raw
}

// order lists the numbers of a list in ascending order; of a very long one the
// first, or the last, mostTurns.
func order[T any](list map[int]T, last bool) []int {
	keys := make([]int, 0, len(list))
	for n := range list {
		keys = append(keys, n)
	}
	slices.Sort(keys)
	if len(keys) > mostTurns {
		if last {
			return keys[len(keys)-mostTurns:]
		}
		return keys[:mostTurns]
	}
	return keys
}

func (a attributes) messages(list map[int]*part, last bool) []review.Message {
	var out []review.Message
	for _, n := range order(list, last) {
		p := list[n]
		m := review.Message{Role: strings.ToLower(word(rawString(p.fields["message.role"]), 64))}
		texts := []review.Text{a.text(p.fields["message.content"])}
		contents := p.lists["contents"]
		for _, k := range order(contents, false) {
			texts = append(texts, a.content(contents[k]))
		}
		m.Content = a.join(texts)
		calls := p.lists["tool_calls"]
		for _, k := range order(calls, false) {
			m.ToolCalls = append(m.ToolCalls, review.ToolCall{
				Name:      word(rawString(calls[k]["tool_call.function.name"]), nameSize),
				Arguments: a.text(calls[k]["tool_call.function.arguments"]),
			})
		}
		// How the first instrumentations wrote the one call there could be.
		if name := rawString(p.fields["message.function_call_name"]); name != "" && len(m.ToolCalls) == 0 {
			m.ToolCalls = []review.ToolCall{{
				Name: word(name, nameSize), Arguments: a.text(p.fields["message.function_call_arguments_json"]),
			}}
		}
		if m.Role == "" && m.Content.Empty() && len(m.ToolCalls) == 0 {
			continue
		}
		out = append(out, m)
	}
	return out
}

// content is one part of a message that has several.
func (a attributes) content(fields map[string]json.RawMessage) review.Text {
	if t := a.text(fields["message_content.text"]); !t.Empty() {
		return t
	}
	kind := strings.ToLower(word(rawString(fields["message_content.type"]), 32))
	for key := range fields {
		if strings.HasPrefix(key, "message_content.image") {
			kind = "image"
		}
	}
	switch kind {
	case "", "text":
		return review.Text{}
	default:
		return review.Text{Head: "[" + strings.TrimSuffix(kind, "_url") + "]"}
	}
}

// join puts parts one below the other. What comes after a part that was cut is
// only counted.
func (a attributes) join(texts []review.Text) review.Text {
	texts = slices.DeleteFunc(texts, review.Text.Empty)
	if len(texts) == 0 {
		return review.Text{}
	}
	if len(texts) == 1 {
		return texts[0]
	}
	var b strings.Builder
	more := 0
	for i, t := range texts {
		if more > 0 {
			more += 1 + t.Len()
			continue
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(t.Head)
		more = t.More
	}
	head, cut := cutRunes(b.String(), a.limit)
	return review.Text{Head: head, More: cut + more}
}

func (a attributes) completions(list map[int]*part, field, role string) []review.Message {
	var out []review.Message
	for _, n := range order(list, true) {
		if t := a.text(list[n].fields[field]); !t.Empty() {
			out = append(out, review.Message{Role: role, Content: t})
		}
	}
	return out
}

func (a attributes) documents(list map[int]*part) []review.Document {
	var out []review.Document
	for _, n := range order(list, false) {
		f := list[n].fields
		out = append(out, review.Document{
			ID: word(rawString(f["document.id"]), nameSize), Score: rawNumber(f["document.score"]),
			Content: a.text(f["document.content"]),
		})
	}
	return out
}

// ownCall is the call that a tool span made.
func (a attributes) ownCall(s review.Span) review.ToolCall {
	call := review.ToolCall{Name: word(a.str("tool.name"), nameSize), Arguments: s.Input}
	if call.Name == "" {
		call.Name = s.Name
	}
	if call.Arguments.Empty() {
		call.Arguments = a.text(a.raw["tool.parameters"])
	}
	if call.Arguments.Empty() { // Phoenix flattens the parameters that came over OTLP
		flat := map[string]any{}
		for key, raw := range a.raw {
			if rest, ok := strings.CutPrefix(key, "tool.parameters."); ok {
				if raw[0] == '"' {
					flat[rest] = word(rawString(raw), a.limit)
				} else {
					flat[rest] = raw
				}
			}
		}
		if len(flat) > 0 {
			if b, err := json.Marshal(flat); err == nil {
				call.Arguments = cleanText(string(b), a.limit)
				call.Arguments.JSON = true
			}
		}
	}
	return call
}

func exception(raw json.RawMessage, limit int) review.Text {
	var a map[string]json.RawMessage
	if json.Unmarshal(raw, &a) != nil {
		return review.Text{}
	}
	kind := word(rawString(a["exception.type"]), nameSize)
	t := cleanText(rawString(a["exception.message"]), limit)
	switch {
	case kind == "":
		return t
	case t.Empty():
		return review.Text{Head: kind}
	}
	head, more := cutRunes(kind+": "+t.Head, limit)
	return review.Text{Head: head, More: more + t.More}
}

// bound keeps all texts of a span together below n characters: what a card
// shows first keeps its text longest.
func bound(s *review.Span, n int) {
	take := func(t *review.Text) {
		head, more := cutRunes(t.Head, max(0, n))
		n -= len(t.Head)
		t.Head, t.More = head, t.More+more
	}
	take(&s.Exception)
	take(&s.Input)
	take(&s.Output)
	for _, list := range [][]review.Message{s.Answered, s.Asked} {
		for i := len(list) - 1; i >= 0; i-- {
			take(&list[i].Content)
			for k := range list[i].ToolCalls {
				take(&list[i].ToolCalls[k].Arguments)
			}
		}
	}
	for i := range s.Documents {
		take(&s.Documents[i].Content)
	}
	for i := range s.ToolCalls {
		take(&s.ToolCalls[i].Arguments)
	}
}

func validJSON(s string) bool { return json.Valid([]byte(s)) }
