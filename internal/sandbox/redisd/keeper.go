//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package redisd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	firstWait = 100 * time.Millisecond // before a crashed server is started again
	longWait  = 5 * time.Second        // it is doubled with each crash up to this
	steady    = 30 * time.Second       // after running this long a crash counts as the first
	patience  = 10 * time.Second       // for a server that says nothing, not even that it is loading
	stopTime  = 3 * time.Second        // for an orderly end
)

// keeper keeps one server running in a folder.
type keeper struct {
	program string
	path    string // $PATH of the child
	folder  *folder
	out     *boundedLog
	log     *slog.Logger

	cancel context.CancelFunc // no more starts
	ended  chan struct{}      // closed when the watch has ended
	child  *child             // the watch's, and after it whoever waited for ended

	mu      sync.Mutex
	trouble error
}

// child is one run of the server.
type child struct {
	cmd   *exec.Cmd
	done  chan struct{} // closed when it has ended
	untie func()
	since time.Time
}

func startChild(ctx context.Context, o Options) (*Server, error) {
	program, err := find(o.Path)
	if err != nil {
		return nil, err
	}
	if o.Dir == "" {
		return nil, errors.New("no data folder is named; name one with SPANBOT_DATA")
	}
	f, err := claim(o.Dir)
	if err != nil {
		return nil, err
	}
	found, err := f.clear(ctx)
	if err != nil {
		f.release()
		return nil, err
	}
	if found {
		o.Log.Warn("a server that an earlier start left behind was stopped", "folder", f.dir)
	}
	out, err := openLog(f.file(logFile))
	if err != nil {
		f.release()
		return nil, fmt.Errorf("the data folder cannot be written to: %w. Name another one with SPANBOT_DATA", err)
	}
	k := &keeper{program: program, path: o.Path, folder: f, out: out, log: o.Log, ended: make(chan struct{})}
	what, err := k.start(ctx)
	if err != nil {
		out.close()
		f.release()
		return nil, err
	}
	// Not ctx: that one bounds the start.
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k.cancel = cancel
	go k.watch(watch)
	address := url.URL{Scheme: "unix", Path: f.socket}
	return &Server{url: address.String(), what: what, kept: true, trouble: k.err, stop: k.close}, nil
}

// start runs the server and waits until it answers.
func (k *keeper) start(ctx context.Context) (what string, err error) {
	name := filepath.Base(k.program)
	lock, err := k.folder.serverEnds(ctx, patience)
	if err != nil {
		return "", fmt.Errorf("%s does not start: another one still writes to the data folder %s", name, k.folder.dir)
	}
	defer lock.Close() // the child has its own
	cmd := exec.Command(k.program, "-")
	cmd.Args[0] = name
	cmd.Dir = k.folder.dir
	cmd.Env = []string{"PATH=" + k.path, "HOME=" + os.Getenv("HOME")} // nothing secret of ours
	cmd.Stdin = strings.NewReader(config(k.folder))
	cmd.Stdout, cmd.Stderr = k.out, k.out
	cmd.ExtraFiles = []*os.File{lock}
	cmd.WaitDelay = time.Second // a server's own child may hold the log open
	// A process group of its own: an interrupt from the terminal is for us, and
	// the server must outlive what we still have to store.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	k.out.fresh()
	untie, err := startTied(cmd)
	if err != nil {
		return "", fmt.Errorf("%s does not start: %w", k.program, err)
	}
	c := &child{cmd: cmd, done: make(chan struct{}), untie: untie, since: time.Now()}
	go func() {
		_ = cmd.Wait() // cmd.ProcessState tells how it ended
		untie()
		close(c.done)
	}()
	what, err = k.ready(ctx, c)
	if err != nil {
		_ = c.stop()
		k.folder.sweep()
		return "", err
	}
	k.child = c
	return what, nil
}

// ready waits until a child answers, and says which program it is.
func (k *keeper) ready(ctx context.Context, c *child) (what string, err error) {
	name := filepath.Base(k.program)
	silent := time.Now()
	for {
		info, err := ask(k.folder.socket, time.Second, "INFO", "server")
		if err == nil {
			// INFO answers while the data is loaded, PING does not.
			if _, err = ask(k.folder.socket, time.Second, "PING"); err == nil {
				if what, err = identify(info); err == nil {
					err = k.folder.readBy(what, info)
				}
				return what, err
			}
		}
		if loading(err) {
			silent = time.Now()
		}
		if time.Since(silent) > patience {
			return "", fmt.Errorf("%s does not answer %s after it was started: %w; its log is %s", name, patience, err, k.out.path)
		}
		select {
		case <-c.done:
			return "", k.why()
		case <-ctx.Done():
			return "", fmt.Errorf("%s was still starting: %w", name, context.Cause(ctx))
		case <-time.After(3 * time.Millisecond):
		}
	}
}

// why explains a child that ended while it was starting, by its last words.
func (k *keeper) why() error {
	name, words := filepath.Base(k.program), k.out.lastWords()
	low := strings.ToLower(words)
	for _, sign := range []string{"append only file", "append-only file", "aof", "rdb"} {
		if strings.Contains(low, sign) {
			return fmt.Errorf("%s cannot read what is stored in %s; nothing there was changed. It says: %q. Move the folder away to begin without it; or mend a copy with %s, or start the newer program that wrote it",
				name, k.folder.dir, words, strings.Replace(name, "-server", "-check-aof", 1))
		}
	}
	return fmt.Errorf("%s ended while it was starting; its last words in %s: %q", name, k.out.path, words)
}

// watch starts the server again whenever it has ended.
func (k *keeper) watch(ctx context.Context) {
	defer close(k.ended)
	wait := firstWait
	for {
		c := k.child
		select {
		case <-ctx.Done():
			return
		case <-c.done:
		}
		if time.Since(c.since) > steady {
			wait = firstWait
		}
		err := fmt.Errorf("%s ended by itself (%s); its last words in %s: %q. It is started again", filepath.Base(k.program), c.cmd.ProcessState, k.out.path, k.out.lastWords())
		for {
			if ctx.Err() != nil {
				return
			}
			k.set(err)
			k.log.Error("the queue's server is not there and is started again", "wait", wait, "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, longWait)
			if _, err = k.start(ctx); err == nil {
				break
			}
		}
		k.set(nil)
		k.log.Info("the queue's server is there again, with all that it had answered")
	}
}

func (k *keeper) set(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.trouble = err
}

func (k *keeper) err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.trouble
}

// close stops the server and lets go of the folder.
func (k *keeper) close() error {
	k.cancel()
	<-k.ended
	err := k.child.stop()
	k.set(errors.New("the embedded queue was stopped"))
	k.out.close()
	k.folder.release()
	if err != nil {
		return fmt.Errorf("%s in %s: %w", filepath.Base(k.program), k.folder.dir, err)
	}
	return nil
}

// stop ends a child in order, by force when it takes too long.
func (c *child) stop() error {
	// SIGTERM is SHUTDOWN: the append-only file is written to its end. The
	// server may be gone already.
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
		return nil
	case <-time.After(stopTime):
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.done
	return fmt.Errorf("it did not stop within %s and was killed", stopTime)
}
