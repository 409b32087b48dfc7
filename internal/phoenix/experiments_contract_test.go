package phoenix

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

var someTime = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// experimentOf makes a dataset of these examples and an experiment over all of it.
func experimentOf(t *testing.T, c *Client, e NewExperiment, es ...NewExample) (Uploaded, Experiment) {
	t.Helper()
	up := appended(t, c, "set "+rig.SpanID(), es...)
	made, err := c.CreateExperiment(t.Context(), up.DatasetID, e)
	must(t, err)
	return up, made
}

func addRun(t *testing.T, c *Client, e Experiment, example string, repetition int, output any, failure string) string {
	t.Helper()
	id, had, err := c.AddRun(t.Context(), e.ID, Run{Example: example, Repetition: repetition, Output: output, Error: failure, Start: someTime, End: someTime.Add(time.Second)})
	must(t, err)
	if had {
		t.Fatalf("the run of %s, %d, was there already", example, repetition)
	}
	return id
}

func httpStatus(t *testing.T, method, url, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Close = true // one of these may end the connection
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

func TestDataset_IsFoundByItsExactName(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := prepare(t, px)
		base := "Exact " + rig.SpanID()
		ids := map[string]string{}
		for _, name := range []string{base, base + " longer", base + "/%_ü"} {
			ids[name] = appended(t, c, name, exampleOf("a", "q", "l", "")).DatasetID
		}
		for name, id := range ids {
			if d, ok, err := c.Dataset(t.Context(), name); err != nil || !ok || d.ID != id || d.Name != name {
				t.Errorf("Dataset(%q) = %+v, %v, %v", name, d, ok, err)
			}
		}
		for _, name := range []string{strings.ToLower(base), base[:len(base)-1], base + " "} {
			if d, ok, err := c.Dataset(t.Context(), name); ok || err != nil {
				t.Errorf("Dataset(%q) = %+v, %v", name, d, err)
			}
		}
	})
}

// TestExperiment_KeepsItsExamples shows that what happens to the dataset after an
// experiment was made does not reach it.
func TestExperiment_KeepsItsExamples(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := prepare(t, px)
		up, e := experimentOf(t, c, NewExperiment{Name: "pinned", Repetitions: 1}, exampleOf("a", "before", "l", "dev"), exampleOf("b", "before", "l", "dev"))
		d, err := c.Experiment(t.Context(), e.ID)
		must(t, err)
		if d.VersionID != up.VersionID {
			t.Errorf("made over version %s, want the newest, %s", d.VersionID, up.VersionID)
		}
		var set struct{ Data []Dataset }
		must(t, json.Unmarshal(px.Call(t, http.MethodGet, "/v1/datasets", nil), &set))
		name := set.Data[slices.IndexFunc(set.Data, func(d Dataset) bool { return d.ID == up.DatasetID })].Name
		appended(t, c, name, exampleOf("a", "after", "l", "train"), exampleOf("c", "after", "l", "dev"))
		missing, err := c.IncompleteRuns(t.Context(), e.ID)
		must(t, err)
		if len(missing) != 2 {
			t.Fatalf("%d examples, want the 2 that were there", len(missing))
		}
		for _, m := range missing {
			if m.Example.Input["question"] != "before" {
				t.Errorf("the example is %v", m.Example.Input)
			}
			addRun(t, c, e, m.Example.NodeID, 1, "out", "")
		}
		results, err := c.Results(t.Context(), e.ID)
		must(t, err)
		for _, r := range results {
			if r.Input["question"] != "before" {
				t.Errorf("the result is of %v", r.Input)
			}
		}
		// One of the newest version sees the new content, and the splits of today.
		now, err := c.CreateExperiment(t.Context(), up.DatasetID, NewExperiment{Name: "now", Splits: []string{"dev"}, Repetitions: 1})
		must(t, err)
		missing, err = c.IncompleteRuns(t.Context(), now.ID)
		must(t, err)
		var questions []any
		for _, m := range missing {
			questions = append(questions, m.Example.Input["question"])
		}
		if diff := cmp.Diff([]any{"before", "after"}, questions); diff != "" {
			t.Errorf("dev today: %s", diff)
		}
	})
}

