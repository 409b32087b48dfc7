package evals

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/modeld"
)

// journalWorld is a dataset of n examples, and an experiment over it whose Phoenix
// refuses from then on what refuse says.
func journalWorld(t *testing.T, n int, refuse func(*http.Request) int) (*world, *phoenix.Client, ExperimentOptions, *modeld.Server) {
	t.Helper()
	w := newWorld(t, n, func(i int, _ string) string { return truth(i) })
	r, err := w.dataset(nil)
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := w.px.Dataset(t.Context(), r.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	px, _ := through(t, w.rig, refuse)
	task, tasks := serve(t, modeld.Options{}, func(o *ModelOptions) { o.Concurrency = 4 })
	return w, px, ExperimentOptions{Dataset: d, Name: "journal", Task: Task{"RHYME", task}, Judge: testJudge(), JudgeModel: task, Journal: filepath.Join(t.TempDir(), "experiments"), tries: 1}, tasks
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// complete checks that each run has one verdict, and that nothing was bought twice.
func (w *world) complete(o ExperimentOptions, id string, n int) {
	w.t.Helper()
	results, err := w.px.Results(w.t.Context(), id)
	if err != nil || len(results) != n {
		w.t.Fatalf("%d results, %v", len(results), err)
	}
	for _, x := range results {
		if text, _ := x.Output.(string); text == "" || len(x.Evaluations) != 1 || x.Evaluations[0].Label == "" || x.Evaluations[0].Error != "" {
			w.t.Errorf("%+v", x)
		}
	}
	if left := files(w.t, o.Journal); len(left) != 0 {
		w.t.Errorf("left behind: %v", left)
	}
}

// Phoenix goes away in the middle, and comes back after the process has ended:
// what was paid for is delivered, and not bought again.
func TestJournal_PhoenixGoesAwayInTheMiddle(t *testing.T) {
	for name, away := range map[string]func(r *http.Request) bool{
		"for runs":        func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/runs") },
		"for evaluations": func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/experiment_evaluations") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			posts := 0
			w, px, o, models := journalWorld(t, 24, func(r *http.Request) int {
				if r.Method == http.MethodPost && away(r) {
					if posts++; posts > 6 {
						return http.StatusServiceUnavailable
					}
				}
				return 0
			})
			r, err := RunExperiment(t.Context(), px, o)
			if err == nil || r.Waiting == 0 || r.Runs != 6 || !strings.Contains(err.Error(), "answers wait in "+r.Journal) || review.KindOf(err) != review.Down {
				t.Fatalf("%+v, %v", r, err)
			}
			list := files(t, o.Journal)
			if len(list) != 1 || list[0] != r.Journal {
				t.Fatalf("%v", list)
			}
			if i, err := os.Stat(r.Journal); err != nil || i.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", i, err)
			}
			bought := models.Requests()

			// Still away: nothing is bought, nothing is lost.
			o.Resume = r.ID
			if again, err := RunExperiment(t.Context(), px, o); err == nil || again.Waiting != r.Waiting || models.Requests() != bought {
				t.Errorf("%+v, %v; %d requests, then %d", again, err, bought, models.Requests())
			}
			got, err := RunExperiment(t.Context(), w.px, o)
			if err != nil || got.Delivered != r.Waiting || got.Waiting != 0 || got.Runs+got.Had != 24 || got.Labels["correct"]+got.Labels["incorrect"] != 24 {
				t.Errorf("%+v, %v", got, err)
			}
			w.complete(o, r.ID, 24)
			// An answer and a verdict each, those under way when the first run stopped
			// among them, and the probe of the model's modes.
			if n := models.Requests(); n > 2*24+3 {
				t.Errorf("%d requests for 24 answers and verdicts", n)
			}
		})
	}
}

