//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package redisd

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// ways are how a child can be tied to us: by the kernel where it can, by a
// shell everywhere, and not at all, as if both had failed.
var ways = map[string]func(*exec.Cmd) (func(), error){
	"system": startTied,
	"pipe":   byPipe,
	"none":   func(cmd *exec.Cmd) (func(), error) { return func() {}, cmd.Start() },
}

// TestMain is a process to be killed, when it is asked to be: it starts a server
// in the folder and writes k0, k1, … until it ends, each on its stdout once the
// server has answered.
func TestMain(m *testing.M) {
	dir, way := os.Getenv("REDISD_TEST_DIR"), os.Getenv("REDISD_TEST_WAY")
	if dir == "" {
		os.Exit(m.Run())
	}
	startTied = ways[way]
	s, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	o, err := redis.ParseURL(s.URL())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	c := redis.NewClient(o)
	for n := 0; ; n++ {
		if err := c.Set(context.Background(), "k"+strconv.Itoa(n), "v", 0).Err(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("k" + strconv.Itoa(n))
	}
}

// killed starts that process, kills it after a while and returns the last key
// that the server had answered and the server's process id.
func killed(t *testing.T, dir, way string, after int) (last, pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "REDISD_TEST_DIR="+dir, "REDISD_TEST_WAY="+way)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last = -1
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "k"))
		if err != nil {
			t.Fatalf("the process says %q", lines.Text())
		}
		last = n
		if last == after {
			pid = serverPid(t, dir)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if last < after {
		t.Fatalf("the process ended after key %d", last)
	}
	return last, pid
}

// leaveBehind makes a server whose process is no more, holding k0 and others.
func leaveBehind(t *testing.T, dir string) (last, pid int) {
	t.Helper()
	last, pid = killed(t, dir, "none", 20)
	if gone(pid) {
		t.Fatal("the server went with its process")
	}
	t.Cleanup(func() {
		if readPid(dir+"/"+pidFile) == pid {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return last, pid
}

// all checks that every key up to last is there.
func all(t *testing.T, c *redis.Client, last int) {
	t.Helper()
	for n := range last + 1 {
		if v, err := c.Get(t.Context(), "k"+strconv.Itoa(n)).Result(); err != nil || v != "v" {
			t.Fatalf("k%d of %d is lost: %q, %v", n, last, v, err)
		}
	}
}

func TestParent_KilledTakesTheServerWithItAndLosesNothingAnswered(t *testing.T) {
	needServer(t)
	t.Parallel()
	for _, way := range []string{"system", "pipe"} {
		t.Run(way, func(t *testing.T) {
			dir := t.TempDir()
			last, _ := killed(t, dir, way, 300)
			within(t, time.Second, "the server is gone, too", func() bool { return !serving(dir) })
			all(t, client(t, start(t, Options{Dir: dir}).URL()), last)
		})
	}
}

func TestLeftOverServer_IsStoppedAndFollowedByOurs(t *testing.T) {
	needServer(t)
	dir := t.TempDir()
	last, pid := leaveBehind(t, dir)
	s := start(t, Options{Dir: dir})
	if now := serverPid(t, dir); now == pid {
		t.Errorf("it is still process %d", pid)
	}
	all(t, client(t, s.URL()), last)
	if err := s.Close(); err != nil || serving(dir) {
		t.Errorf("a server is left (%v)", err)
	}
}

// The shell that waits must not outlive its server: its process id may be
// another's by then.
func TestPipe_TheShellEndsWithItsServer(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	untie, err := byPipe(cmd)
	if err != nil {
		t.Fatal(err)
	}
	shells := children(t)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	untie()
	if len(shells) == 0 {
		t.Skip("this system does not list a process's children")
	}
	for _, pid := range shells {
		if pid != cmd.Process.Pid && !gone(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
}

// children lists our child processes, where /proc knows them.
func children(t *testing.T) (pids []int) {
	t.Helper()
	out, err := exec.Command("ps", "-o", "pid=,args=", "--ppid", strconv.Itoa(os.Getpid())).Output()
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasSuffix(f[1], "sh") {
			pid, _ := strconv.Atoi(f[0])
			pids = append(pids, pid)
		}
	}
	return pids
}
