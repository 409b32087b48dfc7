package phoenixd

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// run is what the task of an experiment made of one example, one time.
type run struct {
	id          int64
	experiment  *experiment
	example     *example
	repetition  int
	output      any
	failure     *string // nil: it succeeded
	start, end  time.Time
	trace       *string
	evaluations []*evaluation // by name, the order in which Phoenix lists them
}

// evaluation of a run. Its key is run and name.
type evaluation struct {
	id          int64
	run         *run
	name, kind  string
	label       *string
	score       *float64
	explanation *string
	failure     *string
	metadata    map[string]any
	start, end  time.Time
	trace       *string
}

func (r *run) gid() string { return gid("ExperimentRun", r.id) }

type runJSON struct {
	Example    string  `json:"dataset_example_id"`
	Output     any     `json:"output"`
	Repetition int     `json:"repetition_number"`
	Start      string  `json:"start_time"`
	End        string  `json:"end_time"`
	Trace      *string `json:"trace_id"`
	Failure    *string `json:"error"`
	ID         string  `json:"id"`
	Experiment string  `json:"experiment_id"`
}

func (r *run) json() runJSON {
	return runJSON{r.example.gid(), r.output, r.repetition, stamp(r.start), stamp(r.end), r.trace, r.failure, r.gid(), r.experiment.gid()}
}

// sentRun is the body of a new run.
type sentRun struct {
	run
	example string
}

func readRun(v any) (sentRun, *checker) {
	c := &checker{}
	var r sentRun
	m, ok := c.body(v)
	if !ok {
		return r, c
	}
	in := []any{"body"}
	r.example = c.text(in, m, "dataset_example_id", true)
	r.output, _ = c.field(in, m, "output", true)
	if _, ok := c.field(in, m, "repetition_number", true); ok {
		before := len(c.problems)
		if r.repetition = c.whole(in, m, "repetition_number"); r.repetition < 1 && len(c.problems) == before {
			c.add("greater_than", below(in, "repetition_number"), "Input should be greater than 0", m["repetition_number"], map[string]any{"gt": 0})
		}
	}
	r.start, r.end = c.moment(in, m, "start_time").Time, c.moment(in, m, "end_time").Time
	r.trace = c.textOrNull(in, m, "trace_id")
	r.failure = c.textOrNull(in, m, "error")
	return r, c
}

