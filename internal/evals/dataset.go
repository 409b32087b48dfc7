package evals

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
)

// The splits of a dataset and their shares: few to learn from, most to measure
// with, and a part that is looked at once.
var splitShares = []struct {
	name  string
	share float64
}{{"train", 0.2}, {"dev", 0.4}, {"test", 0.4}}

// DatasetOptions say how a dataset is made.
type DatasetOptions struct {
	Name          string
	Description   string
	Rubric        review.Rubric
	Project       string // its name
	RubricHash    string // only labels that were given under it
	AnyRubric     bool
	TutorialShape bool // keys of the tutorial's notebook in place of ours
	Corrections   bool // of what people corrected: the output is what it should have said
	DryRun        bool
	Seed          uint64 // of the splits of new examples
}

// DatasetReport says what became of the spans.
type DatasetReport struct {
	Dataset     string         `json:"dataset"`
	DatasetID   string         `json:"dataset_id,omitempty"`
	VersionID   string         `json:"version_id,omitempty"`
	Spans       int            `json:"spans"`     // looked at
	Annotated   int            `json:"annotated"` // by people, under the rubric's name
	Included    int            `json:"included"`
	Created     int            `json:"created"`
	Updated     int            `json:"updated"`
	Unchanged   int            `json:"unchanged"`
	Disputed    int            `json:"disputed"`       // people disagree, and nobody decided
	NoLabel     int            `json:"no_label"`       // a score or words alone
	Unknown     map[string]int `json:"unknown_labels"` // labels that the rubric does not have
	TooLong     int            `json:"too_long"`       // texts of more than 500,000 characters
	OtherRubric int            `json:"other_rubric"`   // left out by --rubric-hash
	Corrected   int            `json:"corrected"`
	Simulated   int            `json:"simulated"` // of those included: labels that no person gave
	Cleared     int            `json:"cleared"`   // in the dataset, and people agree on a label no more
	Labels      map[string]int `json:"labels"`
	Splits      map[string]int `json:"splits"`
	Rubrics     map[string]int `json:"rubric_hashes"`
	How         map[How]int    `json:"how"`
	DryRun      bool           `json:"dry_run,omitempty"`
}

// shapeKey marks, in an example's metadata, who made it: a dataset of that name
// without it is somebody else's.
const shapeKey = "spanbot"

// BuildDataset makes or extends a dataset from what people said of a project's
// spans. Running it again changes only what people changed; an example over which
// they came to disagree, or whose label was taken back, stays without a label.
//
// Texts are read of those spans alone that are not in the dataset yet, or of which
// people say something else now: Phoenix does not change a span that it has, so an
// example's texts are trusted to be its span's.
//
// Invalid: nobody annotated a span; the rubric changed midway; a dataset of that
// name is something else.
func BuildDataset(ctx context.Context, px *phoenix.Client, c Collection, o DatasetOptions, say Progress) (DatasetReport, error) {
	r := DatasetReport{Dataset: o.Name, Spans: c.Spans, Annotated: c.Annotated, Unknown: map[string]int{}, Labels: map[string]int{}, Splits: map[string]int{},
		Rubrics: map[string]int{}, How: map[How]int{}, DryRun: o.DryRun}
	if c.Annotated == 0 {
		return r, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("none of the %d spans of project %s has a HUMAN annotation named %s; let people judge some first (spanbot), or name another rubric with --rubric", c.Spans, o.Project, o.Rubric.Name)}
	}
	items := r.choose(c.Items, o)
	if o.Corrections && len(items) == 0 {
		return r, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("none of the %d spans that people annotated has a correction; it is a field of the form (Annotate…)", c.Annotated)}
	}
	if !o.AnyRubric && o.RubricHash == "" {
		if err := Mixed(items, "name one with --rubric-hash, or take all with --any-rubric"); err != nil {
			return r, err
		}
	}
	if len(items) == 0 {
		return r, r.nothing()
	}
	old := map[string]kept{}
	d, exists, err := px.Dataset(ctx, o.Name)
	if err != nil {
		return r, err
	}
	if exists {
		var foreign error
		version, err := px.EachNote(ctx, d.ID, func(e phoenix.ExampleNote) {
			if foreign == nil {
				foreign = o.foreign(e)
			}
			old[e.ID] = keep(e.Metadata)
		})
		if err == nil {
			err = foreign
		}
		if err != nil {
			return r, err
		}
		r.DatasetID, r.VersionID = d.ID, version
	}
	if !o.AnyRubric {
		if err := o.sameVersions(items, old); err != nil {
			return r, err
		}
	}
	splits := assign(items, old, o.Seed)
	var fresh []Labelled
	for _, l := range items {
		if was, had := old[l.SpanID]; had && o.says(was, l) {
			r.include(l, splits)
			r.Unchanged++
			continue
		}
		fresh = append(fresh, l)
	}
	cleared, err := o.cleared(ctx, px, c, old)
	if err != nil {
		return r, err
	}
	r.Cleared = len(cleared)
	var up uploaded
	done := 0
	for part, err := range ahead(c.texts(ctx, px, fresh)) {
		if err != nil {
			return up.into(r), err
		}
		examples := r.examples(part, old, splits, o)
		if err := up.add(ctx, px, o, examples); err != nil {
			return up.into(r), err
		}
		done += len(part)
		say.say(done, len(fresh))
	}
	for part := range slices.Chunk(cleared, uploadAtOnce) {
		if err := up.add(ctx, px, o, part); err != nil {
			return up.into(r), err
		}
	}
	if r.Included == 0 && r.Cleared == 0 {
		return r, r.nothing()
	}
	if o.DryRun {
		return r, nil
	}
	r = up.into(r)
	if v, ok, err := px.NewestVersion(ctx, r.DatasetID); err == nil && ok {
		r.VersionID = v.ID
	}
	return r, nil
}

