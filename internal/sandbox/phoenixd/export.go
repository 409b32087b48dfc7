package phoenixd

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// exported is a run in an export, and the example as the experiment's version of
// the dataset holds it.
type exported struct {
	run      *run
	revision *revision
}

// export lists the runs of an experiment by example and repetition.
func (s *Server) export(c *call) (*experiment, []exported, *answer) {
	n, ok := readNode(c.path[0])
	var bad answer
	switch {
	case !ok:
		bad = wrongID("experiment", c.path[0])
		return nil, nil, &bad
	case !n.is("Experiment"):
		bad = inText(http.StatusUnprocessableEntity, "Invalid experiment ID: %s", n.text)
		return nil, nil, &bad
	}
	e := s.store.experiment(n.row)
	if e == nil {
		bad = inText(http.StatusNotFound, "Experiment not found")
		return nil, nil, &bad
	}
	var list []exported
	for _, r := range e.runs {
		if of := r.example.in(e.version); of != nil && r.example.dataset == e.dataset {
			list = append(list, exported{r, of})
		}
	}
	if len(list) == 0 {
		bad = inText(http.StatusNotFound, "Experiment has no runs")
		return nil, nil, &bad
	}
	slices.SortFunc(list, func(a, b exported) int {
		return cmp.Or(cmp.Compare(a.run.example.id, b.run.example.id), cmp.Compare(a.run.repetition, b.run.repetition))
	})
	return e, list, nil
}

// attached makes an answer a file. Phoenix puts the experiment's name into a
// header, and crashes where the header cannot hold it. On a control character it
// says nothing at all, or what no client can read; here that is a crash as well.
func (e *experiment) attached(a answer, ending string) answer {
	var latin1 []byte
	for _, r := range e.name {
		if r > 0xff || unicode.IsControl(r) && r != '\t' {
			return crash()
		}
		latin1 = append(latin1, byte(r))
	}
	a.header = map[string]string{"Content-Disposition": fmt.Sprintf(`attachment; filename="%s.%s"`, latin1, ending)}
	return a
}

func (r *run) latency() float { return float(float64(r.end.Sub(r.start).Microseconds()) / 1000) }

type exportJSON struct {
	Example     string           `json:"example_id"`
	Repetition  int              `json:"repetition_number"`
	Input       map[string]any   `json:"input"`
	Reference   map[string]any   `json:"reference_output"`
	Output      any              `json:"output"`
	Failure     *string          `json:"error"`
	Latency     float            `json:"latency_ms"`
	Start       string           `json:"start_time"`
	End         string           `json:"end_time"`
	Trace       *string          `json:"trace_id"`
	Prompt      *int             `json:"prompt_token_count"` // Phoenix counts none for runs that it did not make
	Completion  *int             `json:"completion_token_count"`
	Evaluations []evaluationJSON `json:"annotations"`
}

type evaluationJSON struct {
	Name        string         `json:"name"`
	Kind        string         `json:"annotator_kind"`
	Label       *string        `json:"label"`
	Score       *float         `json:"score"`
	Explanation *string        `json:"explanation"`
	Trace       *string        `json:"trace_id"`
	Failure     *string        `json:"error"`
	Metadata    map[string]any `json:"metadata"`
	Start       string         `json:"start_time"`
	End         string         `json:"end_time"`
}

// getExperimentJSON is the file of all runs with what evaluators said of them.
func (s *Server) getExperimentJSON(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, list, bad := s.export(c)
	if bad != nil {
		return *bad
	}
	out := make([]exportJSON, len(list))
	for i, one := range list {
		r := one.run
		out[i] = exportJSON{
			Example: r.example.gid(), Repetition: r.repetition, Input: one.revision.input, Reference: one.revision.output, Output: r.output,
			Failure: r.failure, Latency: r.latency(), Start: stamp(r.start), End: stamp(r.end), Trace: r.trace, Evaluations: []evaluationJSON{},
		}
		for _, v := range r.evaluations {
			out[i].Evaluations = append(out[i].Evaluations, evaluationJSON{
				v.name, v.kind, v.label, number(v.score), v.explanation, v.trace, v.failure, v.metadata, stamp(v.start), stamp(v.end),
			})
		}
	}
	return e.attached(inJSON(http.StatusOK, out), "json")
}

// getExperimentCSV is the same file as a table: a column for each fact of each
// evaluator, in the order in which they first occur.
func (s *Server) getExperimentCSV(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, list, bad := s.export(c)
	if bad != nil {
		return *bad
	}
	var columns []string
	rows := make([]map[string]string, len(list))
	for i, one := range list {
		row := map[string]string{}
		put := func(column, cell string) {
			if !slices.Contains(columns, column) {
				columns = append(columns, column)
			}
			row[column] = cell
		}
		r := one.run
		put("example_id", r.example.gid())
		put("repetition_number", strconv.Itoa(r.repetition))
		put("input", pythonJSON(one.revision.input))
		put("reference_output", pythonJSON(one.revision.output))
		put("output", outputCell(r.output))
		put("metadata", pythonJSON(one.revision.metadata))
		put("error", orEmpty(r.failure))
		put("latency_ms", pythonText(float64(r.latency())))
		put("start_time", stamp(r.start))
		put("end_time", stamp(r.end))
		put("trace_id", orEmpty(r.trace))
		put("prompt_token_count", "")
		put("completion_token_count", "")
		for _, v := range r.evaluations {
			prefix := "annotation_" + v.name + "_"
			score := ""
			if v.score != nil {
				score = pythonText(*v.score)
			}
			put(prefix+"label", orEmpty(v.label))
			put(prefix+"score", score)
			put(prefix+"explanation", orEmpty(v.explanation))
			put(prefix+"metadata", pythonJSON(v.metadata))
			put(prefix+"annotator_kind", v.kind)
			put(prefix+"trace_id", orEmpty(v.trace))
			put(prefix+"error", orEmpty(v.failure))
			put(prefix+"start_time", stamp(v.start))
			put(prefix+"end_time", stamp(v.end))
		}
		rows[i] = row
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(columns) // into memory: never fails
	for _, row := range rows {
		cells := make([]string, len(columns))
		for i, column := range columns {
			cells[i] = row[column]
		}
		_ = w.Write(cells)
	}
	w.Flush()
	return e.attached(answer{status: http.StatusOK, kind: "text/csv", body: b.Bytes()}, "csv")
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// outputCell is the output of a run in a table: a text is itself, an object JSON.
func outputCell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "True"
		}
		return "False"
	}
	return pythonJSON(v)
}

// pythonJSON is v as Python's json module writes it, but for the order of keys,
// which is not kept here.
func pythonJSON(v any) string {
	switch v := v.(type) {
	case string:
		return asciiJSON(v)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = pythonJSON(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, asciiJSON(k)+": "+pythonJSON(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return string(encode(v))
}

// asciiJSON is a text in JSON with nothing beyond ASCII in it.
func asciiJSON(s string) string {
	var b strings.Builder
	for _, r := range string(encode(s)) {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	return b.String()
}
