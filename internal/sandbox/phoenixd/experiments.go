package phoenixd

import (
	cryptorand "crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// experiment is a task that is run over the examples of one version of a dataset.
type experiment struct {
	id          int64
	dataset     *dataset
	version     int64
	name        string
	description *string
	repetitions int
	metadata    map[string]any
	project     string // its name; the project itself may be gone
	created     time.Time
	examples    []snapshot // by example
	runs        map[runKey]*run
}

// snapshot is an example as it was when the experiment was made.
type snapshot struct {
	example  *example
	revision *revision
}

type runKey struct {
	example    *example
	repetition int
}

func (e *experiment) gid() string { return gid("Experiment", e.id) }

func (st *store) experiment(id int64) *experiment {
	return byID(st.experiments, id, func(e *experiment) int64 { return e.id })
}

// counts are the successful and the failed runs.
func (e *experiment) counts() (successful, failed int) {
	for _, r := range e.runs {
		if r.failure == nil {
			successful++
		} else {
			failed++
		}
	}
	return successful, failed
}

// removeRuns deletes runs, and what was said of them.
func (st *store) removeRuns(which func(*run) bool) {
	st.evaluations = slices.DeleteFunc(st.evaluations, func(v *evaluation) bool { return which(v.run) })
	st.runs = slices.DeleteFunc(st.runs, func(r *run) bool {
		gone := which(r)
		if gone {
			delete(r.experiment.runs, runKey{r.example, r.repetition})
		}
		return gone
	})
}

// removeExperiment deletes an experiment; its project stays.
func (st *store) removeExperiment(e *experiment) {
	st.removeRuns(func(r *run) bool { return r.experiment == e })
	st.experiments = slices.DeleteFunc(st.experiments, func(other *experiment) bool { return other == e })
}

// removeProject deletes a project and its traces.
func (st *store) removeProject(name string) {
	for _, t := range slices.Clone(st.traces) {
		if t.project.name == name {
			for _, s := range slices.Clone(t.spans) {
				st.remove(s)
			}
		}
	}
	st.projects = slices.DeleteFunc(st.projects, func(p *project) bool { return p.name == name })
}

// ofExperiment reports whether a project belongs to an experiment that is there.
func (st *store) ofExperiment(p *project) bool {
	return slices.ContainsFunc(st.experiments, func(e *experiment) bool { return e.project == p.name })
}

// size is what an experiment costs: examples, runs and evaluations.
func (e *experiment) size() int {
	n := 1 + len(e.examples) + len(e.runs)
	for _, r := range e.runs {
		n += len(r.evaluations)
	}
	return n
}

// boundExperiments deletes the oldest experiments, with their projects, beyond
// most examples, runs and evaluations in all; the newest stays.
func (st *store) boundExperiments(most int) {
	n := len(st.runs) + len(st.evaluations)
	for _, e := range st.experiments {
		n += 1 + len(e.examples)
	}
	for n > most && len(st.experiments) > 1 {
		oldest := st.experiments[0]
		n -= oldest.size()
		st.removeExperiment(oldest)
		st.removeProject(oldest.project)
	}
}

type experimentJSON struct {
	ID          string         `json:"id"`
	Dataset     string         `json:"dataset_id"`
	Version     string         `json:"dataset_version_id"`
	Name        string         `json:"name"`
	Description *string        `json:"description"`
	Repetitions int            `json:"repetitions"`
	Metadata    map[string]any `json:"metadata"`
	Project     string         `json:"project_name"`
	Created     string         `json:"created_at"`
	Updated     string         `json:"updated_at"`
	Examples    int            `json:"example_count"`
	Successful  int            `json:"successful_run_count"`
	Failed      int            `json:"failed_run_count"`
	Missing     int            `json:"missing_run_count"`
}

// json is the experiment, or the crash of a Phoenix that took one without
// repetitions and cannot write it.
func (e *experiment) json() (experimentJSON, *answer) {
	if e.repetitions < 1 {
		a := crash()
		return experimentJSON{}, &a
	}
	out := experimentJSON{
		ID: e.gid(), Dataset: e.dataset.gid(), Version: gid("DatasetVersion", e.version), Name: e.name, Description: e.description,
		Repetitions: e.repetitions, Metadata: e.metadata, Project: e.project, Created: stamp(e.created), Updated: stamp(e.created),
		Examples: len(e.examples),
	}
	out.Successful, out.Failed = e.counts()
	out.Missing = out.Examples*e.repetitions - out.Successful - out.Failed
	return out, nil
}

// one answers with an experiment.
func (e *experiment) one() answer {
	out, bad := e.json()
	if bad != nil {
		return *bad
	}
	return data(out)
}

// noSuch is the 404 for an id of the wrong class, or of nothing.
func noSuch(class, id string) answer {
	return inText(http.StatusNotFound, "%s with ID %s does not exist", class, id)
}

// experimentNode reads the experiment's id of a path.
func (c *call) experimentNode() (nodeID, *answer) {
	n, ok := readNode(c.path[0])
	switch {
	case !ok:
		a := wrongID("experiment", c.path[0])
		return n, &a
	case !n.is("Experiment"):
		a := noSuch("Experiment", n.text)
		return n, &a
	}
	return n, nil
}

// newExperiment is the body of a new experiment.
type newExperiment struct {
	name        *string
	description *string
	metadata    map[string]any
	version     *string
	splits      []string
	repetitions int
}

func readExperiment(v any) (newExperiment, *checker) {
	c := &checker{}
	e := newExperiment{repetitions: 1}
	m, ok := c.body(v)
	if !ok {
		return e, c
	}
	in := []any{"body"}
	e.name = c.textOrNull(in, m, "name")
	e.description = c.textOrNull(in, m, "description")
	if e.metadata = c.dict(in, m, "metadata", true); e.metadata == nil {
		e.metadata = map[string]any{}
	}
	e.version = c.textOrNull(in, m, "version_id")
	if m["splits"] != nil {
		at := below(in, "splits")
		for i, v := range c.list(in, m, "splits", true) {
			s, ok := v.(string)
			if !ok {
				c.add("string_type", below(at, i), "Input should be a valid string", v, nil)
			}
			e.splits = append(e.splits, s)
		}
	}
	if _, ok := m["repetitions"]; ok {
		e.repetitions = c.whole(in, m, "repetitions")
	}
	return e, c
}

// postExperiment makes an experiment over a version of a dataset, and a project
// for its traces. Phoenix does not ask whose version it is, nor for repetitions
// above zero: it stores those and crashes.
func (s *Server) postExperiment(c *call) answer {
	v, half, bad := c.json()
	if bad != nil {
		return *bad
	}
	sent, check := readExperiment(v)
	if !check.ok() {
		return check.wrong()
	}
	n, ok := readNode(c.path[0])
	switch {
	case !ok:
		return wrongID("dataset", c.path[0])
	case !n.is("Dataset"):
		return noSuch("Dataset", n.text)
	}
	var asked nodeID
	if sent.version != nil {
		asked, ok = readNode(*sent.version)
		switch {
		case !ok:
			return wrongID("dataset version", *sent.version)
		case !asked.is("DatasetVersion"):
			return noSuch("DatasetVersion", *sent.version)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.store.dataset(n.row)
	if d == nil {
		return noSuch("Dataset", n.text)
	}
	of := d.newest()
	if sent.version != nil {
		if of = byID(s.store.versions, asked.row, func(v *datasetVersion) int64 { return v.id }); of == nil {
			return noSuch("DatasetVersion", asked.text)
		}
	}
	splits, bad := s.store.findSplits(sent.splits)
	switch {
	case bad != nil:
		return *bad
	case half || tooLarge(sent.metadata):
		return crash()
	}
	e := &experiment{
		id: after(s.store.experiments, func(e *experiment) int64 { return e.id }), dataset: d, version: of.id,
		description: sent.description, repetitions: sent.repetitions, metadata: sent.metadata,
		project: "Experiment-" + randomHex(12), created: second(time.Now()), runs: map[runKey]*run{},
	}
	if sent.name != nil && *sent.name != "" {
		e.name = *sent.name
	} else {
		short := []rune(d.name)
		e.name = strings.ReplaceAll(string(short[:min(8, len(short))]), " ", "-") + "-" + randomHex(4)
	}
	for _, one := range d.examples {
		if r := one.in(of.id); r != nil && one.inAny(splits) {
			e.examples = append(e.examples, snapshot{one, r})
		}
	}
	s.store.experiments = append(s.store.experiments, e)
	p := s.store.projectNamed(e.project)
	about := "dataset_id: " + d.gid() + "\ndataset_version_id: " + of.gid()
	p.description = &about
	s.store.boundExperiments(s.keep * spansEach)
	s.changed()
	return e.one()
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = cryptorand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// getExperiments lists the experiments of a dataset, newest first; none of one
// that is not there.
func (s *Server) getExperiments(c *call) answer {
	q := c.query()
	limit := q.limit(50, 0)
	if !q.ok() {
		return q.wrong()
	}
	n, ok := readNode(c.path[0])
	switch {
	case !ok:
		return wrongID("dataset", c.path[0])
	case !n.is("Dataset"):
		return noSuch("Dataset", n.text)
	}
	top, bad := q.cursorRow("Experiment")
	if bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*experiment{}
	for _, e := range slices.Backward(s.store.experiments) {
		if e.id <= top && e.dataset.id == n.row && len(found) <= limit {
			found = append(found, e)
		}
	}
	found, following := pageOf(found, limit, (*experiment).gid)
	list := make([]experimentJSON, len(found))
	for i, e := range found {
		if list[i], bad = e.json(); bad != nil {
			return *bad
		}
		if len(e.examples) == 0 { // Phoenix joins the runs to the examples
			list[i].Successful, list[i].Failed, list[i].Missing = 0, 0, 0
		}
	}
	return inJSON(http.StatusOK, page{list, following})
}

func (s *Server) getExperiment(c *call) answer {
	n, bad := c.experimentNode()
	if bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.store.experiment(n.row)
	if e == nil {
		return noSuch("Experiment", n.text)
	}
	return e.one()
}

// deleteExperiment deletes an experiment, and its project where that is asked for.
func (s *Server) deleteExperiment(c *call) answer {
	q := c.query()
	withProject := q.flag("delete_project")
	if !q.ok() {
		return q.wrong()
	}
	n, bad := c.experimentNode()
	if bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.store.experiment(n.row)
	if e == nil {
		return inText(http.StatusNotFound, "Experiment does not exist")
	}
	s.store.removeExperiment(e)
	if withProject {
		s.store.removeProject(e.project)
	}
	s.changed()
	return answer{status: http.StatusNoContent, kind: "application/json"}
}
