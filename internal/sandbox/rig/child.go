package rig

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is a server process of ours.
type child struct {
	name    string
	command func() *exec.Cmd // a fresh command for each start
	logPath string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// launches takes starts to the one goroutine that carries them out.
var launches = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go func() {
		// Pdeathsig fires when the thread that started the child ends, not the
		// process, so one thread starts them all and lives as long as we do.
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})

// start runs the child; its output is appended to its log.
func (c *child) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	log, err := os.OpenFile(c.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := c.command()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	result := make(chan error)
	launches() <- func() { result <- cmd.Start() }
	if err := <-result; err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	done := make(chan struct{})
	c.cmd, c.done = cmd, done
	go func() {
		_ = cmd.Wait() // how it ended is in the log
		close(done)
	}()
	return nil
}

// stop ends the child with sig, by force after ten seconds, and waits for it.
func (c *child) stop(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return
	}
	group := -c.cmd.Process.Pid
	_ = syscall.Kill(group, sig) // it may be gone already
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
		_ = syscall.Kill(group, syscall.SIGKILL)
		<-c.done
	}
	c.cmd = nil
}

// ended reports whether the child has ended by itself.
func (c *child) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return true
	}
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// await polls ready until it is true; it gives up when the child has ended.
func (c *child) await(limit time.Duration, ready func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if c.ended() {
			return fmt.Errorf("%s ended while starting; its log:\n%s", c.name, c.tail())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s was not ready after %v: %w; its log:\n%s", c.name, limit, err, c.tail())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// tail is the end of the child's log.
func (c *child) tail() string {
	const most = 8 << 10
	f, err := os.Open(c.logPath)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// attach stops the child and removes its folder with the test, after showing
// its log when the test has failed.
func (c *child) attach(tb TB, dir string) {
	tb.Cleanup(func() {
		c.stop(syscall.SIGTERM)
		if tb.Failed() {
			tb.Logf("end of the log of %s:\n%s", c.name, c.tail())
		}
		_ = os.RemoveAll(dir)
	})
}

const dirPrefix = "spanbot-rig-"

// newDir makes a short-named folder for one server. A process that was killed
// could not remove its own: the first call removes those of processes that are
// no more.
func newDir() (string, error) {
	sweep()
	return os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
}

var sweep = sync.OnceFunc(func() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range left {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		pid, err := strconv.Atoi(owner)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir)
		}
	}
})

// freePort finds a loopback port for a server. It stays below the range from
// which the kernel takes ports of outgoing connections, so that a stopped
// server finds its port free again.
func freePort() int {
	for range 1000 {
		port := 12000 + rand.IntN(20000)
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			l.Close()
			return port
		}
	}
	panic("rig: no free loopback port")
}

// root is the repository's folder.
var root = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("not inside the repository: no go.mod above the working directory")
		}
		dir = up
	}
})

// cached is the path of a part that make deps has put into .cache/.
func cached(path ...string) (string, error) {
	dir, err := root()
	if err != nil {
		return "", err
	}
	p := filepath.Join(append([]string{dir, ".cache"}, path...)...)
	if _, err := os.Stat(p); err != nil {
		return "", err
	}
	return p, nil
}

// Root is the repository's folder.
func Root(tb TB) string {
	tb.Helper()
	dir, err := root()
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return dir
}
