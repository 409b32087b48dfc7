package phoenixd

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"time"
)

// What people and operators do to a Phoenix behind Spanbot's back, for tests;
// nothing of it is reachable by HTTP.

// DeleteAnnotation deletes one annotation of a span by its identifier, as
// somebody would in Phoenix; false when there is none.
func (s *Server) DeleteAnnotation(spanID, identifier string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.annotationOf(spanID, identifier); a != nil {
		s.store.removeAnnotation(a)
		s.changed()
		return true
	}
	return false
}

// Relabel gives an annotation of a span another label, as somebody would in
// Phoenix, and leaves the rest; false when there is none.
func (s *Server) Relabel(spanID, identifier, label string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.annotationOf(spanID, identifier)
	if a == nil {
		return false
	}
	a.label = &label
	s.changed()
	return true
}

func (s *Server) annotationOf(spanID, identifier string) *annotation {
	sp := s.store.spanByID[spanID]
	if sp == nil {
		return nil
	}
	for _, a := range sp.annotations {
		if a.identifier == identifier {
			return a
		}
	}
	return nil
}

// Fill puts n root spans of the same content into the project of that name, each
// in a trace of its own, as if they had ended evenly over a time up to now. They
// share their content in memory, so that a million of them fit; Options.Keep must
// leave room.
func (s *Server) Fill(projectName string, n int, over time.Duration, attributes map[string]any) {
	like := span{name: "ChatCompletion", kind: "LLM", filterKind: "LLM", status: "OK", events: []event{}}
	with := maps.Clone(attributes)
	with["openinference.span.kind"] = like.kind
	like.attributes = nest(normal(with).(map[string]any))
	now := time.Now().UTC().Truncate(time.Microsecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range n {
		one := like
		one.id = fmt.Sprintf("%016x", rand.Uint64())
		one.end = now.Add(-over + over*time.Duration(i+1)/time.Duration(n))
		one.start = one.end.Add(-time.Second)
		s.store.insert(projectName, fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()), &one)
	}
	s.store.bound(s.keep)
	s.settle()
	s.changed()
}

// Backup is a copy of all that is stored; the returned function puts it back in
// place of what is there then.
func (s *Server) Backup() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := s.store.clone()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.store = saved.clone()
		s.changed()
	}
}

// clone is a store of its own with the same content.
func (st *store) clone() *store {
	out := &store{projects: append([]*project(nil), st.projects...), configs: append([]*config(nil), st.configs...),
		traceByID: map[string]*trace{}, spanByID: map[string]*span{}, annotations: map[string][]*annotation{}}
	copies := map[*annotation]*annotation{}
	for _, t := range st.traces {
		tc := *t
		tc.spans, tc.annotations = nil, nil
		out.traces, out.traceByID[tc.id] = append(out.traces, &tc), &tc
		for _, a := range t.annotations {
			ac := *a
			ac.trace, ac.metadata = &tc, maps.Clone(a.metadata)
			copies[a] = &ac
			tc.annotations = append(tc.annotations, &ac)
		}
	}
	for _, sp := range st.spans {
		sc := *sp
		sc.trace, sc.annotations = out.traceByID[sp.trace.id], nil
		out.spans, out.spanByID[sc.id] = append(out.spans, &sc), &sc
		for _, a := range sp.annotations {
			ac := *a
			ac.span, ac.trace, ac.metadata = &sc, sc.trace, maps.Clone(a.metadata)
			copies[a] = &ac
			sc.annotations = append(sc.annotations, &ac)
		}
	}
	for _, t := range st.traces {
		tc := out.traceByID[t.id]
		for _, sp := range t.spans {
			tc.spans = append(tc.spans, out.spanByID[sp.id])
		}
	}
	for class, list := range st.annotations {
		for _, a := range list {
			out.annotations[class] = append(out.annotations[class], copies[a])
		}
	}
	return out
}
