package phoenixd

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Values are what encoding/json makes of JSON, but for numbers: a number without
// point and exponent is an integer, any other a float, since Phoenix's attribute
// filter tells 3 from 3.0.
type (
	integer string  // its digits
	float   float64 // infinite and NaN too, which Phoenix's parser takes
)

func (i integer) MarshalJSON() ([]byte, error) { return []byte(i), nil }

// MarshalJSON writes 1.0 with its point. What JSON cannot hold becomes null, as
// in Phoenix's database.
func (f float) MarshalJSON() ([]byte, error) {
	v := float64(f)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return []byte(pythonText(v)), nil
}

// decodeError is JSON that cannot be read, in the words of Python's parser.
type decodeError struct {
	at   int // in characters, from 0
	text string
}

func (e *decodeError) Error() string { return e.text + " at character " + strconv.Itoa(e.at) }

// unreadable is a body that Phoenix cannot even begin to parse.
type unreadable struct{}

func (unreadable) Error() string { return "There was an error parsing the body" }

// halfCharacter is what a lone surrogate becomes here. Phoenix's own parser keeps
// it, and the server fails on it wherever it is written.
const halfCharacter = '\uFDD0' // stands for no character by itself

// maxDepth is where Python's parser gives up.
const maxDepth = 990

// parser reads JSON as Python's json module does: infinite numbers and NaN are
// numbers, and a lone surrogate is a character.
type parser struct {
	s     string
	at    int
	depth int
	half  bool // a lone surrogate was read, or a number that cannot be answered
}

// decode reads one value. half says that it holds a lone surrogate.
func decode(body []byte) (v any, half bool, err error) {
	body = bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF"))
	if !utf8.Valid(body) {
		return nil, false, unreadable{}
	}
	p := &parser{s: string(body)}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *decodeError:
			r.at = utf8.RuneCountInString(p.s[:min(r.at, len(p.s))])
			v, err = nil, r
		case unreadable:
			v, err = nil, r
		default:
			panic(r)
		}
	}()
	p.space()
	v = p.value()
	p.space()
	if p.at < len(p.s) {
		p.fail(p.at, "Extra data")
	}
	return v, p.half, nil
}

// fail ends decode.
func (p *parser) fail(at int, text string) { panic(&decodeError{at, text}) }

func (p *parser) space() {
	for p.at < len(p.s) && strings.IndexByte(" \t\n\r", p.s[p.at]) >= 0 {
		p.at++
	}
}

// next is the byte that comes, 0 at the end.
func (p *parser) next() byte {
	if p.at < len(p.s) {
		return p.s[p.at]
	}
	return 0
}

func (p *parser) value() any {
	if p.depth++; p.depth > maxDepth {
		panic(unreadable{})
	}
	defer func() { p.depth-- }()
	switch p.next() {
	case '"':
		return p.text()
	case '{':
		return p.object()
	case '[':
		return p.array()
	}
	for _, w := range words {
		if strings.HasPrefix(p.s[p.at:], w.text) {
			p.at += len(w.text)
			return w.value
		}
	}
	return p.number()
}

// words are tried in this order. A map would be walked in another each time, and
// the fuzzer would take that for news.
var words = []struct {
	text  string
	value any
}{
	{"null", nil},
	{"true", true},
	{"false", false},
	{"NaN", float(math.NaN())},
	{"Infinity", float(math.Inf(1))},
	{"-Infinity", float(math.Inf(-1))},
}

func (p *parser) object() any {
	out := map[string]any{}
	p.at++
	p.space()
	if p.next() == '}' {
		p.at++
		return out
	}
	for {
		if p.next() != '"' {
			p.fail(p.at, "Expecting property name enclosed in double quotes")
		}
		key := p.text()
		p.space()
		if p.next() != ':' {
			p.fail(p.at, "Expecting ':' delimiter")
		}
		p.at++
		p.space()
		out[key] = p.value()
		p.space()
		switch p.next() {
		case '}':
			p.at++
			return out
		case ',':
			p.at++
			p.space()
		default:
			p.fail(p.at, "Expecting ',' delimiter")
		}
	}
}

