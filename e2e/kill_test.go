package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/proxy"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// deaths are the gaps between two steps of the bot: SPANBOT_FAULT says where it
// dies, and how (internal/bot/fault_points.go).
var deaths = []struct {
	name, fault string
	posting     bool // it dies before there is a card to click
	accepted    bool // the reviewer saw the click accepted before
}{
	{"BetweenClaimAndRead", "post.claimed:2", true, false},
	{"BetweenReadAndPost", "post.sending:2", true, false},
	{"BetweenPostAndRecord", "post.sent:2", true, false},
	{"AfterTheRecord", "post.recorded:2", true, false},
	{"BeforeTheClickIsAccepted", "click.received:1", false, false},
	{"BetweenAcceptAndAck", "click.kept:1", false, false},
	// The delivery stands still, so that the ack is surely before the lease.
	{"BetweenAckAndLease", "deliver.due:1:hold,click.kept:1:after", false, true},
	{"AfterTheLease", "deliver.leased:1:late", false, true},
	{"BeforeThePOST", "deliver.sending:1:late", false, true},
	{"BetweenPOSTAndConfirm", "deliver.sent:1:late", false, true},
	{"BetweenConfirmAndUpdate", "redraw.taken:1:hold,deliver.settled:1:late", false, true},
	{"BeforeTheDrawing", "redraw.taken:1:late", false, true},
	{"BetweenDrawingAndUpdate", "redraw.drawing:1:late", false, true},
	{"AfterTheUpdate", "redraw.drawn:1:late", false, true},
}

// A bot dies in each gap between two steps, and another one goes on: each span
// has one card, and Phoenix holds each judgement once.
func TestKill_BetweenEachPairOfSteps(t *testing.T) {
	for _, d := range deaths {
		t.Run(d.name, func(t *testing.T) {
			// As Slack does, what was not acked is sent again after three seconds.
			w := newWorld(t, withSlack(proxy.SlackOptions{PostEvery: -1, Redeliver: 3}), withEnv("SPANBOT_LEASE", "2s"))
			w.binary = buildFaulty
			ids := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"), rig.NewSpan("ChatCompletion", "q", "a"), rig.NewSpan("ChatCompletion", "q", "a"))
			w.env["SPANBOT_FAULT"] = d.fault
			w.launch()
			clicked := make(chan struct{})
			if d.posting {
				close(clicked)
			} else {
				for _, id := range ids {
					w.card(id)
				}
				m := w.card(ids[0])
				up, _ := m.Button("up")
				go func() {
					defer close(clicked)
					w.people.Click(rig.Reviews, m.TS, rig.Alice, up)
				}()
			}
			select {
			case <-w.bot.done:
			case <-time.After(patience):
				t.Fatalf("the bot did not die at %s", d.fault)
			}
			if !strings.Contains(w.bot.log.String(), "fault: ") {
				t.Fatal("the bot died before the point, of something else")
			}
			if e := w.slack.Envelopes("block_actions"); !d.posting && e[0].Acked.IsZero() == d.accepted {
				t.Errorf("the click was acked at %v; the bot should have died when the ack was sent: %v", e[0].Acked, d.accepted)
			}

			delete(w.env, "SPANBOT_FAULT")
			w.start()
			for _, id := range ids {
				w.card(id)
			}
			<-clicked
			if d.posting {
				w.tap(ids[0], rig.Alice, "up")
			}
			w.tap(ids[1], rig.Bob, "down")
			if a := w.stored(ids[0], rig.Alice, "correct"); a.Result.Score == nil || *a.Result.Score != 1 || a.Metadata["clicked_at"] == nil {
				t.Errorf("annotation = %+v; want score 1 and when it was clicked", a)
			}
			w.stored(ids[1], rig.Bob, "incorrect")
			w.shows(ids[0], "correct", "Alice Anderson")
			w.shows(ids[1], "incorrect", "Bob Brown")
			cards := map[string]int{}
			for _, m := range w.people.Messages(rig.Reviews) {
				if id, is := strings.CutPrefix(m.BlockID(), "card:main:"); is {
					cards[id]++
				}
			}
			for i, id := range ids {
				if cards[id] != 1 {
					t.Errorf("span %d has %d cards; want 1", i, cards[id])
				}
				if want := []int{1, 1, 0}[i]; len(w.annotations(id)) != want {
					t.Errorf("span %d has %d annotations; want %d", i, len(w.annotations(id)), want)
				}
			}
			if len(cards) != len(ids) {
				t.Errorf("cards of %d spans; want %d", len(cards), len(ids))
			}
		})
	}
}

// A new step with a point before it needs its row, and a row its point.
func TestKill_EachPointHasItsRow(t *testing.T) {
	files, err := filepath.Glob("../internal/bot/*.go")
	if err != nil {
		t.Fatal(err)
	}
	point := regexp.MustCompile(`\bfault\("([^"]+)"\)`)
	there := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range point.FindAllSubmatch(b, -1) {
			there[string(m[1])] = true
		}
	}
	met := map[string]bool{}
	for _, d := range deaths {
		for f := range strings.SplitSeq(d.fault, ",") {
			name, _, _ := strings.Cut(f, ":")
			met[name] = true
			if !there[name] {
				t.Errorf("%s: internal/bot has no point %s", d.name, name)
			}
		}
	}
	for name := range there {
		if !met[name] {
			t.Errorf("no row of deaths meets %s", name)
		}
	}
}

