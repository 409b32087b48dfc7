//go:build faultpoints

package bot

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// lease is the length of a lease, at most SPANBOT_LEASE: a test need not wait a
// minute for one to end whose holder it has killed.
func lease(d time.Duration) time.Duration {
	if most, err := time.ParseDuration(os.Getenv("SPANBOT_LEASE")); err == nil {
		return min(d, most)
	}
	return d
}

// late is how much later: an ack is on the wire by then.
const late = 300 * time.Millisecond

// armedFault is one element of SPANBOT_FAULT.
type armedFault struct {
	at     int64 // the pass at which it happens
	how    string
	passed atomic.Int64
}

// armed is what SPANBOT_FAULT says, by the name of the point: elements
// "name:n" or "name:n:how" with commas between. At the n-th pass of that point the
// process
//
//	kill   ends as by kill -9; this is how when nothing is said
//	late   goes on, but for this step, and ends a little later
//	after  goes on, this step too, and ends a little later
//	hold   goes on, but for this step, which waits for ever; so do later passes
//	stop   stands still as by SIGSTOP until somebody sends SIGCONT
var armed = faultsFromEnv()

func faultsFromEnv() map[string]*armedFault {
	all := map[string]*armedFault{}
	for e := range strings.SplitSeq(os.Getenv("SPANBOT_FAULT"), ",") {
		name, rest, ok := strings.Cut(e, ":")
		if !ok {
			continue
		}
		n, how, _ := strings.Cut(rest, ":")
		at, err := strconv.ParseInt(n, 10, 64)
		if err != nil {
			panic("SPANBOT_FAULT: " + e + ": no number of a pass")
		}
		switch how {
		case "", "kill", "late", "after", "hold", "stop":
		default:
			panic("SPANBOT_FAULT: " + e + ": unknown way to fail")
		}
		all[name] = &armedFault{at: at, how: how}
	}
	return all
}

// fault passes a point between two steps of a flow.
func fault(name string) {
	f := armed[name]
	if f == nil {
		return
	}
	n := f.passed.Add(1)
	if n != f.at && (f.how != "hold" || n < f.at) {
		return
	}
	fmt.Fprintf(os.Stderr, "fault: %s, pass %d: %s\n", name, n, f.how)
	switch f.how {
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		time.Sleep(late) // this thread need not be the first to stand still
	case "hold":
		select {}
	case "late":
		time.Sleep(late)
		die()
	case "after":
		time.AfterFunc(late, die)
	default:
		die()
	}
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nothing more is done until it comes
}