// postRun stores a run. One that failed is replaced, and what programs said of it
// deleted; one that succeeded stays. Phoenix crashes on an id that is none, and on
// one of nothing.
func (s *Server) postRun(c *call) answer {
	v, half, bad := c.json()
	if bad != nil {
		return *bad
	}
	sent, check := readRun(v)
	if !check.ok() {
		return check.wrong()
	}
	n, ok := readNode(c.path[0])
	switch {
	case !ok:
		return crash()
	case !n.is("Experiment"):
		return noSuch("Experiment", n.text)
	}
	of, ok := readNode(sent.example)
	switch {
	case !ok:
		return crash()
	case !of.is("DatasetExample"):
		return noSuch("DatasetExample", of.text)
	case half || tooLarge(sent.output):
		return crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.store.experiment(n.row)
	example := byID(s.store.examples, of.row, func(e *example) int64 { return e.id })
	if e == nil || example == nil {
		return crash()
	}
	made := &sent.run
	made.experiment, made.example = e, example
	key := runKey{example, made.repetition}
	old := e.runs[key]
	switch {
	case old == nil:
		made.id = after(s.store.runs, func(r *run) int64 { return r.id })
		s.store.runs = append(s.store.runs, made)
		e.runs[key] = made
		s.store.boundExperiments(s.keep * spansEach)
	case old.failure == nil:
		return inText(http.StatusConflict, "Experiment run %s already exists with a successful result and cannot be updated", old.gid())
	default:
		made.id, made.evaluations = old.id, slices.DeleteFunc(old.evaluations, func(v *evaluation) bool { return v.kind != "HUMAN" })
		s.store.evaluations = slices.DeleteFunc(s.store.evaluations, func(v *evaluation) bool { return v.run == old && v.kind != "HUMAN" })
		*old = *made
	}
	s.changed()
	return data(map[string]string{"id": made.gid()})
}

// getRuns lists the runs of an experiment, newest first; all of them without a
// limit, and none of one that is not there.
func (s *Server) getRuns(c *call) answer {
	q := c.query()
	limit := q.limit(0, 0)
	if !q.ok() {
		return q.wrong()
	}
	n, bad := c.experimentNode()
	if bad != nil {
		return *bad
	}
	top := int64(fromTop)
	if cursor, _ := q.last("cursor"); cursor != "" {
		from, ok := readNode(cursor)
		if !ok || !from.isRow { // of whatever class
			return inText(http.StatusUnprocessableEntity, "Invalid cursor format: %s", cursor)
		}
		top = from.row
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*run{}
	for _, r := range slices.Backward(s.store.runs) {
		if r.id <= top && r.experiment.id == n.row && (limit == 0 || len(found) <= limit) {
			found = append(found, r)
		}
	}
	var following *string
	if limit > 0 {
		found, following = pageOf(found, limit, (*run).gid)
	}
	list := make([]runJSON, len(found))
	for i, r := range found {
		list[i] = r.json()
	}
	return inJSON(http.StatusOK, page{list, following})
}

// missingRuns are the repetitions of an example that have no successful run.
type missingRuns struct {
	Example     exampleJSON `json:"dataset_example"`
	Repetitions []int       `json:"repetition_numbers"`
	gid         string
}

// missing lists the repetitions of one example that have no successful run. Those
// beyond the experiment's own count as much as its own.
func (e *experiment) missing(of *example) (list []int) {
	successful := 0
	for k, r := range e.runs {
		if k.example == of && r.failure == nil {
			successful++
		}
	}
	if successful >= e.repetitions {
		return nil
	}
	for n := 1; n <= e.repetitions; n++ {
		if r := e.runs[runKey{of, n}]; r == nil || r.failure != nil {
			list = append(list, n)
		}
	}
	return list
}

// getIncompleteRuns lists the examples of an experiment that lack a successful run.
func (s *Server) getIncompleteRuns(c *call) answer {
	q := c.query()
	limit := q.limit(50, 0)
	if !q.ok() {
		return q.wrong()
	}
	n, bad := c.experimentNode()
	if bad != nil {
		return *bad
	}
	first, bad := q.firstRow("DatasetExample")
	if bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.store.experiment(n.row)
	if e == nil {
		return noSuch("Experiment", n.text)
	}
	found := []missingRuns{}
	for _, one := range e.examples {
		if one.example.id < first || len(found) > limit {
			continue
		}
		if list := e.missing(one.example); len(list) > 0 {
			found = append(found, missingRuns{one.example.plain(one.revision), list, one.example.gid()})
		}
	}
	found, following := pageOf(found, limit, func(m missingRuns) string { return m.gid })
	return inJSON(http.StatusOK, page{found, following})
}

// firstRow reads the cursor of a list that ascends by rows of that class.
func (p params) firstRow(class string) (first int64, bad *answer) {
	cursor, _ := p.last("cursor")
	if cursor == "" {
		return 0, nil
	}
	n, ok := readNode(cursor)
	if !ok || !n.is(class) {
		a := inText(http.StatusUnprocessableEntity, "Invalid cursor format: %s", cursor)
		return 0, &a
	}
	return n.row, nil
}

// sentEvaluation is the body of an evaluation.
type sentEvaluation struct {
	evaluation
	run string
}

func readEvaluation(v any) (sentEvaluation, *checker) {
	c := &checker{}
	var e sentEvaluation
	m, ok := c.body(v)
	if !ok {
		return e, c
	}
	in := []any{"body"}
	e.run = c.text(in, m, "experiment_run_id", true)
	e.name = c.text(in, m, "name", true)
	e.kind = c.oneOf(in, m, "annotator_kind", "literal_error", true, annotatorKinds...)
	e.start, e.end = c.moment(in, m, "start_time").Time, c.moment(in, m, "end_time").Time
	e.metadata = map[string]any{}
	if m["result"] != nil {
		at := below(in, "result")
		if r, ok := c.model(at, m["result"], "ExperimentEvaluationResult"); ok {
			e.label, e.score, e.explanation = c.textOrNull(at, r, "label"), c.numberOrNull(at, r, "score"), c.textOrNull(at, r, "explanation")
			older, _ := r["metadata"].(map[string]any) // where old clients put it
			for k, v := range older {
				e.metadata[k] = v
			}
		}
	}
	e.failure = c.textOrNull(in, m, "error")
	for k, v := range c.dict(in, m, "metadata", true) {
		e.metadata[k] = v
	}
	e.trace = c.textOrNull(in, m, "trace_id")
	if c.ok() && m["result"] == nil && e.failure == nil {
		c.add("value_error", in, "Value error, Either 'result' or 'error' must be provided", m, map[string]any{"error": map[string]any{}})
	}
	for _, k := range []string{"start_time", "end_time"} {
		if _, isText := m[k].(string); !isText {
			c.fatal = true // read a second time, and then only as a text
		}
	}
	return e, c
}

// postEvaluation stores what an evaluator said of a run; what was said of it under
// the same name before is overwritten.
func (s *Server) postEvaluation(c *call) answer {
	v, half, bad := c.json()
	if bad != nil {
		return *bad
	}
	sent, check := readEvaluation(v)
	if !check.ok() {
		return check.wrong()
	}
	n, ok := readNode(sent.run)
	switch {
	case !ok:
		return crash()
	case !n.is("ExperimentRun"):
		return noSuch("ExperimentRun", n.text)
	case half || tooLarge(sent.metadata):
		return crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := byID(s.store.runs, n.row, func(r *run) int64 { return r.id })
	if r == nil {
		return crash()
	}
	made := &sent.evaluation
	made.run = r
	if i := slices.IndexFunc(r.evaluations, func(v *evaluation) bool { return v.name == made.name }); i >= 0 {
		made.id = r.evaluations[i].id
		*r.evaluations[i] = *made
	} else {
		made.id = after(s.store.evaluations, func(v *evaluation) int64 { return v.id })
		s.store.evaluations = append(s.store.evaluations, made)
		r.evaluations = append(r.evaluations, made)
		slices.SortFunc(r.evaluations, func(a, b *evaluation) int { return strings.Compare(a.name, b.name) })
		s.store.boundExperiments(s.keep * spansEach)
	}
	s.changed()
	return data(map[string]string{"id": gid("ExperimentEvaluation", made.id)})
}

// lacking are the names under which nothing was said of the run, or only that
// saying it failed.
func (r *run) lacking(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(r.evaluations, func(v *evaluation) bool { return v.name == name && v.failure == nil })
	})
}

// getIncompleteEvaluations lists the successful runs that lack an evaluation.
func (s *Server) getIncompleteEvaluations(c *call) answer {
	q := c.query()
	limit := q.limit(50, 0)
	if !q.ok() {
		return q.wrong()
	}
	n, bad := c.experimentNode()
	if bad != nil {
		return *bad
	}
	first, bad := q.firstRow("ExperimentRun")
	if bad != nil {
		return *bad
	}
	var names []string
	for _, name := range q.q["evaluation_name"] {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	names = distinct(names)
	switch {
	case len(names) == 0:
		return inText(http.StatusBadRequest, "At least one evaluation_name must be provided")
	case strings.Contains(strings.Join(names, ""), "\x00"):
		return inText(http.StatusBadRequest, "Invalid evaluation name: null bytes are not allowed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.store.experiment(n.row)
	if e == nil {
		return noSuch("Experiment", n.text)
	}
	revisions := map[*example]*revision{}
	for _, one := range e.examples {
		revisions[one.example] = one.revision
	}
	type lacking struct {
		Run     runJSON     `json:"experiment_run"`
		Example exampleJSON `json:"dataset_example"`
		Names   []string    `json:"evaluation_names"`
	}
	found := []lacking{}
	for _, r := range s.store.runs {
		if r.experiment != e || r.id < first || r.failure != nil || revisions[r.example] == nil || len(found) > limit {
			continue
		}
		if list := r.lacking(names); len(list) > 0 {
			found = append(found, lacking{r.json(), r.example.plain(revisions[r.example]), list})
		}
	}
	found, following := pageOf(found, limit, func(l lacking) string { return l.Run.ID })
	return inJSON(http.StatusOK, page{found, following})
}