// A replica stands still between two steps for longer than its lease, another
// one goes on, and the first wakes up: what it had in hand is old by then.
func TestStop_LongerThanALease(t *testing.T) {
	wake := func(p *process) {
		if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}
	// stopped waits until the first replica stands at its point, and starts the
	// second. Slack gives up the deaf one's connection.
	stopped := func(c *crew) {
		c.eventually("the replica stands still", func() bool { return strings.Contains(c.bots[0].log.String(), "fault: ") })
		c.slack.Cut()
		c.start(1)
		c.ready(1)
	}

	t.Run("AnOlderJudgementDoesNotReplaceANewer", func(t *testing.T) {
		for _, point := range []string{"deliver.leased", "deliver.sending"} {
			t.Run(point, func(t *testing.T) {
				t.Parallel()
				c := newCrew(t, 2, false, map[string]string{"SPANBOT_LEASE": "6s"})
				c.start(0, "SPANBOT_FAULT="+point+":1:stop")
				c.ready(0)
				span := c.ingest()
				m := c.card(span)
				ana := c.slack.Reviewers()[0].ID
				c.click(ana, span, m, "up")
				stopped(c)
				c.eventually("the later click is accepted", func() bool { return c.click(ana, span, c.card(span), "down") })
				c.eventually("Phoenix holds the later one", func() bool { return len(c.px.Annotations(span)) == 1 })
				c.eventually("the card shows it", func() bool { return strings.Contains(c.card(span).Shown(), "*incorrect*") })
				wake(c.bots[0])
				c.settled(0)
			})
		}
	})

	t.Run("AWithdrawalDoesNotTakeALaterJudgement", func(t *testing.T) {
		t.Parallel()
		c := newCrew(t, 2, false, map[string]string{"SPANBOT_LEASE": "6s"})
		c.start(0, "SPANBOT_FAULT=deliver.leased:2:stop")
		c.ready(0)
		span := c.ingest()
		ana := c.slack.Reviewers()[0].ID
		c.click(ana, span, c.card(span), "up")
		c.eventually("Phoenix holds it", func() bool { return len(c.px.Annotations(span)) == 1 })
		c.withdraw(ana, span)
		stopped(c)
		c.eventually("the later click is accepted", func() bool { return c.click(ana, span, c.card(span), "down") })
		c.eventually("Phoenix holds the later one", func() bool {
			list := c.px.Annotations(span)
			return len(list) == 1 && list[0]["result"].(map[string]any)["label"] == "incorrect"
		})
		wake(c.bots[0])
		c.settled(0)
	})

	t.Run("AJudgementDoesNotComeBackAfterItsWithdrawal", func(t *testing.T) {
		t.Parallel()
		c := newCrew(t, 2, false, map[string]string{"SPANBOT_LEASE": "6s"})
		c.start(0, "SPANBOT_FAULT=deliver.sending:1:stop")
		c.ready(0)
		span := c.ingest()
		ana := c.slack.Reviewers()[0].ID
		c.click(ana, span, c.card(span), "up")
		stopped(c)
		c.eventually("the card shows it", func() bool { return strings.Contains(c.card(span).Shown(), "*correct*") })
		c.withdraw(ana, span)
		c.eventually("the card asks again", func() bool { _, asks := c.card(span).Button("up"); return asks })
		c.eventually("Phoenix holds nothing", func() bool { return len(c.px.Annotations(span)) == 0 })
		wake(c.bots[0])
		c.settled(0)
	})

	for _, point := range []string{"post.claimed", "post.sending", "post.sent"} {
		t.Run("OneCard_"+point, func(t *testing.T) {
			t.Parallel()
			c := newCrew(t, 2, false, map[string]string{"SPANBOT_LEASE": "2s"})
			c.start(0, "SPANBOT_FAULT="+point+":1:stop")
			c.ready(0)
			span := c.ingest()
			stopped(c)
			c.card(span)
			ana := c.slack.Reviewers()[0].ID
			c.eventually("the other replica goes on with it", func() bool { return c.click(ana, span, c.card(span), "up") })
			wake(c.bots[0])
			c.settled(0)
		})
	}

	t.Run("AnOlderDrawingDoesNotStay", func(t *testing.T) {
		t.Parallel()
		c := newCrew(t, 2, false, map[string]string{"SPANBOT_LEASE": "2s"})
		c.start(0, "SPANBOT_FAULT=redraw.drawing:1:stop")
		c.ready(0)
		span := c.ingest()
		ana, ben := c.slack.Reviewers()[0].ID, c.slack.Reviewers()[1].ID
		c.click(ana, span, c.card(span), "up")
		stopped(c)
		c.eventually("the later click is accepted", func() bool { return c.click(ben, span, c.card(span), "down") })
		c.eventually("the card shows it", func() bool { return strings.Contains(c.card(span).Shown(), "*incorrect*") })
		wake(c.bots[0])
		c.settled(0)
	})
}
