package bot

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// guardedBubble is inBubble with reviewers of the route.
func guardedBubble(t *testing.T, who func(b *bubble) []string, f func(b *bubble)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 12, phoenixd.Options{Every: 100 * time.Hour}, slackd.Options{})
		defer b.end()
		b.routes[0].Since = 1000 * time.Hour
		b.routes[0].Reviewers = who(b)
		b.start()
		time.Sleep(time.Minute)
		f(b)
	})
}

// lastWord is what a person was shown alone last.
func (b *bubble) lastWord(who int) string {
	list := b.slack.Ephemerals(b.people[who].ID)
	if len(list) == 0 {
		return ""
	}
	s, _ := list[len(list)-1]["text"].(string)
	return s
}

func TestReviewers_OthersAreRefusedAtEachAction(t *testing.T) {
	guardedBubble(t, func(b *bubble) []string { return []string{b.people[0].ID} }, func(b *bubble) {
		s, ch := b.spans(), b.channels()[0]
		b.say(0, s[0], "correct")
		b.say(1, s[0], "incorrect")
		if w := b.lastWord(1); !strings.Contains(w, "only the reviewers") {
			b.t.Errorf("somebody else was told %q", w)
		}
		// The form does not open, and a card is not skipped.
		for _, m := range b.slack.Messages(ch) {
			for _, bl := range blocksOf(m) {
				if bl["block_id"] == "judge" && strings.Contains(toText(m), s[1]) {
					_ = b.slack.Click(b.people[1].ID, ch, m["ts"].(string), slackd.Action{BlockID: "judge", ActionID: "annotate"})
					_ = b.slack.Click(b.people[1].ID, ch, m["ts"].(string), slackd.Action{BlockID: "judge", ActionID: "more", Option: optionOf(bl, "skip")})
				}
			}
		}
		time.Sleep(time.Minute)
		if v := b.slack.Views(b.people[1].ID); len(v) != 0 {
			b.t.Error("the form opened for somebody who may not judge")
		}
		if c := b.card(s[1]); strings.Contains(c, "Skipped") {
			b.t.Error("somebody who may not judge skipped a card")
		}
		b.none(8, 1)
		if n := len(b.px.Annotations(s[0])); n != 1 {
			b.t.Errorf("%d annotations; want the reviewer's alone", n)
		}
	})
}

func TestReviewers_MembersOfTheChannel(t *testing.T) {
	guardedBubble(t, func(*bubble) []string { return []string{review.ChannelMembers} }, func(b *bubble) {
		s, ch := b.spans(), b.channels()[0]
		// Slack does not say who is in: nobody is let in, and everybody may try again.
		heal := b.slack.Fail(slackd.Fault{Method: "conversations.members", Status: 500})
		b.say(0, s[0], "correct")
		if w := b.lastWord(0); !strings.Contains(w, "try again") {
			b.t.Errorf("while Slack does not say who is a member: %q", w)
		}
		heal()
		b.say(0, s[0], "correct")
		b.slack.Remove(ch, b.people[2].ID)
		time.Sleep(6 * time.Minute) // what was known of the channel is old by now
		b.say(2, s[1], "correct")
		for _, a := range b.px.Annotations(s[1]) { // the local workspace shows people who left nothing
			if a["identifier"] == b.identifier(2) {
				b.t.Error("somebody who left the channel judged")
			}
		}
		b.say(1, s[1], "incorrect")
		// What was known last counts while Slack does not answer.
		b.slack.Fail(slackd.Fault{Method: "conversations.members", Status: 500})
		time.Sleep(6 * time.Minute)
		b.say(1, s[2], "incorrect")
		time.Sleep(time.Minute)
		b.none(8, 3)
	})
}

func toText(m map[string]any) string { return fmt.Sprint(m) }

func optionOf(block map[string]any, action string) string {
	elements, _ := block["elements"].([]any)
	for _, e := range elements {
		e, _ := e.(map[string]any)
		options, _ := e["options"].([]any)
		for _, o := range options {
			o, _ := o.(map[string]any)
			if v, _ := o["value"].(string); strings.HasSuffix(v, ":"+action) {
				return v
			}
		}
	}
	return ""
}
