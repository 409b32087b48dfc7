package queue

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

// Ask puts cases of a study into its line, in the order given, and wakes the bot
// that posts them. What has a card or waits for one already is left as it is. It
// returns how many were new, and the cards whose case this Redis had lost.
func (q *Queue) Ask(ctx context.Context, s review.Study, cases []review.Case) (added int, lost []review.Ref, err error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return 0, nil, fmt.Errorf("keep study %s: %w", s.Name, err)
	}
	finds := make([]Find, len(cases))
	for i, c := range cases {
		finds[i] = Find{Row: int64(i + 1), TraceID: c.TraceID, SpanID: c.SpanID}
	}
	known, err := q.Known(ctx, s.Name, finds)
	if err != nil {
		return 0, nil, err
	}
	fields := map[string]any{}
	var fresh []Find
	for i, c := range cases {
		b, err := encodeCase(c)
		if err != nil {
			return 0, nil, err
		}
		if !known[i] {
			fresh = append(fresh, finds[i])
			fields[member(c.TraceID, c.SpanID)] = b
			continue
		}
		// One that Redis had lost the text of, but not the card.
		if _, ok, err := q.Case(ctx, s.Name, c.TraceID, c.SpanID); err == nil && !ok {
			fields[member(c.TraceID, c.SpanID)] = b
			lost = append(lost, review.Ref{Route: s.Name, TraceID: c.TraceID, SpanID: c.SpanID})
		}
	}
	cctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// The cases before the line: what is claimed has its case.
	p := q.c.TxPipeline()
	p.HSet(cctx, q.key.studies(), s.Name, raw)
	p.Expire(cctx, q.key.studies(), q.opts.Retention)
	if len(fields) > 0 {
		p.HSet(cctx, q.key.cases(s.Name), fields)
	}
	p.Expire(cctx, q.key.cases(s.Name), q.opts.Retention)
	p.SAdd(cctx, q.key.routes(), s.Name)
	if _, err := p.Exec(cctx); err != nil {
		return 0, nil, failed("keep study "+s.Name, err)
	}
	for _, c := range cases {
		if err := q.KeepRubric(ctx, c.Rubric); err != nil {
			return 0, nil, err
		}
	}
	if added, _, err = q.Add(ctx, s.Name, len(cases)+maxWaiting, fresh); err != nil {
		return added, lost, err
	}
	return added, lost, failed("wake the bot", q.c.Publish(ctx, q.key.wake(), WakeStudies).Err())
}

// maxWaiting bounds what waits in a study beside what is added.
const maxWaiting = 10_000

// Reveal notes that a study is over; false when it is already, or is not known.
func (q *Queue) Reveal(ctx context.Context, name string) (bool, error) {
	s, ok, err := q.Study(ctx, name)
	if err != nil || !ok || s.Revealed {
		return false, err
	}
	s.Revealed = true
	raw, err := json.Marshal(s)
	if err != nil {
		return false, fmt.Errorf("keep study %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := q.c.HSet(ctx, q.key.studies(), name, raw).Err(); err != nil {
		return false, failed("keep study "+name, err)
	}
	return true, failed("wake the bot", q.c.Publish(ctx, q.key.wake(), WakeStudies).Err())
}

// Study is the study of that name; false when it is not known (any more).
func (q *Queue) Study(ctx context.Context, name string) (s review.Study, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	raw, err := q.c.HGet(ctx, q.key.studies(), name).Bytes()
	if errors.Is(err, redis.Nil) {
		return s, false, nil
	}
	if err != nil {
		return s, false, failed("read study "+name, err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, false, fmt.Errorf("stored study %s is damaged: %w", name, err)
	}
	return s, true, nil
}

// Studies lists all that are known.
func (q *Queue) Studies(ctx context.Context) ([]review.Study, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all, err := q.c.HGetAll(ctx, q.key.studies()).Result()
	if err != nil {
		return nil, failed("list studies", err)
	}
	var out []review.Study
	for name, raw := range all {
		var s review.Study
		if err := json.Unmarshal([]byte(raw), &s); err != nil {
			q.opts.Log.Error("a stored study cannot be read", "study", name, "error", err)
			continue
		}
		out = append(out, s)
	}
	return out, nil
}

// Case is what a study shows of a span and asks about it; false when it is not
// known (any more).
func (q *Queue) Case(ctx context.Context, study, traceID, spanID string) (c review.Case, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	b, err := q.c.HGet(ctx, q.key.cases(study), member(traceID, spanID)).Bytes()
	if errors.Is(err, redis.Nil) {
		return c, false, nil
	}
	if err != nil {
		return c, false, failed("read case "+spanID, err)
	}
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), 4<<20))
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		return c, false, fmt.Errorf("stored case %s of %s is damaged: %w", spanID, study, err)
	}
	return c, true, nil
}

// CaseRefs lists the spans of a study.
func (q *Queue) CaseRefs(ctx context.Context, study string) ([]review.Ref, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	members, err := q.c.HKeys(ctx, q.key.cases(study)).Result()
	if err != nil {
		return nil, failed("list the cases of "+study, err)
	}
	out := make([]review.Ref, len(members))
	for i, m := range members {
		out[i].Route = study
		out[i].TraceID, out[i].SpanID = splitMember(m)
	}
	return out, nil
}

func encodeCase(c review.Case) ([]byte, error) {
	raw, err := json.Marshal(c.Bound())
	if err != nil {
		return nil, fmt.Errorf("keep case %s: %w", c.SpanID, err)
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err = w.Write(raw); err == nil {
		err = w.Close()
	}
	return b.Bytes(), err
}
