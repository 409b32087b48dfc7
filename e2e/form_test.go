package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/proxy"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// form opens the form of a card and waits for its inputs.
func (w *world) form(spanID, user string) rig.View {
	w.t.Helper()
	w.tap(spanID, user, "annotate")
	return w.people.WaitModal(patience, "the form", func(v rig.View) bool { return len(v.Inputs()) > 0 })
}

// clickModal taps in the modal on top once the proxy knows its view: the page of
// the emulator shows a modal a moment before the call that made it has ended.
func (w *world) clickModal(user string, action map[string]any, views int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d calls of views.open and views.update have ended", views), func() bool {
		return len(w.slack.Calls("views.open", "views.update")) >= views
	})
	w.people.ClickModal(user, action)
}

func (w *world) submit(v rig.View, user string, fields map[string]string) rig.Submission {
	w.t.Helper()
	values, err := v.Fill(fields)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.people.SubmitModal(user, values)
}

func TestForm_WrongScoreThenRight_ThenPrefilled_ThenWithdrawn(t *testing.T) {
	w := newWorld(t)
	id := w.ingest(rig.NewSpan("ChatCompletion", "What is the tallest mountain?", "Everest, the best."))[0]
	w.start()
	w.card(id)

	v := w.form(id, rig.Alice)
	if !strings.Contains(v.Shown(), "What is the tallest mountain?") {
		t.Errorf("the form does not say what is judged:\n%s", v.Shown())
	}
	got := w.submit(v, rig.Alice, map[string]string{"label": "", "score": "", "explanation": "  "})
	if !strings.Contains(got.Errors["label"], "Nothing is filled in") {
		t.Errorf("an empty form: %+v; want words under label", got)
	}
	got = w.submit(v, rig.Alice, map[string]string{"label": "incorrect", "score": "7", "explanation": "It does not rhyme well."})
	if !strings.Contains(got.Errors["score"], "outside the range; want 0 to 1") {
		t.Errorf("a score of 7: %+v; want words under score", got)
	}
	if n := len(w.annotations(id)); n != 0 {
		t.Errorf("%d annotations after refused forms", n)
	}
	got = w.submit(v, rig.Alice, map[string]string{"label": "incorrect", "score": "0.25", "explanation": "It does not rhyme well.", "correction": "Of mountains Everest is the crest."})
	if !got.Acked || len(got.Errors) > 0 {
		t.Fatalf("a good form: %+v", got)
	}
	a := w.stored(id, rig.Alice, "incorrect")
	if a.Result.Score == nil || *a.Result.Score != 0.25 || a.Result.Explanation != "It does not rhyme well." || a.Metadata["correction"] != "Of mountains Everest is the crest." {
		t.Errorf("stored %+v", a)
	}
	w.shows(id, "incorrect", "0.25", "It does not rhyme well.")

	v = w.form(id, rig.Alice)
	if vals := fmt.Sprint(v.Values()); !strings.Contains(vals, "It does not rhyme well.") || !strings.Contains(vals, "Everest is the crest.") || !strings.Contains(vals, "0.25") || !strings.Contains(vals, "incorrect") {
		t.Errorf("the form is not prefilled with one's own judgement: %s", vals)
	}
	// Someone else's form is not.
	w.people.CloseModal(rig.Alice)
	v = w.form(id, rig.Bob)
	if vals := fmt.Sprint(v.Values()); strings.Contains(vals, "rhyme") {
		t.Errorf("Bob's form shows what Alice said: %s", vals)
	}
	w.people.CloseModal(rig.Bob)

	v = w.form(id, rig.Alice)
	b, ok := v.Button("withdraw")
	if !ok {
		t.Fatalf("the form has no way to withdraw: %v", v.Actions())
	}
	w.clickModal(rig.Alice, b, 4) // Alice's form, Alice's, Bob's and this one
	w.people.WaitModal(patience, "the word that it was withdrawn", func(v rig.View) bool { return strings.Contains(v.Shown(), "taken back") })
	w.people.CloseModal(rig.Alice)
	w.eventually("the annotation is gone from Phoenix", func() bool { return len(w.annotations(id)) == 0 })
	w.eventually("the card is open again, in full", func() bool {
		m := w.card(id)
		_, ok := m.Button("up")
		return ok && strings.Contains(m.Shown(), "Everest, the best.")
	})
}

