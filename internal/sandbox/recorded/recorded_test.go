package recorded

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

func source(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// plain is v as JSON tells it: all numbers float64, all lists []any.
func plain(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func attributesOf(s map[string]any) map[string]any { return s["attributes"].(map[string]any) }

func id(s map[string]any) string { return s["context"].(map[string]any)["span_id"].(string) }

// root is the last span of a trace.
func root(spans []map[string]any) map[string]any { return spans[len(spans)-1] }

func TestTraces_ComeBackFromPhoenixAsTheyWereSent(t *testing.T) {
	px := rig.SharedPhoenix(t)
	project := "recorded " + rig.SpanID()
	sent := map[string]map[string]any{}
	var all []map[string]any
	ids := rand.NewChaCha8([32]byte([]byte(rig.TraceID())))
	start := time.Now().Add(-time.Hour)
	for _, trace := range Traces() {
		for _, s := range trace.Spans(start, ids) {
			sent[id(s)] = s
			all = append(all, s)
		}
	}
	px.Ingest(t, project, all...)
	var page struct{ Data []map[string]any }
	if err := json.Unmarshal(px.Call(t, http.MethodGet, "/v1/projects/"+url.PathEscape(project)+"/spans?limit=1000", nil), &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Data) != len(sent) {
		t.Errorf("%d spans are listed, %d were sent", len(page.Data), len(sent))
	}
	for _, got := range page.Data {
		want, _ := plain(t, sent[id(got)]).(map[string]any)
		if want == nil {
			t.Errorf("span %s was not sent", id(got))
			continue
		}
		// Phoenix makes the kind a field of its own.
		delete(want["attributes"].(map[string]any), "openinference.span.kind")
		for _, key := range []string{"name", "context", "span_kind", "parent_id", "status_code", "status_message", "attributes"} {
			if !reflect.DeepEqual(got[key], want[key]) {
				t.Errorf("%s of %q:\n got %v\nwant %v", key, want["name"], got[key], want[key])
			}
		}
		for _, key := range []string{"start_time", "end_time"} {
			if !moment(t, got[key]).Equal(moment(t, want[key])) {
				t.Errorf("%s of %q: %v, want %v", key, want["name"], got[key], want[key])
			}
		}
		compareEvents(t, got["events"].([]any), want["events"].([]any))
	}
}

func compareEvents(t *testing.T, got, want []any) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d events, want %d", len(got), len(want))
		return
	}
	for i := range got {
		g, w := got[i].(map[string]any), want[i].(map[string]any)
		if g["name"] != w["name"] || !reflect.DeepEqual(g["attributes"], w["attributes"]) || !moment(t, g["timestamp"]).Equal(moment(t, w["timestamp"])) {
			t.Errorf("event %v, want %v", g, w)
		}
	}
}

