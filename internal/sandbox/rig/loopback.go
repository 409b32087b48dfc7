package rig

import (
	"crypto/sha256"
	_ "embed" // the source of the shim
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

//go:embed loopback.c.txt
var loopbackSource []byte

// loopbackShim compiles the library that keeps a server on loopback, once per
// version of its source, and returns its path.
var loopbackShim = sync.OnceValues(func() (string, error) {
	dir, err := root()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, ".cache", "loopback")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	sum := sha256.Sum256(loopbackSource)
	lib := filepath.Join(dir, hex.EncodeToString(sum[:6])+".so")
	if _, err := os.Stat(lib); err == nil {
		return lib, nil
	}
	// Several test processes may do this at once: each its own file, then a rename.
	out := fmt.Sprintf("%s.%d", lib, os.Getpid())
	cmd := exec.Command("gcc", "-x", "c", "-shared", "-fPIC", "-O1", "-o", out, "-", "-ldl")
	cmd.Stdin = strings.NewReader(string(loopbackSource))
	if msg, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc: %w: %s", err, msg)
	}
	return lib, os.Rename(out, lib)
})

// onlyLoopback returns an error unless port is listened on, and on 127.0.0.1
// alone.
func onlyLoopback(port int) error {
	const listening = "0A"
	loopback := map[string]bool{
		"0100007F":                         true, // 127.0.0.1
		"0000000000000000FFFF00000100007F": true, // ::ffff:127.0.0.1
		"00000000000000000000000001000000": true, // ::1
	}
	found := false
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		b, err := os.ReadFile(table)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		for _, line := range strings.Split(string(b), "\n") {
			f := strings.Fields(line)
			if len(f) < 4 || f[3] != listening {
				continue
			}
			addr, hexPort, _ := strings.Cut(f[1], ":")
			if p, err := strconv.ParseUint(hexPort, 16, 32); err != nil || int(p) != port {
				continue
			}
			if !loopback[addr] {
				return fmt.Errorf("port %d is open beyond loopback (%s in %s)", port, addr, table)
			}
			found = true
		}
	}
	if !found {
		return fmt.Errorf("nobody listens on port %d", port)
	}
	return nil
}
