package bot

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
)

func TestForget_SaysWhatWentAndWhatStays(t *testing.T) {
	m := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: m.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	instance := func(name string) *queue.Queue {
		q := queue.New(client, queue.Options{Instance: name})
		j := review.Judgement{Ref: review.Ref{Route: "r", TraceID: "t", SpanID: "s"}, Name: "n", Reviewer: review.Reviewer{Team: "T", ID: "U"}, At: time.Now()}
		if _, err := q.Change(t.Context(), "r", "t", func(*review.Thread) (queue.Step, error) {
			return queue.Step{Put: []review.Judgement{j}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		return q
	}
	instance("TLOCAL1@stand-in-1")
	instance("TLOCAL1@phoenix.example.com")
	ours := instance("TLOCAL2@stand-in-2")

	var out strings.Builder
	b := &Bot{queue: ours, log: slog.New(slog.NewTextHandler(&out, nil)), set: Settings{Gone: func(i string) (bool, bool) {
		return true, strings.Contains(i, "@stand-in-")
	}}}
	b.forget(t.Context())
	for _, want := range []string{"level=INFO msg=\"forgot what earlier starts left in Redis\" starts=1 keys=", "level=WARN", "instance=TLOCAL1@phoenix.example.com waiting=1 dead=0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
	for _, q := range []*queue.Queue{ours, queue.New(client, queue.Options{Instance: "TLOCAL1@phoenix.example.com"})} {
		if s, err := q.Outbox(t.Context()); err != nil || s.Depth != 1 {
			t.Errorf("a judgement is missing: %+v, %v", s, err)
		}
	}
	if s, err := queue.New(client, queue.Options{Instance: "TLOCAL1@stand-in-1"}).Outbox(t.Context()); err != nil || s.Depth != 0 {
		t.Errorf("a judgement for a Phoenix that is gone is still there: %+v, %v", s, err)
	}

	// Stopped or without Redis: the bot goes on, and the next start tries again.
	out.Reset()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	b.forget(ctx)
	if out.Len() > 0 {
		t.Errorf("a bot that is stopped says\n%s", &out)
	}
	m.Close()
	b.forget(t.Context())
	if !strings.Contains(out.String(), "the next start tries again") {
		t.Errorf("without Redis it says\n%s", &out)
	}
}
