package bot

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"

	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// faultRow is a row of the matrix in docs/reliability.md: something breaks in
// the middle of a working day of four minutes; a while later all must be well.
type faultRow struct {
	name string
	// breaks is called once, at a third of the day; what it returns mends it, at
	// two thirds. nil: nothing to mend.
	breaks func(b *bubble) (mend func())
	// each is called at every step.
	each func(b *bubble, step int)
	// calm is how long it may take until all is well; 0 = three minutes.
	calm time.Duration
	// replicas beside the first.
	more int
	// accepted is how many judgements must come through at least; 0 = one for two steps.
	accepted int
}

// A race build is five times slower: its day is half as long.
var faultSteps, faultCards = 24, 20

func init() {
	if raceEnabled {
		faultSteps, faultCards = 12, 15
	}
}

func (f faultRow) run(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 7, phoenixd.Options{}, slackd.Options{})
		defer b.end()
		var log lines
		b.log = &log
		for range f.more + 1 {
			b.start()
		}
		var mend func()
		b.live(faultSteps, func(step int) {
			switch {
			case step == faultSteps/3 && f.breaks != nil:
				mend = f.breaks(b)
			case step == 2*faultSteps/3 && mend != nil:
				mend()
			}
			if f.each != nil {
				f.each(b, step)
			}
		})
		calm := f.calm
		if calm == 0 {
			calm = 3 * time.Minute
		}
		time.Sleep(calm)
		accepted := f.accepted
		if accepted == 0 {
			accepted = faultSteps / 2
		}
		b.none(faultCards, accepted)
		if t.Failed() {
			t.Logf("the bot said:\n%s", log.tail(12000))
		}
	})
}

// lines is a log that several replicas write.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	return s[max(0, len(s)-n):]
}

func phoenixFails(f phoenixd.Fault) func(*bubble) func() {
	return func(b *bubble) func() { return b.px.Fail(f) }
}

func slackFails(f slackd.Fault) func(*bubble) func() {
	return func(b *bubble) func() { return b.slack.Fail(f) }
}

func redisSays(word string) func(*bubble) func() {
	return func(b *bubble) func() {
		b.redis.Server().SetPreHook(func(p *server.Peer, command string, _ ...string) bool {
			switch command {
			case "PING", "HELLO", "CLIENT", "SUBSCRIBE", "UNSUBSCRIBE":
				return false // go-redis holds a lock meanwhile, which keeps a bubble's clock from moving
			}
			p.WriteError(word)
			return true
		})
		return func() { b.redis.Server().SetPreHook(nil) }
	}
}

// every calls f at each n-th step.
func every(n int, f func(*bubble)) func(*bubble, int) {
	return func(b *bubble, step int) {
		if step%n == n-1 {
			f(b)
		}
	}
}

func TestFault_Phoenix(t *testing.T) {
	annotate := "POST /v1/span_annotations"
	for _, f := range []faultRow{
		{name: "connections are cut", breaks: phoenixFails(phoenixd.Fault{Drop: true})},
		{name: "500", breaks: phoenixFails(phoenixd.Fault{Status: 500})},
		{name: "503", breaks: phoenixFails(phoenixd.Fault{Status: 503})},
		{name: "507 disk full", breaks: phoenixFails(phoenixd.Fault{Status: 507})},
		{name: "429 and Retry-After", breaks: phoenixFails(phoenixd.Fault{Status: 429, RetryAfter: 20 * time.Second})},
		{name: "401 key revoked", breaks: phoenixFails(phoenixd.Fault{Status: 401}), calm: 10 * time.Minute},
		{name: "404 of a proxy", breaks: phoenixFails(phoenixd.Fault{Status: 404})},
		{name: "answers after 30 s", breaks: phoenixFails(phoenixd.Fault{Slow: 30 * time.Second}), calm: 5 * time.Minute},
		{name: "stores and loses the answer", breaks: phoenixFails(phoenixd.Fault{Route: annotate, Lost: true})},
		{name: "stores and hangs", breaks: phoenixFails(phoenixd.Fault{Route: annotate, Hang: true}), calm: 5 * time.Minute},
		{name: "HTML instead of JSON", breaks: phoenixFails(phoenixd.Fault{HTML: true})},
		{name: "every third call fails", each: func(b *bubble, step int) {
			b.px.Fail(phoenixd.Fault{From: 3, Calls: 1, Status: 500})
		}},
	} {
		t.Run(f.name, f.run)
	}
}

