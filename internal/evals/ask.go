package evals

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/stats"
)

// Adjudicate makes a case of each span about which people and the judge differ.
// What somebody decided before is not asked again, and a verdict that could not be
// read is no disagreement.
func Adjudicate(j *Judge, rubric review.Rubric, al Alignment, items []Labelled) []review.Case {
	by := map[string]Labelled{}
	for _, l := range items {
		by[l.SpanID] = l
	}
	judge := "The judge says “%s”"
	if !j.Trusted() {
		judge += " (unvalidated)"
	}
	var out []review.Case
	for _, d := range al.Disagreements() {
		l, ok := by[d.ID]
		if !ok || d.Judge == "" || l.How == Adjudicated || l.TraceID == "" {
			continue
		}
		human, said := fold(d.Human, j.Names()), fold(d.Judge, j.Names())
		out = append(out, review.Case{TraceID: l.TraceID, SpanID: l.SpanID, Rubric: review.Adjudication(rubric, human, said, j.Identifier()),
			Exhibits: []review.Exhibit{
				{Title: "People say " + votesText(l), Text: review.Text{Head: cmp.Or(reasons(l), "(nobody said why)")}},
				{Title: fmt.Sprintf(judge, said), Text: review.Text{Head: cmp.Or(strings.TrimSpace(d.Explanation), "(it gave no reason)")}},
			}})
	}
	return out
}

// votesText is "2 × correct, 1 × incorrect".
func votesText(l Labelled) string {
	labels := slices.SortedFunc(maps.Keys(l.Votes), func(a, b string) int {
		return cmp.Or(l.Votes[b]-l.Votes[a], strings.Compare(a, b))
	})
	var parts []string
	for _, name := range labels {
		parts = append(parts, fmt.Sprintf("%d × “%s”", l.Votes[name], name))
	}
	return cmp.Or(strings.Join(parts, ", "), "“"+l.Label+"”")
}

// reasons are what people gave as theirs, without their names, and in an order that
// tells nothing of who spoke first.
func reasons(l Labelled) string {
	var out []string
	for _, o := range l.Opinions {
		if text := strings.TrimSpace(o.Explanation); text != "" && !review.OfStudy(o.Identifier) {
			out = append(out, "“"+cmp.Or(o.Label, "comment")+"”: "+text)
		}
	}
	if len(out) == 0 && strings.TrimSpace(l.Explanation) != "" {
		out = append(out, "“"+l.Label+"”: "+strings.TrimSpace(l.Explanation))
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), "\n")
}

// Pair names two experiments in six characters of 0-9 and a-f, for the name of
// their side by side.
func (c Comparison) Pair() string {
	sum := sha256.Sum256([]byte(c.Before.ID + " " + c.After.ID))
	return hex.EncodeToString(sum[:3])
}

// sides are the names under which the two are preferred. They differ, and none is
// an answer of its own.
func (c Comparison) sides() (before, after string) {
	name := func(s Side) string {
		if s.Name == "" || c.Before.Name == c.After.Name || s.Name == "equal" || s.Name == "both bad" {
			return strings.TrimSpace(s.Name + " (" + s.ID + ")")
		}
		return s.Name
	}
	return name(c.Before), name(c.After)
}

// Left says which pairs are not put side by side, and why.
type Left struct {
	Same   int `json:"same_answer"`
	NoSpan int `json:"no_span"` // made from no span, so there is nothing to annotate
	More   int `json:"more"`    // beyond how many were wanted: whoever asks counts them
}

// String is the same in words; "" for none.
func (l Left) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		text string
	}{{l.Same, "with the same answer twice"}, {l.NoSpan, "made from no span of the same project, so that there is nothing to annotate"}, {l.More, "beyond --cards-most"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.text))
		}
	}
	return strings.Join(parts, ", ")
}

