package phoenixd

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// version is the Phoenix that this stands in for.
const version = "20.26.1"

// call is one request on its way through a handler.
type call struct {
	r    *http.Request
	path []string // what the wildcards of the route matched, decoded
	body []byte
}

// answer is what a handler gives back.
type answer struct {
	status int
	kind   string // media type
	body   []byte
	header map[string]string
}

func inJSON(status int, v any) answer {
	return answer{status: status, kind: "application/json", body: encode(v)}
}

func inText(status int, format string, args ...any) answer {
	return answer{status: status, kind: "text/plain; charset=utf-8", body: fmt.Appendf(nil, format, args...)}
}

// crash is what Phoenix answers to what breaks it. It cuts the connection after.
func crash() answer { return inText(http.StatusInternalServerError, "Internal Server Error") }

// data is the envelope of a single thing, and of what was made.
func data(v any) answer { return inJSON(http.StatusOK, map[string]any{"data": v}) }

// page is the envelope of a list.
type page struct {
	Data any     `json:"data"`
	Next *string `json:"next_cursor"` // null on the last page
}

// route is one entry of the table.
type route struct {
	method  string
	pattern string // "/v1/projects/{p}/spans"
	handle  func(*Server, *call) answer
}

func (r route) name() string { return r.method + " " + r.pattern }

var routes = []route{
	{http.MethodGet, "/healthz", (*Server).getHealth},
	{http.MethodGet, "/readyz", (*Server).getReady},
	{http.MethodGet, "/arize_phoenix_version", (*Server).getVersion},
	{http.MethodGet, "/openapi.json", (*Server).getOpenAPI},
	{http.MethodGet, "/v1/user", (*Server).getUser},
	{http.MethodGet, "/v1/projects", (*Server).getProjects},
	{http.MethodPost, "/v1/projects", (*Server).postProject},
	{http.MethodGet, "/v1/projects/{p}", (*Server).getProject},
	{http.MethodGet, "/v1/projects/{p}/spans", (*Server).getSpans},
	{http.MethodPost, "/v1/projects/{p}/spans", (*Server).postSpans},
	{http.MethodDelete, "/v1/spans/{s}", (*Server).deleteSpan},
	{http.MethodGet, "/v1/projects/{p}/span_annotations", onSpans.list},
	{http.MethodGet, "/v1/projects/{p}/trace_annotations", onTraces.list},
	{http.MethodDelete, "/v1/projects/{p}/span_annotations", onSpans.sweep},
	{http.MethodDelete, "/v1/projects/{p}/trace_annotations", onTraces.sweep},
	{http.MethodPost, "/v1/span_annotations", onSpans.post},
	{http.MethodPost, "/v1/trace_annotations", onTraces.post},
	{http.MethodGet, "/v1/annotation_configs", (*Server).getConfigs},
	{http.MethodPost, "/v1/annotation_configs", (*Server).postConfig},
	{http.MethodGet, "/v1/annotation_configs/{c}", (*Server).getConfig},
	{http.MethodGet, "/v1/datasets", (*Server).getDatasets},
	{http.MethodPost, "/v1/datasets/upload", (*Server).postDataset},
	{http.MethodGet, "/v1/datasets/{d}", (*Server).getDataset},
	{http.MethodDelete, "/v1/datasets/{d}", (*Server).deleteDataset},
	{http.MethodGet, "/v1/datasets/{d}/versions", (*Server).getVersions},
	{http.MethodGet, "/v1/datasets/{d}/examples", (*Server).getExamples},
	{http.MethodGet, "/v1/datasets/{d}/experiments", (*Server).getExperiments},
	{http.MethodPost, "/v1/datasets/{d}/experiments", (*Server).postExperiment},
	{http.MethodGet, "/v1/experiments/{e}", (*Server).getExperiment},
	{http.MethodDelete, "/v1/experiments/{e}", (*Server).deleteExperiment},
	{http.MethodGet, "/v1/experiments/{e}/runs", (*Server).getRuns},
	{http.MethodPost, "/v1/experiments/{e}/runs", (*Server).postRun},
	{http.MethodGet, "/v1/experiments/{e}/incomplete-runs", (*Server).getIncompleteRuns},
	{http.MethodGet, "/v1/experiments/{e}/incomplete-evaluations", (*Server).getIncompleteEvaluations},
	{http.MethodGet, "/v1/experiments/{e}/json", (*Server).getExperimentJSON},
	{http.MethodGet, "/v1/experiments/{e}/csv", (*Server).getExperimentCSV},
	{http.MethodPost, "/v1/experiment_evaluations", (*Server).postEvaluation},
	{http.MethodGet, "/graphql", (*Server).getGraphQL},
	{http.MethodPost, "/graphql", (*Server).postGraphQL},
}

