package phoenixd

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

var update = flag.Bool("update", false, "write openapi.json anew from the real Phoenix")

// TestOpenAPI_IsTheRealOnesPart compares the embedded document with what Phoenix
// says of the same routes, without the words for people.
func TestOpenAPI_IsTheRealOnesPart(t *testing.T) {
	real := rig.SharedPhoenix(t)
	if real.Version != version {
		t.Skipf("the stand-in is Phoenix %s, and this is %s", version, real.Version)
	}
	resp, err := http.Get(real.URL + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(part(t, doc))
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(openAPI, want) {
		t.Errorf("openapi.json is not what Phoenix %s says; go test ./internal/sandbox/phoenixd -run OpenAPI -update writes it:\n%s",
			version, cmp.Diff(string(want), string(openAPI)))
	}
}

// part is what the document says of the routes of the table, and of what they
// refer to.
func part(t *testing.T, doc map[string]any) map[string]any {
	all := doc["paths"].(map[string]any)
	paths := map[string]any{}
	for _, r := range routes {
		if !strings.HasPrefix(r.pattern, "/v1/") {
			continue
		}
		found := false
		for path, ops := range all {
			op := ops.(map[string]any)[strings.ToLower(r.method)]
			if _, ok := match(r.pattern, path); !ok || op == nil || strings.Count(path, "{") != strings.Count(r.pattern, "{") {
				continue
			}
			found = true
			if paths[path] == nil {
				paths[path] = map[string]any{}
			}
			paths[path].(map[string]any)[strings.ToLower(r.method)] = silent(op)
		}
		if !found {
			t.Errorf("%s is in no way a route of Phoenix", r.name())
		}
	}
	schemas := map[string]any{}
	from := doc["components"].(map[string]any)["schemas"].(map[string]any)
	var follow func(v any)
	follow = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if name, ok := strings.CutPrefix(refOf(v), "#/components/schemas/"); ok && schemas[name] == nil {
				schemas[name] = silent(from[name])
				follow(schemas[name])
			}
			for _, e := range v {
				follow(e)
			}
		case []any:
			for _, e := range v {
				follow(e)
			}
		}
	}
	follow(paths)
	for _, s := range schemas {
		if m, ok := s.(map[string]any)["discriminator"].(map[string]any); ok {
			follow(m)
		}
	}
	return map[string]any{
		"openapi": doc["openapi"], "info": doc["info"], "paths": paths,
		"components": map[string]any{"schemas": schemas},
	}
}

func refOf(m map[string]any) string {
	s, _ := m["$ref"].(string)
	return s
}

// silent is v without what is only for people to read. In the properties of a
// schema every key is a name.
func silent(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			switch k {
			case "summary", "title", "examples", "tags", "operationId":
				continue
			case "description":
				if _, response := v["content"]; !response {
					continue
				}
				e = "" // a response must have one
			case "properties":
				named := map[string]any{}
				for name, p := range e.(map[string]any) {
					named[name] = silent(p)
				}
				out[k] = named
				continue
			}
			out[k] = silent(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = silent(e)
		}
		return out
	}
	return v
}
