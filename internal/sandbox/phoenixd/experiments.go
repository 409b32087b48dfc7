package phoenixd

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// experiment is a task over the examples of one version.
type experiment struct {
	id          int64
	dataset     *dataset
	version     int64
	name        string
	description *string
	metadata    map[string]any
	project     string
	repetitions int
	examples    []*example
	created     time.Time
	runs        []*run // by row
}

type run struct {
	row         int64
	experiment  *experiment
	example     *example
	repetition  int
	output      any
	failed      *string
	traceID     *string
	start, end  time.Time
	evaluations []*evaluation
}

type evaluation struct {
	row         int64
	name, kind  string
	label       *string
	score       *float64
	explanation *string
	failed      *string
	metadata    map[string]any
	traceID     *string
	start, end  time.Time
}

func (e *experiment) gid() string { return gid("Experiment", e.id) }
func (r *run) gid() string        { return gid("ExperimentRun", r.row) }

func (st *store) experiment(key string) (*experiment, *answer) {
	return byGID("Experiment", "Experiment", key, st.experiments, func(e *experiment) int64 { return e.id })
}

func (e *experiment) json() map[string]any {
	good, bad := 0, 0
	for _, r := range e.runs {
		if r.failed == nil {
			good++
		} else {
			bad++
		}
	}
	return map[string]any{"id": e.gid(), "dataset_id": e.dataset.gid(), "dataset_version_id": gid("DatasetVersion", e.version), "name": e.name, "description": e.description,
		"repetitions": e.repetitions, "metadata": e.metadata, "project_name": e.project, "created_at": stamp(e.created), "updated_at": stamp(e.created),
		"example_count": len(e.examples), "successful_run_count": good, "failed_run_count": bad, "missing_run_count": len(e.examples)*e.repetitions - good - bad}
}

func (r *run) json() map[string]any {
	return map[string]any{"id": r.gid(), "experiment_id": r.experiment.gid(), "dataset_example_id": r.example.gid(), "output": r.output, "repetition_number": r.repetition,
		"start_time": stamp(r.start), "end_time": stamp(r.end), "trace_id": r.traceID, "error": r.failed}
}