// find is the route of a request. Phoenix matches the decoded path, so that a
// %2F in a name separates like any slash.
func find(method, path string) (route, []string, bool) {
	for _, r := range routes {
		if r.method != method {
			continue
		}
		if wild, ok := match(r.pattern, path); ok {
			return r, wild, true
		}
	}
	return route{}, nil, false
}

func match(pattern, path string) (wild []string, ok bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return nil, false
	}
	for i := range want {
		switch {
		case strings.HasPrefix(want[i], "{") && have[i] != "":
			wild = append(wild, have[i])
		case want[i] != have[i]:
			return nil, false
		}
	}
	return wild, true
}

// maxBody is far above what anybody sends; the real server has no limit.
const maxBody = 64 << 20

// serveRoute answers a request to a route of the table.
func (s *Server) serveRoute(w http.ResponseWriter, r *http.Request, rt route, wild []string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			s.write(w, inText(http.StatusRequestEntityTooLarge, "The stand-in Phoenix takes bodies of up to %d MiB", maxBody>>20))
		}
		return
	}
	s.write(w, rt.handle(s, &call{r: r, path: wild, body: body}))
}

func (s *Server) write(w http.ResponseWriter, a answer) {
	if a.status == http.StatusInternalServerError && cut(w, a) {
		return
	}
	h := w.Header()
	for k, v := range a.header {
		h.Set(k, v)
	}
	h.Set("Content-Type", a.kind)
	if a.status == http.StatusInternalServerError {
		h.Del(versionHeader) // the answer of a crash has none
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the other end may have left
}

// cut answers a crash as Phoenix does: it says nothing of closing, and closes.
func cut(w http.ResponseWriter, a answer) bool {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false // no connection of its own: HTTP/2, or a test's recorder
	}
	defer conn.Close()
	fmt.Fprintf(buf, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		a.status, http.StatusText(a.status), a.kind, len(a.body), a.body)
	_ = buf.Flush()
	return true
}

// query is the checked reader of the call's parameters.
func (c *call) query() params {
	q, _ := url.ParseQuery(c.r.URL.RawQuery) // what cannot be read is left out
	return params{&checker{}, q}
}

// json reads the body. Without a JSON content type it is a text; an absent one is
// missing. bad, when not nil, is the whole answer.
func (c *call) json() (v any, half bool, bad *answer) {
	if len(c.body) == 0 {
		check := &checker{}
		check.add("missing", []any{"body"}, "Field required", nil, nil)
		a := check.wrong()
		return nil, false, &a
	}
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && (!strings.HasPrefix(kind, "application/") || !strings.HasSuffix(kind, "+json")) {
		return string(c.body), false, nil
	}
	v, half, err = decode(c.body)
	var de *decodeError
	switch {
	case errors.As(err, &de):
		check := &checker{}
		check.add("json_invalid", []any{"body", de.at}, "JSON decode error", map[string]any{}, map[string]any{"error": de.text})
		a := check.wrong()
		return nil, false, &a
	case err != nil:
		a := inText(http.StatusBadRequest, "%v", err)
		return nil, false, &a
	}
	return v, half, nil
}
