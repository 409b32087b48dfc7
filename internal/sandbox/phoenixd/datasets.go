package phoenixd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// dataset is a list of examples with versions. A version is the number of the
// change that made it; what an example was then is in its revisions.
type dataset struct {
	id          int64
	name        string
	description *string
	metadata    map[string]any
	created     time.Time
	updated     time.Time
	versions    []*datasetVersion
	examples    []*example // by row
}

type datasetVersion struct {
	row         int64
	description *string
	created     time.Time
}

// example is one example. Its split is of the example, and not of a version.
type example struct {
	row       int64
	external  string // "" where none was given
	span      *span
	split     string
	revisions []revision
}

// revision is what an example is from a version on; deleted ones are gone from it
// on.
type revision struct {
	version                 int64
	input, output, metadata map[string]any
	created                 time.Time
	deleted                 bool
}

func (d *dataset) gid() string        { return gid("Dataset", d.id) }
func (v *datasetVersion) gid() string { return gid("DatasetVersion", v.row) }
func (e *example) gid() string        { return gid("DatasetExample", e.row) }

// at is what an example is in a version; false where it is not in it.
func (e *example) at(version int64) (revision, bool) {
	for _, r := range slices.Backward(e.revisions) {
		if r.version <= version {
			return r, !r.deleted
		}
	}
	return revision{}, false
}

func (d *dataset) newest() int64 {
	if len(d.versions) == 0 {
		return 0
	}
	return d.versions[len(d.versions)-1].row
}

// in lists the examples of a version.
func (d *dataset) in(version int64) []*example {
	var out []*example
	for _, e := range d.examples {
		if _, ok := e.at(version); ok {
			out = append(out, e)
		}
	}
	return out
}

func (e *example) json(r revision, byNode bool) map[string]any {
	id := e.external
	if id == "" || byNode {
		id = e.gid()
	}
	out := map[string]any{"id": id, "node_id": e.gid(), "input": r.input, "output": r.output, "metadata": r.metadata, "updated_at": stamp(r.created), "source": nil}
	if e.span != nil && !byNode {
		out["source"] = map[string]any{"span_id": e.span.id, "span_node_id": e.span.gid()}
	}
	return out
}

func (d *dataset) json() map[string]any {
	return map[string]any{"id": d.gid(), "name": d.name, "description": d.description, "metadata": d.metadata,
		"created_at": stamp(d.created), "updated_at": stamp(d.updated), "example_count": len(d.in(d.newest()))}
}

// byGID finds one by the global id of a path; bad is what Phoenix answers where
// there is none.
func byGID[T any](class, word, key string, rows []T, row func(T) int64) (found T, bad *answer) {
	c, id, err := fromGID(key)
	if err != nil || c != class {
		a := inText(http.StatusUnprocessableEntity, "Invalid %s ID format: %s", strings.ToLower(word), key)
		return found, &a
	}
	for _, r := range rows {
		if row(r) == id {
			return r, nil
		}
	}
	a := inText(http.StatusNotFound, "%s with ID %s not found", word, key)
	return found, &a
}

func (st *store) dataset(key string) (*dataset, *answer) {
	return byGID("Dataset", "Dataset", key, st.datasets, func(d *dataset) int64 { return d.id })
}

// newestFirst is a page of a list whose cursor is a global id.
func newestFirst[T any](q params, usual, most int, class string, rows []T, row func(T) int64, write func(T) any) answer {
	limit := q.limit(usual, most)
	if !q.ok() {
		return q.wrong()
	}
	cursor, _ := q.last("cursor")
	c, top, err := fromGID(cursor)
	if cursor != "" && (err != nil || c != class) {
		return inText(http.StatusUnprocessableEntity, "Invalid cursor format: %s", cursor)
	}
	list, following := []any{}, (*string)(nil)
	for _, r := range slices.Backward(rows) {
		if cursor != "" && row(r) > top {
			continue
		}
		if len(list) == limit {
			next := gid(class, row(r))
			following = &next
			break
		}
		list = append(list, write(r))
	}
	return inJSON(http.StatusOK, page{list, following})
}

// getDatasets lists datasets, newest first, or those of a name.
func (s *Server) getDatasets(c *call) answer {
	q := c.query()
	name, named := q.last("name")
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := s.store.datasets
	if named {
		rows = slices.DeleteFunc(slices.Clone(rows), func(d *dataset) bool { return d.name != name })
	}
	return newestFirst(q, 10, 0, "Dataset", rows, func(d *dataset) int64 { return d.id }, func(d *dataset) any { return d.json() })
}