// postExperiment makes an experiment and fixes its examples.
func (s *Server) postExperiment(c *call) answer {
	v, half, bad := c.json()
	if bad != nil {
		return *bad
	}
	k := &checker{}
	m, ok := k.body(v)
	if !ok {
		return k.wrong()
	}
	in := []any{"body"}
	name, description, versionID := k.textOrNull(in, m, "name"), k.textOrNull(in, m, "description"), k.textOrNull(in, m, "version_id")
	metadata := k.dict(in, m, "metadata", true)
	var splits []string
	if m["splits"] != nil {
		for _, x := range k.list(in, m, "splits", true) {
			text, _ := x.(string)
			splits = append(splits, text)
		}
	}
	repetitions := 1
	if f := k.numberOrNull(in, m, "repetitions"); f != nil {
		repetitions = int(*f)
	}
	switch {
	case !k.ok():
		return k.wrong()
	case half:
		return crash()
	case repetitions < 1:
		k.add("greater_than", below(in, "repetitions"), "Input should be greater than 0", m["repetitions"], map[string]any{"gt": 0})
		return k.wrong()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d, bad := s.store.dataset(c.path[0])
	if bad != nil {
		return *bad
	}
	key := ""
	if versionID != nil {
		key = *versionID
	}
	version, bad := d.version(key)
	if bad != nil {
		return *bad
	}
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails
	e := &experiment{dataset: d, version: version, description: description, metadata: metadata, repetitions: repetitions, created: time.Now(),
		project: "Experiment-" + hex.EncodeToString(b), name: d.name + "-" + hex.EncodeToString(b[:4])}
	s.store.lastExperiment++
	e.id = s.store.lastExperiment
	if name != nil && *name != "" {
		e.name = *name
	}
	if e.metadata == nil {
		e.metadata = map[string]any{}
	}
	for _, x := range d.in(version) {
		if splits == nil || slices.Contains(splits, x.split) {
			e.examples = append(e.examples, x)
		}
	}
	s.store.projectNamed(e.project)
	s.store.experiments = append(s.store.experiments, e)
	s.changed()
	return data(e.json())
}

func (s *Server) getExperiments(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, bad := s.store.dataset(c.path[0])
	if bad != nil {
		return *bad
	}
	rows := slices.DeleteFunc(slices.Clone(s.store.experiments), func(e *experiment) bool { return e.dataset != d })
	return newestFirst(c.query(), 50, 0, "Experiment", rows, func(e *experiment) int64 { return e.id }, func(e *experiment) any { return e.json() })
}

func (s *Server) getExperiment(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, bad := s.store.experiment(c.path[0])
	if bad != nil {
		return *bad
	}
	return data(e.json())
}

func (s *Server) deleteExperiment(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, bad := s.store.experiment(c.path[0])
	if bad != nil {
		return *bad
	}
	s.store.experiments = slices.DeleteFunc(s.store.experiments, func(o *experiment) bool { return o == e })
	s.changed()
	return answer{status: http.StatusNoContent, kind: "application/json"}
}

// postRun stores a run. One that succeeded stays; one that failed is replaced.
func (s *Server) postRun(c *call) answer {
	v, half, bad := c.json()
	if bad != nil {
		return *bad
	}
	k := &checker{}
	m, ok := k.body(v)
	if !ok {
		return k.wrong()
	}
	in := []any{"body"}
	key := k.text(in, m, "dataset_example_id", true)
	output, _ := k.field(in, m, "output", true)
	if _, ok := k.field(in, m, "repetition_number", true); !ok {
		return k.wrong()
	}
	number := k.numberOrNull(in, m, "repetition_number")
	start, end := k.moment(in, m, "start_time"), k.moment(in, m, "end_time")
	trace, failed := k.textOrNull(in, m, "trace_id"), k.textOrNull(in, m, "error")
	switch {
	case !k.ok():
		return k.wrong()
	case half:
		return crash()
	case number == nil || *number < 1:
		k.add("greater_than", below(in, "repetition_number"), "Input should be greater than 0", m["repetition_number"], map[string]any{"gt": 0})
		return k.wrong()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, bad := s.store.experiment(c.path[0])
	if bad != nil {
		return *bad
	}
	class, row, err := fromGID(key)
	i := slices.IndexFunc(e.dataset.examples, func(x *example) bool { return x.row == row })
	if err != nil || class != "DatasetExample" || i < 0 {
		return crash()
	}
	x := e.dataset.examples[i]
	r := &run{experiment: e, example: x, repetition: int(*number), output: output, failed: failed, traceID: trace, start: start.Time, end: end.Time}
	for _, had := range e.runs {
		if had.example != x || had.repetition != r.repetition {
			continue
		}
		if had.failed == nil {
			return inText(http.StatusConflict, "This experiment run has already been submitted")
		}
		r.row, r.evaluations = had.row, had.evaluations
		*had = *r
		s.changed()
		return data(map[string]any{"id": r.gid()})
	}
	s.store.lastRun++
	r.row = s.store.lastRun
	e.runs = append(e.runs, r)
	s.changed()
	return data(map[string]any{"id": r.gid()})
}

func (s *Server) getRuns(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, bad := s.store.experiment(c.path[0])
	if bad != nil {
		return *bad
	}
	q := c.query()
	usual := max(1, len(e.runs)) // without a limit: all
	return newestFirst(q, usual, 0, "ExperimentRun", e.runs, func(r *run) int64 { return r.row }, func(r *run) any { return r.json() })
}

// getIncompleteRuns lists the examples with repetitions that have not succeeded.
func (s *Server) getIncompleteRuns(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, bad := s.store.experiment(c.path[0])
	if bad != nil {
		return *bad
	}
	q := c.query()
	limit := q.limit(50, 1000)
	if !q.ok() {
		return q.wrong()
	}
	cursor, _ := q.last("cursor")
	_, from, err := fromGID(cursor)
	if cursor != "" && err != nil {
		return inText(http.StatusUnprocessableEntity, "Invalid cursor format: %s", cursor)
	}
	list, following := []any{}, (*string)(nil)
	for _, x := range e.examples {
		if cursor != "" && x.row < from {
			continue
		}
		missing := []int{}
		for n := 1; n <= e.repetitions; n++ {
			if !slices.ContainsFunc(e.runs, func(r *run) bool { return r.example == x && r.repetition == n && r.failed == nil }) {
				missing = append(missing, n)
			}
		}
		if len(missing) == 0 {
			continue
		}
		if len(list) == limit {
			next := x.gid()
			following = &next
			break
		}
		is, _ := x.at(e.version)
		list = append(list, map[string]any{"dataset_example": x.json(is, true), "repetition_numbers": missing})
	}
	return inJSON(http.StatusOK, page{list, following})
}

// postEvaluation stores what an evaluator said of a run, in place of what one of
// that name said before.
func (s *Server) postEvaluation(c *call) answer {
	v, half, bad := c.json()
	if bad != nil {
		return *bad
	}
	k := &checker{}
	m, ok := k.body(v)
	if !ok {
		return k.wrong()
	}
	in := []any{"body"}
	key, name := k.text(in, m, "experiment_run_id", true), k.text(in, m, "name", true)
	kind := k.oneOf(in, m, "annotator_kind", "literal_error", true, "LLM", "CODE", "HUMAN")
	start, end := k.moment(in, m, "start_time"), k.moment(in, m, "end_time")
	e := &evaluation{name: name, kind: kind, start: start.Time, end: end.Time, failed: k.textOrNull(in, m, "error"), traceID: k.textOrNull(in, m, "trace_id"), metadata: k.dict(in, m, "metadata", true)}
	if result, ok := m["result"]; ok && result != nil {
		at := below(in, "result")
		if f, ok := k.model(at, result, "ExperimentEvaluationResult"); ok {
			e.label, e.score, e.explanation = k.textOrNull(at, f, "label"), k.numberOrNull(at, f, "score"), k.textOrNull(at, f, "explanation")
		}
	} else if e.failed == nil {
		k.add("value_error", in, "Value error, Either 'result' or 'error' must be provided", m, nil)
	}
	if e.metadata == nil {
		e.metadata = map[string]any{}
	}
	switch {
	case !k.ok():
		return k.wrong()
	case half:
		return crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	class, row, err := fromGID(key)
	for _, x := range s.store.experiments {
		for _, r := range x.runs {
			if err != nil || class != "ExperimentRun" || r.row != row {
				continue
			}
			i := slices.IndexFunc(r.evaluations, func(o *evaluation) bool { return o.name == name })
			if i >= 0 {
				e.row = r.evaluations[i].row
				r.evaluations[i] = e
			} else {
				s.store.lastEvaluation++
				e.row = s.store.lastEvaluation
				r.evaluations = append(r.evaluations, e)
			}
			s.changed()
			return data(map[string]any{"id": gid("ExperimentRunAnnotation", e.row)})
		}
	}
	return crash()
}

// getIncompleteEvaluations lists runs that lack evaluations of these names, or
// have failed ones.
func (s *Server) getIncompleteEvaluations(c *call) answer {
	q := c.query()
	names := q.q["evaluation_name"]
	if len(names) == 0 {
		return inText(http.StatusBadRequest, "At least one evaluation_name is required")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, bad := s.store.experiment(c.path[0])
	if bad != nil {
		return *bad
	}
	limit := q.limit(50, 1000)
	if !q.ok() {
		return q.wrong()
	}
	cursor, _ := q.last("cursor")
	_, from, err := fromGID(cursor)
	if cursor != "" && err != nil {
		return inText(http.StatusUnprocessableEntity, "Invalid cursor format: %s", cursor)
	}
	list, following := []any{}, (*string)(nil)
	for _, r := range e.runs {
		if r.failed != nil || cursor != "" && r.row < from {
			continue
		}
		missing := []string{}
		for _, n := range names {
			if !slices.ContainsFunc(r.evaluations, func(v *evaluation) bool { return v.name == n && v.failed == nil }) {
				missing = append(missing, n)
			}
		}
		if len(missing) == 0 {
			continue
		}
		if len(list) == limit {
			next := r.gid()
			following = &next
			break
		}
		is, _ := r.example.at(e.version)
		list = append(list, map[string]any{"experiment_run": r.json(), "dataset_example": r.example.json(is, true), "evaluation_names": missing})
	}
	return inJSON(http.StatusOK, page{list, following})
}

// getExperimentJSON exports runs with what evaluators said of them.
func (s *Server) getExperimentJSON(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, bad := s.store.experiment(c.path[0])
	if bad != nil {
		return *bad
	}
	if len(e.runs) == 0 {
		return inText(http.StatusNotFound, "Experiment has no runs")
	}
	list := []any{}
	for _, r := range e.runs {
		annotations := []any{}
		for _, v := range r.evaluations {
			annotations = append(annotations, map[string]any{"name": v.name, "annotator_kind": v.kind, "label": v.label, "score": number(v.score), "explanation": v.explanation,
				"trace_id": v.traceID, "error": v.failed, "metadata": v.metadata, "start_time": stamp(v.start), "end_time": stamp(v.end)})
		}
		is, _ := r.example.at(e.version)
		list = append(list, map[string]any{"example_id": r.example.gid(), "repetition_number": r.repetition, "input": is.input, "reference_output": is.output, "output": r.output,
			"error": r.failed, "latency_ms": float(r.end.Sub(r.start).Seconds() * 1000), "start_time": stamp(r.start), "end_time": stamp(r.end), "trace_id": r.traceID,
			"prompt_token_count": nil, "completion_token_count": nil, "annotations": annotations})
	}
	a := inJSON(http.StatusOK, list)
	a.header = map[string]string{"Content-Disposition": `attachment; filename="` + strings.ReplaceAll(e.name, `"`, "") + `.json"`}
	return a
}
