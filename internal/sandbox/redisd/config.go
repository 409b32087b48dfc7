//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package redisd

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// programs are the servers that are looked for, the preferred one first.
var programs = []string{"valkey-server", "redis-server"}

// find is the first of the programs that a list of folders, written as $PATH
// is, holds. A relative folder is left out: it would depend on where the
// process was started.
func find(path string) (string, error) {
	for _, name := range programs {
		for _, dir := range filepath.SplitList(path) {
			file := filepath.Join(dir, name)
			info, err := os.Stat(file)
			if filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return file, nil
			}
		}
	}
	return "", errNoProgram
}

// config is what the child reads on its stdin. Every directive is known since
// Redis 6.2 and Valkey 7.2.
func config(f *folder) string {
	lines := [][]string{
		{"port", "0"}, // no TCP at all
		{"unixsocket", f.socket},
		{"unixsocketperm", "700"},
		{"dir", f.dir},
		{"pidfile", f.file(pidFile)},
		{"appendonly", "yes"},
		{"appendfsync", "always"},
		{"aof-load-truncated", "yes"}, // a crash in the middle of a write that nobody was told of
		{"save", ""},                  // the append-only file is enough
		{"maxmemory-policy", "noeviction"},
		{"daemonize", "no"},
		{"logfile", ""}, // stdout
	}
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s %s\n", l[0], quote(l[1]))
	}
	return b.String()
}

// quote writes a value as Redis's configuration reads it back: in double quotes,
// with the bytes that mean something there in hex.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// identify reads the name and the version of the program out of INFO's answer,
// and refuses one that is too old for what Spanbot stores.
func identify(info string) (what string, err error) {
	name, version, floor := "redis-server", field(info, "redis_version"), [2]int{6, 2}
	if v := field(info, "valkey_version"); v != "" { // which calls itself Redis 7.2.4, too
		name, version, floor = "valkey-server", v, [2]int{7, 2}
	}
	what = name + " " + version
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	have := [2]int{}
	for i, s := range []string{major, minor} {
		if have[i], err = strconv.Atoi(s); err != nil {
			return what, nil // a fork that counts otherwise
		}
	}
	if have[0] < floor[0] || have[0] == floor[0] && have[1] < floor[1] {
		return what, fmt.Errorf("%s is too old for the queue, which needs %d.%d: install a newer one, set REDIS_URL to a Redis elsewhere, or REDIS_URL=memory for a queue that is gone after exit", what, floor[0], floor[1])
	}
	return what, nil
}
