package queue

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"testing"
)

// The header of a script is its contract: every key and argument that the body
// uses is named there, and every one that is named is used.
func TestScripts_HeaderNamesEveryKeyAndArgument(t *testing.T) {
	files, err := luaFiles.ReadDir("lua")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := luaFiles.ReadFile(path.Join("lua", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var head, body []string
		for _, line := range strings.Split(string(b), "\n") {
			if strings.HasPrefix(line, "--") && len(body) == 0 {
				head = append(head, line)
			} else if code, _, _ := strings.Cut(line, "--"); strings.TrimSpace(code) != "" {
				body = append(body, code)
			}
		}
		header, code := strings.Join(head, "\n"), strings.Join(body, "\n")
		for _, list := range []string{"KEYS", "ARGV"} {
			named := map[string]bool{}
			open := false // "KEYS[16..]": the rest is walked by index
			for _, m := range regexp.MustCompile(list+`\[(\d+)(\.\.)?\]`).FindAllStringSubmatch(header, -1) {
				named[m[1]] = true
				open = open || m[2] != ""
			}
			used := map[string]bool{}
			for _, m := range regexp.MustCompile(list+`\[(\d+)\]`).FindAllStringSubmatch(code, -1) {
				used[m[1]] = true
				if !named[m[1]] {
					t.Errorf("%s: %s[%s] is used and not in the header", f.Name(), list, m[1])
				}
			}
			for n := range named {
				walked := open || regexp.MustCompile(list+`\[[a-z]`).MatchString(code)
				if !used[n] && !walked {
					t.Errorf("%s: %s[%s] is in the header and not used", f.Name(), list, n)
				}
			}
		}
		if !strings.Contains(header, "\n-- returns") {
			t.Errorf("%s: the header does not say what it returns", f.Name())
		}
		// Some managed servers refuse keys that were not declared.
		for _, m := range regexp.MustCompile(`redis\.call\('[A-Z]+', *([^,)]+)`).FindAllStringSubmatch(code, -1) {
			k := strings.TrimSpace(m[1])
			published := strings.Contains(m[0], "'PUBLISH'") // a channel is no key
			if whole := regexp.MustCompile(`^KEYS\[[0-9a-z]+\]$`); !whole.MatchString(k) && !published {
				t.Errorf("%s: the key %s is not a declared one", f.Name(), k)
			}
		}
		if strings.Contains(code, "os.time") {
			t.Errorf("%s: replicas' clocks differ; use Redis's TIME", f.Name())
		}
	}
}

func TestKeys_AreAllInOneSlotOfACluster(t *testing.T) {
	a, b := New(nil, Options{Instance: "T1@a"}), New(nil, Options{Instance: "T1@b"})
	if a.key == b.key {
		t.Error("two instances share their keys")
	}
	for _, k := range []string{a.key.thread("r", "t"), a.key.due(), a.key.backlog("r")} {
		if !strings.HasPrefix(k, string(a.key)) || strings.Count(k, "{") != 1 {
			t.Errorf("%s is not under the instance's hash tag", k)
		}
	}
	if got := shortTrace(fmt.Sprintf("%032x", 255)); len(got) != 22 {
		t.Errorf("a trace id takes %d characters in a key", len(got))
	}
}
