package evals

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
)

// Status is what became of a span that was to be judged.
type Status string

// The statuses. Only Judged has a label.
const (
	Judged     Status = "judged"
	Unparsable Status = "unparsable" // the model answered, twice, with nothing that is one label
	Failed     Status = "error"      // the model did not answer
	Skipped    Status = "skipped"    // nothing to judge, or it stands in the prompt
)

// Case is what a judge looks at.
type Case struct {
	SpanID   string
	Question string
	Answer   string
	Had      bool // this very judge has judged it before: it comes without texts
}

// CasesFor is Cases for a judge: of what it has judged before no texts are read,
// where Phoenix can tell. At most limit (0: all) means the newest, whether they were
// judged or not, and then those are read as they come.
func CasesFor(ctx context.Context, px *phoenix.Client, project string, j *Judge, limit int, say Progress) ([]Case, error) {
	if limit > 0 {
		return Cases(ctx, px, project, limit, say)
	}
	without, with, err := px.Unjudged(ctx, project, j.Annotation(), j.Identifier())
	if ctx.Err() != nil {
		return nil, err
	}
	if err != nil {
		return Cases(ctx, px, project, limit, say)
	}
	var out []Case
	done := 0
	for part := range slices.Chunk(without, 100) {
		ids := make([]string, len(part))
		for i, s := range part {
			ids[i] = s.ID
		}
		spans, err := px.SpansByID(ctx, project, ids, maxData+1)
		if err != nil {
			return nil, err
		}
		for _, s := range spans {
			if s.Kind == "EVALUATOR" { // in lower case there
				continue
			}
			question, answer, _ := sides(s)
			out = append(out, Case{SpanID: s.ID, Question: question, Answer: answer})
		}
		done += len(part)
		say.say(done, len(without))
	}
	for _, s := range with {
		out = append(out, Case{SpanID: s.ID, Had: true})
	}
	return out, nil
}

// Verdict is what a judge said of a case.
type Verdict struct {
	SpanID      string         `json:"span_id"`
	Status      Status         `json:"status"`
	Label       string         `json:"label,omitempty"`
	Score       *float64       `json:"score,omitempty"`
	Explanation string         `json:"explanation,omitempty"`
	Votes       map[string]int `json:"votes,omitempty"` // of repeated votes
	Mode        Mode           `json:"mode,omitempty"`
	Model       string         `json:"model,omitempty"` // as the answer names it
	StandIn     bool           `json:"stand_in,omitempty"`
	Usage       Usage          `json:"tokens"`
	Cost        Cost           `json:"cost_usd"`
	Took        time.Duration  `json:"-"`
	Why         string         `json:"why,omitempty"` // of a status without a label
	Err         error          `json:"-"`
	started     time.Time
	prompt      string
	raw         string
}

// Judge asks for a verdict on a case; votes > 1 asks several times and takes what
// most of them say, the first such label on a tie. What cannot be read is asked
// for once more.
func (j *Judge) Judge(ctx context.Context, m *Model, c Case, votes int) Verdict {
	v := Verdict{SpanID: c.SpanID, started: time.Now()}
	switch {
	case j.Knows(c.SpanID):
		v.Status, v.Why = Skipped, "it is one of the judge's own examples"
		return v
	case strings.TrimSpace(c.Answer) == "":
		v.Status, v.Why = Skipped, "its output is empty"
		return v
	}
	v.prompt = j.Prompt(c.Question, c.Answer)
	said := map[string]int{}
	why := map[string]string{}
	var order []string
	for i := range max(1, votes) {
		seed := int64(0)
		if votes > 1 {
			seed = int64(i + 1)
		}
		label, explanation, ok, err := j.once(ctx, m, &v, seed)
		if err != nil {
			v.Status, v.Err, v.Why = Failed, err, err.Error()
			return v
		}
		if !ok {
			continue
		}
		if said[label] == 0 {
			order = append(order, label)
			why[label] = explanation
		}
		said[label]++
	}
	v.Took = time.Since(v.started)
	if len(order) == 0 {
		v.Status, v.Why = Unparsable, "the model's answer is not one of the labels: "+excerpt(v.raw)
		return v
	}
	for _, l := range order {
		if said[l] > said[v.Label] {
			v.Label = l
		}
	}
	v.Status, v.Explanation, v.Score = Judged, why[v.Label], j.Score(v.Label)
	if votes > 1 {
		v.Votes = said
	}
	return v
}

func (j *Judge) once(ctx context.Context, m *Model, v *Verdict, seed int64) (label, explanation string, ok bool, err error) {
	for range 2 {
		a, err := m.Verdict(ctx, "", v.prompt, j.Names(), seed)
		if err != nil {
			return "", "", false, err
		}
		v.Mode, v.Model, v.StandIn, v.raw = a.Mode, a.Model, a.StandIn(), a.Text
		v.Usage.add(a.Usage)
		v.Cost.Dollars, v.Cost.Unknown = v.Cost.Dollars+a.Cost.Dollars, v.Cost.Unknown || a.Cost.Unknown
		if label, explanation, ok = ParseVerdict(a.Text, j.Names()); ok {
			return label, explanation, true, nil
		}
	}
	return "", "", false, nil
}

