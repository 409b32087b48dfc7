package evals

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/openai/openai-go/v3"

	"github.com/spanbot/spanbot/internal/phoenix"
)

// Evaluators is the project that Phoenix itself keeps traces of evaluators in.
const Evaluators = "evaluators"

// Recorder sends what was asked of models to Phoenix as OpenInference spans. A
// nil Recorder records nothing.
type Recorder struct {
	px *phoenix.Client

	mu      sync.Mutex
	waiting map[string][]map[string]any // by project
	first   error
	sending sync.WaitGroup
}

// NewRecorder makes one.
func NewRecorder(px *phoenix.Client) *Recorder {
	return &Recorder{px: px, waiting: map[string][]map[string]any{}}
}

// atOnce is how many spans go in one request.
const atOnce = 100

func (r *Recorder) add(project string, spans ...map[string]any) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.waiting[project] = append(r.waiting[project], spans...)
	var full []map[string]any
	if len(r.waiting[project]) >= atOnce {
		full = r.waiting[project]
		r.waiting[project] = nil
	}
	r.mu.Unlock()
	if full != nil {
		r.sending.Go(func() { r.send(context.Background(), project, full) })
	}
}

func (r *Recorder) send(ctx context.Context, project string, spans []map[string]any) {
	for try := 0; ; try++ {
		err := r.px.AddSpans(ctx, project, spans)
		if err == nil {
			return
		}
		if !transient(err) || try == 6 || !sleep(ctx, time.Duration(250<<try)*time.Millisecond) {
			r.mu.Lock()
			if r.first == nil {
				r.first = err
			}
			r.mu.Unlock()
			return
		}
	}
}

// Flush sends what waits and returns the first error of all sends so far.
func (r *Recorder) Flush(ctx context.Context) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	all := r.waiting
	r.waiting = map[string][]map[string]any{}
	r.mu.Unlock()
	for project, spans := range all {
		if len(spans) > 0 {
			r.send(ctx, project, spans)
		}
	}
	r.sending.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.first
	r.first = nil
	return err
}

func id(n int) string {
	b := make([]byte, n)
	_, _ = crand.Read(b) // never fails
	return hex.EncodeToString(b)
}

type spanIDs struct{ trace, span string }

func newIDs() spanIDs { return spanIDs{id(16), id(8)} }

func span(ids spanIDs, parent, name, kind string, start, end time.Time, failed string, attributes map[string]any) map[string]any {
	status := "OK"
	if failed != "" {
		status = "ERROR"
	}
	out := map[string]any{"name": name, "context": map[string]any{"trace_id": ids.trace, "span_id": ids.span}, "span_kind": kind, "parent_id": nil,
		"start_time": start.UTC().Format(time.RFC3339Nano), "end_time": end.UTC().Format(time.RFC3339Nano), "status_code": status, "status_message": failed, "attributes": attributes}
	if parent != "" {
		out["parent_id"] = parent
	}
	return out
}

// chatAttributes are what the OpenInference instrumentation of OpenAI writes of a
// chat completion: the request and the answer whole, and their parts by key.
//
// Source of the keys: the OpenInference semantic conventions, and the tutorial,
// which reads input.value as the JSON of the request.
func chatAttributes(a Answer) map[string]any {
	request, _ := json.Marshal(a.Request) // it was sent as such
	out := map[string]any{
		"openinference.span.kind": "LLM", "llm.system": "openai", "llm.provider": "openai", "llm.model_name": a.Model,
		"input.value": string(request), "input.mime_type": "application/json", "output.value": a.Raw, "output.mime_type": "application/json",
		"llm.token_count.prompt": a.Usage.Prompt, "llm.token_count.completion": a.Usage.Completion, "llm.token_count.total": a.Usage.Prompt + a.Usage.Completion,
		"llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": a.Text, "llm.finish_reason": a.Finish,
	}
	var kwargs map[string]any
	if json.Unmarshal(request, &kwargs) == nil {
		for _, k := range []string{"messages", "tools", "functions"} {
			delete(kwargs, k)
		}
		b, _ := json.Marshal(kwargs) // it was JSON before
		out["llm.invocation_parameters"] = string(b)
	}
	for i, m := range a.Request.Messages {
		role, text := roleOf(m)
		out[fmt.Sprintf("llm.input_messages.%d.message.role", i)] = role
		out[fmt.Sprintf("llm.input_messages.%d.message.content", i)] = text
	}
	if a.StandIn() {
		out["metadata.stand_in"] = "no language model was used"
	}
	return out
}

