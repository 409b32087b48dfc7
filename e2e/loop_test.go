package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/sandbox/modeld"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// loopWorld runs commands of the eval loop in one folder.
type loopWorld struct {
	t   *testing.T
	dir string
	env map[string]string
}

// run runs a command; it must end with that exit code.
func (w *loopWorld) run(code int, args ...string) string {
	w.t.Helper()
	path, err := buildBot()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir}
	for k, v := range w.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	_ = cmd.Run() // its code is looked at
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.t.Fatalf("spanbot %s: exit %d, want %d\n%s\n%s", strings.Join(args, " "), got, code, out.String(), said.String())
	}
	if code != 0 {
		return out.String() + said.String()
	}
	return out.String()
}

// python runs a script with Phoenix's official client.
func (w *loopWorld) python(script string, args ...string) string {
	w.t.Helper()
	abs, err := filepath.Abs(script)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(rig.Python(w.t), append([]string{abs}, args...)...)
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "LANG=C.UTF-8", "TQDM_DISABLE=1", "PHOENIX_TELEMETRY_ENABLED=false"}
	for k, v := range w.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Env = append(cmd.Env, "PHOENIX_COLLECTOR_ENDPOINT="+w.env["PHOENIX_ENDPOINT"])
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("%s: %v\n%s\n%s", script, err, out.String(), said.String())
	}
	return out.String()
}

// steps reads what `loop --json` printed.
func steps(t *testing.T, out string) map[string][]map[string]any {
	t.Helper()
	all := map[string][]map[string]any{}
	d := json.NewDecoder(strings.NewReader(out))
	for {
		var s map[string]any
		if err := d.Decode(&s); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		name := s["step"].(string)
		all[name] = append(all[name], s)
	}
}

