package queue

import (
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
)

// The list above type keys is what an operator and the next developer go by.
func TestKeys_ListAndMethodsAgree(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "keys.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var listed, built []string
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.GenDecl:
			if d.Tok != token.TYPE {
				continue
			}
			for _, line := range strings.Split(d.Doc.Text(), "\n") {
				if rest, ok := strings.CutPrefix(line, "\t"); ok {
					name, _, _ := strings.Cut(strings.Fields(rest)[0], "<")
					listed = append(listed, name)
				}
			}
		case *ast.FuncDecl:
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
