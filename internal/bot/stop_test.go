package bot

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
)

// judgeAll lets somebody tap on every card that nobody has judged yet, 👎 on one
// in ten, until there are no more or so many are judged.
func (b *bubble) judgeAll(most int) {
	b.t.Helper()
	judged := map[string]bool{}
	for _, w := range b.accepted {
		judged[w.span] = true
	}
	for {
		progress := false
		for _, channel := range b.channels() {
			byCard := map[string]map[string]thumb{}
			var order []string
			for _, on := range thumbs(b.slack.Messages(channel)) {
				if byCard[on.span] == nil {
					byCard[on.span] = map[string]thumb{}
					order = append(order, on.span)
				}
				byCard[on.span][on.label] = on
			}
			for _, span := range order {
				if judged[span] {
					continue
				}
				if len(judged) >= most {
					return
				}
				label := "correct"
				if len(judged)%10 == 9 {
					label = "incorrect"
				}
				judged[span], progress = true, true
				b.click(b.people[len(judged)%len(b.people)], channel, byCard[span][label])
			}
		}
		if !progress {
			return
		}
		time.Sleep(time.Minute)
	}
}

// home is what a person's App Home says.
func (b *bubble) home() string {
	b.t.Helper()
	if err := b.slack.OpenHome(b.people[0].ID, "home"); err != nil {
		b.t.Error(err)
	}
	time.Sleep(5 * time.Second)
	v, _ := b.slack.Home(b.people[0].ID)
	return fmt.Sprint(v)
}

// saidEnough is what the channels were told of routes that have enough.
func (b *bubble) saidEnough() (out []string) {
	for _, channel := range b.channels() {
		for _, m := range b.slack.Messages(channel) {
			if text, _ := m["text"].(string); strings.Contains(text, "has enough judgements") {
				out = append(out, text)
			}
		}
	}
	return out
}

// aWhile is long enough for a hundred polls; a race build is five times slower.
func aWhile() time.Duration {
	if raceEnabled {
		return 10 * time.Minute
	}
	return time.Hour
}

func stoppingRoute(width float64, labels int, looks ...int) review.Route {
	r := bubbleRoute()
	r.MaxOpen, r.Backlog, r.Since = 10, 1000, 24*time.Hour
	r.Stop = review.Stop{Width: width, Labels: labels, Looks: looks}
	return r
}

// Two replicas, spans without end, one in ten of which is wrong: the route stops
// at the look at which the interval is narrow enough, says so once, and goes on
// when a narrower one is wanted. Neither a restart nor a Redis that lost all
// makes it say so again or post any more.
func TestBubble_ARouteThatHasEnoughStopsAndSaysSoOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := quiet(t, stoppingRoute(.08, 2000, 20, 50, 100, 200, 400)) // at 10 % that takes some 60 labels: look 3
		defer b.end()
		b.ingest(0, 399)
		first, second := b.start(), b.start()
		time.Sleep(time.Minute)
		b.judgeAll(1000)
		time.Sleep(time.Minute)

		cards, said := len(b.cards()), b.saidEnough()
		// 10 more were open when the hundredth was judged.
		if cards < 100 || cards > 115 {
			t.Errorf("%d cards; want 100 and the ones that were open then", cards)
		}
		if len(said) != 1 || !strings.Contains(said[0], "after 100 labels (look 3 of 5); about ") || !strings.Contains(said[0], "more for ± 5") {
			t.Errorf("said %q", said)
		}
		t.Log(said)
		home := b.home()
		if !strings.Contains(home, "enough: failure rate") {
			t.Errorf("App Home: %s", home)
		}

		still := func(what string) {
			t.Helper()
			if n := len(b.cards()); n != cards || len(b.saidEnough()) != 1 {
				t.Errorf("%s: %d cards, said %q; want %d and once", what, n, b.saidEnough(), cards)
			}
		}
		time.Sleep(aWhile())
		still("a while later")
		_ = first.end()
		second.pull()
		first, second = b.start(), b.start()
		time.Sleep(10 * time.Minute)
		still("after a restart")
		b.redis.FlushAll()
		time.Sleep(10 * time.Minute)
		still("after Redis lost all")
		_ = first.end()
		_ = second.end()

		b.routes[0].Stop.Width = .05
		b.start()
		b.start()
		time.Sleep(time.Minute)
		b.judgeAll(1000)
		time.Sleep(time.Minute)
		cards = len(b.cards())
		if said = b.saidEnough(); len(said) != 2 || !strings.Contains(said[1], "after 200 labels (look 4 of 5)") {
			t.Errorf("when a narrower interval was wanted it said %q", said)
		}
		if cards < 200 || cards > 215 {
			t.Errorf("%d cards; want 200 and the ones that were open then", cards)
		}
		b.none(200, 200)
	})
}

