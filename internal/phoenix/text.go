package phoenix

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spanbot/spanbot/internal/review"
)

// uncut takes the mark of a cutter off: the text that was kept, and how many
// characters were left out.
func uncut(s string) (string, int) {
	i := strings.IndexByte(s, 0)
	if i < 0 {
		return s, 0
	}
	n, err := strconv.Atoi(s[i+1:])
	if err != nil || n < 0 {
		n = 0
	}
	return s[:i], n
}

// hidden reports characters that change how other text looks, or that no
// screen shows: controls, and the overrides of the writing direction.
func hidden(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' ||
		r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069
}

// plain is s as valid UTF-8 without the mark of a cutter and without characters
// that a text must not hold. Line breaks of other systems become \n.
func plain(s string) string {
	s, _ = uncut(s)
	if strings.IndexByte(s, '\r') >= 0 {
		s = strings.ReplaceAll(s, "\r\n", "\n")
		s = strings.ReplaceAll(s, "\r", "\n")
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if hidden(r) {
			return -1
		}
		return r
	}, s)
}

// cutRunes keeps the first n characters and counts the rest.
func cutRunes(s string, n int) (head string, more int) {
	if len(s) <= n {
		return s, 0
	}
	count := 0
	for i := range s {
		if count == n {
			// The text that is left out must not be kept alive by its head.
			return strings.Clone(s[:i]), utf8.RuneCountInString(s[i:])
		}
		count++
	}
	return s, 0
}

// cleanText makes a Text of a string that came through a cutter: at most limit
// characters of it.
func cleanText(s string, limit int) review.Text {
	_, dropped := uncut(s)
	head, more := cutRunes(plain(s), limit)
	return review.Text{Head: head, More: more + dropped}
}

// word is a short string of a span: a name, an id.
func word(s string, limit int) string {
	head, _ := cutRunes(plain(s), limit)
	return head
}

// looksJSON reports whether a text is a JSON object or list. Of a text that was
// cut only the start can tell.
func looksJSON(t review.Text) bool {
	s := strings.TrimSpace(t.Head)
	if len(s) < 2 || s[0] != '{' && s[0] != '[' {
		return false
	}
	if t.More == 0 {
		return s[len(s)-1] == s[0]+2 && validJSON(s)
	}
	rest := strings.TrimSpace(s[1:])
	if rest == "" {
		return true
	}
	if s[0] == '{' {
		return rest[0] == '"' || rest[0] == '}'
	}
	return strings.IndexByte(`{["]-0123456789`, rest[0]) >= 0 // not "[INST] …"
}
