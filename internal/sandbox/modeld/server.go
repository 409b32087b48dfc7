package modeld

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Model is the name that every answer bears, whatever model was asked for.
const Model = "standin"

// Options say how it behaves. The zero value answers everything at once, always
// soundly, and judges without an error.
type Options struct {
	Seed      uint64
	Nonsense  float64       // share of questions answered with NONSENSE where the prompt allows it
	ErrorRate float64       // share of verdicts that are wrong
	Latency   time.Duration // before each answer

	// For tests.
	NoFormat bool                            // response_format is refused with 400
	NoTools  bool                            // tools are refused with 400
	Prose    bool                            // verdicts come as a chatty sentence that names both labels
	Fail     func(n int64) (status int)      // by request number, from 1; 0: no failure
	Change   func(answer string) string      // of the content, last
	Seen     func(body map[string]any)       // each request
	Retry    string                          // Retry-After of failures
	Hang     func(n int64) (forever bool)    // never answers
	Usage    func() (prompt, completion int) // nil: counted by words
}

// Server is the stand-in model, an http.Handler for /v1/chat/completions and
// /v1/models.
type Server struct {
	o Options
	n atomic.Int64
}

// New makes one.
func New(o Options) *Server { return &Server{o: o} }

// Requests is how many chat completions were asked for.
func (s *Server) Requests() int64 { return s.n.Load() }

// chance is a number in [0, 1) that depends on the seed and the words alone.
func (s *Server) chance(words ...string) float64 {
	h := sha256.New()
	_ = binary.Write(h, binary.BigEndian, s.o.Seed) // a hash takes everything
	for _, w := range words {
		_, _ = io.WriteString(h, w+"\x00")
	}
	return float64(binary.BigEndian.Uint64(h.Sum(nil))>>11) / (1 << 53)
}

type chatRequest struct {
	Model    string `json:"model"`
	Messages []struct {
		Role    string `json:"role"`
		Content any    `json:"content"`
	} `json:"messages"`
	Stream         bool            `json:"stream"`
	Seed           json.Number     `json:"seed"`
	N              int             `json:"n"`
	ResponseFormat *responseFormat `json:"response_format"`
	Tools          []struct {
		Function struct {
			Name       string          `json:"name"`
			Parameters json.RawMessage `json:"parameters"`
		} `json:"function"`
	} `json:"tools"`
}

type responseFormat struct {
	Type   string `json:"type"`
	Schema struct {
		Schema json.RawMessage `json:"schema"`
	} `json:"json_schema"`
}

// ServeHTTP answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/models"):
		reply(w, http.StatusOK, map[string]any{"object": "list", "data": []any{map[string]any{"id": Model, "object": "model", "owned_by": "spanbot", "created": 0}}})
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/chat/completions"):
		s.chat(w, r)
	default:
		refuse(w, http.StatusNotFound, "this stand-in model answers POST /v1/chat/completions and GET /v1/models only")
	}
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	n := s.n.Add(1)
	raw, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	var q chatRequest
	if err == nil {
		err = json.Unmarshal(raw, &q)
	}
	if s.o.Seen != nil {
		var body map[string]any
		_ = json.Unmarshal(raw, &body) // checked above
		s.o.Seen(body)
	}
	if s.o.Hang != nil && s.o.Hang(n) {
		<-r.Context().Done()
		return
	}
	if s.o.Latency > 0 {
		t := time.NewTimer(s.o.Latency)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
	}
	if s.o.Fail != nil {
		if status := s.o.Fail(n); status != 0 {
			if s.o.Retry != "" {
				w.Header().Set("Retry-After", s.o.Retry)
			}
			refuse(w, status, http.StatusText(status))
			return
		}
	}
	switch {
	case err != nil || len(q.Messages) == 0:
		refuse(w, http.StatusBadRequest, "the body must be JSON with messages")
	case q.N > 1:
		refuse(w, http.StatusBadRequest, "n > 1 is not supported")
	case s.o.NoFormat && q.ResponseFormat != nil && q.ResponseFormat.Type != "text":
		refuse(w, http.StatusBadRequest, "response_format is not supported")
	case s.o.NoTools && len(q.Tools) > 0:
		refuse(w, http.StatusBadRequest, "tools are not supported")
	case q.Stream:
		stream(w, s.complete(q))
	default:
		reply(w, http.StatusOK, s.complete(q))
	}
}

