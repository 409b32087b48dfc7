package phoenixd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// upload is the body of an upload.
type upload struct {
	action      string
	name        string
	description string
	examples    []sentExample
	withSplits  bool // the body says something of splits
}

type sentExample struct {
	content
	splits   []string
	span     string
	external *string
}

// node is the row of the example that the external id names, when that is a
// global id.
func (e sentExample) node() (int64, bool) {
	if e.external == nil {
		return 0, false
	}
	n, ok := readNode(*e.external)
	return n.row, ok && n.is("DatasetExample")
}

// errCrash is what Phoenix crashes on.
var errCrash = errors.New("internal server error")

// refusal is the text of a 422, in Phoenix's own words.
func refusal(format string, args ...any) error { return fmt.Errorf(format, args...) }

// readUpload reads an upload. An error is in Phoenix's words.
func readUpload(v any) (*upload, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errCrash
	}
	u := &upload{}
	if !truthy(m["name"]) {
		return nil, refusal("Dataset name is required")
	}
	if u.name, ok = m["name"].(string); !ok {
		return nil, errCrash
	}
	if truthy(m["description"]) {
		if u.description, ok = m["description"].(string); !ok {
			return nil, errCrash
		}
	}
	if m["inputs"] == nil {
		return nil, refusal("input is required")
	}
	inputs, ok := objects(m["inputs"])
	if !ok {
		return nil, refusal("Input should be a list containing only dictionary objects")
	}
	beside := map[string][]map[string]any{}
	for _, k := range []string{"outputs", "metadata"} {
		if !truthy(m[k]) {
			continue
		}
		if beside[k], ok = objects(m[k]); !ok || len(beside[k]) != len(inputs) {
			return nil, refusal("%s should be a list of same length as input containing only dictionary objects", k)
		}
	}
	lists := map[string][]any{}
	for _, k := range []string{"splits", "span_ids", "example_ids"} {
		if m[k] == nil {
			continue
		}
		if lists[k], ok = m[k].([]any); !ok {
			return nil, refusal("%s must be a list", k)
		}
		if n := len(lists[k]); n != len(inputs) {
			return nil, refusal("%s must have same length as inputs (%d != %d)", k, n, len(inputs))
		}
	}
	u.withSplits = m["splits"] != nil
	if err := unique(lists["example_ids"]); err != nil {
		return nil, err
	}
	for i, input := range inputs {
		e := sentExample{content: content{input: input, output: map[string]any{}, metadata: map[string]any{}}}
		if list := beside["outputs"]; list != nil {
			e.output = list[i]
		}
		if list := beside["metadata"]; list != nil {
			e.metadata = list[i]
		}
		if list := lists["splits"]; list != nil {
			var err error
			if e.splits, err = splitNames(list[i]); err != nil {
				return nil, err
			}
		}
		if list := lists["span_ids"]; list != nil && list[i] != nil {
			id, ok := list[i].(string)
			if !ok {
				return nil, refusal("Span ID must be a string or None, got %s", pythonType(list[i]))
			}
			e.span = strings.TrimSpace(id)
		}
		if list := lists["example_ids"]; list != nil {
			if id, ok := list[i].(string); ok {
				e.external = &id
			}
		}
		u.examples = append(u.examples, e)
	}
	u.action = "create"
	if v := m["action"]; truthy(v) {
		word, ok := v.(string)
		if u.action = strings.ToLower(word); !ok || !slices.Contains([]string{"create", "append", "update"}, u.action) {
			if !ok {
				u.action = string(encode(v))
			}
			return nil, refusal("Invalid dateset action: %s", u.action) // dateset is Phoenix's
		}
	}
	for i := range u.examples {
		if e := &u.examples[i]; !e.digest() || tooLarge(e.input) || tooLarge(e.output) || tooLarge(e.metadata) {
			return nil, errCrash
		}
	}
	return u, nil
}

// unique checks example ids.
func unique(ids []any) error {
	seen := map[string]bool{}
	for _, v := range ids {
		if v == nil {
			continue
		}
		id, ok := v.(string)
		switch {
		case !ok:
			return refusal("example_ids must contain only strings or None")
		case seen[id]:
			return refusal("Duplicate example_id in request: %s", pythonQuote(id))
		}
		seen[id] = true
	}
	return nil
}

