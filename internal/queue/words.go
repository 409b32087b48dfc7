package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// nameAge is how long a person's name is trusted.
const nameAge = 24 * time.Hour

// KeepRubric remembers a rubric under its hash, for as long as cards may ask it.
func (q *Queue) KeepRubric(ctx context.Context, r review.Rubric) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("rubric %s: %w", r.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// A card's entry may be written on its last day; its rubric must outlive it.
	return failed("keep rubric "+r.Name, q.c.Set(ctx, q.key.rubric(r.Hash()), b, 2*q.opts.Retention).Err())
}

// Rubric returns the rubric of a hash; false when nobody knows it any more.
func (q *Queue) Rubric(ctx context.Context, hash string) (review.Rubric, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var r review.Rubric
	b, err := q.c.Get(ctx, q.key.rubric(hash)).Bytes()
	if isNil(err) {
		return r, false, nil
	}
	if err != nil {
		return r, false, failed("read rubric "+hash, err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, false, fmt.Errorf("stored rubric %s is damaged: %w", hash, err)
	}
	return r, true, nil
}

// KeepName remembers what a person is called.
func (q *Queue) KeepName(ctx context.Context, user, name string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return failed("keep the name of "+user,
		q.c.HSet(ctx, q.key.names(), user, strconv.FormatInt(time.Now().Unix(), 10)+" "+name).Err())
}

// Names returns the names of people that were kept within the last day; people
// whose name is older or unknown are left out.
func (q *Queue) Names(ctx context.Context, users []string) (map[string]string, error) {
	out := map[string]string{}
	if len(users) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := q.c.HMGet(ctx, q.key.names(), users...).Result()
	if err != nil {
		return nil, failed("read names", err)
	}
	for i, v := range got {
		s, _ := v.(string)
		at, name, ok := strings.Cut(s, " ")
		sec, err := strconv.ParseInt(at, 10, 64)
		if ok && err == nil && time.Since(time.Unix(sec, 0)) < nameAge {
			out[users[i]] = name
		}
	}
	return out, nil
}

// KeepChannel remembers the id of a channel name ("#reviews").
func (q *Queue) KeepChannel(ctx context.Context, name, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return failed("keep channel "+name, q.c.HSet(ctx, q.key.channels(), name, id).Err())
}

// Channel returns the id of a channel name; false when it was never resolved.
func (q *Queue) Channel(ctx context.Context, name string) (string, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	id, err := q.c.HGet(ctx, q.key.channels(), name).Result()
	if isNil(err) {
		return "", false, nil
	}
	return id, err == nil, failed("read channel "+name, err)
}
