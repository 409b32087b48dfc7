package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expected files anew")

// golden compares got with a file, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with: go test ./internal/config -update", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs; when the new one is right: go test ./internal/config -update\n%s", path, d)
	}
}

// Each testdata/err/x.yaml has all its mistakes in x.out.
func TestFileMistakes(t *testing.T) {
	names, err := filepath.Glob("testdata/err/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatal(err, names)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			_, err = load(nil, files{"spanbot.yaml": string(data)}, 0, nil)
			if err == nil {
				t.Fatal("no mistake was found")
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".out", err.Error()+"\n")
		})
	}
}

// The tables in the documentation are made from Settings and Sections.
func TestDocumentation_IsWhatTheCodeSays(t *testing.T) {
	golden(t, "../../docs/configuration.md", Reference())

	const from, to = "<!-- settings -->\n", "<!-- /settings -->"
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(readme), from)
	_, tail, ok2 := strings.Cut(rest, to)
	if !ok1 || !ok2 {
		t.Fatalf("README.md: the table of settings wants to stand between %q and %q", from, to)
	}
	golden(t, "../../README.md", head+from+SettingsTable()+to+tail)
}

// Whatever stands in the file, Load says what is wrong with it and does not
// panic; what it takes is fit for use.
func FuzzLoad(f *testing.F) {
	names, err := filepath.Glob("testdata/err/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add(string(Example))
	f.Add("a: &a [*a]\nroutes: *a\n")
	f.Add("routes: &r\n  - *r\n")
	f.Add("defaults: &d {attributes: *d}\n")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := load(nil, files{"spanbot.yaml": s}, 0, nil)
		if err != nil {
			if text := err.Error(); !strings.HasSuffix(text, "nothing was started.") || !utf8.ValidString(text) && utf8.ValidString(s) {
				t.Errorf("odd mistakes: %q", text)
			}
			return
		}
		names := map[string]bool{}
		for _, r := range c.Routes {
			if !routeName.MatchString(r.Name) || names[r.Name] || r.Project == "" || r.Sample < 0 || r.Sample > 1 || r.Backlog < 1 || r.MaxOpen < 0 || r.OpenFor <= 0 {
				t.Errorf("unfit route %+v", r)
			}
			names[r.Name] = true
		}
		for name, r := range c.Rubrics {
			if wrong := r.Check(); name != r.Name || len(wrong) > 0 {
				t.Errorf("unfit rubric %+v: %v", r, wrong)
			}
		}
	})
}
