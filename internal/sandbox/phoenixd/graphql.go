package phoenixd

import (
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The GraphQL that is understood: these operations, with any spacing and other
// names for their variables (here in capitals), and nothing else.
var (
	hintsQuery = tokens(`query($P:ID!,$N:Int!,$F:String){node(id:$P){... on Project{spans(first:$N,filterCondition:$F,
		sort:{col:startTime,dir:desc}){edges{node{spanId}}}}}}`)
	deleteOnSpans  = tokens(`mutation($I:[ID!]!){deleteSpanAnnotations(input:{annotationIds:$I}){spanAnnotations{id}}}`)
	deleteOnTraces = tokens(`mutation($I:[ID!]!){deleteTraceAnnotations(input:{annotationIds:$I}){traceAnnotations{id}}}`)
)

var token = regexp.MustCompile(`\.\.\.|\w+|[^\s,\w]`)

// tokens are the words and signs of an operation; commas and blanks mean nothing.
func tokens(operation string) []string { return token.FindAllString(operation, -1) }

// binds reports whether have is the operation want, and how it calls the variables.
func binds(want, have []string) (names map[string]string, ok bool) {
	names = map[string]string{}
	if len(want) != len(have) {
		return nil, false
	}
	for i, w := range want {
		variable := i > 0 && want[i-1] == "$"
		bound, seen := names[w]
		switch {
		case variable && !seen:
			names[w] = have[i]
		case variable && bound != have[i], !variable && w != have[i]:
			return nil, false
		}
	}
	return names, true
}

// operation is a GraphQL request.
type operation struct {
	text      string
	variables map[string]any
}

// fault is a GraphQL error at a word of the operation.
func (o operation) fault(word, message string, path ...string) answer {
	at := max(0, strings.Index(o.text, word))
	before := o.text[:at]
	e := map[string]any{
		"message": message,
		"locations": []map[string]int{{
			"line": 1 + strings.Count(before, "\n"), "column": at - strings.LastIndex(before, "\n"),
		}},
	}
	if len(path) > 0 {
		e["path"] = path
	}
	return inJSON(http.StatusOK, map[string]any{"data": nil, "errors": []any{e}})
}

// unexpected is Phoenix's word for every failure that it does not explain.
const unexpected = "an unexpected error occurred"

func (s *Server) getGraphQL(c *call) answer {
	if strings.Contains(c.r.Header.Get("Accept"), "text/html") {
		return answer{status: http.StatusOK, kind: "text/html; charset=utf-8", body: []byte("<!DOCTYPE html><title>Stand-in Phoenix</title><p>No GraphQL console here.")}
	}
	q := c.r.URL.Query()
	if q.Get("query") == "" {
		return inText(http.StatusBadRequest, "No GraphQL query found in the request")
	}
	return s.execute(operation{text: q.Get("query")})
}

func (s *Server) postGraphQL(c *call) answer {
	kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if kind != "application/json" {
		return inText(http.StatusBadRequest, "Unsupported content type")
	}
	v, _, err := decode(c.body)
	if err != nil {
		return inText(http.StatusBadRequest, "Unable to parse request body as JSON")
	}
	if _, ok := v.([]any); ok {
		return inText(http.StatusBadRequest, "Batching is not enabled")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return crash()
	}
	text, ok := m["query"].(string)
	if m["query"] != nil && !ok {
		return inText(http.StatusBadRequest, "The GraphQL operation's `query` must be a string or null, if provided.")
	}
	variables, ok := m["variables"].(map[string]any)
	if m["variables"] != nil && !ok {
		return inText(http.StatusBadRequest, "The GraphQL operation's `variables` must be an object or null, if provided.")
	}
	if text == "" {
		return inText(http.StatusBadRequest, "No GraphQL query found in the request")
	}
	return s.execute(operation{text, variables})
}

func (s *Server) execute(o operation) answer {
	words := tokens(o.text)
	if v, ok := binds(hintsQuery, words); ok {
		return s.hints(o, v["P"], v["N"], v["F"])
	}
	if v, ok := binds(deleteOnSpans, words); ok {
		return s.deleteAnnotations(o, onSpans, "span", v["I"])
	}
	if v, ok := binds(deleteOnTraces, words); ok {
		return s.deleteAnnotations(o, onTraces, "trace", v["I"])
	}
	kind := "Query"
	if len(words) > 0 && words[0] == "mutation" {
		kind = "Mutation"
	}
	field := ""
	if i := slices.Index(words, "{"); i >= 0 && i+1 < len(words) {
		field = words[i+1]
	}
	return o.fault(field, fmt.Sprintf("Cannot query field '%s' on type '%s'.", field, kind))
}

// hints lists span ids of a project that pass a filter, the latest start first.
func (s *Server) hints(o operation, project, first, filter string) answer {
	id, okID := o.variables[project].(string)
	n, okN := o.variables[first].(integer)
	condition, _ := o.variables[filter].(string)
	limit, _ := strconv.Atoi(string(n))
	switch {
	case !okID:
		return o.fault("$"+project, unexpected)
	case !okN:
		return o.fault("$"+first, unexpected)
	}
	class, row, err := fromGID(id)
	switch {
	case err != nil:
		return o.fault("node", "Unknown node: "+id, "node")
	case class != "Project":
		return inJSON(http.StatusOK, map[string]any{"data": map[string]any{"node": map[string]any{}}})
	case limit <= 0:
		return o.fault("spans", "`first` must be a positive integer", "node", "spans")
	}
	keep, err := readCondition(condition)
	if err != nil {
		return o.fault("spans", err.Error(), "node", "spans")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	edges := []any{}
	for _, p := range s.store.projects {
		if p.id != row {
			continue
		}
		for _, sp := range s.store.spansOf(p, spanOrder{byStart: true}, keep, limit) {
			edges = append(edges, map[string]any{"node": map[string]string{"spanId": sp.id}})
		}
	}
	return inJSON(http.StatusOK, map[string]any{"data": map[string]any{"node": map[string]any{"spans": map[string]any{"edges": edges}}}})
}

var notAnnotated = regexp.MustCompile(`^not annotations\[(?:'([^'\\]*)'|"([^"\\]*)")\]$`)

// readCondition reads the filter language: "not annotations['name']" and
// "parent_id is None", joined by "and".
func readCondition(s string) (keep []spanFilter, err error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(s, " and ") {
		part = strings.TrimSpace(part)
		m := notAnnotated.FindStringSubmatch(part)
		switch {
		case part == "parent_id is None":
			keep = append(keep, func(s *span) bool { return s.parent == nil })
		case m != nil:
			name := m[1] + m[2]
			keep = append(keep, func(s *span) bool {
				return !slices.ContainsFunc(s.annotations, func(a *annotation) bool { return a.name == name })
			})
		default:
			return nil, fmt.Errorf("the stand-in Phoenix does not know the filter %q", part)
		}
	}
	return keep, nil
}

// deleteAnnotations deletes annotations by their global ids: all or none.
func (s *Server) deleteAnnotations(o operation, t target, word, variable string) answer {
	field := "delete" + t.class + "s"
	refuse := func(format string, args ...any) answer { return o.fault(field, fmt.Sprintf(format, args...), field) }
	given := o.variables[variable]
	if one, ok := given.(string); ok { // GraphQL takes one for a list of one
		given = []any{one}
	}
	list, ok := given.([]any)
	if !ok || slices.Contains(list, nil) {
		return o.fault("$"+variable, unexpected)
	}
	if len(list) == 0 {
		return refuse("No %s annotation IDs provided.", word)
	}
	var rows []int64
	for _, v := range list {
		id, _ := v.(string)
		class, row, err := fromGID(id)
		switch {
		case err != nil:
			return refuse(unexpected)
		case class != t.class:
			return refuse("Invalid %s annotation ID: %s", word, id)
		case slices.Contains(rows, row):
			return refuse("Duplicate %s annotation ID: %d", word, row)
		}
		rows = append(rows, row)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*annotation
	var missing []string
	for _, row := range rows {
		i := slices.IndexFunc(s.store.annotations[t.class], func(a *annotation) bool { return a.row == row })
		if i < 0 {
			missing = append(missing, strconv.FormatInt(row, 10))
			continue
		}
		found = append(found, s.store.annotations[t.class][i])
	}
	if len(missing) > 0 {
		return refuse("Could not find %s annotations with IDs: {%s}", word, strings.Join(missing, ", "))
	}
	gone := []any{}
	for _, a := range found {
		gone = append(gone, map[string]string{"id": a.gid()})
		s.store.removeAnnotation(a)
	}
	s.changed()
	return inJSON(http.StatusOK, map[string]any{"data": map[string]any{field: map[string]any{word + "Annotations": gone}}})
}
