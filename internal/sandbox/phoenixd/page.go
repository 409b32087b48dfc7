package phoenixd

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed page
var pageFiles embed.FS

var pageTemplate = template.Must(template.ParseFS(pageFiles, "page/page.html"))

// pageAssets are the files beside the page.
var pageAssets = map[string]struct{ file, kind string }{
	"/assets/page.css": {"page/page.css", "text/css; charset=utf-8"},
	"/assets/page.js":  {"page/page.js", "text/javascript; charset=utf-8"},
	"/assets/icon.svg": {"page/icon.svg", "image/svg+xml"},
}

const (
	tracesOnPage = 50
	excerptText  = 280    // characters of a text in the list
	wholeText    = 20_000 // and on a trace's own page
)

// pageView is what the template draws. Root leads from the page to the top, so
// that it works below any path.
type pageView struct {
	Root     string
	Title    string
	Project  string
	Instance string
	List     bool // else one trace, datasets, or the words that there is no such page
	Traces   []traceView
	Older    int64 // row of the first trace of the next page; 0: none
	Trace    *traceView

	DatasetList bool
	Datasets    []datasetView
	Dataset     *datasetView
	HasDatasets bool // the top leads to them
}

type traceView struct {
	ID, Project, Name string
	Input, Output     textView
	Start             time.Time
	Took              string
	Failed            bool
	Spans             int
	Annotations       []annotationView // of the trace, and in the list of its spans
	Tree              []spanView
}

type spanView struct {
	ID, Name, Kind string
	Input, Output  textView
	Start          time.Time
	Took           string
	Failed         bool
	Status         string
	Message        string
	Open           bool
	Attributes     []attributeView
	Events         []eventView
	Annotations    []annotationView
	Below          []spanView
}

type attributeView struct {
	Key   string
	Value textView
}

type eventView struct {
	Name       string
	When       string
	Attributes []attributeView
}

// textView is a text that may be cut.
type textView struct {
	Text string
	More int // characters that are left out
}

func cutText(s string, most int) textView {
	n := 0
	for i := range s {
		if n == most {
			return textView{s[:i], len([]rune(s[i:]))}
		}
		n++
	}
	return textView{Text: s}
}

type annotationView struct {
	Key        string // of the highlight
	On         string // name of the span, "" where it stands by it
	Name       string
	Label      *string
	Score      string
	Text       textView
	Kind       string
	Identifier string
	Metadata   string
	Updated    time.Time
}

func (a *annotation) view(on string) annotationView {
	v := annotationView{Key: a.gid(), On: on, Name: a.name, Label: a.label, Kind: a.kind, Identifier: a.identifier, Updated: a.updated}
	if a.score != nil {
		v.Score = strconv.FormatFloat(*a.score, 'g', -1, 64)
	}
	if a.explanation != nil {
		v.Text = cutText(*a.explanation, wholeText)
	}
	if len(a.metadata) > 0 {
		v.Metadata = cutText(string(encode(a.metadata)), 2000).Text
	}
	return v
}

