package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

// A judged card is kept for months: at most 300 bytes of Redis, everything
// counted, and its summary of at most 200 on top.
func TestMemory_JudgedCardTakes300BytesAndItsSummary200(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 20_000
	}
	s := sharedRedis(t)
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer func() { _ = c.Close() }()
	for _, tt := range []struct {
		name    string
		summary string
		most    int64
	}{
		{"without summary", "", 300},
		{"with 200 bytes of summary", strings.Repeat("s", review.MaxSummary), 500},
	} {
		q := newQueue(t, c)
		before := used(t, c)
		now := time.Now().Truncate(time.Millisecond)
		for from := 0; from < n; from += 5000 {
			p := c.Pipeline()
			for i := from; i < from+5000; i++ {
				j := judgement(i, "U0123456789", "incorrect", now)
				th := review.Thread{Route: "r", TraceID: fmt.Sprintf("%032x", uint64(i)*0x9e3779b97f4a7c15), Project: "my-annotations-app"}
				th.Place(review.Card{SpanID: fmt.Sprintf("%016x", uint64(i)*0x9e3779b97f4a7c15), Channel: "C0123456789", TS: "1758000000." + fmt.Sprintf("%06d", i), Rubric: "cafe0123", Posted: now.Add(-time.Hour), Summary: tt.summary}, "")
				j.SpanID, j.TraceID = th.Cards[0].SpanID, th.TraceID
				th.Judge(j)
				th.Confirm(j, "")
				p.Set(t.Context(), q.key.thread("support-bot", th.TraceID), encodeThread(th), q.opts.Retention)
			}
			if _, err := p.Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		each := (used(t, c) - before) / int64(n)
		t.Logf("%s: %d bytes a card on %s", tt.name, each, s.Name)
		if each > tt.most {
			t.Errorf("%s: %d bytes a card; want at most %d", tt.name, each, tt.most)
		}
		if err := c.FlushDB(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func used(t *testing.T, c *redis.Client) int64 {
	t.Helper()
	info, err := c.Info(t.Context(), "memory").Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no used_memory")
	return 0
}
