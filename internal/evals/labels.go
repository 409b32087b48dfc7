package evals

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
)

// How says how a label came about.
type How string

// From the strongest to none.
const (
	Adjudicated How = "adjudicated" // somebody decided between people, or between them and a judge
	Unanimous   How = "unanimous"   // all who labelled it say the same; one person is enough
	Majority    How = "majority"    // at least two, and more than any other label has
	Disputed    How = "disputed"    // no label
)

// Labelled is a span with what people made of it.
type Labelled struct {
	SpanID, TraceID string
	Question        string
	Answer          string
	Label           string
	Score           *float64
	Explanation     string // of one who gave this label
	Correction      string // what it should have said
	Corrector       string // identifier of who said so
	How             How
	Votes           map[string]int // without adjudications
	Annotators      []string       // identifiers
	Rubrics         []string       // hashes of the rubric as it was shown; "" for labels made elsewhere
	Span            review.Span
	Opinions        []phoenix.SpanAnnotation // HUMAN annotations of the criterion

	whole bool // Span has its texts
}

// Level of what people judged.
const (
	levelSpan  = ""      // the span itself: not said, for it is the rule
	levelTrace = "trace" // the whole trace, whose label its root span bears
	levelBoth  = "span and trace"
)

// level says of what the opinions are.
func (l Labelled) level() string {
	of := 0
	for _, o := range l.Opinions {
		if o.TraceID != "" {
			of++
		}
	}
	switch of {
	case 0:
		return levelSpan
	case len(l.Opinions):
		return levelTrace
	}
	return levelBoth
}

// sides sets question and answer from the span. The answer of a text that is not
// whole stays empty: see dataset.
func (l *Labelled) sides() {
	var cut bool
	if l.Question, l.Answer, cut = sides(l.Span); cut {
		l.Answer = ""
	}
}

// SimulatedPrefix begins the identifiers of reviewers that are no people: spanbot
// loop's.
const SimulatedPrefix = "simulated:"

// Simulated reports that no person said anything of the span.
func (l Labelled) Simulated() bool {
	return len(l.Opinions) > 0 && !slices.ContainsFunc(l.Opinions, func(o phoenix.SpanAnnotation) bool { return !strings.HasPrefix(o.Identifier, SimulatedPrefix) })
}

// Simulated counts the items of which no person said anything.
func Simulated(items []Labelled) int {
	n := 0
	for _, l := range items {
		if l.Simulated() {
			n++
		}
	}
	return n
}

// Agreement is the share of voters who gave the winning label; 0 without votes.
func (l Labelled) Agreement() float64 {
	total := 0
	for _, n := range l.Votes {
		total += n
	}
	if total == 0 {
		return 0
	}
	return float64(l.Votes[l.Label]) / float64(total)
}

// Resolve makes one label of what people said of a span: an adjudication counts
// before all votes, and those that contradict each other leave it disputed; else
// the label that all share, else the one that at least two gave and no other
// equals. Where a person said something, simulated reviewers do not count. ok is
// false when nobody gave a label (a score or words alone are none).
func Resolve(opinions []phoenix.SpanAnnotation) (l Labelled, ok bool) {
	l.Votes = map[string]int{}
	var decided []phoenix.SpanAnnotation
	seen := map[string]bool{}
	valid := slices.DeleteFunc(slices.Clone(opinions), func(o phoenix.SpanAnnotation) bool { return o.Kind != "HUMAN" || o.Retracted() })
	if !(Labelled{Opinions: valid}).Simulated() {
		valid = slices.DeleteFunc(valid, func(o phoenix.SpanAnnotation) bool { return strings.HasPrefix(o.Identifier, SimulatedPrefix) })
	}
	for _, o := range valid {
		l.Opinions = append(l.Opinions, o)
		if c, _ := o.Metadata["correction"].(string); c != "" && l.Correction == "" {
			l.Correction, l.Corrector = c, o.Identifier
		}
		if strings.HasPrefix(o.Identifier, review.AdjudicatedPrefix) {
			if outcome, _ := o.Metadata["outcome"].(string); o.Label != "" || outcome != "" { // words alone decide nothing
				decided = append(decided, o)
				// It decides about one version of the rubric, as a vote does.
				if hash, _ := o.Metadata["decided_rubric"].(string); hash != "" && !seen[hash] {
					seen[hash] = true
					l.Rubrics = append(l.Rubrics, hash)
				}
			}
			continue
		}
		if hash, _ := o.Metadata["rubric"].(string); !seen[hash] && o.Label != "" {
			seen[hash] = true
			l.Rubrics = append(l.Rubrics, hash)
		}
		if o.Label == "" {
			continue
		}
		l.Votes[o.Label]++
		l.Annotators = append(l.Annotators, o.Identifier)
	}
	slices.Sort(l.Rubrics)
	slices.Sort(l.Annotators)
	if len(decided) > 0 {
		judge := decided[0]
		// Ambiguous, or the rubric is unclear, or two decided differently: nothing to
		// learn from.
		if slices.ContainsFunc(decided, func(o phoenix.SpanAnnotation) bool { return o.Label == "" || o.Label != judge.Label }) {
			l.How = Disputed
			return l, true
		}
		l.How, l.Label, l.Explanation, l.Score = Adjudicated, judge.Label, strings.TrimSpace(judge.Explanation), judge.Score
	} else {
		labels := slices.SortedFunc(maps.Keys(l.Votes), func(a, b string) int {
			if n := l.Votes[b] - l.Votes[a]; n != 0 {
				return n
			}
			return strings.Compare(a, b)
		})
		switch {
		case len(labels) == 0:
			return l, false
		case len(labels) == 1:
			l.How, l.Label = Unanimous, labels[0]
		case l.Votes[labels[0]] >= 2 && l.Votes[labels[0]] > l.Votes[labels[1]]:
			l.How, l.Label = Majority, labels[0]
		default:
			l.How = Disputed
		}
	}
	for _, o := range l.Opinions {
		if o.Label != l.Label || l.Label == "" {
			continue
		}
		if l.Score == nil {
			l.Score = o.Score
		}
		if l.Explanation == "" {
			l.Explanation = strings.TrimSpace(o.Explanation)
		}
	}
	return l, true
}

