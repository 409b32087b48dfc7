package phoenixd

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dataset is a list of examples with a history. An upload that changes an example
// makes a version; what an earlier version held is still there.
type dataset struct {
	id          int64
	name        string
	description string
	created     time.Time
	versions    []*datasetVersion // by id
	examples    []*example        // by id, the deleted ones too
}

type datasetVersion struct {
	id      int64
	dataset *dataset
	created time.Time
}

// example of a dataset. Its splits have no history: a version of long ago is
// filtered by the splits of today.
type example struct {
	id        int64
	dataset   *dataset
	external  *string // its id as it was uploaded
	span      *span   // that it was made from; nil: none, or deleted since
	splits    []*split
	revisions []*revision // by version
}

// revision is an example from one version of the dataset on.
type revision struct {
	version int64
	gone    bool // from this version on there is no such example
	content
	created time.Time
}

// content is what makes two examples the same or not.
type content struct {
	input, output, metadata map[string]any
	hash                    string
}

// split is a part of datasets. All datasets share the splits of a name.
type split struct {
	id   int64
	name string
}

func (d *dataset) gid() string        { return gid("Dataset", d.id) }
func (v *datasetVersion) gid() string { return gid("DatasetVersion", v.id) }
func (e *example) gid() string        { return gid("DatasetExample", e.id) }

// name is what the example is called in lists: its own id, or the global one.
func (e *example) name() string {
	if e.external != nil {
		return *e.external
	}
	return e.gid()
}

// newest is the version made last; nil for a dataset without any.
func (d *dataset) newest() *datasetVersion {
	if len(d.versions) == 0 {
		return nil
	}
	return d.versions[len(d.versions)-1]
}

// in is the example as that version of the dataset holds it; nil where it does not.
func (e *example) in(version int64) *revision {
	for _, r := range slices.Backward(e.revisions) {
		if r.version <= version {
			if r.gone {
				return nil
			}
			return r
		}
	}
	return nil
}

// live counts the examples of the newest version.
func (d *dataset) live() (n int) {
	for _, e := range d.examples {
		if !e.revisions[len(e.revisions)-1].gone {
			n++
		}
	}
	return n
}

// byID finds a row by its id in a table that is sorted by it.
func byID[T any](rows []*T, id int64, idOf func(*T) int64) *T {
	i, ok := slices.BinarySearchFunc(rows, id, func(r *T, id int64) int { return cmp.Compare(idOf(r), id) })
	if !ok {
		return nil
	}
	return rows[i]
}

func (st *store) dataset(id int64) *dataset {
	return byID(st.datasets, id, func(d *dataset) int64 { return d.id })
}

func (st *store) datasetNamed(name string) *dataset {
	for _, d := range st.datasets {
		if d.name == name {
			return d
		}
	}
	return nil
}

// addDataset makes a dataset.
func (st *store) addDataset(name, description string) *dataset {
	d := &dataset{
		id: after(st.datasets, func(d *dataset) int64 { return d.id }), name: name, description: description, created: second(time.Now()),
	}
	st.datasets = append(st.datasets, d)
	return d
}

// addVersion makes a version of a dataset.
func (st *store) addVersion(d *dataset) *datasetVersion {
	v := &datasetVersion{id: after(st.versions, func(v *datasetVersion) int64 { return v.id }), dataset: d, created: second(time.Now())}
	st.versions = append(st.versions, v)
	d.versions = append(d.versions, v)
	return v
}

// addExample makes an example, still without a revision. sp may be nil.
func (st *store) addExample(d *dataset, external *string, sp *span) *example {
	e := &example{id: after(st.examples, func(e *example) int64 { return e.id }), dataset: d, external: external, span: sp}
	st.examples = append(st.examples, e)
	d.examples = append(d.examples, e)
	if sp != nil {
		sp.examples = append(sp.examples, e)
	}
	return e
}

