package evals

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"

	"github.com/spanbot/spanbot/internal/review"
)

// standin is the name that the stand-in model answers under.
const standin = "standin"

// ModelOptions say where a model is.
type ModelOptions struct {
	BaseURL     string // "https://api.openai.com/v1"; of Phoenix's gateway "<endpoint>/v1"
	APIKey      string
	Header      http.Header // further request headers
	Name        string      // "gpt-4o"; "openai:gpt-4o" on Phoenix's gateway
	Concurrency int         // calls at a time at most; 0: 16
	Timeout     time.Duration
	MaxCost     float64          // US dollars; 0: no ceiling
	Budget      *Budget          // one that other models spend from, too; in place of MaxCost
	Prices      map[string]Price // own prices, by model name
	TextOnly    bool             // neither schema nor tools are tried: Phoenix's gateway refuses both

	backoff time.Duration // before the second try, at most half of it; 0: 250 ms
	grace   time.Duration // of a call under way when a run is to end; 0: Grace
}

// Budget is what the calls of models may cost together. A nil budget has no end.
type Budget struct {
	most float64

	mu    sync.Mutex
	spent float64
}

// NewBudget makes a budget of so many US dollars; nil for 0.
func NewBudget(dollars float64) *Budget {
	if dollars <= 0 {
		return nil
	}
	return &Budget{most: dollars}
}

func (b *Budget) spend(dollars float64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent += dollars
}

// afford refuses the next call when the ceiling is reached.
func (b *Budget) afford() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent < b.most {
		return nil
	}
	return &callError{&review.Error{Kind: review.Refused, Text: fmt.Sprintf("stopped at $%.4f: --max-cost is $%.2f. What was done is kept; run it again with a higher ceiling to go on", b.spent, b.most)}, ErrCost}
}

// Model is a chat model on an OpenAI-compatible endpoint. It is safe for use by
// several goroutines; calls wait for each other where the server wants fewer.
type Model struct {
	o      ModelOptions
	client openai.ChatCompletionService // alone: a whole openai.Client puts 20 MB of other services into the binary
	gate   *gate

	mu     sync.Mutex
	mode   Mode // found by the first verdict
	probed bool
	bare   bool // the server refuses temperature or seed
	spent  Spent
	sent   int // back by the server, for what they say
}

// Spent is what a model's calls have taken so far.
type Spent struct {
	Calls   int    `json:"calls"`
	Retries int    `json:"retries"`
	Usage   Usage  `json:"usage"`
	Cost    Cost   `json:"cost_usd"`
	Peak    int    `json:"concurrency_reached"`
	Model   string `json:"model"` // as the last answer named it
}

// Mode is how a model is made to answer with a label.
type Mode string

// The modes, in the order in which they are tried.
const (
	Schema Mode = "json_schema" // response_format with a strict JSON schema
	Tool   Mode = "tool"        // a forced tool call
	Text   Mode = "text"        // JSON asked for in words
)

const (
	attempts     = 5
	defaultCalls = 16
	firstCalls   = 4
	maxWait      = 60 * time.Second
)

// Grace is how long the calls under way are waited for when a run is to end.
const Grace = 15 * time.Second

// NewModel makes a model; it calls nobody.
//
// Invalid: it has no name, or a ceiling and no price to hold it to.
func NewModel(o ModelOptions) (*Model, error) {
	if o.Name == "" {
		return nil, &review.Error{Kind: review.Invalid, Text: "no model is named: set SPANBOT_TASK_MODEL or SPANBOT_JUDGE_MODEL, or say it with --model"}
	}
	if o.Budget == nil {
		o.Budget = NewBudget(o.MaxCost)
	}
	if _, known := PriceOf(o.Name, o.Prices); o.Budget != nil && !known {
		return nil, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("the price of model %s is not known, so --max-cost cannot be kept; give its price with --price, or leave --max-cost out", o.Name)}
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultCalls
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.grace <= 0 {
		o.grace = Grace
	}
	if o.backoff <= 0 {
		o.backoff = 250 * time.Millisecond
	}
	opts := []option.RequestOption{
		option.WithBaseURL(strings.TrimRight(o.BaseURL, "/") + "/"), option.WithAPIKey(o.APIKey), option.WithMaxRetries(0),
		option.WithHTTPClient(&http.Client{Transport: refusals{&http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: o.Concurrency, IdleConnTimeout: 4 * time.Second, ForceAttemptHTTP2: true}}}),
	}
	for name := range o.Header {
		opts = append(opts, option.WithHeader(name, o.Header.Get(name)))
	}
	m := &Model{o: o, client: openai.NewChatCompletionService(opts...), gate: newGate(o.Concurrency)}
	if o.TextOnly {
		m.mode, m.probed = Text, true
	}
	return m, nil
}

