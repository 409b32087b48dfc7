package phoenix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spanbot/spanbot/internal/review"
)

// Experiment is an experiment of Phoenix: a task that ran over the examples of
// one version of a dataset, each Repetitions times.
type Experiment struct {
	ID          string         `json:"id"`
	DatasetID   string         `json:"dataset_id"`
	VersionID   string         `json:"dataset_version_id"`
	Name        string         `json:"name"` // "" before 16: not in the answer
	Description string         `json:"description"`
	Repetitions int            `json:"repetitions"`
	Metadata    map[string]any `json:"metadata"`
	Project     string         `json:"project_name"` // "Experiment-<24 hex digits>": where its traces belong
	Created     time.Time      `json:"created_at"`
	Examples    int            `json:"example_count"`
	Successful  int            `json:"successful_run_count"`
	Failed      int            `json:"failed_run_count"`
	Missing     int            `json:"missing_run_count"`
}

// NewExperiment says what an experiment is to be called and over what it runs.
type NewExperiment struct {
	Name        string         `json:"name"`
	Description string         `json:"description,omitempty"`
	Metadata    map[string]any `json:"metadata,omitempty"`
	VersionID   string         `json:"version_id,omitempty"`
	Splits      []string       `json:"splits,omitempty"` // nil: all examples
	Repetitions int            `json:"repetitions"`
}

func experimentPath(id, resource string) string {
	p := "/v1/experiments/" + url.PathEscape(id)
	if resource != "" {
		p += "/" + resource
	}
	return p
}

// CreateExperiment makes an experiment; the server fixes its set of examples and
// makes its project. An answer that was lost may leave an empty one behind.
//
// Invalid: a name beyond Latin-1. Phoenix takes it and can then never export the
// runs, for it puts the name into a header: see Results.
//
// Phoenix: POST /v1/datasets/{id}/experiments.
func (c *Client) CreateExperiment(ctx context.Context, dataset string, e NewExperiment) (Experiment, error) {
	if i := strings.IndexFunc(e.Name, func(r rune) bool { return r > 0xFF || unicode.IsControl(r) }); i >= 0 {
		bad, _ := utf8.DecodeRuneInString(e.Name[i:])
		return Experiment{}, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("an experiment cannot be called %q: Phoenix could not export its runs because of the %q in it; letters of Western European languages will do", e.Name, bad)}
	}
	body, err := clean(e)
	if err != nil {
		return Experiment{}, refused("the experiment cannot be written as JSON", err)
	}
	var out struct {
		Data Experiment `json:"data"`
	}
	r := request{call: "create_experiment", method: http.MethodPost, path: "/v1/datasets/" + url.PathEscape(dataset) + "/experiments", body: body, write: true, once: true}
	err = c.do(ctx, r, decodeJSON(&out, maxExplanation))
	return out.Data, err
}

// Experiment reads an experiment by its id.
//
// Phoenix: GET /v1/experiments/{id}.
func (c *Client) Experiment(ctx context.Context, id string) (Experiment, error) {
	var out struct {
		Data Experiment `json:"data"`
	}
	err := c.do(ctx, request{call: "experiment", method: http.MethodGet, path: experimentPath(id, "")}, whole(&out))
	return out.Data, err
}

// Experiments lists the experiments of a dataset, newest first.
//
// Phoenix: GET /v1/datasets/{id}/experiments.
func (c *Client) Experiments(ctx context.Context, dataset string) ([]Experiment, error) {
	var out []Experiment
	q := url.Values{"limit": {"100"}}
	err := c.pages(ctx, "experiments", "/v1/datasets/"+url.PathEscape(dataset)+"/experiments", q, func(d *json.Decoder) (func(), error) {
		var e Experiment
		err := d.Decode(&e)
		return func() { out = append(out, e) }, err
	})
	return out, err
}

// pages follows the cursors of a list; take returns what to do with an item once
// its page has arrived whole.
func (c *Client) pages(ctx context.Context, call, path string, q url.Values, take func(*json.Decoder) (func(), error)) error {
	for {
		var following *string
		var items []func()
		err := c.do(ctx, request{call: call, method: http.MethodGet, path: path, query: q}, func(body io.Reader) error {
			following, items = nil, nil
			return eachItem(newCleaner(body), &following, func(d *json.Decoder) error {
				keep, err := take(d)
				items = append(items, keep)
				return err
			})
		})
		if err != nil {
			return err
		}
		for _, keep := range items {
			keep()
		}
		if !next(q, following) {
			return nil
		}
	}
}

// Run is what the task answered for one example, one time.
type Run struct {
	ID         string    `json:"id,omitempty"`
	Example    string    `json:"dataset_example_id"` // Example.NodeID
	Repetition int       `json:"repetition_number"`  // from 1
	Output     any       `json:"output"`             // any JSON
	Error      string    `json:"error,omitempty"`    // why there is no output
	Start      time.Time `json:"start_time"`
	End        time.Time `json:"end_time"`
	TraceID    string    `json:"trace_id,omitempty"`
}