// question and answer of a span, as a judge reads them: the last user message and
// the model's answer, else input and output.
func sides(s review.Span) (question, answer string, cut bool) {
	in, out := s.Input, s.Output
	if q := s.Question(); q != nil {
		in = q.Content
	}
	if a := s.Answer(); a != nil {
		out = a.Content
		if out.Empty() {
			var calls []string
			for _, c := range a.ToolCalls {
				calls = append(calls, c.Name+"("+c.Arguments.Head+")")
			}
			out = review.Text{Head: strings.Join(calls, "\n")}
		}
	}
	return strings.TrimSpace(in.Head), strings.TrimSpace(out.Head), in.More+out.More > 0
}

// wholeText is how much of each text of a span is read: a span with more of it
// is left out, and counted.
const wholeText = 500_000

// Progress is told how far something is; total is 0 where it is not known.
type Progress func(done, total int)

func (p Progress) say(done, total int) {
	if p != nil {
		p(done, total)
	}
}

// Collection is what was found in a project.
type Collection struct {
	Spans     int // looked at
	Annotated int // with a HUMAN annotation under the name, of the span or, for a root, of its trace
	Simulated int // of those annotated: by simulated reviewers alone
	Items     []Labelled
	Other     []phoenix.SpanAnnotation // all annotations of the spans in Items under further names

	project string // its id
}

// Collect looks at all spans of a project, oldest start first in the result, and
// keeps those that people annotated under that name; with further names, their
// annotations, too. Whatever was annotated where counts: in Slack or on Phoenix's
// page. What people said of a whole trace counts for its root span.
func Collect(ctx context.Context, px *phoenix.Client, project, name string, further []string, say Progress) (Collection, error) {
	c, err := CollectLabels(ctx, px, project, name, further, say)
	if err != nil {
		return c, err
	}
	if err := c.read(ctx, px, c.Items, say); err != nil {
		return c, err
	}
	before := len(c.Items)
	c.Items = slices.DeleteFunc(c.Items, func(l Labelled) bool { return !l.whole }) // deleted meanwhile
	c.Annotated -= before - len(c.Items)
	return c, nil
}

// CollectLabels is Collect without the texts of spans: of each, its ids and start
// alone. It asks Phoenix which spans were annotated, and reads their annotations;
// where Phoenix cannot tell, it looks at every span, and the texts are there.
func CollectLabels(ctx context.Context, px *phoenix.Client, project, name string, further []string, say Progress) (Collection, error) {
	g := gathering{px: px, project: project, name: name, further: further,
		spans: map[string]review.Span{}, by: map[string][]phoenix.SpanAnnotation{}, others: map[string][]phoenix.SpanAnnotation{},
		root: map[string]review.Span{}, ofTrace: map[string][]phoenix.SpanAnnotation{}}
	var err error
	found, no := px.Spoken(ctx, project, name)
	g.whole = no != nil
	switch {
	case ctx.Err() != nil:
		return Collection{}, no
	case g.whole:
		err = g.walk(ctx, say)
	default:
		g.looked = found.Spans
		err = g.all(ctx, found, say)
	}
	if err != nil {
		return Collection{Spans: g.looked}, err
	}
	return g.collection(), nil
}