// cleared are the examples that have a label which people do not agree on any more,
// or took back, without it. One whose span is gone keeps what was said of it.
func (o DatasetOptions) cleared(ctx context.Context, px *phoenix.Client, c Collection, old map[string]kept) ([]phoenix.NewExample, error) {
	if o.Corrections {
		return nil, nil
	}
	by := make(map[string]Labelled, len(c.Items))
	for _, l := range c.Items {
		by[l.SpanID] = l
	}
	var without []Labelled
	for _, id := range slices.Sorted(maps.Keys(old)) {
		was := old[id]
		if !was.labelled || was.project != o.Project {
			continue
		}
		l, annotated := by[id]
		switch {
		case annotated && l.How != Disputed && l.How != "":
			continue
		case !annotated:
			l = Labelled{SpanID: id, TraceID: was.trace}
		}
		without = append(without, l)
	}
	if err := c.read(ctx, px, without, nil); err != nil {
		return nil, err
	}
	var out []phoenix.NewExample
	for _, l := range without {
		if !l.whole {
			continue
		}
		l.Label, l.Score, l.Explanation = "", nil, ""
		e := o.example(l, old[l.SpanID].split)
		e.Metadata["label"] = nil
		out = append(out, e)
	}
	return out, nil
}

func (o DatasetOptions) shape() string {
	switch {
	case o.Corrections:
		return "corrections"
	case o.TutorialShape:
		return "tutorial"
	}
	return "spanbot"
}

// choose keeps the items with a label, and counts the others by reason.
func (r *DatasetReport) choose(all []Labelled, o DatasetOptions) []Labelled {
	var items []Labelled
	for _, l := range all {
		if o.Corrections {
			if l.Correction != "" {
				items = append(items, l)
			}
			continue
		}
		if l.How == "" {
			r.NoLabel++
			continue
		}
		if l.How == Disputed {
			r.Disputed++
			continue
		}
		if _, known := o.Rubric.Label(l.Label); !known {
			r.Unknown[l.Label]++
			continue
		}
		if o.RubricHash != "" && !slices.Equal(l.Rubrics, []string{o.RubricHash}) {
			r.OtherRubric++
			continue
		}
		items = append(items, l)
	}
	return items
}

// uploadAtOnce is how many spans are read and uploaded at a time: their texts are
// all that is held of texts.
const uploadAtOnce = 1000

// ahead makes the next value while the last one is worked on: spans are read while
// others are uploaded. It returns when the one ahead has come, too.
func ahead[T any](seq iter.Seq2[T, error]) iter.Seq2[T, error] {
	type one struct {
		v   T
		err error
	}
	return func(yield func(T, error) bool) {
		next, enough := make(chan one), make(chan struct{})
		go func() {
			defer close(next)
			for v, err := range seq {
				select {
				case next <- one{v, err}:
				case <-enough:
					return
				}
			}
		}()
		defer func() {
			close(enough)
			for range next { // only its end matters
			}
		}()
		for o := range next {
			if !yield(o.v, o.err) {
				return
			}
		}
	}
}

