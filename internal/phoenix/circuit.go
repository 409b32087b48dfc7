package phoenix

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// circuitAfter failures of the connection in a row open the circuit.
const circuitAfter = 5

// circuit keeps callers from queueing up before a server that is not there: once
// several connections in a row failed, one call at a time goes out as a probe
// and the others fail at once. The first answer, whatever it says, closes it.
//
// It counts what the network does, not what the server says: a 500 or a 429 is
// an answer. Calls that a caller gave up are no failures.
type circuit struct {
	mu      sync.Mutex
	failed  int // in a row
	since   time.Time
	probing bool
}

// enter lets a call go out, or refuses it. done takes the call's outcome.
func (c *circuit) enter() (done func(context.Context, error), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	probe := false
	if c.failed >= circuitAfter {
		if c.probing {
			return nil, &review.Error{Kind: review.Down, Text: "Phoenix does not answer",
				Err: fmt.Errorf("no answer since %s; another call finds out whether it is back", c.since.UTC().Format(time.RFC3339))}
		}
		c.probing, probe = true, true
	}
	return func(ctx context.Context, err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if probe {
			c.probing = false
		}
		switch {
		case !unreachable(err):
			c.failed = 0
		case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		default:
			if c.failed++; c.failed == 1 {
				c.since = time.Now()
			}
		}
	}, nil
}

// unreachable reports a failure that is the connection's.
func unreachable(err error) bool {
	if err == nil || status(err) != 0 {
		return false
	}
	k := review.KindOf(err)
	return k == review.Down || k == review.Unsure
}
