//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package redisd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// needServer skips a test that needs one of the programs, or fails it where
// everything is promised to be there. As rig.Need, which is for Linux alone.
func needServer(t *testing.T) {
	t.Helper()
	_, err := find(os.Getenv("PATH"))
	switch {
	case err == nil:
	case os.Getenv("SPANBOT_TEST_REQUIRE") != "" || os.Getenv("CI") != "":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}

// within waits until f is true.
func within(t *testing.T, limit time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// serverPid is the process id of the server of a folder.
func serverPid(t *testing.T, dir string) int {
	t.Helper()
	pid := readPid(filepath.Join(dir, pidFile))
	if pid == 0 {
		t.Fatalf("no process id in %s", dir)
	}
	return pid
}

func gone(pid int) bool { return syscall.Kill(pid, 0) != nil }

// serving reports whether a server lives in a folder. Its process id does not
// tell: one whose parent was killed may stay a zombie for seconds.
func serving(dir string) bool {
	lock, err := flock(filepath.Join(dir, serverLock))
	if err == nil {
		lock.Close()
	}
	return err != nil
}

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

func TestChild_BringsEverythingBackAfterARestart(t *testing.T) {
	needServer(t)
	dir := filepath.Join(t.TempDir(), "not there yet", `"quoted" # ünd`)
	for n := range 3 {
		began := time.Now()
		s := start(t, Options{Dir: dir})
		if d := time.Since(began); d > 300*time.Millisecond {
			t.Logf("the start took %s", d) // a busy machine is no failure
		}
		if !s.Kept() || s.Err() != nil {
			t.Errorf("Kept %v, Err %v", s.Kept(), s.Err())
		}
		c := client(t, s.URL())
		for before := range n {
			holds(t, c, "k"+strconv.Itoa(before), "v")
		}
		set(t, c, "k"+strconv.Itoa(n), "v")
		pid := serverPid(t, dir)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if !gone(pid) {
			t.Errorf("process %d runs after Close", pid)
		}
		if s.Err() == nil {
			t.Error("after Close it says that it runs")
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info.Mode(), err)
	}
}

func TestChild_IsToldWhatAQueueNeeds(t *testing.T) {
	needServer(t)
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	c := client(t, s.URL())
	for name, want := range map[string]string{
		"port": "0", "appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": "", "aof-load-truncated": "yes",
	} {
		if got := c.ConfigGet(t.Context(), name).Val()[name]; got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
	version := field(c.Info(t.Context(), "server").Val(), "redis_version")
	if name, v, _ := strings.Cut(s.What(), " "); !slices.Contains(programs, name) || v == "" || name == "redis-server" && v != version {
		t.Errorf("What = %q; the server says %s", s.What(), version)
	}
	if info, err := os.Stat(filepath.Join(dir, socketFile)); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
}

func TestChild_InheritsNoSecret(t *testing.T) {
	needServer(t)
	t.Setenv("SLACK_BOT_TOKEN", "xoxb-secret")
	server, err := find(os.Getenv("PATH"))
	if err != nil {
		t.Fatal(err)
	}
	// Redis overwrites what /proc shows of its environment.
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n/usr/bin/env >'%s/env'\nexec '%s' \"$@\"\n", bin, server)
	if err := os.WriteFile(filepath.Join(bin, "redis-server"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	start(t, Options{Dir: t.TempDir(), Path: bin})
	env, err := os.ReadFile(filepath.Join(bin, "env"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(env)) {
		// The shell adds the last ones.
		if name, _, _ := strings.Cut(line, "="); !slices.Contains([]string{"PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_"}, name) {
			t.Errorf("it inherits %s", name)
		}
	}
	if !strings.Contains(string(env), "PATH="+bin) {
		t.Errorf("its environment is %q", env)
	}
}

func TestChild_CrashIsToldAndHealed(t *testing.T) {
	needServer(t)
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	c := client(t, s.URL())
	for n := range 2 { // each crash, not just the first
		set(t, c, "k"+strconv.Itoa(n), "v")
		pid := serverPid(t, dir)
		kill(t, pid, syscall.SIGKILL)
		within(t, time.Second, "Err tells of the crash", func() bool { return s.Err() != nil })
		if err := s.Err(); err != nil && (!strings.Contains(err.Error(), "killed") || !strings.Contains(err.Error(), dir)) {
			t.Errorf("Err = %v", err)
		}
		within(t, 3*time.Second, "Err is nil again", func() bool { return s.Err() == nil })
		for before := range n + 1 {
			holds(t, c, "k"+strconv.Itoa(before), "v")
		}
		if now := serverPid(t, dir); now == pid {
			t.Error("the same process")
		}
	}
}

// Nothing helps for a while: it is tried again and again, and what is wrong can
// be read.
func TestChild_ThatCannotStartAgainSaysWhyUntilItCan(t *testing.T) {
	needServer(t)
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	c := client(t, s.URL())
	set(t, c, "k", "v")
	aof := incremental(t, dir)
	good, err := os.ReadFile(aof)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(aof, append([]byte("nonsense\r\n"), good...), 0o600); err != nil {
		t.Fatal(err)
	}
	kill(t, serverPid(t, dir), syscall.SIGKILL)
	within(t, 5*time.Second, "Err says what is wrong", func() bool {
		err := s.Err()
		return err != nil && strings.Contains(err.Error(), "cannot read what is stored in "+dir)
	})
	if err := os.WriteFile(aof, good, 0o600); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "it runs again", func() bool { return s.Err() == nil })
	holds(t, c, "k", "v")
}

// incremental is the append-only file that is written to.
func incremental(t *testing.T, dir string) string {
	t.Helper()
	for _, pattern := range []string{"appendonlydir/*.incr.aof", "appendonly.aof"} { // since 7.0, before
		if files, _ := filepath.Glob(filepath.Join(dir, pattern)); len(files) == 1 {
			return files[0]
		}
	}
	t.Fatal("no append-only file in " + dir)
	return ""
}

func TestChild_LoadsAFileThatEndsInTheMiddleOfAWrite(t *testing.T) {
	needServer(t)
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	c := client(t, s.URL())
	set(t, c, "first", "v")
	set(t, c, "second", "v")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	aof := incremental(t, dir)
	info, err := os.Stat(aof)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(aof, info.Size()-3); err != nil {
		t.Fatal(err)
	}
	c = client(t, start(t, Options{Dir: dir}).URL())
	holds(t, c, "first", "v")
	if n := c.Exists(t.Context(), "second").Val(); n != 0 {
		t.Error("the write that was cut is there")
	}
}

func TestChild_RefusesAFileThatIsBrokenAndChangesNothing(t *testing.T) {
	needServer(t)
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	set(t, client(t, s.URL()), "k", "v")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	aof := incremental(t, dir)
	good, err := os.ReadFile(aof)
	if err != nil {
		t.Fatal(err)
	}
	bad := append([]byte("nonsense\r\n"), good...)
	if err := os.WriteFile(aof, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second, too: the first has let go of the folder
		s, err := Start(t.Context(), Options{Dir: dir})
		if err == nil {
			s.Close()
			t.Fatal("it started")
		}
		for _, want := range []string{dir, "nothing there was changed", "Move the folder away"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v\ndoes not say %q", err, want)
			}
		}
	}
	if now, err := os.ReadFile(aof); err != nil || string(now) != string(bad) {
		t.Errorf("the file was changed (%v)", err)
	}
}

func TestChild_ThatHangsIsKilledByClose(t *testing.T) {
	needServer(t)
	t.Parallel()
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	set(t, client(t, s.URL()), "k", "v")
	pid := serverPid(t, dir)
	kill(t, pid, syscall.SIGSTOP)
	began := time.Now()
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("Close = %v", err)
	}
	if d := time.Since(began); d > stopTime+time.Second || !gone(pid) {
		t.Errorf("Close took %s; process gone: %v", d, gone(pid))
	}
	holds(t, client(t, start(t, Options{Dir: dir}).URL()), "k", "v")
}

func TestStart_EndsWithItsContext(t *testing.T) {
	needServer(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Start(ctx, Options{Dir: dir}); err == nil {
		s.Close()
		t.Error("it started")
	}
	start(t, Options{Dir: dir}) // and left nothing behind
}

// An older program would fail at the first script that it does not know.
func TestIdentify(t *testing.T) {
	for name, c := range map[string]struct{ info, what, refused string }{
		"redis":             {"# Server\r\nredis_version:7.0.15\r\nos:x\r\n", "redis-server 7.0.15", ""},
		"oldest redis":      {"redis_version:6.2.0\r\n", "redis-server 6.2.0", ""},
		"too old a redis":   {"redis_version:6.0.16\r\n", "redis-server 6.0.16", "needs 6.2"},
		"valkey":            {"redis_version:7.2.4\r\nvalkey_version:8.1.3\r\n", "valkey-server 8.1.3", ""},
		"oldest valkey":     {"redis_version:7.2.4\r\nvalkey_version:7.2.5\r\n", "valkey-server 7.2.5", ""},
		"another numbering": {"redis_version:unstable\r\n", "redis-server unstable", ""},
	} {
		what, err := identify(c.info)
		if what != c.what || (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %q, %v; want %q, %q", name, what, err, c.what, c.refused)
		}
	}
}

// Redis 6.2 would begin with nothing beside what 7.0 stored, in silence.
func TestFolder_IsNotGivenToAProgramThatPassesOverWhatIsStored(t *testing.T) {
	const redis6, redis7, valkey = "redis_version:6.2.5\r\n", "redis_version:7.0.15\r\n", "redis_version:7.2.4\r\nvalkey_version:8.1.3\r\n"
	f := &folder{dir: t.TempDir()}
	for _, info := range []string{redis6, redis7, valkey} {
		if err := f.readBy("redis-server", info); err != nil {
			t.Errorf("an empty folder: %v", err)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(f.file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	there := func(name string) bool { _, err := os.Stat(f.file(name)); return err == nil }
	write(aofFile, "")
	if f.sweep(); !there(aofFile) {
		t.Error("the file of a server before 7.0 was removed")
	}
	if err := os.Mkdir(f.file(aofFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	for info, refused := range map[string]bool{redis6: true, redis7: false, valkey: false} {
		if err := f.readBy("redis-server", info); (err != nil) != refused || refused && !strings.Contains(err.Error(), f.dir) {
			t.Errorf("%q: %v; want refused: %v", info, err, refused)
		}
	}
	if f.sweep(); there(aofFile) {
		t.Error("what the refused server made is still there")
	}
	write(aofFile, "*1")
	if f.sweep(); !there(aofFile) {
		t.Error("a file with something in it was removed")
	}
}

func TestFind_PrefersValkeyAndLeavesOutWhatCannotRun(t *testing.T) {
	a, b, c := t.TempDir(), t.TempDir(), t.TempDir()
	write := func(dir, name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := strings.Join([]string{a, "", ".", b, c}, string(filepath.ListSeparator))
	if got, err := find(path); err == nil {
		t.Errorf("found %s", got)
	}
	write(a, "valkey-server", 0o600)
	redis := write(b, "redis-server", 0o700)
	if got, err := find(path); got != redis {
		t.Errorf("find = %q, %v; want %s", got, err, redis)
	}
	valkey := write(c, "valkey-server", 0o700)
	if got, err := find(path); got != valkey {
		t.Errorf("find = %q, %v; want %s", got, err, valkey)
	}
}

// A program of that name that is something else.
func TestStart_TellsOfAProgramThatDoesNotServe(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "redis-server"), []byte("#!/bin/sh\necho out of cheese\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell")
	}
	s, err := Start(t.Context(), Options{Dir: t.TempDir(), Path: bin})
	if err == nil {
		s.Close()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), "out of cheese") {
		t.Errorf("Start = %v", err)
	}
}