// refusals gives every answer outside of 2xx OpenAI's form. Servers that are
// compatible while all goes well say {"error": "text"}, {"detail": …} or a page,
// and the client then knows neither what they said nor the status.
type refusals struct{ next http.RoundTripper }

func (r refusals) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil || resp.StatusCode < 400 {
		return resp, err
	}
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // half of it is better than nothing
	_ = resp.Body.Close()
	var said struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(raw, &said) != nil || said.Error.Message == "" {
		raw, _ = json.Marshal(map[string]any{"error": map[string]any{"message": excerpt(string(raw)), "type": "", "param": "", "code": ""}}) // strings
	}
	resp.Header.Set("Content-Type", "application/json")
	resp.Header.Del("Content-Length")
	resp.ContentLength = int64(len(raw))
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	return resp, nil
}

// Name is the model that is asked for.
func (m *Model) Name() string { return m.o.Name }

// Concurrency is how many calls it makes at a time at most.
func (m *Model) Concurrency() int { return m.o.Concurrency }

// Spent is what was used so far.
func (m *Model) Spent() Spent {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.spent
	s.Peak = m.gate.reached()
	return s
}

// Answer is one answer of a model.
type Answer struct {
	Text    string
	Model   string // as the answer names it
	Mode    Mode   // "" for plain questions
	Usage   Usage
	Cost    Cost
	Took    time.Duration
	Finish  string
	Request openai.ChatCompletionNewParams
	Raw     string // the answer's body
}

// StandIn reports that no language model made the answer.
func (a Answer) StandIn() bool { return a.Model == standin }

// ErrCost ends a run that would cost more than was allowed.
var ErrCost = errors.New("the cost ceiling is reached")

// Ask asks a question under a system prompt, without one for "".
//
// Invalid: the endpoint refuses the key, the model or the request for good.
// Busy, Down: it did not answer after five tries. ErrCost: --max-cost is reached.
func (m *Model) Ask(ctx context.Context, system, user string) (Answer, error) {
	p := openai.ChatCompletionNewParams{Model: m.o.Name}
	if system != "" {
		p.Messages = append(p.Messages, openai.SystemMessage(system))
	}
	p.Messages = append(p.Messages, openai.UserMessage(user))
	return m.call(ctx, p, false)
}

// verdictSchema wants an explanation first, so that the label follows from it.
func verdictSchema(labels []string) map[string]any {
	return map[string]any{
		"type": "object", "additionalProperties": false, "required": []string{"explanation", "label"},
		"properties": map[string]any{
			"explanation": map[string]any{"type": "string", "description": "the reason, one or two sentences"},
			"label":       map[string]any{"type": "string", "enum": labels},
		},
	}
}