// AddRun stores a run and returns its id. had says that a successful run of this
// example and repetition was there already, which stays; its id is not known then.
// A failed run is replaced.
//
// Phoenix: POST /v1/experiments/{id}/runs; 409 for a successful run that exists.
func (c *Client) AddRun(ctx context.Context, experiment string, run Run) (id string, had bool, err error) {
	body, err := clean(run)
	if err != nil {
		return "", false, refused("the run cannot be written as JSON", err)
	}
	var out struct {
		Data struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	r := request{call: "add_run", method: http.MethodPost, path: experimentPath(experiment, "runs"), body: body, write: true}
	err = c.do(ctx, r, decodeJSON(&out, smallText))
	if status(err) == http.StatusConflict {
		return "", true, nil
	}
	return out.Data.ID, false, err
}

// Runs lists the runs of an experiment.
//
// Phoenix: GET /v1/experiments/{id}/runs.
func (c *Client) Runs(ctx context.Context, experiment string) ([]Run, error) {
	var out []Run
	err := c.pages(ctx, "runs", experimentPath(experiment, "runs"), url.Values{"limit": {"500"}}, func(d *json.Decoder) (func(), error) {
		var r Run
		err := d.Decode(&r)
		return func() { out = append(out, r) }, err
	})
	return out, err
}

// Missing is an example with the repetitions of it that have no successful run.
type Missing struct {
	Example     Example // its ID is Phoenix's global id here: see NodeID
	Repetitions []int
}

// IncompleteRuns lists what is missing in an experiment: never run, or failed.
//
// Phoenix: GET /v1/experiments/{id}/incomplete-runs, where the id of an example
// is its global id.
func (c *Client) IncompleteRuns(ctx context.Context, experiment string) ([]Missing, error) {
	var out []Missing
	err := c.pages(ctx, "incomplete_runs", experimentPath(experiment, "incomplete-runs"), url.Values{"limit": {"200"}}, func(d *json.Decoder) (func(), error) {
		var w struct {
			Example     Example `json:"dataset_example"`
			Repetitions []int   `json:"repetition_numbers"`
		}
		err := d.Decode(&w)
		if w.Example.NodeID == "" {
			w.Example.NodeID = w.Example.ID
		}
		return func() { out = append(out, Missing{w.Example, w.Repetitions}) }, err
	})
	return out, err
}

// Evaluation is what an evaluator said of a run: an answer, or why there is none.
type Evaluation struct {
	RunID    string
	Name     string
	Kind     string // LLM, CODE or HUMAN
	Answer   review.Answer
	Error    string // set when Answer is empty
	Metadata map[string]any
	Start    time.Time
	End      time.Time
	TraceID  string
}

// AddEvaluation stores what an evaluator said; an earlier word of the same name
// on the same run is overwritten, whoever said it.
//
// Refused where there is neither an answer nor an error: Phoenix would take the
// run for evaluated.
//
// Phoenix: POST /v1/experiment_evaluations.
func (c *Client) AddEvaluation(ctx context.Context, e Evaluation) error {
	if e.Answer.Empty() && e.Error == "" {
		return refused("an evaluation needs an answer or an error", nil)
	}
	body := map[string]any{"experiment_run_id": e.RunID, "name": e.Name, "annotator_kind": e.Kind, "start_time": e.Start, "end_time": e.End, "metadata": object(e.Metadata)}
	if e.TraceID != "" {
		body["trace_id"] = e.TraceID
	}
	if e.Error != "" {
		body["error"] = e.Error
	} else {
		body["result"] = writeResult{e.Answer.Label, e.Answer.Score, e.Answer.Explanation}
	}
	raw, err := clean(body)
	if err != nil {
		return refused("the evaluation cannot be written as JSON", err)
	}
	return c.do(ctx, request{call: "add_evaluation", method: http.MethodPost, path: "/v1/experiment_evaluations", body: raw, write: true}, decodeJSON(&struct{}{}, smallText))
}

// Result is a run with what evaluators said of it.
type Result struct {
	Example     string         `json:"example_id"` // Example.NodeID
	Repetition  int            `json:"repetition_number"`
	Input       map[string]any `json:"input"`
	Output      any            `json:"output"`
	Error       string         `json:"error"`
	LatencyMS   float64        `json:"latency_ms"`
	TraceID     string         `json:"trace_id"`
	Evaluations []Evaluated    `json:"annotations"`
}

// Evaluated is an evaluation as Phoenix holds it.
type Evaluated struct {
	Name        string         `json:"name"`
	Kind        string         `json:"annotator_kind"`
	Label       string         `json:"label"`
	Score       *float64       `json:"score"`
	Explanation string         `json:"explanation"`
	Error       string         `json:"error"`
	Metadata    map[string]any `json:"metadata"`
}

// Results lists the runs of an experiment with their evaluations; none for an
// experiment without runs.
//
// Phoenix: GET /v1/experiments/{id}/json, which answers 404 "Experiment has no
// runs" for an empty one.
func (c *Client) Results(ctx context.Context, experiment string) ([]Result, error) {
	var out []Result
	err := c.do(ctx, request{call: "experiment_json", method: http.MethodGet, path: experimentPath(experiment, "json")}, whole(&out))
	var se *StatusError
	if errors.As(err, &se) && se.Status == http.StatusNotFound && se.Excerpt == "Experiment has no runs" {
		return nil, nil
	}
	return out, err
}