func (s *Server) getDataset(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, bad := s.store.dataset(c.path[0])
	if bad != nil {
		return *bad
	}
	return data(d.json())
}

func (s *Server) deleteDataset(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, bad := s.store.dataset(c.path[0])
	if bad != nil {
		return *bad
	}
	s.store.datasets = slices.DeleteFunc(s.store.datasets, func(o *dataset) bool { return o == d })
	s.store.experiments = slices.DeleteFunc(s.store.experiments, func(e *experiment) bool { return e.dataset == d })
	s.changed()
	return answer{status: http.StatusNoContent, kind: "application/json"}
}

func (s *Server) getVersions(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, bad := s.store.dataset(c.path[0])
	if bad != nil {
		return *bad
	}
	return newestFirst(c.query(), 10, 0, "DatasetVersion", d.versions, func(v *datasetVersion) int64 { return v.row }, func(v *datasetVersion) any {
		return map[string]any{"version_id": v.gid(), "description": v.description, "metadata": map[string]any{}, "created_at": stamp(v.created)}
	})
}

// version finds a version of a dataset by its global id, the newest for "".
func (d *dataset) version(key string) (int64, *answer) {
	if key == "" {
		if len(d.versions) == 0 {
			a := inText(http.StatusNotFound, "Dataset has no versions")
			return 0, &a
		}
		return d.newest(), nil
	}
	v, bad := byGID("DatasetVersion", "Version", key, d.versions, func(v *datasetVersion) int64 { return v.row })
	if bad != nil {
		return 0, bad
	}
	return v.row, nil
}

