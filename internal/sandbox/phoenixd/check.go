package phoenixd

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// problem is one mistake in a request, as Phoenix's validation reports it: a kind,
// where it stands (words and positions from "body" or "query" on), a sentence, and
// what stood there.
type problem struct {
	Type  string         `json:"type"`
	Loc   []any          `json:"loc"`
	Msg   string         `json:"msg"`
	Input any            `json:"input"`
	Ctx   map[string]any `json:"ctx,omitempty"`
}

// checker reads a request and collects the mistakes in it. What a method returns
// after a mistake is of no use: ask ok at the end.
type checker struct {
	problems []problem
	fatal    bool // Phoenix crashes on it
}

func (c *checker) ok() bool { return len(c.problems) == 0 && !c.fatal }

// wrong reports the mistakes. What cannot be written Phoenix cannot repeat, and
// crashes.
func (c *checker) wrong() answer {
	if len(c.problems) == 0 || slices.ContainsFunc(c.problems, func(p problem) bool { return unwritable(p.Input) }) {
		return crash()
	}
	return inJSON(http.StatusUnprocessableEntity, map[string]any{"detail": c.problems})
}

// unwritable reports an infinite number, NaN or half a character in v.
func unwritable(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.ContainsRune(v, halfCharacter)
	case float:
		return math.IsInf(float64(v), 0) || math.IsNaN(float64(v))
	case []any:
		return slices.ContainsFunc(v, unwritable)
	case map[string]any:
		for k, e := range v {
			if unwritable(k) || unwritable(e) {
				return true
			}
		}
	}
	return false
}

func (c *checker) add(kind string, at []any, msg string, input any, ctx map[string]any) {
	c.problems = append(c.problems, problem{kind, at, msg, input, ctx})
}

// below is the place of key inside of at.
func below(at []any, key any) []any { return append(slices.Clone(at), key) }

// model reads an object with fields of its own; class is what Phoenix calls it.
func (c *checker) model(at []any, v any, class string) (map[string]any, bool) {
	if m, ok := v.(map[string]any); ok {
		return m, true
	}
	c.add("model_type", at, "Input should be a valid dictionary or instance of "+class, v, map[string]any{"class_name": class})
	return nil, false
}

// body reads a request body that must be an object.
func (c *checker) body(v any) (map[string]any, bool) {
	if m, ok := v.(map[string]any); ok {
		return m, true
	}
	c.add("model_attributes_type", []any{"body"}, "Input should be a valid dictionary or object to extract fields from", v, nil)
	return nil, false
}

// field is what the object has under key; a field that is required is missed.
func (c *checker) field(at []any, m map[string]any, key string, required bool) (any, bool) {
	v, ok := m[key]
	if !ok && required {
		c.add("missing", below(at, key), "Field required", m, nil)
	}
	return v, ok
}

// text reads a string field; "" where it may be left out, and is.
func (c *checker) text(at []any, m map[string]any, key string, required bool) string {
	v, ok := c.field(at, m, key, required)
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok {
		c.add("string_type", below(at, key), "Input should be a valid string", v, nil)
	}
	return s
}

// textOrNull reads a string field that may be null or absent.
func (c *checker) textOrNull(at []any, m map[string]any, key string) *string {
	if m[key] == nil {
		return nil
	}
	s := c.text(at, m, key, true)
	return &s
}

