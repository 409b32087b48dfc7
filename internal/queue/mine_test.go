package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

func TestJudgedBy_NewestFirst_WithoutWhatWasTakenBack(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		now := time.Now().Truncate(time.Millisecond)
		for i := range 4 {
			judge(t, q, judgement(i+1, "U1", "correct", now.Add(time.Duration(i)*time.Second)))
		}
		judge(t, q, judgement(1, "U2", "incorrect", now))
		judge(t, q, judgement(2, "U1", "incorrect", now.Add(time.Minute))) // thought again

		back := judgement(3, "U1", "", now.Add(2*time.Minute))
		back.Answer, back.Withdrawn = review.Answer{}, true
		if _, err := q.Change(t.Context(), "r", back.TraceID, func(th *review.Thread) (Step, error) {
			th.Withdraw(back)
			return Step{Put: []review.Judgement{back}}, nil
		}); err != nil {
			t.Fatal(err)
		}

		list, total, err := q.JudgedBy(t.Context(), "U1", now.Add(-time.Second), 2)
		if err != nil || total != 3 || len(list) != 2 {
			t.Fatalf("%d of %d, %v", len(list), total, err)
		}
		if list[0].SpanID != spanOf(2) || list[0].Vote.Label != "incorrect" || list[1].SpanID != spanOf(4) || list[1].Vote.Label != "correct" {
			t.Errorf("%+v", list)
		}
		if !list[0].At.Equal(now.Add(time.Minute)) {
			t.Errorf("at %v", list[0].At)
		}
		if list, total, err := q.JudgedBy(t.Context(), "U1", now.Add(30*time.Second), 10); err != nil || total != 1 || len(list) != 1 {
			t.Errorf("since later: %+v, %d, %v", list, total, err)
		}
		if list, total, err := q.JudgedBy(t.Context(), "U9", now, 10); err != nil || total != 0 || len(list) != 0 {
			t.Errorf("nobody: %+v, %d, %v", list, total, err)
		}
	})
}

// However much somebody judges: a bounded part of it is known, for a while.
func TestJudgedBy_IsBoundedByCountAndAge(t *testing.T) {
	eachServer(t, func(t *testing.T, q *Queue) {
		now, key := time.Now().Truncate(time.Millisecond), q.key.mine("U1")
		judge(t, q, judgement(1, "U1", "correct", now.Add(-mineKept-time.Hour)))
		judge(t, q, judgement(2, "U1", "correct", now.Add(-time.Hour)))
		if n, err := q.c.ZCard(t.Context(), key).Result(); err != nil || n != 1 {
			t.Errorf("%d are known, %v; the old one should be gone", n, err)
		}
		for i := range mineMost {
			if err := q.c.ZAdd(t.Context(), key, redis.Z{Score: float64(now.UnixMilli() - int64(i)), Member: fmt.Sprintf("r|t|%d", i)}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		judge(t, q, judgement(3, "U1", "correct", now.Add(time.Second)))
		if n, err := q.c.ZCard(t.Context(), key).Result(); err != nil || n != mineMost {
			t.Errorf("%d are known, %v", n, err)
		}
		if list, _, err := q.JudgedBy(t.Context(), "U1", now.Add(time.Millisecond), 10); err != nil || len(list) != 1 || list[0].SpanID != spanOf(3) {
			t.Errorf("the newest is %+v, %v", list, err)
		}
		if ttl, err := q.c.PTTL(t.Context(), key).Result(); err != nil || ttl <= 0 || ttl > mineKept {
			t.Errorf("it is kept for %v, %v", ttl, err)
		}
	})
}

// spanOf is the span id of judgement(n, …).
func spanOf(n int) string { return judgement(n, "", "", time.Time{}).SpanID }
