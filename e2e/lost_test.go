package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/sandbox/proxy"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// says is what a command of the binary prints beside the bot.
func (w *world) says(args ...string) string {
	w.t.Helper()
	out, code := w.command(args...)
	if code != 0 {
		w.t.Fatalf("spanbot %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// cards counts the messages that stand for a span.
func (w *world) cards(spanID string) (n int) {
	for _, m := range w.people.Messages(rig.Reviews) {
		if m.BlockID() == "card:main:"+spanID {
			n++
		}
	}
	return n
}

func TestFlushedRedis_IsRebuilt_NothingIsPostedTwice(t *testing.T) {
	w := newWorld(t)
	ids := w.ingest(rig.NewSpan("ChatCompletion", "q1", "a1"), rig.NewSpan("ChatCompletion", "q2", "a2"), rig.NewSpan("ChatCompletion", "q3", "a3"))
	w.start()
	for _, id := range ids {
		w.card(id)
	}
	w.tap(ids[0], rig.Alice, "up")
	w.stored(ids[0], rig.Alice, "correct")
	w.shows(ids[0], "correct", "Alice Anderson")

	c := redis.NewClient(&redis.Options{Addr: w.redis.Addr})
	defer c.Close()
	if err := c.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	w.eventually("the cards were brought back", func() bool { return strings.Contains(w.bot.log.String(), "they were brought back") })
	// New spans go on, and old cards take clicks.
	more := w.ingest(rig.NewSpan("ChatCompletion", "q4", "a4"))
	w.card(more[0])
	w.tap(ids[1], rig.Bob, "down")
	w.stored(ids[1], rig.Bob, "incorrect")
	w.shows(ids[1], "incorrect", "Bob Brown")
	w.tap(ids[0], rig.Bob, "down")
	w.stored(ids[0], rig.Bob, "incorrect")
	w.shows(ids[0], "correct", "Alice Anderson", "incorrect", "Bob Brown")
	time.Sleep(3 * time.Second)
	for _, id := range append(ids, more...) {
		if n := w.cards(id); n != 1 {
			t.Errorf("span %s has %d cards", id, n)
		}
	}

	// What the commands say beside the running bot.
	if out := w.says("rebuild"); !strings.Contains(out, "main: 4 cards in Slack, 0 of them not known before") {
		t.Errorf("rebuild says: %s", out)
	}
	if out := w.says("outbox", "list"); !strings.Contains(out, "Empty: Phoenix has every judgement.") {
		t.Errorf("outbox list says: %s", out)
	}
	var rows []map[string]any
	for line := range strings.Lines(w.says("history", "--json", "--since", "1h")) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("history --json: %v: %s", err, line)
		}
		rows = append(rows, row)
	}
	if len(rows) != 2 || rows[0]["outcome"] != "stored" || rows[0]["label"] != "incorrect" || rows[0]["identifier"] != "slack:"+rig.TeamID+":"+rig.Bob || rows[0]["latency_ms"] == nil {
		t.Errorf("history: %v", rows)
	}
	if out := w.says("history", "--csv"); !strings.HasPrefix(out, "clicked_at,stored_at,latency_ms,outcome") || strings.Count(out, "\n") != 3 {
		t.Errorf("history --csv: %s", out)
	}
}

func TestDeadLetter_IsListedShownReplayedAndDropped(t *testing.T) {
	w := newWorld(t)
	ids := w.ingest(rig.NewSpan("ChatCompletion", "q1", "a1"), rig.NewSpan("ChatCompletion", "q2", "a2"))
	w.start()
	w.card(ids[0])
	w.card(ids[1])
	w.phoenix.Fail("POST /v1/span_annotations", -1, proxy.HTTPFault{Status: http.StatusUnprocessableEntity, Body: `{"detail":[{"msg":"no"}]}`})
	w.tap(ids[0], rig.Alice, "up")
	w.tap(ids[1], rig.Bob, "down")
	w.shows(ids[0], "Not stored in Phoenix")
	w.shows(ids[1], "Not stored in Phoenix")
	w.phoenix.Heal()
	list := w.says("outbox", "list", "--dead", "--json")
	if strings.Count(list, "\n") != 2 || !strings.Contains(list, `"state":"dead"`) || !strings.Contains(list, ids[0]) {
		t.Fatalf("outbox list: %s", list)
	}
	if out := w.says("outbox", "show", ids[0]); !strings.Contains(out, `"label": "correct"`) {
		t.Errorf("outbox show: %s", out)
	}
	if out := w.says("outbox", "replay", ids[0]); !strings.Contains(out, "goes to Phoenix again: correct 1") {
		t.Errorf("outbox replay: %s", out)
	}
	w.stored(ids[0], rig.Alice, "correct")
	if out := w.says("outbox", "drop", ids[1]); !strings.Contains(out, "dropped: incorrect 0") {
		t.Errorf("outbox drop: %s", out)
	}
	w.eventually("the dropped judgement is off its card", func() bool { return !strings.Contains(w.card(ids[1]).Shown(), "Not stored") })
	if n := len(w.annotations(ids[1])); n != 0 {
		t.Errorf("%d annotations of what was dropped", n)
	}
	if out := w.says("history"); !strings.Contains(out, "dropped") || !strings.Contains(out, "stored") {
		t.Errorf("history: %s", out)
	}
}

// Black holes: connections stand and nothing comes. A tap has its budget from the
// receipt: Redis, then Phoenix, then the plain word.
func TestBlackHoles_AClickIsAnsweredInItsBudget(t *testing.T) {
	w := newWorld(t)
	wire := proxy.NewTCP(t, "tcp", w.redis.Addr)
	w.env["REDIS_URL"] = "redis://" + wire.Addr + "/0"
	ids := w.ingest(rig.NewSpan("ChatCompletion", "q1", "a1"), rig.NewSpan("ChatCompletion", "q2", "a2"))
	w.start()
	w.card(ids[0])
	w.card(ids[1])
	wire.Stall(true)
	start := time.Now()
	w.tap(ids[0], rig.Alice, "up") // fails the test unless it is acked
	w.stored(ids[0], rig.Alice, "correct")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("with Redis a black hole the click took %s", took)
	}
	w.phoenix.Fail("", -1, proxy.HTTPFault{Hang: true})
	w.tap(ids[1], rig.Bob, "down")
	w.people.WaitMessage(rig.Reviews, patience, "the word that nothing was saved", func(m rig.SlackMessage) bool {
		return m.EphemeralTo == rig.Bob && strings.Contains(m.Text, "Not saved")
	})
	w.phoenix.Heal()
	wire.Stall(false)
	wire.Cut()
	w.tap(ids[1], rig.Bob, "down")
	w.stored(ids[1], rig.Bob, "incorrect")
	w.shows(ids[1], "incorrect", "Bob Brown")
	w.shows(ids[0], "correct", "Alice Anderson")

	wire.Slow(2 * time.Second) // every answer of Redis two seconds late
	w.tap(ids[0], rig.Bob, "down")
	w.stored(ids[0], rig.Bob, "incorrect")
}