// Verdict asks for one of labels with a reason. The first call finds out which
// mode the endpoint takes: each that it refuses as such (400, 404, 422, and 500
// where the next mode is answered) is not tried again. The text of the answer is
// JSON in the first two modes; read it with ParseVerdict. seed tells repeated
// votes apart; 0 sends none.
func (m *Model) Verdict(ctx context.Context, system, user string, labels []string, seed int64) (Answer, error) {
	m.mu.Lock()
	probed, mode := m.probed, m.mode
	m.mu.Unlock()
	if probed {
		return m.verdict(ctx, mode, false, system, user, labels, seed)
	}
	m.gate.alone.Lock() // one probe; the others take its result
	m.mu.Lock()
	probed, mode = m.probed, m.mode
	m.mu.Unlock()
	if probed {
		m.gate.alone.Unlock()
		return m.verdict(ctx, mode, false, system, user, labels, seed)
	}
	defer m.gate.alone.Unlock()
	var last error
	for _, mode := range []Mode{Schema, Tool, Text} {
		a, err := m.verdict(ctx, mode, mode != Text, system, user, labels, seed)
		if err != nil && mode != Text && incapable(err) && ctx.Err() == nil {
			last = err
			continue
		}
		if err == nil {
			m.mu.Lock()
			m.mode, m.probed = mode, true
			m.mu.Unlock()
		}
		return a, err
	}
	return Answer{}, last
}

// incapable reports a refusal that may be of the mode, and not of the call: the
// documented 400, 404 and 422, and the 500 of servers that fall over it.
func incapable(err error) bool {
	var api *openai.Error
	return errors.As(err, &api) && slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusInternalServerError}, api.StatusCode)
}

// Mode is how verdicts are asked for; "" before the first.
func (m *Model) Mode() Mode {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mode
}

// verdict asks in a mode; while probing, a 500 says at once that the server falls
// over the mode.
func (m *Model) verdict(ctx context.Context, mode Mode, probing bool, system, user string, labels []string, seed int64) (Answer, error) {
	p := openai.ChatCompletionNewParams{Model: m.o.Name, Temperature: openai.Float(0)}
	if seed != 0 {
		p.Seed, p.Temperature = openai.Int(seed), openai.Float(1) // votes of one mind would all be the same
	}
	switch mode {
	case Schema:
		p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
			Name: "verdict", Strict: openai.Bool(true), Schema: verdictSchema(labels)}}
	case Tool:
		p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: "verdict", Description: openai.String("Gives the verdict."), Parameters: verdictSchema(labels)})}
		p.ToolChoice = openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: "verdict"})
	default:
		user += "\n\nAnswer with one JSON object and nothing else: {\"explanation\": \"the reason, one or two sentences\", \"label\": one of " + quotedList(labels) + "}"
	}
	if system != "" {
		p.Messages = append(p.Messages, openai.SystemMessage(system))
	}
	p.Messages = append(p.Messages, openai.UserMessage(user))
	m.mu.Lock()
	bare := m.bare
	m.mu.Unlock()
	if bare {
		p.Temperature, p.Seed = openai.ChatCompletionNewParams{}.Temperature, openai.ChatCompletionNewParams{}.Seed
	}
	a, err := m.call(ctx, p, probing)
	if err != nil && !bare && refusesSampling(err) {
		m.mu.Lock()
		m.bare = true
		m.mu.Unlock()
		p.Temperature, p.Seed = openai.ChatCompletionNewParams{}.Temperature, openai.ChatCompletionNewParams{}.Seed
		a, err = m.call(ctx, p, probing)
	}
	a.Mode = mode
	return a, err
}

// refusesSampling reports that a model takes no temperature or no seed, as
// reasoning models do.
func refusesSampling(err error) bool {
	var api *openai.Error
	return errors.As(err, &api) && api.StatusCode == http.StatusBadRequest &&
		(strings.Contains(api.Message, "temperature") || strings.Contains(api.Message, "seed"))
}

func quotedList(labels []string) string {
	var b []string
	for _, l := range labels {
		b = append(b, strconv.Quote(l))
	}
	return strings.Join(b, ", ")
}

