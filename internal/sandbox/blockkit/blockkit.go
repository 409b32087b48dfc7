// Package blockkit says what Slack would refuse in blocks, modals and App Homes:
// the JSON schema of the official types (gen/ makes it; make schema compares)
// and, coded, the rules that no schema states.
//
// It does not know the limits of a whole message (Characters measures it), of
// its top-level text, or of a call. Lengths are code points. See NOTICE for
// where the schema comes from.
package blockkit

import (
	"bytes"
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

//go:embed blockkit.schema.json
var schemaJSON []byte

// A Problem is one reason why Slack would refuse the payload.
type Problem struct {
	Path string // JSON pointer: "/blocks/0/text/text"
	Text string // "maxLength: got 151, want 150"
}

func (p Problem) String() string { return p.Text + " [json-pointer:" + p.Path + "]" }

// The most blocks that one surface takes.
const (
	MaxMessageBlocks = 50
	MaxViewBlocks    = 100
)

// maxMarkdown is the most characters over all markdown blocks of a payload.
const maxMarkdown = 12000

// maxView is the most bytes of a view.
const maxView = 250 << 10

type surface string

const (
	message surface = "message"
	modal   surface = "modal"
	home    surface = "Home"
)

// forbidden lists the blocks that a surface does not take.
var forbidden = map[surface][]string{
	message: {"alert", "file"},
	modal:   {"markdown", "table", "data_table", "context_actions", "container", "plan", "task_card", "data_visualization", "file", "carousel"},
	home:    {"markdown", "table", "data_table", "context_actions", "container", "plan", "task_card", "data_visualization", "file", "alert"},
}

// ValidateMessage checks the blocks of a message: a JSON list of blocks, or an
// object that has one under "blocks".
func ValidateMessage(b []byte) []Problem {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return []Problem{{"", "is no JSON: " + err.Error()}}
	}
	if o, ok := doc.(map[string]any); ok {
		doc = o["blocks"]
	}
	blocks, ok := doc.([]any)
	if !ok {
		return []Problem{{"/blocks", fmt.Sprintf("is no list of blocks but %T", doc)}}
	}
	return validateBlocks(message, blocks)
}

// ValidateModal checks the view of a modal, as views.open takes it.
func ValidateModal(b []byte) []Problem { return validateView(modal, b) }

// ValidateHome checks the view of an App Home, as views.publish takes it.
func ValidateHome(b []byte) []Problem { return validateView(home, b) }

// ValidateView checks a view by its own type: modal or home.
func ValidateView(b []byte) []Problem {
	var v struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return []Problem{{"/view", "is no JSON object: " + err.Error()}}
	}
	switch v.Type {
	case "modal":
		return ValidateModal(b)
	case "home":
		return ValidateHome(b)
	}
	return []Problem{{"/view/type", fmt.Sprintf("is %q; a view is a modal or a home", v.Type)}}
}

func validateView(on surface, b []byte) []Problem {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	view, ok := doc.(map[string]any)
	if err != nil || !ok {
		return []Problem{{"/view", fmt.Sprintf("is no JSON object: %T %v", doc, err)}}
	}
	var problems []Problem
	if len(b) > maxView {
		problems = append(problems, Problem{"/view", fmt.Sprintf("is %d bytes, Slack takes %d", len(b), maxView)})
	}
	blocks, ok := view["blocks"].([]any)
	if !ok {
		return append(problems, Problem{"/view/blocks", fmt.Sprintf("is no list of blocks but %T", view["blocks"])})
	}
	// The blocks are checked one by one, for errors that can be read; the view
	// is checked with one that is always right in their place.
	frame := map[string]any{}
	for k, v := range view {
		frame[k] = v
	}
	frame["blocks"] = []any{map[string]any{"type": "divider"}}
	s := compiled()
	of := s.modal
	if on == home {
		of = s.home
	}
	problems = append(problems, prefixed("/view", check(of, frame))...)
	if on == modal && view["submit"] == nil && hasInput(blocks) {
		problems = append(problems, Problem{"/view/submit", "is required in a modal with an input block"})
	}
	return append(problems, prefixed("/view", validateBlocks(on, blocks))...)
}