// splitNames reads the splits of one example: a name, a list of them, or null.
func splitNames(v any) (names []string, err error) {
	list, ok := v.([]any)
	if !ok {
		if list = []any{v}; v != nil {
			if _, ok := v.(string); !ok {
				return nil, refusal("Split value must be a string, list of strings, or None, got %s", pythonType(v))
			}
		}
	}
	for _, v := range list {
		if v == nil {
			continue
		}
		name, ok := v.(string)
		if !ok {
			return nil, refusal("Split value must be a string or None, got %s", pythonType(v))
		}
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return distinct(names), nil
}

// truthy is what Python takes for true.
func truthy(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case integer:
		return v != "0"
	case float:
		return v != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// pythonType is what Python calls the type of v.
func pythonType(v any) string {
	switch v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case integer:
		return "int"
	case float:
		return "float"
	case []any:
		return "list"
	case map[string]any:
		return "dict"
	}
	return "str"
}

// pythonQuote is a text as Python shows it in messages.
func pythonQuote(s string) string {
	quote := '\''
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteRune(quote)
	return b.String()
}

func objects(v any) (out []map[string]any, ok bool) {
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	out = []map[string]any{}
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		out = append(out, m)
	}
	return out, true
}

// digest makes the hash of the content; false for what has none.
func (c *content) digest() bool {
	var b strings.Builder
	if !canonical(&b, map[string]any{"input": c.input, "output": c.output, "metadata": c.metadata}) {
		return false
	}
	sum := sha256.Sum256([]byte(b.String()))
	c.hash = string(sum[:16])
	return true
}

// canonical writes v so that equal values are equal texts: 1 is 1.0, and the order
// of keys is of no account. False for infinite numbers, NaN and half characters.
func canonical(b *strings.Builder, v any) bool {
	switch v := v.(type) {
	case string:
		b.WriteString(strconv.Quote(v))
		return !strings.ContainsRune(v, halfCharacter)
	case integer:
		f, _ := strconv.ParseFloat(string(v), 64)
		return canonical(b, float(f))
	case float:
		b.WriteString(strconv.FormatFloat(float64(v)+0, 'g', -1, 64)) // -0 is 0
		return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0)
	case []any:
		b.WriteByte('[')
		for _, e := range v {
			if !canonical(b, e) {
				return false
			}
			b.WriteByte(',')
		}
		b.WriteByte(']')
	case map[string]any:
		b.WriteByte('{')
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if !canonical(b, k) || !canonical(b, v[k]) {
				return false
			}
		}
		b.WriteByte('}')
	default:
		fmt.Fprint(b, v) // null and booleans
	}
	return true
}

// uploaded is what an upload did.
type uploaded struct {
	Dataset string `json:"dataset_id"`
	Version string `json:"version_id"`
	Created int    `json:"num_created_examples"`
	Updated int    `json:"num_updated_examples"`
	Deleted int    `json:"num_deleted_examples"`
}

