package bot

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// card is what Slack shows of a span, "" when there is no message.
func (b *bubble) card(span string) string {
	for _, ch := range b.channels() {
		for _, m := range b.slack.Messages(ch) {
			if bl := blocksOf(m); len(bl) > 0 && strings.HasSuffix(fmt.Sprint(bl[0]["block_id"]), ":"+span) {
				return fmt.Sprint(bl)
			}
		}
	}
	return ""
}

// spans are those that have a card with thumbs, oldest first.
func (b *bubble) spans() (out []string) {
	for _, ch := range b.channels() {
		for _, on := range thumbs(b.slack.Messages(ch)) {
			if !slices.Contains(out, on.span) {
				out = append(out, on.span)
			}
		}
	}
	return out
}

// say is one person's tap.
func (b *bubble) say(who int, span, label string) {
	b.t.Helper()
	for _, ch := range b.channels() {
		for _, on := range thumbs(b.slack.Messages(ch)) {
			if on.span == span && on.label == label {
				b.click(b.people[who], ch, on)
				return
			}
		}
	}
	b.t.Fatalf("no %s on the card of %s", label, span)
}

func (b *bubble) identifier(who int) string {
	return "slack:" + b.slack.Team() + ":" + b.people[who].ID
}

// queue is a second look at what the bot keeps.
func (b *bubble) memory() *queue.Queue {
	b.t.Helper()
	q, err := queue.Open(b.t.Context(), "redis://"+atRedis+"/0", queue.Options{Instance: b.slack.Team() + "@stand-in", Dial: b.network.Dial})
	if err != nil {
		b.t.Fatal(err)
	}
	return q
}

// inBubble runs a bot over eight spans, with a card each.
func inBubble(t *testing.T, f func(b *bubble)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 11, phoenixd.Options{Every: 100 * time.Hour}, slackd.Options{})
		defer b.end()
		var log lines
		b.log = &log
		b.routes[0].Since = 1000 * time.Hour
		b.start()
		time.Sleep(time.Minute)
		f(b)
		if t.Failed() {
			t.Logf("the bot said:\n%s", log.tail(6000))
		}
	})
}

// What others do in Phoenix is on the card a look later.
func TestReconcile_CardsFollowPhoenix(t *testing.T) {
	inBubble(t, func(b *bubble) {
		s := b.spans()
		for _, span := range s[:6] {
			b.say(0, span, "correct")
		}
		b.say(1, s[0], "incorrect")
		time.Sleep(2 * time.Minute)
		if !b.px.DeleteAnnotation(s[0], b.identifier(1)) || !b.px.Relabel(s[1], b.identifier(0), "incorrect") || !b.px.DeleteAnnotation(s[2], b.identifier(0)) {
			b.t.Fatal("nothing to change")
		}
		if !b.px.DeleteSpan(s[6]) {
			b.t.Fatal("no span")
		}
		time.Sleep(4 * time.Minute)
		if c := b.card(s[0]); strings.Contains(c, "*incorrect*") || !strings.Contains(c, "*correct*") {
			b.t.Errorf("one of two judgements was deleted in Phoenix; the card: %s", c)
		}
		if c := b.card(s[1]); !strings.Contains(c, "*incorrect*") {
			b.t.Errorf("the label was changed in Phoenix; the card: %s", c)
		}
		if c := b.card(s[2]); strings.Contains(c, "*correct*") || !strings.Contains(c, "annotate") {
			b.t.Errorf("the only judgement was deleted in Phoenix; the card does not ask again: %s", c)
		}
		if n := len(b.px.Annotations(s[2])); n != 0 {
			b.t.Errorf("a deletion by hand was not respected: %d annotations", n)
		}
		if c := b.card(s[6]); !strings.Contains(c, "no longer exists") {
			b.t.Errorf("the span was deleted; the card: %s", c)
		}
		q := b.memory()
		defer q.Close()
		what := map[queue.Happening]int{}
		for e, err := range q.History(b.t.Context(), time.Time{}) {
			if err != nil {
				b.t.Fatal(err)
			}
			what[e.What]++
		}
		if what[queue.Said] != 7 || what[queue.Stored] != 7 || what[queue.Deleted] != 2 || what[queue.Changed] != 1 {
			b.t.Errorf("the history tells %v", what)
		}
	})
}