// split is the split of that name, made when it is new.
func (st *store) split(name string) *split {
	for _, s := range st.splits {
		if s.name == name {
			return s
		}
	}
	s := &split{id: after(st.splits, func(s *split) int64 { return s.id }), name: name}
	st.splits = append(st.splits, s)
	return s
}

// removeDataset deletes a dataset, its experiments and all runs of its examples.
// The projects of the experiments stay, as do the splits.
func (st *store) removeDataset(d *dataset) {
	st.removeRuns(func(r *run) bool { return r.experiment.dataset == d || r.example.dataset == d })
	st.experiments = slices.DeleteFunc(st.experiments, func(e *experiment) bool { return e.dataset == d })
	for _, e := range d.examples {
		if e.span != nil {
			e.span.examples = slices.DeleteFunc(e.span.examples, func(other *example) bool { return other == e })
		}
	}
	st.examples = slices.DeleteFunc(st.examples, func(e *example) bool { return e.dataset == d })
	st.versions = slices.DeleteFunc(st.versions, func(v *datasetVersion) bool { return v.dataset == d })
	st.datasets = slices.DeleteFunc(st.datasets, func(other *dataset) bool { return other == d })
}

// size is what a dataset costs: versions and revisions.
func (d *dataset) size() int {
	n := 1 + len(d.versions)
	for _, e := range d.examples {
		n += len(e.revisions)
	}
	return n
}

// boundDatasets deletes the oldest datasets beyond most versions and revisions in
// all, with the projects of their experiments; the newest stays.
func (st *store) boundDatasets(most int) {
	n := 0
	for _, d := range st.datasets {
		n += d.size()
	}
	for n > most && len(st.datasets) > 1 {
		oldest := st.datasets[0]
		n -= oldest.size()
		for _, e := range st.experiments {
			if e.dataset == oldest {
				st.removeProject(e.project)
			}
		}
		st.removeDataset(oldest)
	}
}

// nodeID is a global id of a request. number is no number of a row where row is not ok.
type nodeID struct {
	class string
	row   int64
	isRow bool
	text  string // as Phoenix repeats it
}

// is reports a global id of that class.
func (n nodeID) is(class string) bool { return n.class == class && n.isRow }

// readNode reads a global id; false for what is none.
func readNode(s string) (nodeID, bool) {
	class, row, err := fromGID(s)
	if err != nil && class == "" {
		return nodeID{}, false
	}
	return nodeID{class, row, err == nil, s}, true
}

// wrongID is Phoenix's complaint about what should be an id.
func wrongID(what, id string) answer {
	return inText(http.StatusUnprocessableEntity, "Invalid %s ID format: %s", what, id)
}

// pageOf cuts a list that is one longer than the page, and gives the cursor of the
// next one.
func pageOf[T any](list []T, limit int, cursor func(T) string) ([]T, *string) {
	if len(list) <= limit {
		return list, nil
	}
	next := cursor(list[limit])
	return list[:limit], &next
}

// fromTop is where a list begins whose cursor was not given.
const fromTop = math.MaxInt64

// cursorRow reads the cursor of a list that descends by rows of that class.
func (p params) cursorRow(class string) (top int64, bad *answer) {
	cursor, _ := p.last("cursor")
	if cursor == "" {
		return fromTop, nil
	}
	n, ok := readNode(cursor)
	if !ok || !n.is(class) || n.row < 0 {
		a := inText(http.StatusUnprocessableEntity, "Invalid cursor format: %s", cursor)
		return 0, &a
	}
	return n.row, nil
}

type datasetJSON struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Metadata    map[string]any `json:"metadata"`
	Created     string         `json:"created_at"`
	Updated     string         `json:"updated_at"`
	Examples    int            `json:"example_count"`
}

func (d *dataset) json() datasetJSON {
	return datasetJSON{d.gid(), d.name, d.description, map[string]any{}, stamp(d.created), stamp(d.created), d.live()}
}

