package e2e

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// In both modes: the Home counts what is open, lists what its person judged, and
// forgets what was taken back; nobody sees another's.
func TestHome_SaysWhatIsOpenAndWhatIJudged(t *testing.T) {
	for name, options := range map[string][]option{"socket": nil, "http": {withHTTPMode()}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options...)
			// Counts are of a whole project: none but these spans are in it.
			w.project += "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
			w.env["PHOENIX_PROJECT"] = w.project
			spans := w.ingest(rig.NewSpan("a", "a secret question", "a secret answer"), rig.NewSpan("b", "another question", "another answer"))
			w.start()
			for _, s := range spans {
				w.card(s)
			}
			w.opensHome(rig.Alice, "<#"+rig.Reviews+">", "*2 open cards*", "Nothing yet.")

			// It follows a judgement by itself while it is looked at.
			w.tap(spans[0], rig.Alice, "up")
			v := w.home(rig.Alice, "*1 open card*", "👍 correct 1", "card> in <#"+rig.Reviews+">")
			if s := v.Shown(); strings.Contains(s, "secret") {
				t.Errorf("a span's content is in\n%s", s)
			}
			w.opensHome(rig.Bob, "*1 open card*", "Nothing yet.")

			// Bob's is his; Refresh shows his Home anew.
			w.tap(spans[1], rig.Bob, "down")
			v = w.home(rig.Bob, "nothing to judge", "👎 incorrect 1")
			tap, ok := v.Button("refresh")
			if !ok {
				t.Fatalf("no Refresh; there is %v", v.Actions())
			}
			before := w.published()
			w.people.ClickHome(rig.Bob, tap)
			w.eventually("Refresh publishes the Home anew", func() bool { return w.published() > before })
		})
	}
}

// The answer is for the person alone and needs no right to post.
func TestCommand_IsAnsweredWhereTheBotMayNotPost(t *testing.T) {
	for name, options := range map[string][]option{"socket": nil, "http": {withHTTPMode()}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options...)
			span := w.ingest(rig.NewSpan("a", "question", "answer"))[0]
			w.start()
			w.card(span) // the route knows its channel
			for text, want := range map[string]string{"status": "<#" + rig.Reviews + ">", "help": "/spanbot status", "dance": "“dance” is not known"} {
				if !w.people.Command(rig.General, rig.Alice, "/spanbot", text) {
					t.Errorf("/spanbot %s was not acked", text)
				}
				w.eventually("/spanbot "+text+" is answered with "+want, func() bool { return w.answered(want) })
			}
		})
	}
}

// opensHome opens a person's Home until it says all of these: a card is in Slack
// a moment before it counts.
func (w *world) opensHome(user string, texts ...string) {
	w.t.Helper()
	w.eventually("the Home of "+user+" says "+strings.Join(texts, ", "), func() bool {
		w.people.OpenHome(user)
		v := w.people.Home(user)
		return v != nil && says(*v, texts)
	})
}

// home waits until a person's Home says all of these.
func (w *world) home(user string, texts ...string) rig.View {
	w.t.Helper()
	return w.people.WaitHome(user, patience, "says "+strings.Join(texts, ", "), func(v rig.View) bool {
		return says(v, texts)
	})
}

func says(v rig.View, texts []string) bool {
	shown := v.Shown()
	return !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(shown, s) })
}

// published counts the Homes that the bot has drawn.
func (w *world) published() (n int) {
	w.t.Helper()
	for _, e := range w.people.Log() {
		if e.Direction == "from_bot" && strings.Contains(e.Summary, "views.publish") {
			n++
		}
	}
	return n
}

// answered reports whether an ack of the bot says text to one person alone.
func (w *world) answered(text string) bool {
	w.t.Helper()
	for _, e := range w.people.Log() {
		var detail any
		if json.Unmarshal(e.Detail, &detail) != nil {
			continue
		}
		if s, ok := ephemeral(detail); ok && strings.Contains(s, text) {
			return true
		}
	}
	return false
}

// ephemeral finds the text of an answer for one person, however deep it is.
func ephemeral(v any) (string, bool) {
	switch v := v.(type) {
	case string: // a body as it was sent
		var inner any
		if json.Unmarshal([]byte(v), &inner) == nil {
			if _, again := inner.(string); !again {
				return ephemeral(inner)
			}
		}
	case []any:
		for _, x := range v {
			if s, ok := ephemeral(x); ok {
				return s, true
			}
		}
	case map[string]any:
		if s, ok := v["text"].(string); ok && v["response_type"] == "ephemeral" {
			return s, true
		}
		for _, x := range v {
			if s, ok := ephemeral(x); ok {
				return s, true
			}
		}
	}
	return "", false
}