// TestRun_ReplacedLosesWhatProgramsSaid shows what resuming rests on: a failed run
// that succeeds at last is judged anew, and what people said of it stays.
func TestRun_ReplacedLosesWhatProgramsSaid(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := prepare(t, px)
		_, e := experimentOf(t, c, NewExperiment{Name: "replaced", Repetitions: 1}, exampleOf("a", "q", "l", ""))
		missing, err := c.IncompleteRuns(t.Context(), e.ID)
		must(t, err)
		node := missing[0].Example.NodeID
		id := addRun(t, c, e, node, 1, nil, "timeout")
		for name, kind := range map[string]string{"judge": "LLM", "rule": "CODE", "person": "HUMAN"} {
			must(t, c.AddEvaluation(t.Context(), Evaluation{RunID: id, Name: name, Kind: kind, Answer: review.Answer{Label: "bad"}, Start: someTime, End: someTime}))
		}
		if again := addRun(t, c, e, node, 1, "late", ""); again != id {
			t.Errorf("the run has another id: %s, was %s", again, id)
		}
		results, err := c.Results(t.Context(), e.ID)
		must(t, err)
		if len(results) != 1 || results[0].Output != "late" || results[0].Error != "" || len(results[0].Evaluations) != 1 || results[0].Evaluations[0].Name != "person" {
			t.Errorf("%+v", results)
		}
	})
}

// TestExperiment_WhatTheServerRefuses holds the statuses that the client's reading
// of errors, and its retries, rest on.
func TestExperiment_WhatTheServerRefuses(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := prepare(t, px)
		up, e := experimentOf(t, c, NewExperiment{Name: "refusals", Repetitions: 1}, exampleOf("a", "q", "l", ""))
		const nobody = "RGF0YXNldEV4YW1wbGU6OTk5OTk5OQ==" // DatasetExample:9999999
		run := func(example string) string {
			return `{"dataset_example_id":"` + example + `","output":1,"repetition_number":1,"start_time":"2026-01-01T00:00:00Z","end_time":"2026-01-01T00:00:00Z"}`
		}
		evaluation := `{"experiment_run_id":"RXhwZXJpbWVudFJ1bjo5OTk5OTk5","name":"n","annotator_kind":"LLM","start_time":"2026-01-01T00:00:00Z","end_time":"2026-01-01T00:00:00Z"`
		for what, tt := range map[string]struct {
			method, path, body string
			status             int
		}{
			"a run of an example's own id":       {"POST", "/v1/experiments/" + e.ID + "/runs", run("a"), 500},
			"a run of an example of nobody":      {"POST", "/v1/experiments/" + e.ID + "/runs", run(nobody), 500},
			"a run of a dataset":                 {"POST", "/v1/experiments/" + e.ID + "/runs", run(up.DatasetID), 404},
			"an evaluation that says nothing":    {"POST", "/v1/experiment_evaluations", evaluation + "}", 422},
			"an evaluation of no run":            {"POST", "/v1/experiment_evaluations", evaluation + `,"error":"e"}`, 500},
			"what is missing, of no evaluation":  {"GET", "/v1/experiments/" + e.ID + "/incomplete-evaluations", "", 400},
			"the export of an empty one":         {"GET", "/v1/experiments/" + e.ID + "/json", "", 404},
			"the table of an empty one":          {"GET", "/v1/experiments/" + e.ID + "/csv", "", 404},
			"an experiment by its name":          {"GET", "/v1/experiments/refusals", "", 422},
			"a dataset by its name":              {"GET", "/v1/datasets/set/versions", "", 422},
			"an experiment of an unknown split":  {"POST", "/v1/datasets/" + up.DatasetID + "/experiments", `{"splits":["nope"]}`, 404},
			"an experiment of unknown version":   {"POST", "/v1/datasets/" + up.DatasetID + "/experiments", `{"version_id":"RGF0YXNldFZlcnNpb246OTk5OTk5OQ=="}`, 404},
			"a new example named by a global id": {"POST", "/v1/datasets/upload?sync=true", `{"action":"append","name":"x` + rig.SpanID() + `","inputs":[{}],"example_ids":["` + nobody + `"]}`, 422},
		} {
			if got := httpStatus(t, tt.method, px.URL+tt.path, tt.body); got != tt.status {
				t.Errorf("%s: %d, want %d", what, got, tt.status)
			}
		}
		if got := string(px.Call(t, http.MethodPost, "/v1/datasets/upload", map[string]any{"action": "append", "name": "later " + rig.SpanID(), "inputs": []any{}})); got != "null" {
			t.Errorf("an upload without sync answers %s", got)
		}
	})
}