func (p *parser) array() any {
	out := []any{}
	p.at++
	p.space()
	if p.next() == ']' {
		p.at++
		return out
	}
	for {
		out = append(out, p.value())
		p.space()
		switch p.next() {
		case ']':
			p.at++
			return out
		case ',':
			p.at++
			p.space()
		default:
			p.fail(p.at, "Expecting ',' delimiter")
		}
	}
}

func (p *parser) digits() (n int) {
	for c := p.next(); c >= '0' && c <= '9'; c = p.next() {
		p.at++
		n++
	}
	return n
}

func (p *parser) number() any {
	start := p.at
	if p.next() == '-' {
		p.at++
	}
	if p.next() == '0' {
		p.at++
	} else if p.digits() == 0 {
		p.fail(start, "Expecting value")
	}
	whole := p.at
	if p.next() == '.' {
		p.at++
		if p.digits() == 0 {
			p.at = whole
			return integer(p.s[start:whole])
		}
	}
	if c := p.next(); c == 'e' || c == 'E' {
		back := p.at
		p.at++
		if c := p.next(); c == '+' || c == '-' {
			p.at++
		}
		if p.digits() == 0 {
			p.at = back
		}
	}
	if p.at == whole {
		s := p.s[start:whole]
		if s == "-0" {
			s = "0"
		}
		return integer(s)
	}
	f, _ := strconv.ParseFloat(p.s[start:p.at], 64) // out of range: infinite, or 0
	return float(f)
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (p *parser) text() string {
	begin := p.at
	p.at++
	var b strings.Builder
	for {
		from := p.at
		for p.at < len(p.s) && p.s[p.at] != '"' && p.s[p.at] != '\\' && p.s[p.at] >= ' ' {
			p.at++
		}
		b.WriteString(p.s[from:p.at])
		if p.at == len(p.s) {
			p.fail(begin, "Unterminated string starting at")
		}
		switch c := p.s[p.at]; {
		case c == '"':
			p.at++
			return b.String()
		case c < ' ':
			p.fail(p.at, "Invalid control character at")
		}
		p.at++
		if p.at == len(p.s) {
			p.fail(begin, "Unterminated string starting at")
		}
		c := p.s[p.at]
		if c == 'u' {
			b.WriteRune(p.unicode())
			continue
		}
		plain, ok := escapes[c]
		if !ok {
			p.fail(p.at-1, `Invalid \escape`)
		}
		b.WriteByte(plain)
		p.at++
	}
}

// unicode reads what follows a backslash that stands before the u.
func (p *parser) unicode() rune {
	r := p.hex()
	if !utf16.IsSurrogate(r) {
		return r
	}
	if strings.HasPrefix(p.s[p.at:], `\u`) {
		back := p.at
		p.at++
		if both := utf16.DecodeRune(r, p.hex()); both != utf8.RuneError {
			return both
		}
		p.at = back
	}
	p.half = true
	return halfCharacter
}

func (p *parser) hex() rune {
	p.at++
	if p.at+4 <= len(p.s) {
		if n, err := strconv.ParseUint(p.s[p.at:p.at+4], 16, 16); err == nil {
			p.at += 4
			return rune(n)
		}
	}
	p.fail(p.at-1, `Invalid \uXXXX escape`)
	return 0
}

// encode is v as JSON, without the escapes that HTML would need.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // only what decode and normal made comes here
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// normal is v, made by a program, in the form that decode gives. Texts are
// shared, not copied.
func normal(v any) any {
	switch v := v.(type) {
	case nil, string, bool, integer, float:
		return v
	case int:
		return integer(strconv.Itoa(v))
	case int64:
		return integer(strconv.FormatInt(v, 10))
	case float64:
		return float(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = normal(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = normal(e)
		}
		return out
	case []map[string]any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = normal(e)
		}
		return out
	}
	out, _, err := decode(encode(v))
	if err != nil {
		panic(err)
	}
	return out
}