// examples makes examples of labelled spans. It leaves out those that are too long
// and those whose span was deleted meanwhile.
func (r *DatasetReport) examples(items []Labelled, old map[string]kept, splits map[string]string, o DatasetOptions) []phoenix.NewExample {
	var out []phoenix.NewExample
	for _, l := range items {
		_, had := old[l.SpanID]
		switch {
		case !l.whole:
			r.Annotated--
			continue
		case l.Span.Input.More+l.Span.Output.More > 0:
			r.TooLong++
			continue
		case had:
			r.Updated++
		default:
			r.Created++
		}
		r.include(l, splits)
		out = append(out, o.example(l, splits[l.SpanID]))
	}
	return out
}

// uploaded is what became of the uploads.
type uploaded struct {
	any bool
	phoenix.Uploaded
}

func (u *uploaded) add(ctx context.Context, px *phoenix.Client, o DatasetOptions, examples []phoenix.NewExample) error {
	if o.DryRun || len(examples) == 0 {
		return nil
	}
	up, err := px.Append(ctx, o.Name, o.Description, examples)
	if err != nil {
		return err
	}
	up.Created, up.Updated = up.Created+u.Created, up.Updated+u.Updated
	u.any, u.Uploaded = true, up
	return nil
}

// into puts Phoenix's word in the place of what was meant to be done.
func (u uploaded) into(r DatasetReport) DatasetReport {
	if r.DryRun {
		return r
	}
	if u.any {
		r.DatasetID, r.VersionID = u.DatasetID, u.VersionID
	}
	r.Created, r.Updated = u.Created, u.Updated
	return r
}

// kept is what is remembered of an example of the dataset.
type kept struct {
	split    string
	trace    string
	project  string
	labelled bool
	rubrics  string            // hashes
	sum      [sha256.Size]byte // of what is said of it
}

func keep(meta map[string]any) kept {
	text := func(key string) string { s, _ := meta[key].(string); return s }
	return kept{split: text("split"), trace: text("trace_id"), project: text("project"), labelled: meta["label"] != nil, rubrics: text("rubric_hash"), sum: saying(meta)}
}

// saying is a fingerprint of an example's metadata, without what is the span's, like
// its texts.
func saying(meta map[string]any) [sha256.Size]byte {
	meta = maps.Clone(meta)
	delete(meta, "model")
	delete(meta, "original_answer")
	b, err := json.Marshal(meta) // keys in order, and numbers as they are read back
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(b)
}

// foreign refuses an example that this dataset would not have.
func (o DatasetOptions) foreign(e phoenix.ExampleNote) error {
	if _, ours := e.Metadata[shapeKey]; !ours {
		return &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("the dataset %s holds examples that were not made from annotated spans (%s is one); take another name with --name", o.Name, e.ID)}
	}
	if shape, _ := e.Metadata[shapeKey].(map[string]any); shape["shape"] != o.shape() || shape["criterion"] != o.Rubric.Name {
		return &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("the dataset %s was made of %v labels in the %v shape, and this would add %s labels in the %s shape; take another name with --name", o.Name, shape["criterion"], shape["shape"], o.Rubric.Name, o.shape())}
	}
	return nil
}

// sameVersions refuses to put labels of one version of the rubric beside those of
// another that the dataset holds and keeps.
func (o DatasetOptions) sameVersions(items []Labelled, old map[string]kept) error {
	if o.Corrections {
		return nil
	}
	stays := maps.Clone(old)
	here := map[string]bool{}
	for _, l := range items {
		delete(stays, l.SpanID)
		for _, hash := range l.Rubrics {
			here[hash] = true
		}
	}
	other := map[string]int{}
	for _, was := range stays {
		for _, hash := range strings.Fields(was.rubrics) {
			if was.labelled && !here[hash] {
				other[hash]++
			}
		}
	}
	delete(here, "") // labels without a version go with any
	if len(here) == 0 || len(other) == 0 {
		return nil
	}
	var parts []string
	for _, hash := range slices.Sorted(maps.Keys(other)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", hash, other[hash]))
	}
	return &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("the dataset %s holds labels of other versions of the rubric, %s, and this would add those of %s; take another name with --name, or mix them with --any-rubric",
		o.Name, strings.Join(parts, ", "), strings.Join(slices.Sorted(maps.Keys(here)), ", "))}
}

// says reports that an example holds what people say of its span now.
func (o DatasetOptions) says(was kept, l Labelled) bool {
	return was.split != "" && saying(o.metadata(l, was.split)) == was.sum
}

// include counts an item that is in the dataset.
func (r *DatasetReport) include(l Labelled, splits map[string]string) {
	r.Splits[splits[l.SpanID]]++
	r.Included++
	r.Labels[l.Label]++
	r.How[l.How]++
	if l.Correction != "" {
		r.Corrected++
	}
	if l.Simulated() {
		r.Simulated++
	}
	for _, hash := range l.Rubrics {
		r.Rubrics[hash]++
	}
}