// SideBySide makes a case of each pair of answers to one example, in an order drawn
// by a hash and so without regard to who did better. Which answer
// stands first is drawn for each example, by the same hash: asked again, a card
// means what it meant. The spans are those that the examples were made from.
//
// Phoenix: GET /v1/datasets/{id}/examples.
func SideBySide(ctx context.Context, px *phoenix.Client, c Comparison, prefix string) ([]review.Case, string, Left, error) {
	var left Left
	examples, err := c.examples(ctx, px)
	if err != nil {
		return nil, "", left, err
	}
	before, after := c.sides()
	of := c.Before.ID + " " + c.After.ID
	var out []review.Case
	project := ""
	all := slices.Clone(c.All)
	slices.SortFunc(all, func(a, b Change) int {
		return cmp.Or(cmp.Compare(place(of+a.ExampleID, 0), place(of+b.ExampleID, 0)), strings.Compare(a.ExampleID, b.ExampleID))
	})
	seen := map[string]bool{} // of repetitions the first
	for _, p := range all {
		e := examples[p.ExampleID]
		switch {
		case seen[p.ExampleID]:
			continue
		case p.Before == p.After:
			left.Same++
			continue
		case e.trace == "" || project != "" && e.project != project:
			left.NoSpan++
			continue
		}
		seen[p.ExampleID] = true
		project = e.project
		first, second, one, two := before, after, p.Before, p.After
		if c.afterFirst(p.ExampleID) {
			first, second, one, two = second, first, two, one
		}
		out = append(out, review.Case{TraceID: e.trace, SpanID: e.span, Rubric: review.SideBySide(prefix, of, first, second),
			Blind: &review.Text{Head: p.Question},
			Exhibits: []review.Exhibit{{Title: review.PreferA, Text: review.Text{Head: cmp.Or(one, "(no answer)")}},
				{Title: review.PreferB, Text: review.Text{Head: cmp.Or(two, "(no answer)")}}}})
	}
	return out, project, left, nil
}

// source is the span that an example was made from.
type source struct{ span, trace, project string }

// examples are the spans of the compared examples, by node id.
func (c Comparison) examples(ctx context.Context, px *phoenix.Client) (map[string]source, error) {
	list, _, err := px.Examples(ctx, c.DatasetID, c.VersionID, "")
	if err != nil {
		return nil, err
	}
	out := make(map[string]source, len(list))
	for _, e := range list {
		text := func(key string) string { s, _ := e.Metadata[key].(string); return s }
		out[e.NodeID] = source{cmp.Or(text("span_id"), e.Source.SpanID), text("trace_id"), text("project")}
	}
	return out, nil
}

// Preferences are what people said of two experiments' answers, side by side. Of
// an example that several judged counts what most of them said; where none is
// ahead it is equal.
type Preferences struct {
	Examples int `json:"examples"` // that somebody judged
	Votes    int `json:"votes"`
	Before   int `json:"before"` // examples
	After    int `json:"after"`
	Equal    int `json:"equal"`
	BothBad  int `json:"both_bad"`
	// Sign is the exact two-sided sign test over the examples with a preference.
	Sign *float64 `json:"sign_test_p"`
	// Share of the examples with a preference in which it was for after.
	Share stats.Estimate `json:"after_preferred"`
	// Left is the share of examples in which more chose the answer that stood first,
	// among those where one of the two is ahead. Which one stands first is drawn for
	// each example, so it is a half, however good the answers are and however many
	// judge an example, unless reviewers go by the place.
	Left     stats.Estimate `json:"chose_first"`
	Unread   int            `json:"unread,omitempty"` // votes of neither side, equal or both bad
	Warnings []string       `json:"warnings"`
}

