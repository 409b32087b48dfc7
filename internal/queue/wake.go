package queue

import (
	"context"
	"time"
)

// Wake signals whenever any replica put something in, gave something back or
// made room. Signals fold: a slow receiver gets one for many. It signals once
// when it is subscribed, and again when it is after a cut, because it may have
// missed some. The channel closes when ctx ends. It is a help, not a promise:
// callers look by themselves every now and then.
func (q *Queue) Wake(ctx context.Context) <-chan struct{} {
	out := make(chan struct{}, 1)
	go func() {
		defer close(out)
		for ctx.Err() == nil {
			q.listen(ctx, out)
			t := time.NewTimer(time.Second)
			select {
			case <-ctx.Done():
			case <-t.C:
			}
			t.Stop()
		}
	}()
	return out
}

// listen returns when ctx ends or the client is closed; a cut connection is
// dialled again by go-redis, which pings it while nothing comes.
func (q *Queue) listen(ctx context.Context, out chan<- struct{}) {
	sub := q.c.Subscribe(ctx, q.key.wake())
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() }) // a blocked read does not see ctx
	defer stop()
	defer func() { _ = sub.Close() }()
	// What it says of subscriptions counts too: there is one after each cut.
	for range sub.ChannelWithSubscriptions() {
		select {
		case out <- struct{}{}:
		default:
		}
	}
}