// numberOrNull reads a number field that may be null or absent. Strings of a
// number and booleans count, infinite ones and NaN become null in the database.
func (c *checker) numberOrNull(at []any, m map[string]any, key string) *float64 {
	var f float64
	switch v := m[key].(type) {
	case nil:
		return nil
	case integer:
		f, _ = strconv.ParseFloat(string(v), 64) // too large: infinite
	case float:
		f = float64(v)
	case bool:
		if v {
			f = 1
		}
	case string:
		var err error
		if f, err = strconv.ParseFloat(strings.TrimSpace(v), 64); err != nil && !math.IsInf(f, 0) {
			c.add("float_parsing", below(at, key), "Input should be a valid number, unable to parse string as a number", v, nil)
		}
	default:
		c.add("float_type", below(at, key), "Input should be a valid number", v, nil)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

// whole reads a field with a whole number. Strings of one and booleans count.
func (c *checker) whole(at []any, m map[string]any, key string) int {
	in, v := below(at, key), m[key]
	switch v := v.(type) {
	case integer:
		n, err := strconv.Atoi(string(v))
		if err != nil { // no mistake for Phoenix, but more than its database can count to
			c.fatal = true
		}
		return n
	case float:
		switch f := float64(v); {
		case math.IsNaN(f) || math.IsInf(f, 0):
			c.add("finite_number", in, "Input should be a finite number", v, nil)
		case f != math.Trunc(f):
			c.add("int_from_float", in, "Input should be a valid integer, got a number with a fractional part", v, nil)
		default:
			return int(f)
		}
	case bool:
		if v {
			return 1
		}
	case string:
		n, err := strconv.Atoi(strings.TrimSpace(v))
		if err != nil {
			c.add("int_parsing", in, "Input should be a valid integer, unable to parse string as an integer", v, nil)
		}
		return n
	default:
		c.add("int_type", in, "Input should be a valid integer", v, nil)
	}
	return 0
}

// dict reads an object field of any content; nil where it is absent, or null
// where that may be.
func (c *checker) dict(at []any, m map[string]any, key string, nullable bool) map[string]any {
	v, ok := m[key]
	if !ok || v == nil && nullable {
		return nil
	}
	d, ok := v.(map[string]any)
	if !ok {
		c.add("dict_type", below(at, key), "Input should be a valid dictionary", v, nil)
	}
	return d
}

// list reads a list field.
func (c *checker) list(at []any, m map[string]any, key string, required bool) []any {
	v, ok := c.field(at, m, key, required)
	if !ok {
		return nil
	}
	l, ok := v.([]any)
	if !ok {
		c.add("list_type", below(at, key), "Input should be a valid list", v, nil)
	}
	return l
}

// moment reads a field with a time.
func (c *checker) moment(at []any, m map[string]any, key string) moment {
	v, ok := c.field(at, m, key, true)
	if !ok {
		return moment{}
	}
	at = below(at, key)
	switch v := v.(type) {
	case string:
		return c.parsedMoment(at, v)
	case integer:
		f, _ := strconv.ParseFloat(string(v), 64)
		return unixMoment(f)
	case float:
		return unixMoment(float64(v))
	}
	c.add("datetime_type", at, "Input should be a valid datetime", v, nil)
	return moment{}
}

func (c *checker) parsedMoment(at []any, s string) moment {
	m, why := parseMoment(s)
	if why != "" {
		c.add("datetime_from_date_parsing", at, "Input should be a valid datetime or date, "+why, s, map[string]any{"error": why})
	}
	return m
}

// oneOf reads a field that must be one of the words. kind is "literal_error" or
// "enum": Phoenix has both.
func (c *checker) oneOf(at []any, m map[string]any, key, kind string, required bool, allowed ...string) string {
	v, ok := c.field(at, m, key, required)
	if !ok {
		return ""
	}
	return c.word(below(at, key), v, kind, allowed)
}

func (c *checker) word(at []any, v any, kind string, allowed []string) string {
	s, ok := v.(string)
	if !ok || !slices.Contains(allowed, s) {
		list := alternatives(allowed)
		c.add(kind, at, "Input should be "+list, v, map[string]any{"expected": list})
	}
	return s
}

// alternatives is "'a', 'b' or 'c'".
func alternatives(words []string) string {
	last := len(words) - 1
	return "'" + strings.Join(words[:last], "', '") + "' or '" + words[last] + "'"
}

// params reads the parameters of a query; of one that is repeated and must not
// be, the last counts.
type params struct {
	*checker
	q url.Values
}

// last is the value of a parameter, and whether it was given.
func (p params) last(key string) (string, bool) {
	vs := p.q[key]
	if len(vs) == 0 {
		return "", false
	}
	return vs[len(vs)-1], true
}

// limit reads a number from 1 to most (0: to any).
func (p params) limit(usual, most int) int {
	s, ok := p.last("limit")
	if !ok {
		return usual
	}
	at := []any{"query", "limit"}
	plain := strings.ReplaceAll(strings.TrimSpace(s), "_", "")
	if whole, fraction, ok := strings.Cut(plain, "."); ok && fraction != "" && strings.Trim(fraction, "0") == "" {
		plain = whole
	}
	n, err := strconv.Atoi(plain)
	switch {
	case errors.Is(err, strconv.ErrRange) && n > 0: // no mistake for Phoenix, but more than its database can count to
		p.fatal = true
	case err != nil:
		p.add("int_parsing", at, "Input should be a valid integer, unable to parse string as an integer", s, nil)
	case n <= 0:
		p.add("greater_than", at, "Input should be greater than 0", s, map[string]any{"gt": 0})
	case most > 0 && n > most:
		p.add("less_than_equal", at, "Input should be less than or equal to "+strconv.Itoa(most), s, map[string]any{"le": most})
	}
	return n
}

// flag reads a boolean, false when it is not given.
func (p params) flag(key string) bool {
	s, ok := p.last(key)
	if !ok {
		return false
	}
	switch strings.ToLower(s) {
	case "true", "t", "yes", "y", "on", "1":
		return true
	case "false", "f", "no", "n", "off", "0":
		return false
	}
	p.add("bool_parsing", []any{"query", key}, "Input should be a valid boolean, unable to interpret input", s, nil)
	return false
}

// oneOf reads a word; usual is what it is when it is not given.
func (p params) oneOf(key, usual string, allowed ...string) string {
	s, ok := p.last(key)
	if !ok {
		return usual
	}
	return p.word([]any{"query", key}, s, "literal_error", allowed)
}

// moment reads a time; nil when it is not given.
func (p params) moment(key string) *moment {
	s, ok := p.last(key)
	if !ok {
		return nil
	}
	m := p.parsedMoment([]any{"query", key}, s)
	return &m
}

const tooShort = "String should have at least 1 character"

// filled reads a text that must not be empty; nil when it is not given.
func (p params) filled(key string) *string {
	s, ok := p.last(key)
	if !ok {
		return nil
	}
	if s == "" {
		p.add("string_too_short", []any{"query", key}, tooShort, s, map[string]any{"min_length": 1})
	}
	return &s
}

// allFilled reads a repeated text none of which may be empty.
func (p params) allFilled(key string) []string {
	for i, s := range p.q[key] {
		if s == "" {
			p.add("string_too_short", []any{"query", key, i}, tooShort, s, map[string]any{"min_length": 1})
		}
	}
	return p.q[key]
}
