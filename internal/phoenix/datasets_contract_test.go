package phoenix

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

func exampleOf(id, question, label, split string) NewExample {
	return NewExample{ID: id, Split: split, Input: map[string]any{"question": question}, Output: map[string]any{"answer": "a"}, Metadata: map[string]any{"label": label}}
}

func appended(t *testing.T, c *Client, name string, es ...NewExample) Uploaded {
	t.Helper()
	up, err := c.Append(t.Context(), name, "made by a test", es)
	must(t, err)
	return up
}

func TestDatasets_AppendIsIdempotentAndPatches(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		span := rig.NewSpan("s", "in", "out")
		c, _ := prepare(t, px, span)
		id := rig.SpanIDs([]map[string]any{span})[0]
		name := "set/of ünïcode " + rig.SpanID()
		if _, ok, err := c.Dataset(t.Context(), name); ok || err != nil {
			t.Fatalf("before: %v, %v", ok, err)
		}
		first := exampleOf(id, "q1", "correct", "train")
		first.SpanID = id
		lost := exampleOf("b", "q2", "correct", "dev")
		lost.SpanID = "00000000000000ff" // no span has it
		up := appended(t, c, name, first, lost)
		if up.Created != 2 || up.Updated != 0 {
			t.Errorf("made: %+v", up)
		}
		d, ok, err := c.Dataset(t.Context(), name)
		if err != nil || !ok || d.ID != up.DatasetID || d.Examples != 2 || d.Description != "made by a test" {
			t.Fatalf("%+v, %v, %v", d, ok, err)
		}
		examples, version, err := c.Examples(t.Context(), d.ID, "", "")
		must(t, err)
		if version != up.VersionID || len(examples) != 2 {
			t.Fatalf("%d examples of version %s, want 2 of %s", len(examples), version, up.VersionID)
		}
		by := map[string]Example{}
		for _, e := range examples {
			by[e.ID] = e
		}
		if by[id].Source.SpanID != id || by["b"].Source.SpanID != "" || by["b"].NodeID == "" || by["b"].NodeID == "b" || by["b"].Input["question"] != "q2" {
			t.Errorf("%+v", examples)
		}
		if again := appended(t, c, name, first, lost); again.Created+again.Updated != 0 {
			t.Errorf("again: %+v", again)
		}
		v, ok, err := c.NewestVersion(t.Context(), d.ID)
		if err != nil || !ok || v.ID != version {
			t.Errorf("a version was made for nothing: %+v, %v, %v", v, ok, err)
		}
		// Changed content is a patch, and splits stay where none is given.
		changed := exampleOf("b", "q2", "incorrect", "")
		if up = appended(t, c, name, changed); up.Created != 0 || up.Updated != 1 {
			t.Errorf("patched: %+v", up)
		}
		// One among others takes them away from those that have none.
		first.Split = ""
		appended(t, c, name, first, exampleOf("c", "q3", "correct", "dev"))
		if train, _, err := c.Examples(t.Context(), d.ID, "", "train"); err != nil || len(train) != 0 {
			t.Errorf("train: %+v, %v", train, err)
		}
		dev, newest, err := c.Examples(t.Context(), d.ID, "", "dev")
		must(t, err)
		var ids []string
		for _, e := range dev {
			ids = append(ids, e.ID)
		}
		slices.Sort(ids)
		if diff := cmp.Diff([]string{"b", "c"}, ids); diff != "" || newest == version {
			t.Errorf("dev of version %s: %s", newest, diff)
		}
		// The old version is what it was.
		old, got, err := c.Examples(t.Context(), d.ID, version, "")
		must(t, err)
		for _, e := range old {
			if e.ID == "b" && e.Metadata["label"] != "correct" {
				t.Errorf("version %s changed: %+v", got, e)
			}
		}
		if len(old) != 2 || got != version {
			t.Errorf("%d examples of version %s", len(old), got)
		}
		// Without an id the content is what it is known by, the metadata among it.
		nameless := exampleOf("", "q4", "correct", "")
		appended(t, c, name, nameless)
		nameless.Metadata = map[string]any{"label": "incorrect"}
		if up := appended(t, c, name, nameless); up.Created != 1 {
			t.Errorf("another label without an id: %+v", up)
		}
		if _, err := c.Append(t.Context(), name, "", []NewExample{{ID: "x"}, {ID: "x"}}); review.KindOf(err) != review.Refused {
			t.Errorf("one id twice: %v", err)
		}
	})
}

