// Package redisd is the embedded queue: a Redis of the process's own, for when
// none is configured.
//
// It is a valkey-server or redis-server from PATH, run as a child with its data
// in a folder: reached by a unix socket alone, every write on the disk before it
// is answered, nothing ever evicted. A restart brings everything back.
// Without either program it is miniredis, in memory, gone after exit: Kept tells.
//
//   - redisd.go: what a caller sees
//   - folder.go: the data folder, its locks, where the socket is
//   - keeper.go: the child is started, watched, started again, stopped
//   - config.go: what the child is told, which program it is
//   - ask.go: a few words of RESP, to ask the child about itself
//   - tie.go, tie_linux.go: the child dies with us, whatever ends us
//   - log.go: the child's log, bounded
//   - memory.go: miniredis
//   - other.go: systems without unix sockets and file locks have miniredis alone
//
// Two locks guard the folder. "lock" is held by the process that called Start,
// so that two do not share one folder. "server.lock" is held by the child, which
// inherits it: as long as any server lives that writes there, whoever started
// it, no second one is started.
//
// Not here: Redis as a client sees it. Nothing in this package reads or writes
// a key.
package redisd

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
)

// Options say where the data is.
type Options struct {
	Dir    string       // the data folder, made with mode 0700 when it is not there; not needed with Memory
	Log    *slog.Logger // crashes and recoveries; nil: silent
	Memory bool         // miniredis, whatever is on PATH
	Path   string       // where the programs are looked for, as $PATH is written; "" = $PATH
}

// Server is a Redis that runs. It is safe for concurrent use.
type Server struct {
	url, what string
	kept      bool
	trouble   func() error
	stop      func() error

	once   sync.Once
	closed error
}

// Start starts a Redis and returns once it answers. ctx bounds the start alone;
// the server runs until Close.
//
// An error is a sentence for the person who started the program: the folder is
// another process's, its data cannot be read, the program is too old. Neither
// case touches what is stored.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Path == "" {
		o.Path = os.Getenv("PATH")
	}
	if !o.Memory {
		s, err := startChild(ctx, o)
		if !errors.Is(err, errNoProgram) {
			return s, err
		}
	}
	return startMemory()
}

// errNoProgram says that this machine has nothing to run as a child.
var errNoProgram = errors.New("neither valkey-server nor redis-server is on PATH")

// URL is the server's address as redis.ParseURL reads it:
// "unix:///home/ana/.local/share/spanbot/redis.sock", or, in memory,
// "redis://:PASSWORD@127.0.0.1:PORT/0". It holds a password: not for a log.
// It stays the same when a crashed server is started again.
func (s *Server) URL() string { return s.url }

// What names the program, "valkey-server 8.1.3", "redis-server 7.0.15" or "miniredis".
func (s *Server) What() string { return s.what }

// Kept reports whether what is stored survives the end of the process.
func (s *Server) Kept() bool { return s.kept }

// Err says why the server does not run right now, nil when it does. One that
// crashed is started again by itself.
func (s *Server) Err() error { return s.trouble() }

// Close stops the server in order, by force after three seconds, and lets go of
// the folder. Whoever uses the server must have finished. Its error says that
// force was needed; what had been answered is kept all the same. More than one
// call does no harm.
func (s *Server) Close() error {
	s.once.Do(func() { s.closed = s.stop() })
	return s.closed
}
