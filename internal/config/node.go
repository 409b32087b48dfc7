package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// document is the parsed file. It is read node by node, not into structs: each
// value keeps its place, and one wrong value does not hide the next.
type document struct {
	name  string
	lines []string
	shown map[int]string // lines with their secrets blotted out, by number
}

// maxFile is far more than anybody writes by hand.
const maxFile = 1 << 20

// parse reads the file's one document; nil when it is empty or cannot be read.
func (l *loader) parse(name string, data []byte) *yaml.Node {
	l.doc = document{name: name, lines: strings.Split(string(data), "\n"), shown: map[int]string{}}
	for i, s := range l.doc.lines {
		l.doc.lines[i] = strings.TrimSuffix(s, "\r")
	}
	if len(data) > maxFile {
		l.at(0, 0, "", fmt.Sprintf("%d bytes are too many; at most %d are read", len(data), maxFile))
		return nil
	}
	for i, s := range l.doc.lines { // the parser cannot say where these are
		if at := strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }); at >= 0 {
			r, _ := utf8.DecodeRuneInString(s[at:])
			l.at(i+1, utf8.RuneCountInString(s[:at])+1, "", fmt.Sprintf("control character %U; remove it", r))
			return nil
		}
		if !utf8.ValidString(s) {
			l.at(i+1, 1, "", "not UTF-8; save the file as UTF-8")
			return nil
		}
	}
	var docs []yaml.Node
	if err := yaml.Load(data, &docs, yaml.WithAllDocuments()); err != nil {
		l.syntax(err)
		return nil
	}
	if len(docs) == 0 || len(docs[0].Content) == 0 {
		return nil
	}
	if len(docs) > 1 {
		l.at(docs[1].Line, docs[1].Column, "", `a second document; only one is read, remove the "---"`)
	}
	return docs[0].Content[0]
}

// startsSpecial finds a value that starts with a character that means something
// else in YAML, as in "schedule: @every 30s" and "schedule: */5 * * * *".
var startsSpecial = regexp.MustCompile(`^(\s*(?:-\s+)?[\w.-]+:\s+)([@%*&!|>` + "`" + `][^"']*)$`)