func excerpt(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if s == "" {
		return "it is empty"
	}
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return "“" + s + "”"
}

// JudgingReport says what a run of a judge did.
type JudgingReport struct {
	Judge      string         `json:"judge"`
	Identifier string         `json:"identifier"`
	Annotation string         `json:"annotation"`
	Cases      int            `json:"cases"`
	Had        int            `json:"already_judged"` // by this very judge: not asked again
	Judged     int            `json:"judged"`
	Skipped    int            `json:"skipped"`
	Unparsable int            `json:"unparsable"`
	Errors     int            `json:"errors"`
	Written    int            `json:"written"`
	Missing    int            `json:"missing"` // spans that Phoenix does not have any more
	Labels     map[string]int `json:"labels"`
	Mode       Mode           `json:"mode,omitempty"`
	Spent      Spent          `json:"spent"`
	Seconds    float64        `json:"seconds"`
	P50        float64        `json:"p50_ms"`
	P95        float64        `json:"p95_ms"`
	StandIn    bool           `json:"stand_in"` // no language model was used
	FirstError string         `json:"first_error,omitempty"`
}

// JudgingOptions say how a judge runs.
type JudgingOptions struct {
	Votes    int
	Had      map[string]bool // spans that this judge has judged before
	Write    func(ctx context.Context, vs []Verdict) (missing int, err error)
	Progress Progress
	Trace    *Recorder // nil: no traces
}

// RunJudge judges cases, as many at a time as the model takes, and hands verdicts
// to Write in groups as they come. When ctx ends it stops asking, and writes what
// it has. The first error that concerns all cases (a refused key, the cost
// ceiling) ends it.
func RunJudge(ctx context.Context, j *Judge, m *Model, cases []Case, o JudgingOptions) (JudgingReport, error) {
	r := JudgingReport{Judge: j.Name, Identifier: j.Identifier(), Annotation: j.Annotation(), Cases: len(cases), Labels: map[string]int{}}
	start := time.Now()
	var todo []Case
	for _, c := range cases {
		if c.Had || o.Had[c.SpanID] {
			r.Had++
			continue
		}
		todo = append(todo, c)
	}
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// Verdicts wait here while Phoenix writes: no model waits for a database.
	work, results := make(chan Case), make(chan Verdict, len(todo))
	var workers sync.WaitGroup
	for range min(m.Concurrency(), max(1, len(todo))) {
		workers.Go(func() {
			for c := range work {
				v := j.Judge(run, m, c, o.Votes)
				if v.Status == Failed && run.Err() != nil {
					continue // it was not asked to the end; the next run does it
				}
				results <- v
			}
		})
	}
	go func() {
		defer close(results)
		defer workers.Wait()
		defer close(work)
		for _, c := range todo {
			select {
			case work <- c:
			case <-run.Done():
				return
			}
		}
	}()
	var batch []Verdict
	var took []float64
	var writeErr error
	last := time.Now()
	flush := func() {
		if len(batch) == 0 || o.Write == nil || writeErr != nil {
			batch = nil
			return
		}
		missing, err := o.Write(context.WithoutCancel(ctx), batch) // what was paid for is kept
		if err != nil {
			writeErr = err
			stop(err)
		} else {
			r.Written += len(batch) - missing
			r.Missing += missing
		}
		batch, last = nil, time.Now()
	}
	done := 0
	for v := range results {
		done++
		switch v.Status {
		case Judged:
			r.Judged++
			r.Labels[v.Label]++
			batch = append(batch, v)
			took = append(took, float64(v.Took.Milliseconds()))
		case Skipped:
			r.Skipped++
		case Unparsable:
			r.Unparsable++
			batch = append(batch, v) // else it would miss in every measure, and be bought anew
		case Failed:
			r.Errors++
			if r.FirstError == "" {
				r.FirstError = v.Why
			}
			if m.hopeless(v.Err) {
				stop(v.Err)
			}
		}
		r.StandIn = r.StandIn || v.StandIn
		o.Trace.verdict(j, v)
		if len(batch) >= 100 || time.Since(last) > 2*time.Second {
			flush()
		}
		o.Progress.say(done, len(todo))
	}
	flush()
	r.Mode, r.Spent, r.Seconds = m.Mode(), m.Spent(), time.Since(start).Seconds()
	r.P50, r.P95 = quantile(took, .5), quantile(took, .95)
	if err := o.Trace.Flush(context.WithoutCancel(ctx)); err != nil && writeErr == nil {
		writeErr = fmt.Errorf("the verdicts are written, but not all of their traces: %w", err)
	}
	switch {
	case writeErr != nil:
		return r, writeErr
	case ctx.Err() != nil:
		return r, ctx.Err()
	case context.Cause(run) != nil:
		return r, context.Cause(run)
	}
	return r, nil
}

