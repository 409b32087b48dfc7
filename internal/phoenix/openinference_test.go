package phoenix

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// parse reads one span as a page would hold it.
func parse(t *testing.T, raw string, limit int) review.Span {
	t.Helper()
	var w wireSpan
	if err := json.NewDecoder(newCutter(strings.NewReader(raw), limit)).Decode(&w); err != nil {
		t.Fatal(err)
	}
	return w.span(limit)
}

func TestSpan_OpenInferenceAttributesInWords(t *testing.T) {
	tests := []struct {
		name string
		kind string
		attr string
		want review.Span
	}{
		{"a chat", "llm", `"llm.input_messages.0.message.role":"system","llm.input_messages.0.message.content":"Be kind.",
			"llm.input_messages.1.message.role":"User","llm.input_messages.1.message.content":"Hi",
			"llm.output_messages.0.message.role":"assistant","llm.output_messages.0.message.content":"Hello",
			"llm.model_name":"gpt","llm.token_count.total":7,"llm.token_count.prompt":5,"session.id":"s1"`,
			review.Span{Kind: "LLM", Model: "gpt", Tokens: 7, SessionID: "s1",
				Asked:    []review.Message{{Role: "system", Content: review.Text{Head: "Be kind."}}, {Role: "user", Content: review.Text{Head: "Hi"}}},
				Answered: []review.Message{{Role: "assistant", Content: review.Text{Head: "Hello"}}}}},
		{"the tenth message stands after the ninth", "LLM", messages(12), review.Span{Kind: "LLM", Asked: func() (m []review.Message) {
			for i := range 12 {
				m = append(m, review.Message{Role: "user", Content: review.Text{Head: fmt.Sprint(i)}})
			}
			return m
		}()}},
		{"a tool asked for", "LLM", `"llm.output_messages.0.message.role":"assistant",
			"llm.output_messages.0.message.tool_calls.1.tool_call.function.name":"b",
			"llm.output_messages.0.message.tool_calls.0.tool_call.function.name":"weather",
			"llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments":"{\"city\":\"Rome\"}"`,
			review.Span{Kind: "LLM", Answered: []review.Message{{Role: "assistant", ToolCalls: []review.ToolCall{
				{Name: "weather", Arguments: review.Text{Head: `{"city":"Rome"}`, JSON: true}}, {Name: "b"}}}}}},
		{"text and an image", "LLM", `"llm.input_messages.0.message.role":"user",
			"llm.input_messages.0.message.contents.1.message_content.type":"image",
			"llm.input_messages.0.message.contents.1.message_content.image.image.url":"data:image/png;base64,AAAA",
			"llm.input_messages.0.message.contents.0.message_content.type":"text",
			"llm.input_messages.0.message.contents.0.message_content.text":"What is this?"`,
			review.Span{Kind: "LLM", Asked: []review.Message{{Role: "user", Content: review.Text{Head: "What is this?\n[image]"}}}}},
		{"a completion of the old kind", "LLM", `"llm.prompts.0.prompt.text":"Say hi","llm.choices.0.completion.text":"hi"`,
			review.Span{Kind: "LLM", Asked: []review.Message{{Role: "user", Content: review.Text{Head: "Say hi"}}},
				Answered: []review.Message{{Role: "assistant", Content: review.Text{Head: "hi"}}}}},
		{"documents, score 0 too", "RETRIEVER", `"input.value":"q","retrieval.documents.0.document.content":"one","retrieval.documents.0.document.score":0,
			"retrieval.documents.0.document.id":"d1","retrieval.documents.1.document.content":"two","retrieval.documents.1.document.id":2`,
			review.Span{Kind: "RETRIEVER", Input: review.Text{Head: "q"}, Documents: []review.Document{
				{ID: "d1", Score: score(0), Content: review.Text{Head: "one"}}, {ID: "2", Content: review.Text{Head: "two"}}}}},
		{"what a reranker kept", "RERANKER", `"reranker.input_documents.0.document.content":"in","reranker.output_documents.0.document.content":"out"`,
			review.Span{Kind: "RERANKER", Documents: []review.Document{{Content: review.Text{Head: "out"}}}}},
		{"a tool's own call", "TOOL", `"tool.name":"search","input.value":"{\"q\":1}","input.mime_type":"application/json","output.value":"3"`,
			review.Span{Kind: "TOOL", Input: review.Text{Head: `{"q":1}`, JSON: true}, Output: review.Text{Head: "3"},
				ToolCalls: []review.ToolCall{{Name: "search", Arguments: review.Text{Head: `{"q":1}`, JSON: true}}}}},
		{"a tool with flattened parameters", "TOOL", `"tool.name":"search","tool.parameters.q":"x","tool.parameters.n":3`,
			review.Span{Kind: "TOOL", ToolCalls: []review.ToolCall{{Name: "search", Arguments: review.Text{Head: `{"n":3,"q":"x"}`, JSON: true}}}}},
		{"JSON by its looks and by its type", "CHAIN", `"input.value":"[1, 2]","output.value":"\"text\"","output.mime_type":"application/json; charset=utf-8"`,
			review.Span{Kind: "CHAIN", Input: review.Text{Head: "[1, 2]", JSON: true}, Output: review.Text{Head: `"text"`, JSON: true}}},
		{"values that are no text", "CHAIN", `"input.value":["a","b"],"output.value":true`,
			review.Span{Kind: "CHAIN", Input: review.Text{Head: `["a","b"]`, JSON: true}, Output: review.Text{Head: "true"}}},
		{"long text is cut and counted", "CHAIN", `"input.value":"` + strings.Repeat("ä", 1000) + `","output.value":"[INST] ` + strings.Repeat("x", 1000) + `"`,
			review.Span{Kind: "CHAIN", Input: review.Text{Head: strings.Repeat("ä", 300), More: 700},
				Output: review.Text{Head: "[INST] " + strings.Repeat("x", 293), More: 707}}},
		{"hostile text", " chain ", `"input.value":"a\u0000b\u0007\u202ec\ud83d"`, review.Span{Kind: "CHAIN", Input: review.Text{Head: "abc"}}},
		{"no kind", "", ``, review.Span{Kind: "UNKNOWN"}},
		{"a kind of one's own", "my kind", ``, review.Span{Kind: "MY KIND"}},
		{"an embedding", "EMBEDDING", `"embedding.embeddings.0.embedding.text":"a","embedding.embeddings.1.embedding.text":"b","embedding.embeddings.0.embedding.vector":[0.5],"embedding.model_name":"e3"`,
			review.Span{Kind: "EMBEDDING", Model: "e3", Input: review.Text{Head: "a\nb"}}},
		{"keys of nobody", "LLM", `"llm.input_messages":"x","llm.input_messages.x.message.role":"y","llm.token_count.total":"many","llm.input_messages.-1.message.role":"z"`,
			review.Span{Kind: "LLM"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := parse(t, `{"id":"U3Bhbjo0Mg==","name":"n","context":{"trace_id":"t","span_id":"s"},"span_kind":"`+tt.kind+`","parent_id":null,
				"start_time":"2026-11-01T12:00:00.5+00:00","end_time":"2026-11-01T12:00:01+00:00","status_code":"OK","status_message":"",
				"attributes":{`+tt.attr+`},"events":[]}`, 300)
			want := tt.want
			want.Row, want.ID, want.TraceID, want.Name, want.Status = 42, "s", "t", "n", "OK"
			want.Start, want.End = time.Date(2026, 11, 1, 12, 0, 0, 5e8, time.UTC), time.Date(2026, 11, 1, 12, 0, 1, 0, time.UTC)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func messages(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"llm.input_messages.%d.message.role":"user","llm.input_messages.%d.message.content":"%d"`, i, i, i))
	}
	return strings.Join(all, ",")
}

func TestSpan_ExceptionAndMissingTimes(t *testing.T) {
	s := parse(t, `{"id":"x","name":null,"context":{"trace_id":"t","span_id":"s"},"parent_id":"p","start_time":null,"end_time":"soon","status_code":"error",
		"status_message":"it broke","attributes":{},"events":[{"name":"log","attributes":{}},
		{"name":"exception","attributes":{"exception.type":"ValueError","exception.message":"no"}},{"name":"exception","attributes":{"exception.type":"Second"}}]}`, 300)
	if !s.Failed() || s.Exception.Head != "ValueError: no" || !s.Start.IsZero() || !s.End.IsZero() || s.Latency() != 0 || s.Root() || s.Row != 0 || s.StatusMessage != "it broke" {
		t.Errorf("%+v", s)
	}
}

func TestSpan_AllTextsTogetherAreBounded_AndTheAnswerStaysLongest(t *testing.T) {
	var all []string
	for i := range 200 {
		all = append(all, fmt.Sprintf(`"llm.input_messages.%d.message.content":"%s"`, i, strings.Repeat("x", 300)))
	}
	all = append(all, `"llm.output_messages.0.message.content":"the answer"`)
	s := parse(t, `{"context":{},"attributes":{`+strings.Join(all, ",")+`}}`, 300)
	total := 0
	for _, m := range s.Asked {
		total += len(m.Content.Head)
		if m.Content.Len() != 300 {
			t.Fatalf("a message of %d characters", m.Content.Len())
		}
	}
	if len(s.Asked) != 200 || total > textsOfSpan*300 || len(s.Asked[199].Content.Head) != 300 || s.Answered[0].Content.Head != "the answer" {
		t.Errorf("%d messages, %d characters kept", len(s.Asked), total)
	}
}

func TestFeed_ShowsSpansAsTheyWereSent(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		s := rig.NewSpan("ask", "", "")
		s["attributes"] = map[string]any{
			"llm.input_messages":  []any{map[string]any{"message.role": "user", "message.content": "Why?"}},
			"llm.output_messages": []any{map[string]any{"message.role": "assistant", "message.content": "Because. \x07<!channel>"}},
			"metadata":            map[string]any{"tenant": "acme"},
			"output.value":        strings.Repeat("long ", 2000),
		}
		s["events"] = []any{map[string]any{"name": "exception", "timestamp": s["end_time"], "attributes": map[string]any{"exception.type": "E", "exception.message": "m"}}}
		s["status_code"] = "ERROR"
		c, p := prepare(t, px, s)
		rows := collect(t, c.Newest(t.Context(), Query{Project: p.ID, Text: 500, Filter: review.Filter{
			Attributes: []review.Attribute{{Path: "metadata.tenant", Value: "acme"}, {Path: "output.value", Value: strings.Repeat("long ", 2000)}},
		}}, 0))
		if len(rows) != 1 || !rows[0].Match {
			t.Fatalf("%+v", rows)
		}
		got := rows[0].Span
		if q, a := got.Question(), got.Answer(); q == nil || q.Content.Head != "Why?" || a == nil || a.Content.Head != "Because. <!channel>" ||
			got.Exception.Head != "E: m" || len(got.Output.Head) != 500 || got.Output.More != 9500 || got.Latency() != 1200*time.Millisecond {
			t.Errorf("%+v", got)
		}
	})
}
