package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/proxy"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

func TestClickToAnnotation_SocketMode(t *testing.T) { clickToAnnotation(t) }
func TestClickToAnnotation_HTTPMode(t *testing.T)   { clickToAnnotation(t, withHTTPMode()) }

func clickToAnnotation(t *testing.T, options ...option) {
	w := newWorld(t, options...)
	spans := []map[string]any{
		rig.NewSpan("ChatCompletion", "What is the largest planet?", "Jupiter, by Jove."),
		rig.NewSpan("ChatCompletion", "Who painted the Mona Lisa?", "Blorptang 4821."),
	}
	ids := w.ingest(spans...)
	w.start()

	m := w.card(ids[0])
	if !strings.Contains(m.Shown(), "What is the largest planet?") || !strings.Contains(m.Shown(), "Jupiter, by Jove.") {
		t.Errorf("the card does not show what was asked and answered:\n%s", m.Shown())
	}
	if !strings.Contains(m.Text, "Jupiter") || strings.TrimSpace(m.Text) == "" {
		t.Errorf("the notification text does not carry the content: %q", m.Text)
	}
	w.tap(ids[0], rig.Alice, "up")
	a := w.stored(ids[0], rig.Alice, "correct")
	if a.Kind != "HUMAN" || a.Name != "correctness" || a.Result.Score == nil || *a.Result.Score != 1 {
		t.Errorf("annotation = %+v; want HUMAN correctness correct 1", a)
	}
	for key, want := range map[string]string{"reviewer": "Alice Anderson", "channel": rig.Reviews} {
		if a.Metadata[key] != want {
			t.Errorf("metadata %s = %v; want %q", key, a.Metadata[key], want)
		}
	}
	for _, key := range []string{"rubric", "clicked_at", "spanbot", "permalink"} {
		if s, _ := a.Metadata[key].(string); s == "" {
			t.Errorf("metadata has no %s: %v", key, a.Metadata)
		}
	}
	w.shows(ids[0], "correct", "Alice Anderson")

	// Another reviewer's tap stands beside it, a change of mind replaces one's own.
	w.tap(ids[0], rig.Bob, "down")
	w.stored(ids[0], rig.Bob, "incorrect")
	w.tap(ids[0], rig.Alice, "down")
	w.stored(ids[0], rig.Alice, "incorrect")
	if n := len(w.annotations(ids[0])); n != 2 {
		t.Errorf("%d annotations of two reviewers; want 2", n)
	}
	w.shows(ids[0], "incorrect", "Bob Brown")

	for _, secret := range []string{rig.BotToken, rig.AppToken, rig.SigningSecret, "Jupiter, by Jove.", "What is the largest planet?", "Blorptang"} {
		if strings.Contains(w.bot.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}

	// A score of 0 is a score.
	w.tap(ids[1], rig.Bob, "down")
	if b := w.stored(ids[1], rig.Bob, "incorrect"); b.Result.Score == nil || *b.Result.Score != 0 {
		t.Errorf("score of incorrect = %v; want 0", b.Result.Score)
	}
}

func TestSecondTapOnTheSameButtonChangesNothing(t *testing.T) {
	w := newWorld(t)
	id := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	w.start()
	w.tap(id, rig.Alice, "up")
	w.stored(id, rig.Alice, "correct")
	w.shows(id, "Alice Anderson")
	posts := len(w.phoenix.Exchanges("POST /v1/span_annotations"))
	w.tap(id, rig.Alice, "up")
	w.tap(id, rig.Alice, "up")
	w.tap(id, rig.Bob, "down") // what is delivered after it
	w.stored(id, rig.Bob, "incorrect")
	if n := len(w.phoenix.Exchanges("POST /v1/span_annotations")); n != posts+1 {
		t.Errorf("%d requests after two taps on the same button and one by another; want 1", n-posts)
	}
}

func TestPhoenixDown_TheCardSaysSoAndNothingIsLost(t *testing.T) {
	w := newWorld(t)
	id := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	w.start()
	w.card(id)
	w.phoenix.Down(true)
	w.tap(id, rig.Alice, "up")
	w.shows(id, "Alice Anderson", "saved here")
	if code, body := w.get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz = %d %s; a click can be taken, so it must be 200", code, body)
	}
	w.phoenix.Heal()
	w.stored(id, rig.Alice, "correct")
	w.eventually("the card stops saying that it waits", func() bool {
		return !strings.Contains(w.card(id).Shown(), "saved here")
	})
}