// syntax turns the parser's error, which ends the reading, into a mistake.
func (l *loader) syntax(err error) {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		l.at(0, 0, "", "not YAML: "+strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	line, col, text := le.Mark.Line, le.Mark.Column, le.Message
	if line == 0 {
		line, col = le.ContextMark.Line, le.ContextMark.Column
	}
	src := l.doc.line(line)
	switch {
	case startsSpecial.MatchString(src):
		m := startsSpecial.FindStringSubmatch(src)
		col = utf8.RuneCountInString(m[1]) + 1
		text = fmt.Sprintf("a value that starts with %q needs quotes: %q", m[2][:1], strings.TrimRight(m[2], " "))
	case strings.HasPrefix(strings.TrimLeft(src, " "), "\t"):
		text = "a tab; YAML is indented with spaces"
	case strings.Contains(text, "mapping values are not allowed"):
		text = `a second ": " in one line; put a text with ": " into quotes, or check the indentation`
	case strings.Contains(text, "did not find expected '-' indicator"), strings.Contains(text, "did not find expected key"):
		text = "this line is indented differently from its neighbours"
	case strings.Contains(text, "unexpected end of stream"):
		text = "a quote or bracket is not closed"
		if le.ContextMark.Line > 0 {
			line, col = le.ContextMark.Line, le.ContextMark.Column
		}
	}
	l.at(line, col, "", text)
}

func (d document) line(n int) string {
	if n < 1 || n > len(d.lines) {
		return ""
	}
	return d.lines[n-1]
}

// show is a line as it may be printed.
func (d document) show(n int) string {
	s, ok := d.shown[n]
	if !ok {
		s = blot(d.line(n))
		d.shown[n] = s
	}
	return s
}

// at notes a mistake at a place of the file.
func (l *loader) at(line, col int, path, text string) {
	m := Mistake{File: l.doc.name, Line: line, Col: col, Path: path, Text: blot(text)}
	if len(l.mistakes) < mostShown {
		m.Source = l.doc.show(line)
	}
	l.mistakes = append(l.mistakes, m)
}

// wrong notes a mistake at a node.
func (l *loader) wrong(n *yaml.Node, path, format string, args ...any) {
	l.at(n.Line, n.Column, path, fmt.Sprintf(format, args...))
}

// resolve follows an alias. The schema has a fixed depth, so a loop of aliases
// ends with it.
func resolve(n *yaml.Node) *yaml.Node {
	for i := 0; n.Kind == yaml.AliasNode && n.Alias != nil && i < 8; i++ {
		n = n.Alias
	}
	return n
}

func null(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// kind names what a node is, for messages.
func kind(n *yaml.Node) string {
	switch {
	case null(n):
		return "nothing"
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.ScalarNode:
		return fmt.Sprintf("%q", short(n.Value))
	}
	return "something else"
}

func short(s string) string {
	if utf8.RuneCountInString(s) <= 40 {
		return s
	}
	return string([]rune(s)[:39]) + "…"
}

// field is one "key: value" of a section.
type field struct {
	key   string
	path  string // "routes[1].sample"
	at    *yaml.Node
	value *yaml.Node
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// fields reads a section: each known key once, in order. Unknown and repeated
// ones are mistakes. An empty section has none.
func (l *loader) fields(n *yaml.Node, s Section, path string) []field {
	n = resolve(n)
	if null(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		l.wrong(n, path, `want a section with "key: value" lines, found %s; keys are %s`, kind(n), strings.Join(s.names(), ", "))
		return nil
	}
	var out []field
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], resolve(n.Content[i+1])
		key := k.Value
		if k.Kind != yaml.ScalarNode {
			l.wrong(k, path, "a key must be a word")
			continue
		}
		if k.Tag == "!!merge" {
			l.wrong(k, path, `"<<" is not read; what holds for all routes goes into "defaults"`)
			continue
		}
		if env := refused[join(generic(path), key)]; env != "" {
			l.wrong(k, join(path, key), "secrets do not belong into a file that is shared; set %s, or %s_FILE to the path of a file that holds it", env, env)
			continue
		}
		if !slices.Contains(s.names(), key) {
			l.unknownKey(k, s, path)
			continue
		}
		if first := lines[key]; first > 0 {
			l.wrong(k, path, "key %q stands twice, first in line %d", key, first)
			continue
		}
		lines[key] = k.Line
		out = append(out, field{key, join(path, key), k, v})
	}
	return out
}

var index = regexp.MustCompile(`\[\d+\]`)

// generic is the path without the numbers: "routes[1].sample" is "routes[].sample".
func generic(path string) string { return index.ReplaceAllString(path, "[]") }

func (l *loader) unknownKey(k *yaml.Node, s Section, path string) {
	hint := oneOf(k.Value, s.names())
	if nearest(k.Value, s.names()) == "" {
		for _, other := range Sections() {
			if other.Path != s.Path && slices.Contains(other.names(), k.Value) {
				switch other.Path {
				case "":
					hint = "; it belongs to the top of the file"
				case routeSection.Path:
					hint = `; it belongs into a route or into "defaults"`
				default:
					hint = fmt.Sprintf("; it belongs into %q", other.Path)
				}
				break
			}
		}
	}
	l.wrong(k, path, "unknown key %q%s", short(k.Value), hint)
}

// text reads a single value as it is written: 007 stays 007.
func (l *loader) text(f field) (string, bool) {
	switch {
	case null(f.value):
		if _, rest, ok := strings.Cut(l.doc.line(f.at.Line), f.at.Value); ok && strings.Contains(rest, "#") {
			_, word, _ := strings.Cut(rest, "#")
			word, _, _ = strings.Cut(strings.TrimSpace(word), " ")
			l.wrong(f.at, f.path, `no value: "#" starts a comment; write "#%s" in quotes`, word)
		} else {
			l.wrong(f.at, f.path, "no value; give one or remove the line")
		}
		return "", false
	case f.value.Kind != yaml.ScalarNode:
		l.wrong(f.value, f.path, "want a single value, found %s", kind(f.value))
		return "", false
	}
	return strings.TrimSpace(f.value.Value), true
}

// items reads a list; one bare value counts as a list of one.
func (l *loader) items(f field) []field {
	switch {
	case null(f.value):
		return nil
	case f.value.Kind == yaml.ScalarNode:
		return []field{{f.key, f.path, f.at, f.value}}
	case f.value.Kind != yaml.SequenceNode:
		l.wrong(f.value, f.path, `want a list: lines that start with "- ", found %s`, kind(f.value))
		return nil
	}
	var out []field
	for i, n := range f.value.Content {
		n = resolve(n)
		out = append(out, field{"", fmt.Sprintf("%s[%d]", f.path, i), n, n})
	}
	return out
}

// read reads a single value with one of value.go's readers into to.
func read[T any](l *loader, f field, to *T, parse func(string) (T, error)) bool {
	s, ok := l.text(f)
	if !ok {
		return false
	}
	v, err := parse(s)
	if err != nil {
		l.wrong(f.value, f.path, "%s", err)
		return false
	}
	*to = v
	return true
}