// getDatasets lists datasets, newest first.
func (s *Server) getDatasets(c *call) answer {
	q := c.query()
	limit := q.limit(10, 0)
	if !q.ok() {
		return q.wrong()
	}
	top, bad := q.cursorRow("Dataset")
	if bad != nil {
		return *bad
	}
	name, _ := q.last("name")
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*dataset{}
	for _, d := range slices.Backward(s.store.datasets) {
		if d.id <= top && (name == "" || d.name == name) && len(found) <= limit {
			found = append(found, d)
		}
	}
	found, following := pageOf(found, limit, (*dataset).gid)
	list := make([]datasetJSON, len(found))
	for i, d := range found {
		list[i] = d.json()
	}
	return inJSON(http.StatusOK, page{list, following})
}

// getDataset reads one dataset. Phoenix cannot count the examples of one that
// never had any, and crashes.
func (s *Server) getDataset(c *call) answer {
	n, ok := readNode(c.path[0])
	switch {
	case !ok:
		return wrongID("dataset", c.path[0])
	case n.class != "Dataset":
		return inText(http.StatusNotFound, "ID %s refers to a f%s", n.text, n.class) // the f is Phoenix's
	case !n.isRow:
		return crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.store.dataset(n.row)
	switch {
	case d == nil:
		return inText(http.StatusNotFound, "Dataset with ID %s not found", n.text)
	case len(d.examples) == 0:
		return crash()
	}
	return data(d.json())
}

// deleteDataset deletes a dataset with all that hangs on it.
func (s *Server) deleteDataset(c *call) answer {
	n, ok := readNode(c.path[0])
	if !ok || !n.is("Dataset") {
		return inText(http.StatusUnprocessableEntity, "Invalid Dataset ID: %s", c.path[0])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.store.dataset(n.row)
	if d == nil {
		return inText(http.StatusNotFound, "Dataset does not exist")
	}
	s.store.removeDataset(d)
	s.changed()
	return answer{status: http.StatusNoContent, kind: "application/json"}
}

type versionJSON struct {
	ID          string         `json:"version_id"`
	Description *string        `json:"description"`
	Metadata    map[string]any `json:"metadata"`
	Created     string         `json:"created_at"`
}

// getVersions lists the versions of a dataset, newest first; none of one that is
// not there. A cursor that is no version of this dataset leaves an empty page.
func (s *Server) getVersions(c *call) answer {
	q := c.query()
	limit := q.limit(10, 0)
	if !q.ok() {
		return q.wrong()
	}
	n, ok := readNode(c.path[0])
	if !ok || !n.is("Dataset") {
		return inText(http.StatusUnprocessableEntity, "Invalid Dataset ID: %s", c.path[0])
	}
	top, bad := q.cursorRow("DatasetVersion")
	if bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*datasetVersion{}
	if d := s.store.dataset(n.row); d != nil && (top == fromTop || slices.ContainsFunc(d.versions, func(v *datasetVersion) bool { return v.id == top })) {
		for _, v := range slices.Backward(d.versions) {
			if v.id <= top && len(found) <= limit {
				found = append(found, v)
			}
		}
	}
	found, following := pageOf(found, limit, (*datasetVersion).gid)
	list := make([]versionJSON, len(found))
	for i, v := range found {
		list[i] = versionJSON{v.gid(), nil, map[string]any{}, stamp(v.created)}
	}
	return inJSON(http.StatusOK, page{list, following})
}

type exampleJSON struct {
	ID       string         `json:"id"`
	NodeID   string         `json:"node_id"`
	Input    map[string]any `json:"input"`
	Output   map[string]any `json:"output"`
	Metadata map[string]any `json:"metadata"`
	Updated  string         `json:"updated_at"`
	Source   *sourceJSON    `json:"source"`
}

type sourceJSON struct {
	SpanID string `json:"span_id"`
	NodeID string `json:"span_node_id"`
}

// json is the example as a list of examples has it.
func (e *example) json(r *revision) exampleJSON {
	out := e.plain(r)
	out.ID = e.name()
	if e.span != nil {
		out.Source = &sourceJSON{e.span.id, e.span.gid()}
	}
	return out
}

// plain is the example as lists of what is missing in an experiment have it:
// without its own id and without its source.
func (e *example) plain(r *revision) exampleJSON {
	return exampleJSON{e.gid(), e.gid(), r.input, r.output, r.metadata, stamp(r.created), nil}
}

// getExamples lists the examples of a version, all on one page.
func (s *Server) getExamples(c *call) answer {
	q := c.query()
	n, ok := readNode(c.path[0])
	if !ok {
		return wrongID("dataset", c.path[0])
	}
	asked, _ := q.last("version_id")
	var v nodeID
	if asked != "" {
		if v, ok = readNode(asked); !ok {
			return wrongID("dataset version", asked)
		}
	}
	switch {
	case n.class != "Dataset":
		return inText(http.StatusNotFound, "ID %s refers to a %s", n.text, n.class)
	case asked != "" && v.class != "DatasetVersion":
		return inText(http.StatusNotFound, "ID %s refers to a %s", v.text, v.class)
	case !n.isRow:
		return crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.store.dataset(n.row)
	if d == nil {
		return inText(http.StatusNotFound, "No dataset with id %s can be found.", n.text)
	}
	if asked != "" && !v.isRow {
		return crash()
	}
	of := d.newest()
	if asked != "" {
		of = byID(d.versions, v.row, func(v *datasetVersion) int64 { return v.id })
	}
	if of == nil {
		return inText(http.StatusNotFound, "No dataset version with id %s can be found.", asked)
	}
	splits, bad := s.store.findSplits(q.q["split"])
	if bad != nil {
		return *bad
	}
	list, names := []exampleJSON{}, []string{}
	for _, one := range splits {
		names = append(names, one.name)
	}
	for _, e := range d.examples {
		if r := e.in(of.id); r != nil && e.inAny(splits) {
			list = append(list, e.json(r))
		}
	}
	return data(map[string]any{"dataset_id": d.gid(), "version_id": of.gid(), "filtered_splits": names, "examples": list})
}

// inAny reports whether the example is in one of the splits; true for none.
func (e *example) inAny(splits []*split) bool {
	return len(splits) == 0 || slices.ContainsFunc(e.splits, func(s *split) bool { return slices.Contains(splits, s) })
}

// findSplits finds splits by name or global id; those by id come first.
func (st *store) findSplits(keys []string) (found []*split, bad *answer) {
	var rows []int64
	var names []string
	for _, key := range keys {
		key = strings.TrimSpace(key)
		if key == "" {
			a := inText(http.StatusUnprocessableEntity, "Invalid split identifier")
			return nil, &a
		}
		if n, ok := readNode(key); ok && n.is("DatasetSplit") {
			rows = append(rows, n.row)
		} else {
			names = append(names, key)
		}
	}
	var missing []string
	for _, row := range rows {
		s := byID(st.splits, row, func(s *split) int64 { return s.id })
		if s == nil {
			missing = append(missing, strconv.FormatInt(row, 10))
		} else if !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	if len(missing) > 0 {
		a := inText(http.StatusNotFound, "Dataset splits not found for IDs: %s", strings.Join(missing, ", "))
		return nil, &a
	}
	slices.SortFunc(found, func(a, b *split) int { return cmp.Compare(a.id, b.id) })
	var byName []*split
	for _, name := range names {
		i := slices.IndexFunc(st.splits, func(s *split) bool { return s.name == name })
		switch {
		case i < 0:
			missing = append(missing, name)
		case !slices.Contains(byName, st.splits[i]):
			byName = append(byName, st.splits[i])
		}
	}
	if len(missing) > 0 {
		a := inText(http.StatusNotFound, "Dataset splits not found: %s", strings.Join(missing, ", "))
		return nil, &a
	}
	slices.SortFunc(byName, func(a, b *split) int { return cmp.Compare(a.name, b.name) })
	return append(found, byName...), nil
}