// nothing refuses to make a dataset without examples.
func (r *DatasetReport) nothing() error {
	return &review.Error{Kind: review.Invalid, Text: "nothing is left to make a dataset of: " + r.left()}
}

// left says in words what was left out.
func (r DatasetReport) left() string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(r.Disputed, "disputed")
	add(r.NoLabel, "without a label")
	for _, l := range slices.Sorted(maps.Keys(r.Unknown)) {
		add(r.Unknown[l], fmt.Sprintf("labelled %q, which the rubric does not have", l))
	}
	add(r.TooLong, "too long")
	add(r.OtherRubric, "labelled under another version of the rubric")
	return strings.Join(parts, ", ")
}

// Left says what was left out and why; "" for nothing.
func (r DatasetReport) Left() string { return r.left() }

// metadata is what an example says of a labelled span beside its texts.
func (o DatasetOptions) metadata(l Labelled, split string) map[string]any {
	var annotations []any
	for _, a := range l.Opinions {
		annotations = append(annotations, map[string]any{"label": null(a.Label), "score": number(a.Score), "explanation": null(a.Explanation),
			"metadata": map[string]any{}, "annotator_kind": a.Kind, "identifier": a.Identifier, "user_id": nil, "username": nil, "email": nil})
	}
	m := map[string]any{
		shapeKey: map[string]any{"shape": o.shape(), "criterion": o.Rubric.Name}, "annotation_name": o.Rubric.Name,
		"label": l.Label, "score": number(l.Score), "explanation": null(l.Explanation), "correction": null(l.Correction),
		"annotators": list(l.Annotators), "agreement": l.Agreement(), "how": string(l.How), "adjudicated": l.How == Adjudicated, "votes": counts(l.Votes),
		"annotations": map[string]any{o.Rubric.Name: annotations}, "span_id": l.SpanID, "trace_id": l.TraceID, "project": o.Project,
		"rubric_hash": strings.Join(l.Rubrics, " "), "split": split, "model": l.Span.Model,
	}
	if level := l.level(); level != levelSpan {
		m["level"] = level
	}
	if o.Corrections {
		m["corrected_by"] = l.Corrector
		if l.whole {
			m["original_answer"] = l.Answer
		}
	}
	return m
}

// example makes an example of a labelled span with its texts.
func (o DatasetOptions) example(l Labelled, split string) phoenix.NewExample {
	e := phoenix.NewExample{ID: l.SpanID, SpanID: l.SpanID, Split: split, Metadata: o.metadata(l, split)}
	if o.TutorialShape {
		var messages []any
		for _, m := range l.Span.Answered {
			messages = append(messages, map[string]any{"message.role": m.Role, "message.content": m.Content.Head})
		}
		e.Input = map[string]any{"attributes.input.value": l.Span.Input.Head}
		e.Output = map[string]any{"attributes.llm.output_messages": messages}
		return e
	}
	e.Input = map[string]any{"question": l.Question, "messages": messages(l.Span.Asked)}
	e.Output = map[string]any{"answer": l.Answer, "messages": messages(l.Span.Answered)}
	if o.Corrections {
		e.Output = map[string]any{"answer": l.Correction, "messages": []any{map[string]any{"role": "assistant", "content": l.Correction}}}
	}
	return e
}

func messages(list []review.Message) []any {
	out := []any{}
	for _, m := range list {
		one := map[string]any{"role": m.Role, "content": m.Content.Head}
		var calls []any
		for _, c := range m.ToolCalls {
			calls = append(calls, map[string]any{"function": map[string]any{"name": c.Name, "arguments": c.Arguments.Head}})
		}
		if calls != nil {
			one["tool_calls"] = calls
		}
		out = append(out, one)
	}
	return out
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func number(f *float64) any {
	if f == nil {
		return nil
	}
	return *f
}

func list(s []string) []any {
	out := []any{}
	for _, v := range s {
		out = append(out, v)
	}
	return out
}

func counts(m map[string]int) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// assign gives each span its split. Examples keep theirs for ever: a judge that
// learned from one must never be measured on it. New ones are dealt out label by
// label, in an order that hangs on the span id alone, to the split that lacks
// most.
func assign(items []Labelled, old map[string]kept, seed uint64) map[string]string {
	out := map[string]string{}
	have := map[string]map[string]int{} // by label and split
	add := func(label, split string) {
		if have[label] == nil {
			have[label] = map[string]int{}
		}
		have[label][split]++
	}
	fresh := map[string][]string{} // by label
	for _, l := range items {
		if e, ok := old[l.SpanID]; ok {
			if e.split != "" {
				out[l.SpanID] = e.split
				add(l.Label, e.split)
				continue
			}
		}
		fresh[l.Label] = append(fresh[l.Label], l.SpanID)
	}
	for label, ids := range fresh {
		slices.SortFunc(ids, func(a, b string) int {
			return cmp.Or(cmp.Compare(place(a, seed), place(b, seed)), strings.Compare(a, b))
		})
		total := 0
		for _, n := range have[label] {
			total += n
		}
		for _, id := range ids {
			total++
			best, lack := "", -1e9
			for _, s := range splitShares {
				if d := s.share*float64(total) - float64(have[label][s.name]); d > lack+1e-9 {
					best, lack = s.name, d
				}
			}
			out[id] = best
			add(label, best)
		}
	}
	return out
}

// place is a span's place among others, by its id and a seed.
func place(id string, seed uint64) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", seed, id))
	return binary.BigEndian.Uint64(sum[:])
}

