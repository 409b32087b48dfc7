package phoenixd

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

var annotatorKinds = []string{"LLM", "CODE", "HUMAN"}

// sentAnnotation is an annotation of a request, and the target that it names.
type sentAnnotation struct {
	annotation
	class, target string
	sent          time.Time
}

// read reads {"data": [annotation, …]}.
func (t target) read(v any) ([]sentAnnotation, *checker) {
	c := &checker{}
	body, ok := c.body(v)
	if !ok {
		return nil, c
	}
	in := []any{"body"}
	var out []sentAnnotation
	for i, item := range c.list(in, body, "data", true) {
		at := below(below(in, "data"), i)
		m, ok := c.model(at, item, t.class+"Data")
		if !ok {
			continue
		}
		a := sentAnnotation{class: t.class}
		a.name = c.text(at, m, "name", true)
		a.kind = c.oneOf(at, m, "annotator_kind", "literal_error", true, annotatorKinds...)
		if m["result"] != nil {
			in := below(at, "result")
			if r, ok := c.model(in, m["result"], "AnnotationResult"); ok {
				a.label, a.score, a.explanation = c.textOrNull(in, r, "label"), c.numberOrNull(in, r, "score"), c.textOrNull(in, r, "explanation")
			}
		}
		if a.metadata = c.dict(at, m, "metadata", true); a.metadata == nil {
			a.metadata = map[string]any{}
		}
		a.identifier = c.text(at, m, "identifier", false)
		a.target = c.text(at, m, t.id, true)
		out = append(out, a)
	}
	return out, c
}

// post stores annotations. With sync=true all or none; else they are accepted
// unseen, and those of a target that does not come within ten minutes are lost.
func (t target) post(s *Server, c *call) answer {
	v, half, bad := c.json()
	if bad != nil {
		return *bad
	}
	q := c.query()
	sync := q.flag("sync")
	list, check := t.read(v)
	check.problems = append(q.problems, check.problems...)
	if !check.ok() {
		return check.wrong()
	}
	for _, a := range list {
		if a.name == "note" {
			return inText(http.StatusBadRequest, "The name 'note' is reserved for trace and span notes. Use POST %s instead.", t.notes)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	type made struct {
		ID string `json:"id"`
	}
	out := []made{}
	if !sync {
		for _, a := range list {
			a.sent = time.Now()
			s.waiting = append(s.waiting, a)
		}
		s.settle()
		s.changed()
		return data(out)
	}
	var missing []string
	for _, a := range list {
		if !s.store.has(a) {
			missing = append(missing, a.target)
		}
	}
	if missing = distinct(missing); len(missing) > 0 {
		return inText(http.StatusNotFound, "%s with IDs %s do not exist.", t.plural, strings.Join(missing, ", "))
	}
	if half {
		return crash()
	}
	for _, a := range list {
		out = append(out, made{s.store.upsert(a).gid()})
	}
	s.changed()
	return data(out)
}

// has reports whether the target of a is there, in any project.
func (st *store) has(a sentAnnotation) bool {
	if a.class == onTraces.class {
		return st.traceByID[a.target] != nil
	}
	return st.spanByID[a.target] != nil
}

// upsert stores an annotation whose target is there. One of the same target, name
// and identifier is overwritten, all of it but for its id and its birth.
func (st *store) upsert(sent sentAnnotation) *annotation {
	now := second(time.Now())
	a := &sent.annotation
	var beside *[]*annotation
	if sent.class == onTraces.class {
		a.trace = st.traceByID[sent.target]
		beside = &a.trace.annotations
	} else {
		a.span = st.spanByID[sent.target]
		a.trace = a.span.trace
		beside = &a.span.annotations
	}
	a.created, a.updated = now, now
	for _, old := range *beside {
		if old.name == a.name && old.identifier == a.identifier {
			a.row, a.created = old.row, old.created
			*old = *a
			return old
		}
	}
	all := st.annotations[sent.class]
	a.row = after(all, func(a *annotation) int64 { return a.row })
	st.annotations[sent.class] = append(all, a)
	*beside = append(*beside, a)
	return a
}

// patience is how long Phoenix keeps an annotation that was not sent with
// sync=true and whose target is not there.
const patience = 10 * time.Minute

// mostWaiting bounds them.
const mostWaiting = 10_000

// settle stores the annotations that were waiting for their target. The caller
// holds the lock.
func (s *Server) settle() {
	var left []sentAnnotation
	for _, a := range s.waiting {
		switch {
		case time.Since(a.sent) > patience:
		case s.store.has(a):
			s.store.upsert(a)
		default:
			left = append(left, a)
		}
	}
	s.waiting = left[max(0, len(left)-mostWaiting):]
}

// plainJSON is annotations as encoding/json reads them back.
func plainJSON(list []*annotation) []map[string]any {
	out := make([]map[string]any, len(list))
	for i, a := range list {
		if err := json.Unmarshal(encode(a.json()), &out[i]); err != nil {
			panic(err)
		}
	}
	return out
}