func TestForm_AppliesToTheWholeTrace(t *testing.T) {
	w := newWorld(t)
	span := rig.NewSpan("ChatCompletion", "q", "a")
	id := w.ingest(span)[0]
	w.start()
	v := w.form(id, rig.Bob)
	if got := w.submit(v, rig.Bob, map[string]string{"label": "correct", "target": "trace"}); len(got.Errors) > 0 {
		t.Fatalf("%+v", got)
	}
	w.eventually("Phoenix holds the trace annotation", func() bool {
		a := by(w.traceAnnotations(traceOf(span)), rig.Bob)
		return a != nil && a.Result.Label == "correct" && a.Result.Score != nil && *a.Result.Score == 1 && a.Kind == "HUMAN"
	})
	if n := len(w.annotations(id)); n != 0 {
		t.Errorf("%d span annotations; want none", n)
	}
	w.shows(id, "whole trace", "Bob Brown")
}

func TestTrace_OutlineOnceWithVerdictsAndAFormForAnySpan(t *testing.T) {
	w := newWorld(t)
	root := rig.NewSpan("answer", `{"question":"Can I return it?"}`, "Within 30 days.")
	root["span_kind"] = "CHAIN"
	retriever := child(root, "search", "RETRIEVER", "return policy", "")
	retriever["attributes"].(map[string]any)["retrieval.documents.0.document.content"] = "Returns are accepted within 30 days."
	retriever["attributes"].(map[string]any)["retrieval.documents.0.document.score"] = 0.91
	llm := child(root, "ChatCompletion", "LLM", "Answer it", "Within 30 days.")
	ids := w.ingest(retriever, llm, root)
	rootID, llmID := ids[2], ids[1]
	w.start()
	m := w.shows(rootID, "Returns are accepted within 30 days.", "0.91")
	for _, id := range ids[:2] {
		for _, m := range w.people.Messages(rig.Reviews) {
			if m.BlockID() == "card:main:"+id {
				t.Errorf("span %s below the root got a card", id)
			}
		}
	}
	w.tap(rootID, rig.Alice, "trace")
	outline := w.people.WaitMessage(rig.Reviews, patience, "the outline", func(m rig.SlackMessage) bool { return strings.HasPrefix(m.BlockID(), "outline:main:") })
	if outline.ThreadTS != m.TS {
		t.Errorf("the outline is in thread %q; want %q", outline.ThreadTS, m.TS)
	}
	for _, s := range []string{"3 spans", "CHAIN answer", "RETRIEVER search", "LLM ChatCompletion"} {
		if !strings.Contains(outline.Shown(), s) {
			t.Errorf("the outline does not show %q:\n%s", s, outline.Shown())
		}
	}
	w.tap(rootID, rig.Bob, "trace")
	w.people.WaitMessage(rig.Reviews, patience, "the word that it is there", func(m rig.SlackMessage) bool {
		return m.EphemeralTo == rig.Bob && strings.Contains(m.Text, "already")
	})

	pick, ok := outline.Option("pick", llmID)
	if !ok {
		t.Fatalf("no span can be picked from the outline: %v\n%s", outline.Actions(), outline.Raw)
	}
	w.people.Click(rig.Reviews, outline.TS, rig.Alice, pick)
	v := w.people.WaitModal(patience, "the form", func(v rig.View) bool { return len(v.Inputs()) > 0 })
	if got := w.submit(v, rig.Alice, map[string]string{"label": "incorrect", "explanation": "wrong span"}); len(got.Errors) > 0 {
		t.Fatalf("%+v", got)
	}
	w.stored(llmID, rig.Alice, "incorrect")
	w.eventually("the outline shows the verdict", func() bool {
		return strings.Contains(w.people.Message(rig.Reviews, outline.TS).Shown(), "👎 Alice Anderson")
	})
	// A late span is drawn, too.
	w.ingest(child(root, "late", "TOOL", "x", "y"))
	w.eventually("the outline shows the late span", func() bool {
		return strings.Contains(w.people.Message(rig.Reviews, outline.TS).Shown(), "TOOL late")
	})
	n := 0
	for _, m := range w.people.Messages(rig.Reviews) {
		if strings.HasPrefix(m.BlockID(), "outline:") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d outlines; want 1", n)
	}
}