// FromExamples reads a dataset's examples back as labelled spans, in whichever
// shape they were made.
//
// Invalid: they are corrections. Their answers are people's, and the labels are of
// what the application had answered.
func FromExamples(examples []phoenix.Example) ([]Labelled, error) {
	var out []Labelled
	text := func(m map[string]any, key string) string { s, _ := m[key].(string); return s }
	for _, e := range examples {
		if made, _ := e.Metadata[shapeKey].(map[string]any); made["shape"] == "corrections" {
			return nil, &review.Error{Kind: review.Invalid, Text: "the dataset was made with --corrections: its answers are what people would have said, and their labels are of other answers; a judge learns from and is measured on a dataset of labels (spanbot dataset without --corrections)"}
		}
		l := Labelled{SpanID: e.ID, TraceID: text(e.Metadata, "trace_id"), Label: text(e.Metadata, "label"), Explanation: text(e.Metadata, "explanation"),
			Correction: text(e.Metadata, "correction"), How: How(text(e.Metadata, "how")), Question: Question(e.Input), Answer: text(e.Output, "answer")}
		if l.Answer == "" {
			l.Answer = outputText(e.Output)
		}
		if s, ok := e.Metadata["score"].(float64); ok {
			l.Score = &s
		}
		if votes, ok := e.Metadata["votes"].(map[string]any); ok {
			l.Votes = map[string]int{}
			for label, n := range votes {
				f, _ := n.(float64)
				l.Votes[label] = int(f)
			}
		}
		if h := text(e.Metadata, "rubric_hash"); h != "" {
			l.Rubrics = strings.Fields(h)
		}
		l.Opinions = opinions(e)
		out = append(out, l)
	}
	return out, nil
}

// opinions reads back what people said of an example's span.
func opinions(e phoenix.Example) (out []phoenix.SpanAnnotation) {
	all, _ := e.Metadata["annotations"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		said, _ := all[name].([]any)
		for _, one := range said {
			m, _ := one.(map[string]any)
			text := func(key string) string { s, _ := m[key].(string); return s }
			a := phoenix.SpanAnnotation{SpanID: e.ID, Name: name, Kind: text("annotator_kind"), Identifier: text("identifier"),
				Answer: review.Answer{Label: text("label"), Explanation: text("explanation")}}
			if f, ok := m["score"].(float64); ok {
				a.Score = &f
			}
			out = append(out, a)
		}
	}
	return out
}

// Question finds the question in an example's input: ours, the tutorial's request
// in JSON, or a table with a column "Questions"; else the input as JSON.
func Question(input map[string]any) string {
	for _, key := range []string{"question", "Questions", "Question", "input"} {
		if s, ok := input[key].(string); ok {
			return s
		}
	}
	if raw, ok := input["attributes.input.value"].(string); ok {
		var body struct {
			Messages []struct {
				Role    string `json:"role"`
				Content any    `json:"content"`
			} `json:"messages"`
		}
		if json.Unmarshal([]byte(raw), &body) == nil {
			for _, m := range slices.Backward(body.Messages) {
				if s, ok := m.Content.(string); ok && m.Role == "user" {
					return s
				}
			}
		}
		return raw
	}
	b, err := json.Marshal(input)
	if err != nil || len(input) == 0 {
		return ""
	}
	return string(b)
}

func outputText(output map[string]any) string {
	if list, ok := output["attributes.llm.output_messages"].([]any); ok {
		for _, m := range slices.Backward(list) {
			if m, ok := m.(map[string]any); ok {
				if s, ok := m["message.content"].(string); ok {
					return s
				}
			}
		}
	}
	return ""
}
