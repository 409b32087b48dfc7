package bot

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

// clerk is a bot whose Phoenix does to a judgement what its explanation says:
// "500", "422", "401", "429", "gone"; it stores everything else. The real
// server's answers are held by phoenix's contract tests; here the mixes matter
// that no real server gives on demand.
type clerk struct {
	t      *testing.T
	b      *Bot
	mu     sync.Mutex
	redis  *redis.Client
	stored map[string]string // span id → label
	posts  int
}

func newClerk(t *testing.T) *clerk {
	k := &clerk{t: t, stored: map[string]string{}}
	px := httptest.NewServer(http.HandlerFunc(k.serve))
	t.Cleanup(px.Close)
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"ok":false,"error":"user_not_found"}`) }))
	t.Cleanup(slack.Close)
	c, err := phoenix.New(phoenix.Options{Endpoint: px.URL})
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = client.Close() })
	k.redis = client
	k.b = newBot(Settings{Log: slog.New(slog.DiscardHandler), Slack: slackui.Options{BotToken: "xoxb-x", APIURL: slack.URL + "/"}}, c, prometheus.NewRegistry())
	k.b.queue, k.b.finish = queue.New(client, queue.Options{Instance: t.Name()}), t.Context()
	return k
}

func (k *clerk) serve(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	raw, _ := io.ReadAll(r.Body)
	var in struct {
		Data []struct {
			SpanID string `json:"span_id"`
			Result struct{ Label, Explanation string }
		}
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		k.t.Errorf("the body is no JSON: %s", raw)
	}
	k.posts++
	w.Header().Set("x-phoenix-server-version", "20.26.1")
	var gone, ids []string
	for _, d := range in.Data {
		switch d.Result.Explanation {
		case "500":
			http.Error(w, "Internal Server Error", http.StatusInternalServerError)
			return
		case "422":
			http.Error(w, `{"detail":[{"msg":"no"}]}`, http.StatusUnprocessableEntity)
			return
		case "401":
			http.Error(w, "Invalid token", http.StatusUnauthorized)
			return
		case "429":
			w.Header().Set("Retry-After", "30")
			http.Error(w, "Too many requests.", http.StatusTooManyRequests)
			return
		case "gone":
			gone = append(gone, d.SpanID)
		}
		ids = append(ids, `{"id":"`+d.SpanID+`"}`)
	}
	if len(gone) > 0 {
		http.Error(w, "Spans with IDs "+strings.Join(gone, ", ")+" do not exist.", http.StatusNotFound)
		return
	}
	for _, d := range in.Data {
		k.stored[d.SpanID] = d.Result.Label
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"data":[%s]}`, strings.Join(ids, ","))
}