func took(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// root is the span that stands for the trace: the first without a parent, or the
// first at all.
func (t *trace) root() *span {
	for _, s := range t.spans {
		if s.parent == nil {
			return s
		}
	}
	return t.first()
}

func (t *trace) view() traceView {
	root := t.root()
	v := traceView{
		ID: t.id, Project: t.project.name, Name: root.name, Start: root.start, Took: took(root.latency()), Spans: len(t.spans),
		Input: cutText(root.words("llm.input_messages", "input.value"), excerptText),
	}
	v.Output = cutText(root.words("llm.output_messages", "output.value"), excerptText)
	if v.Output.Text == "" {
		v.Output = cutText(root.statusMessage, excerptText)
	}
	for _, s := range t.spans {
		v.Failed = v.Failed || s.status == "ERROR"
		on := s.name
		if len(t.spans) == 1 {
			on = ""
		}
		for _, a := range s.annotations {
			v.Annotations = append(v.Annotations, a.view(on))
		}
	}
	for _, a := range t.annotations {
		v.Annotations = append(v.Annotations, a.view("whole trace"))
	}
	slices.SortStableFunc(v.Annotations, func(a, b annotationView) int { return b.Updated.Compare(a.Updated) })
	return v
}

// words is the text of the last message of a list, or else the plain value.
func (s *span) words(messages, plain string) string {
	list, _ := at(s.attributes, messages).([]any)
	for _, m := range slices.Backward(list) {
		m, _ := m.(map[string]any)
		if text, ok := at(m, "message.content").(string); ok && text != "" {
			return text
		}
	}
	text, _ := at(s.attributes, plain).(string)
	return text
}

func (s *span) view(open string) spanView {
	v := spanView{
		ID: s.id, Name: s.name, Kind: s.kind, Start: s.start, Took: took(s.latency()), Status: s.status, Message: s.statusMessage,
		Failed: s.status == "ERROR", Open: s.id == open,
		Input:      cutText(s.words("llm.input_messages", "input.value"), wholeText),
		Output:     cutText(s.words("llm.output_messages", "output.value"), wholeText),
		Attributes: attributeViews(s.attributes),
	}
	for _, e := range s.events {
		v.Events = append(v.Events, eventView{e.Name, e.Timestamp, attributeViews(e.Attributes)})
	}
	for _, a := range s.annotations {
		v.Annotations = append(v.Annotations, a.view(""))
	}
	return v
}

func attributeViews(m map[string]any) (list []attributeView) {
	flat := flatten(m)
	keys := slices.SortedFunc(mapKeys(flat), byNumber)
	for _, k := range keys {
		text, ok := flat[k].(string)
		if !ok {
			text = string(encode(flat[k]))
		}
		list = append(list, attributeView{k, cutText(text, wholeText)})
	}
	return list
}

// byNumber compares dotted keys, numbers in them by value: 2 before 10.
func byNumber(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	return slices.CompareFunc(as, bs, func(a, b string) int {
		n, errN := strconv.Atoi(a)
		m, errM := strconv.Atoi(b)
		if errN == nil && errM == nil {
			return n - m
		}
		return strings.Compare(a, b)
	})
}

// tree is the trace's spans under their parents. open is the id of the span that
// was asked for.
func (t *trace) tree(open string) []spanView {
	byID := map[string]bool{}
	below := map[string][]*span{}
	for _, s := range t.spans {
		byID[s.id] = true
	}
	drawn := map[*span]bool{}
	var tops []*span
	for _, s := range slices.SortedStableFunc(slices.Values(t.spans), func(a, b *span) int { return a.start.Compare(b.start) }) {
		if s.parent != nil && byID[*s.parent] && *s.parent != s.id {
			below[*s.parent] = append(below[*s.parent], s)
			continue
		}
		tops = append(tops, s)
	}
	var draw func(list []*span, depth int) []spanView
	draw = func(list []*span, depth int) (out []spanView) {
		for _, s := range list {
			if drawn[s] || depth > 100 {
				continue
			}
			drawn[s] = true
			v := s.view(open)
			v.Below = draw(below[s.id], depth+1)
			out = append(out, v)
		}
		return out
	}
	out := draw(tops, 0)
	for _, s := range t.spans { // those that are each other's parents
		if !drawn[s] {
			out = append(out, draw([]*span{s}, 0)...)
		}
	}
	return out
}

// servePage answers every GET that is no route, with status 200 and HTML as
// Phoenix's own user interface does, whatever was asked for.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if asset, ok := pageAssets[path]; ok {
		b, err := pageFiles.ReadFile(asset.file)
		if err == nil {
			w.Header().Set("Content-Type", asset.kind)
			w.Header().Set("Cache-Control", "no-cache")
			_, _ = w.Write(b)
			return
		}
	}
	if path == "/live" && r.Method == http.MethodGet {
		s.serveLive(w, r)
		return
	}
	s.mu.Lock()
	v := pageView{Project: s.project, Instance: s.instance, HasDatasets: len(s.store.datasets) > 0}
	var traceID, spanID string
	switch kind, id, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/"); {
	case path == "/" || path == "":
		v.List, v.Title = true, "Traces"
		s.listTraces(&v, r.URL.Query().Get("from"))
	case kind == "datasets":
		s.datasetPage(&v, id, r.URL.Query())
	case kind == "traces":
		traceID = id
	case kind == "redirects":
		kind, id, _ = strings.Cut(id, "/")
		if kind == "traces" {
			traceID = id
		} else if sp := s.store.spanByID[id]; kind == "spans" && sp != nil {
			traceID, spanID = sp.trace.id, id
		}
	}
	if t := s.store.traceByID[traceID]; t != nil {
		one := t.view()
		one.Annotations = nil
		for _, a := range t.annotations {
			one.Annotations = append(one.Annotations, a.view(""))
		}
		if spanID == "" && len(t.spans) == 1 {
			spanID = t.first().id
		}
		one.Tree = t.tree(spanID)
		v.Trace, v.Title = &one, one.Name
	}
	s.mu.Unlock()
	s.writePage(w, r, v)
}

func (s *Server) listTraces(v *pageView, from string) {
	first, err := strconv.ParseInt(from, 10, 64)
	for _, t := range slices.Backward(s.store.traces) {
		if err == nil && t.row > first {
			continue
		}
		if len(v.Traces) == tracesOnPage {
			v.Older = t.row
			return
		}
		v.Traces = append(v.Traces, t.view())
	}
}

// serveNoPage is the page that stands where JSON should.
func (s *Server) serveNoPage(w http.ResponseWriter, r *http.Request) {
	s.writePage(w, r, pageView{Project: s.project, Instance: s.instance})
}

func (s *Server) writePage(w http.ResponseWriter, r *http.Request, v pageView) {
	v.Root = strings.Repeat("../", max(0, strings.Count(r.URL.EscapedPath(), "/")-1))
	if v.Root == "" {
		v.Root = "./"
	}
	if v.Title == "" {
		v.Title = "No such page"
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, v); err != nil {
		s.write(w, crash())
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'self'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b.Bytes())
}