func TestKillInTheMiddle_NothingIsLostOrPostedTwice(t *testing.T) {
	w := newWorld(t)
	spans := make([]map[string]any, 4)
	for i := range spans {
		spans[i] = rig.NewSpan("ChatCompletion", "q", "a")
	}
	ids := w.ingest(spans...)
	w.start()
	for _, id := range ids {
		w.card(id)
	}
	w.phoenix.Down(true)
	w.tap(ids[0], rig.Alice, "up")
	w.kill()
	w.phoenix.Heal()
	more := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	w.start()
	w.stored(ids[0], rig.Alice, "correct")
	w.card(more)
	w.tap(ids[1], rig.Bob, "down")
	w.stored(ids[1], rig.Bob, "incorrect")
	seen := map[string]int{}
	for _, m := range w.people.Messages(rig.Reviews) {
		if id := m.BlockID(); strings.HasPrefix(id, "card:") {
			seen[id]++
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was posted %d times", id, n)
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d cards; want 5", len(seen))
	}
}

func TestUnsurePost_IsLookedForBeforePostingAgain(t *testing.T) {
	w := newWorld(t)
	id := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	// Slack takes the message and its answer is lost.
	w.slack.Fail("chat.postMessage", 1, proxy.Fault{Accept: true, Cut: true})
	w.start()
	w.card(id)
	w.tap(id, rig.Alice, "up")
	w.stored(id, rig.Alice, "correct")
	w.shows(id, "Alice Anderson")
	n := 0
	for _, m := range w.people.Messages(rig.Reviews) {
		if m.BlockID() == "card:main:"+id {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the card was posted %d times; want 1", n)
	}
}

func TestStop_FinishesWhatIsInHandWithinTenSeconds(t *testing.T) {
	w := newWorld(t)
	id := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	w.start()
	w.card(id)
	w.tap(id, rig.Alice, "up")
	if took := w.stop(); took > 10*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if a := by(w.annotations(id), rig.Alice); a == nil {
		t.Error("the judgement clicked before the stop is not in Phoenix")
	}
}

func TestSpanDeletedInPhoenix_TheCardSaysSo(t *testing.T) {
	w := newWorld(t)
	id := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	w.start()
	w.card(id)
	w.px.DeleteSpan(t, id)
	w.tap(id, rig.Alice, "up")
	w.shows(id, "no longer exists in Phoenix")
	w.eventually("it is not tried for ever", func() bool {
		_, m := w.get("/metrics")
		return strings.Contains(m, "spanbot_outbox_judgements 0") && strings.Contains(m, "spanbot_outbox_dead_letters 1")
	})
}

func TestAnnotatedSpansGetNoCard(t *testing.T) {
	w := newWorld(t)
	ids := w.ingest(rig.NewSpan("ChatCompletion", "judged", "a"), rig.NewSpan("ChatCompletion", "by a judge", "a"), rig.NewSpan("ChatCompletion", "fresh", "a"))
	w.px.Annotate(t,
		map[string]any{"span_id": ids[0], "name": "correctness", "annotator_kind": "HUMAN", "result": map[string]any{"label": "correct"}, "identifier": "px-app:1"},
		map[string]any{"span_id": ids[1], "name": "correctness", "annotator_kind": "LLM", "result": map[string]any{"label": "correct"}, "identifier": "judge"})
	w.start()
	w.card(ids[1])
	w.card(ids[2])
	time.Sleep(2500 * time.Millisecond) // two polls more
	for _, m := range w.people.Messages(rig.Reviews) {
		if m.BlockID() == "card:main:"+ids[0] {
			t.Error("a span that a human has judged got a card")
		}
	}
}

func TestMaxOpen_AFreedPlaceIsFilledAtOnce(t *testing.T) {
	w := newWorld(t, withEnv("SPANBOT_MAX_OPEN", "2"), withEnv("SPANBOT_SCHEDULE", "@every 30s"))
	spans := []map[string]any{}
	for range 4 {
		spans = append(spans, rig.NewSpan("ChatCompletion", "q", "a"))
	}
	w.ingest(spans...)
	w.start()
	cards := func() (ids []string) {
		for _, m := range w.people.Messages(rig.Reviews) {
			if id, ok := strings.CutPrefix(m.BlockID(), "card:main:"); ok {
				ids = append(ids, id)
			}
		}
		return ids
	}
	w.eventually("two cards", func() bool { return len(cards()) == 2 })
	time.Sleep(3 * time.Second)
	if n := len(cards()); n != 2 {
		t.Fatalf("%d cards are open; want 2", n)
	}
	w.tap(cards()[0], rig.Alice, "up")
	w.eventually("a third card", func() bool { return len(cards()) == 3 })
	w.tap(cards()[1], rig.Bob, "skip")
	w.shows(cards()[1], "Skipped", "Bob Brown")
	w.eventually("a fourth card", func() bool { return len(cards()) == 4 })
}
