package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

var changeScript = script("change")

// Thread returns the thread of a trace in a route; an empty one when nothing
// is known of it.
func (q *Queue) Thread(ctx context.Context, route, traceID string) (review.Thread, error) {
	_, t, err := q.read(ctx, route, traceID)
	return t, err
}

func (q *Queue) read(ctx context.Context, route, traceID string) (raw string, t review.Thread, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	raw, err = q.c.Get(ctx, q.key.thread(route, traceID)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", review.Thread{Route: route, TraceID: traceID}, failed("read thread "+traceID, err)
	}
	t, err = decodeThread(route, traceID, []byte(raw))
	if err != nil {
		// Another program wrote there, or a disk did. The ids in buttons are
		// enough to go on; what was there is overwritten.
		q.opts.Log.Error("a stored thread cannot be read and starts anew", "route", route, "trace", traceID, "error", err)
		err = nil
	}
	return raw, t, err
}

// Threads returns several threads of one route, in the order asked.
func (q *Queue) Threads(ctx context.Context, route string, traceIDs []string) ([]review.Thread, error) {
	out := make([]review.Thread, len(traceIDs))
	if len(traceIDs) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	keys := make([]string, len(traceIDs))
	for i, id := range traceIDs {
		keys[i] = q.key.thread(route, id)
	}
	raw, err := q.c.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, failed("read threads", err)
	}
	for i, id := range traceIDs {
		s, _ := raw[i].(string)
		if out[i], err = decodeThread(route, id, []byte(s)); err != nil {
			q.opts.Log.Error("a stored thread cannot be read", "route", route, "trace", id, "error", err)
		}
	}
	return out, nil
}

// Step is what goes with a change of a thread, in the same script.
type Step struct {
	// Nothing: the thread did not change; nothing at all is written.
	Nothing bool
	// Put puts judgements into the outbox, due now. A newer one replaces an
	// older one of the same Key, a dead one too. While that one is leased the
	// new one becomes due when the lease is given back or ends, so that the old
	// one cannot overtake it on the way to Phoenix. All are of one reviewer, of
	// whom it is noted what they judged, or took back, and when (JudgedBy).
	Put []review.Judgement
	// Keep keeps the whole text of a reviewer's own judgement for the form;
	// Forget removes it.
	Keep, Forget []review.Judgement
	// Done removes delivered judgements from the outbox. One that was replaced
	// meanwhile becomes due instead.
	Done []Entry
	// Bury moves judgements to the dead letters.
	Bury []Dead
	// Drop removes dead letters for good; the history keeps what they said.
	Drop []Dead
	// Resent says that what Put puts was not said just now: Phoenix lost it, or
	// somebody tries again.
	Resent bool
	// Safe waits until a replica of Redis has it, where there is one; the error is
	// ErrUnreplicated when none confirmed it in time. It is written all the same.
	Safe bool
	// Tell appends to the history, beside what follows from the above.
	Tell []Event
	// Claim is a claim that this step completes. When it is another's by now,
	// nothing is written and the error is ErrLost.
	Claim *Claim
	// Excerpts keeps what open cards show, by span id.
	Excerpts map[string]review.Span
	// Redraw says by when cards (by span id) or the outline should say
	// something else; a zero time is now. An earlier time that is there stays.
	Redraw map[string]time.Time
}

// effects is Step as lua/change.lua reads it.
type effects struct {
	TTL    int64    `json:"ttl"`            // ms
	Put    [][5]any `json:"put,omitempty"`  // key, judgement, ms of the click, answer before, what to tell
	Done   [][3]any `json:"done,omitempty"` // key, turn, ms of the click
	Bury   [][5]any `json:"bury,omitempty"` // key, turn, letter, ms of the click, why
	Drop   [][3]any `json:"drop,omitempty"` // key, ms of the click, why
	Tell   [][4]any `json:"tell,omitempty"` // what, key, ms of the click, why
	Open   [][2]any `json:"open,omitempty"`
	Shut   []string `json:"shut,omitempty"`
	Redraw [][2]any `json:"redraw,omitempty"`
	Claim  []any    `json:"claim,omitempty"`
	Tally  [][2]any `json:"tally,omitempty"` // "<rubric>|<label>", 1 or -1
	Mine   []any    `json:"mine,omitempty"`  // member, ms of the click or 0, ms to keep, how many to keep
	Set    int      `json:"set"`             // how many of the keys behind the fixed ones are set; the rest are deleted
	Wake   []string `json:"wake,omitempty"`
}

// reviewer is whose judgements the step puts; "" for none.
func (s Step) reviewer() string {
	if len(s.Put) == 0 {
		return ""
	}
	return s.Put[0].Reviewer.ID
}

// changeTries bounds the races one change may lose: with a hundred people on
// one trace in the same millisecond each wins in turn.
const changeTries = 200

// Change reads a thread, lets f change it, and writes it back with everything
// in the Step, in one script, if nobody changed it meanwhile; else it starts
// again, so f must be repeatable. It returns the thread as it is stored then.
//
// What follows from the thread alone is derived: which cards are in the route's
// open set, that the excerpts of the others go, how the spans of judgements were
// chosen, and how the verdicts are counted.
func (q *Queue) Change(ctx context.Context, route, traceID string, f func(*review.Thread) (Step, error)) (review.Thread, error) {
	for range changeTries {
		raw, before, err := q.read(ctx, route, traceID)
		if err != nil {
			return before, err
		}
		after := before.Clone()
		step, err := f(&after)
		if err != nil || step.Nothing {
			return after, err
		}
		ok, err := q.write(ctx, raw, before, after, step)
		if err != nil || ok {
			return after, err
		}
	}
	return review.Thread{}, &review.Error{Kind: review.Busy, Text: fmt.Sprintf("trace %s is changed too often at once", traceID)}
}

