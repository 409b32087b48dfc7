package evals

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/modeld"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

func opinion(who, label string) phoenix.SpanAnnotation {
	return phoenix.SpanAnnotation{Kind: "HUMAN", Identifier: who, Answer: review.Answer{Label: label, Explanation: "because " + label}}
}

func labelled(t *testing.T, examples []phoenix.Example) []Labelled {
	t.Helper()
	items, err := FromExamples(examples)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func TestFromExamples_RefusesCorrections(t *testing.T) {
	_, err := FromExamples([]phoenix.Example{{ID: "a", Metadata: map[string]any{"label": "incorrect", shapeKey: map[string]any{"shape": "corrections"}}, Output: map[string]any{"answer": "the right one"}}})
	if review.KindOf(err) != review.Invalid || !strings.Contains(err.Error(), "--corrections") {
		t.Error(err)
	}
}

func decision(who, label, outcome string) phoenix.SpanAnnotation {
	o := opinion(review.AdjudicatedPrefix+who, label)
	o.Metadata = map[string]any{"outcome": outcome}
	return o
}

func TestResolve(t *testing.T) {
	retracted := phoenix.SpanAnnotation{Kind: "HUMAN", Identifier: "d", Metadata: map[string]any{"retracted": true}}
	machine := phoenix.SpanAnnotation{Kind: "LLM", Identifier: "judge:x:1", Answer: review.Answer{Label: "correct"}}
	for name, tt := range map[string]struct {
		in    []phoenix.SpanAnnotation
		label string
		how   How
		ok    bool
	}{
		"nobody":                     {nil, "", "", false},
		"one person":                 {[]phoenix.SpanAnnotation{opinion("a", "correct")}, "correct", Unanimous, true},
		"two who agree":              {[]phoenix.SpanAnnotation{opinion("a", "correct"), opinion("b", "correct")}, "correct", Unanimous, true},
		"two of three":               {[]phoenix.SpanAnnotation{opinion("a", "correct"), opinion("b", "incorrect"), opinion("c", "correct")}, "correct", Majority, true},
		"one against one":            {[]phoenix.SpanAnnotation{opinion("a", "correct"), opinion("b", "incorrect")}, "", Disputed, true},
		"two against two":            {[]phoenix.SpanAnnotation{opinion("a", "x"), opinion("b", "x"), opinion("c", "y"), opinion("d", "y")}, "", Disputed, true},
		"decided":                    {[]phoenix.SpanAnnotation{opinion("a", "correct"), opinion("b", "correct"), opinion("adjudicated:u", "incorrect")}, "incorrect", Adjudicated, true},
		"decided to be ambiguous":    {[]phoenix.SpanAnnotation{opinion("a", "correct"), decision("u", "", "Ambiguous")}, "", Disputed, true},
		"decided twice, alike":       {[]phoenix.SpanAnnotation{opinion("a", "correct"), decision("u", "incorrect", "Judge right"), decision("v", "incorrect", "Judge right")}, "incorrect", Adjudicated, true},
		"decided twice, unlike":      {[]phoenix.SpanAnnotation{opinion("a", "correct"), decision("u", "incorrect", "Judge right"), decision("v", "correct", "Human right")}, "", Disputed, true},
		"words, and no decision":     {[]phoenix.SpanAnnotation{opinion("a", "correct"), opinion("adjudicated:u", "")}, "correct", Unanimous, true},
		"simulated alone":            {[]phoenix.SpanAnnotation{opinion("simulated:1", "correct")}, "correct", Unanimous, true},
		"simulated beside a person":  {[]phoenix.SpanAnnotation{opinion("simulated:1", "correct"), opinion("simulated:2", "correct"), opinion("a", "incorrect")}, "incorrect", Unanimous, true},
		"a judge and what was taken": {[]phoenix.SpanAnnotation{machine, retracted}, "", "", false},
		"words alone":                {[]phoenix.SpanAnnotation{opinion("a", "")}, "", "", false},
	} {
		l, ok := Resolve(tt.in)
		if l.Label != tt.label || l.How != tt.how || ok != tt.ok {
			t.Errorf("%s: %q, %q, %v; want %q, %q, %v", name, l.Label, l.How, ok, tt.label, tt.how, tt.ok)
		}
	}
	// A decision about another version of the rubric is seen as such.
	vote, about := opinion("a", "correct"), decision("u", "incorrect", "Judge right")
	vote.Metadata, about.Metadata["decided_rubric"] = map[string]any{"rubric": "new"}, "old"
	mixed, _ := Resolve([]phoenix.SpanAnnotation{vote, about})
	if !slices.Equal(mixed.Rubrics, []string{"new", "old"}) || Mixed([]Labelled{mixed}, "") == nil {
		t.Errorf("%v", mixed.Rubrics)
	}
	l, _ := Resolve([]phoenix.SpanAnnotation{opinion("a", "correct"), opinion("b", "incorrect"), opinion("c", "correct")})
	if math.Abs(l.Agreement()-2./3) > 1e-9 || l.Explanation != "because correct" || len(l.Annotators) != 3 {
		t.Errorf("%+v", l)
	}
}

func TestAssign_IsStratifiedAndSticky(t *testing.T) {
	var items []Labelled
	for i := range 200 {
		label := "correct"
		if i%4 == 0 {
			label = "incorrect"
		}
		items = append(items, Labelled{SpanID: fmt.Sprintf("%016x", i), Label: label})
	}
	count := func(splits map[string]string, list []Labelled) map[string]int {
		n := map[string]int{}
		for _, l := range list {
			n[l.Label+" "+splits[l.SpanID]]++
		}
		return n
	}
	first := assign(items[:100], nil, 1)
	want := map[string]int{"correct train": 15, "correct dev": 30, "correct test": 30, "incorrect train": 5, "incorrect dev": 10, "incorrect test": 10}
	if got := count(first, items[:100]); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	old := map[string]kept{}
	for id, split := range first {
		old[id] = kept{split: split}
	}
	items[1].Label = "incorrect" // somebody changed their mind: the split stays all the same
	second := assign(items, old, 1)
	for id, split := range first {
		if second[id] != split {
			t.Fatalf("%s moved from %s to %s", id, split, second[id])
		}
	}
	n := map[string]int{}
	for _, s := range second {
		n[s]++
	}
	if n["train"] != 40 || n["dev"]+n["test"] != 160 || n["dev"] < 79 || n["dev"] > 81 { // one changed its stratum
		t.Errorf("%v", n)
	}
}

// world is a project with labelled spans on a real Phoenix.
type world struct {
	t       *testing.T
	rig     *rig.PhoenixServer
	px      *phoenix.Client
	project phoenix.Project
	name    string
	ids     []string
}

// newWorld makes a project with n spans of which every third is nonsense; label
// says what two reviewers say of each ("" for nothing).
func newWorld(t *testing.T, n int, label func(i int, reviewer string) string) *world {
	t.Helper()
	s := rig.SharedPhoenix(t)
	px, err := phoenix.New(phoenix.Options{Endpoint: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := px.Server(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, rig: s, px: px, name: "evals-" + rig.SpanID()}
	var spans []map[string]any
	for i := range n {
		answer := fmt.Sprintf("words that rhyme and number %d chime", i)
		if i%3 == 0 {
			answer = fmt.Sprintf("blorvin %d 18 99 7 tasquel 44 12", i)
		}
		spans = append(spans, rig.NewSpan("ChatCompletion", fmt.Sprintf("question %d", i), answer))
	}
	s.Ingest(t, w.name, spans...)
	w.ids = rig.SpanIDs(spans)
	if w.project, err = px.Project(t.Context(), w.name); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		for _, who := range []string{"ana", "ben"} {
			if l := label(i, who); l != "" {
				w.say(i, who, l, nil)
			}
		}
	}
	return w
}

var rubric = review.DefaultRubric("correctness")

func (w *world) say(i int, who, label string, meta map[string]any) {
	w.t.Helper()
	m := map[string]any{"rubric": rubric.Hash()}
	maps.Copy(m, meta)
	l, _ := rubric.Label(label)
	if err := w.px.AddSpanAnnotations(w.t.Context(), []phoenix.SpanAnnotation{{SpanID: w.ids[i], Name: "correctness", Kind: "HUMAN", Identifier: "slack:T1:" + who,
		Answer: review.Answer{Label: label, Score: l.Score, Explanation: who + " says " + label}, Metadata: m}}); err != nil {
		w.t.Fatal(err)
	}
}

func truth(i int) string {
	if i%3 == 0 {
		return "incorrect"
	}
	return "correct"
}

func (w *world) dataset(change func(*DatasetOptions)) (DatasetReport, error) {
	w.t.Helper()
	c, err := CollectLabels(w.t.Context(), w.px, w.project.ID, "correctness", nil, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	o := DatasetOptions{Name: "ds " + w.name, Rubric: rubric, Project: w.name, Seed: 1}
	if change != nil {
		change(&o)
	}
	return BuildDataset(w.t.Context(), w.px, c, o, nil)
}

func TestDataset_FromAnnotatedSpans(t *testing.T) {
	w := newWorld(t, 12, func(i int, who string) string {
		switch {
		case i == 11:
			return "" // nobody
		case i == 10:
			return map[string]string{"ana": "correct", "ben": "incorrect"}[who] // they disagree
		case i == 9 && who == "ben":
			return ""
		}
		return truth(i)
	})
	w.say(9, "ana", "great", nil) // no label of the rubric
	w.say(1, "ana", "correct", map[string]any{"correction": "It should have rhymed."})

	if r, err := w.dataset(func(o *DatasetOptions) { o.DryRun = true }); err != nil || r.Included != 9 || r.Created != 9 {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	if _, ok, err := w.px.Dataset(t.Context(), "ds "+w.name); ok || err != nil {
		t.Fatalf("a dry run made a dataset: %v", err)
	}
	r, err := w.dataset(nil)
	if err != nil || r.Spans != 12 || r.Annotated != 11 || r.Included != 9 || r.Created != 9 || r.Disputed != 1 || r.Unknown["great"] != 1 || r.Corrected != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if want := `1 disputed, 1 labelled "great", which the rubric does not have`; r.Left() != want {
		t.Errorf("left out: %s", r.Left())
	}
	examples, version, err := w.px.Examples(t.Context(), r.DatasetID, "", "")
	if err != nil || len(examples) != 9 || version != r.VersionID {
		t.Fatalf("%d examples, %s, %v", len(examples), version, err)
	}
	for _, e := range examples {
		i := slices.Index(w.ids, e.ID)
		if i < 0 || e.Source.SpanID != e.ID || e.Metadata["label"] != truth(i) || e.Input["question"] != fmt.Sprintf("question %d", i) || e.Metadata["rubric_hash"] != rubric.Hash() {
			t.Errorf("example %s (%d): %+v", e.ID, i, e)
		}
		if i == 1 && e.Metadata["correction"] != "It should have rhymed." {
			t.Errorf("correction: %v", e.Metadata["correction"])
		}
		list, _ := e.Metadata["annotations"].(map[string]any)["correctness"].([]any)
		if len(list) != 2 {
			t.Errorf("annotations in the convention of Phoenix's page: %v", e.Metadata["annotations"])
		}
	}
	// Once more: nothing. Then one changes their mind, and one more is labelled.
	if r, err = w.dataset(nil); err != nil || r.Created+r.Updated != 0 || r.Unchanged != 9 || r.VersionID != version {
		t.Errorf("again: %+v, %v", r, err)
	}
	w.say(2, "ana", "incorrect", nil)
	w.say(2, "ben", "incorrect", nil)
	w.say(11, "ana", "correct", nil)
	if r, err = w.dataset(nil); err != nil || r.Created != 1 || r.Updated != 1 || r.Unchanged != 8 {
		t.Errorf("extended: %+v, %v", r, err)
	}
	after, newest, err := w.px.Examples(t.Context(), r.DatasetID, "", "")
	if err != nil || newest == version || len(after) != 10 {
		t.Errorf("%d examples, version %s: %v", len(after), newest, err)
	}
	was := map[string]any{}
	for _, e := range examples {
		was[e.ID] = e.Metadata["split"]
	}
	for _, e := range after {
		if s, had := was[e.ID]; had && e.Metadata["split"] != s {
			t.Errorf("%s moved from %v to %v", e.ID, s, e.Metadata["split"])
		}
	}
}

func TestDataset_WhatItRefuses(t *testing.T) {
	w := newWorld(t, 4, func(int, string) string { return "" })
	_, err := w.dataset(nil)
	refused(t, err, "none of the 4 spans of project "+w.name+" has a HUMAN annotation named correctness")

	w.say(0, "ana", "correct", nil)
	w.say(1, "ana", "correct", map[string]any{"rubric": "0ldhash0"})
	_, err = w.dataset(nil)
	refused(t, err, "the rubric was changed midway", "0ldhash0 (1)", "--any-rubric")
	if r, err := w.dataset(func(o *DatasetOptions) { o.AnyRubric = true }); err != nil || r.Included != 2 {
		t.Errorf("--any-rubric: %+v, %v", r, err)
	}
	if r, err := w.dataset(func(o *DatasetOptions) { o.RubricHash = rubric.Hash(); o.Name += " one" }); err != nil || r.Included != 1 || r.OtherRubric != 1 {
		t.Errorf("--rubric-hash: %+v, %v", r, err)
	}
	// One version after the other is a mixture, too.
	_, err = w.dataset(func(o *DatasetOptions) { o.RubricHash = "0ldhash0"; o.Name += " one" })
	refused(t, err, "holds labels of other versions of the rubric", rubric.Hash()+" (1)", "--any-rubric")
	if r, err := w.dataset(func(o *DatasetOptions) { o.RubricHash, o.AnyRubric = "0ldhash0", true; o.Name += " one" }); err != nil || r.Created != 1 {
		t.Errorf("--any-rubric: %+v, %v", r, err)
	}
	name := "taken " + w.name
	if _, err := w.px.Append(t.Context(), name, "", []phoenix.NewExample{{Input: map[string]any{"a": 1}}}); err != nil {
		t.Fatal(err)
	}
	_, err = w.dataset(func(o *DatasetOptions) { o.AnyRubric, o.Name = true, name })
	refused(t, err, "holds examples that were not made from annotated spans")
	_, err = w.dataset(func(o *DatasetOptions) { o.AnyRubric, o.TutorialShape = true, true })
	refused(t, err, "in the spanbot shape", "in the tutorial shape")
}

func refused(t *testing.T, err error, words ...string) {
	t.Helper()
	if review.KindOf(err) != review.Invalid {
		t.Errorf("not refused: %v", err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
}

// What a judge says in prose is kept as such: it counts as wrong, and is not bought
// again.
func TestJudge_UnparsableIsWrittenAndMeasured(t *testing.T) {
	w := newWorld(t, 12, func(i int, _ string) string { return truth(i) })
	c, err := Collect(t.Context(), w.px, w.project.ID, rubric.Name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	j := testJudge()
	m, server := serve(t, modeld.Options{Change: func(string) string { return "I would not call this correct." }}, nil)
	judge := func() JudgingReport {
		cases, err := CasesFor(t.Context(), w.px, w.project.ID, j, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := RunJudge(t.Context(), j, m, cases, JudgingOptions{Write: j.Writer(w.px, true)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := judge(); r.Unparsable != 12 || r.Written != 12 || r.Judged != 0 {
		t.Errorf("%+v", r)
	}
	al, err := AlignItems(t.Context(), w.px, Places{Usual: w.project.ID}, j, c.Items, false)
	if err != nil || al.N != 12 || al.Accuracy.Value != 0 || al.Missing != 0 {
		t.Errorf("%+v, %v", al, err)
	}
	before := server.Requests()
	if r := judge(); r.Had != 12 || server.Requests() != before {
		t.Errorf("%+v, %d requests more", r, server.Requests()-before)
	}
}

// The loop on a real Phoenix: dataset, judge, alignment, experiments, comparison.
func TestLoop_OnARealPhoenix(t *testing.T) {
	w := newWorld(t, 60, func(i int, _ string) string { return truth(i) })
	r, err := w.dataset(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	train, _, err := w.px.Examples(ctx, r.DatasetID, "", "train")
	if err != nil || len(train) != r.Splits["train"] {
		t.Fatalf("%d of %d: %v", len(train), r.Splits["train"], err)
	}
	j, err := NewJudge("correctness", "standin", rubric, labelled(t, train), 4)
	if err != nil || len(j.Examples) != 4 {
		t.Fatalf("%+v, %v", j, err)
	}
	again, err := NewJudge("correctness", "standin", rubric, labelled(t, train), 4)
	if err != nil || again.Identifier() != j.Identifier() {
		t.Errorf("the same train split makes another judge: %v", err)
	}
	m, server := serve(t, modeld.Options{}, nil)
	examples, _, err := w.px.Examples(ctx, r.DatasetID, "", "")
	if err != nil {
		t.Fatal(err)
	}
	items := labelled(t, examples)
	var cases []Case
	for _, l := range items {
		cases = append(cases, Case{SpanID: l.SpanID, Question: l.Question, Answer: l.Answer})
	}
	if _, err := AlignItems(ctx, w.px, Places{Usual: w.project.ID}, j, items, false); review.KindOf(err) != review.Invalid || !strings.Contains(err.Error(), "run the judge over them first") {
		t.Errorf("aligned before it judged: %v", err)
	}
	jr, err := RunJudge(ctx, j, m, cases, JudgingOptions{Write: j.Writer(w.px, !j.Trusted()), Trace: NewRecorder(w.px)})
	if err != nil || jr.Judged != 56 || jr.Skipped != 4 || jr.Written != 56 || !jr.StandIn {
		t.Fatalf("%+v, %v", jr, err)
	}
	raw := w.rig.Annotations(t, w.name, cases[10].SpanID)
	i := slices.IndexFunc(raw, func(a map[string]any) bool { return a["name"] == "correctness_judge" })
	if i < 0 || raw[i]["annotator_kind"] != "LLM" || raw[i]["identifier"] != j.Identifier() || raw[i]["metadata"].(map[string]any)["unvalidated"] != true ||
		raw[i]["metadata"].(map[string]any)["stand_in"] == nil || len(raw) != 3 {
		t.Fatalf("%v", raw)
	}
	al, err := AlignItems(ctx, w.px, Places{Usual: w.project.ID}, j, items, false)
	if err != nil || al.N != 56 || al.Accuracy.Value != 1 || len(al.Leaked) != 4 || !al.StandIn || al.Standing != Directional {
		t.Fatalf("%+v, %v", al, err)
	}
	part := al // the mark is on all that the judge said, measured on or not
	part.Rows = al.Rows[:3]
	if n, err := Mark(ctx, w.px, Places{Usual: w.project.ID}, j, part); err != nil || n != 56 || !j.Trusted() {
		t.Errorf("%d marks changed, %v", n, err)
	}
	for _, a := range w.rig.Annotations(t, w.name, cases[10].SpanID) {
		if _, marked := a["metadata"].(map[string]any)["unvalidated"]; marked {
			t.Errorf("still marked: %v", a)
		}
	}

	d, _, err := w.px.Dataset(ctx, r.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	run := func(name, prompt string, change func(*ExperimentOptions)) (ExperimentReport, error) {
		o := ExperimentOptions{Dataset: d, Name: name, Task: Task{prompt, m}, Judge: j, JudgeModel: m, Splits: []string{"dev"}, Trace: true}
		if change != nil {
			change(&o)
		}
		return RunExperiment(ctx, w.px, o)
	}
	// The stand-in knows no answer: it rhymes about that, or says so in words with
	// numbers, as the prompt wants.
	before, err := run("before", "NONSENSE", nil)
	if err != nil || before.Runs != r.Splits["dev"] || before.Evaluated != before.Runs {
		t.Fatalf("%+v, %v", before, err)
	}
	after, err := run("after", "answer with a RHYME", nil)
	if err != nil || after.Labels["correct"] != after.Runs {
		t.Fatalf("%+v, %v", after, err)
	}
	c, err := Compare(ctx, w.px, before.ID, after.ID, j.Errors())
	if err != nil || c.Pairs != r.Splits["dev"] || c.Broken != 0 || c.LeftOut != 0 || c.McNemar == nil || !c.StandIn {
		t.Errorf("%+v, %v", c, err)
	}
	if !c.After.Corrected.Defined() {
		t.Errorf("the corrected rate: %s", c.After.Corrected)
	}

	// Nothing is done twice.
	asked := server.Requests()
	got, err := run("after", "answer with a RHYME", func(o *ExperimentOptions) { o.Resume = after.ID })
	if err != nil || got.Runs != 0 || server.Requests() != asked || got.Labels["correct"] != after.Runs {
		t.Errorf("resumed: %+v, %v", got, err)
	}
	_, err = run("after", "another prompt", func(o *ExperimentOptions) { o.Resume = after.ID })
	refused(t, err, "its prompt (hash) is")

	// What must not be compared.
	_, err = Compare(ctx, w.px, before.ID, before.ID, nil)
	refused(t, err, "cannot be compared with itself")
	all, err := run("all", "RHYME", func(o *ExperimentOptions) { o.Splits = []string{"test"} })
	if err != nil {
		t.Fatal(err)
	}
	_, err = Compare(ctx, w.px, before.ID, all.ID, nil)
	refused(t, err, "they ran over different splits")
	twice, err := run("twice", "RHYME", func(o *ExperimentOptions) { o.Repetitions = 2 })
	if err != nil || twice.Runs != 2*r.Splits["dev"] {
		t.Fatalf("%+v, %v", twice, err)
	}
	_, err = Compare(ctx, w.px, before.ID, twice.ID, nil)
	refused(t, err, "a different number of times")
	other := *j
	other.Rubric += " Be strict."
	strict, err := run("strict", "RHYME", func(o *ExperimentOptions) { o.Judge = &other })
	if err != nil {
		t.Fatal(err)
	}
	_, err = Compare(ctx, w.px, before.ID, strict.ID, nil)
	refused(t, err, "judged by different judges")
	w.say(1, "ana", "incorrect", nil)
	w.say(1, "ben", "incorrect", nil)
	if r, err := w.dataset(nil); err != nil || r.Updated != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	newer, err := run("newer", "RHYME", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Compare(ctx, w.px, before.ID, newer.ID, nil)
	refused(t, err, "different versions of the dataset")
}

// A run that was cut short, whose judge failed for a while, is made whole by the
// next one, and no answer is bought twice.
func TestExperiment_GoesOnWhereItStopped(t *testing.T) {
	w := newWorld(t, 30, func(i int, _ string) string { return truth(i) })
	r, err := w.dataset(nil)
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := w.px.Dataset(t.Context(), r.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	j := testJudge()
	// The model is much slower than Phoenix stores: when eight are stored it is not
	// done with all.
	task, tasks := serve(t, modeld.Options{Latency: 400 * time.Millisecond}, func(o *ModelOptions) { o.Concurrency = 2 })
	prose, _ := serve(t, modeld.Options{Prose: true}, func(o *ModelOptions) { o.Concurrency = 2 })
	ctx, stop := context.WithCancel(t.Context())
	o := ExperimentOptions{Dataset: d, Name: "cut", Task: Task{"RHYME", task}, Judge: j, JudgeModel: prose, Progress: func(done, _ int) {
		if done == 8 {
			stop()
		}
	}}
	got, err := RunExperiment(ctx, w.px, o)
	if err == nil || got.Runs < 8 || got.Runs >= 30 || got.Evaluated != 0 || got.Unparsable == 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	first := got.Runs
	good, _ := serve(t, modeld.Options{}, nil)
	o.Resume, o.JudgeModel, o.Progress = got.ID, good, nil
	got, err = RunExperiment(t.Context(), w.px, o)
	if err != nil || got.Evaluated != 30 {
		t.Fatalf("%+v, %v", got, err)
	}
	if n := tasks.Requests(); n > int64(30+2) { // two were on their way when it was cut
		t.Errorf("%d answers were bought for 30 examples (%d runs the first time)", n, first)
	}
	results, err := w.px.Results(t.Context(), got.ID)
	if err != nil || len(results) != 30 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for _, x := range results {
		if len(x.Evaluations) != 1 || x.Evaluations[0].Error != "" || x.Evaluations[0].Label == "" {
			t.Errorf("%+v", x)
		}
	}
}
