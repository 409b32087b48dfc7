package queue

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

// loadLayout1 puts the keys of testdata/layout1.json into a Redis: what a program
// of layout 1 (7ed4524) left in the middle of its work. Cards 8 to 5 are posted: 8
// is judged and waits for Phoenix, 7 is leased by somebody who died, 6 was
// refused, 5 is stored. 4 was claimed by somebody who died; 3 to 1 wait.
func loadLayout1(t *testing.T, c redis.UniversalClient) *Queue {
	t.Helper()
	ctx := context.Background()
	raw, err := os.ReadFile("testdata/layout1.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Key, Type string
		Value     json.RawMessage
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	into := func(k string, raw []byte, to any) {
		if err := json.Unmarshal(raw, to); err != nil {
			t.Fatalf("%s: %v", k, err)
		}
	}
	q := New(c, Options{Instance: "T01TEST@phoenix.example:6006"})
	for it := c.Scan(ctx, 0, allKeys(q.key), 1000).Iterator(); it.Next(ctx); { // of an earlier run on this server
		c.Del(ctx, it.Val())
	}
	for _, k := range list {
		var err error
		switch k.Type {
		case "string":
			var v string
			into(k.Key, k.Value, &v)
			err = c.Set(ctx, k.Key, v, 0).Err()
		case "bytes":
			var v []byte
			into(k.Key, k.Value, &v)
			err = c.Set(ctx, k.Key, v, 0).Err()
		case "hash":
			var v map[string]string
			into(k.Key, k.Value, &v)
			err = c.HSet(ctx, k.Key, v).Err()
		case "set":
			var v []string
			into(k.Key, k.Value, &v)
			err = c.SAdd(ctx, k.Key, v).Err()
		case "zset":
			var v map[string]float64
			into(k.Key, k.Value, &v)
			for m, score := range v {
				err = errors.Join(err, c.ZAdd(ctx, k.Key, redis.Z{Member: m, Score: score}).Err())
			}
		default:
			t.Fatalf("%s is of the unknown type %s", k.Key, k.Type)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return q
}

func TestLayout1_IsTakenOverWithAllThatWaits(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			c := s.start(t)
			q := loadLayout1(t, c)
			ctx := t.Context()

			if n, err := q.Waiting(ctx, "r"); err != nil || n.Backlog != 3 || n.Claimed != 1 || n.Open != 0 {
				t.Errorf("Waiting = %+v, %v; want 3 in the backlog, 1 claimed", n, err)
			}
			if cur, ok, err := q.Cursor(ctx, "r", "p"); err != nil || !ok || cur.Mark != 8 || cur.Low != 1 {
				t.Errorf("Cursor = %+v, %v, %v", cur, ok, err)
			}
			if _, ok, err := q.Rubric(ctx, review.DefaultRubric("correctness").Hash()); err != nil || !ok {
				t.Errorf("Rubric = %v, %v", ok, err)
			}
			for n, want := range map[int]review.Delivery{5: review.Stored, 6: review.Failed, 7: review.Waiting, 8: review.Waiting} {
				th, err := q.Thread(ctx, "r", find(n).TraceID)
				card := th.Card(find(n).SpanID)
				if err != nil || card == nil || card.State != review.Judged || len(card.Votes) != 1 || card.Votes[0].Delivery != want {
					t.Errorf("thread %d = %+v, %v; want a judged card with one vote, %v", n, th, err, want)
				}
			}

			// Judgements are delivered, with every word.
			es := lease(t, q, time.Minute)
			if len(es) != 2 || es[0].SpanID != find(7).SpanID || es[0].Explanation != "It is not the largest." || es[0].Project != "p" || es[1].Label != "correct" {
				t.Fatalf("Lease = %+v; want judgements 7 and 8", es)
			}
			for _, e := range es {
				deliver(t, q, e)
			}
			if s, err := q.Outbox(ctx); err != nil || s.Depth != 0 || s.Dead != 1 {
				t.Errorf("Outbox = %+v, %v; want nothing and one dead letter", s, err)
			}
			for l, err := range q.Letters(ctx) {
				if err != nil || !l.Dead || l.Why != "Phoenix refuses it" || l.SpanID != find(6).SpanID || l.Label != "correct" {
					t.Errorf("dead letter %+v, %v", l, err)
				}
			}
			if kept, ok, err := q.Kept(ctx, "r", es[0].Judgement); err != nil || !ok || kept.Explanation != "It is not the largest." {
				t.Errorf("Kept = %+v, %v, %v", kept, ok, err)
			}

			// Cards are posted, once it is known which are in Slack.
			if _, _, err := q.Claim(ctx, "r", 0, review.Newest, time.Minute); !errors.Is(err, ErrUnbuilt) {
				t.Errorf("Claim = %v; layout 1 did not say which cards are known", err)
			}
			if err := q.KeepEpoch(ctx, "r", Epoch{Until: time.Now()}); err != nil {
				t.Fatal(err)
			}
			for n := 4; n > 0; n-- {
				cl, ok := claim(t, q, 0, time.Minute)
				if !ok || cl.SpanID != find(n).SpanID || cl.Again != (n == 4) {
					t.Fatalf("Claim = %+v, %v; want span %d", cl, ok, n)
				}
				if err := post(t, q, cl); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := q.Waiting(ctx, "r"); err != nil || n.Backlog != 0 || n.Claimed != 0 || n.Open != 4 {
				t.Errorf("Waiting = %+v, %v; want 4 open cards", n, err)
			}
			if v, err := c.Get(ctx, q.key.layout()).Int(); err != nil || v != Layout {
				t.Errorf("layout = %d, %v; want %d, so that the older program refuses it", v, err, Layout)
			}
		})
	}
}
