package evals

import (
	"context"
	"fmt"
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
	How             How
	Votes           map[string]int // without adjudications
	Annotators      []string       // identifiers
	Rubrics         []string       // hashes of the rubric as it was shown; "" for labels made elsewhere
	Span            review.Span
	Opinions        []phoenix.SpanAnnotation // HUMAN annotations of the criterion
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
// before all votes; else the label that all share, else the one that at least two
// gave and no other equals. ok is false when nobody gave a label (a score or words
// alone are none).
func Resolve(opinions []phoenix.SpanAnnotation) (l Labelled, ok bool) {
	l.Votes = map[string]int{}
	var judge *phoenix.SpanAnnotation
	seen := map[string]bool{}
	for _, o := range opinions {
		if o.Kind != "HUMAN" || o.Retracted() {
			continue
		}
		l.Opinions = append(l.Opinions, o)
		if c, _ := o.Metadata["correction"].(string); c != "" && l.Correction == "" {
			l.Correction = c
		}
		if strings.HasPrefix(o.Identifier, review.AdjudicatedPrefix) {
			if judge == nil { // the newest
				judge = &o
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
	if judge != nil {
		if judge.Label == "" { // ambiguous, or the rubric is unclear: nothing to learn from
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
	Annotated int // with a HUMAN annotation under the name
	Items     []Labelled
	Other     []phoenix.SpanAnnotation // all annotations of the spans in Items under further names
}

// Collect looks at all spans of a project, oldest start first in the result, and
// keeps those that people annotated under that name; with further names, their
// annotations, too. Whatever was annotated where counts: in Slack or on Phoenix's
// page.
func Collect(ctx context.Context, px *phoenix.Client, project, name string, further []string, say Progress) (Collection, error) {
	var c Collection
	q := phoenix.Query{Project: project, Filter: review.Filter{AllSpans: true}, Text: wholeText, Page: 100}
	var page []review.Span
	flush := func() error {
		if len(page) == 0 {
			return nil
		}
		ids := make([]string, len(page))
		for i, s := range page {
			ids[i] = s.ID
		}
		ask := name
		if len(further) > 0 {
			ask = ""
		}
		found, err := px.SpanAnnotations(ctx, project, ask, ids)
		if err != nil {
			return err
		}
		by, others := map[string][]phoenix.SpanAnnotation{}, map[string][]phoenix.SpanAnnotation{}
		for _, a := range found {
			switch {
			case a.Name == name && a.Kind == "HUMAN":
				by[a.SpanID] = append(by[a.SpanID], a)
			case slices.Contains(further, a.Name):
				others[a.SpanID] = append(others[a.SpanID], a)
			}
		}
		for _, s := range page {
			c.Spans++
			l, ok := Resolve(by[s.ID])
			if len(l.Opinions) == 0 {
				continue
			}
			c.Annotated++
			if !ok {
				l.How = ""
			}
			l.SpanID, l.TraceID, l.Span = s.ID, s.TraceID, s
			var cut bool
			if l.Question, l.Answer, cut = sides(s); cut {
				l.Answer = "" // it is not whole: see dataset
			}
			c.Items = append(c.Items, l)
			c.Other = append(c.Other, others[s.ID]...)
		}
		page = page[:0]
		say.say(c.Spans, 0)
		return nil
	}
	for row, err := range px.Newest(ctx, q, 0) {
		if err != nil {
			return c, err
		}
		page = append(page, row.Span)
		if len(page) == 100 {
			if err := flush(); err != nil {
				return c, err
			}
		}
	}
	if err := flush(); err != nil {
		return c, err
	}
	slices.SortFunc(c.Items, func(a, b Labelled) int {
		if n := a.Span.Start.Compare(b.Span.Start); n != 0 {
			return n
		}
		return strings.Compare(a.SpanID, b.SpanID)
	})
	return c, nil
}

// Mixed refuses labels that were given under different versions of a rubric.
// Labels without a version, made on Phoenix's page, go with any.
func Mixed(items []Labelled) error {
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
		". Labels of different questions do not mix; name one with --rubric-hash, or take all with --any-rubric"}
}
