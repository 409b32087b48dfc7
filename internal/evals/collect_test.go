package evals

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/modeld"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// doorman stands before a Phoenix, counts what is asked, and answers what refuse says.
type doorman struct {
	mu     sync.Mutex
	asked  map[string]int // "GET spans": the last part of the path
	refuse func(r *http.Request) int
}

func (g *doorman) take() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.asked
	g.asked = map[string]int{}
	return was
}

// through is a client that goes through a doorman.
func through(t *testing.T, s *rig.PhoenixServer, refuse func(*http.Request) int) (*phoenix.Client, *doorman) {
	t.Helper()
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	g := &doorman{asked: map[string]int{}, refuse: refuse}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.asked[r.Method+" "+r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]++
		status := 0
		if g.refuse != nil {
			status = g.refuse(r)
		}
		g.mu.Unlock()
		if status != 0 {
			http.Error(w, "no", status)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	px, err := phoenix.New(phoenix.Options{Endpoint: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := px.Server(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.take()
	return px, g
}

// sayOfTrace annotates the whole trace of a span.
func (w *world) sayOfTrace(i int, who, label string, meta map[string]any) {
	w.t.Helper()
	if meta == nil {
		meta = map[string]any{}
	}
	meta["rubric"] = rubric.Hash()
	s, err := w.px.Span(w.t.Context(), w.project.ID, "", w.ids[i], 100)
	if err != nil {
		w.t.Fatal(err)
	}
	l, _ := rubric.Label(label)
	err = w.px.Annotate(w.t.Context(), []phoenix.Annotation{{Metadata: meta, Judgement: review.Judgement{
		Ref: review.Ref{Route: "r", SpanID: s.ID, TraceID: s.TraceID}, OnTrace: true, Name: "correctness", Reviewer: review.Reviewer{Team: "T1", ID: who},
		Answer: review.Answer{Label: label, Score: l.Score, Explanation: who + " says the trace is " + label}}}})
	if err != nil {
		w.t.Fatal(err)
	}
}

// What Phoenix says was annotated is what one finds who looks at every span.
func TestCollect_BothWaysFindTheSame(t *testing.T) {
	w := newWorld(t, 230, func(i int, who string) string {
		if i >= 12 || i == 4 || who == "ben" && i%2 == 0 {
			return ""
		}
		return truth(i)
	})
	w.sayOfTrace(4, "ana", "correct", nil)
	w.sayOfTrace(5, "ana", "incorrect", nil)
	w.sayOfTrace(200, "ben", "correct", nil)
	w.say(210, "ana", "correct", map[string]any{"correction": "So."})
	quick, asked := through(t, w.rig, nil)
	slow, _ := through(t, w.rig, func(r *http.Request) int {
		if r.Method == http.MethodPost && r.URL.Path == "/v1/spans" {
			return http.StatusMethodNotAllowed
		}
		return 0
	})
	options := cmp.Options{cmpopts.IgnoreUnexported(Collection{}, Labelled{}), cmpopts.EquateEmpty()}
	ctx := t.Context()
	a, err := Collect(ctx, quick, w.project.ID, "correctness", []string{"helpfulness"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Collect(ctx, slow, w.project.ID, "correctness", []string{"helpfulness"}, nil)
	if diff := cmp.Diff(b, a, options); err != nil || diff != "" || a.Spans != 230 || a.Annotated != 14 || a.Items[0].Question == "" {
		t.Errorf("%d of %d, %v\n%s", a.Annotated, a.Spans, err, diff)
	}
	asked.take()
	labels, err := CollectLabels(ctx, quick, w.project.ID, "correctness", nil, nil)
	n := asked.take()
	if err != nil || n["GET spans"] != 0 || n["POST spans"] != 1 || n["GET span_annotations"] != 1 || n["GET trace_annotations"] != 1 {
		t.Errorf("%v, %v", n, err)
	}
	for i, l := range labels.Items {
		if l.Span.Start != b.Items[i].Span.Start || l.Label != b.Items[i].Label || l.Answer != "" || l.Span.Input.Head != "" {
			t.Errorf("%s: %q, %q, %v", l.SpanID, l.Label, l.Answer, l.Span.Start)
		}
	}
}

// Texts are read of what is new or said differently, and of nothing else.
func TestDataset_ReadsTheTextsOfWhatChangedAlone(t *testing.T) {
	w := newWorld(t, 40, func(i int, _ string) string {
		if i >= 30 {
			return ""
		}
		return truth(i)
	})
	px, asked := through(t, w.rig, nil)
	w.px = px
	build := func(change func(*DatasetOptions), texts, created, updated int) DatasetReport {
		t.Helper()
		asked.take()
		r, err := w.dataset(change)
		n := asked.take()
		if err != nil || n["GET spans"] != texts || r.Created != created || r.Updated != updated {
			t.Errorf("%+v\n%v, %v; want %d requests for texts, %d new and %d changed", r, n, err, texts, created, updated)
		}
		if posts := n["POST upload"]; (created+updated > 0 && !r.DryRun) != (posts > 0) {
			t.Errorf("%d uploads", posts)
		}
		return r
	}
	pages := 1 // most of the project: page by page
	if !px.Ascends() {
		pages = 3 // ten spans a request
	}
	first := build(nil, pages, 30, 0)
	again := build(nil, 0, 0, 0)
	first.Created, first.Unchanged = 0, 30
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the report of a run with nothing new:\n%s", diff)
	}
	of := func(i int) map[string]any {
		t.Helper()
		examples, _, err := w.px.Examples(t.Context(), first.DatasetID, "", "")
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(examples, func(e phoenix.Example) bool { return e.ID == w.ids[i] })
		if at < 0 {
			t.Fatalf("no example of span %d", i)
		}
		e := examples[at]
		if e.Input["question"] != fmt.Sprintf("question %d", i) || e.Output["answer"] == "" {
			t.Errorf("texts of %d: %v, %v", i, e.Input, e.Output)
		}
		return e.Metadata
	}
	// A label, …
	w.say(1, "ana", "incorrect", nil)
	w.say(1, "ben", "incorrect", nil)
	build(nil, 1, 0, 1)
	if m := of(1); m["label"] != "incorrect" || m["model"] == "" {
		t.Errorf("%v", m)
	}
	// … why, …
	l, _ := rubric.Label("correct")
	if err := w.px.AddSpanAnnotations(t.Context(), []phoenix.SpanAnnotation{{SpanID: w.ids[2], Name: "correctness", Kind: "HUMAN", Identifier: "slack:T1:ana",
		Answer: review.Answer{Label: "correct", Score: l.Score, Explanation: "other words"}, Metadata: map[string]any{"rubric": rubric.Hash()}}}); err != nil {
		t.Fatal(err)
	}
	build(nil, 1, 0, 1)
	// … a correction, …
	w.say(4, "ben", "correct", map[string]any{"correction": "It should have chimed."})
	build(nil, 1, 0, 1)
	if m := of(4); m["correction"] != "It should have chimed." {
		t.Errorf("%v", m)
	}
	// … and a decision over the heads of those who agree.
	if err := w.px.AddSpanAnnotations(t.Context(), []phoenix.SpanAnnotation{{SpanID: w.ids[5], Name: "correctness", Kind: "HUMAN", Identifier: review.AdjudicatedPrefix + "slack:T1:cat",
		Answer: review.Answer{Label: "incorrect"}, Metadata: map[string]any{"rubric": rubric.Hash()}}}); err != nil {
		t.Fatal(err)
	}
	build(nil, 1, 0, 1)
	if m := of(5); m["label"] != "incorrect" || m["how"] != string(Adjudicated) {
		t.Errorf("%v", m)
	}
	// A vote more that changes no label is a change, too; and so is a new span.
	w.say(7, "cat", "correct", nil)
	w.say(35, "ana", "correct", nil)
	build(func(o *DatasetOptions) { o.DryRun = true }, 1, 1, 1)
	build(nil, 1, 1, 1)
	build(nil, 0, 0, 0)
}

func TestDataset_AWordOnATraceIsItsRootSpans(t *testing.T) {
	w := newWorld(t, 6, func(i int, who string) string {
		if i == 0 && who == "ana" {
			return "incorrect"
		}
		return ""
	})
	// A trace of two spans: the label goes to the root.
	root, child := rig.NewSpan("root", "question of the trace", "its answer"), rig.NewSpan("child", "a", "b")
	child["context"].(map[string]any)["trace_id"] = root["context"].(map[string]any)["trace_id"]
	rootID := rig.SpanIDs([]map[string]any{root})[0]
	child["parent_id"] = rootID
	w.rig.Ingest(t, w.name, root, child)
	w.ids = append(w.ids, rootID)

	w.sayOfTrace(0, "ana", "correct", nil) // she said otherwise of the span, and that counts
	w.sayOfTrace(1, "ana", "correct", map[string]any{"correction": "Shorter."})
	w.sayOfTrace(2, "ana", "correct", nil)
	w.say(2, "ben", "correct", nil)
	w.sayOfTrace(6, "ana", "correct", nil)
	w.sayOfTrace(6, "ben", "correct", nil)
	r, err := w.dataset(nil)
	if err != nil || r.Spans != 8 || r.Annotated != 4 || r.Created != 4 || r.Corrected != 1 || r.Labels["incorrect"] != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	examples, _, err := w.px.Examples(t.Context(), r.DatasetID, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range examples {
		i := slices.Index(w.ids, e.ID)
		want := map[int][]any{0: {"incorrect", nil, 1}, 1: {"correct", "trace", 1}, 2: {"correct", "span and trace", 2}, 6: {"correct", "trace", 2}}[i]
		voters, _ := e.Metadata["annotators"].([]any)
		if want == nil || e.Metadata["label"] != want[0] || e.Metadata["level"] != want[1] || len(voters) != want[2] || e.Source.SpanID != e.ID || e.Metadata["trace_id"] == "" {
			t.Errorf("span %d: %+v", i, e)
		}
		if i == 6 && (e.Input["question"] != "question of the trace" || e.Output["answer"] != "its answer") {
			t.Errorf("the root's texts: %v, %v", e.Input, e.Output)
		}
	}
	if r, err := w.dataset(nil); err != nil || r.Unchanged != 4 || r.Created+r.Updated != 0 {
		t.Errorf("again: %+v, %v", r, err)
	}
	w.sayOfTrace(1, "ana", "incorrect", nil)
	if r, err := w.dataset(nil); err != nil || r.Unchanged != 3 || r.Updated != 1 || r.Corrected != 0 {
		t.Errorf("changed: %+v, %v", r, err)
	}
	// What she says of the span takes the place of what she said of the trace.
	w.say(1, "ana", "correct", nil)
	if r, err := w.dataset(nil); err != nil || r.Updated != 1 || r.Labels["incorrect"] != 1 {
		t.Errorf("overruled: %+v, %v", r, err)
	}
}

// What a judge has judged is not read again, and both ways to the cases agree.
func TestCasesFor_ReadsWhatTheJudgeHasNotSeen(t *testing.T) {
	w := newWorld(t, 25, func(int, string) string { return "" })
	j := testJudge()
	px, asked := through(t, w.rig, nil)
	slow, _ := through(t, w.rig, func(r *http.Request) int {
		if r.Method == http.MethodPost && r.URL.Path == "/v1/spans" {
			return http.StatusMethodNotAllowed
		}
		return 0
	})
	m, server := serve(t, modeld.Options{}, nil)
	ctx := t.Context()
	byID := func(cases []Case) []Case {
		return slices.SortedFunc(slices.Values(cases), func(a, b Case) int { return strings.Compare(a.SpanID, b.SpanID) })
	}
	all, err := CasesFor(ctx, px, w.project.ID, j, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	walked, err := CasesFor(ctx, slow, w.project.ID, j, 0, nil)
	if diff := cmp.Diff(byID(walked), byID(all)); err != nil || len(all) != 25 || diff != "" {
		t.Fatalf("%d cases, %v\n%s", len(all), err, diff)
	}
	r, err := RunJudge(ctx, j, m, all[:20], JudgingOptions{Write: j.Writer(w.px, true)})
	if err != nil || r.Written != 20 {
		t.Fatalf("%+v, %v", r, err)
	}
	asked.take()
	rest, err := CasesFor(ctx, px, w.project.ID, j, 0, nil)
	if n := asked.take(); err != nil || len(rest) != 25 || n["GET spans"] != 1 || n["POST spans"] != 1 {
		t.Fatalf("%d cases, %v, %v", len(rest), n, err)
	}
	before := server.Requests()
	r, err = RunJudge(ctx, j, m, rest, JudgingOptions{Write: j.Writer(w.px, true)})
	if err != nil || r.Cases != 25 || r.Had != 20 || r.Judged != 5 || server.Requests()-before != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	if prompt, calls, _ := j.Forecast(rest, 1, nil); calls != 5 || prompt == "" {
		t.Errorf("forecast: %d calls", calls)
	}
	// Another version of the judge has seen nothing.
	other := *j
	other.Rubric += " Be strict."
	if got, err := CasesFor(ctx, px, w.project.ID, &other, 0, nil); err != nil || slices.ContainsFunc(got, func(c Case) bool { return c.Had || c.Answer == "" }) || len(got) != 25 {
		t.Errorf("%d cases, %v", len(got), err)
	}
	if got, err := CasesFor(ctx, px, w.project.ID, j, 3, nil); err != nil || len(got) != 3 || got[0].Answer == "" {
		t.Errorf("the newest three: %v, %v", got, err)
	}
}
