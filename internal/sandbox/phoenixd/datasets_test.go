package phoenixd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/browser"
)

// post sends JSON that must be taken, and returns the data of the answer.
func post(t *testing.T, s *Server, path string, body map[string]any) map[string]any {
	t.Helper()
	path, query, _ := strings.Cut(path, "?")
	w := send(s, http.MethodPost, path, query, string(encode(body)))
	if w.Code != http.StatusOK {
		t.Fatalf("POST %s: %d %s", path, w.Code, w.Body)
	}
	var out struct{ Data map[string]any }
	must(t, json.Unmarshal(w.Body.Bytes(), &out))
	return out.Data
}

// uploadOf makes an upload of n examples, named from e0 on.
func uploadOf(name string, n int, change func(i int, body map[string]any)) map[string]any {
	var inputs, ids []any
	for i := range n {
		inputs, ids = append(inputs, map[string]any{"question": fmt.Sprintf("%s %d?", name, i)}), append(ids, fmt.Sprintf("e%d", i))
	}
	body := map[string]any{"action": "append", "name": name, "inputs": inputs, "example_ids": ids}
	if change != nil {
		for i := range n {
			change(i, body)
		}
	}
	return body
}

func runOf(example string, output any) map[string]any {
	return map[string]any{"dataset_example_id": example, "repetition_number": 1, "output": output, "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:02Z"}
}

func saidOf(run, label string) map[string]any {
	return map[string]any{"experiment_run_id": run, "name": "correctness", "annotator_kind": "LLM", "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:00Z",
		"result": map[string]any{"label": label, "score": 0.5, "explanation": "because " + label}}
}

// TestDatasets_AreBounded shows that a stand-in that runs for months does not grow:
// the oldest go, with all that hangs on them, and the newest stays.
func TestDatasets_AreBounded(t *testing.T) {
	s := New(Options{Keep: 2}) // 20 revisions and versions, 20 examples of experiments and runs
	defer s.Close()
	var dataset string
	for i := range 10 {
		dataset, _ = post(t, s, "/v1/datasets/upload?sync=true", uploadOf(fmt.Sprintf("set %d", i), 6, nil))["dataset_id"].(string)
		for range 5 {
			e := post(t, s, "/v1/datasets/"+dataset+"/experiments", map[string]any{})
			for _, one := range s.store.examples[len(s.store.examples)-6:] {
				r := post(t, s, "/v1/experiments/"+e["id"].(string)+"/runs", runOf(one.gid(), "out"))
				post(t, s, "/v1/experiment_evaluations", saidOf(r["id"].(string), "yes"))
			}
		}
	}
	st := s.store
	if len(st.datasets) != 2 || len(st.examples) != 12 || len(st.versions) != 2 {
		t.Errorf("%d datasets, %d examples, %d versions", len(st.datasets), len(st.examples), len(st.versions))
	}
	if len(st.experiments) != 1 || len(st.runs) != 6 || len(st.evaluations) != 6 {
		t.Errorf("%d experiments, %d runs, %d evaluations", len(st.experiments), len(st.runs), len(st.evaluations))
	}
	if st.datasets[1].gid() != dataset || st.experiments[0].dataset.gid() != dataset {
		t.Error("the newest is not what stayed")
	}
	if n := len(st.projects); n != 2 { // the default one, and the experiment's
		t.Errorf("%d projects", n)
	}
	// One huge dataset pushes all others out, and their experiments' projects too.
	post(t, s, "/v1/datasets/upload?sync=true", uploadOf("huge", 30, nil))
	if len(st.datasets) != 1 || len(st.experiments) != 0 || len(st.runs) != 0 || len(st.projects) != 1 {
		t.Errorf("%d datasets, %d experiments, %d runs, %d projects", len(st.datasets), len(st.experiments), len(st.runs), len(st.projects))
	}
}

// TestDatasets_LetGoOfSpans shows that an example survives the span it was made
// from, without its link, and that a dataset that goes leaves nothing at the span.
func TestDatasets_LetGoOfSpans(t *testing.T) {
	s := New(Options{})
	defer s.Close()
	span, id := newSpan("made into an example")
	must(t, s.Ingest("p", span))
	link := func(i int, body map[string]any) { body["span_ids"] = []any{id} }
	post(t, s, "/v1/datasets/upload?sync=true", uploadOf("a", 1, link))
	gone := post(t, s, "/v1/datasets/upload?sync=true", uploadOf("b", 1, link))["dataset_id"].(string)
	sp := s.store.spanByID[id]
	if len(sp.examples) != 2 {
		t.Fatalf("%d examples of the span", len(sp.examples))
	}
	if w := send(s, http.MethodDelete, "/v1/datasets/"+gone, "", ""); w.Code != http.StatusNoContent {
		t.Fatalf("DELETE: %d", w.Code)
	}
	if len(sp.examples) != 1 {
		t.Errorf("%d examples of the span after one dataset went", len(sp.examples))
	}
	s.DeleteSpan(id)
	if e := s.store.examples[0]; e.span != nil || e.name() != "e0" {
		t.Errorf("the example is still of the span: %+v", e)
	}
}