func moment(t *testing.T, v any) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, v.(string))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// What the tutorial's Python reads has to be there, and nothing that its
// instrumentation would not have written.
func TestTrivia_HasWhatTheInstrumentationWrites(t *testing.T) {
	want := []string{
		"input.mime_type", "input.value",
		"llm.finish_reason",
		"llm.input_messages.0.message.content", "llm.input_messages.0.message.role",
		"llm.input_messages.1.message.content", "llm.input_messages.1.message.role",
		"llm.invocation_parameters", "llm.model_name",
		"llm.output_messages.0.message.content", "llm.output_messages.0.message.role",
		"llm.provider", "llm.system",
		"llm.token_count.completion", "llm.token_count.prompt", "llm.token_count.total",
		"openinference.span.kind", "output.mime_type", "output.value",
	}
	list := trivia()
	if len(list) != 20 {
		t.Fatalf("%d questions, want the tutorial's 20", len(list))
	}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, trace := range list {
		spans := trace.Spans(start, source(1))
		s := root(spans)
		if len(spans) != 1 || s["name"] != "ChatCompletion" || s["span_kind"] != "LLM" || s["parent_id"] != nil {
			t.Errorf("%s is not a single root span ChatCompletion: %v", trace.Name, spans)
		}
		a := attributesOf(s)
		var keys []string
		for k := range a {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if !slices.Equal(keys, want) {
			t.Errorf("%s has the attributes %v, want %v", trace.Name, keys, want)
		}
		var request struct {
			Model    string
			Messages []struct{ Role, Content string }
		}
		if err := json.Unmarshal([]byte(a["input.value"].(string)), &request); err != nil || len(request.Messages) != 2 ||
			request.Messages[1].Content != a["llm.input_messages.1.message.content"] || request.Messages[1].Role != "user" {
			t.Errorf("%s: the request is %+v, %v", trace.Name, request, err)
		}
		if took := trace.Took(); took < 500*time.Millisecond || took > 5*time.Second {
			t.Errorf("%s took %s, which no model would", trace.Name, took)
		}
	}
}

// Each answer is a chat completion, as the API's clients read it, and says the
// same as the attributes.
func TestChats_AnswerWithAChatCompletion(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	n := 0
	for _, trace := range Traces() {
		for _, s := range trace.Spans(start, source(1)) {
			a := attributesOf(s)
			if s["span_kind"] != "LLM" || s["status_code"] == "ERROR" {
				continue
			}
			n++
			var c struct {
				ID, Object, Model string
				Created           int64
				Choices           []struct {
					Index   int
					Message struct {
						Role, Content string
						ToolCalls     []struct {
							ID, Type string
							Function struct{ Name, Arguments string }
						} `json:"tool_calls"`
					}
					FinishReason string `json:"finish_reason"`
				}
				Usage map[string]int
			}
			d := json.NewDecoder(strings.NewReader(a["output.value"].(string)))
			d.DisallowUnknownFields()
			if err := d.Decode(&c); err != nil {
				t.Errorf("%s: %v", trace.Name, err)
				continue
			}
			if c.Object != "chat.completion" || !strings.HasPrefix(c.ID, "chatcmpl-") || c.Model != a["llm.model_name"] || len(c.Choices) != 1 ||
				c.Created != moment(t, s["end_time"]).Unix() {
				t.Errorf("%s: %+v", trace.Name, c)
				continue
			}
			first := c.Choices[0]
			text, _ := a["llm.output_messages.0.message.content"].(string)
			if first.Message.Role != "assistant" || first.Message.Content != text || first.FinishReason != a["llm.finish_reason"] {
				t.Errorf("%s: %+v", trace.Name, first)
			}
			if (first.FinishReason == "tool_calls") != (len(first.Message.ToolCalls) > 0) {
				t.Errorf("%s: finish %q with %d tool calls", trace.Name, first.FinishReason, len(first.Message.ToolCalls))
			}
			for _, call := range first.Message.ToolCalls {
				if !json.Valid([]byte(call.Function.Arguments)) || call.Function.Name == "" || call.Type != "function" {
					t.Errorf("%s: the call %+v", trace.Name, call)
				}
			}
			if u := c.Usage; u["prompt_tokens"]+u["completion_tokens"] != u["total_tokens"] || u["total_tokens"] != a["llm.token_count.total"] || u["completion_tokens"] == 0 {
				t.Errorf("%s: usage %v", trace.Name, u)
			}
		}
	}
	if n < 25 {
		t.Errorf("only %d calls were looked at", n)
	}
}

func TestSpans_FormATreeWithTheRootLast(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	for _, trace := range Traces() {
		spans := trace.Spans(start, source(1))
		byID := map[string]map[string]any{}
		for _, s := range spans {
			byID[id(s)] = s
		}
		if len(byID) != len(spans) {
			t.Errorf("%s: ids are used twice", trace.Name)
		}
		seen := map[string]bool{}
		for i, s := range spans {
			from, to := moment(t, s["start_time"]), moment(t, s["end_time"])
			if !to.After(from) || from.Nanosecond()%1000 != 0 || to.Nanosecond()%1000 != 0 {
				t.Errorf("%s: %v lasts from %s to %s; want microseconds, in order", trace.Name, s["name"], from, to)
			}
			parent, isChild := s["parent_id"].(string)
			if isChild == (i == len(spans)-1) {
				t.Errorf("%s: span %d of %d has the parent %q", trace.Name, i, len(spans), parent)
			}
			if seen[parent] {
				t.Errorf("%s: a parent comes before its child %v", trace.Name, s["name"])
			}
			if p := byID[parent]; isChild && (p == nil || from.Before(moment(t, p["start_time"])) || to.After(moment(t, p["end_time"]))) {
				t.Errorf("%s: %v is not within its parent", trace.Name, s["name"])
			}
			seen[id(s)] = true
		}
		if d := moment(t, root(spans)["end_time"]).Sub(moment(t, root(spans)["start_time"])); d != trace.Took().Truncate(time.Microsecond) {
			t.Errorf("%s: the root lasts %s and Took says %s", trace.Name, d, trace.Took())
		}
	}
}

func TestSpans_SameSeedSameSpans_NextDrawFreshIDs(t *testing.T) {
	start := time.Now()
	a, b := source(7), source(7)
	for _, trace := range Traces() {
		first, same := trace.Spans(start, a), trace.Spans(start, b)
		if !reflect.DeepEqual(first, same) {
			t.Errorf("%s differs for the same seed", trace.Name)
		}
		next := trace.Spans(start, a)
		b = clone(t, a)
		for i := range first {
			if id(first[i]) == id(next[i]) || first[i]["context"].(map[string]any)["trace_id"] == next[i]["context"].(map[string]any)["trace_id"] {
				t.Errorf("%s: an id was drawn twice", trace.Name)
			}
		}
	}
}

func clone(t *testing.T, c *rand.ChaCha8) *rand.ChaCha8 {
	t.Helper()
	b, err := c.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	out := rand.NewChaCha8([32]byte{})
	if err := out.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTraces_AreAllThere_AndTheFirstEightShowWhatThereIs(t *testing.T) {
	list := Traces()
	if len(list) != 30 {
		t.Errorf("%d traces, want 30", len(list))
	}
	names, shows, kinds := map[string]bool{}, map[string]int{}, map[string]int{}
	for i, trace := range list {
		if trace.Name == "" || trace.Shows == "" || names[trace.Name] {
			t.Errorf("trace %d has the name %q and shows %q", i, trace.Name, trace.Shows)
		}
		names[trace.Name] = true
		if i < 8 {
			shows[trace.Shows]++
			kinds[trace.root.kind]++
		}
	}
	for _, trace := range append(append(trivia(), texts()...), steps()...) {
		if !names[trace.Name] {
			t.Errorf("%q is not in the list", trace.Name)
		}
	}
	if shows[inRhyme] < 2 || shows[slip] < 1 || shows[nonsense] < 1 || len(shows) < 6 || kinds["LLM"] < 5 || kinds["CHAIN"] < 1 {
		t.Errorf("the first eight show %v and have roots %v", shows, kinds)
	}
	list[0] = Trace{}
	if Traces()[0].Name == "" {
		t.Error("who changes the list changes everybody's")
	}
}

func TestNonsense_IsWhatThePromptAsksFor(t *testing.T) {
	numbers, words := regexp.MustCompile(`\b\d{1,4}\b`), regexp.MustCompile(`\b[A-Za-z]+`)
	n := 0
	for _, trace := range trivia() {
		if trace.Shows != nonsense {
			continue
		}
		n++
		answer := trace.root.chat.answer.Content
		if a, b := len(numbers.FindAllString(answer, -1)), len(words.FindAllString(answer, -1)); a < 5 || b < 5 {
			t.Errorf("%s: %d numbers and %d words, want five of each", trace.Name, a, b)
		}
	}
	if n < 4 {
		t.Errorf("%d answers are nonsense, want some", n)
	}
}

func TestItinerary_IsLongAndNoTwoDaysAreAlike(t *testing.T) {
	text := itinerary()
	if n := utf8.RuneCountInString(text); n < 20_000 || n > 40_000 {
		t.Errorf("%d characters", n)
	}
	_, days, _ := strings.Cut(text, "## Day 1:")
	seen := map[string]bool{}
	for i, day := range strings.Split(days, "\n## Day ") {
		_, body, _ := strings.Cut(day, "\n")
		if seen[body] {
			t.Errorf("day %d repeats another", i+1)
		}
		seen[body] = true
	}
	if len(seen) != 30 {
		t.Errorf("%d days, want 30", len(seen))
	}
}
