//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package redisd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What the folder holds beside the append-only file.
const (
	lockFile   = "lock"        // held by the process that called Start; its id is inside
	serverLock = "server.lock" // held by the server, which inherits it
	pidFile    = "redis.pid"   // of the server, written by it
	logFile    = "redis.log"
	socketFile = "redis.sock"
	aofFolder  = "appendonlydir"  // what is stored, since Redis 7.0 and in every Valkey
	aofFile    = "appendonly.aof" // before
)

// maxSocket is the longest path of a socket: sun_path takes 104 bytes on the
// BSDs and macOS, 108 on Linux, the end marker among them.
const maxSocket = 103

// folder is a data folder that is ours.
type folder struct {
	dir    string // absolute
	socket string
	short  string // folder made for the socket alone; "" = it is in dir
	lock   *os.File
}

func (f *folder) file(name string) string { return filepath.Join(f.dir, name) }

// claim makes the folder where it is not there, and takes its lock.
func claim(dir string) (*folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("the data folder cannot be found: %w", err)
	}
	f := &folder{dir: dir, socket: filepath.Join(dir, socketFile)}
	if err := f.private(); err != nil {
		return nil, err
	}
	if err := f.take(); err != nil {
		return nil, err
	}
	if len(f.socket) > maxSocket {
		if err := f.shorten(); err != nil {
			f.release()
			return nil, err
		}
	}
	return f, nil
}

// private makes the folder one that only we can enter. One that holds other
// things is not closed to the others who use them.
func (f *folder) private() error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("the data folder %s cannot be made: %w. Name another one with SPANBOT_DATA", f.dir, err)
	}
	info, err := os.Stat(f.dir)
	if err != nil {
		return fmt.Errorf("the data folder cannot be used: %w. Name another one with SPANBOT_DATA", err)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	inside, err := os.ReadDir(f.dir)
	if err != nil {
		return fmt.Errorf("the data folder cannot be read: %w. Name another one with SPANBOT_DATA", err)
	}
	if _, err := os.Stat(f.file(lockFile)); err != nil && len(inside) > 0 {
		return fmt.Errorf("the data folder %s holds other things and is open to other users (mode %04o): name an empty one with SPANBOT_DATA, or close it with chmod 700", f.dir, info.Mode().Perm())
	}
	if err := os.Chmod(f.dir, 0o700); err != nil {
		return fmt.Errorf("the data folder is open to other users: %w. Name another one with SPANBOT_DATA", err)
	}
	return nil
}

// take takes the lock of the folder.
func (f *folder) take() error {
	lock, err := flock(f.file(lockFile))
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := "another process"
		if pid := readPid(f.file(lockFile)); pid > 0 {
			holder = fmt.Sprintf("process %d", pid)
		}
		return fmt.Errorf("the data folder %s is in use by %s: stop that one, or give this one a folder of its own with SPANBOT_DATA", f.dir, holder)
	}
	if err != nil {
		return fmt.Errorf("the data folder %s cannot be locked: %w. Name one on a local disk with SPANBOT_DATA", f.dir, err)
	}
	f.lock = lock
	// For the text above alone: no pid inside is no failure.
	_ = lock.Truncate(0)
	_, _ = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return nil
}

// shorten puts the socket into a folder below the one for temporary files. Its
// name follows from the data folder's, so that the next start finds a server
// that was left behind.
func (f *folder) shorten() error {
	sum := sha256.Sum256([]byte(f.dir))
	name := fmt.Sprintf("spanbot-%d-%s", os.Getuid(), hex.EncodeToString(sum[:6]))
	short := filepath.Join(os.TempDir(), name)
	if len(filepath.Join(short, socketFile)) > maxSocket {
		short = filepath.Join("/tmp", name)
	}
	err := os.Mkdir(short, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("the path of %s is too long for a socket, and a folder for it cannot be made: %w. Name a shorter one with SPANBOT_DATA", f.dir, err)
	}
	// In a folder that anyone can write to, someone may have been there first.
	info, err := os.Lstat(short)
	if err != nil {
		return fmt.Errorf("the folder for the socket cannot be used: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !ok || owner.Uid != uint32(os.Getuid()) {
		return fmt.Errorf("the folder %s, for a socket, is not ours alone: remove it, or name a shorter data folder than %s with SPANBOT_DATA", short, f.dir)
	}
	f.short, f.socket = short, filepath.Join(short, socketFile)
	return nil
}

// release lets go of the folder. The lock is undone, not just closed: a program
// that is being started by this process right now holds a copy for a moment.
func (f *folder) release() {
	if f.short != "" {
		_ = os.Remove(f.socket)
		_ = os.Remove(f.short)
	}
	_ = syscall.Flock(int(f.lock.Fd()), syscall.LOCK_UN)
	f.lock.Close()
}

// serverEnds waits until no server writes to the folder, up to limit, and
// returns the lock that the next one inherits.
func (f *folder) serverEnds(ctx context.Context, limit time.Duration) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		lock, err := flock(f.file(serverLock))
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// clear stops a server that an earlier process left behind, in order.
func (f *folder) clear(ctx context.Context) (found bool, err error) {
	lock, err := f.serverEnds(ctx, 0)
	if err == nil {
		lock.Close()
		return false, nil
	}
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return false, fmt.Errorf("the data folder %s cannot be locked: %w. Name one on a local disk with SPANBOT_DATA", f.dir, err)
	}
	// It answers by ending, so the end of the connection is no failure; whether
	// it ended, the lock tells.
	said, asked := ask(f.socket, 3*time.Second, "SHUTDOWN")
	if asked != nil {
		said = asked.Error()
	}
	lock, err = f.serverEnds(ctx, 3*time.Second)
	if err == nil {
		lock.Close()
		return true, nil
	}
	who := "the server"
	if pid := readPid(f.file(pidFile)); pid > 0 {
		who = fmt.Sprintf("the server, process %d,", pid)
	}
	return true, fmt.Errorf("%s that an earlier start left behind still uses the data folder %s and does not stop when asked (%s): end it, then start again", who, f.dir, said)
}

// readBy refuses a server that would pass over what is stored: before 7.0 none
// knows of the folder that holds it since, and begins with nothing.
func (f *folder) readBy(what, info string) error {
	major, _, _ := strings.Cut(field(info, "redis_version"), ".")
	n, err := strconv.Atoi(major)
	if _, missing := os.Stat(f.file(aofFolder)); err != nil || n >= 7 || missing != nil {
		return nil
	}
	return fmt.Errorf("%s cannot read what is stored in %s, which a newer program wrote; nothing there was changed. Start the newer one (7.0 or later), or move the folder away to begin without it", what, f.dir)
}

// sweep removes what such a server made before it was refused.
func (f *folder) sweep() {
	old, err := os.Stat(f.file(aofFile))
	if _, missing := os.Stat(f.file(aofFolder)); err == nil && missing == nil && old.Size() == 0 {
		_ = os.Remove(f.file(aofFile)) // empty, and in nobody's way when it stays
	}
}

// flock opens a file and locks it, or fails at once with EWOULDBLOCK.
func flock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// readPid is the process id in a file, 0 when there is none.
func readPid(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}
