package evals

import (
	"slices"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
)

func (w *world) decide(i int, label, why string) {
	w.t.Helper()
	if err := w.px.AddSpanAnnotations(w.t.Context(), []phoenix.SpanAnnotation{{SpanID: w.ids[i], Name: "correctness", Kind: "HUMAN", Identifier: review.AdjudicatedPrefix + "slack:T1:cat",
		Answer: review.Answer{Label: label, Explanation: why}, Metadata: map[string]any{"rubric": "a study's", "outcome": "…"}}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) examples(id string) map[string]phoenix.Example {
	w.t.Helper()
	list, _, err := w.px.Examples(w.t.Context(), id, "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]phoenix.Example{}
	for _, e := range list {
		out[e.ID] = e
	}
	return out
}

// An example whose label nobody stands by any more must measure no judge: it stays
// in the dataset, without one, until there is one again.
func TestDataset_ALabelThatIsNoneAnyMore_IsTakenOff(t *testing.T) {
	w := newWorld(t, 6, func(i int, _ string) string { return truth(i) })
	first, err := w.dataset(nil)
	if err != nil || first.Created != 6 || first.Cleared != 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	before := w.examples(first.DatasetID)
	w.say(1, "ben", "incorrect", nil)      // they disagree now
	w.decide(2, "", "the rubric is vague") // somebody says that nobody can tell
	for _, who := range []string{"ana", "ben"} {
		j := review.Judgement{Ref: review.Ref{SpanID: w.ids[3]}, Name: "correctness", Reviewer: review.Reviewer{Team: "T1", ID: who}, Withdrawn: true}
		if err := w.px.Withdraw(t.Context(), w.project.ID, phoenix.Annotation{Judgement: j}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := w.dataset(func(o *DatasetOptions) { o.DryRun = true })
	if err != nil || r.Cleared != 3 {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	r, err = w.dataset(nil)
	if err != nil || r.Cleared != 3 || r.Updated != 3 || r.Unchanged != 3 || r.Disputed != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	after := w.examples(first.DatasetID)
	for i, id := range w.ids {
		e, was := after[id], before[id]
		taken := i == 1 || i == 2 || i == 3
		if (e.Metadata["label"] == nil) != taken || e.Metadata["split"] != was.Metadata["split"] || e.Input["question"] != was.Input["question"] || e.Output["answer"] != was.Output["answer"] {
			t.Errorf("span %d: %v", i, e)
		}
	}
	var list []phoenix.Example
	for _, id := range w.ids {
		list = append(list, after[id])
	}
	for i, l := range labelled(t, list) {
		if taken := i == 1 || i == 2 || i == 3; (l.Label == "") != taken || len(l.Opinions) == 0 && i != 3 {
			t.Errorf("span %d is read back as %+v", i, l)
		}
	}
	if r, err = w.dataset(nil); err != nil || r.Cleared != 0 || r.Updated != 0 {
		t.Errorf("again: %+v, %v", r, err)
	}
	// A decision gives it its label back, and its reason is the example's.
	w.decide(1, "incorrect", "It does not rhyme.")
	if r, err = w.dataset(nil); err != nil || r.Updated != 1 || r.How[Adjudicated] != 1 {
		t.Errorf("decided: %+v, %v", r, err)
	}
	if m := w.examples(first.DatasetID)[w.ids[1]].Metadata; m["label"] != "incorrect" || m["explanation"] != "It does not rhyme." || m["rubric_hash"] != rubric.Hash() {
		t.Errorf("%v", m)
	}
}

// What it should have said is an example of its own kind, and says where it is from.
func TestDataset_OfCorrections(t *testing.T) {
	w := newWorld(t, 4, func(i int, _ string) string { return truth(i) })
	none := func(o *DatasetOptions) { o.Name, o.Corrections = "none "+w.name, true }
	w.say(0, "ben", "correct", nil)
	if _, err := w.dataset(none); review.KindOf(err) != review.Invalid || !strings.Contains(err.Error(), "has a correction") {
		t.Errorf("without any: %v", err)
	}
	w.say(0, "ben", "correct", map[string]any{"correction": "Numbers chime,\nwords rhyme."}) // and they disagree
	corrections := func(o *DatasetOptions) { o.Name, o.Corrections, o.AnyRubric = "fixed "+w.name, true, true }
	r, err := w.dataset(corrections)
	if err != nil || r.Created != 1 || r.Corrected != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	e := w.examples(r.DatasetID)[w.ids[0]]
	if e.Output["answer"] != "Numbers chime,\nwords rhyme." || e.Input["question"] != "question 0" || e.Metadata["corrected_by"] != "slack:T1:ben" ||
		e.Metadata["original_answer"] != "blorvin 0 18 99 7 tasquel 44 12" || e.Source.SpanID != w.ids[0] || e.Metadata["split"] == "" {
		t.Errorf("%+v", e)
	}
	if r, err := w.dataset(corrections); err != nil || r.Unchanged != 1 || r.Updated != 0 {
		t.Errorf("again: %+v, %v", r, err)
	}
	if _, err := w.dataset(func(o *DatasetOptions) { o.Name = "fixed " + w.name }); review.KindOf(err) != review.Invalid {
		t.Errorf("labels into the corrections: %v", err)
	}
	if !slices.Contains([]string{"train", "dev", "test"}, e.Metadata["split"].(string)) {
		t.Errorf("split %v", e.Metadata["split"])
	}
}
