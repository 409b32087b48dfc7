package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/modeld"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
)

// bench is a stand-in Phoenix and a stand-in model that is named as a real one,
// in an empty folder.
type bench struct {
	t      *testing.T
	px     *phoenixd.Server
	client *phoenix.Client
	url    string
	model  *modeld.Server
}

func newBench(t *testing.T, o modeld.Options) *bench {
	t.Helper()
	b := &bench{t: t, px: phoenixd.New(phoenixd.Options{}), model: modeld.New(o)}
	px, model := httptest.NewServer(b.px), httptest.NewServer(b.model)
	t.Cleanup(func() { model.CloseClientConnections(); model.Close(); px.Close(); b.px.Close() })
	var err error
	if b.client, err = phoenix.New(phoenix.Options{Endpoint: px.URL}); err != nil {
		t.Fatal(err)
	}
	b.url = px.URL
	t.Chdir(t.TempDir())
	for k, v := range map[string]string{"HOME": t.TempDir(), "XDG_CACHE_HOME": "", "SPANBOT_STAND_INS": "off", "PHOENIX_ENDPOINT": px.URL, "PHOENIX_PROJECT": "", "PHOENIX_PROJECT_NAME": "",
		"SPANBOT_CONFIG": "", "SPANBOT_RUBRIC": "", "OPENAI_BASE_URL": model.URL + "/v1", "OPENAI_API_KEY": "k", "SPANBOT_JUDGE_MODEL": "standin", "SPANBOT_TASK_MODEL": "standin"} {
		t.Setenv(k, v)
	}
	return b
}

// spans puts n spans into a project, every other of them nonsense, and has one
// person label them under a rubric.
func (b *bench) spans(project, rubric, prefix string, n int) {
	b.t.Helper()
	var list []phoenix.SpanAnnotation
	for i := range n {
		id := fmt.Sprintf("%s%013x", prefix, i+1)
		answer, label := "Paris it is, where the river runs.", "correct"
		if i%2 == 1 {
			answer, label = "12 blorp 77 81 3", "incorrect"
		}
		at := time.Now().Add(time.Duration(i-n) * time.Second)
		if err := b.px.Ingest(project, map[string]any{
			"name": "answer", "context": map[string]any{"trace_id": id + id, "span_id": id}, "span_kind": "LLM", "parent_id": nil,
			"start_time": at.Format(time.RFC3339Nano), "end_time": at.Add(time.Second).Format(time.RFC3339Nano), "status_code": "OK", "status_message": "",
			"attributes": map[string]any{"input.value": fmt.Sprintf("question %d?", i), "output.value": answer},
		}); err != nil {
			b.t.Fatal(err)
		}
		list = append(list, phoenix.SpanAnnotation{SpanID: id, Name: rubric, Kind: "HUMAN", Identifier: "slack:u1", Answer: review.Answer{Label: label},
			Metadata: map[string]any{"rubric": review.DefaultRubric(rubric).Hash()}})
	}
	if err := b.client.AddSpanAnnotations(context.Background(), list); err != nil {
		b.t.Fatal(err)
	}
}

// run runs a command.
func (b *bench) run(args ...string) (code int, out, errs string) {
	b.t.Helper()
	var o, e bytes.Buffer
	code = run(args, &o, &e)
	return code, o.String(), e.String()
}