// write tries one change; false when the thread is not what was read.
func (q *Queue) write(ctx context.Context, raw string, before, after review.Thread, s Step) (bool, error) {
	route, trace := after.Route, after.TraceID
	keys := []string{
		q.key.thread(route, trace), q.key.open(route), q.key.due(), q.key.body(), q.key.turn(), q.key.lease(),
		q.key.tries(), q.key.dead(), q.key.redraw(), q.key.redrawing(), q.key.remark(), q.key.claimed(route), q.key.claims(route),
		q.key.routes(), q.key.seq(), q.key.mine(s.reviewer()), q.key.history(), q.key.tally(route),
	}
	e := effects{TTL: q.opts.Retention.Milliseconds(), Tally: tally(before, after)}
	wake := func(word string) {
		if !slices.Contains(e.Wake, word) {
			e.Wake = append(e.Wake, word)
		}
	}
	var sets, dels []string
	var values []any

	was := map[string]review.State{}
	for _, c := range before.Cards {
		was[c.SpanID] = c.State
	}
	for _, c := range after.Cards {
		m, old := member(trace, c.SpanID), was[c.SpanID]
		if c.State == review.Open {
			e.Open = append(e.Open, [2]any{m, millis(c.Posted)})
			continue
		}
		if old == review.Open {
			e.Shut = append(e.Shut, m)
			wake(route)
			dels = append(dels, q.key.excerpt(review.Ref{Route: route, TraceID: trace, SpanID: c.SpanID}))
		}
	}
	for span, x := range s.Excerpts {
		if c := after.Card(span); c == nil || c.State != review.Open {
			continue
		}
		b, err := encodeExcerpt(x)
		if err != nil {
			return false, err
		}
		if b == nil {
			continue
		}
		sets = append(sets, q.key.excerpt(review.Ref{Route: route, TraceID: trace, SpanID: span}))
		values = append(values, b)
	}
	for _, j := range s.Put {
		if c := after.Card(j.SpanID); c != nil {
			j.Chosen = c.Chosen
		}
		b, err := encodeJudgement(j, after.Project)
		if err != nil {
			return false, err
		}
		what := Said
		if s.Resent {
			what = Resent
		}
		e.Put = append(e.Put, [5]any{j.Key(), string(b), millis(j.At), answerBefore(before, j), what})
		wake(WakeOutbox)
	}
	if len(s.Put) > 0 && !s.Resent {
		e.Mine = mine(s.Put[0])
	}
	for _, j := range s.Keep {
		b, err := encodeJudgement(j, after.Project)
		if err != nil {
			return false, err
		}
		sets, values = append(sets, q.key.said(j)), append(values, b)
	}
	for _, j := range s.Forget {
		dels = append(dels, q.key.said(j))
	}
	for _, d := range s.Done {
		e.Done = append(e.Done, [3]any{d.Key, d.Turn, millis(d.At)})
	}
	for _, d := range s.Bury {
		b, err := encodeDead(d)
		if err != nil {
			return false, err
		}
		e.Bury = append(e.Bury, [5]any{d.Key, d.Turn, string(b), millis(d.Judgement.At), d.Why})
	}
	for _, d := range s.Drop {
		e.Drop = append(e.Drop, [3]any{d.Key, millis(d.Judgement.At), d.Why})
	}
	for _, t := range s.Tell {
		e.Tell = append(e.Tell, [4]any{t.What, t.Key, millis(t.At), t.Why})
	}
	for what, at := range s.Redraw {
		e.Redraw = append(e.Redraw, [2]any{redrawMember(route, trace, what), millis(at)})
		wake(WakeRedraw)
	}
	if s.Claim != nil {
		wake(route) // of one trace one claim is live: the next may go on
		e.Claim = []any{member(s.Claim.TraceID, s.Claim.SpanID), s.Claim.Turn}
	}
	e.Set = len(sets)
	text, err := json.Marshal(e)
	if err != nil {
		return false, fmt.Errorf("change thread %s: %w", trace, err)
	}
	args := append([]any{raw, encodeThread(after), string(text), q.key.wake(), route}, values...)
	keys = append(append(keys, sets...), dels...)
	run := q.run
	if s.Safe {
		run = q.runSafe
	}
	v, err := run(ctx, changeScript, "change thread "+trace, keys, args...)
	if err != nil && (!errors.Is(err, ErrUnreplicated) || v != int64(1)) {
		return false, err
	}
	if v == int64(1) {
		return true, err
	}
	if v == int64(-1) {
		return false, ErrLost
	}
	return v == int64(1), nil
}

// Excerpt is what an open card shows of its span; false when it is not kept
// (any more).
func (q *Queue) Excerpt(ctx context.Context, ref review.Ref) (review.Span, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	b, err := q.c.Get(ctx, q.key.excerpt(ref)).Bytes()
	if errors.Is(err, redis.Nil) {
		return review.Span{}, false, nil
	}
	if err != nil {
		return review.Span{}, false, failed("read excerpt of "+ref.SpanID, err)
	}
	s, err := decodeExcerpt(b)
	return s, err == nil, err
}

// Kept is the reviewer's own judgement with its whole explanation, found by
// j's Ref, Name, Reviewer and OnTrace; false when it had none or it expired.
func (q *Queue) Kept(ctx context.Context, route string, j review.Judgement) (review.Judgement, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	j.Route = route
	b, err := q.c.Get(ctx, q.key.said(j)).Bytes()
	if errors.Is(err, redis.Nil) {
		return review.Judgement{}, false, nil
	}
	if err != nil {
		return review.Judgement{}, false, failed("read own judgement of "+j.SpanID, err)
	}
	kept, _, err := decodeJudgement(b)
	return kept, err == nil, err
}