// TestUpload_WithoutAChangeNamesAnOlderVersion shows a trap of Phoenix's: of the
// versions of the newest second, an upload that changes nothing names the oldest.
func TestUpload_WithoutAChangeNamesAnOlderVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		defer s.Close()
		upload := func(n int) string {
			return post(t, s, "/v1/datasets/upload?sync=true", uploadOf("d", n, nil))["version_id"].(string)
		}
		first := upload(1)
		time.Sleep(time.Second)
		second, third := upload(2), upload(3)
		if first == second || second == third {
			t.Fatalf("versions %s, %s, %s", first, second, third)
		}
		if got := upload(3); got != second {
			t.Errorf("without a change: version %s, want %s of %s", got, second, third)
		}
	})
}

func TestUpload_OfFilesIsRefusedInWords(t *testing.T) {
	s, base := start(t, Options{})
	resp, err := http.Post(base+"/v1/datasets/upload?sync=true", "multipart/form-data; boundary=x", strings.NewReader("--x--\r\n"))
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnprocessableEntity || len(s.store.datasets) != 0 {
		t.Errorf("%s, %d datasets", resp.Status, len(s.store.datasets))
	}
}

// twoExperiments fills a stand-in with a dataset and two experiments that differ.
func twoExperiments(t *testing.T, s *Server, text string) (dataset string, experiments []string) {
	t.Helper()
	body := uploadOf(text, 2, nil)
	body["outputs"] = []any{map[string]any{"answer": text + " expected"}, map[string]any{}}
	body["metadata"] = []any{map[string]any{"label": text + " label"}, map[string]any{}}
	body["splits"], body["description"] = []any{[]any{"dev", text + " split"}, nil}, text+" described"
	dataset = post(t, s, "/v1/datasets/upload?sync=true", body)["dataset_id"].(string)
	for i, label := range []string{"incorrect", "correct"} {
		e := post(t, s, "/v1/datasets/"+dataset+"/experiments", map[string]any{"name": fmt.Sprintf("%s run %d", text, i)})["id"].(string)
		experiments = append(experiments, e)
		r := post(t, s, "/v1/experiments/"+e+"/runs", runOf(s.store.examples[0].gid(), map[string]any{"answer": text + " " + label + " answer", "messages": []any{text}}))
		post(t, s, "/v1/experiment_evaluations", saidOf(r["id"].(string), label))
	}
	failed := runOf(s.store.examples[1].gid(), nil)
	failed["error"] = text + " broke"
	post(t, s, "/v1/experiments/"+experiments[0]+"/runs", failed)
	return dataset, experiments
}

func TestDatasetPage_ShowsExamplesAndExperimentsSideBySide(t *testing.T) {
	s := New(Options{})
	base := mount(t, s)
	dataset, experiments := twoExperiments(t, s, "trivia")
	escaped := strings.ReplaceAll(dataset, "=", "%3D")
	for path, want := range map[string][]string{
		"/":                                  {`href="./datasets"`},
		"/datasets":                          {"trivia described", "2 examples · 1 version"},
		"/datasets/" + dataset + "/examples": {"trivia 0?", "trivia expected", "trivia label", "dev, trivia split", ">e1<", "trivia run 1", "correctness: incorrect 1"},
		"/datasets/" + escaped + "/compare?experimentId=" + experiments[1]: {"trivia correct answer", "because correct", "1 run, 1 missing", "no run", "correctness: correct 1"},
	} {
		page, _ := get(t, base+path)
		for _, words := range want {
			if !strings.Contains(page, words) {
				t.Errorf("%s does not say %q", path, words)
			}
		}
	}
	page, _ := get(t, base+"/datasets/"+dataset+"/compare?experimentId="+experiments[1])
	if strings.Contains(page, "incorrect answer") {
		t.Error("an experiment is shown that was not asked for")
	}
	page, _ = get(t, base+"/datasets/"+dataset+"/compare?experimentId="+experiments[1]+"&experimentId="+experiments[0])
	if a, b := strings.Index(page, "trivia correct answer"), strings.Index(page, "trivia incorrect answer"); a < 0 || b < a {
		t.Errorf("the experiments stand in another order than they were asked for: %d, %d", a, b)
	}
	if !strings.Contains(page, "trivia broke") {
		t.Error("why a run failed is not shown")
	}
	for _, path := range []string{"/datasets/nope/examples", "/datasets/" + dataset + "/nope", "/datasets/" + gid("Dataset", 9) + "/compare", "/datasets/" + experiments[0]} {
		if page, _ := get(t, base+path); !strings.Contains(page, "No such page") {
			t.Errorf("%s is a page", path)
		}
	}
	if page, _ = get(t, base+"/datasets/"+dataset+"/compare?experimentId="+gid("Experiment", 9)); !strings.Contains(page, "no such experiment") {
		t.Error("an experiment that is not there is not said to be so")
	}
}

