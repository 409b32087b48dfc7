//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package redisd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestFolder_IsOneProcessesAtATime(t *testing.T) {
	needServer(t)
	dir := t.TempDir()
	first := start(t, Options{Dir: dir})
	c := client(t, first.URL())
	set(t, c, "k", "v")
	link := filepath.Join(t.TempDir(), "link") // the same folder by another name
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, link} {
		s, err := Start(t.Context(), Options{Dir: d})
		if err == nil {
			s.Close()
			t.Fatal("a second one started")
		}
		for _, want := range []string{d, fmt.Sprintf("process %d", os.Getpid()), "SPANBOT_DATA"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v\ndoes not say %q", err, want)
			}
		}
	}
	if first.Err() != nil {
		t.Errorf("the first one was disturbed: %v", first.Err())
	}
	holds(t, c, "k", "v")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	holds(t, client(t, start(t, Options{Dir: link}).URL()), "k", "v")
}

func TestFolder_WithALongPathHasItsSocketElsewhere(t *testing.T) {
	needServer(t)
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	for n := range 2 {
		s := start(t, Options{Dir: dir})
		c := client(t, s.URL())
		if n == 0 {
			set(t, c, "k", "v")
		}
		holds(t, c, "k", "v")
		socket := address(t, s)
		short := filepath.Dir(socket)
		if len(socket) > maxSocket || strings.HasPrefix(socket, dir) {
			t.Errorf("the socket is at %s", socket)
		}
		if info, err := os.Stat(short); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("its folder: %v, %v", info.Mode(), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(short); !os.IsNotExist(err) {
			t.Errorf("its folder is still there (%v)", err)
		}
	}
}

// address is the path of a server's socket.
func address(t *testing.T, s *Server) string {
	t.Helper()
	o, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	return o.Addr
}

// Anyone can make a folder below /tmp.
func TestFolder_ForTheSocketMustBeOursAlone(t *testing.T) {
	needServer(t)
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	s := start(t, Options{Dir: dir})
	short := filepath.Dir(address(t, s))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	for name, squat := range map[string]func() error{
		"open to others": func() error { return firstOf(os.Mkdir(short, 0o700), os.Chmod(short, 0o755)) },
		"a link":         func() error { return os.Symlink(t.TempDir(), short) },
	} {
		if err := squat(); err != nil {
			t.Fatal(err)
		}
		if s, err := Start(t.Context(), Options{Dir: dir}); err == nil {
			s.Close()
			t.Errorf("%s: it started", name)
		} else if !strings.Contains(err.Error(), short) {
			t.Errorf("%s: %v does not name it", name, err)
		}
		if err := os.Remove(short); err != nil {
			t.Fatal(err)
		}
	}
	start(t, Options{Dir: dir}) // what was refused let go of the data folder
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestFolder_IsClosedToOthersUnlessItHoldsOtherThings(t *testing.T) {
	needServer(t)
	open := func(t *testing.T) string {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	mode := func(t *testing.T, dir string) os.FileMode {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	empty := open(t)
	start(t, Options{Dir: empty})
	if m := mode(t, empty); m != 0o700 {
		t.Errorf("an empty folder has mode %04o then; want 0700", m)
	}
	shared := open(t)
	if err := os.WriteFile(filepath.Join(shared, "notes"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), Options{Dir: shared})
	if err == nil {
		s.Close()
		t.Fatal("it started in a folder of others")
	}
	if !strings.Contains(err.Error(), shared) || !strings.Contains(err.Error(), "0755") || mode(t, shared) != 0o755 {
		t.Errorf("%v; mode %04o", err, mode(t, shared))
	}
	if inside, err := os.ReadDir(shared); err != nil || len(inside) != 1 {
		t.Errorf("it holds %v, %v", inside, err)
	}
}

func TestFolder_ThatCannotBeMadeIsNamed(t *testing.T) {
	needServer(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), ""} {
		if s, err := Start(t.Context(), Options{Dir: dir}); err == nil {
			s.Close()
			t.Errorf("%q: it started", dir)
		} else if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "SPANBOT_DATA") {
			t.Errorf("%q: %v", dir, err)
		}
	}
}

// A server that does not even answer must not get a second one beside it.
func TestFolder_WithAServerThatHangsIsRefused(t *testing.T) {
	needServer(t)
	t.Parallel()
	dir := t.TempDir()
	_, pid := leaveBehind(t, dir)
	kill(t, pid, syscall.SIGSTOP)
	s, err := Start(t.Context(), Options{Dir: dir})
	if err == nil {
		s.Close()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), fmt.Sprintf("process %d", pid)) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Start = %v", err)
	}
	kill(t, pid, syscall.SIGKILL)
	holds(t, client(t, start(t, Options{Dir: dir}).URL()), "k0", "v")
}