// The most spans end it however wide the interval is, also those of a span feed
// that goes on; what arrives meanwhile is posted when more are wanted.
func TestBubble_TheNumberOfLabelsEndsIt_AndNothingThatArrivesMeanwhileIsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := quiet(t, stoppingRoute(.01, 30, 10, 20))
		defer b.end()
		b.ingest(0, 24)
		r := b.start()
		time.Sleep(time.Minute)
		b.judgeAll(25)
		if said := b.saidEnough(); len(said) != 0 {
			t.Errorf("after 25 of 30: %q", said)
		}
		b.ingest(25, 49)
		time.Sleep(time.Minute)
		b.judgeAll(30)
		time.Sleep(time.Minute)
		said := b.saidEnough()
		if len(said) != 1 || !strings.Contains(said[0], "after 30 labels (no more are wanted)") {
			t.Errorf("%q", said)
		}
		before := len(b.cards())
		b.ingest(50, 199)
		time.Sleep(aWhile())
		if n := len(b.cards()); n != before {
			t.Errorf("%d cards came after it had enough", n-before)
		}
		_ = r.end()
		b.routes[0].Stop.Labels, b.routes[0].MaxOpen = 1000, 0
		b.start()
		time.Sleep(10 * time.Minute)
		if n := len(b.cards()); n != 200 {
			t.Errorf("%d cards; want one of each of 200 spans", n)
		}
	})
}

// A rate must not see the spans that were chosen because they are bad.
func TestBubble_OnlyTheControlStreamCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := uncertainRoute(.3)
		r.Stop = review.Stop{Width: .5, Labels: 1000, Looks: []int{20}}
		b := quiet(t, r)
		defer b.end()
		const n = 60
		b.ingest(0, n-1)
		control := 0
		for i := range n {
			b.annotate(verdictOf(i, 3, 2))
			if r.StreamOf(spanID(i)) == review.Control {
				control++
			}
		}
		b.start()
		time.Sleep(5 * time.Minute)
		b.judgeAll(n)
		home := b.home()
		word := fmt.Sprintf("after %d labels", control)
		if len(b.cards()) != n || !strings.Contains(home, word) {
			t.Errorf("%d cards, %d by chance; App Home: %s", len(b.cards()), control, home)
		}
	})
}

func TestProgress_InWords(t *testing.T) {
	stop := review.Stop{Width: .03, Labels: 2000, Looks: []int{50, 100, 200, 400}}
	at := func(n, failed int, looks ...review.Look) progress {
		return progress{Progress: queue.Progress{Labels: map[string]int{"correct": n - failed, "incorrect": failed}, Looks: looks}, stop: stop, failed: failed, thumb: true}
	}
	points2 := at(800, 64, review.Look{Size: 400, Judged: 400, Failed: 32})
	noThumb := at(12, 0)
	noThumb.thumb = false
	chance := at(100, 8)
	chance.chance = true
	unlimited := at(1, 0)
	unlimited.stop = review.Stop{Labels: 30}
	tests := []struct {
		name string
		p    progress
		want string
	}{
		{"nothing yet", at(0, 0), "no label yet; ± 3 points is wanted"},
		{"on the way", at(100, 8), "failure rate 8 % ± 5.4 points after 100 labels; about 220 more for ± 3"},
		{"ordered by uncertainty", chance, "failure rate 8 % ± 5.4 points after 100 labels of spans chosen by chance; about 220 more for ± 3"},
		{"a few to go", at(310, 25), "failure rate 8.1 % ± 3.1 points after 310 labels; about 12 more for ± 3"},
		{"enough", at(401, 32, review.Look{Size: 400, Judged: 400, Failed: 32}), "enough: failure rate 8 % ± 2.7 points after 400 labels (look 4 of 4); about 320 more for ± 2"},
		{"what came after counts no more", points2, "enough: failure rate 8 % ± 2.7 points after 400 labels (look 4 of 4); about 320 more for ± 2"},
		{"the end", at(2000, 1000, review.Look{Size: 2000, Judged: 2000, Failed: 1000}), "enough: failure rate 50 % ± 2.2 points after 2,000 labels (no more are wanted); about 400 more for ± 2"},
		{"no rate", noThumb, "12 labels of at most 2,000; the rubric has no 👎, so there is no failure rate"},
		{"only an end", unlimited, "failure rate 0 % ± 39.7 points after 1 label"},
	}
	for _, tt := range tests {
		if got := tt.p.line(); got != tt.want {
			t.Errorf("%s: %s; want %s", tt.name, got, tt.want)
		}
	}
}
