package queue

import (
	"context"
	"encoding/json"
	"iter"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

// Happening is what an entry of the history tells.
type Happening string

// Happenings.
const (
	Said    Happening = "said"    // a reviewer said or took back something, and Redis has it
	Resent  Happening = "resent"  // it goes to Phoenix once more: tried again, or Phoenix had lost it
	Stored  Happening = "stored"  // Phoenix confirmed it
	Failed  Happening = "failed"  // Phoenix will never take it: a dead letter
	Dropped Happening = "dropped" // an operator removed the dead letter
	Deleted Happening = "deleted" // somebody deleted the annotation in Phoenix
	Changed Happening = "changed" // somebody changed the annotation in Phoenix
)

// Event is one entry of the history, which is only ever appended to, in the
// same step as what it tells of. Key and At name the judgement it is about.
type Event struct {
	What Happening
	Key  string    // Judgement.Key
	At   time.Time // when it was clicked
	Time time.Time // when it happened, by Redis's clock

	// Judgement, Project and Before are known of what was Said or Resent;
	// Before is what the reviewer had said earlier, nil for nothing.
	Judgement *review.Judgement
	Project   string
	Before    *review.Answer
	Why       string // Failed, Dropped, Deleted, Changed: the reason

	id string
}

// historyPage is how many entries are read together.
const historyPage = 500

// answerBefore is what the reviewer had said before a change, as JSON; "" for
// nothing. Of an explanation it is the start.
func answerBefore(t review.Thread, j review.Judgement) string {
	own := t.Card(j.SpanID).Find(j.Reviewer.ID, j.Name, j.OnTrace)
	if own == nil || own.Withdrawn {
		return ""
	}
	b, err := json.Marshal(was{own.Label, own.Score, own.Words})
	if err != nil {
		return ""
	}
	return string(b)
}

type was struct {
	Label string   `json:"label,omitempty"`
	Score *float64 `json:"score,omitempty"`
	Words string   `json:"explanation,omitempty"`
}

// History gives what happened since a time, oldest first. It reads page by
// page, so what happens meanwhile comes, too.
func (q *Queue) History(ctx context.Context, since time.Time) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		from := strconv.FormatInt(max(since.UnixMilli(), 0), 10)
		for {
			page, err := q.historyPage(ctx, func(ctx context.Context, key string) ([]redis.XMessage, error) {
				return q.c.XRangeN(ctx, key, from, "+", historyPage).Result()
			})
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
			if len(page) < historyPage {
				return
			}
			from = "(" + page[len(page)-1].id
		}
	}
}

// HistoryBack gives up to n entries that are older than the entry before
// (""; the newest), newest first, and the place to go on from; "" at the end.
func (q *Queue) HistoryBack(ctx context.Context, before string, n int) (list []Event, next string, err error) {
	from := "+"
	if before != "" {
		from = "(" + before
	}
	list, err = q.historyPage(ctx, func(ctx context.Context, key string) ([]redis.XMessage, error) {
		return q.c.XRevRangeN(ctx, key, from, "-", int64(n)).Result()
	})
	if len(list) == n && n > 0 {
		next = list[n-1].id
	}
	return list, next, err
}

func (q *Queue) historyPage(ctx context.Context, read func(context.Context, string) ([]redis.XMessage, error)) ([]Event, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := read(ctx, q.key.history())
	if err != nil {
		return nil, failed("read the history", err)
	}
	out := make([]Event, len(got))
	for i, m := range got {
		out[i] = q.eventOf(m)
	}
	return out, nil
}

func (q *Queue) eventOf(m redis.XMessage) Event {
	text := func(field string) string { s, _ := m.Values[field].(string); return s }
	e := Event{What: Happening(text("what")), Key: text("key"), Why: text("why"), id: m.ID}
	if at, err := strconv.ParseInt(text("at"), 10, 64); err == nil {
		e.At = timeOf(at)
	}
	if ms, _, _ := cut(m.ID); ms > 0 {
		e.Time = timeOf(ms)
	}
	if body := text("body"); body != "" {
		j, project, err := decodeJudgement([]byte(body))
		if err != nil {
			q.opts.Log.Error("an entry of the history cannot be read", "id", m.ID, "error", err)
		} else {
			e.Judgement, e.Project = &j, project
		}
	}
	var w was
	if before := text("was"); before != "" && json.Unmarshal([]byte(before), &w) == nil {
		e.Before = &review.Answer{Label: w.Label, Score: w.Score, Explanation: w.Words}
	}
	return e
}

// cut splits the id of a stream's entry, "1758000000000-0".
func cut(id string) (ms, seq int64, ok bool) {
	for i := range id {
		if id[i] == '-' {
			ms, err1 := strconv.ParseInt(id[:i], 10, 64)
			seq, err2 := strconv.ParseInt(id[i+1:], 10, 64)
			return ms, seq, err1 == nil && err2 == nil
		}
	}
	return 0, 0, false
}
