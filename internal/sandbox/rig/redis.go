package rig

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// RedisServer is a real redis-server or valkey-server with an append-only file
// that is written through on every command, as production is told to run it.
type RedisServer struct {
	URL    string // redis://127.0.0.1:PORT/0
	Addr   string // 127.0.0.1:PORT
	Socket string // path of its unix socket
	Name   string // "redis 7.0.15" or "valkey 8.1.1"
	tb     TB
	child  *child
}

// Redis starts a server with an empty data folder of its own.
func Redis(tb TB) *RedisServer {
	tb.Helper()
	return RedisWith(tb)
}

// RedisWith starts a server with further lines of configuration, as
// "replicaof 127.0.0.1 6379".
func RedisWith(tb TB, lines ...string) *RedisServer {
	tb.Helper()
	bin, err := redisBinary()
	Need(tb, "redis-server or valkey-server", err)
	dir, err := newDir()
	if err != nil {
		tb.Fatalf("redis: %v", err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", freePort())
	_, port, _ := net.SplitHostPort(addr)
	s := &RedisServer{
		URL:    "redis://" + addr + "/0",
		Addr:   addr,
		Socket: filepath.Join(dir, "r.sock"),
		Name:   redisName(bin),
		tb:     tb,
	}
	config := strings.Join(append(append([]string{
		"bind 127.0.0.1", "port " + port, "unixsocket " + s.Socket, "dir " + dir,
		"appendonly yes", "appendfsync always", `save ""`, "maxmemory-policy noeviction",
		"daemonize no",
	}, lines...), ""), "\n")
	s.child = &child{
		name:    s.Name,
		logPath: filepath.Join(dir, "log"),
		command: func() *exec.Cmd {
			cmd := exec.Command(bin, "-")
			cmd.Stdin = strings.NewReader(config)
			return cmd
		},
	}
	s.child.attach(tb, dir)
	s.Start()
	return s
}

// Sentinel starts a sentinel that watches a master under the name "mymaster",
// takes it for dead after a second, and decides alone. It returns its address.
func Sentinel(tb TB, master *RedisServer) string {
	tb.Helper()
	return SentinelWith(tb, master.Addr)
}

// SentinelWith starts one that watches the master at an address, with further
// lines of configuration.
func SentinelWith(tb TB, master string, lines ...string) string {
	tb.Helper()
	bin, err := redisBinary()
	Need(tb, "redis-server or valkey-server", err)
	dir, err := newDir()
	if err != nil {
		tb.Fatalf("sentinel: %v", err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", freePort())
	_, port, _ := net.SplitHostPort(addr)
	_, watched, _ := net.SplitHostPort(master)
	file := filepath.Join(dir, "sentinel.conf") // it writes what it learns there
	err = os.WriteFile(file, []byte(strings.Join(append(append([]string{"bind 127.0.0.1", "port " + port, "dir " + dir}, lines...),
		"sentinel monitor mymaster 127.0.0.1 "+watched+" 1",
		"sentinel down-after-milliseconds mymaster 1000", "sentinel failover-timeout mymaster 4000", "",
	), "\n")), 0o600)
	if err != nil {
		tb.Fatalf("sentinel: %v", err)
	}
	s := &RedisServer{Addr: addr, tb: tb, child: &child{name: "sentinel", logPath: filepath.Join(dir, "log"),
		command: func() *exec.Cmd { return exec.Command(bin, file, "--sentinel") }}}
	s.child.attach(tb, dir)
	s.Start()
	return addr
}

// Start starts the server again, on the same address and data.
func (s *RedisServer) Start() {
	s.tb.Helper()
	err := s.child.start()
	if err == nil {
		err = s.child.await(10*time.Second, s.ping)
	}
	if err != nil {
		s.tb.Fatalf("redis: %v", err)
	}
}

// Stop ends the server in order and waits for it.
func (s *RedisServer) Stop() { s.child.stop(syscall.SIGTERM) }

// Kill ends the server as a crash does.
func (s *RedisServer) Kill() { s.child.stop(syscall.SIGKILL) }

// ping is nil once the server answers commands (it says LOADING before).
func (s *RedisServer) ping() error {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if line != "+PONG\r\n" {
		return fmt.Errorf("PING answered %q", line)
	}
	return nil
}

func redisBinary() (string, error) {
	if bin, err := exec.LookPath("valkey-server"); err == nil {
		return bin, nil
	}
	return exec.LookPath("redis-server")
}

var versionWords = regexp.MustCompile(`(?i)(redis|valkey) server v=(\S+)`)

// redisName is the server's kind and version, as a benchmark's table wants it.
func redisName(bin string) string {
	out, err := exec.Command(bin, "--version").Output()
	m := versionWords.FindStringSubmatch(string(out))
	if err != nil || m == nil {
		return filepath.Base(bin)
	}
	return strings.ToLower(m[1]) + " " + m[2]
}
