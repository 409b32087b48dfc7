package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

// ErrLost says that a claim or lease ran out and is another replica's: what
// this one was about to write is not written.
var ErrLost = &review.Error{Kind: review.Refused, Text: "the claim or lease ran out and is another replica's now"}

// ErrUnreplicated says that something is written, but to a master of Redis that
// may be losing its place: its replica did not confirm it in time.
var ErrUnreplicated = &review.Error{Kind: review.Unsure, Text: "no replica of Redis has confirmed it"}

// failed gives a failure of Redis its Kind. This is the only place that knows
// Redis's error words.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	var known *review.Error
	if errors.As(err, &known) {
		return err
	}
	kind, text := review.Broken, "Redis: "+what
	var answer redis.Error
	var dial *net.OpError
	switch {
	case errors.As(err, &answer) && !errors.Is(err, redis.Nil):
		said := answer.Error()
		if strings.HasPrefix(said, "ERR Error running script") { // how Redis 6 wraps a script's failure
			if _, inner, ok := strings.Cut(said, ": -"); ok {
				said = inner
			}
		}
		word, _, _ := strings.Cut(said, " ")
		switch word {
		case "NOAUTH", "WRONGPASS", "NOPERM":
			kind, text = review.Denied, "Redis refuses our user or password; check REDIS_URL"
		case "OOM":
			kind, text = review.Down, "Redis is out of memory; raise maxmemory"
		case "READONLY":
			kind, text = review.Down, "Redis is a read-only replica; REDIS_URL must name the master"
		case "ERR":
			if strings.Contains(said, "max number of clients") {
				kind, text = review.Down, "Redis takes no more connections; raise maxclients"
			}
		case "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "BUSY":
			kind, text = review.Down, "Redis cannot write right now"
		}
	case errors.As(err, &dial) && dial.Op == "dial",
		strings.Contains(err.Error(), "all sentinels specified in configuration are unreachable"),
		strings.Contains(err.Error(), "cluster has no nodes"):
		kind, text = review.Down, "Redis does not answer"
	case errors.Is(err, redis.ErrClosed):
		kind, text = review.Down, "the connection to Redis is closed"
	case errors.Is(err, redis.ErrPoolTimeout):
		kind, text = review.Down, "Redis is too slow: no connection came free"
	case errors.Is(err, context.Canceled):
		kind = review.Unsure
	default: // a reset, an EOF, a time-out: the command may have run
		kind, text = review.Unsure, "Redis did not answer in time: "+what
	}
	return &review.Error{Kind: kind, Text: text, Err: fmt.Errorf("%s: %w", what, err)}
}
