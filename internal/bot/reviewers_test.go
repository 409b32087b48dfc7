package bot

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
	"github.com/spanbot/spanbot/internal/slackui"
)

// guardedBubble is inBubble with reviewers of the route.
func guardedBubble(t *testing.T, who func(b *bubble) []string, f func(b *bubble), scopes ...string) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 12, phoenixd.Options{Every: 100 * time.Hour}, slackd.Options{Scopes: scopes})
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
		// A crowd of clicks meanwhile is not a crowd of look-ups.
		asked := b.slack.Calls("conversations.members")
		b.say(1, s[0], "correct")
		if n := b.slack.Calls("conversations.members"); n != asked {
			b.t.Errorf("%d more look-ups within %s of a failure", n-asked, membersRetry)
		}
		time.Sleep(membersRetry)
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

func TestReviewers_UserGroups(t *testing.T) {
	groups := []string{"S0000001", "S0000002", "S0000003", "S0000004", "S0000005", "S0000006", "S0000007"}
	guardedBubble(t, func(b *bubble) []string {
		for _, g := range groups {
			b.slack.Group(g)
		}
		b.slack.Group(groups[6], b.people[0].ID)
		return groups
	}, func(b *bubble) {
		s := b.spans()
		// Slack says nothing of any group: the click is answered within its budget,
		// however many there are, and nobody is let in.
		heal := b.slack.Fail(slackd.Fault{Method: "usergroups.users.list", Slow: time.Minute})
		start := time.Now()
		b.say(0, s[0], "correct")
		if took := time.Since(start); took > membersPatience+1100*time.Millisecond { // say waits a second for the word
			b.t.Errorf("a click took %s", took)
		}
		if w := b.lastWord(0); !strings.Contains(w, "try again") {
			b.t.Errorf("while Slack says nothing: %q", w)
		}
		heal()
		time.Sleep(2 * time.Minute)
		b.say(0, s[0], "correct")
		b.say(1, s[0], "incorrect")
		if w := b.lastWord(1); !strings.Contains(w, "only the reviewers") {
			b.t.Errorf("somebody of no group was told %q", w)
		}
		// A group that was dissolved has no members, whoever was one.
		b.slack.Fail(slackd.Fault{Method: "usergroups.users.list", Error: "no_such_subteam"})
		time.Sleep(membersFresh + time.Second)
		b.say(0, s[1], "correct")
		if w := b.lastWord(0); !strings.Contains(w, "may not see in Slack who the reviewers") {
			b.t.Errorf("a member of a group that is gone was told %q", w)
		}
		b.none(8, 1)
	}, "usergroups:read")
}

// What is asked when the form opens is asked again when it is sent, and when a
// judgement is taken back.
func TestReviewers_WhoIsTakenOutWhileTheFormIsOpen(t *testing.T) {
	const group = "S0000001"
	guardedBubble(t, func(b *bubble) []string {
		b.slack.Group(group, b.people[0].ID)
		return []string{group}
	}, func(b *bubble) {
		s, ch, who := b.spans(), b.channels()[0], b.people[0].ID
		b.say(0, s[0], "correct")
		time.Sleep(time.Minute)
		for _, m := range b.slack.Messages(ch) {
			if b.card(s[0]) == fmt.Sprint(blocksOf(m)) {
				for _, bl := range blocksOf(m) { // on a judged card it is behind ⋯
					if accessory, has := bl["accessory"]; has {
						option := optionOf(map[string]any{"elements": []any{accessory}}, "annotate")
						_ = b.slack.Click(who, ch, m["ts"].(string), slackd.Action{BlockID: bl["block_id"].(string), ActionID: "more", Option: option})
					}
				}
			}
		}
		time.Sleep(10 * time.Second)
		views := b.slack.Views(who)
		if len(views) != 1 {
			b.t.Fatalf("%d forms are open", len(views))
		}
		b.slack.Group(group)
		time.Sleep(membersFresh + time.Second)
		values := map[string]any{"explanation": map[string]any{"explanation": map[string]any{"type": "plain_text_input", "value": "typed for minutes"}}}
		wrong := slackd.FieldErrors(b.slack.Submit(who, views[0].ID, values))
		if w := fmt.Sprint(wrong); len(wrong) != 1 || !strings.Contains(w, "only the reviewers") {
			b.t.Errorf("the form says %q", w)
		}
		if len(b.slack.Views(who)) != 1 {
			b.t.Error("the form closed over what was typed")
		}
		if err := b.slack.ClickView(who, views[0].ID, slackd.Action{BlockID: "withdraw", ActionID: "withdraw"}, nil); err != nil {
			b.t.Error(err)
		}
		time.Sleep(time.Minute)
		if w := b.lastWord(0); !strings.Contains(w, "only the reviewers") {
			b.t.Errorf("who took a judgement back was told %q", w)
		}
		for _, a := range b.px.Annotations(s[0]) {
			if strings.Contains(fmt.Sprint(a), "typed for minutes") {
				b.t.Error("what a refused form said is in Phoenix")
			}
		}
		b.none(8, 1) // the judgement of before stays
	}, "usergroups:read")
}

