package phoenix

import (
	"bytes"
	"io"
	"strconv"
)

// cutter is a reader over JSON that shortens it while it is read, so that a
// decoder behind it never holds a text of ten megabytes:
//
//   - a string value keeps its first limit characters; then come \u0000 and the
//     number of characters left out, and nothing else ("ten mega\u000010485752")
//   - escapes that no text can hold are dropped: \u0000, which also makes the
//     mark above unforgeable, and lone surrogates. Phoenix on Postgres would
//     answer 500 for ever to a text that is sent back with them.
//   - of an array of plain values the first elements are kept: an embedding is
//     a hundred thousand numbers that nobody reads. Arrays of objects or of
//     arrays stay whole.
//   - once an element of the outermost array (a span of a page) has kept budget
//     characters, each further string of it keeps smallText
//
// Keys are never shortened. What is short and clean passes byte for byte, and so
// does what is no JSON: the decoder reports it.
type cutter struct {
	src      io.Reader
	err      error // of src, given out once out is empty
	in       []byte
	out      []byte // ready to be read, from off on
	off      int
	limit    int
	elements int // kept of an array of plain values
	budget   int

	// Where in the JSON the next byte stands.
	stack  []frame
	inside bool   // inside a string
	key    bool   // … which is a key
	mute   bool   // inside an array element that is left out
	comma  []byte // a comma, and blanks, that wait for what follows them
	kept   int    // characters kept of this item
	most   int    // limit of this string
	n      int    // characters kept of this string
	drop   int    // characters left out of this string
	cont   int    // continuation bytes that belong to the last character
	hide   bool   // … and whether that character was left out
	esc    []byte
	high   []byte // a high surrogate escape that waits for the low one
}

type frame struct {
	array   bool
	wantKey bool // object: the next string is a key
	n       int  // array: elements begun
}

const (
	smallText   = 256     // no string is cut shorter
	spanBudget  = 1 << 20 // characters of one span that are read at the full limit
	arrayLength = 256
	noLimit     = int(^uint(0) >> 1)
)

// newCutter cuts string values to limit characters.
func newCutter(src io.Reader, limit int) *cutter {
	limit = max(limit, smallText)
	return &cutter{src: src, limit: limit, elements: arrayLength, budget: max(spanBudget, 16*limit), in: make([]byte, 32<<10)}
}

// newCleaner only drops the escapes that no text can hold.
func newCleaner(src io.Reader) *cutter {
	return &cutter{src: src, limit: noLimit, elements: noLimit, budget: noLimit, in: make([]byte, 4<<10)}
}

func (c *cutter) Read(p []byte) (int, error) {
	for c.off == len(c.out) {
		if c.err != nil {
			return 0, c.err
		}
		c.out, c.off = c.out[:0], 0
		n, err := c.src.Read(c.in)
		c.feed(c.in[:n])
		c.err = err
	}
	n := copy(p, c.out[c.off:])
	c.off += n
	return n, nil
}

func (c *cutter) feed(b []byte) {
	for len(b) > 0 {
		switch {
		case !c.inside:
			c.structure(b[0])
			b = b[1:]
		case len(c.esc) > 0:
			b = c.escape(b)
		default:
			b = c.text(b)
		}
	}
}

func (c *cutter) emit(b ...byte) {
	if !c.mute {
		c.out = append(c.out, b...)
	}
}

func (c *cutter) top() *frame {
	if len(c.stack) == 0 {
		return &frame{}
	}
	return &c.stack[len(c.stack)-1]
}