func TestDetails_ShowTheWholeText_AndSaySoWhenPhoenixIsDown(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("All of it matters. ", 2000) + "THE END"
	id := w.ingest(rig.NewSpan("ChatCompletion", "Tell me everything.", long))[0]
	w.start()
	m := w.shows(id, "more characters")
	if strings.Contains(m.Shown(), "THE END") {
		t.Error("38,000 characters stand on the card")
	}
	w.tap(id, rig.Alice, "details")
	v := w.people.WaitModal(patience, "the details", func(v rig.View) bool { return strings.Contains(v.Shown(), "Page 1 of") })
	for page := range 20 {
		if strings.Contains(v.Shown(), "THE END") {
			break
		}
		next := v.Shown()
		b, ok := lastPage(v)
		if !ok {
			t.Fatalf("no next page, and the end was not shown")
		}
		w.clickModal(rig.Alice, b, 2+page) // opened, filled, and once for each page
		v = w.people.WaitModal(patience, "the next page", func(v rig.View) bool { return v.Shown() != next })
	}
	if !strings.Contains(v.Shown(), "THE END") {
		t.Error("the end of the text was never shown")
	}
	w.people.CloseModal(rig.Alice)

	other := w.ingest(rig.NewSpan("ChatCompletion", "Short question?", "Short answer."))[0]
	w.card(other)
	w.phoenix.Down(true)
	w.tap(other, rig.Alice, "details")
	w.people.WaitModal(patience, "what the card kept", func(v rig.View) bool {
		return strings.Contains(v.Shown(), "Phoenix does not answer") && strings.Contains(v.Shown(), "Short answer.")
	})
	w.people.CloseModal(rig.Alice)
}

// lastPage is the button that goes furthest on.
func lastPage(v rig.View) (map[string]any, bool) {
	var best map[string]any
	for _, b := range v.Blocks {
		elements, _ := b["elements"].([]any)
		for _, e := range elements {
			m, _ := e.(map[string]any)
			if m["action_id"] == "page" {
				best = map[string]any{"type": "button", "action_id": "page", "block_id": b["block_id"], "value": m["value"]}
				if text, _ := m["text"].(map[string]any); strings.HasPrefix(fmt.Sprint(text["text"]), "Next") {
					return best, true
				}
			}
		}
	}
	return nil, false
}

func TestHostileSpans_GetACorrectCard(t *testing.T) {
	w := newWorld(t, withEnv("SPANBOT_MAX_OPEN", "0"))
	spans := []map[string]any{
		rig.NewSpan("<!channel> *x* | y", "<!channel> @here <@U01ALICE> https://evil.example", "```code``` & <b>"),
		rig.NewSpan("control", "a\x01b\x1b[31mred\u202egnp.exe", "ok"),
		rig.NewSpan("nested", `{"a":{"b":[1,2,{"c":"{\"d\":1}"}]}}`, `[[],{},"x"]`),
		rig.NewSpan("huge", "q", strings.Repeat("words and more words ", 500_000)),
		rig.NewSpan("empty", "", ""),
		rig.NewSpan("entities", strings.Repeat("&<>", 3000), strings.Repeat("&", 9000)),
	}
	for _, k := range []string{"input.value", "output.value"} {
		delete(spans[4]["attributes"].(map[string]any), k)
	}
	ids := w.ingest(spans...)
	w.start()
	for _, id := range ids {
		w.card(id)
	}
	for _, p := range w.slack.Problems() {
		t.Errorf("Slack would not like it: %s", p)
	}
	if s := w.card(ids[1]).Shown(); strings.ContainsAny(s, "\x01\x1b\u202e") {
		t.Errorf("control characters reached Slack: %q", s)
	}
	if s := w.card(ids[3]).Shown(); !strings.Contains(s, "more characters") {
		t.Errorf("10 MB of output are not counted: %.300s", s)
	}
	w.tap(ids[4], rig.Alice, "up")
	w.stored(ids[4], rig.Alice, "correct")
}