func TestDatasetPage_EscapesAndIsBounded(t *testing.T) {
	s := New(Options{})
	base := mount(t, s)
	dataset, _ := twoExperiments(t, s, hostile)
	for _, path := range []string{"/datasets", "/datasets/" + dataset + "/examples", "/datasets/" + dataset + "/compare"} {
		page, _ := get(t, base+path)
		if strings.Contains(page, "<script>") || strings.Contains(page, "<img src=x") || strings.Count(page, "owned") < 2 {
			t.Errorf("%s: what a dataset says is not shown as text", path)
		}
	}
	many := post(t, s, "/v1/datasets/upload?sync=true", uploadOf("many", examplesOnPage+7, nil))["dataset_id"].(string)
	post(t, s, "/v1/datasets/"+many+"/experiments", map[string]any{})
	for _, path := range []string{"/examples", "/compare"} {
		page, _ := get(t, base+"/datasets/"+many+path)
		if n := strings.Count(page, `scope="row"`); n != examplesOnPage || !strings.Contains(page, "7 more are left out") {
			t.Errorf("%s: %d rows", path, n)
		}
	}
}

func TestDatasetPage_FollowsARunAndFitsASmallWindow(t *testing.T) {
	s := New(Options{})
	base := mount(t, s)
	dataset, experiments := twoExperiments(t, s, "trivia")
	b := browser.Start(t)
	tab := b.Open(base+"/datasets/"+dataset+"/compare?experimentId="+strings.Join(experiments, "&experimentId="), browser.Look{Width: 390, Height: 800})
	tab.Says("main", "trivia incorrect answer")
	tab.Eventually("a page that listens", "source && source.readyState === EventSource.OPEN")
	post(t, s, "/v1/experiments/"+experiments[1]+"/runs", runOf(s.store.examples[1].gid(), "arrived meanwhile"))
	tab.Says("main", "arrived meanwhile")
	tab.Eventually("the page fits the window", "document.documentElement.scrollWidth <= innerWidth")
}

func TestPythonWords_AreThoseOfPython(t *testing.T) {
	for v, want := range map[string]string{"a": `'a'`, "it's": `"it's"`, `"it's"`: `'"it\'s"'`, "a\\b\n\t\r": `'a\\b\n\t\r'`, "\x00\x7f": `'\x00\x7f'`, "ü😀": `'ü😀'`, "\u200b": `'\u200b'`} {
		if got := pythonQuote(v); got != want {
			t.Errorf("pythonQuote(%q) = %s, want %s", v, got, want)
		}
	}
	v, _, err := decode([]byte(`{"b": [1, 1.0, null, true], "a": "ü😀<"}`))
	must(t, err)
	if got, want := pythonJSON(v), `{"a": "\u00fc\ud83d\ude00<", "b": [1, 1.0, null, true]}`; got != want {
		t.Errorf("pythonJSON = %s, want %s", got, want)
	}
	same := func(a, b string) bool {
		var hashes []string
		for _, text := range []string{a, b} {
			v, _, err := decode([]byte(text))
			must(t, err)
			c := content{input: v.(map[string]any)}
			if !c.digest() {
				t.Fatalf("%s has no hash", text)
			}
			hashes = append(hashes, c.hash)
		}
		return slices.Equal(hashes[:1], hashes[1:])
	}
	if !same(`{"a": 1, "b": {"c": -0.0}}`, `{"b": {"c": 0}, "a": 1.0}`) {
		t.Error("equal values have two hashes")
	}
	for _, pair := range [][2]string{{`{"a": 1}`, `{"a": "1"}`}, {`{"a": ["b", "c"]}`, `{"a": ["b,c"]}`}, {`{"a": null}`, `{}`}, {`{"a": {}}`, `{"a": []}`}, {`{"a": true}`, `{"a": "true"}`}} {
		if same(pair[0], pair[1]) {
			t.Errorf("%s and %s have one hash", pair[0], pair[1])
		}
	}
}