// ok runs a command that must succeed.
func (b *bench) ok(args ...string) string {
	b.t.Helper()
	code, out, errs := b.run(args...)
	if code != 0 {
		b.t.Fatalf("spanbot %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// refuses runs a command that must say what is wrong and do nothing.
func (b *bench) refuses(want string, args ...string) {
	b.t.Helper()
	asked := b.model.Requests()
	code, out, errs := b.run(args...)
	if code != exitUsage || !strings.Contains(errs, want) || out != "" || b.model.Requests() != asked {
		b.t.Errorf("spanbot %s: exit code %d, %d calls, printed %q; stderr %q wants %q", strings.Join(args, " "), code, b.model.Requests()-asked, out, errs, want)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A dataset says where its spans are: with another project configured, or several,
// the judge's verdicts of them are found all the same.
func TestJudge_DatasetOfAnotherProject(t *testing.T) {
	b := newBench(t, modeld.Options{})
	b.spans("p1", "correctness", "aaa", 30)
	b.spans("p2", "correctness", "bbb", 30)
	b.ok("dataset", "--project", "p1", "--name", "d1")
	b.ok("judge", "init", "--project", "p1", "--dataset", "d1", "--shots", "2")
	b.ok("judge", "run", "--project", "p1", "--dataset", "d1")
	asked := b.model.Requests()
	writeFile(t, "routes.yaml", "routes: [{name: a, project: p2, channel: '#a'}, {name: b, project: p3, channel: '#b'}]")
	for _, where := range [][]string{{"--project", "p2"}, {"--project", "nowhere"}, {"--config", "routes.yaml"}} {
		var r struct {
			Had int `json:"already_judged"`
		}
		out := b.ok(append([]string{"judge", "run", "--json", "--dataset", "d1"}, where...)...)
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.Had != 28 || b.model.Requests() != asked {
			t.Errorf("%v: %d of 28 were judged before, %d calls more; %v", where, r.Had, b.model.Requests()-asked, err)
		}
		if out := b.ok(append([]string{"judge", "align", "--dataset", "d1", "--require", "none"}, where...)...); !strings.Contains(out, "(n = 12)") {
			t.Errorf("%v: %s", where, out)
		}
	}
	// A dataset of both: each span is looked for where it is.
	b.ok("dataset", "--project", "p2", "--name", "d1")
	b.ok("judge", "run", "--dataset", "d1")
	if n := b.model.Requests() - asked; n != 30 {
		t.Errorf("%d calls for 30 examples more", n)
	}
	if out := b.ok("judge", "align", "--dataset", "d1", "--require", "none"); !strings.Contains(out, "(n = 24)") {
		t.Error(out)
	}
	asked = b.model.Requests()
	if b.ok("judge", "run", "--dataset", "d1"); b.model.Requests() != asked {
		t.Errorf("%d calls more", b.model.Requests()-asked)
	}
}

func TestRubric_IsThatOfTheRouteOfTheProject(t *testing.T) {
	b := newBench(t, modeld.Options{})
	b.spans("p1", "tone", "aaa", 12)
	writeFile(t, "spanbot.yaml", "routes: [{name: a, project: p0, channel: '#a', rubric: correctness}, {name: b, project: p1, channel: '#b', rubric: tone}]")
	if _, _, errs := b.run("agreement", "--project", "p1"); strings.Contains(errs, "correctness") {
		t.Error(errs)
	}
	b.ok("dataset", "--project", "p1", "--name", "tones")

	// What names no project needs none.
	if out := b.ok("experiment", "show", "--dataset", "tones"); !strings.Contains(out, "no experiments yet") {
		t.Error(out)
	}
	b.refuses("spanbot.yaml names several rubrics; say which with --rubric: correctness, tone", "judge", "init")
	b.ok("judge", "init", "--rubric", "tone", "--dataset", "tones")
	b.refuses("names several projects; say which with --project", "judge", "run")
}

// The judge's file is a person's: an alignment changes what it remembers, and
// nothing else.
func TestAlign_LeavesThePersonsFileAlone(t *testing.T) {
	b := newBench(t, modeld.Options{})
	b.spans("p1", "correctness", "aaa", 30)
	b.ok("dataset", "--project", "p1", "--name", "d1")
	b.ok("judge", "init", "--project", "p1", "-o", "real.yaml")
	b.ok("judge", "run", "--dataset", "d1", "real.yaml")
	raw, err := os.ReadFile("real.yaml")
	if err != nil {
		t.Fatal(err)
	}
	mine := "# mine: ask Ann before you touch it\n" + string(raw) + "\n# the end\n"
	writeFile(t, "real.yaml", mine)
	if err := os.Chmod("real.yaml", 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.yaml", "judge.yaml"); err != nil {
		t.Fatal(err)
	}
	measured := func() string {
		t.Helper()
		b.ok("judge", "align", "--dataset", "d1")
		got, err := os.ReadFile("real.yaml")
		if err != nil {
			t.Fatal(err)
		}
		return string(got)
	}
	first := measured()
	if rest, ok := strings.CutPrefix(first, mine); !ok || !strings.HasPrefix(rest, "measured:\n") {
		t.Errorf("%s", first)
	}
	if i, err := os.Lstat("judge.yaml"); err != nil || i.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%v, %v", i, err)
	}
	if i, err := os.Stat("real.yaml"); err != nil || i.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", i, err)
	}
	// Measured before, in the middle of the file and otherwise.
	_, block, _ := strings.Cut(first, "# the end\n")
	writeFile(t, "real.yaml", strings.Replace(block, "standing: DIRECTIONAL", "standing: NOT USABLE", 1)+mine)
	if got := measured(); got != block+mine {
		t.Errorf("%s", got)
	}

	// In a checkout that is read-only the figures and the verdict are there all the same.
	writeFile(t, "real.yaml", mine)
	if err := os.Chmod("real.yaml", 0o400); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		require string
		code    int
	}{{"directional", 0}, {"validated", 1}} {
		code, out, errs := b.run("judge", "align", "--dataset", "d1", "--require", tt.require)
		if code != tt.code || !strings.Contains(out, "accuracy") || !strings.Contains(errs, "the result is not remembered in judge.yaml, which cannot be written") {
			t.Errorf("%s: exit code %d\n%s%s", tt.require, code, out, errs)
		}
	}
}

// --max-cost is one for all models and steps, and refused before the first call
// where it cannot be kept.
func TestMaxCost_BeforeTheFirstCall(t *testing.T) {
	b := newBench(t, modeld.Options{})
	t.Setenv("SPANBOT_JUDGE_MODEL", "nobody-knows")
	want := "the price of model nobody-knows is not known, so --max-cost cannot be kept; give its price with --price, or leave --max-cost out\n"
	b.refuses(want, "loop", "--max-cost", "1")
	b.spans("p1", "correctness", "aaa", 12)
	b.ok("dataset", "--project", "p1", "--name", "d1")
	b.ok("judge", "init", "--project", "p1", "--shots", "0")
	b.refuses(want, "loop", "--max-cost", "1", "--project", "p1")
	code, _, errs := b.run("judge", "run", "--dataset", "d1", "--max-cost", "1")
	if code != exitUsage || !strings.HasSuffix(errs, want) || b.model.Requests() != 0 {
		t.Errorf("%d, %d calls: %s", code, b.model.Requests(), errs)
	}
	code, _, errs = b.run("experiment", "run", "--dataset", "d1", "--name", "x", "--prompt", "x", "--max-cost", "1")
	if code != exitUsage || !strings.HasSuffix(errs, want) || b.model.Requests() != 0 {
		t.Errorf("%d, %d calls: %s", code, b.model.Requests(), errs)
	}
	b.refuses("--max-cost must be at least 0", "loop", "--max-cost=-1")
	for _, p := range []string{"x=NaN,1", "x=1,Inf", "x=1", "=1,1"} {
		b.refuses("--price "+p+": want a model and its prices", "loop", "--price", p)
	}
}

// A journal that cannot be kept is said before anything is bought or made; only
// one that was named must be.
func TestJournal_Folder(t *testing.T) {
	b := newBench(t, modeld.Options{})
	b.spans("p1", "correctness", "aaa", 12)
	b.ok("dataset", "--project", "p1", "--name", "d1")
	b.ok("judge", "init", "--project", "p1", "--shots", "0")
	writeFile(t, "file", "")
	run := []string{"experiment", "run", "--dataset", "d1", "--name", "x", "--prompt", "x"}
	none := "cannot keep a journal of the answers in file/x: not a directory; name another folder with --journal"
	if code, _, errs := b.run(append(run, "--journal", "file/x")...); code != exitUsage || !strings.Contains(errs, none) {
		t.Errorf("%d: %s", code, errs)
	}
	if out := b.ok("experiment", "show", "--dataset", "d1"); !strings.Contains(out, "no experiments yet") {
		t.Error(out)
	}
	b.refuses(none, "loop", "--journal", "file/x")

	t.Setenv("HOME", "")
	code, out, errs := b.run(run...)
	if code != 0 || !strings.Contains(errs, "no journal of the answers is kept") || !strings.Contains(out, "12 of 12 runs") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	code, out, errs = b.run("loop", "--traces", "60")
	if code != 0 || strings.Count(errs, "no journal of the answers is kept") != 1 || !strings.Contains(out, "full set") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
}

// A flag that would change nothing is refused, or does what it says.
func TestFlags_NoneIsTakenAndIgnored(t *testing.T) {
	b := newBench(t, modeld.Options{})
	b.spans("p1", "correctness", "aaa", 12)
	b.ok("dataset", "--project", "p1", "--name", "d1")
	b.ok("judge", "init", "--project", "p1", "--shots", "0")
	writeFile(t, "pairs.csv", "id,human,judge\n1,good,good\n2,bad,good\n")
	t.Setenv("PHOENIX_PROJECT", "p1")
	b.refuses("--positive is for --csv: of a judge, its file says which label is the good one (positive: in judge.yaml)", "judge", "align", "--positive", "incorrect")
	b.refuses("--limit is of spanbot judge run", "judge", "align", "--limit", "1")
	b.refuses("--limit is of spanbot judge run", "judge", "align", "--csv", "pairs.csv", "--limit", "1")
	b.refuses("--split is of a dataset; name it with --dataset", "judge", "align", "--split", "nope")
	b.refuses("--csv stands alone", "judge", "align", "--csv", "pairs.csv", "--split", "dev")
	b.refuses("--positive nope is none of the labels in pairs.csv: bad, good", "judge", "align", "--csv", "pairs.csv", "--positive", "nope")
	if out := b.ok("judge", "align", "--csv", "pairs.csv", "--positive", "Bad", "--require", "none"); !strings.Contains(out, "TPR (bad)") {
		t.Error(out)
	}
	b.refuses("--error-rates: 2 is no share of labels", "loop", "--error-rates=2")
	b.refuses("--error-rates: NaN is no share of labels", "loop", "--error-rates=NaN")
	b.refuses("--error-rates: -0.1 is no share", "loop", "--error-rates=0.1,-0.1")

	// What a run would cost: at the price given, and without what was judged before.
	t.Setenv("SPANBOT_JUDGE_MODEL", "gpt-x")
	b.ok("judge", "init", "--project", "p1", "--shots", "0", "-o", "x.yaml")
	if out := b.ok("judge", "run", "x.yaml", "--dataset", "d1", "--dry-run", "--price", "gpt-x=1,2"); !strings.Contains(out, "12 calls of model gpt-x for 12 cases, 0 of them judged before; roughly $0.00") {
		t.Error(out)
	}
	b.refuses("--price gpt-x=a: want", "judge", "run", "x.yaml", "--dataset", "d1", "--dry-run", "--price", "gpt-x=a")
	b.ok("judge", "run", "--dataset", "d1", "--split", "dev")
	if out := b.ok("judge", "run", "--dataset", "d1", "--dry-run"); !strings.Contains(out, "for 12 cases, 6 of them judged before") || !strings.Contains(out, "Dry run: 6 calls") {
		t.Error(out)
	}

	// An experiment that is gone on with is the one that is meant.
	run := []string{"experiment", "run", "--dataset", "d1", "--prompt", "x"}
	var r struct {
		ID string `json:"experiment_id"`
	}
	if err := json.Unmarshal([]byte(b.ok(append(run, "--name", "one", "--json")...)), &r); err != nil {
		t.Fatal(err)
	}
	run = append(run, "--resume", r.ID)
	for flags, want := range map[string]string{
		"--name other":               "its name is one, and yours other",
		"--name one --split dev":     "its choice of splits is all, and yours dev",
		"--name one --repetitions 3": "its number of repetitions is 1, and yours 3",
	} {
		code, _, errs := b.run(append(run, strings.Fields(flags)...)...)
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, %s; want %q", flags, code, errs, want)
		}
	}
	b.ok(append(run, "--name", "one")...)
}

// What Phoenix or a file does not have is said in a sentence that says what to type,
// and nothing is printed of a run that did not begin.
func TestEvals_Sentences(t *testing.T) {
	b := newBench(t, modeld.Options{})
	b.spans("p1", "correctness", "aaa", 12)
	t.Setenv("PHOENIX_PROJECT", "p1")
	b.ok("dataset", "--name", "d1")
	b.ok("judge", "init", "--shots", "0")
	run := []string{"experiment", "run", "--dataset", "d1", "--name", "x", "--prompt", "x"}
	b.refuses("the dataset d1 has no example in a split nope; those of spanbot dataset are train, dev and test", append(run, "--split", "nope")...)
	b.refuses("the dataset d1 has no version nope; leave --version out for the newest", append(run, "--version", "nope")...)
	b.refuses("Phoenix has no experiment nope to go on with; spanbot experiment show --dataset d1 lists the ids", append(run, "--resume", "nope")...)
	b.refuses("the dataset d1 has no example in a split nope", "judge", "run", "--dataset", "d1", "--split", "nope")
	b.refuses("the dataset d1 has no example in a split nope", "judge", "align", "--dataset", "d1", "--split", "nope")
	b.refuses("Phoenix has no experiment whose id is a or b; to give their names, say of which dataset they are with --dataset", "experiment", "compare", "a", "b")
	b.refuses("--name is empty", "dataset", "--name", "")
	writeFile(t, "semi.csv", "id;human;judge\n1;a;b\n")
	b.refuses("semi.csv separates its columns by semicolons", "judge", "align", "--csv", "semi.csv")

	writeFile(t, "case.csv", "id,human,judge\n1,Correct,correct\n2,incorrect,Incorrect\n3,correct,correct\n")
	code, out, errs := b.run("judge", "align", "--csv", "case.csv", "--require", "none")
	if code != 0 || strings.Count(out, "Correct") != 4 || !strings.Contains(errs, "correct is Correct, Incorrect is incorrect") {
		t.Errorf("%d: %s%s", code, out, errs)
	}

	var sent struct{ Traces []struct{ Name string } }
	if err := json.Unmarshal([]byte(b.ok("traces", "--json", "--recorded", "--count", "2", "--project", "p5")), &sent); err != nil || len(sent.Traces) != 2 || sent.Traces[0].Name == "" {
		t.Errorf("%+v, %v", sent, err)
	}
	for _, of := range []string{"traces", "judge show", "experiment show"} {
		if out := b.ok(append(strings.Fields(of), "--help")...); !strings.Contains(out, "Exit code 0") || strings.Contains(out, "a line") {
			t.Errorf("%s: %s", of, out)
		}
	}

	// No endpoint for the judge's model.
	t.Setenv("SPANBOT_JUDGE_MODEL", "gpt-4o")
	b.ok("judge", "init", "--shots", "0", "-o", "x.yaml")
	t.Setenv("OPENAI_BASE_URL", "")
	t.Setenv("OPENAI_API_KEY", "")
	b.refuses("no endpoint is set to ask it", "judge", "run", "x.yaml")
	b.refuses("no endpoint is set to ask it", "judge", "run", "x.yaml", "--json")
	b.refuses("no endpoint is set to ask it", append(run, "--judge", "x.yaml", "--json")...)
	if out := b.ok("experiment", "show", "--dataset", "d1"); !strings.Contains(out, "no experiments yet") {
		t.Error(out)
	}
}
