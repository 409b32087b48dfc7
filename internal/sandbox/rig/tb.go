package rig

import (
	"fmt"
	"os"
	"runtime"
	"sync"
)

// TB is the part of testing.TB that the rig uses, so that a program can start
// the same servers (see Program).
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Cleanup(func())
	Failed() bool
}

// Need ends the test when err is not nil: what it needs is not here. On a
// laptop it is skipped, with the reason; where everything is promised to be
// installed (CI, SPANBOT_TEST_REQUIRE) it fails.
func Need(tb TB, what string, err error) {
	tb.Helper()
	if err == nil {
		return
	}
	if os.Getenv("SPANBOT_TEST_REQUIRE") != "" || os.Getenv("CI") != "" {
		tb.Fatalf("%s is required here: %v (make deps installs it)", what, err)
	}
	tb.Skipf("needs %s: %v (make deps installs it)", what, err)
}

// program is a TB for a command that is not a test.
type program struct {
	mu      sync.Mutex
	clean   []func()
	failure error
}

// Program runs f outside of a test, as make bench does: Fatalf and Skipf end f
// and become the error, and what was started is stopped before Program returns.
func Program(f func(TB)) error {
	p := &program{}
	done := make(chan struct{})
	go func() { // Fatalf ends the goroutine, as it does in a test
		defer close(done)
		defer p.cleanUp()
		f(p)
	}()
	<-done
	return p.failure
}

func (p *program) cleanUp() {
	for {
		p.mu.Lock()
		if len(p.clean) == 0 {
			p.mu.Unlock()
			return
		}
		last := p.clean[len(p.clean)-1]
		p.clean = p.clean[:len(p.clean)-1]
		p.mu.Unlock()
		last()
	}
}

func (p *program) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure == nil {
		p.failure = err
	}
}

func (p *program) Helper() {}

func (p *program) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (p *program) Errorf(format string, args ...any) {
	p.Logf(format, args...)
	p.fail(fmt.Errorf(format, args...))
}

func (p *program) Fatalf(format string, args ...any) {
	p.fail(fmt.Errorf(format, args...))
	runtime.Goexit()
}

func (p *program) Skipf(format string, args ...any) { p.Fatalf(format, args...) }

func (p *program) Cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clean = append(p.clean, f)
}

func (p *program) Failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure != nil
}
