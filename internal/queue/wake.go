package queue

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// What Wake tells beside the names of routes, in which there is something to
// post or room for it. No route is called so.
const (
	WakeOutbox  = ">outbox"  // a judgement waits for Phoenix
	WakeRedraw  = ">redraw"  // a card should say something else
	WakeStudies = ">studies" // a command began or ended a study
	WakeAll     = ">all"     // anything may have happened
)

// wakeCheck is how often a silent subscription is asked whether it still stands.
const wakeCheck = 15 * time.Second

// Wake calls f whenever any replica put something in, gave something back or
// made room, with the name of what it concerns. It calls it with WakeAll when it
// is subscribed, and again when it is after a cut, because it may have missed
// some. It returns when ctx ends. It is a help, not a promise: callers look by
// themselves every now and then.
func (q *Queue) Wake(ctx context.Context, f func(what string)) {
	for ctx.Err() == nil {
		q.listen(ctx, f)
		t := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// listen returns when ctx ends or the client is closed; a cut connection is
// dialled again by go-redis, which pings it while nothing comes.
func (q *Queue) listen(ctx context.Context, f func(string)) {
	sub := q.c.Subscribe(ctx, q.key.wake())
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() }) // a blocked read does not see ctx
	defer stop()
	defer func() { _ = sub.Close() }()
	// What it says of subscriptions counts too: there is one after each cut.
	for m := range sub.ChannelWithSubscriptions(redis.WithChannelHealthCheckInterval(wakeCheck)) {
		if m, ok := m.(*redis.Message); ok {
			f(m.Payload)
		} else {
			f(WakeAll)
		}
	}
}