func hasInput(blocks []any) bool {
	for _, b := range blocks {
		if b, ok := b.(map[string]any); ok && b["type"] == "input" {
			return true
		}
	}
	return false
}

func validateBlocks(on surface, blocks []any) []Problem {
	var problems []Problem
	add := func(path, format string, args ...any) {
		problems = append(problems, Problem{path, fmt.Sprintf(format, args...)})
	}
	most := MaxViewBlocks
	if on == message {
		most = MaxMessageBlocks
	}
	if len(blocks) > most {
		add("/blocks", "has %d blocks, a %s takes %d", len(blocks), on, most)
	}
	refused := map[string]bool{}
	for _, t := range forbidden[on] {
		refused[t] = true
	}
	s := compiled()
	seen := map[string]int{}
	tables, markdown := 0, 0
	for i, b := range blocks {
		path := "/blocks/" + strconv.Itoa(i)
		block, ok := b.(map[string]any)
		if !ok {
			add(path, "is no object but %T", b)
			continue
		}
		t, _ := block["type"].(string)
		schema := s.blocks[t]
		switch {
		case schema == nil:
			add(path+"/type", "is %q, which is no block", t)
			continue
		case refused[t]:
			add(path+"/type", "a %s block is not allowed in a %s", t, on)
		}
		problems = append(problems, prefixed(path, check(schema, block))...)
		if id, ok := block["block_id"].(string); ok && id != "" {
			if first, twice := seen[id]; twice {
				add(path+"/block_id", "%q is the block_id of block %d too", id, first)
			} else {
				seen[id] = i
			}
		}
		if t == "table" || t == "data_table" {
			tables++
		}
		if text, ok := block["text"].(string); ok && t == "markdown" {
			markdown += utf8.RuneCountInString(text)
		}
		problems = append(problems, checkElements(path, block)...)
	}
	if tables > 1 {
		add("/blocks", "has %d tables, only one is allowed", tables)
	}
	if markdown > maxMarkdown {
		add("/blocks", "has %d characters of markdown, Slack takes %d in all", markdown, maxMarkdown)
	}
	return problems
}

// checkElements applies the rules on the interactive elements of one block.
func checkElements(path string, block map[string]any) []Problem {
	var problems []Problem
	ids := map[string]bool{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case []any:
			for i, x := range v {
				walk(path+"/"+strconv.Itoa(i), x)
			}
		case map[string]any:
			if id, ok := v["action_id"].(string); ok {
				if ids[id] {
					problems = append(problems, Problem{path + "/action_id", fmt.Sprintf("%q is used twice in the block", id)})
				}
				ids[id] = true
			}
			if initial, ok := v["initial_option"]; ok && !amongOptions(v, initial) {
				problems = append(problems, Problem{path + "/initial_option", "is none of the options"})
			}
			for k, x := range v {
				walk(path+"/"+k, x)
			}
		}
	}
	walk(path, block)
	return problems
}

// amongOptions reports whether want, by its value, is an option of the element.
func amongOptions(element map[string]any, want any) bool {
	w, _ := want.(map[string]any)
	lists := []any{element["options"]}
	if groups, ok := element["option_groups"].([]any); ok {
		for _, g := range groups {
			g, _ := g.(map[string]any)
			lists = append(lists, g["options"])
		}
	}
	known := false
	for _, list := range lists {
		options, _ := list.([]any)
		for _, o := range options {
			known = true
			if o, _ := o.(map[string]any); o["value"] == w["value"] {
				return true
			}
		}
	}
	return !known // the options of an external select are elsewhere
}