// postDataset takes an upload. Without sync=true the answer is null, and what goes
// wrong after the body was read is not told. Files (multipart) are refused.
func (s *Server) postDataset(c *call) answer {
	q := c.query()
	sync := q.flag("sync")
	if !q.ok() {
		return q.wrong()
	}
	switch kind := c.r.Header.Get("Content-Type"); {
	case kind == "":
		return inText(http.StatusBadRequest, "Missing content-type header")
	case strings.HasPrefix(kind, "multipart/form-data"):
		return inText(http.StatusUnprocessableEntity, "The stand-in Phoenix takes datasets as application/json alone")
	case !strings.HasPrefix(kind, "application/json"):
		return inText(http.StatusUnprocessableEntity, "Invalid request Content-Type")
	}
	v, _, err := decode(c.body)
	var de *decodeError
	switch {
	case errors.As(err, &de):
		return inText(http.StatusUnprocessableEntity, "%s: %s", de.text, position(c.body, de.at))
	case err != nil && !utf8.Valid(c.body):
		return inText(http.StatusUnprocessableEntity, "%s", "'utf-8' codec can't decode the body")
	case err != nil:
		return crash()
	}
	u, err := readUpload(v)
	switch {
	case errors.Is(err, errCrash):
		return crash()
	case err != nil:
		return inText(http.StatusUnprocessableEntity, "%s", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	done, bad := s.store.upload(u)
	if bad == nil {
		s.store.boundDatasets(s.keep * spansEach)
		s.changed()
	}
	switch {
	case !sync:
		return inJSON(http.StatusOK, nil)
	case bad != nil:
		return *bad
	}
	return data(done)
}

// position is where a character of a body stands, in the words of Python's parser.
func position(body []byte, at int) string {
	before := []rune(string(body))
	before = before[:min(at, len(before))]
	line, column := 1, 1
	for _, r := range before {
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return fmt.Sprintf("line %d column %d (char %d)", line, column, at)
}

// upload changes a dataset, all of it or nothing.
func (st *store) upload(u *upload) (*uploaded, *answer) {
	d := st.datasetNamed(u.name)
	if d != nil && u.action == "create" {
		a := inText(http.StatusConflict, `A dataset named "%s" already exists.`, u.name)
		return nil, &a
	}
	diff, bad := compare(d, u)
	if bad != nil {
		return nil, bad
	}
	if d == nil {
		d = st.addDataset(u.name, u.description)
	}
	v := d.latest()
	if v == nil || len(diff.create)+len(diff.patch)+len(diff.remove) > 0 {
		v = st.addVersion(d)
	}
	now := second(time.Now())
	changed := map[*example]bool{}
	for e, sent := range diff.patch {
		e.revisions = append(e.revisions, &revision{version: v.id, content: sent.content, created: now})
		changed[e] = true
	}
	for _, e := range diff.remove {
		e.revisions = append(e.revisions, &revision{version: v.id, gone: true, created: now})
		e.splits = nil
	}
	for _, sent := range diff.create {
		var e *example
		if sent.external != nil {
			e = diff.gone[*sent.external]
		}
		if e == nil {
			e = st.addExample(d, sent.external, st.spanByID[sent.span])
		}
		e.revisions = append(e.revisions, &revision{version: v.id, content: sent.content, created: now})
		if u.withSplits {
			st.assign(e, sent.splits)
		}
	}
	if u.withSplits {
		for e, sent := range diff.matched {
			if st.assign(e, sent.splits) {
				changed[e] = true
			}
		}
	}
	return &uploaded{d.gid(), v.gid(), len(diff.create), len(changed), len(diff.remove)}, nil
}

// latest is the version that an upload without a change reports: of those made in
// the newest second the oldest, for Phoenix compares nothing finer.
func (d *dataset) latest() *datasetVersion {
	var out *datasetVersion
	for _, v := range d.versions {
		if out == nil || v.created.After(out.created) {
			out = v
		}
	}
	return out
}

// assign puts an example into these splits alone, and reports whether it was in
// others.
func (st *store) assign(e *example, names []string) bool {
	var splits []*split
	for _, name := range names {
		splits = append(splits, st.split(name))
	}
	same := len(splits) == len(e.splits) && !slices.ContainsFunc(splits, func(s *split) bool { return !slices.Contains(e.splits, s) })
	e.splits = splits
	return !same
}

// difference is what an upload changes in a dataset.
type difference struct {
	create  []sentExample
	patch   map[*example]sentExample
	matched map[*example]sentExample // those that are patched too
	remove  []*example
	gone    map[string]*example // deleted before: they come back when their id does
}

// compare matches the examples of an upload with those of the newest version: by
// the id that they were uploaded with, or by their global id; those without an id
// by their content, each with another one. d may be nil.
func compare(d *dataset, u *upload) (*difference, *answer) {
	out := &difference{patch: map[*example]sentExample{}, matched: map[*example]sentExample{}, gone: map[string]*example{}}
	live := map[int64]*example{}
	byName, byHash := map[string]*example{}, map[string][]*example{}
	if d != nil {
		for _, e := range d.examples {
			r := e.revisions[len(e.revisions)-1]
			if r.gone {
				if e.external != nil {
					out.gone[*e.external] = e
				}
				continue
			}
			live[e.id] = e
			if e.external != nil {
				byName[*e.external] = e
			}
			byHash[r.hash] = append(byHash[r.hash], e)
		}
	}
	var unknown []string
	for _, sent := range u.examples {
		row, isNode := sent.node()
		var e *example
		switch {
		case isNode:
			if e = live[row]; e == nil {
				unknown = append(unknown, pythonQuote(*sent.external))
			}
		case sent.external != nil:
			e = byName[*sent.external]
		default:
			for _, candidate := range byHash[sent.hash] {
				if _, taken := out.matched[candidate]; !taken {
					e = candidate
					break
				}
			}
		}
		switch {
		case e == nil:
			out.create = append(out.create, sent)
			continue
		case e.revisions[len(e.revisions)-1].hash != sent.hash:
			if _, twice := out.patch[e]; twice { // two revisions of one version
				a := crash()
				return nil, &a
			}
			out.patch[e] = sent
		}
		out.matched[e] = sent
	}
	if len(unknown) > 0 {
		a := inText(http.StatusUnprocessableEntity, "No examples found in this dataset with the following IDs: %s", strings.Join(unknown, ", "))
		return nil, &a
	}
	if d != nil && u.action != "append" {
		for _, e := range d.examples {
			if _, kept := out.matched[e]; live[e.id] != nil && !kept {
				out.remove = append(out.remove, e)
			}
		}
	}
	return out, nil
}
