package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Mistake is one thing that is wrong with the configuration.
type Mistake struct {
	File      string // "spanbot.yaml"; "" when it does not stand in the file
	Line, Col int    // from 1, Col in characters; 0 when not known
	Source    string // the line it stands in, secrets blotted out
	Path      string // "routes[1].sample", "SLACK_BOT_TOKEN", "--listen"; "" for the whole
	Text      string // what is wrong and what is allowed
	Missing   bool   // a setting that the command needs and that is not there
}

// Mistakes is every mistake of a configuration, as one error.
type Mistakes []Mistake

// mostShown is more mistakes than anybody reads at once: a file with more is
// another kind of file.
const mostShown = 500

// Error lists all mistakes, those in the file with line and caret.
func (ms Mistakes) Error() string {
	var b strings.Builder
	for i, m := range ms {
		if i == mostShown {
			fmt.Fprintf(&b, "and %d more\n", len(ms)-i)
			break
		}
		b.WriteString(m.String())
		b.WriteByte('\n')
	}
	noun := "mistakes"
	if len(ms) == 1 {
		noun = "mistake"
	}
	fmt.Fprintf(&b, "%d %s; nothing was started.", len(ms), noun)
	return b.String()
}

// String is the mistake, and the line with a caret where it stands in a file.
func (m Mistake) String() string {
	var b strings.Builder
	if m.File != "" {
		b.WriteString(m.File)
		if m.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", m.Line, max(m.Col, 1))
		}
		b.WriteString(": ")
	}
	if m.Path != "" {
		b.WriteString(m.Path + ": ")
	}
	b.WriteString(m.Text)
	if m.Line == 0 || m.Source == "" {
		return b.String()
	}
	line, before := window(m.Source, max(m.Col, 1)-1)
	fmt.Fprintf(&b, "\n%5d | %s\n      | %s^", m.Line, line, before)
	return b.String()
}

// widest is how many characters of a source line are shown.
const widest = 120

// window is the part of the line around the column, and what must stand before
// the caret in the line below: blanks, and tabs where the line has tabs.
func window(line string, col int) (shown, before string) {
	rs := []rune(line)
	col = min(col, len(rs))
	if len(rs) > widest {
		from := max(0, min(col-widest/2, len(rs)-widest))
		to := from + widest
		cut := slices.Clone(rs[from:to])
		if from > 0 {
			cut[0] = '…'
		}
		if to < len(rs) {
			cut[len(cut)-1] = '…'
		}
		rs, col = cut, min(col-from, widest)
	}
	pad := make([]rune, col)
	for i := range pad {
		pad[i] = ' '
		if rs[i] == '\t' {
			pad[i] = '\t'
		}
	}
	return string(rs), string(pad)
}

// sort puts the file's mistakes first, in reading order; the others keep theirs.
func (ms Mistakes) sort() {
	slices.SortStableFunc(ms, func(a, b Mistake) int {
		rank := func(m Mistake) int {
			switch {
			case m.Missing:
				return 2
			case m.File == "":
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
}

// What looks like a secret wherever it stands: Slack tokens, a password in a
// URL, a bearer token, and the value of a key that is called so. The group is
// what must not be shown.
var secretShapes = []*regexp.Regexp{
	regexp.MustCompile(`\b((?:xox[a-z]|xapp)-[^\s"',}\]]+)`),
	regexp.MustCompile(`(?i)\bbearer\s+([^\s"',}\]]+)`),
	regexp.MustCompile(`://([^\s/@"']*@)`),
	regexp.MustCompile(`(?i)(?:token|secret|passwo?r?d|api[-_]?key|headers|authorization)["']?\s*[:=]\s*([^\s#].*)$`),
	regexp.MustCompile(`(?i)[?&]password=([^&\s"']+)`),
}

// blot replaces what looks like a secret by as many asterisks, so that a caret
// below the line still points to the right place.
func blot(line string) string {
	for _, re := range secretShapes {
		var b strings.Builder
		last := 0
		for _, at := range re.FindAllStringSubmatchIndex(line, -1) {
			from, to := at[2], at[3]
			b.WriteString(line[last:from])
			b.WriteString(strings.Repeat("*", utf8.RuneCountInString(line[from:to])))
			last = to
		}
		b.WriteString(line[last:])
		line = b.String()
	}
	return line
}

// nearest is the allowed word that found was probably meant to be, "" when none
// is near.
func nearest(found string, allowed []string) string {
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	best, dist := "", max(1, utf8.RuneCountInString(found)/3)+1
	for _, a := range allowed {
		if d := distance(fold(found), fold(a)); d < dist {
			best, dist = a, d
		}
	}
	if best == "" { // "statuses" for "status", "public" for "public_url"
		for _, a := range allowed {
			if len(found) > 2 && (strings.HasPrefix(fold(a), fold(found)) || strings.HasPrefix(fold(found), fold(a))) {
				return a
			}
		}
	}
	return best
}

// distance counts insertions, deletions, substitutions and swaps of neighbours.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 {
		return 64
	}
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			change := 1
			if x[i-1] == y[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}

// oneOf is "; did you mean "x"?" or, without a near one, "; want one of a, b".
func oneOf(found string, allowed []string) string {
	if n := nearest(found, allowed); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return "; want one of " + strings.Join(allowed, ", ")
}