// call sends one request until it is answered, at most five times. When ctx ends
// none is sent any more, but the one under way is given as long as Grace to come
// back: it is paid for already.
func (m *Model) call(ctx context.Context, p openai.ChatCompletionNewParams, probing bool) (Answer, error) {
	for try := 1; ; try++ {
		if err := m.o.Budget.afford(); err != nil {
			return Answer{}, err
		}
		if err := m.gate.enter(ctx); err != nil {
			return Answer{}, err
		}
		start := time.Now()
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.o.Timeout)
		abandon := context.AfterFunc(ctx, func() { time.AfterFunc(m.o.grace, cancel) })
		out, err := m.client.New(within, p)
		hung := within.Err() != nil && ctx.Err() == nil
		abandon()
		cancel()
		m.gate.leave(start, err == nil, err != nil && again(err, hung))
		if err == nil {
			a, err := m.read(out, p, time.Since(start))
			return a, err
		}
		if ctx.Err() != nil {
			return Answer{}, ctx.Err()
		}
		if !again(err, hung) || try == attempts || (probing && is500(err)) {
			if ofOne(err) && !probing {
				m.mu.Lock()
				m.sent++
				m.mu.Unlock()
			}
			return Answer{}, explain(err, m.o, hung, try)
		}
		m.mu.Lock()
		m.spent.Retries++
		m.mu.Unlock()
		// Somewhere in the second half of a span that doubles, and never sooner than
		// the server asked for: all of those it sent away would come back at once.
		wait := m.o.backoff << try
		wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // spreads retries; nobody gains by guessing
		wait = min(max(wait, retryAfter(err)), maxWait)
		if !sleep(ctx, wait) {
			return Answer{}, ctx.Err()
		}
	}
}

// ofOne reports a refusal of what one call says: a filter of content, a length. It
// is no word about the next.
func ofOne(err error) bool {
	var api *openai.Error
	return errors.As(err, &api) && slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, api.StatusCode)
}

// enoughRefused is how many calls may be refused, with none answered, before the
// next ones are not worth sending.
const enoughRefused = 5

// hopeless reports that a failed call tells of all that would follow: the key, the
// model or the ceiling, or everything is refused.
func (m *Model) hopeless(err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch review.KindOf(err) {
	case review.Denied, review.Invalid:
		return true
	case review.Refused:
		return !ofOne(err) || m.spent.Calls == 0 && m.sent >= enoughRefused
	}
	return errors.Is(err, ErrCost)
}

func is500(err error) bool {
	var api *openai.Error
	return errors.As(err, &api) && api.StatusCode == http.StatusInternalServerError
}

// read takes what an answer says.
func (m *Model) read(out *openai.ChatCompletion, p openai.ChatCompletionNewParams, took time.Duration) (Answer, error) {
	a := Answer{Model: out.Model, Took: took, Usage: Usage{int(out.Usage.PromptTokens), int(out.Usage.CompletionTokens)}, Request: p, Raw: out.RawJSON()}
	price, known := PriceOf(m.o.Name, m.o.Prices)
	if a.StandIn() {
		price, known = Price{}, true
	} else if !known {
		price, known = PriceOf(out.Model, m.o.Prices)
	}
	a.Cost = costOf(price, known, a.Usage)
	m.mu.Lock()
	m.spent.Calls++
	m.spent.Usage.add(a.Usage)
	m.spent.Cost.Dollars += a.Cost.Dollars
	m.spent.Cost.Unknown = m.spent.Cost.Unknown || a.Cost.Unknown
	m.spent.Model = out.Model
	m.mu.Unlock()
	m.o.Budget.spend(a.Cost.Dollars)
	if len(out.Choices) == 0 {
		return a, &review.Error{Kind: review.Refused, Text: fmt.Sprintf("the model %s answered without a choice; is %s an OpenAI-compatible endpoint that does not stream?", m.o.Name, m.o.BaseURL)}
	}
	c := out.Choices[0]
	a.Finish = c.FinishReason
	a.Text = c.Message.Content
	if len(c.Message.ToolCalls) > 0 {
		a.Text = c.Message.ToolCalls[0].Function.Arguments
	}
	return a, nil
}

// again reports whether a failed call is worth repeating.
func again(err error, hung bool) bool {
	var api *openai.Error
	if errors.As(err, &api) {
		s := api.StatusCode
		return s == http.StatusRequestTimeout || s == http.StatusConflict || s == http.StatusTooManyRequests || s >= 500
	}
	var syntax *json.SyntaxError
	return hung || !errors.As(err, &syntax)
}