// stream sends an answer as server-sent events: what the model says in one piece,
// then why it ended, then what it took.
func stream(w http.ResponseWriter, whole map[string]any) {
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(choices []any, usage any) {
		b, _ := json.Marshal(map[string]any{"id": whole["id"], "object": "chat.completion.chunk", "created": whole["created"], "model": whole["model"],
			"system_fingerprint": whole["system_fingerprint"], "choices": choices, "usage": usage}) // maps and strings
		fmt.Fprintf(w, "data: %s\n\n", b)
	}
	choice := whole["choices"].([]any)[0].(map[string]any)
	delta := choice["message"].(map[string]any)
	if calls, ok := delta["tool_calls"].([]any); ok {
		calls[0].(map[string]any)["index"] = 0
	}
	send([]any{map[string]any{"index": 0, "delta": delta, "finish_reason": nil}}, nil)
	send([]any{map[string]any{"index": 0, "delta": map[string]any{}, "finish_reason": choice["finish_reason"]}}, nil)
	send([]any{}, whole["usage"])
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// complete makes the answer's body.
func (s *Server) complete(q chatRequest) map[string]any {
	var system, prompt, last string
	for _, m := range q.Messages {
		text := content(m.Content)
		switch m.Role {
		case "system", "developer":
			system += text
		case "user":
			last = text
		}
		prompt += text + "\n"
	}
	message := map[string]any{"role": "assistant", "content": nil}
	finish := "stop"
	answer, judging := judged(prompt)
	salt := q.Seed.String()
	text := ""
	switch {
	case !judging:
		text = s.answer(system, last, salt)
		message["content"] = s.changed(text)
	case s.o.Prose:
		text = "Well, one could call it correct, but in a way it is incorrect as well."
		message["content"] = s.changed(text)
	case len(q.Tools) > 0:
		text = s.object(q.Tools[0].Function.Parameters, prompt, answer, salt)
		finish = "tool_calls"
		message["tool_calls"] = []any{map[string]any{"id": fmt.Sprintf("call_%d", s.n.Load()), "type": "function",
			"function": map[string]any{"name": q.Tools[0].Function.Name, "arguments": s.changed(text)}}}
	case q.ResponseFormat != nil && q.ResponseFormat.Type != "text":
		text = s.object(q.ResponseFormat.Schema.Schema, prompt, answer, salt)
		message["content"] = s.changed(text)
	case strings.Contains(prompt, "single word"):
		text, _ = s.verdict(answer, rails(prompt), salt)
		message["content"] = s.changed(text)
	default:
		label, why := s.verdict(answer, rails(prompt), salt)
		b, _ := json.Marshal(map[string]string{"explanation": why, "label": label}) // strings always marshal
		text = string(b)
		message["content"] = s.changed(text)
	}
	in, out := len(strings.Fields(prompt)), len(strings.Fields(text))
	if s.o.Usage != nil {
		in, out = s.o.Usage()
	}
	return map[string]any{
		"id": fmt.Sprintf("chatcmpl-standin-%d", s.n.Load()), "object": "chat.completion", "created": time.Now().Unix(), "model": Model, "system_fingerprint": Model,
		"choices": []any{map[string]any{"index": 0, "message": message, "finish_reason": finish, "logprobs": nil}},
		"usage":   map[string]any{"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out},
	}
}

func (s *Server) changed(text string) string {
	if s.o.Change != nil {
		return s.o.Change(text)
	}
	return text
}

// object fills a JSON schema: its enum with the verdict, its other strings with
// the reason.
func (s *Server) object(schema json.RawMessage, prompt, answer, salt string) string {
	var shape struct {
		Properties map[string]struct {
			Type string   `json:"type"`
			Enum []string `json:"enum"`
		} `json:"properties"`
	}
	_ = json.Unmarshal(schema, &shape) // no schema: the usual two fields
	labels := rails(prompt)
	for _, p := range shape.Properties {
		if len(p.Enum) > 0 {
			labels = p.Enum
		}
	}
	label, why := s.verdict(answer, labels, salt)
	out := map[string]string{}
	for name, p := range shape.Properties {
		if len(p.Enum) > 0 || name == "label" {
			out[name] = label
		} else {
			out[name] = why
		}
	}
	if len(out) == 0 {
		out = map[string]string{"explanation": why, "label": label}
	}
	b, _ := json.Marshal(out) // strings always marshal
	return string(b)
}

// content is a message's text, given whole or in parts.
func content(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var b strings.Builder
		for _, part := range v {
			if m, ok := part.(map[string]any); ok {
				if t, ok := m["text"].(string); ok {
					b.WriteString(t)
				}
			}
		}
		return b.String()
	}
	return ""
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who left does not care
}

// refuse answers an error in OpenAI's form.
func refuse(w http.ResponseWriter, status int, text string) {
	reply(w, status, map[string]any{"error": map[string]any{"message": text, "type": "invalid_request_error", "param": nil, "code": nil}})
}