func quantile(xs []float64, q float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	slices.Sort(xs)
	return xs[min(len(xs)-1, int(q*float64(len(xs))))]
}

// annotation is a verdict as Phoenix holds it; one that could not be read has no
// label.
func (j *Judge) annotation(v Verdict, unvalidated bool) phoenix.SpanAnnotation {
	meta := map[string]any{"model": v.Model, "asked_model": j.Model, "judge_hash": j.Version(), "rubric_hash": j.Hash, "mode": string(v.Mode),
		"tokens": v.Usage.Prompt + v.Usage.Completion, "latency_ms": v.Took.Milliseconds(), "judge": j.Name}
	if !v.Cost.Unknown {
		meta["cost_usd"] = v.Cost.Dollars
	}
	if v.Votes != nil {
		votes := map[string]any{}
		for l, n := range v.Votes {
			votes[l] = n
		}
		meta["votes"] = votes
	}
	if unvalidated {
		meta["unvalidated"] = true
	}
	if v.StandIn {
		meta["stand_in"] = "no language model was used"
	}
	if v.Status == Unparsable { // it has no label, and Phoenix wants something said
		meta["status"] = string(v.Status)
		v.Explanation = string(v.Status) + ": " + v.Why
	}
	return phoenix.SpanAnnotation{SpanID: v.SpanID, Name: j.Annotation(), Kind: "LLM", Identifier: j.Identifier(),
		Answer: review.Answer{Label: v.Label, Score: v.Score, Explanation: v.Explanation}, Metadata: meta}
}

// Writer writes verdicts to Phoenix as annotations of kind LLM; those of spans
// that are gone are counted and left out.
func (j *Judge) Writer(px *phoenix.Client, unvalidated bool) func(context.Context, []Verdict) (int, error) {
	return func(ctx context.Context, vs []Verdict) (int, error) {
		missing := 0
		for part := range slices.Chunk(vs, 100) {
			list := make([]phoenix.SpanAnnotation, len(part))
			for i, v := range part {
				list[i] = j.annotation(v, unvalidated)
			}
			n, err := addAnnotations(ctx, px, list)
			missing += n
			if err != nil {
				return missing, err
			}
		}
		return missing, nil
	}
}

// addAnnotations writes annotations, without those of spans that are gone, and
// tries for a while when Phoenix does not answer.
func addAnnotations(ctx context.Context, px *phoenix.Client, list []phoenix.SpanAnnotation) (missing int, err error) {
	for try := 0; ; try++ {
		err = px.AddSpanAnnotations(ctx, list)
		var gone *phoenix.MissingError
		switch {
		case err == nil:
			return missing, nil
		case errors.As(err, &gone) && len(gone.IDs) > 0:
			before := len(list)
			list = slices.DeleteFunc(list, func(a phoenix.SpanAnnotation) bool { return slices.Contains(gone.IDs, a.SpanID) })
			missing += before - len(list)
			if len(list) == 0 {
				return missing, nil
			}
			if len(list) == before {
				return missing, err
			}
		case transient(err) && try < 6:
			if !sleep(ctx, time.Duration(250<<try)*time.Millisecond) {
				return missing, err
			}
		default:
			return missing, err
		}
	}
}

// transient reports that Phoenix may take it a moment later.
func transient(err error) bool {
	k := review.KindOf(err)
	return k == review.Down || k == review.Busy || k == review.Unsure
}

// Verdicts reads what judges said of spans, by identifier.
func Verdicts(ctx context.Context, px *phoenix.Client, project, annotation string, spans []string) (map[string][]phoenix.SpanAnnotation, error) {
	all, err := px.SpanAnnotations(ctx, project, annotation, spans)
	if err != nil {
		return nil, err
	}
	out := map[string][]phoenix.SpanAnnotation{}
	for _, a := range all {
		if a.Kind == "LLM" {
			out[a.Identifier] = append(out[a.Identifier], a)
		}
	}
	return out, nil
}

// Forecast is the prompt of one case and what all of them will cost, roughly: a
// token is taken for four characters, an answer for 60 tokens.
func (j *Judge) Forecast(cases []Case, votes int, prices map[string]Price) (prompt string, calls int, cost Cost) {
	var u Usage
	for _, c := range cases {
		if c.Had || j.Knows(c.SpanID) || strings.TrimSpace(c.Answer) == "" {
			continue
		}
		text := j.Prompt(c.Question, c.Answer)
		prompt = cmp.Or(prompt, text)
		calls += max(1, votes)
		u.Prompt += max(1, votes) * (len(text)/4 + 1)
		u.Completion += max(1, votes) * 60
	}
	p, known := PriceOf(j.Model, prices)
	return prompt, calls, costOf(p, known, u)
}

// Leaks names the spans of the judge's examples that are among those it is to be
// measured on.
func (j *Judge) Leaks(cases []Case) []string {
	found := map[string]bool{}
	for _, c := range cases {
		if j.Knows(c.SpanID) {
			found[c.SpanID] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}
