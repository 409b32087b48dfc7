package phoenixd

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// examplesOnPage bounds the tables; there is no next page.
const examplesOnPage = 200

// datasetView is what the pages of datasets draw: the list of them, the examples
// of one, or its experiments side by side.
type datasetView struct {
	GID, Name, Description string
	Created                time.Time
	Versions, Count        int
	Experiments            []experimentView // all of the dataset, or those compared
	Compared               bool
	Rows                   []rowView
	Left                   int // rows that are left out
}

type experimentView struct {
	GID, Name                   string
	Successful, Failed, Missing int
	Tallies                     []tallyView
}

// tallyView counts what one evaluator said of the runs of an experiment.
type tallyView struct{ Name, Counts string }

type rowView struct {
	ID, SpanID    string
	Input, Output valueView // of the example
	Label, Split  string
	Cells         []cellView // one for each experiment that is compared
}

// cellView are the runs of one experiment for one example.
type cellView struct{ Runs []runView }

type runView struct {
	Repetition  int // 0 where there is only one
	Output      valueView
	Failure     textView
	Took        string
	Evaluations []evaluationView
}

type evaluationView struct {
	Key, Name, Label, Score, Kind string
	Failure, Explanation          textView
}

// valueView is a JSON value for people: the one text in it, or all of it.
type valueView struct {
	Text  textView
	Whole string // all of it, where the text is only a part
	Key   string // of Whole, that stays open when the page is drawn anew
}

func viewValue(v any, key string) valueView {
	m, ok := v.(map[string]any)
	if !ok {
		return valueView{Text: cutText(plainText(v), wholeText)}
	}
	var texts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if s, ok := m[k].(string); ok {
			texts = append(texts, s)
		}
	}
	whole := cutText(string(encode(m)), wholeText)
	switch {
	case len(m) == 0:
		return valueView{}
	case len(texts) != 1:
		return valueView{Text: whole}
	case len(m) == 1:
		return valueView{Text: cutText(texts[0], wholeText)}
	}
	return valueView{cutText(texts[0], wholeText), whole.Text, key}
}

func plainText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return string(encode(v))
}

func (d *dataset) view() datasetView {
	return datasetView{GID: d.gid(), Name: d.name, Description: d.description, Created: d.created, Versions: len(d.versions), Count: d.live()}
}