func TestDatasets_WhatTheServerRefuses(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := prepare(t, px)
		name := "refusals " + rig.SpanID()
		up := appended(t, c, name, exampleOf("a", "q", "l", ""), exampleOf("b", "q", "l", ""))
		post := func(body map[string]any) (int, string) {
			raw, err := json.Marshal(body)
			must(t, err)
			resp, err := http.Post(px.URL+"/v1/datasets/upload?sync=true", "application/json", strings.NewReader(string(raw)))
			must(t, err)
			defer resp.Body.Close()
			var b strings.Builder
			_, _ = fmt.Fprint(&b, resp.Header.Get("Content-Type"))
			return resp.StatusCode, b.String()
		}
		one := []any{map[string]any{"q": 1}}
		for what, tt := range map[string]struct {
			body   map[string]any
			status int
		}{
			"create of a name that is taken": {map[string]any{"action": "create", "name": name, "inputs": one}, 409},
			"the default action":             {map[string]any{"name": name, "inputs": one}, 409},
			"columns of unequal length":      {map[string]any{"action": "append", "name": name, "inputs": one, "outputs": []any{map[string]any{}, map[string]any{}}}, 422},
			"an id twice":                    {map[string]any{"action": "append", "name": name, "inputs": []any{one[0], one[0]}, "example_ids": []any{"x", "x"}}, 422},
			"an input that is no object":     {map[string]any{"action": "append", "name": name, "inputs": []any{"q"}}, 422},
			"another action":                 {map[string]any{"action": "upsert", "name": name, "inputs": one}, 422},
		} {
			if status, _ := post(tt.body); status != tt.status {
				t.Errorf("%s: %d, want %d", what, status, tt.status)
			}
		}
		// update is a whole set: what is absent is deleted.
		if status, _ := post(map[string]any{"action": "update", "name": name, "inputs": one, "example_ids": []any{"a"}}); status != 200 {
			t.Errorf("update: %d", status)
		}
		left, _, err := c.Examples(t.Context(), up.DatasetID, "", "")
		must(t, err)
		if len(left) != 1 || left[0].ID != "a" {
			t.Errorf("after an update: %+v", left)
		}
		before, _, err := c.Examples(t.Context(), up.DatasetID, up.VersionID, "")
		must(t, err)
		if len(before) != 2 {
			t.Errorf("the version before it has %d examples", len(before))
		}
	})
}

func TestExperiments_RunsAndEvaluations(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := prepare(t, px)
		ctx := t.Context()
		up := appended(t, c, "experiments "+rig.SpanID(), exampleOf("a", "qa", "l", "dev"), exampleOf("b", "qb", "l", "dev"), exampleOf("t", "qt", "l", "train"))
		e, err := c.CreateExperiment(ctx, up.DatasetID, NewExperiment{Name: "one", Description: "d", Metadata: map[string]any{"judge": "j"}, VersionID: up.VersionID, Splits: []string{"dev"}, Repetitions: 2})
		must(t, err)
		if e.Examples != 2 || e.VersionID != up.VersionID || e.Missing != 4 || e.Metadata["judge"] != "j" || !strings.HasPrefix(e.Project, "Experiment-") || e.Name != "one" {
			t.Fatalf("%+v", e)
		}
		if r, err := c.Results(ctx, e.ID); err != nil || len(r) != 0 {
			t.Errorf("results of an empty one: %v, %v", r, err)
		}
		missing, err := c.IncompleteRuns(ctx, e.ID)
		must(t, err)
		if len(missing) != 2 || !slices.Equal(missing[0].Repetitions, []int{1, 2}) || missing[0].Example.NodeID == "a" || missing[0].Example.Input["question"] == nil {
			t.Fatalf("%+v", missing)
		}
		a, b := missing[0].Example.NodeID, missing[1].Example.NodeID
		at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
		run := func(example string, rep int, output any, failed string) (string, bool) {
			t.Helper()
			id, had, err := c.AddRun(ctx, e.ID, Run{Example: example, Repetition: rep, Output: output, Error: failed, Start: at, End: at.Add(1500 * time.Millisecond), TraceID: rig.TraceID()})
			must(t, err)
			return id, had
		}
		failed, _ := run(a, 1, nil, "it broke")
		ra, had := run(a, 1, "answer a", "")
		if had || ra != failed {
			t.Errorf("a failed run is replaced: %s, %v; was %s", ra, had, failed)
		}
		if _, had := run(a, 1, "another", ""); !had {
			t.Error("a run that succeeded was replaced")
		}
		rb, _ := run(b, 1, map[string]any{"any": []any{"JSON", 1.5}}, "")
		_, _ = run(b, 2, nil, "it broke again")
		if _, _, err := c.AddRun(ctx, e.ID, Run{Example: "RGF0YXNldEV4YW1wbGU6OTk5OTk5OQ==", Repetition: 1, Output: "x", Start: at, End: at}); err == nil { // a 500, or the connection that it cuts
			t.Errorf("an example that is not there: %v", err)
		}
		if missing, err = c.IncompleteRuns(ctx, e.ID); err != nil || len(missing) != 2 || !slices.Equal(missing[0].Repetitions, []int{2}) || !slices.Equal(missing[1].Repetitions, []int{2}) {
			t.Errorf("missing: %+v, %v", missing, err)
		}
		if e, err = c.Experiment(ctx, e.ID); err != nil || e.Successful != 2 || e.Failed != 1 || e.Missing != 1 {
			t.Errorf("%+v, %v", e, err)
		}
		runs, err := c.Runs(ctx, e.ID)
		must(t, err)
		if len(runs) != 3 {
			t.Errorf("%d runs: %+v", len(runs), runs)
		}

		zero := 0.0
		say := func(run, name string, answer review.Answer, failed string) {
			t.Helper()
			must(t, c.AddEvaluation(ctx, Evaluation{RunID: run, Name: name, Kind: "LLM", Answer: answer, Error: failed, Start: at, End: at, Metadata: map[string]any{"k": "v"}}))
		}
		say(ra, "j", review.Answer{Label: "correct"}, "")
		say(ra, "j", review.Answer{Label: "incorrect", Score: &zero, Explanation: "why"}, "") // in place of it
		say(rb, "j", review.Answer{}, "unparsable")
		if err := c.AddEvaluation(ctx, Evaluation{RunID: ra, Name: "j", Kind: "LLM", Start: at, End: at}); review.KindOf(err) != review.Refused {
			t.Errorf("neither answer nor error: %v", err)
		}
		results, err := c.Results(ctx, e.ID)
		must(t, err)
		seen := 0
		for _, r := range results {
			switch {
			case r.Example == a:
				seen++
				if r.Output != "answer a" || r.LatencyMS != 1500 || len(r.Evaluations) != 1 || r.Evaluations[0].Label != "incorrect" || r.Evaluations[0].Score == nil || *r.Evaluations[0].Score != 0 ||
					r.Evaluations[0].Explanation != "why" || r.Evaluations[0].Metadata["k"] != "v" || r.Input["question"] == nil {
					t.Errorf("%+v", r)
				}
			case r.Repetition == 1:
				seen++
				if diff := cmp.Diff(map[string]any{"any": []any{"JSON", 1.5}}, r.Output); diff != "" || len(r.Evaluations) != 1 || r.Evaluations[0].Error != "unparsable" || r.Evaluations[0].Label != "" {
					t.Errorf("%+v", r)
				}
			default:
				seen++
				if r.Error != "it broke again" {
					t.Errorf("%+v", r)
				}
			}
		}
		if seen != 3 {
			t.Errorf("%d results", seen)
		}
		list, err := c.Experiments(ctx, up.DatasetID)
		must(t, err)
		if len(list) != 1 || list[0].ID != e.ID {
			t.Errorf("%+v", list)
		}
		if _, err := c.Experiment(ctx, "RXhwZXJpbWVudDo5OTk5OTk5"); review.KindOf(err) != review.Gone {
			t.Errorf("no such experiment: %v", err)
		}
	})
}