func roleOf(m openai.ChatCompletionMessageParamUnion) (role, text string) {
	switch {
	case m.OfSystem != nil:
		return "system", m.OfSystem.Content.OfString.Value
	case m.OfUser != nil:
		return "user", m.OfUser.Content.OfString.Value
	}
	return "assistant", ""
}

// verdict records a judge's verdict: an EVALUATOR span with the call below it.
func (r *Recorder) verdict(j *Judge, v Verdict) string {
	if r == nil || v.Status == Skipped {
		return ""
	}
	ids := newIDs()
	end := v.started.Add(v.Took)
	output, _ := json.Marshal(map[string]any{"label": v.Label, "explanation": v.Explanation, "status": v.Status}) // strings
	attributes := map[string]any{"openinference.span.kind": "EVALUATOR", "input.value": v.prompt, "output.value": string(output), "output.mime_type": "application/json",
		"metadata.judge": j.Identifier(), "metadata.span_id": v.SpanID}
	call := map[string]any{"openinference.span.kind": "LLM", "llm.model_name": v.Model, "input.value": v.prompt, "output.value": v.raw,
		"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": v.prompt,
		"llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": v.raw,
		"llm.token_count.prompt": v.Usage.Prompt, "llm.token_count.completion": v.Usage.Completion, "llm.token_count.total": v.Usage.Prompt + v.Usage.Completion}
	if v.StandIn {
		attributes["metadata.stand_in"] = "no language model was used"
		call["metadata.stand_in"] = "no language model was used"
	}
	r.add(Evaluators, span(ids, "", "Evaluation: "+j.Annotation(), "EVALUATOR", v.started, end, v.errText(), attributes),
		span(spanIDs{ids.trace, id(8)}, ids.span, "ChatCompletion", "LLM", v.started, end, v.errText(), call))
	return ids.trace
}

func (v Verdict) errText() string {
	if v.Status == Failed || v.Status == Unparsable {
		return v.Why
	}
	return ""
}

// Asked is a question with what a model answered.
type Asked struct {
	Question string
	Answer   string
	SpanID   string
	TraceID  string
	Model    string
	StandIn  bool
	Err      error
}

// AskAll asks a model each question under a system prompt and records each as a
// span "ChatCompletion" of kind LLM, as the tutorial's instrumentation does, in a
// project of that name, which is made by it. Answers come in the order of the
// questions. Those that were not asked because ctx ended are left out; an answer
// that came is recorded. each is called as they come, by one goroutine at a time.
func AskAll(ctx context.Context, m *Model, rec *Recorder, project, system string, questions []string, each func(i int, a Asked)) ([]Asked, error) {
	out := make([]Asked, len(questions))
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan int)
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for range min(m.Concurrency(), max(1, len(questions))) {
		wg.Go(func() {
			for i := range next {
				start := time.Now()
				a, err := m.Ask(run, system, questions[i])
				one := Asked{Question: questions[i], Answer: strings.TrimSpace(a.Text), Model: a.Model, StandIn: a.StandIn(), Err: err}
				if err == nil {
					ids := newIDs()
					one.SpanID, one.TraceID = ids.span, ids.trace
					rec.add(project, span(ids, "", "ChatCompletion", "LLM", start, start.Add(a.Took), "", chatAttributes(a)))
				} else if run.Err() != nil {
					one.Err = run.Err()
				} else if !ofOne(err) || m.hopeless(err) {
					stop(err) // the others would fail alike, after five tries each
				}
				mu.Lock()
				out[i] = one
				if each != nil {
					each(i, one)
				}
				mu.Unlock()
			}
		})
	}
	for i := range questions {
		select {
		case next <- i:
			continue
		case <-run.Done():
		}
		break
	}
	close(next)
	wg.Wait()
	var done []Asked
	var first error
	refused := 0
	for _, a := range out {
		switch {
		case a.Err != nil:
			if refused++; first == nil {
				first = a.Err
			}
		case a.Question != "":
			done = append(done, a)
		}
	}
	switch {
	case run.Err() != nil:
		first = context.Cause(run)
	case first != nil:
		first = fmt.Errorf("%d of %d questions were not answered; of the first: %w", refused, len(questions), first)
	}
	if err := rec.Flush(context.WithoutCancel(ctx)); err != nil {
		return done, err
	}
	if ctx.Err() != nil {
		return done, ctx.Err()
	}
	return done, first
}
