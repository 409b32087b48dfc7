package phoenixd

import (
	"slices"
	"strconv"
	"strings"
)

// Attributes come flat ("llm.model_name") or nested, are kept nested, and are
// listed flat. A number among the parts of a key is a position in a list, but
// only where something stands below it: "m.0.role" is the first of m, "m.0" a
// field called 0. Positions are counted anew, so that gaps close.

// node is one part of the keys.
type node struct {
	value  any // nil: none; a value keeps what stands below it out
	list   map[int]*node
	fields map[string]*node
	order  []string
}

func newNode() *node { return &node{list: map[int]*node{}, fields: map[string]*node{}} }

func (n *node) field(name string) *node {
	if n.fields[name] == nil {
		n.fields[name] = newNode()
		n.order = append(n.order, name)
		if i, err := strconv.Atoi(name); err == nil && n.list[i] != nil {
			n.fields[name] = n.list[i]
			delete(n.list, i)
		}
	}
	return n.fields[name]
}

func (n *node) position(i int) *node {
	name := strconv.Itoa(i)
	if n.value != nil || n.fields[name] != nil {
		return n.field(name)
	}
	if n.list[i] == nil {
		n.list[i] = newNode()
	}
	return n.list[i]
}

// set gives the node a value. What was a list below it becomes fields.
func (n *node) set(v any) {
	n.value = v
	for _, i := range slices.Sorted(mapKeys(n.list)) {
		n.field(strconv.Itoa(i))
	}
}

func mapKeys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// nest makes nested attributes of those in m.
func nest(m map[string]any) map[string]any {
	root := newNode()
	for _, key := range slices.Sorted(mapKeys(m)) {
		if m[key] == nil {
			continue
		}
		n := root
		for rest, more := key, true; more; {
			var part string
			part, rest, _ = strings.Cut(rest, ".")
			more = rest != ""
			part = strings.TrimSpace(part)
			i, err := strconv.Atoi(part)
			switch digits := err == nil && strings.Trim(part, "0123456789") == ""; {
			case digits && more:
				n = n.position(i)
			case digits:
				n = n.field(strconv.Itoa(i))
			default:
				n = n.field(part)
			}
		}
		n.set(m[key])
	}
	out := map[string]any{}
	root.walk("", out)
	return out
}

// walk puts the node, and what stands beside its value, into out.
func (n *node) walk(prefix string, out map[string]any) {
	switch {
	case n.value != nil:
		out[prefix] = n.value
	case prefix != "" && len(n.list) > 0:
		var items []any
		for _, i := range slices.Sorted(mapKeys(n.list)) {
			items = append(items, n.list[i].inner())
		}
		out[prefix] = items
	case prefix != "":
		out[prefix] = n.inner()
		return
	default:
		for i, below := range n.list {
			below.walk(strconv.Itoa(i), out)
		}
	}
	for _, name := range n.order {
		key := name
		if prefix != "" {
			key = prefix + "." + name
		}
		n.fields[name].walk(key, out)
	}
}

// inner is what stands below the node.
func (n *node) inner() map[string]any {
	out := map[string]any{}
	n.walk("", out)
	return out
}

// flatten lists nested attributes under dotted keys. Lists of plain values stay
// as they are; null and empty objects vanish.
func flatten(m map[string]any) map[string]any {
	out := map[string]any{}
	flattenInto(out, "", m)
	return out
}

func flattenInto(out map[string]any, prefix string, m map[string]any) {
	for k, v := range m {
		if prefix != "" {
			k = prefix + "." + k
		}
		switch v := v.(type) {
		case nil:
		case map[string]any:
			flattenInto(out, k, v)
		case []any:
			objects := false
			for i, e := range v {
				if o, ok := e.(map[string]any); ok {
					objects = true
					flattenInto(out, k+"."+strconv.Itoa(i), o)
				}
			}
			if !objects {
				out[k] = v
			}
		default:
			out[k] = v
		}
	}
}

// at is the nested attribute under a dotted key; lists are not entered.
func at(m map[string]any, key string) any {
	parts := strings.Split(key, ".")
	for _, part := range parts[:len(parts)-1] {
		below, ok := m[part].(map[string]any)
		if !ok {
			return nil
		}
		m = below
	}
	return m[parts[len(parts)-1]]
}
