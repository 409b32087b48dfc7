package queue

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

func parseKeys(t *testing.T) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "keys.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// keyList is the lines of the list above type keys.
func keyList(t *testing.T) (lines []string) {
	t.Helper()
	for _, d := range parseKeys(t).Decls {
		if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.TYPE {
			for _, line := range strings.Split(d.Doc.Text(), "\n") {
				if rest, ok := strings.CutPrefix(line, "\t"); ok {
					lines = append(lines, rest)
				}
			}
		}
	}
	return lines
}

// The list above type keys is what an operator and the next developer go by.
func TestKeys_ListAndMethodsAgree(t *testing.T) {
	var listed, built []string
	for _, line := range keyList(t) {
		name, _, _ := strings.Cut(strings.Fields(line)[0], "<")
		listed = append(listed, name)
	}
	for _, d := range parseKeys(t).Decls {
		if d, ok := d.(*ast.FuncDecl); ok {
			if d.Recv == nil || d.Recv.List[0].Type.(*ast.Ident).Name != "keys" {
				continue
			}
			first := ""
			ast.Inspect(d.Body, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && first == "" && l.Kind == token.STRING {
					first, _ = strconv.Unquote(l.Value)
				}
				return true
			})
			built = append(built, first)
		}
	}
	slices.Sort(listed)
	slices.Sort(built)
	if !slices.Equal(listed, built) {
		t.Errorf("keys.go lists %q and builds %q; add the new key to the list: what it is, its type, how long it lives", listed, built)
	}
}

// A key put together elsewhere would miss the hash tag and stand in no list.
func TestKeys_AreMadeInOnePlace(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == "keys.go" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`string\((q\.)?(k|keys)\) *\+`).FindString(string(source)); m != "" {
			t.Errorf("%s puts a key together (%s); make it a method in keys.go", name, m)
		}
	}
}

// In the middle of everything, each key in Redis is one of the list, and lives
// as long as the list says.
func TestKeys_LiveAsLongAsTheListSays(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		ctx := t.Context()
		now := time.Now()
		add(t, q, finds(0, 4)...)
		for range 2 {
			c, _ := claim(t, q, 0, time.Minute)
			if err := post(t, q, c); err != nil {
				t.Fatal(err)
			}
		}
		claim(t, q, 0, time.Minute)
		add(t, q, unsure(11, .5), unsure(12, .25))
		if _, ok, err := q.ClaimUncertain(ctx, "r", 0, .3, time.Minute); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if n, _, err := q.Add(ctx, "r", 1000, []Find{{Row: 13, SpanID: "13", TraceID: "13", Stream: review.Uncertain, Unjudged: true}}); err != nil || n != 0 {
			t.Fatal(n, err)
		}
		said := judgement(4, "U1", "correct", now)
		said.Explanation = "because"
		if _, err := q.Change(ctx, "r", said.TraceID, func(th *review.Thread) (Step, error) {
			th.Judge(said)
			return Step{Put: []review.Judgement{said}, Keep: []review.Judgement{said}, Redraw: map[string]time.Time{said.SpanID: {}, "outline": {}}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		e := lease(t, q, time.Minute)[0]
		if _, err := q.Change(ctx, "r", e.TraceID, func(*review.Thread) (Step, error) {
			return Step{Bury: []Dead{{Entry: e, Why: "refused"}}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		judge(t, q, judgement(4, "U2", "correct", now))
		if err := q.Later(ctx, lease(t, q, time.Minute), 0); err != nil {
			t.Fatal(err)
		}
		lease(t, q, time.Minute)
		for range 2 {
			if _, ok, err := q.TakeRedraw(ctx, time.Minute); err != nil || !ok {
				t.Fatal(ok, err)
			}
		}
		judge(t, q, judgement(4, "U3", "correct", now)) // marks what is being drawn
		_, err := q.Slot(ctx, "r", time.Minute)
		if err := errors.Join(err, q.SaveCursor(ctx, "r", "p", Cursor{Mark: 1}), q.KeepRubric(ctx, review.DefaultRubric("n")),
			q.KeepName(ctx, "U1", "Ana"), q.KeepChannel(ctx, "#c", "C1"), q.KeepLooked(ctx, "r", "open", 7), q.Draws(ctx, "C1", "1.2", "me")); err != nil {
			t.Fatal(err)
		}
		look := review.Look{Size: 50, Judged: 51, Failed: 4}
		if err := errors.Join(q.KeepLook(ctx, "r", "cafe0123", look), q.Told(ctx, "r", "cafe0123", look, "1.2")); err != nil {
			t.Fatal(err)
		}
		if ok, err := q.Telling(ctx, "r", "cafe0123", review.Look{Size: 100}); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if n, _, err := q.Ask(ctx, review.Study{Name: "r.judge", Route: "r"}, []review.Case{caseOf(21)}); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if _, _, ok, err := q.Building(ctx, "r"); err != nil || !ok {
			t.Fatal(ok, err)
		}

		lifetime := map[string]string{} // kind of key -> what the list says
		for _, line := range keyList(t) {
			name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			kind, _, _ := strings.Cut(name, ":")
			switch {
			case strings.HasSuffix(rest, "pub/sub channel"): // is no key
			case strings.HasSuffix(rest, " retention"):
				lifetime[kind] = "retention"
			case strings.HasSuffix(rest, " one minute"):
				lifetime[kind] = "one minute"
			case strings.HasSuffix(rest, " two intervals"):
				lifetime[kind] = "two intervals"
			case strings.HasSuffix(rest, " two days"):
				lifetime[kind] = "two days"
			default:
				lifetime[kind] = "none"
			}
		}
		seen := map[string]bool{}
		var keys []string
		for it := q.c.Scan(ctx, 0, string(q.key)+"*", 100).Iterator(); it.Next(ctx); {
			keys = append(keys, it.Val())
		}
		for _, k := range keys {
			kind, _, _ := strings.Cut(strings.TrimPrefix(k, string(q.key)), ":")
			ttl, err := q.c.PTTL(ctx, k).Result()
			if err != nil {
				t.Fatal(err)
			}
			ok := false
			switch lifetime[kind] {
			case "retention":
				ok = ttl > q.opts.Retention-time.Hour && ttl <= 2*q.opts.Retention
			case "one minute":
				ok = ttl > 0 && ttl <= time.Minute
			case "two days":
				ok = ttl > 47*time.Hour && ttl <= 48*time.Hour
			case "two intervals":
				ok = ttl > time.Minute && ttl <= 3*time.Minute
			case "none":
				ok = ttl < 0
			}
			if !ok {
				t.Errorf("%s lives for %s; keys.go says %q", k, ttl, lifetime[kind])
			}
			seen[kind] = true
		}
		for kind := range lifetime {
			if !seen[kind] {
				t.Errorf("no key of the kind %s was made: what is missing in this test?", kind)
			}
		}
	})
}