// A message deleted in Slack frees its place, and the card is not posted again.
func TestReconcile_DeletedMessageFreesItsPlace(t *testing.T) {
	inBubble(t, func(b *bubble) {
		ch := b.channels()[0]
		gone := b.spans()[3]
		for _, m := range b.slack.Messages(ch) {
			if bl := blocksOf(m); len(bl) > 0 && strings.HasSuffix(fmt.Sprint(bl[0]["block_id"]), ":"+gone) {
				b.slack.DeleteMessage(ch, m["ts"].(string))
			}
		}
		q := b.memory()
		defer q.Close()
		before, _ := q.Waiting(b.t.Context(), "main")
		time.Sleep(2 * time.Minute)
		after, err := q.Waiting(b.t.Context(), "main")
		if err != nil || after.Open != before.Open-1 {
			b.t.Errorf("%d open cards before, %d after a message was deleted: %v", before.Open, after.Open, err)
		}
		if b.card(gone) != "" {
			b.t.Error("it was posted again")
		}
	})
}

// A database that was set back gets again what it lost; what a lead deleted by
// hand stays deleted.
func TestRestore_DatabaseSetBackToAnEarlierDay(t *testing.T) {
	inBubble(t, func(b *bubble) {
		s := b.spans()
		for _, span := range s[:2] {
			b.say(0, span, "correct")
		}
		time.Sleep(time.Minute)
		if !b.px.DeleteAnnotation(s[1], b.identifier(0)) {
			b.t.Fatal("nothing to delete")
		}
		delete(b.accepted, b.people[0].ID+" "+s[1])
		time.Sleep(3 * time.Minute) // the card follows
		back := b.px.Backup()
		for i, span := range s[2:8] {
			b.say(i%3, span, []string{"correct", "incorrect"}[i%2])
		}
		b.say(0, s[0], "incorrect") // another word than the backup holds
		time.Sleep(2 * time.Minute)
		back()
		time.Sleep(5 * time.Minute)
		b.none(8, 7)
		if n := len(b.px.Annotations(s[1])); n != 0 {
			b.t.Errorf("what a lead deleted came back: %v", b.px.Annotations(s[1]))
		}
	})
}

// What Phoenix refuses is on the card with the reason; Try again sends it once
// more, and the history tells both.
func TestOutbox_TryAgainOnTheCard(t *testing.T) {
	inBubble(t, func(b *bubble) {
		span := b.spans()[0]
		heal := b.px.Fail(phoenixd.Fault{Route: "POST /v1/span_annotations", Status: 422})
		b.say(0, span, "correct")
		time.Sleep(time.Minute)
		c := b.card(span)
		if !strings.Contains(c, "Not stored in Phoenix") || !strings.Contains(c, "Try again") {
			b.t.Fatalf("the card of a dead letter: %s", c)
		}
		heal()
		ch := b.channels()[0]
		for _, m := range b.slack.Messages(ch) {
			for _, bl := range blocksOf(m) {
				if bl["block_id"] == "again" {
					if err := b.slack.Click(b.people[1].ID, ch, m["ts"].(string), slackd.Action{BlockID: "again", ActionID: "again"}); err != nil {
						b.t.Fatal(err)
					}
				}
			}
		}
		time.Sleep(time.Minute)
		b.none(8, 1)
		if c := b.card(span); strings.Contains(c, "Not stored") || strings.Contains(c, "Try again") {
			b.t.Errorf("it is stored; the card: %s", c)
		}
		q := b.memory()
		defer q.Close()
		var list []Deed
		for d, err := range deeds(b.t.Context(), q, time.Time{}) {
			if err != nil {
				b.t.Fatal(err)
			}
			list = append(list, d)
		}
		if len(list) != 1 || list[0].Outcome != "stored" || list[0].Resent != 1 || list[0].Latency() < 30*time.Second || list[0].Label != "correct" {
			b.t.Errorf("the history tells %+v", list)
		}
	})
}

// Two people in one moment, and one person ten times: each has one word, the
// last one.
func TestClicks_AtOnceAndAgainAndAgain(t *testing.T) {
	inBubble(t, func(b *bubble) {
		ch, span := b.channels()[0], b.spans()[0]
		on := map[string]thumb{}
		for _, o := range thumbs(b.slack.Messages(ch)) {
			if o.span == span {
				on[o.label] = o
			}
		}
		done := make(chan error, 12)
		for i := range 2 {
			go func() {
				done <- b.slack.Click(b.people[i].ID, ch, on["correct"].ts, on[[]string{"correct", "incorrect"}[i]].do)
			}()
		}
		for range 10 {
			go func() { done <- b.slack.Click(b.people[2].ID, ch, on["correct"].ts, on["incorrect"].do) }()
		}
		for range 12 {
			if err := <-done; err != nil {
				b.t.Error(err)
			}
		}
		for i, l := range []string{"correct", "incorrect", "incorrect"} {
			b.accepted[b.people[i].ID+" "+span] = word{b.people[i].ID, span, l}
		}
		time.Sleep(time.Minute)
		b.none(8, 3)
	})
}