// gathering is a collection in the making.
type gathering struct {
	px      *phoenix.Client
	project string
	name    string
	further []string
	whole   bool // spans come with their texts

	looked  int
	spans   map[string]review.Span              // that people annotated
	by      map[string][]phoenix.SpanAnnotation // what they said, by span
	others  map[string][]phoenix.SpanAnnotation // by span
	root    map[string]review.Span              // of traces that people annotated: the first, if there are several
	ofTrace map[string][]phoenix.SpanAnnotation // what they said, by trace
}

// all reads what was said of the spans and traces that Phoenix named.
func (g *gathering) all(ctx context.Context, found phoenix.Spoken, say Progress) error {
	seen := map[string]bool{}
	spans := slices.DeleteFunc(slices.Concat(found.OnSpan, found.OnTrace), func(s review.Span) bool {
		twice := seen[s.ID]
		seen[s.ID] = true
		return twice
	})
	done := 0
	for part := range slices.Chunk(spans, annotationsAtOnce) {
		if err := g.ofSpans(ctx, part); err != nil {
			return err
		}
		done += len(part)
		say.say(done, len(spans))
	}
	return g.ofRoots(ctx, found.OnTrace)
}

// annotationsAtOnce is for how many spans progress is told.
const annotationsAtOnce = 1400

