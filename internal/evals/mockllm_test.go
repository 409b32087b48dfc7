package evals

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// rules of mock-llm: what it answers hangs on the model that is asked for.
const rules = `rules:
  - path: "/v1/models"
    response: {status: 200, content: '{"object":"list","data":[]}'}
  - path: "/v1/chat/completions"
    match: "body.model == 'good'"
    response: {status: 200, content: '{"id":"x","object":"chat.completion","model":"good","choices":[{"index":0,"message":{"role":"assistant","content":"{\"explanation\":\"it rhymes\",\"label\":\"correct\"}"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'}
  - path: "/v1/chat/completions"
    match: "body.model == 'busy'"
    response: {status: 429, content: '{"error":{"message":"rate limited","type":"rate_limit_error","code":"rate_limit"}}'}
  - path: "/v1/chat/completions"
    match: "body.model == 'broken'"
    response: {status: 503, content: '{"error":{"message":"no capacity","type":"server_error"}}'}
  - path: "/v1/chat/completions"
    match: "body.model == 'no-formats'"
    response: {status: 200, content: '{"id":"x","object":"chat.completion","model":"no-formats","choices":[{"index":0,"message":{"role":"assistant","content":"Label: incorrect"},"finish_reason":"stop"}]}'}
  - path: "/v1/chat/completions"
    match: "contains(keys(body), 'response_format') && body.model == 'no-formats'"
    response: {status: 400, content: '{"error":{"message":"response_format is not supported","type":"invalid_request_error"}}'}
  - path: "/v1/chat/completions"
    match: "contains(keys(body), 'tools') && body.model == 'no-formats'"
    response: {status: 422, content: '{"detail":"extra fields not permitted"}'}
  - path: "/v1/chat/completions"
    match: "body.model == 'malformed'"
    response: {status: 200, content: '{"hello":"world"}'}
  - path: "/v1/chat/completions"
    match: "body.model == 'streams'"
    response: {status: 400, content: '{"error":{"message":"only stream=true is supported","type":"invalid_request_error"}}'}
  - path: "/v1/chat/completions"
    match: "body.model == 'empty'"
    response: {status: 200, content: '{"id":"x","object":"chat.completion","model":"empty","choices":[]}'}
`

// The client of models against an emulator that is not ours.
func TestModel_AgainstMockLLM(t *testing.T) {
	url := rig.MockLLM(t, rules)
	j := testJudge()
	for name, tt := range map[string]struct {
		status Status
		label  string
		mode   Mode
		kind   review.Kind
		words  string
	}{
		"good":       {Judged, "correct", Schema, "", ""},
		"no-formats": {Judged, "incorrect", Text, "", ""},
		"busy":       {Failed, "", "", review.Busy, "still says 429 after 5 tries (rate limited)"},
		"broken":     {Failed, "", "", review.Down, "fails with 503 after 5 tries: no capacity"},
		"malformed":  {Failed, "", "", review.Refused, "answered without a choice"},
		"streams":    {Failed, "", "", review.Refused, "refuses the request (400): only stream=true is supported"},
		"empty":      {Failed, "", "", review.Refused, "answered without a choice"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := NewModel(ModelOptions{BaseURL: url, APIKey: "k", Name: name, Timeout: 5 * time.Second, backoff: 2 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			v := j.Judge(t.Context(), m, Case{SpanID: "a", Question: "q", Answer: "words"}, 1)
			if v.Status != tt.status || v.Label != tt.label || tt.mode != "" && v.Mode != tt.mode || v.StandIn {
				t.Errorf("%+v", v)
			}
			if tt.words != "" && (review.KindOf(v.Err) != tt.kind || !strings.Contains(v.Why, tt.words)) {
				t.Errorf("%s: %s", review.KindOf(v.Err), v.Why)
			}
		})
	}
}

// What no emulator sends: half an answer, a page, and events although none were
// asked for.
func TestModel_AnswersThatAreNone(t *testing.T) {
	for name, tt := range map[string]struct{ kind, body string }{
		"half of it": {"application/json", `{"id":"x","choices":[{"index":0,"message":`},
		"a page":     {"text/html", "<html>please log in</html>"},
		"events":     {"text/event-stream", "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"correct\"}}]}\n\ndata: [DONE]\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				_, _ = io.WriteString(w, tt.body)
			}))
			t.Cleanup(h.Close)
			m, err := NewModel(ModelOptions{BaseURL: h.URL + "/v1", APIKey: "secret-key", Name: "m", backoff: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			v := testJudge().Judge(t.Context(), m, Case{SpanID: "a", Question: "q", Answer: "words"}, 1)
			if v.Status != Failed || v.Label != "" || !strings.Contains(v.Why, h.URL) || strings.Contains(v.Why, "secret-key") {
				t.Errorf("%+v", v)
			}
			t.Log(v.Why)
		})
	}
}