// structure takes one byte outside of a string.
func (c *cutter) structure(b byte) {
	switch b {
	case ' ', '\t', '\n', '\r':
		if len(c.comma) > 0 {
			c.comma = append(c.comma, b)
		} else {
			c.emit(b)
		}
		return
	case ',':
		top := c.top()
		if top.array {
			top.n++
			c.mute = false
			// The outer arrays are the page itself.
			if top.n >= c.elements && len(c.stack) > 2 {
				c.comma = append(c.comma[:0], b)
				return
			}
			if len(c.stack) <= 2 {
				c.kept = 0
			}
		} else {
			top.wantKey = true
		}
		c.emit(b)
		return
	case ']', '}':
		c.mute, c.comma = false, c.comma[:0]
		c.emit(b)
		if len(c.stack) > 0 {
			c.stack = c.stack[:len(c.stack)-1]
		}
		return
	}
	if len(c.comma) > 0 {
		if b == '{' || b == '[' {
			c.emit(c.comma...)
		} else {
			c.mute = true
		}
		c.comma = c.comma[:0]
	}
	switch b {
	case '{', '[':
		c.stack = append(c.stack, frame{array: b == '[', wantKey: b == '{'})
	case '"':
		top := c.top()
		c.inside, c.key = true, top.wantKey
		top.wantKey = false
		c.n, c.drop, c.cont = 0, 0, 0
		c.most = c.limit
		if c.key {
			c.most = noLimit
		} else if c.kept > c.budget {
			c.most = min(c.most, smallText)
		}
	}
	c.emit(b)
}

// text takes bytes of a string up to its end or an escape.
func (c *cutter) text(b []byte) []byte {
	start := 0
	for i, x := range b {
		switch {
		case x == '"':
			if start < i {
				c.emit(b[start:i]...)
			}
			c.end()
			return b[i+1:]
		case x == '\\':
			if start < i {
				c.emit(b[start:i]...)
			}
			c.esc = append(c.esc[:0], x)
			return b[i+1:]
		case c.cont > 0 && x&0xC0 == 0x80:
			c.cont--
			if c.hide {
				start = i + 1
			}
		default:
			c.high = c.high[:0] // not followed by its other half
			switch {
			case x >= 0xF0:
				c.cont = 3
			case x >= 0xE0:
				c.cont = 2
			case x >= 0xC0:
				c.cont = 1
			default:
				c.cont = 0
			}
			if c.n < c.most {
				c.n++
				c.hide = false
				continue
			}
			if start < i {
				c.emit(b[start:i]...)
			}
			start = i + 1
			c.drop++
			c.hide = true
			if c.cont == 0 {
				// The rest of a long text: nothing is kept, only counted.
				return c.skip(b[i+1:])
			}
		}
	}
	if start < len(b) {
		c.emit(b[start:]...)
	}
	return nil
}

// skip counts the characters up to the string's end or an escape. A stray
// continuation byte, which Phoenix never sends, is not counted here.
func (c *cutter) skip(b []byte) []byte {
	n := 0
	for i, x := range b {
		if x == '"' || x == '\\' {
			c.drop += n
			return b[i:]
		}
		if x&0xC0 != 0x80 {
			n++
		}
	}
	c.drop += n
	c.cont = 3 // continuation bytes of the last one may follow; a lead byte ends them
	c.hide = true
	return nil
}

// escape takes bytes of an escape; when it is whole, it counts as one character.
func (c *cutter) escape(b []byte) []byte {
	for i, x := range b {
		c.esc = append(c.esc, x)
		if len(c.esc) == 2 && x == 'u' || len(c.esc) > 2 && len(c.esc) < 6 {
			continue
		}
		c.cont = 0
		c.escaped()
		c.esc = c.esc[:0]
		return b[i+1:]
	}
	return nil
}

func (c *cutter) escaped() {
	high := len(c.high) > 0
	if len(c.esc) == 6 {
		if r, err := strconv.ParseUint(string(c.esc[2:]), 16, 32); err == nil {
			switch {
			case r >= 0xD800 && r < 0xDC00:
				c.high = append(c.high[:0], c.esc...)
				return
			case r >= 0xDC00 && r < 0xE000:
				if high {
					c.character(append(bytes.Clone(c.high), c.esc...))
				}
				c.high = c.high[:0]
				return
			case r == 0:
				c.high = c.high[:0]
				return
			}
		}
	}
	c.high = c.high[:0]
	c.character(c.esc)
}

func (c *cutter) character(b []byte) {
	if c.n < c.most {
		c.n++
		c.emit(b...)
	} else {
		c.drop++
	}
}

// end closes a string.
func (c *cutter) end() {
	c.inside = false
	c.high = c.high[:0]
	if c.drop > 0 {
		c.emit([]byte(`\u0000`)...)
		c.emit(strconv.AppendInt(nil, int64(c.drop), 10)...)
	}
	if !c.key {
		c.kept += c.n
	}
	c.emit('"')
}