func retryAfter(err error) time.Duration {
	var api *openai.Error
	if !errors.As(err, &api) || api.Response == nil {
		return 0
	}
	v := api.Response.Header.Get("Retry-After")
	if n, err := strconv.ParseFloat(v, 64); err == nil && n >= 0 && n < 1e6 {
		return time.Duration(n * float64(time.Second))
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// explain says what went wrong in words for the person who runs it.
func explain(err error, o ModelOptions, hung bool, tries int) error {
	e := &review.Error{Kind: review.Down}
	var api *openai.Error
	switch {
	case errors.As(err, &api):
		said := api.Message
		if said == "" {
			said = http.StatusText(api.StatusCode)
		}
		switch s := api.StatusCode; {
		case s == http.StatusUnauthorized || s == http.StatusForbidden:
			e.Kind, e.Text = review.Denied, fmt.Sprintf("the model endpoint %s refuses the key (%d): set OPENAI_API_KEY", o.BaseURL, s)
		case s == http.StatusNotFound:
			e.Kind, e.Text = review.Refused, fmt.Sprintf("the model endpoint %s does not have the model %s, or is no such endpoint (404: %s); check OPENAI_BASE_URL and the model's name", o.BaseURL, o.Name, said)
		case s == http.StatusTooManyRequests:
			e.Kind, e.Text = review.Busy, fmt.Sprintf("the model endpoint %s still says 429 after %d tries (%s); try later, or with a lower --concurrency", o.BaseURL, tries, said)
		case s >= 500:
			e.Text = fmt.Sprintf("the model endpoint %s fails with %d after %d tries: %s", o.BaseURL, s, tries, said)
		default:
			e.Kind, e.Text = review.Refused, fmt.Sprintf("the model endpoint %s refuses the request (%d): %s", o.BaseURL, s, said)
		}
	case hung:
		e.Text = fmt.Sprintf("the model endpoint %s did not answer within %s, %d times", o.BaseURL, o.Timeout, tries)
	default:
		e.Text = fmt.Sprintf("the model endpoint %s cannot be reached or does not answer in JSON: %v", o.BaseURL, err)
	}
	return &callError{e, err}
}

// callError says what an endpoint did in our words, and keeps its own for who
// looks for a status.
type callError struct {
	said  *review.Error
	cause error
}

func (e *callError) Error() string   { return e.said.Text }
func (e *callError) Unwrap() []error { return []error{e.said, e.cause} }

// gate bounds how many calls run at a time: it starts with a few, adds one for
// each round of answers, and halves when the server says that it is too much
// (additive increase, multiplicative decrease).
type gate struct {
	alone sync.Mutex

	mu      sync.Mutex
	free    chan struct{} // closed and made anew when there is room
	limit   float64
	most    int
	running int
	peak    int
	cut     time.Time // of the last halving
}

func newGate(most int) *gate {
	return &gate{most: most, limit: float64(min(firstCalls, most)), free: make(chan struct{})}
}

func (g *gate) enter(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		g.mu.Lock()
		if g.running < int(g.limit) {
			g.running++
			g.peak = max(g.peak, g.running)
			g.mu.Unlock()
			return nil
		}
		free := g.free
		g.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leave ends a call that began at start.
func (g *gate) leave(start time.Time, ok, tooMuch bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	switch {
	case tooMuch && start.After(g.cut): // those that were under way then say nothing new
		g.cut = time.Now()
		g.limit = max(1, g.limit/2)
	case ok:
		// As fast as TCP's slow start until the first refusal, then one a round.
		if g.cut.IsZero() {
			g.limit++
		} else {
			g.limit += 1 / g.limit
		}
		g.limit = min(g.limit, float64(g.most))
	}
	close(g.free)
	g.free = make(chan struct{})
}

func (g *gate) reached() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.peak
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return ctx.Err() == nil
}
