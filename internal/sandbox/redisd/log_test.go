package redisd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLog_IsBoundedOverManyWritesAndStarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "redis.log")
	line := []byte(strings.Repeat("x", 99) + "\n")
	for range 3 {
		l, err := openLog(path)
		if err != nil {
			t.Fatal(err)
		}
		l.max = 10_000
		for range 500 {
			if n, err := l.Write(line); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
		}
		l.close()
	}
	all := 0
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.ReplaceAll(b, line, nil)) != 0 {
			t.Errorf("%s is not made of whole lines", f)
		}
		all += len(b)
	}
	if len(files) != 2 || all > 20_000 || all < 10_000 {
		t.Errorf("%v hold %d bytes", files, all)
	}
}

// The disk is full or the folder is gone: the server must not be held up.
func TestLog_TakesWritesThatItCannotKeep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := openLog(filepath.Join(dir, "redis.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.max = 10
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if n, err := l.Write([]byte("twelve bytes")); n != 12 || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
}

func TestLog_LastWordsAreTheLastWarningElseTheLastLine(t *testing.T) {
	const at = "4711:M 26 Nov 2026 12:00:00.123 "
	for name, c := range map[string]struct{ log, want string }{
		"a warning, then what follows from it": {at + "# Bad file format reading the append only file a.aof\n" + at + "* bye\n", "Bad file format reading the append only file a.aof"},
		"the machine's settings are no cause":  {at + "# WARNING Memory overcommit must be enabled!\n" + at + "* Ready\n", "Ready"},
		"a configuration it refuses":           {"*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\n>>> 'x y'\nBad directive\n", "Bad directive"},
		"no line break at the end":             {at + "# one\n" + at + "# two", "two"},
		"nothing":                              {"", ""},
	} {
		l := &boundedLog{tail: []byte(c.log)}
		if got := l.lastWords(); got != c.want {
			t.Errorf("%s: %q; want %q", name, got, c.want)
		}
	}
}
