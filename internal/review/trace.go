package review

import (
	"cmp"
	"slices"
)

// Trace is the spans of one trace, as far as they were read.
type Trace struct {
	ID    string
	Spans []Span
	// Partial says that Phoenix holds more spans than were read.
	Partial bool
}

// Find returns the span of that id.
func (t Trace) Find(spanID string) (Span, bool) {
	for _, s := range t.Spans {
		if s.ID == spanID {
			return s, true
		}
	}
	return Span{}, false
}

// Node is a span at its place in the tree of its trace.
type Node struct {
	Span  Span
	Depth int // 0 for a root, and for an orphan whose parent is not in the trace
}

// Tree lists the spans depth first, siblings by start time. A span whose
// parent was never exported stands at the top level; a loop of parents, which
// only broken instrumentation makes, is cut where it would repeat.
func (t Trace) Tree() []Node {
	known := make(map[string]bool, len(t.Spans))
	for _, s := range t.Spans {
		known[s.ID] = true
	}
	children := make(map[string][]Span)
	for _, s := range t.Spans {
		p := s.ParentID
		if !known[p] || p == s.ID {
			p = ""
		}
		children[p] = append(children[p], s)
	}
	for _, c := range children {
		slices.SortFunc(c, func(a, b Span) int {
			return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID))
		})
	}
	out := make([]Node, 0, len(t.Spans))
	seen := make(map[string]bool, len(t.Spans))
	var walk func(parent string, depth int)
	walk = func(parent string, depth int) {
		for _, s := range children[parent] {
			if seen[s.ID] {
				continue
			}
			seen[s.ID] = true
			out = append(out, Node{s, depth})
			walk(s.ID, depth+1)
		}
	}
	walk("", 0)
	for _, s := range t.Spans { // what hangs on a loop has no way down from the top
		if !seen[s.ID] {
			seen[s.ID] = true
			out = append(out, Node{s, 0})
			walk(s.ID, 1)
		}
	}
	return out
}

// Fill gives a span what it lacks itself and its subtree has: model, tokens,
// documents, tool calls. A root span of a chain usually has only input and
// output; what a reviewer wants to know stands in its children.
func (t Trace) Fill(s Span) Span {
	tree := t.Tree()
	at := slices.IndexFunc(tree, func(n Node) bool { return n.Span.ID == s.ID })
	if at < 0 {
		return s
	}
	tokens := 0
	noCalls := len(s.ToolCalls) == 0
	noDocs := len(s.Documents) == 0
	for _, n := range tree[at+1:] {
		if n.Depth <= tree[at].Depth {
			break
		}
		d := n.Span
		if s.Model == "" {
			s.Model = d.Model
		}
		// Only LLM spans count: wrappers around them repeat their sums.
		if d.Kind == "LLM" || d.Kind == "EMBEDDING" {
			tokens += d.Tokens
		}
		if noDocs && len(d.Documents) > 0 && (d.Kind == "RETRIEVER" || d.Kind == "RERANKER") {
			// A reranker after a retriever holds the same documents, in the order that counted.
			s.Documents = d.Documents
		}
		if noCalls {
			if d.Kind == "TOOL" {
				call := ToolCall{Name: d.Name, Arguments: d.Input}
				if len(d.ToolCalls) > 0 {
					call = d.ToolCalls[0]
				}
				s.ToolCalls = append(s.ToolCalls, call)
			}
		}
	}
	if s.Tokens == 0 {
		s.Tokens = tokens
	}
	return s
}
