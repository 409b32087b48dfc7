package bot

import (
	"context"
)

// forget removes what instances left in Redis that never come back, so that a
// kept queue does not grow with every start. What could not be removed is tried
// again by the next start.
func (b *Bot) forget(ctx context.Context) {
	done, err := b.queue.Forget(ctx, b.set.Gone)
	if done.Instances > 0 {
		b.log.Info("forgot what earlier starts left in Redis", "starts", done.Instances, "keys", done.Keys)
	}
	for _, k := range done.Kept {
		b.log.Warn("an earlier start left judgements that its Phoenix does not have; they are kept, and nobody delivers them",
			"instance", k.Instance, "waiting", k.Judgements, "dead", k.Dead, "keys", k.Keys)
	}
	if err != nil && ctx.Err() == nil {
		b.log.Warn("what earlier starts left in Redis was not forgotten; the next start tries again", "error", err)
	}
}