// An answer is in the journal before Phoenix hears of it, its verdict with it; and a
// process that is killed while it writes leaves a line that harms nobody.
func TestJournal_IsWrittenBeforeAnythingIsSent(t *testing.T) {
	dir := ""
	sent, missing := 0, 0
	w, px, o, _ := journalWorld(t, 8, func(r *http.Request) int {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/runs") {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			_, rest, _ := strings.Cut(string(body), `"dataset_example_id":"`)
			example, _, _ := strings.Cut(rest, `"`)
			kept := ""
			for _, f := range files(t, dir) {
				b, _ := os.ReadFile(f)
				kept += string(b)
			}
			sent++
			if example == "" || strings.Count(kept, `{"key":"`+example+` 1"`) != 2 {
				missing++
			}
		}
		return 0
	})
	dir = o.Journal
	r, err := RunExperiment(t.Context(), px, o)
	if err != nil || sent != 8 || missing != 0 || r.Delivered+r.Waiting != 0 {
		t.Fatalf("%+v, %v; %d of %d were sent before they were kept", r, err, missing, sent)
	}
	w.complete(o, r.ID, 8)

	// Killed: one answer with half a verdict, one that Phoenix has already with ours
	// unsaid, and garbage between.
	e, err := w.px.CreateExperiment(t.Context(), o.Dataset.ID, newExperimentOf(t, w, o))
	if err != nil {
		t.Fatal(err)
	}
	missingRuns, err := w.px.IncompleteRuns(t.Context(), e.ID)
	if err != nil || len(missingRuns) != 8 {
		t.Fatalf("%d, %v", len(missingRuns), err)
	}
	at := time.Now().UTC()
	run := func(i int, text string) phoenix.Run {
		return phoenix.Run{Example: missingRuns[i].Example.NodeID, Repetition: 1, Output: text, Start: at, End: at}
	}
	if _, _, err := w.px.AddRun(t.Context(), e.ID, run(1, "stored, and the answer to it was lost")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.px.AddRun(t.Context(), e.ID, run(2, "somebody else's")); err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(o.Journal, e)
	if err != nil {
		t.Fatal(err)
	}
	keep := func(p paid) {
		t.Helper()
		if err := j.keep(p); err != nil {
			t.Fatal(err)
		}
	}
	said := func(label string) *phoenix.Evaluation {
		return &phoenix.Evaluation{Name: o.Judge.Annotation(), Kind: "LLM", Answer: review.Answer{Label: label, Explanation: "from the journal"}, Start: at, End: at}
	}
	for i, text := range []string{"kept", "stored, and the answer to it was lost", "ours, too late"} {
		a := run(i, text)
		keep(paid{Key: piece{example: a.Example, repetition: 1}.key(), Run: &a})
		if i > 0 {
			keep(paid{Key: piece{example: a.Example, repetition: 1}.key(), Evaluation: said("incorrect")})
		}
	}
	if err := j.close(); err != nil || len(files(t, o.Journal)) != 1 {
		t.Fatalf("%v, %v", files(t, o.Journal), err)
	}
	f, err := os.OpenFile(j.path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\x00\x00garbage\n{\"key\":\"" + missingRuns[0].Example.NodeID + " 1\",\"evalu"); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()

	o.Resume = e.ID
	got, err := RunExperiment(t.Context(), w.px, o)
	if err != nil || got.Delivered != 3 || got.Runs != 7 || got.Had != 1 { // five are new; the first and the third lack their verdict
		t.Errorf("%+v, %v", got, err)
	}
	results, err := w.px.Results(t.Context(), e.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{run(0, "").Example: "kept", run(1, "").Example: "stored, and the answer to it was lost", run(2, "").Example: "somebody else's"}
	for _, x := range results {
		if text := want[x.Example]; text != "" && x.Output != text {
			t.Errorf("%v, want %s", x.Output, text)
		}
		fromJournal := len(x.Evaluations) == 1 && x.Evaluations[0].Explanation == "from the journal"
		if fromJournal != (x.Example == run(1, "").Example) {
			t.Errorf("%v: %+v", x.Output, x.Evaluations)
		}
	}
	w.complete(o, e.ID, 8)
}

func newExperimentOf(t *testing.T, w *world, o ExperimentOptions) phoenix.NewExperiment {
	t.Helper()
	list, err := w.px.Experiments(t.Context(), o.Dataset.ID)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	return phoenix.NewExperiment{Name: "killed", Metadata: list[0].Metadata, VersionID: list[0].VersionID, Repetitions: 1}
}

func TestJournal_ItsFile(t *testing.T) {
	one, two := phoenix.Experiment{ID: "RXhwZXJpbWVudDox", Project: "Experiment-0123456789abcdef01234567"}, phoenix.Experiment{ID: "RXhwZXJpbWVudDox", Created: time.Unix(1, 0)}
	if name := journalName(one); name != "Experiment-0123456789abcdef01234567.jsonl" {
		t.Error(name)
	}
	three := two
	three.Created = time.Unix(2, 0)
	evil := one
	evil.Project = "../../etc/passwd"
	if a, b := journalName(two), journalName(three); a == b || strings.ContainsAny(journalName(evil), "/.") && !strings.HasPrefix(journalName(evil), "Experiment-") {
		t.Errorf("%s, %s, %s", a, b, journalName(evil))
	}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openJournal(filepath.Join(blocked, "experiments"), one)
	refused(t, err, "cannot keep a journal", "--journal off")
	if j, err := openJournal("", one); j != nil || err != nil || j.close() != nil || j.keep(paid{Key: "a"}) != nil || j.waiting() != nil {
		t.Errorf("without a folder: %v, %v", j, err)
	}
	// Two processes at one experiment: the file stays while one of them has something.
	dir := t.TempDir()
	a, err := openJournal(dir, one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := openJournal(dir, one)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.keep(paid{Key: "x 1", Run: &phoenix.Run{Output: "mine"}}); err != nil {
		t.Fatal(err)
	}
	if err := a.close(); err != nil || len(files(t, dir)) != 1 {
		t.Errorf("%v, %v", files(t, dir), err)
	}
	if err := b.keep(paid{Key: "x 1", Stored: true}); err != nil {
		t.Fatal(err)
	}
	if err := b.close(); err != nil || len(files(t, dir)) != 0 {
		t.Errorf("%v, %v", files(t, dir), err)
	}
}

// A folder that takes no files is found out before Phoenix has an experiment.
func TestJournal_FolderIsTriedFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	px, err := phoenix.New(phoenix.Options{Endpoint: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(file, "experiments")
	_, err = RunExperiment(t.Context(), px, ExperimentOptions{Judge: testJudge(), Journal: dir})
	if want := "cannot keep a journal of the answers in " + dir + ": not a directory; name another folder with --journal, or do without with --journal off"; err == nil || err.Error() != want {
		t.Errorf("%v; want %s", err, want)
	}
	ok := filepath.Join(t.TempDir(), "a", "b")
	if err := TryJournal(ok); err != nil || len(files(t, ok)) != 0 {
		t.Errorf("%v, %v", err, files(t, ok))
	}
}