func TestRefusedBlocks_AreReplacedByTheMinimalCard(t *testing.T) {
	w := newWorld(t)
	id := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	w.slack.Fail("chat.postMessage", 1, proxy.Fault{Error: "invalid_blocks"})
	w.start()
	w.shows(id, "cannot be shown here")
	w.tap(id, rig.Alice, "up")
	w.stored(id, rig.Alice, "correct")
}

func TestOtherTeamsUnknownActionsAndResends_AreHarmless(t *testing.T) {
	w := newWorld(t)
	id := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	w.start()
	m := w.card(id)
	up, ok := m.Button("up")
	if !ok {
		t.Fatal("no 👍")
	}
	deliver := func(team string, action map[string]any) proxy.Envelope {
		e, err := w.slack.Deliver("interactive", map[string]any{
			"type": "block_actions", "user": map[string]any{"id": "UEVIL", "team_id": team, "name": "eve"}, "team": map[string]any{"id": rig.TeamID},
			"container": map[string]any{"type": "message", "channel_id": rig.Reviews, "message_ts": m.TS},
			"channel":   map[string]any{"id": rig.Reviews}, "message": map[string]any{"ts": m.TS}, "actions": []any{action},
		}, 5*time.Second)
		if err != nil {
			t.Errorf("not acked: %v", err)
		}
		return e
	}
	deliver("T99OTHER", up)
	deliver(rig.TeamID, map[string]any{"action_id": "explode", "block_id": "x", "type": "button", "value": "?"})
	e := deliver(rig.TeamID, up)
	if err := w.slack.Resend(e.ID); err != nil {
		t.Errorf("the same envelope once more: %v", err)
	}
	w.stored(id, "UEVIL", "correct")
	if n := len(w.annotations(id)); n != 1 {
		t.Errorf("%d annotations; want 1", n)
	}
	if n := len(w.phoenix.Exchanges("POST /v1/span_annotations")); n != 1 {
		t.Errorf("%d requests for one judgement", n)
	}
	if code, _ := w.get("/healthz"); code != 200 {
		t.Errorf("/healthz = %d", code)
	}
}

func TestReconnects_LoseNoClick(t *testing.T) {
	w := newWorld(t, withSlack(proxy.SlackOptions{Redeliver: 3}))
	id := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	w.start()
	w.card(id)
	opened := len(w.slack.Calls("apps.connections.open"))
	w.slack.Disconnect("refresh_requested")
	// The emulator gives a click to whoever is connected at that moment, and to
	// nobody later; Slack would send it again.
	w.eventually("connected again", func() bool {
		return len(w.slack.Calls("apps.connections.open")) > opened && w.slack.Links() == 1
	})
	w.ready()
	w.tap(id, rig.Alice, "down")
	w.stored(id, rig.Alice, "incorrect")
}

func TestUpdatesAreRefused429_OtherWorkGoesOn(t *testing.T) {
	w := newWorld(t)
	ids := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"), rig.NewSpan("ChatCompletion", "q", "b"))
	w.start()
	w.card(ids[0])
	w.card(ids[1])
	w.slack.Fail("chat.update", 1, proxy.Fault{Status: 429, RetryAfter: 2})
	w.tap(ids[0], rig.Alice, "up")
	w.stored(ids[0], rig.Alice, "correct") // while the update waits
	w.shows(ids[0], "Alice Anderson")
}
