package slackui

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/spanbot/spanbot/internal/review"
)

// readBack is what Cards would read of a drawn card.
func readBack(t interface{ Fatalf(string, ...any) }, m Message) (Found, bool) {
	raw, err := json.Marshal(map[string]any{"ts": "1764072000.000200", "blocks": m.Blocks})
	if err != nil {
		t.Fatalf("%v", err)
	}
	var got foundMessage
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%v", err)
	}
	return got.card("C1")
}

// Whatever a card shows, it can be read back: who it is, where it stands, and
// what no other part of the world has.
func TestFound_ACardIsReadBackAsItWasDrawn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := rapid.SampledFrom([]review.State{review.Open, review.Judged, review.Skipped, review.Expired, review.Deleted}).Draw(t, "state")
		c := review.Card{State: state}
		if state == review.Skipped {
			c.Closer = "U" + rapid.StringMatching(`[A-Z0-9]{1,11}`).Draw(t, "closer")
		}
		var want []review.Vote
		if state == review.Judged {
			for i := range rapid.IntRange(1, 3).Draw(t, "votes") {
				v := voteOf(fmt.Sprintf("U%d", i), rapid.StringN(1, 20, 60).Draw(t, "label"), rapid.Float64Range(-1e6, 1e6).Draw(t, "score"), nil)
				v.At = drawnAt.Add(-time.Duration(rapid.IntRange(0, 1e6).Draw(t, "age")) * time.Millisecond)
				v.OnTrace, v.Withdrawn = rapid.Bool().Draw(t, "trace"), rapid.Bool().Draw(t, "withdrawn")
				v.Delivery = rapid.SampledFrom([]review.Delivery{review.Stored, review.Waiting, review.Failed}).Draw(t, "delivery")
				if rapid.Bool().Draw(t, "explains") {
					v.Words = rapid.StringN(0, 80, 200).Draw(t, "words")
				}
				c.Votes = append(c.Votes, v)
				if v.Delivery == review.Waiting {
					want = append(want, v)
				}
			}
		}
		view := cardOf(chatSpan(), c)
		got, ok := readBack(t, DrawCard(view))
		if !ok || got.Ref != testRef || got.Rubric != view.Rubric.Hash() || got.State != state || got.Closer != c.Closer {
			t.Fatalf("read back %v %+v; drawn %+v", ok, got, c)
		}
		// Long labels may push votes out of the ids; those that are there are true.
		for _, v := range got.Waiting {
			i := slices.IndexFunc(want, func(w review.Vote) bool { return w.Reviewer == v.Reviewer })
			if i < 0 {
				t.Fatalf("read back %+v, which was not drawn", v)
			}
			w := want[i]
			if v.Reviewer != w.Reviewer || v.Label != w.Label || *v.Score != *w.Score || !v.At.Equal(w.At) || v.OnTrace != w.OnTrace || v.Withdrawn != w.Withdrawn || (v.Words != "" && v.Words != w.Words) {
				t.Errorf("read back %+v; drawn %+v", v, w)
			}
		}
		short := 0
		for _, v := range want {
			if len(keptVote(review.Vote{Reviewer: v.Reviewer, Label: v.Label, Score: v.Score, At: v.At})) < 60 {
				short++
			}
		}
		if len(want) == short && len(got.Waiting) < min(len(want), 2) {
			t.Errorf("%d of %d waiting votes were read back", len(got.Waiting), len(want))
		}
	})
}

func TestFound_EmojiComeBackByName(t *testing.T) {
	for name, want := range map[string]review.State{
		":black_right_pointing_double_triangle_with_vertical_bar: *Skipped*  ·  Ana": review.Skipped,
		":hourglass: *Closed*  ·  nobody judged it in time":                          review.Expired,
		":wastebasket: *This span no longer exists in Phoenix.*":                     review.Deleted,
		":+1: *correct*  ·  Ana":                                                     review.Judged,
	} {
		if got := stateOf(foundBlock{Type: "section", Text: &foundText{name}}); got != want {
			t.Errorf("%s is read as %s", name, got)
		}
	}
}

func TestFound_OtherAppsMessagesAreLeftAlone(t *testing.T) {
	raw := `[{"ts":"1.000001","blocks":[{"type":"rich_text","block_id":"x","elements":"odd"}]},
		{"ts":"1.000002","blocks":"odd"},{"ts":"1.000003","blocks":[{"type":"section","block_id":"card:main:zz","text":"odd"}]}]`
	var list []foundMessage
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if f, ok := m.card("C1"); ok {
			t.Errorf("read as a card: %+v", f)
		}
	}
}

func TestFound_SummaryOfAClosedCard(t *testing.T) {
	view := cardOf(chatSpan(), judged(voteOf("U1", "correct", 1, nil)))
	got, ok := readBack(t, DrawCard(view))
	want := strings.Join(strings.Fields(view.Card.Summary), " ")
	if !ok || cmp.Diff(want, strings.Join(strings.Fields(got.Summary), " ")) != "" {
		t.Errorf("summary %q; want %q", got.Summary, want)
	}
}

// A card holds votes of reviewers, which are believed when Redis has forgotten
// it: nobody else's message is taken for one, whatever it says.
func TestFound_ForgedCardsAreNotRead(t *testing.T) {
	drawn, err := json.Marshal(DrawCard(cardOf(chatSpan(), judged(voteOf("U7", "correct", 1, nil)))).Blocks)
	if err != nil {
		t.Fatal(err)
	}
	us := Identity{BotID: "B1", BotUser: "U0"}
	for _, tt := range []struct {
		name, author string
		us           Identity
		ours         bool
	}{
		{"ours", `"bot_id":"B1","user":"U0",`, us, true},
		{"ours, where Slack names the user alone", `"user":"U0",`, us, true},
		{"another app's", `"bot_id":"B2","user":"U2",`, us, false},
		{"another app's that claims our user", `"bot_id":"B2","user":"U0",`, us, false},
		{"a person's", `"user":"U7",`, us, false},
		{"nobody's", ``, us, false},
		{"nobody's, when we do not know who we are", ``, Identity{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			message := fmt.Sprintf(`{"type":"message","ts":"1758000000.000001",%s"text":"x","blocks":%s}`, tt.author, drawn)
			c := answering(t, map[string]string{"conversations.history": `{"ok":true,"messages":[` + message + `]}`})
			found := 0
			if err := c.Cards(t.Context(), "C1", time.Time{}, tt.us, func(Found) error { found++; return nil }); err != nil {
				t.Fatal(err)
			}
			_, ok, err := c.Find(t.Context(), "C1", "", CardBlockID(testRef), time.Time{}, tt.us)
			if err != nil || (found == 1) != tt.ours || ok != tt.ours {
				t.Errorf("%d cards are read, one is found: %v, %v; want %v", found, ok, err, tt.ours)
			}
		})
	}
}
