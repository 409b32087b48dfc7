package recorded

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"
	"unicode/utf8"
)

// model answered all of it, as far as the records say.
const model = "recorded-example"

// chat is one call of a chat model in the OpenAI form, which is what the
// tutorial's instrumentation records.
type chat struct {
	messages    []message
	tools       []tool
	temperature float64 // 0: not sent
	answer      message
	failedAfter time.Duration // of a call without an answer
}

// message is one of the request, or the answer.
type message struct {
	Role    string
	Content string
	Calls   []toolCall
	CallID  string // of a tool's message: the call that it answers
}

// MarshalJSON writes a message that only calls tools with null for its text, as
// the API does.
func (m message) MarshalJSON() ([]byte, error) {
	out := struct {
		Role    string     `json:"role"`
		Content *string    `json:"content"`
		Calls   []toolCall `json:"tool_calls,omitempty"`
		CallID  string     `json:"tool_call_id,omitempty"`
	}{m.Role, &m.Content, m.Calls, m.CallID}
	if m.Content == "" && len(m.Calls) > 0 {
		out.Content = nil
	}
	return unescaped(out)
}

type toolCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"` // JSON
	} `json:"function"`
}

// call is a tool call with its arguments in JSON.
func call(id, name, arguments string) toolCall {
	c := toolCall{ID: id, Type: "function"}
	c.Function.Name, c.Function.Arguments = name, arguments
	return c
}

// tool is what the model may call.
type tool struct {
	name, description string
	parameters        string // JSON schema
}

func (t tool) MarshalJSON() ([]byte, error) {
	return unescaped(map[string]any{"type": "function", "function": map[string]any{
		"name": t.name, "description": t.description, "parameters": json.RawMessage(t.parameters),
	}})
}

func system(text string) message    { return message{Role: "system", Content: text} }
func user(text string) message      { return message{Role: "user", Content: text} }
func assistant(text string) message { return message{Role: "assistant", Content: text} }

// completion is the body of an answer.
type completion struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"` // seconds since 1970
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   usage    `json:"usage"`
}

type choice struct {
	Index   int     `json:"index"`
	Message message `json:"message"`
	Finish  string  `json:"finish_reason"`
}

type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

// finish is why the model stopped.
func (c *chat) finish() string {
	if len(c.answer.Calls) > 0 {
		return "tool_calls"
	}
	return "stop"
}

// describe adds what the OpenAI instrumentation writes of a call; without an
// answer, what it writes of one that failed. input.value is the request with
// all its keys, output.value the body of the answer.
//
// Source of the keys: the OpenInference semantic conventions.
func (c *chat) describe(a map[string]any, end time.Time, id string, answered bool) {
	request := struct {
		Messages    []message `json:"messages"`
		Model       string    `json:"model"`
		Temperature float64   `json:"temperature,omitempty"`
		Tools       []tool    `json:"tools,omitempty"`
	}{c.messages, model, c.temperature, c.tools}
	a["input.value"], a["input.mime_type"] = asJSON(request), "application/json"
	invocation := struct {
		Model       string  `json:"model"`
		Temperature float64 `json:"temperature,omitempty"`
	}{model, c.temperature}
	a["llm.invocation_parameters"] = asJSON(invocation)
	a["llm.system"], a["llm.provider"] = "recorded", "recorded"
	a["llm.model_name"] = model
	for i, m := range c.messages {
		m.describe(a, fmt.Sprintf("llm.input_messages.%d.message.", i))
	}
	for i, t := range c.tools {
		a[fmt.Sprintf("llm.tools.%d.tool.json_schema", i)] = asJSON(t)
	}
	if !answered {
		return
	}
	u := c.usage()
	a["output.value"], a["output.mime_type"] = asJSON(completion{
		ID: id, Object: "chat.completion", Created: end.Unix(), Model: model,
		Choices: []choice{{Message: c.answer, Finish: c.finish()}}, Usage: u,
	}), "application/json"
	c.answer.describe(a, "llm.output_messages.0.message.")
	a["llm.token_count.prompt"], a["llm.token_count.completion"], a["llm.token_count.total"] = u.Prompt, u.Completion, u.Total
	a["llm.finish_reason"] = c.finish()
}

func (m message) describe(a map[string]any, prefix string) {
	a[prefix+"role"] = m.Role
	if m.Content != "" {
		a[prefix+"content"] = m.Content
	}
	if m.CallID != "" {
		a[prefix+"tool_call_id"] = m.CallID
	}
	for i, c := range m.Calls {
		p := fmt.Sprintf("%stool_calls.%d.tool_call.", prefix, i)
		a[p+"id"], a[p+"function.name"], a[p+"function.arguments"] = c.ID, c.Function.Name, c.Function.Arguments
	}
}

func (c *chat) usage() usage {
	var u usage
	for _, m := range c.messages {
		u.Prompt += m.tokens() + 4 // roles and separators
	}
	for _, t := range c.tools {
		u.Prompt += tokens(asJSON(t))
	}
	u.Completion = c.answer.tokens()
	u.Total = u.Prompt + u.Completion
	return u
}

func (m message) tokens() int {
	n := tokens(m.Content)
	for _, c := range m.Calls {
		n += tokens(c.Function.Name) + tokens(c.Function.Arguments) + 6
	}
	return n
}

// tokens is about what a tokenizer makes of a text: four characters of English
// are one, two of other scripts.
func tokens(s string) int {
	wide := utf8.RuneCountInString(s)
	for _, r := range s {
		if r < utf8.RuneSelf {
			wide--
		}
	}
	ascii := utf8.RuneCountInString(s) - wide
	return (ascii+3)/4 + (wide+1)/2
}

// length is how long such a call takes: a while until the first token, then
// some eighty a second, and never twice the same.
func (c *chat) length() time.Duration {
	if c.failedAfter > 0 {
		return c.failedAfter
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.messages[len(c.messages)-1].Content)) // never fails
	odd := time.Duration(h.Sum32()%400_000) * time.Microsecond
	u := c.usage()
	return 380*time.Millisecond + odd + time.Duration(u.Prompt)*150*time.Microsecond + time.Duration(u.Completion)*12*time.Millisecond
}

// asJSON is v on one line.
func asJSON(v any) string {
	b, err := unescaped(v)
	if err != nil {
		panic("recorded: " + err.Error()) // a literal of this package is wrong
	}
	return string(b)
}

// unescaped is the JSON of v with <, > and & as they are: the API writes them
// so, and nothing here goes into a web page.
func unescaped(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}
