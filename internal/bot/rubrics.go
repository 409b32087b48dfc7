package bot

import (
	"context"
	"sync"

	"github.com/spanbot/spanbot/internal/review"
)

// rubrics finds the rubric that a button names. Every rubric that was ever
// asked stays in Redis, so that a tap stores what its button said, whatever the
// configuration says today.
type rubrics struct {
	bot   *Bot
	mu    sync.Mutex
	known map[string]review.Rubric // by hash
}

// keep remembers a rubric that is about to be asked.
func (s *rubrics) keep(ctx context.Context, r review.Rubric) error {
	if err := s.bot.queue.KeepRubric(ctx, r); err != nil {
		return err
	}
	s.learn(r)
	return nil
}

func (s *rubrics) learn(r review.Rubric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]review.Rubric{}
	}
	s.known[r.Hash()] = r
}

// get returns the rubric of that hash; false when nobody knows it any more.
func (s *rubrics) get(ctx context.Context, hash string) (review.Rubric, bool, error) {
	s.mu.Lock()
	r, ok := s.known[hash]
	s.mu.Unlock()
	if ok {
		return r, true, nil
	}
	r, ok, err := s.bot.queue.Rubric(ctx, hash)
	if err == nil && ok {
		s.learn(r)
	}
	return r, ok, err
}

// asked is the rubric a button or card names, else the one its route asks now;
// false when neither is known.
func (b *Bot) asked(ctx context.Context, hash, routeName string) (review.Rubric, bool, error) {
	r, ok, err := b.rubrics.get(ctx, hash)
	if ok || err != nil {
		return r, ok, err
	}
	r, ok = b.current(routeName)
	return r, ok, nil
}

// current is the rubric that a route asks now.
func (b *Bot) current(routeName string) (review.Rubric, bool) {
	rt := b.route(routeName)
	if rt == nil {
		return review.Rubric{}, false
	}
	if _, ok := rt.ofStudy(); ok {
		return review.Rubric{}, false // each case asks its own
	}
	_, r, _ := rt.now()
	if r.Name == "" {
		r = b.set.Rubrics[rt.Rubric]
	}
	return r, r.Name != ""
}