func TestSpanAnnotations_OfEveryKind(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		s, other := rig.NewSpan("s", "in", "out"), rig.NewSpan("s", "in", "out")
		c, p := prepare(t, px, s, other)
		ids := rig.SpanIDs([]map[string]any{s, other})
		zero := 0.0
		list := []SpanAnnotation{
			{SpanID: ids[0], Name: "correctness_judge", Kind: "LLM", Identifier: "judge:j:1", Answer: review.Answer{Label: "incorrect", Score: &zero, Explanation: "because"}, Metadata: map[string]any{"votes": map[string]any{"correct": 1.0, "incorrect": 2.0}}},
			{SpanID: ids[1], Name: "correctness", Kind: "HUMAN", Identifier: "simulated:1", Answer: review.Answer{Label: "correct"}, Metadata: map[string]any{}},
		}
		begin := time.Now()
		must(t, c.AddSpanAnnotations(t.Context(), list))
		got, err := c.SpanAnnotations(t.Context(), p.ID, "", ids)
		must(t, err)
		for i := range got {
			// Clocks of two processes, and a server that keeps whole seconds.
			if d := got[i].Updated.Sub(begin); d < -5*time.Second || d > time.Minute {
				t.Errorf("%s was stored at %s, %s after it was sent", got[i].Name, got[i].Updated, d)
			}
			got[i].Updated = time.Time{}
		}
		slices.SortFunc(got, func(a, b SpanAnnotation) int { return strings.Compare(b.Name, a.Name) })
		if diff := cmp.Diff(list, got); diff != "" {
			t.Error(diff)
		}
		if got, err = c.SpanAnnotations(t.Context(), p.ID, "correctness", ids); err != nil || len(got) != 1 || got[0].Kind != "HUMAN" {
			t.Errorf("by name: %+v, %v", got, err)
		}
		if err := c.AddSpanAnnotations(t.Context(), []SpanAnnotation{{SpanID: ids[0], Name: "n", Kind: "LLM"}}); review.KindOf(err) != review.Refused {
			t.Errorf("without an identifier: %v", err)
		}
	})
}