// An hour without Phoenix: people go on judging, and nothing is lost.
func TestFault_PhoenixIsGoneForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 8, phoenixd.Options{}, slackd.Options{})
		defer b.end()
		b.start()
		b.live(6, nil)
		heal := b.px.Fail(phoenixd.Fault{Drop: true})
		if raceEnabled {
			time.Sleep(50 * time.Minute)
			b.live(60, nil)
		} else {
			b.live(360, nil)
		}
		heal()
		// chat.update is the scarcest call: 48 cards a minute.
		time.Sleep(15 * time.Minute)
		b.none(13, 30)
	})
}

func TestFault_Slack(t *testing.T) {
	post := "chat.postMessage"
	for _, f := range []faultRow{
		{name: "429", breaks: slackFails(slackd.Fault{Status: 429, RetryAfter: 10 * time.Second})},
		{name: "500", breaks: slackFails(slackd.Fault{Status: 500})},
		{name: "internal_error", breaks: slackFails(slackd.Fault{Error: "internal_error"})},
		{name: "connections are cut", breaks: slackFails(slackd.Fault{Drop: true})},
		{name: "posts and loses the answer", breaks: slackFails(slackd.Fault{Method: post, Lost: true})},
		{name: "posts and hangs", breaks: slackFails(slackd.Fault{Method: post, Hang: true}), calm: 5 * time.Minute},
		{name: "updates and loses the answer", breaks: slackFails(slackd.Fault{Method: "chat.update", Lost: true})},
		{name: "history fails", breaks: slackFails(slackd.Fault{Method: "conversations.history", Status: 500})},
		{name: "token revoked and given back", breaks: slackFails(slackd.Fault{Error: "token_revoked"}), calm: 10 * time.Minute},
		{name: "archived and brought back", breaks: func(b *bubble) func() {
			ch := b.channels()[0]
			b.slack.Archive(ch, true)
			return func() { b.slack.Archive(ch, false) }
		}, calm: 10 * time.Minute, accepted: 3},
		{name: "every envelope twice", each: func(b *bubble, _ int) { b.slack.SendTwice(2) }},
		{name: "acks are lost", each: every(3, func(b *bubble) { b.slack.LoseAcks(1) })},
		{name: "disconnects every few seconds", each: func(b *bubble, _ int) { b.slack.Disconnect("refresh_requested") }},
		{name: "sockets are cut", each: func(b *bubble, _ int) { b.slack.Cut() }},
	} {
		t.Run(f.name, f.run)
	}
}

func TestFault_Redis(t *testing.T) {
	for _, f := range []faultRow{
		{name: "READONLY", breaks: redisSays("READONLY You can't write against a read only replica.")},
		{name: "OOM", breaks: redisSays("OOM command not allowed when used memory > 'maxmemory'.")},
		{name: "LOADING", breaks: redisSays("LOADING Redis is loading the dataset in memory")},
		{name: "no more connections", breaks: redisSays("ERR max number of clients reached")},
		{name: "an error that nobody knows", breaks: redisSays("ERR something new")},
		{name: "flushed", breaks: func(b *bubble) func() { b.redis.FlushAll(); return nil }},
		{name: "flushed again and again", each: every(4, func(b *bubble) { b.redis.FlushAll() }), calm: 5 * time.Minute},
		{name: "flushed, two replicas", breaks: func(b *bubble) func() { b.redis.FlushAll(); return nil }, more: 1},
		{name: "flushed while Phoenix is gone", breaks: func(b *bubble) func() {
			heal := b.px.Fail(phoenixd.Fault{Drop: true})
			time.Sleep(20 * time.Second)
			b.redis.FlushAll()
			return heal
		}, calm: 6 * time.Minute},
	} {
		t.Run(f.name, f.run)
	}
}

func TestFault_Replicas(t *testing.T) {
	for _, f := range []faultRow{
		{name: "three, each is killed in turn", more: 2, each: every(3, func(b *bubble) {
			b.bots[0].pull()
			b.bots = b.bots[1:]
			b.start()
		})},
		{name: "one, killed again and again", each: every(3, func(b *bubble) {
			b.bots[0].pull()
			b.bots = b.bots[1:]
			b.start()
		})},
		{name: "killed together with a flush", each: every(6, func(b *bubble) {
			b.bots[0].pull()
			b.bots = b.bots[1:]
			// What waited for Phoenix and stood on no card is gone with both: the
			// day goes on after it was delivered.
			b.redis.FlushAll()
			b.start()
		}), calm: 5 * time.Minute},
	} {
		t.Run(f.name, f.run)
	}
}
