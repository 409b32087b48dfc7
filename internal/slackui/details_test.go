package slackui

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spanbot/spanbot/internal/review"
)

func TestOutline_AnswerThatOnlyCallsToolsNamesThem(t *testing.T) {
	raw := review.Text{Head: `{"id":"chatcmpl-1","choices":[]}`, JSON: true}
	call := func(names ...string) (out []review.ToolCall) {
		for _, n := range names {
			out = append(out, review.ToolCall{Name: n, Arguments: review.Text{Head: `{"q":1}`}})
		}
		return out
	}
	tests := []struct {
		name   string
		answer []review.Message
		want   string
	}{
		{"one call", []review.Message{{Role: "assistant", ToolCalls: call("search")}}, "→ search(…)"},
		{"two calls", []review.Message{{Role: "assistant", ToolCalls: call("search", "lookup")}}, "→ search(…), lookup(…)"},
		{"a call without a name", []review.Message{{Role: "assistant", ToolCalls: call("")}}, "→ tool(…)"},
		{"words and a call", []review.Message{{Role: "assistant", Content: review.Text{Head: "Let me look."}, ToolCalls: call("search")}}, "→ Let me look."},
		// Nothing but the raw output is known.
		{"no answer", nil, `→ {"id":"chatcmpl-1","choices":[]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := review.Span{ID: testRef.SpanID, Name: "ChatCompletion", Kind: "LLM", Output: raw, Answered: tt.answer}
			if got := (OutlineView{}).line(review.Node{Span: s}); !strings.HasSuffix(got, tt.want) {
				t.Errorf("the line is %q; want … %q", got, tt.want)
			}
		})
	}
	// A span with a thousand calls keeps its line.
	s := review.Span{ID: testRef.SpanID, Name: "n", Kind: "LLM", Answered: []review.Message{{ToolCalls: call(slices.Repeat([]string{"search"}, 1000)...)}}}
	if got := (OutlineView{}).line(review.Node{Span: s}); len([]rune(got)) > outlineWidth+30 || !strings.HasSuffix(got, "…") {
		t.Errorf("the line is %q", got)
	}
}

func TestDetails_SayNothingTwice(t *testing.T) {
	args := review.Text{Head: `{"parcel":"7731-K"}`, JSON: true}
	tool := func(change func(*review.Span)) review.Span {
		s := review.Span{ID: testRef.SpanID, Name: "track", Kind: "TOOL", Input: args, ToolCalls: []review.ToolCall{{Name: "track", Arguments: args}}}
		if change != nil {
			change(&s)
		}
		return s
	}
	failed := func(message, exception string, more int) review.Span {
		return review.Span{ID: testRef.SpanID, Status: "ERROR", StatusMessage: message, Exception: review.Text{Head: exception, More: more}}
	}
	tests := []struct {
		name   string
		span   review.Span
		want   []string // "title: text"
		unread int
	}{
		{"a tool's input is its call", tool(nil), []string{"Tool call track: {\n  \"parcel\": \"7731-K\"\n}"}, 0},
		{"another input", tool(func(s *review.Span) { s.Input = review.Text{Head: "where is it?"} }),
			[]string{"Input: where is it?", "Tool call track: {\n  \"parcel\": \"7731-K\"\n}"}, 0},
		// The whole of a span is bounded, and arguments come last.
		{"arguments that were cut", tool(func(s *review.Span) {
			s.Input = review.Text{Head: "abcdef", More: 4}
			s.ToolCalls[0].Arguments = review.Text{Head: "abc", More: 7}
		}), []string{"Tool call track: abcdef"}, 4},
		{"another text of that length", tool(func(s *review.Span) {
			s.Input = review.Text{Head: "abcdef"}
			s.ToolCalls[0].Arguments = review.Text{Head: "abcxyz"}
		}), []string{"Input: abcdef", "Tool call track: abcxyz"}, 0},
		{"the exception is the message", failed("TimeoutError: late", "TimeoutError: late", 0), []string{"Error: TimeoutError: late"}, 0},
		{"the exception says more", failed("RateLimitError: 429", "openai.RateLimitError: 429", 9), []string{"Error: openai.RateLimitError: 429"}, 9},
		{"the message says more", failed("call failed: TimeoutError", "TimeoutError", 0), []string{"Error: call failed: TimeoutError"}, 0},
		{"the exception goes on", failed("call failed: TimeoutError", "TimeoutError", 5), []string{"Error: call failed: TimeoutError", "Exception: TimeoutError"}, 5},
		{"both say something", failed("it failed", "TimeoutError: late", 0), []string{"Error: it failed", "Exception: TimeoutError: late"}, 0},
		{"the exception alone", failed("", "TimeoutError", 0), []string{"Error: TimeoutError"}, 0},
		{"the message alone", failed("it failed", "", 0), []string{"Error: it failed"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.span.ToolCalls)
			d := DetailsView{Ref: testRef, Span: tt.span, Now: drawnAt}
			var got []string
			for _, p := range d.pieces() {
				got = append(got, p.title+": "+p.text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if n := d.unread(); n != tt.unread {
				t.Errorf("%d characters are counted as unread; want %d", n, tt.unread)
			}
			if !slices.Equal(before, tt.span.ToolCalls) {
				t.Error("the caller's span was changed")
			}
			valid(t, DrawDetails(d))
		})
	}
}