func TestReviewers_WithoutTheScopeNobodyOfAGroupIsLetInAndItIsSaidWhy(t *testing.T) {
	guardedBubble(t, func(b *bubble) []string {
		b.slack.Group("S0000001", b.people[0].ID)
		return []string{"S0000001", b.people[1].ID}
	}, func(b *bubble) {
		s := b.spans()
		b.say(0, s[0], "correct")
		if w := b.lastWord(0); !strings.Contains(w, "tell whoever runs it") {
			b.t.Errorf("a member of a group that we may not see was told %q", w)
		}
		b.say(1, s[0], "incorrect") // named by id: nobody is asked
		b.none(8, 1)

		c := &checker{b: &Bot{set: Settings{Routes: b.routes, Log: slog.New(slog.DiscardHandler)}, slack: b.slackClient()}}
		c.slack(b.t.Context())
		var failures []string
		for _, f := range c.list {
			if f.State == "fail" {
				failures = append(failures, f.Text)
			}
		}
		if all := strings.Join(failures, "\n"); len(failures) != 2 || !strings.Contains(all, "scope usergroups:read is missing") || !strings.Contains(all, "route main, reviewers S0000001") {
			b.t.Errorf("check says %q", failures)
		}
	})
}

// A bot that starts while Phoenix is gone prepares no route, and its cards of
// yesterday can be judged all the same, by those who may.
func TestReviewers_MembersOfTheChannelWhilePhoenixIsGoneSinceTheStart(t *testing.T) {
	guardedBubble(t, func(*bubble) []string { return []string{review.ChannelMembers} }, func(b *bubble) {
		s, ch := b.spans(), b.channels()[0]
		b.slack.Remove(ch, b.people[2].ID)
		_ = b.bots[0].end()
		heal := b.px.Fail(phoenixd.Fault{Status: 503})
		b.start()
		time.Sleep(10 * time.Second)
		b.say(0, s[0], "correct")
		if n := len(b.slack.Ephemerals(b.people[0].ID)); n != 0 {
			b.t.Errorf("a member was told %q", b.lastWord(0))
		}
		heal()
		time.Sleep(5 * time.Minute)
		b.none(8, 1)
	})
}

func TestExternal_AChannelOfTwoOrganisationsIsUsedOnlyWhereTheRouteSaysSo(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		t.Run(fmt.Sprint(allowed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, 13, phoenixd.Options{Every: 100 * time.Hour}, slackd.Options{})
				defer b.end()
				b.routes[0].Since, b.routes[0].External = 1000*time.Hour, allowed
				b.slack.Share(b.channels()[0], true)
				b.start()
				time.Sleep(time.Minute)
				if n := len(b.spans()); (n > 0) != allowed {
					t.Errorf("%d cards in a channel that is shared; allowed: %v", n, allowed)
				}
				c := &checker{b: &Bot{set: Settings{Routes: b.routes, Log: slog.New(slog.DiscardHandler)}, slack: b.slackClient()}}
				c.slack(t.Context())
				want := map[bool]string{false: "fail", true: "warn"}[allowed]
				if !slices.ContainsFunc(c.list, func(f Finding) bool {
					return f.State == want && strings.Contains(f.Text, "is shared with another organisation")
				}) {
					t.Errorf("check says %+v", c.list)
				}
			})
		})
	}
}

// A channel that becomes shared while cards go there gets none any more.
func TestExternal_AChannelThatBecomesSharedGetsNoMoreCards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 14, phoenixd.Options{}, slackd.Options{})
		defer b.end()
		b.start()
		time.Sleep(time.Minute)
		before := len(b.spans())
		if before == 0 {
			t.Fatal("no card before")
		}
		b.slack.Share(b.channels()[0], true)
		time.Sleep(recheck + 20*time.Second)
		then := len(b.spans())
		time.Sleep(10 * time.Minute)
		if n := len(b.spans()); n != then {
			t.Errorf("%d cards more after the look that finds it shared", n-then)
		}
	})
}

// slackClient is one beside the bot's.
func (b *bubble) slackClient() *slackui.Client {
	return slackui.New(slackui.Options{BotToken: b.slack.BotToken(), APIURL: "http://" + atSlack + "/api/", Dial: b.network.Dial})
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