func TestExperiment_NameMustStandInAHeader(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, check := connect(t, px, Options{})
		up, e := experimentOf(t, c, NewExperiment{Name: `früh "so" ÿ`, Repetitions: 1}, exampleOf("a", "q", "l", ""))
		missing, err := c.IncompleteRuns(t.Context(), e.ID)
		must(t, err)
		addRun(t, c, e, missing[0].Example.NodeID, 1, "out", "")
		if r, err := c.Results(t.Context(), e.ID); err != nil || len(r) != 1 {
			t.Errorf("Results: %+v, %v", r, err)
		}
		// Without our refusal: a Phoenix that takes the name, and crashes ever after.
		var made struct{ Data Experiment }
		must(t, json.Unmarshal(px.Call(t, http.MethodPost, "/v1/datasets/"+up.DatasetID+"/experiments", map[string]any{"name": "before – after"}), &made))
		addRun(t, c, made.Data, missing[0].Example.NodeID, 1, "out", "")
		if got := httpStatus(t, http.MethodGet, px.URL+"/v1/experiments/"+made.Data.ID+"/json", ""); got != http.StatusInternalServerError {
			t.Errorf("the export of such a name: %d", got)
		}
		before := check.seen["POST /v1/datasets/"+up.DatasetID+"/experiments"]
		for _, name := range []string{"before – after", "実験", "two\nlines"} {
			if _, err := c.CreateExperiment(t.Context(), up.DatasetID, NewExperiment{Name: name, Repetitions: 1}); review.KindOf(err) != review.Invalid {
				t.Errorf("the name %q: %v", name, err)
			}
		}
		if n := check.seen["POST /v1/datasets/"+up.DatasetID+"/experiments"]; n != before {
			t.Errorf("%d requests were made all the same", n-before)
		}
	})
}

// TestExperiment_HasAProjectOfItsOwn shows where the traces of an experiment go:
// into a project that no list of projects shows.
func TestExperiment_HasAProjectOfItsOwn(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := prepare(t, px)
		_, e := experimentOf(t, c, NewExperiment{Name: "traced", Repetitions: 1}, exampleOf("a", "q", "l", ""))
		px.Ingest(t, e.Project, rig.NewSpan("task", "in", "out"))
		if _, err := c.Project(t.Context(), e.Project); review.KindOf(err) != review.Gone {
			t.Errorf("the project is listed: %v", err)
		}
		var list struct{ Data []Project }
		must(t, json.Unmarshal(px.Call(t, http.MethodGet, "/v1/projects?include_experiment_projects=true&name_contains="+e.Project, nil), &list))
		if len(list.Data) != 1 || list.Data[0].Name != e.Project {
			t.Errorf("with those of experiments: %+v", list.Data)
		}
		if got := httpStatus(t, http.MethodDelete, px.URL+"/v1/experiments/"+e.ID, ""); got != http.StatusNoContent {
			t.Errorf("DELETE: %d", got)
		}
		if p, err := c.Project(t.Context(), e.Project); err != nil || p.Name != e.Project {
			t.Errorf("without its experiment the project is not listed: %v", err)
		}
	})
}

func TestExperiments_ListsMoreThanAPage(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := prepare(t, px)
		var es []NewExample
		for range 205 { // the client reads 200 at once
			es = append(es, exampleOf(rig.SpanID(), "q", "l", ""))
		}
		up, e := experimentOf(t, c, NewExperiment{Name: "long", Repetitions: 3}, es...)
		missing, err := c.IncompleteRuns(t.Context(), e.ID)
		must(t, err)
		seen := map[string]bool{}
		for _, m := range missing {
			seen[m.Example.NodeID] = true
			if !slices.Equal(m.Repetitions, []int{1, 2, 3}) {
				t.Errorf("%s: %v", m.Example.NodeID, m.Repetitions)
			}
		}
		if len(missing) != 205 || len(seen) != 205 {
			t.Errorf("%d examples, %d different ones", len(missing), len(seen))
		}
		node := missing[0].Example.NodeID
		addRun(t, c, e, node, 2, "out", "")
		addRun(t, c, e, node, 3, nil, "failed")
		addRun(t, c, e, node, 9, "more than asked for", "")
		missing, err = c.IncompleteRuns(t.Context(), e.ID)
		must(t, err)
		if !slices.Equal(missing[0].Repetitions, []int{1, 3}) {
			t.Errorf("missing: %v", missing[0].Repetitions)
		}
		var ids []string
		for range 3 {
			one, err := c.CreateExperiment(t.Context(), up.DatasetID, NewExperiment{Name: "more", Repetitions: 1})
			must(t, err)
			ids = append(ids, one.ID)
		}
		list, err := c.Experiments(t.Context(), up.DatasetID)
		must(t, err)
		var got []string
		for _, one := range list {
			got = append(got, one.ID)
		}
		if want := append(reversed(ids), e.ID); !slices.Equal(got, want) {
			t.Errorf("the experiments are %v, want %v", got, want)
		}
	})
}
