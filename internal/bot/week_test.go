package bot

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/recorded"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// week is a simulated week of a team: five routes, two replicas, 200 reviewers,
// 20,000 spans of which each route's sample of one in twelve gets a card, and
// something breaks every few hours. It takes minutes, so it is lived with
// SPANBOT_DAYS=7 (make soak); without, it is one day, and in a race build a
// morning of it. With SPANBOT_WEEK=full every span gets a card, and ten times as
// many people click.
type week struct {
	*bubble
	spans  int // all that arrived
	chosen int // of these, the ones in their route's sample
	faults int
	log    lines

	mu     sync.Mutex
	last   map[string]string           // channel -> ts of the newest message seen
	recent map[string][]map[string]any // channel -> its newest cards
}

const (
	weekTick    = 20 * time.Minute
	weekRoutes  = 5
	weekArrive  = 8 // spans a route and tick
	weekSample  = 1.0 / 12
	weekClicks  = 4 // a tick
	weekRecent  = 12
	weekPeople  = 200
	weekFaulty  = 8 // one tick in so many something breaks
	weekPatient = 30 * time.Minute
)

func TestWeek_NothingIsLostOrTwiceOrWrong(t *testing.T) {
	ticks := int(24 * time.Hour / weekTick)
	if raceEnabled {
		ticks /= 4
	}
	if s := os.Getenv("SPANBOT_DAYS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("SPANBOT_DAYS=%s is no number", s)
		}
		ticks = n * int(24*time.Hour/weekTick)
	}
	seeds := []uint64{1}
	if s := os.Getenv("SPANBOT_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("SPANBOT_SEED=%s is no number", s)
		}
		seeds = []uint64{n}
	}
	if s := os.Getenv("SPANBOT_SEEDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("SPANBOT_SEEDS=%s is no number", s)
		}
		seeds = nil
		for i := range n {
			seeds = append(seeds, uint64(i+1))
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			start := time.Now()
			synctest.Test(t, func(t *testing.T) { liveAWeek(t, seed, ticks) })
			t.Logf("%d ticks of %s in %s of real time", ticks, weekTick, time.Since(start).Round(time.Second))
			if t.Failed() {
				t.Logf("again with SPANBOT_SEED=%d", seed)
			}
		})
	}
}

func liveAWeek(t *testing.T, seed uint64, ticks int) {
	var channels []string
	for i := range weekRoutes {
		channels = append(channels, fmt.Sprintf("reviews-%d", i+1))
	}
	sample, clicks := weekSample, weekClicks
	if os.Getenv("SPANBOT_WEEK") == "full" {
		sample, clicks = 1, 10*weekClicks
	}
	w := &week{last: map[string]string{}, recent: map[string][]map[string]any{}}
	w.bubble = newBubble(t, seed, phoenixd.Options{Start: -1, Keep: 100_000}, slackd.Options{Channels: channels, More: weekPeople - 3, PingEvery: 25 * time.Second})
	defer w.end()
	w.bubble.log = &w.log
	w.routes = nil
	for i, name := range channels {
		r := bubbleRoute()
		r.Name, r.Project, r.Channel, r.Schedule = fmt.Sprintf("route%d", i+1), fmt.Sprintf("project-%d", i+1), "#"+name, "@every 20m"
		r.MaxOpen, r.Since, r.OpenFor, r.Sample = 0, 24*time.Hour, 3*24*time.Hour, sample
		w.routes = append(w.routes, r)
	}
	w.change = func(s *Settings) { s.Idle = 20 * time.Minute }
	ids := rand.NewChaCha8([32]byte{byte(seed), 1})
	for _, r := range w.routes { // a project is there once it has a span
		w.arrive(r, ids)
	}
	w.start()
	w.start()
	var mend []func()
	for range ticks {
		time.Sleep(weekTick)
		for _, f := range mend {
			f()
		}
		mend = nil
		for _, r := range w.routes {
			for range weekArrive {
				w.arrive(r, ids)
			}
		}
		if w.dice.IntN(weekFaulty) == 0 {
			mend = append(mend, w.somethingBreaks())
		}
		w.peopleClick(clicks)
	}
	for _, f := range mend {
		f()
	}
	time.Sleep(weekPatient)
	k := w.count()
	t.Logf("seed %d: %d spans, %d of them chosen; %d faults, %d clicks, %d refused or unanswered; %s", seed, w.spans, w.chosen, w.faults, w.clicks, w.refused, k)
	if k.lost+k.wrong+k.duplicate+k.twice+k.untrue > 0 || t.Failed() {
		t.Errorf("something was lost, twice or wrong")
		t.Logf("the bots said:\n%s", w.log.tail(8000))
	}
	if k.cards != w.chosen {
		t.Errorf("%d cards of %d chosen spans", k.cards, w.chosen)
	}
	if k.accepted < w.clicks/2 {
		t.Errorf("only %d of %d clicks were accepted", k.accepted, w.clicks)
	}
}

