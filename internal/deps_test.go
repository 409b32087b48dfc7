// Package internal_test holds what concerns all packages: who may import whom.
package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/spanbot/spanbot/"

// imports is the table: which of our packages each may import, and which
// libraries. Tests are exempt from it, but for sandbox (see below).
var imports = map[string]struct{ ours, libraries []string }{
	"internal/review":  {},
	"internal/phoenix": {[]string{"internal/review"}, []string{"github.com/prometheus/client_golang"}},
	"internal/queue":   {[]string{"internal/review"}, []string{"github.com/redis/go-redis", "github.com/prometheus/client_golang"}},
	"internal/slackui": {[]string{"internal/review"}, []string{"github.com/slack-go/slack", "github.com/gorilla/websocket", "golang.org/x/time", "github.com/prometheus/client_golang"}},
	"internal/stats":   {},
	"internal/evals": {
		[]string{"internal/review", "internal/phoenix", "internal/stats"},
		[]string{"github.com/openai/openai-go", "go.yaml.in/yaml", "gonum.org/v1/plot"},
	},
	"internal/config": {[]string{"internal/review"}, []string{"go.yaml.in/yaml"}},
	"internal/bot": {
		[]string{"internal/review", "internal/phoenix", "internal/queue", "internal/slackui", "internal/stats"},
		[]string{"github.com/robfig/cron", "github.com/prometheus/client_golang"},
	},
	"cmd/bot": {
		[]string{"internal/review", "internal/config", "internal/bot", "internal/phoenix", "internal/slackui", "internal/evals", "internal/stats",
			"internal/sandbox", "internal/sandbox/modeld", "internal/sandbox/slackd", "internal/sandbox/slackd/page", "internal/sandbox/phoenixd", "internal/sandbox/redisd", "internal/sandbox/recorded"},
		[]string{"github.com/alecthomas/kong", "golang.org/x/term"},
	},
}

func TestImports_FollowTheTable(t *testing.T) {
	seen := map[string]bool{}
	eachFile(t, func(file, pkg string, list []string) {
		rule, known := imports[pkg]
		sandbox := pkg == "internal/sandbox" || strings.HasPrefix(pkg, "internal/sandbox/")
		if strings.HasSuffix(file, "_test.go") && !sandbox {
			return
		}
		switch {
		case sandbox:
			// A stand-in that used our client would agree with its mistakes.
			for _, path := range list {
				if ours, ok := strings.CutPrefix(path, module); ok && !strings.HasPrefix(ours, "internal/sandbox/") {
					t.Errorf("%s imports %s; sandbox uses nothing of ours", file, ours)
				}
			}
			return
		case pkg == "internal" || !strings.HasPrefix(pkg, "internal/") && !strings.HasPrefix(pkg, "cmd/"):
			return // e2e, bench and the like may use everything
		case !known:
			t.Errorf("%s is not in the table of internal/deps_test.go", pkg)
			return
		}
		seen[pkg] = true
		for _, path := range list {
			ours, isOurs := strings.CutPrefix(path, module)
			first, _, _ := strings.Cut(path, "/")
			switch {
			case isOurs && !slices.Contains(rule.ours, ours):
				t.Errorf("%s imports %s; %s may not", file, ours, pkg)
			case !isOurs && strings.Contains(first, ".") && !slices.ContainsFunc(rule.libraries, func(l string) bool { return strings.HasPrefix(path, l) }):
				t.Errorf("%s imports %s; %s may not", file, path, pkg)
			}
		}
	})
	for pkg := range imports {
		if !seen[pkg] {
			t.Errorf("%s is in the table and does not exist", pkg)
		}
	}
}

// eachFile calls f with each Go file of the repository, its package's folder
// and what it imports.
func eachFile(t *testing.T, f func(file, pkg string, imports []string)) {
	t.Helper()
	root := ".."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || name == "dist") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var list []string
		for _, i := range parsed.Imports {
			s, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			list = append(list, s)
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f(filepath.ToSlash(rel), filepath.ToSlash(filepath.Dir(rel)), list)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