// Preferred reads what people preferred: annotations of the examples' spans named
// preference, with identifiers that begin so. Examples is 0 when nobody said
// anything.
func Preferred(ctx context.Context, px *phoenix.Client, c Comparison, prefix string) (Preferences, error) {
	var p Preferences
	examples, err := c.examples(ctx, px)
	if err != nil {
		return p, err
	}
	spans := map[string][]string{} // by project
	for _, e := range examples {
		if e.span != "" && e.project != "" {
			spans[e.project] = append(spans[e.project], e.span)
		}
	}
	byNode := map[string]string{} // node ids, by span
	for node, e := range examples {
		byNode[e.span] = node
	}
	said := map[string]map[string]int{} // span, then what was preferred
	for _, name := range slices.Sorted(maps.Keys(spans)) {
		project, err := px.Project(ctx, name)
		if review.KindOf(err) == review.Gone {
			continue // it was deleted, and what was said in it
		}
		if err != nil {
			return p, err
		}
		slices.Sort(spans[name])
		found, err := px.SpanAnnotations(ctx, project.ID, review.Preference, spans[name])
		if err != nil {
			return p, err
		}
		for _, a := range found {
			if !strings.HasPrefix(a.Identifier, prefix) || a.Kind != "HUMAN" || a.Retracted() || a.Label == "" {
				continue
			}
			if said[a.SpanID] == nil {
				said[a.SpanID] = map[string]int{}
			}
			what, ok := c.choice(a, byNode[a.SpanID])
			if !ok {
				p.Unread++
				continue
			}
			said[a.SpanID][what]++
			p.Votes++
		}
	}
	first, either := 0, 0
	for span, votes := range said {
		if len(votes) == 0 {
			continue
		}
		p.count(votes)
		if b, a := votes[choseBefore], votes[choseAfter]; a != b {
			either++
			if (a > b) == c.afterFirst(byNode[span]) {
				first++
			}
		}
	}
	p.measure(first, either)
	return p, nil
}

// What was chosen of two answers.
const (
	choseBefore = "before"
	choseAfter  = "after"
	choseEqual  = "equal"
	choseNone   = "both bad"
)

// afterFirst reports that the later experiment's answer to an example stands first
// on its card.
func (c Comparison) afterFirst(node string) bool {
	return place(c.Before.ID+" "+c.After.ID+node, 1)&1 == 1
}

// choice is what an annotation prefers. What was tapped counts, A or B, whose
// meaning was drawn for the example; the name that is its label may be another by
// now. Without it the label counts.
func (c Comparison) choice(a phoenix.SpanAnnotation, node string) (string, bool) {
	before, after := c.sides()
	outcome, _ := a.Metadata["outcome"].(string)
	switch {
	case outcome == review.PreferA || outcome == review.PreferB:
		if (outcome == review.PreferA) == c.afterFirst(node) {
			return choseAfter, true
		}
		return choseBefore, true
	case a.Label == before:
		return choseBefore, true
	case a.Label == after:
		return choseAfter, true
	}
	return a.Label, a.Label == choseEqual || a.Label == choseNone
}

// count adds one example: what most said of it; where none is ahead, it is equal.
func (p *Preferences) count(votes map[string]int) {
	p.Examples++
	most, lead := "", 0
	for label, n := range votes {
		switch {
		case n > lead:
			most, lead = label, n
		case n == lead:
			most = ""
		}
	}
	switch most {
	case choseBefore:
		p.Before++
	case choseAfter:
		p.After++
	case choseNone:
		p.BothBad++
	default:
		p.Equal++
	}
}

func (p *Preferences) measure(first, either int) {
	p.Share = stats.Estimate{Undefined: "nobody preferred one of the two"}
	if n := p.Before + p.After; n > 0 {
		sign := stats.SignTest(p.After, p.Before)
		p.Sign, p.Share = &sign, stats.Wilson(p.After, n)
		if n < 6 {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%d examples have a preference: with fewer than 6, even if all go one way, no test can tell it from chance", n))
		}
	}
	p.Left = stats.Estimate{Undefined: "nobody chose one of the two"}
	if either > 0 {
		p.Left = stats.Wilson(first, either)
		if stats.SignTest(first, either-first) < .05 {
			p.Warnings = append(p.Warnings, fmt.Sprintf("the answer that stood first was preferred in %d of %d examples: reviewers go by the place, and the preference is to be read with doubt", first, either))
		}
	}
	if p.Unread > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d votes name none of the two experiments, nor equal, nor both bad, and are not counted", p.Unread))
	}
}