// walk looks at every span.
func (g *gathering) walk(ctx context.Context, say Progress) error {
	q := phoenix.Query{Project: g.project, Filter: review.Filter{AllSpans: true}, Text: wholeText, Page: 100}
	var page []review.Span
	flush := func() error {
		if err := g.ofSpans(ctx, page); err != nil {
			return err
		}
		roots := slices.DeleteFunc(slices.Clone(page), func(s review.Span) bool { return !s.Root() })
		if err := g.ofRoots(ctx, roots); err != nil {
			return err
		}
		g.looked += len(page)
		page = page[:0]
		say.say(g.looked, 0)
		return nil
	}
	for row, err := range g.px.Newest(ctx, q, 0) {
		if err != nil {
			return err
		}
		page = append(page, row.Span)
		if len(page) == 100 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// ofSpans reads the annotations of spans.
func (g *gathering) ofSpans(ctx context.Context, spans []review.Span) error {
	ask := g.name
	if len(g.further) > 0 {
		ask = ""
	}
	ids := make([]string, len(spans))
	for i, s := range spans {
		ids[i] = s.ID
	}
	found, err := g.px.SpanAnnotations(ctx, g.project, ask, ids)
	if err != nil {
		return err
	}
	for _, a := range found {
		switch {
		case a.Name == g.name && a.Kind == "HUMAN":
			g.by[a.SpanID] = append(g.by[a.SpanID], a)
		case slices.Contains(g.further, a.Name):
			g.others[a.SpanID] = append(g.others[a.SpanID], a)
		}
	}
	for _, s := range spans {
		if len(g.by[s.ID]) > 0 {
			g.spans[s.ID] = s
		}
	}
	return nil
}

// ofRoots reads the annotations of the traces of root spans.
func (g *gathering) ofRoots(ctx context.Context, roots []review.Span) error {
	var traces []string
	asked := map[string]bool{}
	for _, s := range roots {
		if s.TraceID != "" && !asked[s.TraceID] {
			asked[s.TraceID] = true
			traces = append(traces, s.TraceID)
		}
	}
	found, err := g.px.TraceAnnotations(ctx, g.project, g.name, traces)
	if err != nil {
		return err
	}
	said := map[string][]phoenix.SpanAnnotation{}
	for _, a := range found {
		if a.Kind == "HUMAN" {
			said[a.TraceID] = append(said[a.TraceID], a)
		}
	}
	maps.Copy(g.ofTrace, said)
	for _, s := range roots {
		if len(said[s.TraceID]) == 0 {
			continue
		}
		first, known := g.root[s.TraceID]
		if !known || s.Start.Before(first.Start) || s.Start.Equal(first.Start) && s.ID < first.ID {
			g.root[s.TraceID] = s
		}
	}
	return nil
}

// collection makes a label of what was said of each span. A reviewer's word on the
// root span counts before their word on its trace.
func (g *gathering) collection() Collection {
	c := Collection{Spans: g.looked, project: g.project}
	for trace, list := range g.ofTrace {
		s := g.root[trace]
		g.spans[s.ID] = s
		own := map[string]bool{}
		for _, a := range g.by[s.ID] {
			own[a.Identifier] = own[a.Identifier] || !a.Retracted()
		}
		for _, a := range list {
			if !own[a.Identifier] {
				a.SpanID = s.ID
				g.by[s.ID] = append(g.by[s.ID], a)
			}
		}
	}
	for id, s := range g.spans {
		l, ok := Resolve(g.by[id])
		if len(l.Opinions) == 0 {
			continue // all of it was taken back
		}
		c.Annotated++
		if !ok {
			l.How = ""
		}
		l.SpanID, l.TraceID, l.Span, l.whole = id, s.TraceID, s, g.whole
		if l.whole {
			l.sides()
		}
		c.Items = append(c.Items, l)
	}
	c.Simulated = Simulated(c.Items)
	slices.SortFunc(c.Items, func(a, b Labelled) int {
		if n := a.Span.Start.Compare(b.Span.Start); n != 0 {
			return n
		}
		return strings.Compare(a.SpanID, b.SpanID)
	})
	for _, l := range c.Items {
		c.Other = append(c.Other, g.others[l.SpanID]...)
	}
	return c
}

// texts gives items with their texts, uploadAtOnce at a time, and lets go of them. An
// item whose span is gone comes without. Most of a project is read page by page, in
// the order of ingestion, at 1.3 ms a span; by its id a span takes 2.2.
func (c *Collection) texts(ctx context.Context, px *phoenix.Client, items []Labelled) iter.Seq2[[]Labelled, error] {
	return func(yield func([]Labelled, error) bool) {
		items := items
		if len(items) > c.Spans/2 && !items[0].whole && px.Ascends() {
			want := make(map[string]int, len(items))
			for i, l := range items {
				want[l.SpanID] = i
			}
			var part []Labelled
			for row, err := range px.Forward(ctx, phoenix.Query{Project: c.project, Filter: review.Filter{AllSpans: true}, Text: wholeText, Page: 200}, 0) {
				if err != nil {
					yield(nil, err)
					return
				}
				i, wanted := want[row.ID]
				if !wanted {
					continue
				}
				delete(want, row.ID)
				l := items[i]
				l.Span, l.whole = row.Span, true
				l.sides()
				if part = append(part, l); len(part) == uploadAtOnce {
					if !yield(part, nil) {
						return
					}
					part = nil
				}
				if len(want) == 0 {
					break
				}
			}
			if len(part) > 0 && !yield(part, nil) {
				return
			}
			items = slices.DeleteFunc(slices.Clone(items), func(l Labelled) bool { _, left := want[l.SpanID]; return !left })
		}
		for part := range slices.Chunk(items, uploadAtOnce) {
			part = slices.Clone(part) // their texts go with them
			err := c.read(ctx, px, part, nil)
			if !yield(part, err) || err != nil {
				return
			}
		}
	}
}

// read reads the texts of those items that lack them. An item whose span is gone
// stays without.
func (c *Collection) read(ctx context.Context, px *phoenix.Client, items []Labelled, say Progress) error {
	var ids []string
	at := map[string]int{}
	for i, l := range items {
		if !l.whole {
			ids = append(ids, l.SpanID)
			at[l.SpanID] = i
		}
	}
	done := 0
	for part := range slices.Chunk(ids, 100) {
		spans, err := px.SpansByID(ctx, c.project, part, wholeText)
		if err != nil {
			return err
		}
		for _, s := range spans {
			l := &items[at[s.ID]]
			l.Span, l.whole = s, true
			l.sides()
		}
		done += len(part)
		say.say(done, len(ids))
	}
	return nil
}

// Mixed refuses labels that were given under different versions of a rubric.
// Labels without a version, made on Phoenix's page, go with any. instead is what the
// reader can do.
func Mixed(items []Labelled, instead string) error {
	count := map[string]int{}
	for _, l := range items {
		for _, hash := range l.Rubrics {
			if hash != "" {
				count[hash]++
			}
		}
	}
	if len(count) < 2 {
		return nil
	}
	var parts []string
	for _, hash := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", hash, count[hash]))
	}
	return &review.Error{Kind: review.Invalid, Text: "the rubric was changed midway: spans were labelled under the versions " + strings.Join(parts, ", ") +
		". Labels of different questions do not mix; " + instead}
}