// judge has one judgement a card: its explanation says what Phoenix will do.
func (k *clerk) judge(explanations ...string) []review.Ref {
	k.t.Helper()
	var refs []review.Ref
	for i, x := range explanations {
		ref := review.Ref{Route: "main", TraceID: fmt.Sprintf("%032x", i+1), SpanID: fmt.Sprintf("%016x", i+1)}
		j := review.Judgement{Ref: ref, Name: "correctness", Rubric: "cafe0123", Reviewer: review.Reviewer{Team: "T1", ID: "U1", Name: "ana"},
			Answer: review.Answer{Label: "correct", Explanation: x}, At: time.Now().Truncate(time.Millisecond), Channel: "C1", Message: fmt.Sprintf("1758000000.%06d", i+1)}
		if err := k.b.keep(k.t.Context(), j, time.Now(), false); err != nil {
			k.t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	return refs
}

func (k *clerk) vote(ref review.Ref) review.Vote {
	k.t.Helper()
	t, err := k.b.queue.Thread(k.t.Context(), ref.Route, ref.TraceID)
	if err != nil {
		k.t.Fatal(err)
	}
	return t.Card(ref.SpanID).Votes[0]
}

func (k *clerk) outbox() queue.OutboxStats {
	k.t.Helper()
	s, err := k.b.queue.Outbox(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	return s
}

func TestDeliver_OneRequestForManyJudgements(t *testing.T) {
	k := newClerk(t)
	refs := k.judge("a", "b", "c")
	if n, err := k.b.deliverDue(100); n != 3 || err != nil || k.posts != 1 || len(k.stored) != 3 {
		t.Errorf("%d taken, %v, %d requests, stored %v", n, err, k.posts, k.stored)
	}
	for _, r := range refs {
		if v := k.vote(r); v.Delivery != review.Stored {
			t.Errorf("%+v", v)
		}
	}
	if s := k.outbox(); s.Depth != 0 {
		t.Errorf("%+v", s)
	}
}

func TestDeliver_MissingSpanOfABatchIsBuriedTheRestIsStored(t *testing.T) {
	k := newClerk(t)
	refs := k.judge("a", "gone", "c")
	if _, err := k.b.deliverDue(100); err != nil {
		t.Fatal(err)
	}
	if len(k.stored) != 2 || k.outbox().Depth != 0 || k.outbox().Dead != 1 {
		t.Errorf("stored %v, outbox %+v", k.stored, k.outbox())
	}
	if v := k.vote(refs[1]); v.Delivery != review.Failed || !strings.Contains(v.Why, "no longer exists") {
		t.Errorf("%+v", v)
	}
	th, err := k.b.queue.Thread(t.Context(), "main", refs[1].TraceID)
	if err != nil || th.Card(refs[1].SpanID).State != review.Deleted {
		t.Errorf("%+v %v", th, err)
	}
}

func TestDeliver_RefusedOneOfABatchDoesNotHoldUpTheOthers(t *testing.T) {
	k := newClerk(t)
	refs := k.judge("a", "422", "c")
	if _, err := k.b.deliverDue(100); err != nil {
		t.Fatal(err)
	}
	if len(k.stored) != 2 || k.outbox().Dead != 1 || k.vote(refs[1]).Delivery != review.Failed {
		t.Errorf("stored %v, outbox %+v, %+v", k.stored, k.outbox(), k.vote(refs[1]))
	}
}

func TestDeliver_PoisonedOneIsParkedAfterManyTries(t *testing.T) {
	k := newClerk(t)
	refs := k.judge("a", "500", "c")
	for try := 1; try <= poisoned; try++ {
		_, _ = k.b.deliverDue(100)
		if try == 1 && len(k.stored) != 2 {
			t.Fatalf("stored %v; the other two must not wait", k.stored)
		}
		if v := k.vote(refs[1]); (v.Delivery == review.Failed) != (try == poisoned) {
			t.Fatalf("after try %d: %+v", try, v)
		}
		if try < poisoned {
			k.dueNow()
		}
	}
	if s := k.outbox(); s.Depth != 0 || s.Dead != 1 {
		t.Errorf("%+v", s)
	}
}

// dueNow waits out a pause without waiting.
func (k *clerk) dueNow() {
	k.t.Helper()
	c := k.redis
	keys, err := c.Keys(k.t.Context(), "*:due").Result()
	if err != nil || len(keys) != 1 {
		k.t.Fatalf("%v %v", keys, err)
	}
	members, err := c.ZRange(k.t.Context(), keys[0], 0, -1).Result()
	if err != nil {
		k.t.Fatal(err)
	}
	for _, m := range members {
		if err := c.ZAdd(k.t.Context(), keys[0], redis.Z{Score: 1, Member: m}).Err(); err != nil {
			k.t.Fatal(err)
		}
	}
}

func TestDeliver_RefusedKeyAndBusyServerWaitAndBuryNothing(t *testing.T) {
	for _, what := range []string{"401", "429"} {
		k := newClerk(t)
		refs := k.judge(what)
		if _, err := k.b.deliverDue(100); err == nil {
			t.Errorf("%s: deliver goes on as if nothing were", what)
		}
		if s := k.outbox(); s.Depth != 1 || s.Dead != 0 || k.vote(refs[0]).Delivery != review.Waiting {
			t.Errorf("%s: %+v", what, s)
		}
		due, ok, err := k.b.queue.NextDue(t.Context())
		if what == "429" && (err != nil || !ok || time.Until(due) < 25*time.Second) {
			t.Errorf("Retry-After of 30 s, due in %s", time.Until(due))
		}
	}
}

func TestDeliver_StoppedInBetween_NothingIsLost(t *testing.T) {
	k := newClerk(t)
	k.judge("a", "b")
	es, err := k.b.queue.Lease(t.Context(), 100, time.Millisecond) // taken by one that died
	if err != nil || len(es) != 2 {
		t.Fatalf("%v %v", es, err)
	}
	time.Sleep(5 * time.Millisecond)
	if n, err := k.b.deliverDue(100); n != 2 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	var got []string
	for id := range k.stored {
		got = append(got, id)
	}
	slices.Sort(got)
	if len(got) != 2 {
		t.Errorf("%v", got)
	}
}
