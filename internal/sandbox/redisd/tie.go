//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package redisd

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// byPipe starts a child and a shell that waits for the end of a pipe whose other
// end we hold. Whatever ends us ends the pipe, and the shell ends the child.
//
// A process of ours that is killed between the two starts leaves the child
// behind; the next Start finds it. untie is for a child that has ended: its id
// may soon be another's.
func byPipe(cmd *exec.Cmd) (untie func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, err
	}
	shell := exec.Command("/bin/sh", "-c", `read -r _; kill -KILL "$1"`, "sh", strconv.Itoa(cmd.Process.Pid))
	shell.Stdin, shell.Env, shell.Dir = r, []string{}, "/"
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is not for it
	if err := shell.Start(); err != nil {
		w.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("the shell that ends it with us cannot be started: %w", err)
	}
	return func() {
		_ = shell.Process.Kill()
		_ = shell.Wait()
		w.Close()
	}, nil
}