// Characters is the text in blocks as Slack counts it towards its limit on a
// whole message (about 13,200): every text, with & < > as their entities.
func Characters(blocks []byte) int {
	var doc any
	if json.Unmarshal(blocks, &doc) != nil {
		return 0
	}
	n := 0
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for k, x := range v {
				text, ok := x.(string)
				switch {
				case ok && k == "text" && v["type"] == "mrkdwn": // it is escaped already
					n += utf8.RuneCountInString(text)
				case ok && k == "text":
					n += utf8.RuneCountInString(escape.Replace(text))
				default:
					walk(x)
				}
			}
		}
	}
	walk(doc)
	return n
}

type schemas struct {
	blocks      map[string]*jsonschema.Schema
	modal, home *jsonschema.Schema
}

// compiled compiles the schema once; it is part of the program, so that a
// failure is a bug.
var compiled = sync.OnceValue(func() schemas {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaJSON))
	if err != nil {
		panic("blockkit: " + err.Error())
	}
	const name = "blockkit.json"
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		panic("blockkit: " + err.Error())
	}
	definition := func(n string) *jsonschema.Schema {
		return c.MustCompile(name + "#/definitions/" + url.PathEscape(n))
	}
	s := schemas{
		blocks: map[string]*jsonschema.Schema{},
		modal:  definition("Strict<ModalView>"),
		home:   definition("Strict<HomeView>"),
	}
	defs := doc.(map[string]any)["definitions"].(map[string]any)
	for _, r := range defs["KnownBlock"].(map[string]any)["anyOf"].([]any) {
		ref := r.(map[string]any)["$ref"].(string)
		n := ref[strings.LastIndex(ref, "/")+1:]
		d := defs[n].(map[string]any)
		if d["properties"] == nil { // a union, as of the two kinds of image block
			d = d["anyOf"].([]any)[0].(map[string]any)
		}
		t := d["properties"].(map[string]any)["type"].(map[string]any)["const"].(string)
		s.blocks[t] = definition(n)
	}
	return s
})

func prefixed(path string, problems []Problem) []Problem {
	for i := range problems {
		problems[i].Path = path + problems[i].Path
	}
	return problems
}

// check validates v and returns what is wrong as few readable problems.
func check(s *jsonschema.Schema, v any) []Problem {
	err := s.Validate(v)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return []Problem{{"", err.Error()}}
	}
	return leaves(invalid)
}

// leaves are the causes at the end of the tree. Of a union only the member that
// the value means to be is followed, the one whose type fits: the others say
// nothing that helps.
func leaves(e *jsonschema.ValidationError) []Problem {
	if len(e.Causes) == 0 {
		return []Problem{{pointer(e.InstanceLocation), e.DetailedOutput().Error.String()}}
	}
	causes := e.Causes
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		var meant []*jsonschema.ValidationError
		for _, c := range causes {
			if !wrongType(c, len(e.InstanceLocation)) {
				meant = append(meant, c)
			}
		}
		if len(meant) == 0 {
			return []Problem{{pointer(e.InstanceLocation), "is of no type that is allowed here"}}
		}
		causes = meant[:1]
	}
	var all []Problem
	for _, c := range causes {
		all = append(all, leaves(c)...)
	}
	return all
}

// wrongType reports whether a member of a union fails because of the "type"
// directly below depth, or because the value is not even an object or string
// of the kind.
func wrongType(e *jsonschema.ValidationError, depth int) bool {
	if len(e.Causes) == 0 {
		at := e.InstanceLocation
		switch e.ErrorKind.(type) {
		case *kind.Const, *kind.Enum:
			return len(at) == depth+1 && at[depth] == "type"
		case *kind.Type:
			return len(at) == depth
		}
		return false
	}
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf: // a union in the union: wrong when every member is
		for _, c := range e.Causes {
			if !wrongType(c, depth) {
				return false
			}
		}
		return true
	}
	for _, c := range e.Causes {
		if wrongType(c, depth) {
			return true
		}
	}
	return false
}

func pointer(at []string) string {
	var b strings.Builder
	for _, p := range at {
		b.WriteString("/")
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(p))
	}
	return b.String()
}