// arrive is one recorded trace of one span.
func (w *week) arrive(r review.Route, ids *rand.ChaCha8) {
	traces := recorded.Traces()
	tr := traces[w.dice.IntN(len(traces))]
	spans := tr.Spans(time.Now().Add(-tr.Took()), ids)
	if err := w.px.Ingest(r.Project, spans...); err != nil {
		w.t.Fatal(err)
	}
	w.spans++
	for _, s := range spans {
		if parent, _ := s["parent_id"].(string); parent == "" && review.Sampled(r.Name, s["context"].(map[string]any)["span_id"].(string), r.Sample) {
			w.chosen++
		}
	}
}

// peopleClick lets some people click at once, each on one of the newest cards.
func (w *week) peopleClick(n int) {
	for _, ch := range w.channels() {
		fresh := w.slack.MessagesAfter(ch, w.last[ch])
		if len(fresh) > 0 {
			w.last[ch] = fresh[len(fresh)-1]["ts"].(string)
		}
		w.recent[ch] = append(w.recent[ch], fresh...)
		w.recent[ch] = w.recent[ch][max(0, len(w.recent[ch])-weekRecent):]
	}
	// What they look at is what Slack shows now, not what it showed then.
	shown := map[string][]thumb{}
	channels := w.channels()
	var people sync.WaitGroup
	for _, i := range w.dice.Perm(len(w.people))[:n] {
		ch := channels[w.dice.IntN(len(channels))]
		if list := w.recent[ch]; shown[ch] == nil && len(list) > 0 {
			shown[ch] = thumbs(w.slack.MessagesAfter(ch, before(list[0]["ts"].(string))))
		}
		if len(shown[ch]) == 0 {
			continue
		}
		who, on := w.people[i], shown[ch][w.dice.IntN(len(shown[ch]))]
		wait := time.Duration(w.dice.IntN(60_000)) * time.Millisecond
		w.clicks++
		people.Go(func() {
			time.Sleep(wait)
			told := w.told(who)
			err := w.slack.Click(who.ID, ch, on.ts, on.do)
			time.Sleep(10 * time.Second) // the word that it was not saved
			refused := w.told(who) > told
			w.mu.Lock()
			defer w.mu.Unlock()
			switch {
			case err != nil:
				w.refused++
				w.accepted[who.ID+" "+on.span] = word{who.ID, on.span, ""}
			case refused:
				w.refused++
			default:
				w.accepted[who.ID+" "+on.span] = word{who.ID, on.span, on.label}
			}
		})
	}
	people.Wait()
}

// before is a moment before a ts.
func before(ts string) string {
	sec, err := strconv.ParseFloat(ts, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatFloat(sec-0.001, 'f', 6, 64)
}

// somethingBreaks until the next tick.
func (w *week) somethingBreaks() (mend func()) {
	w.faults++
	px := func(f phoenixd.Fault) func() func() { return func() func() { return w.px.Fail(f) } }
	sl := func(f slackd.Fault) func() func() { return func() func() { return w.slack.Fail(f) } }
	once := func(f func()) func() func() {
		return func() func() { f(); return func() {} }
	}
	annotate := "POST /v1/span_annotations"
	all := []func() func(){
		px(phoenixd.Fault{Drop: true}), px(phoenixd.Fault{Status: 500}), px(phoenixd.Fault{Status: 503}), px(phoenixd.Fault{HTML: true}),
		px(phoenixd.Fault{Status: 429, RetryAfter: 30 * time.Second}), px(phoenixd.Fault{Route: annotate, Lost: true, Calls: 5}),
		px(phoenixd.Fault{Slow: 20 * time.Second, Calls: 20}), px(phoenixd.Fault{Route: annotate, Hang: true, Calls: 2}),
		sl(slackd.Fault{Drop: true}), sl(slackd.Fault{Status: 500}), sl(slackd.Fault{Status: 429, RetryAfter: 20 * time.Second}),
		sl(slackd.Fault{Method: "chat.postMessage", Lost: true, Calls: 5}), sl(slackd.Fault{Method: "chat.update", Lost: true, Calls: 5}),
		once(func() { w.slack.Disconnect("refresh_requested") }), once(w.slack.Cut),
		once(func() { w.slack.LoseAcks(3) }), once(func() { w.slack.SendTwice(10) }),
		func() func() {
			words := []string{"OOM command not allowed", "READONLY You can't write", "LOADING Redis is loading", "ERR max number of clients reached"}
			said := words[w.dice.IntN(len(words))]
			w.redis.Server().SetPreHook(func(p *server.Peer, command string, _ ...string) bool {
				switch command {
				case "PING", "HELLO", "CLIENT", "SUBSCRIBE", "UNSUBSCRIBE":
					return false
				}
				p.WriteError(said)
				return true
			})
			return func() { w.redis.Server().SetPreHook(nil) }
		},
		once(w.redis.FlushAll),
		once(func() {
			i := w.dice.IntN(len(w.bots))
			w.bots[i].pull()
			w.bots = slices.Delete(w.bots, i, i+1)
			w.start()
		}),
	}
	return all[w.dice.IntN(len(all))]()
}
