package queue

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// forgetBatch bounds how many keys one step of Forget looks at or removes, so
// that no click waits behind it.
const forgetBatch = 500

// Forgotten says what Forget removed and what it had to leave.
type Forgotten struct {
	Instances, Keys int // removed
	Kept            []Kept
}

// Kept is an instance that never comes back and was kept all the same: its
// Phoenix may still be there and lacks these judgements.
type Kept struct {
	Instance   string
	Judgements int    // not confirmed by Phoenix
	Dead       int    // refused by it
	Keys       string // where they are in Redis, "sb:{tag}:*"
}

// Forget removes everything that Redis holds for instances that gone knows as
// never coming back. Its second answer says whether their Phoenix is gone too:
// judgements that wait for one that is not are never dropped, and the instance
// is kept as a whole. The queue's own instance is no question.
//
// Only instances that a Queue was opened for are found. It costs one call when
// there is nothing to forget, else one look at the name of every key.
func (q *Queue) Forget(ctx context.Context, gone func(instance string) (gone, phoenix bool)) (Forgotten, error) {
	var done Forgotten
	if err := q.check(ctx); err != nil {
		return done, err
	}
	known, err := q.instances(ctx)
	if err != nil {
		return done, err
	}
	stay := map[keys]bool{q.key: true}
	leave := map[keys][]string{}
	for _, instance := range known {
		k := keysOf(instance)
		left, phoenix := gone(instance)
		if !left || k == q.key {
			stay[k] = true // also for another whose keys have the same tag by chance
			continue
		}
		if !phoenix {
			kept, ours, err := q.undelivered(ctx, instance)
			if err != nil {
				return done, err
			}
			waits := kept.Judgements+kept.Dead > 0
			if waits {
				done.Kept = append(done.Kept, kept)
			}
			if waits || !ours {
				stay[k] = true
				continue
			}
		}
		leave[k] = append(leave[k], instance)
	}
	for k := range leave {
		if stay[k] {
			delete(leave, k)
		}
	}
	if len(leave) == 0 {
		return done, nil
	}
	if done.Keys, err = q.unlink(ctx, leave); err != nil {
		return done, err
	}
	// Last, so that a Forget that was cut off is taken up by the next one.
	for _, instances := range leave {
		if err := q.strike(ctx, instances); err != nil {
			return done, err
		}
		done.Instances += len(instances)
	}
	return done, nil
}

// instances lists every instance that has keys.
func (q *Queue) instances(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := q.c.SMembers(ctx, index).Result()
	return list, failed("list instances", err)
}

// strike takes instances off the list.
func (q *Queue) strike(ctx context.Context, instances []string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return failed("forget "+instances[0], q.c.SRem(ctx, index, instances).Err())
}

// undelivered counts what an instance holds that its Phoenix does not; false
// when a newer Spanbot stored it, which may keep judgements elsewhere.
func (q *Queue) undelivered(ctx context.Context, instance string) (kept Kept, ours bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	k := keysOf(instance)
	p := q.c.Pipeline()
	waiting, dead, layout := p.HLen(ctx, k.body()), p.HLen(ctx, k.dead()), p.Get(ctx, k.layout())
	if _, err := p.Exec(ctx); err != nil && !isNil(err) {
		return Kept{}, false, failed("count the outbox of "+instance, err)
	}
	n, _ := layout.Int() // absent: there is nothing but its name
	return Kept{Instance: instance, Judgements: int(waiting.Val()), Dead: int(dead.Val()), Keys: allKeys(k)}, n <= Layout, nil
}

// unlink removes the keys of some instances in one walk over all names.
func (q *Queue) unlink(ctx context.Context, of map[keys][]string) (n int, err error) {
	cluster, ok := q.c.(*redis.ClusterClient)
	if !ok {
		return q.unlinkOn(ctx, q.c, of)
	}
	var mu sync.Mutex
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		part, err := q.unlinkOn(ctx, master, of)
		mu.Lock()
		n += part
		mu.Unlock()
		return err
	})
	return n, failed("forget earlier starts", err)
}

// unlinkOn does it on one server of a cluster, or the only one.
func (q *Queue) unlinkOn(ctx context.Context, server redis.Cmdable, of map[keys][]string) (n int, err error) {
	for cursor := uint64(0); ; {
		var names []string
		if names, cursor, err = q.scan(ctx, server, cursor); err != nil {
			return n, err
		}
		// One tag is one slot; a call of several slots would be refused by a cluster.
		batch := map[keys][]string{}
		for _, name := range names {
			if end := strings.Index(name, "}:"); end >= 0 {
				if k := keys(name[:end+len("}:")]); of[k] != nil {
					batch[k] = append(batch[k], name)
				}
			}
		}
		for k, list := range batch {
			removed, err := q.remove(ctx, list)
			n += removed
			if err != nil {
				return n, failed("forget "+of[k][0], err)
			}
		}
		if cursor == 0 {
			return n, nil
		}
	}
}

func (q *Queue) scan(ctx context.Context, server redis.Cmdable, cursor uint64) ([]string, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	names, next, err := server.Scan(ctx, cursor, everyInstance, forgetBatch).Result()
	return names, next, failed("look for keys of earlier starts", err)
}

func (q *Queue) remove(ctx context.Context, names []string) (n int, err error) {
	for len(names) > 0 {
		// A small hash table answers with more than was asked for.
		part := names[:min(len(names), forgetBatch)]
		names = names[len(part):]
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		removed, err := q.c.Unlink(ctx, part...).Result()
		cancel()
		n += int(removed)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
