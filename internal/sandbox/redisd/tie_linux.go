package redisd

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// startTied starts a child that ends with us, even by kill -9.
var startTied = byKernel

// byKernel lets the kernel send the child a SIGKILL when we end.
func byKernel(cmd *exec.Cmd) (untie func(), err error) {
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result := make(chan error)
	thread() <- func() { result <- cmd.Start() }
	return func() {}, <-result
}

// thread takes starts to the one goroutine that carries them out. The signal
// comes when the thread that started the child ends, not the process, so one
// thread starts them all and lives as long as we do.
var thread = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})
