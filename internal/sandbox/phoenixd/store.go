package phoenixd

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// project is a Phoenix project.
type project struct {
	id          int64
	name        string
	description *string
}

// trace belongs to the project that its first span was sent to.
type trace struct {
	row         int64
	id          string // OpenTelemetry's
	project     *project
	spans       []*span // as they were ingested
	annotations []*annotation
}

type span struct {
	row           int64
	id            string // OpenTelemetry's
	trace         *trace
	name          string
	kind          string // as it was sent, in any case
	filterKind    string // one of kinds
	parent        *string
	start, end    time.Time
	status        string // one of statuses
	statusMessage string
	attributes    map[string]any // nested
	events        []event
	annotations   []*annotation
	examples      []*example // of datasets, that were made from it
}

type event struct {
	Name       string         `json:"name"`
	Timestamp  string         `json:"timestamp"`
	Attributes map[string]any `json:"attributes"`
}

// annotation of a span or a trace. Its key is target, name and identifier.
type annotation struct {
	row         int64
	span        *span  // nil for one of a trace
	trace       *trace // the span's, or its own
	name        string
	identifier  string
	kind        string
	label       *string
	score       *float64
	explanation *string
	metadata    map[string]any
	created     time.Time
	updated     time.Time
}

// store is everything that the stand-in keeps. The server's lock guards it.
type store struct {
	projects    []*project // by id
	traces      []*trace   // by row
	traceByID   map[string]*trace
	spans       []*span // by row
	spanByID    map[string]*span
	annotations map[string][]*annotation // by type name, each by row
	configs     []*config                // by id
	datasets    []*dataset               // by id, like the six that follow
	versions    []*datasetVersion
	examples    []*example
	splits      []*split
	experiments []*experiment
	runs        []*run
	evaluations []*evaluation
}

func newStore() *store {
	text := "Default project"
	positive, negative, feedback := 1.0, 0.0, "User feedback labels for traces."
	return &store{
		projects:    []*project{{1, "default", &text}},
		traceByID:   map[string]*trace{},
		spanByID:    map[string]*span{},
		annotations: map[string][]*annotation{},
		configs: []*config{{
			id: 1, name: "user_feedback", class: "CATEGORICAL", description: &feedback, direction: "MAXIMIZE",
			values: []configValue{{"positive", number(&positive)}, {"negative", number(&negative)}},
		}},
	}
}

// after is the row id of the next one in a table: SQLite gives the id of the
// newest row, once deleted, to its successor.
func after[T any](rows []T, row func(T) int64) int64 {
	if len(rows) == 0 {
		return 1
	}
	return row(rows[len(rows)-1]) + 1
}

func (p *project) gid() string    { return gid("Project", p.id) }
func (s *span) gid() string       { return gid("Span", s.row) }
func (t *trace) first() *span     { return t.spans[0] }
func (a *annotation) gid() string { return gid(a.class(), a.row) }

func (a *annotation) class() string {
	if a.span == nil {
		return "TraceAnnotation"
	}
	return "SpanAnnotation"
}

// gid is a global id, "Span:42" in base64.
func gid(class string, row int64) string {
	return base64.StdEncoding.EncodeToString([]byte(class + ":" + strconv.FormatInt(row, 10)))
}

// fromGID reads a global id of any class.
func fromGID(s string) (class string, row int64, err error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", 0, err
	}
	class, number, ok := strings.Cut(string(b), ":")
	if !ok {
		return "", 0, fmt.Errorf("%q is no global id", s)
	}
	row, err = strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	return class, row, err
}

// project finds a project by name or global id; bad, when not nil, is Phoenix's
// answer that there is none.
func (st *store) project(key string) (p *project, bad *answer) {
	class, row, err := fromGID(key)
	byID := err == nil && class == "Project"
	for _, p := range st.projects {
		if byID && p.id == row || !byID && p.name == key {
			return p, nil
		}
	}
	word := "name"
	if byID {
		word = "ID"
	}
	a := inText(404, "Project with %s %s not found", word, key)
	return nil, &a
}

// projectNamed is the project of that name, made when it is new.
func (st *store) projectNamed(name string) *project {
	for _, p := range st.projects {
		if p.name == name {
			return p
		}
	}
	p := &project{id: after(st.projects, func(p *project) int64 { return p.id }), name: name}
	st.projects = append(st.projects, p)
	return p
}

// insert adds a span to the project, unless its id is taken; s.trace is set here.
func (st *store) insert(projectName, traceID string, s *span) {
	if st.spanByID[s.id] != nil {
		return
	}
	t := st.traceByID[traceID]
	if t == nil {
		t = &trace{row: after(st.traces, func(t *trace) int64 { return t.row }), id: traceID, project: st.projectNamed(projectName)}
		st.traceByID[traceID] = t
		st.traces = append(st.traces, t)
	}
	s.row = after(st.spans, func(s *span) int64 { return s.row })
	s.trace = t
	t.spans = append(t.spans, s)
	st.spans = append(st.spans, s)
	st.spanByID[s.id] = s
}

// remove deletes a span, its annotations, and its trace when it was the last.
func (st *store) remove(s *span) {
	is := func(other *span) bool { return other == s }
	for _, a := range slices.Clone(s.annotations) {
		st.removeAnnotation(a)
	}
	for _, e := range s.examples {
		e.span = nil
	}
	delete(st.spanByID, s.id)
	st.spans = slices.DeleteFunc(st.spans, is)
	t := s.trace
	if t.spans = slices.DeleteFunc(t.spans, is); len(t.spans) > 0 {
		return
	}
	for _, a := range slices.Clone(t.annotations) {
		st.removeAnnotation(a)
	}
	delete(st.traceByID, t.id)
	st.traces = slices.DeleteFunc(st.traces, func(other *trace) bool { return other == t })
}

// removeAnnotation deletes one annotation.
func (st *store) removeAnnotation(a *annotation) {
	is := func(other *annotation) bool { return other == a }
	if a.span != nil {
		a.span.annotations = slices.DeleteFunc(a.span.annotations, is)
	} else {
		a.trace.annotations = slices.DeleteFunc(a.trace.annotations, is)
	}
	st.annotations[a.class()] = slices.DeleteFunc(st.annotations[a.class()], is)
}

// spansEach is how many spans, revisions of examples and runs are kept for each
// trace that is.
const spansEach = 10

// bound deletes the oldest traces beyond most, and sooner where they have very
// many spans; the newest stays.
func (st *store) bound(most int) {
	for len(st.traces) > most || len(st.spans) > most*spansEach && len(st.traces) > 1 {
		for _, s := range slices.Clone(st.traces[0].spans) {
			st.remove(s)
		}
	}
}