func (s *Server) getExamples(c *call) answer {
	q := c.query()
	key, _ := q.last("version_id")
	splits := q.q["split"]
	s.mu.Lock()
	defer s.mu.Unlock()
	d, bad := s.store.dataset(c.path[0])
	if bad != nil {
		return *bad
	}
	version, bad := d.version(key)
	if bad != nil {
		return *bad
	}
	list := []any{}
	for _, e := range d.in(version) {
		if len(splits) > 0 && !slices.Contains(splits, e.split) {
			continue
		}
		r, _ := e.at(version)
		list = append(list, e.json(r, false))
	}
	return data(map[string]any{"dataset_id": d.gid(), "version_id": gid("DatasetVersion", version), "filtered_splits": nonNil(splits), "examples": list})
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// postUpload makes, extends or replaces a dataset.
func (s *Server) postUpload(c *call) answer {
	sync := c.query().flag("sync")
	v, half, bad := c.json()
	if bad != nil {
		return *bad
	}
	m, ok := v.(map[string]any)
	if !ok {
		return inText(http.StatusUnprocessableEntity, "Invalid request body")
	}
	if half {
		return crash()
	}
	u, why := readUpload(m)
	if why != "" {
		return inText(http.StatusUnprocessableEntity, "%s", why)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.store.datasets, func(d *dataset) bool { return d.name == u.name })
	if i >= 0 && u.action == "create" {
		return inText(http.StatusConflict, "Dataset with the same name already exists: name='%s'", u.name)
	}
	now := time.Now()
	if i < 0 {
		i = len(s.store.datasets)
		s.store.datasets = append(s.store.datasets, &dataset{id: after(s.store.datasets, func(d *dataset) int64 { return d.id }), name: u.name,
			description: u.description, metadata: map[string]any{}, created: now, updated: now})
	}
	d := s.store.datasets[i]
	created, updated, deleted := s.store.upload(d, u, now)
	s.changed()
	if !sync {
		return inJSON(http.StatusOK, nil)
	}
	return data(map[string]any{"dataset_id": d.gid(), "version_id": gid("DatasetVersion", d.newest()), "num_created_examples": created, "num_updated_examples": updated, "num_deleted_examples": deleted})
}

type upload struct {
	action, name string
	description  *string
	rows         []uploadRow
	splits       bool // the column was given: examples without one lose theirs
}

type uploadRow struct {
	input, output, metadata map[string]any
	split                   *string
	span, external          string
}

// readUpload reads the parallel arrays of an upload; why is the text of a 422.
func readUpload(m map[string]any) (u upload, why string) {
	u.action = "create"
	if a, ok := m["action"]; ok {
		text, _ := a.(string)
		if !slices.Contains([]string{"create", "append", "update"}, text) {
			return u, fmt.Sprintf("Invalid dataset action: %v", a)
		}
		u.action = text
	}
	u.name, _ = m["name"].(string)
	if strings.TrimSpace(u.name) == "" {
		return u, "Dataset name must be non-empty"
	}
	if d, ok := m["description"].(string); ok {
		u.description = &d
	}
	inputs, ok := m["inputs"].([]any)
	if !ok {
		return u, "inputs should be a list"
	}
	columns := map[string][]any{}
	for _, key := range []string{"outputs", "metadata", "splits", "span_ids", "example_ids"} {
		v, given := m[key]
		if !given || v == nil {
			continue
		}
		list, ok := v.([]any)
		if !ok {
			return u, key + " should be a list"
		}
		if len(list) != len(inputs) {
			return u, fmt.Sprintf("%s should have the same length as inputs", key)
		}
		columns[key] = list
	}
	u.splits = columns["splits"] != nil
	seen := map[string]bool{}
	for i, v := range inputs {
		var r uploadRow
		if r.input, ok = v.(map[string]any); !ok {
			return u, "inputs should be a list of dictionaries"
		}
		r.output, r.metadata = map[string]any{}, map[string]any{}
		for key, to := range map[string]*map[string]any{"outputs": &r.output, "metadata": &r.metadata} {
			if columns[key] == nil {
				continue
			}
			if *to, ok = columns[key][i].(map[string]any); !ok {
				return u, key + " should be a list of dictionaries"
			}
		}
		if columns["splits"] != nil {
			switch v := columns["splits"][i].(type) {
			case nil:
			case string:
				r.split = &v
			case []any:
				if len(v) > 0 {
					first, _ := v[0].(string)
					r.split = &first
				}
			default:
				return u, "splits should be strings, lists of strings or null"
			}
		}
		if columns["span_ids"] != nil {
			r.span, _ = columns["span_ids"][i].(string)
		}
		if columns["example_ids"] != nil {
			r.external, _ = columns["example_ids"][i].(string)
			if r.external != "" && seen[r.external] {
				return u, "example_ids must be unique"
			}
			seen[r.external] = true
		}
		u.rows = append(u.rows, r)
	}
	return u, ""
}

// content is what an example without an id is known by.
func content(input, output, metadata map[string]any) string {
	b, _ := json.Marshal([]any{input, metadata, output}) // it came as JSON
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// upload changes a dataset; a version is made where anything differs.
func (st *store) upload(d *dataset, u upload, now time.Time) (created, updated, deleted int) {
	before := d.newest()
	var version int64
	next := func() int64 { // the version of this upload, made by the first change
		if version == 0 {
			st.lastVersion++
			version = st.lastVersion
			d.versions = append(d.versions, &datasetVersion{row: version, created: now})
			d.updated = now
		}
		return version
	}
	used := map[*example]bool{}
	for _, r := range u.rows {
		hash := content(r.input, r.output, r.metadata)
		var e *example
		for _, x := range d.in(before) {
			if used[x] {
				continue
			}
			is, _ := x.at(before)
			if r.external != "" && x.external == r.external || r.external == "" && x.external == "" && content(is.input, is.output, is.metadata) == hash {
				e = x
				break
			}
		}
		if e == nil {
			st.lastExample++
			e = &example{row: st.lastExample, external: r.external, span: st.spanByID[r.span]}
			e.revisions = []revision{{next(), r.input, r.output, r.metadata, now, false}}
			d.examples = append(d.examples, e)
			created++
		} else if is, _ := e.at(before); content(is.input, is.output, is.metadata) != hash {
			e.revisions = append(e.revisions, revision{next(), r.input, r.output, r.metadata, now, false})
			updated++
		}
		used[e] = true
		if u.splits {
			e.split = ""
			if r.split != nil {
				e.split = *r.split
			}
		}
	}
	if u.action == "update" {
		for _, x := range d.in(before) {
			if !used[x] {
				x.revisions = append(x.revisions, revision{version: next(), created: now, deleted: true})
				deleted++
			}
		}
	}
	if len(d.versions) == 0 {
		next() // an empty one has a version, too
	}
	return created, updated, deleted
}