func (e *experiment) view() experimentView {
	v := experimentView{GID: e.gid(), Name: e.name}
	v.Successful, v.Failed = e.counts()
	v.Missing = max(0, len(e.examples)*e.repetitions-v.Successful-v.Failed)
	said := map[string]map[string]int{}
	for _, r := range e.runs {
		for _, a := range r.evaluations {
			if said[a.name] == nil {
				said[a.name] = map[string]int{}
			}
			word := "no label"
			switch {
			case a.failure != nil:
				word = "failed"
			case a.label != nil:
				word = *a.label
			}
			said[a.name][word]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		var parts []string
		for _, word := range slices.Sorted(maps.Keys(said[name])) {
			parts = append(parts, fmt.Sprintf("%s %d", word, said[name][word]))
		}
		v.Tallies = append(v.Tallies, tallyView{name, strings.Join(parts, ", ")})
	}
	return v
}

func (e *example) row(r *revision) rowView {
	v := rowView{ID: e.name(), Input: viewValue(r.input, "input "+e.gid()), Output: viewValue(r.output, "output "+e.gid())}
	v.Label, _ = r.metadata["label"].(string)
	if e.span != nil {
		v.SpanID = e.span.id
	}
	var names []string
	for _, s := range e.splits {
		names = append(names, s.name)
	}
	v.Split = strings.Join(names, ", ")
	return v
}

func (r *run) view() runView {
	v := runView{Output: viewValue(r.output, "output "+r.gid()), Took: took(r.end.Sub(r.start))}
	if r.experiment.repetitions > 1 || r.repetition > 1 {
		v.Repetition = r.repetition
	}
	if r.failure != nil {
		v.Failure = cutText(cmp.Or(*r.failure, "without a reason"), wholeText)
	}
	for _, a := range r.evaluations {
		one := evaluationView{Key: gid("ExperimentEvaluation", a.id), Name: a.name, Label: orEmpty(a.label), Kind: a.kind, Explanation: cutText(orEmpty(a.explanation), wholeText)}
		if a.score != nil {
			one.Score = strings.TrimSuffix(pythonText(*a.score), ".0")
		}
		if a.failure != nil {
			one.Failure = cutText(cmp.Or(*a.failure, "without a reason"), wholeText)
		}
		v.Evaluations = append(v.Evaluations, one)
	}
	return v
}

// datasetPage fills the page of /datasets, /datasets/{id}/examples or
// /datasets/{id}/compare; others stay empty. The caller holds the lock.
func (s *Server) datasetPage(v *pageView, path string, query url.Values) {
	key, what, _ := strings.Cut(path, "/")
	if key == "" {
		v.DatasetList, v.Title = true, "Datasets"
		for _, d := range slices.Backward(s.store.datasets) {
			v.Datasets = append(v.Datasets, d.view())
		}
		return
	}
	n, ok := readNode(key)
	if !ok || !n.is("Dataset") {
		return
	}
	d := s.store.dataset(n.row)
	if d == nil {
		return
	}
	one := d.view()
	switch what {
	case "", "examples":
		s.examplesPage(&one, d, query.Get("version"))
	case "compare":
		s.comparePage(&one, d, query["experimentId"])
	default:
		return
	}
	v.Dataset, v.Title = &one, d.name
}

// examplesPage lists the examples of a version, of the newest for "".
func (s *Server) examplesPage(v *datasetView, d *dataset, version string) {
	of := d.newest()
	if n, ok := readNode(version); ok {
		if asked := byID(d.versions, n.row, func(v *datasetVersion) int64 { return v.id }); asked != nil {
			of = asked
		}
	}
	for _, e := range d.examples {
		r := e.in(of.id)
		if r == nil {
			continue
		}
		if len(v.Rows) == examplesOnPage {
			v.Left++
			continue
		}
		v.Rows = append(v.Rows, e.row(r))
	}
	for _, e := range slices.Backward(s.store.experiments) {
		if e.dataset == d {
			v.Experiments = append(v.Experiments, e.view())
		}
	}
}

// comparePage puts experiments side by side: those that were asked for, in that
// order, or all of them, oldest first.
func (s *Server) comparePage(v *datasetView, d *dataset, asked []string) {
	v.Compared = true
	var list []*experiment
	for _, key := range asked {
		n, ok := readNode(key)
		if e := s.store.experiment(n.row); ok && n.is("Experiment") && e != nil && e.dataset == d && !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	if len(asked) == 0 {
		for _, e := range s.store.experiments {
			if e.dataset == d {
				list = append(list, e)
			}
		}
	}
	revisions := map[*example]*revision{}
	for _, e := range list {
		v.Experiments = append(v.Experiments, e.view())
		for _, one := range e.examples {
			if revisions[one.example] == nil {
				revisions[one.example] = one.revision // as the first of them has it
			}
		}
	}
	runs := map[*experiment]map[*example][]*run{}
	for _, e := range list {
		runs[e] = map[*example][]*run{}
		for k, r := range e.runs {
			runs[e][k.example] = append(runs[e][k.example], r)
		}
	}
	for _, one := range slices.SortedFunc(maps.Keys(revisions), func(a, b *example) int { return cmp.Compare(a.id, b.id) }) {
		if len(v.Rows) == examplesOnPage {
			v.Left++
			continue
		}
		row := one.row(revisions[one])
		for _, e := range list {
			var cell cellView
			for _, r := range slices.SortedFunc(slices.Values(runs[e][one]), func(a, b *run) int { return cmp.Compare(a.repetition, b.repetition) }) {
				cell.Runs = append(cell.Runs, r.view())
			}
			row.Cells = append(row.Cells, cell)
		}
		v.Rows = append(v.Rows, row)
	}
}
