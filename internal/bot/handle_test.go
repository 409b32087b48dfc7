package bot

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"testing"
)

// A button that is drawn and means nothing would tell reviewers that Spanbot
// does not know it.
func TestHandle_EveryActionOfSlackuiHasAHandler(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../slackui/actions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if kind, ok := v.Type.(*ast.Ident); ok && kind.Name == "Action" {
				actions = append(actions, v.Names[0].Name)
			}
		}
	}
	if len(actions) < 9 {
		t.Fatalf("only %v were found in actions.go", actions)
	}
	source, err := os.ReadFile("judge.go")
	if err != nil {
		t.Fatal(err)
	}
	var handled []string
	for _, m := range regexp.MustCompile(`OnClick\(slackui\.(\w+),`).FindAllStringSubmatch(string(source), -1) {
		handled = append(handled, m[1])
	}
	for _, a := range actions {
		if !slices.Contains(handled, a) {
			t.Errorf("slackui.%s has no handler in Bot.handle", a)
		}
	}
}

// Reading is for all who see the card; whatever says or changes something asks
// first who may. A new button is guarded unless it is put on this list.
func TestHandle_EveryActionButReadingIsGuarded(t *testing.T) {
	reading := []string{"Details", "Page", "Trace"}
	source, err := os.ReadFile("judge.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`OnClick\(slackui\.(\w+), (b\.guarded\()?`).FindAllStringSubmatch(string(source), -1)
	if len(found) < 10 {
		t.Fatalf("only %v were found in judge.go", found)
	}
	for _, m := range found {
		if guarded := m[2] != ""; guarded == slices.Contains(reading, m[1]) {
			t.Errorf("slackui.%s: guarded is %v", m[1], guarded)
		}
	}
}