// The tutorial, without a notebook, and then what the official client makes of it.
func TestLoop_OnARealPhoenix_IsReadByTheOfficialClient(t *testing.T) {
	px := rig.SharedPhoenix(t)
	w := &loopWorld{t, t.TempDir(), map[string]string{"PHOENIX_ENDPOINT": px.URL, "PHOENIX_PROJECT": "my-annotations-app"}}
	s := steps(t, w.run(0, "loop", "--json", "--traces", "40", "--dataset", "rhymes"))
	want := []string{"alignment", "comparison", "dataset", "experiment", "full set", "judge", "labels", "traces"}
	if got := slices.Sorted(maps.Keys(s)); !slices.Equal(got, want) {
		t.Fatalf("steps %v", got)
	}
	if done := s["labels"][0]["done"].(string); !strings.Contains(done, "no person looked at them") {
		t.Errorf("simulated labels do not say so: %s", done)
	}
	report := s["comparison"][0]["report"].(map[string]any)
	before, after := report["before"].(map[string]any)["experiment_id"].(string), report["after"].(map[string]any)["experiment_id"].(string)
	if report["stand_in"] != true || report["fixed"].(float64) < 8 || report["mcnemar_p"].(float64) > .01 || report["pairs"].(float64) < 35 {
		t.Errorf("comparison: %v", report)
	}
	examples := s["dataset"][0]["report"].(map[string]any)["included"].(float64)

	var read struct {
		Examples int
		Example  struct {
			Input, Output []string
			Label         string
		}
		Spans    int
		Question string
		Humans   struct {
			N     int
			Kinds []string
		}
		Judge struct {
			N             int
			Kinds, Labels []string
		}
		Experiments map[string]struct {
			Runs, Evaluations int
			Labels, Kinds     []string
		}
	}
	out := w.python("testdata/tutorial/read.py", "my-annotations-app", "rhymes", before, after)
	if err := json.Unmarshal([]byte(out), &read); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if read.Examples != int(examples) || !slices.Equal(read.Example.Input, []string{"messages", "question"}) || !slices.Equal(read.Example.Output, []string{"answer", "messages"}) ||
		read.Spans != 40 || read.Question != "user" || read.Humans.N != 120 || !slices.Equal(read.Humans.Kinds, []string{"HUMAN"}) || read.Judge.N < 30 || !slices.Equal(read.Judge.Kinds, []string{"LLM"}) {
		t.Errorf("the official client reads %s", out)
	}
	for id, e := range read.Experiments {
		if e.Runs != int(examples) || e.Evaluations != e.Runs || !slices.Equal(e.Kinds, []string{"LLM"}) {
			t.Errorf("experiment %s: %+v", id, e)
		}
	}

	// Once more: nothing is done again.
	again := steps(t, w.run(0, "loop", "--json", "--traces", "40", "--dataset", "rhymes"))
	if done := again["traces"][0]["done"].(string); !strings.Contains(done, "0 of them new") {
		t.Errorf("traces: %s", done)
	}
	for _, e := range again["experiment"] {
		if r := e["report"].(map[string]any); r["runs"].(float64) != 0 || r["already_run"].(float64) != examples {
			t.Errorf("experiment: %v", r)
		}
	}

	// The single commands on what the loop left.
	if out := w.run(0, "agreement", "--json"); !regexp.MustCompile(`"krippendorff_alpha": \{\s+"value": 0\.`).MatchString(out) {
		t.Errorf("agreement: %s", out)
	} else if !regexp.MustCompile(`"over_time": \[\s+\{\s+"from": "20`).MatchString(out) {
		t.Errorf("agreement says nothing of time, which Phoenix knows: %s", out)
	}
	if out := w.run(0, "report", "--since", "1d"); !strings.Contains(out, "40 labelled spans under correctness") || !strings.Contains(out, "recorded for no label") {
		t.Errorf("report: %s", out)
	}
	if out := w.run(0, "judge", "align", "--dataset", "rhymes", "--require", "none"); !strings.Contains(out, "people \\ judge") || !strings.Contains(out, "No language model was used") {
		t.Errorf("align: %s", out)
	}
	if out := w.run(1, "judge", "align", "--dataset", "rhymes", "--require", "validated"); !strings.Contains(out, "50 and 30 are needed to validate") {
		t.Errorf("align: %s", out)
	}
	if out := w.run(0, "experiment", "compare", "initial system prompt", "updated system prompt", "--dataset", "rhymes", "--judge", "judge.yaml"); !strings.Contains(out, "McNemar p") || !strings.Contains(out, "/compare?experimentId=") {
		t.Errorf("compare: %s", out)
	}

	// The tutorial's own cells, so renamed, on the dataset in its shape.
	if out := w.run(0, "dataset", "--tutorial-shape", "--name", "annotated-rhymes"); !strings.Contains(out, "new, 0 changed") {
		t.Errorf("dataset: %s", out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	model := &httptest.Server{Listener: l, Config: &http.Server{Handler: modeld.New(modeld.Options{})}}
	model.Start()
	t.Cleanup(model.Close)
	w.env["OPENAI_BASE_URL"], w.env["OPENAI_API_KEY"] = model.URL+"/v1", "none"
	w.python("testdata/tutorial/renamed.py")
	delete(w.env, "OPENAI_BASE_URL")
	delete(w.env, "OPENAI_API_KEY")
	var list []struct {
		Name       string `json:"name"`
		Successful int    `json:"successful_run_count"`
	}
	if err := json.Unmarshal([]byte(w.run(0, "experiment", "show", "--dataset", "annotated-rhymes", "--json")), &list); err != nil || len(list) != 1 ||
		list[0].Name != "updated system prompt" || list[0].Successful != int(examples) {
		t.Errorf("the tutorial's experiment: %+v, %v", list, err)
	}
}

// The committed difference between the tutorial's cells and those that run is
// what it is: the renames of newer clients, and whose dataset it is.
func TestTutorial_TheDifferenceIsTheOneThatIsCommitted(t *testing.T) {
	cmd := exec.Command("diff", "-u", "--label", "original.py", "--label", "renamed.py", "original.py", "renamed.py")
	cmd.Dir = "testdata/tutorial"
	got, _ := cmd.Output() // 1: they differ
	want, err := os.ReadFile("testdata/tutorial/renames.diff")
	if err != nil || string(got) != string(want) {
		t.Errorf("%v; testdata/tutorial/renames.diff is not what diff says:\n%s", err, got)
	}
	if n := strings.Count(string(want), "\n@@"); n == 0 {
		t.Error("there is no difference")
	}
}

// Phoenix's own gateway to models, with a provider that is the stand-in model.
func TestJudge_ThroughPhoenixsGateway(t *testing.T) {
	px := rig.SharedPhoenix(t)
	var refusedTools int
	model := httptest.NewServer(modeld.New(modeld.Options{Seen: func(body map[string]any) {
		if body["tools"] != nil || body["response_format"] != nil {
			refusedTools++
		}
	}}))
	t.Cleanup(model.Close)
	id := customProvider(t, px, model.URL+"/v1")
	project := "gateway-" + rig.SpanID()
	var spans []map[string]any
	for i := range 4 {
		spans = append(spans, rig.NewSpan("ChatCompletion", fmt.Sprintf("question %d", i), "words that rhyme all the time"))
	}
	px.Ingest(t, project, spans...)
	w := &loopWorld{t, t.TempDir(), map[string]string{"PHOENIX_ENDPOINT": px.URL, "PHOENIX_PROJECT": project, "OPENAI_BASE_URL": "phoenix", "SPANBOT_JUDGE_MODEL": "custom:" + id + ":standin"}}
	w.run(0, "judge", "init")
	var r struct {
		Judged int    `json:"judged"`
		Mode   string `json:"mode"`
	}
	if err := json.Unmarshal([]byte(w.run(0, "judge", "run", "--json")), &r); err != nil || r.Judged != 4 || r.Mode != "text" {
		t.Errorf("%+v, %v", r, err)
	}
	if refusedTools != 0 {
		t.Errorf("%d requests came with tools or a schema", refusedTools)
	}
}

// customProvider makes an OpenAI-compatible provider in Phoenix.
func customProvider(t *testing.T, px *rig.PhoenixServer, base string) string {
	t.Helper()
	var out struct {
		Data struct {
			Create struct {
				Provider struct{ ID string } `json:"provider"`
			} `json:"createGenerativeModelCustomProvider"`
		} `json:"data"`
		Errors []map[string]any `json:"errors"`
	}
	body := map[string]any{"query": `mutation($i:CreateGenerativeModelCustomProviderMutationInput!){createGenerativeModelCustomProvider(input:$i){provider{id}}}`,
		"variables": map[string]any{"i": map[string]any{"name": "stand-in " + rig.SpanID(), "provider": "openai", "clientConfig": map[string]any{
			"openai": map[string]any{"openaiAuthenticationMethod": map[string]any{"apiKey": "none"}, "openaiClientKwargs": map[string]any{"baseUrl": base}, "openaiApiType": "CHAT_COMPLETIONS"}}}}}
	if err := json.Unmarshal(px.Call(t, http.MethodPost, "/graphql", body), &out); err != nil || len(out.Errors) > 0 {
		t.Fatalf("%v, %v", err, out.Errors)
	}
	return out.Data.Create.Provider.ID
}
