package bot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/memnet"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/recorded"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
	"github.com/spanbot/spanbot/internal/slackui"
)

// bubble is a whole team in a synctest bubble: bots, a Slack, a Phoenix and a
// Redis on a network in memory, and people who click. It keeps the books: what
// was accepted must be in Phoenix, once, and each span has one card.
type bubble struct {
	t       *testing.T
	network memnet.Net
	px      *phoenixd.Server
	slack   *slackd.Server
	redis   *miniredis.Miniredis
	dice    *rand.Rand
	people  []slackd.Person
	routes  []review.Route
	log     io.Writer
	change  func(*Settings)
	bots    []*replica

	accepted map[string]word // "user span" -> what was accepted last
	clicks   int             // all that were tried
	refused  int             // of these, with a word to the person, or without an ack
}

// word is an accepted judgement; an empty label: it is unknown which of two
// counts, because the last one got no answer.
type word struct{ user, span, label string }

const (
	atPhoenix = "10.0.0.2:6006"
	atSlack   = "10.0.0.3:80"
	atRedis   = "10.0.0.4:6379"
)

func newBubble(t *testing.T, seed uint64, o phoenixd.Options, so slackd.Options) *bubble {
	b := &bubble{t: t, dice: rand.New(rand.NewPCG(seed, 0)), log: io.Discard, accepted: map[string]word{}, routes: []review.Route{bubbleRoute()}}
	o.Seed, so.Seed = seed, seed
	if o.Feed == nil && o.Start >= 0 {
		ids := rand.NewChaCha8([32]byte{byte(seed)})
		for _, trace := range recorded.Traces() {
			o.Feed = append(o.Feed, func(end time.Time) []map[string]any { return trace.Spans(end.Add(-trace.Took()), ids) })
		}
		if o.Every == 0 {
			o.Every = 10 * time.Second
		}
	}
	b.px = phoenixd.New(o)
	// Both listen before anybody dials.
	toPhoenix, toSlack := b.network.Listen(atPhoenix), b.network.Listen(atSlack)
	go func() { _ = b.px.Serve(toPhoenix) }()
	b.slack = slackd.New(so)
	b.slack.At("http://" + atSlack)
	go func() { _ = b.slack.Serve(toSlack) }()
	b.people = b.slack.Reviewers()
	b.redis = miniredis.NewMiniRedis()
	b.network.Serve(atRedis, func(context.Context) (net.Conn, error) { return b.redis.Dial() })
	return b
}

// replica is one bot, whose plug can be pulled.
type replica struct {
	stop  context.CancelFunc
	ended chan error
	mu    sync.Mutex
	off   bool
	conns []net.Conn
	once  sync.Once
	err   error
}

func (r *replica) dial(to func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.off {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("the plug is pulled")}
		}
		c, err := to(ctx, network, address)
		if err == nil {
			r.conns = append(r.conns, c)
		}
		return c, err
	}
}

// pull ends a replica as seen from outside: in the middle of whatever it does,
// nothing more leaves it. It returns when it is gone.
func (r *replica) pull() {
	r.mu.Lock()
	r.off = true
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	_ = r.end()
}

// end stops a replica in order and returns what it ended with.
func (r *replica) end() error {
	r.stop()
	r.once.Do(func() { r.err = <-r.ended })
	return r.err
}

// start starts one more replica.
func (b *bubble) start() *replica {
	r := &replica{ended: make(chan error, 1)}
	ctx, stop := context.WithCancel(b.t.Context())
	r.stop = stop
	set := b.settings(r.dial(b.network.Dial))
	b.bots = append(b.bots, r)
	go func() { r.ended <- Run(ctx, set) }()
	return r
}

// settings are those of a bot, or of a command beside it.
func (b *bubble) settings(dial func(context.Context, string, string) (net.Conn, error)) Settings {
	set := Settings{
		Phoenix: phoenix.Options{Endpoint: "http://" + atPhoenix}, PhoenixName: "stand-in",
		Slack: slackui.Options{BotToken: b.slack.BotToken(), AppToken: b.slack.AppToken(), APIURL: "http://" + atSlack + "/api/"},
		Redis: "redis://" + atRedis + "/0", Dial: dial, Mount: func(http.Handler) {}, Retention: 90 * 24 * time.Hour,
		Routes: b.routes, Log: slog.New(slog.NewTextHandler(b.log, nil)), Version: "test",
	}
	if b.change != nil {
		b.change(&set)
	}
	return set
}

// end stops all replicas in order, and what they ran on.
func (b *bubble) end() {
	for _, r := range b.bots {
		_ = r.end()
	}
	b.px.Close()
	b.slack.Close()
	b.redis.Close()
}

// channels are the ids of the channels that the routes post to.
func (b *bubble) channels() (out []string) {
	for _, r := range b.routes {
		if id := b.slack.Channel(strings.TrimPrefix(r.Channel, "#")); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// click is somebody's tap on a card, and the entry in the books.
func (b *bubble) click(who slackd.Person, channel string, on thumb) {
	b.clicks++
	key := who.ID + " " + on.span
	before := b.told(who)
	err := b.slack.Click(who.ID, channel, on.ts, on.do)
	if err != nil {
		b.refused++
		// No ack: it was perhaps taken. Nobody was told that it was.
		b.accepted[key] = word{who.ID, on.span, ""}
		return
	}
	time.Sleep(time.Second) // a word to the person comes after the ack
	if b.told(who) > before {
		b.refused++
		return
	}
	b.accepted[key] = word{who.ID, on.span, on.label}
}

// told counts the refusals that a person was shown.
func (b *bubble) told(who slackd.Person) (n int) {
	for _, m := range b.slack.Ephemerals(who.ID) {
		if text, _ := m["text"].(string); strings.Contains(text, "Not saved") {
			n++
		}
	}
	return n
}

// work is some people clicking on what is there, at random.
func (b *bubble) work(n int) {
	for range n {
		channel := b.channels()[b.dice.IntN(len(b.channels()))]
		cards := thumbs(b.slack.Messages(channel))
		if len(cards) == 0 {
			return
		}
		b.click(b.people[b.dice.IntN(len(b.people))], channel, cards[b.dice.IntN(len(cards))])
	}
}

// live lets time pass in steps of ten seconds, with two clicks each.
func (b *bubble) live(steps int, each func(step int)) {
	for step := range steps {
		time.Sleep(10 * time.Second)
		if each != nil {
			each(step)
		}
		b.work(2)
	}
}

// books is what came of it.
type books struct{ cards, twice, accepted, lost, wrong, duplicate, untrue int }

func (k books) String() string {
	return fmt.Sprintf("%d cards, %d twice; %d judgements accepted, %d lost, %d wrong, %d duplicate; %d cards claim what is not so",
		k.cards, k.twice, k.accepted, k.lost, k.wrong, k.duplicate, k.untrue)
}

// count compares Slack, Phoenix and what people were told.
func (b *bubble) count() (k books) {
	seen := map[string]int{}
	shown := map[string]string{}
	for _, channel := range b.channels() {
		for _, m := range b.slack.Messages(channel) {
			blocks := blocksOf(m)
			if len(blocks) == 0 {
				continue
			}
			if id, _ := blocks[0]["block_id"].(string); strings.HasPrefix(id, "card:") {
				seen[id]++
				shown[id[strings.LastIndexByte(id, ':')+1:]] = fmt.Sprint(blocks[0])
			}
		}
	}
	for id, n := range seen {
		k.cards++
		if n > 1 {
			k.twice++
			b.t.Errorf("%s stands %d times in Slack", id, n)
		}
	}
	own := "slack:" + b.slack.Team() + ":"
	for _, s := range b.accepted {
		var got []string
		for _, a := range b.px.Annotations(s.span) {
			if a["identifier"] == own+s.user {
				got = append(got, fmt.Sprint(a["result"].(map[string]any)["label"]))
			}
		}
		if len(got) > 1 {
			k.duplicate++
		}
		if s.label == "" {
			continue
		}
		k.accepted++
		switch {
		case len(got) == 0:
			k.lost++
			b.t.Errorf("%s said %s of %s; Phoenix holds nothing", s.user, s.label, s.span)
		case got[0] != s.label:
			k.wrong++
			b.t.Errorf("%s said %s of %s; Phoenix holds %v", s.user, s.label, s.span, got)
		}
	}
	// A card says what Phoenix holds: each label that is there, no other.
	for span, text := range shown {
		labels := map[string]bool{}
		for _, a := range b.px.Annotations(span) {
			if a["annotator_kind"] != "HUMAN" {
				continue // a judge's
			}
			labels[fmt.Sprint(a["result"].(map[string]any)["label"])] = true
		}
		for _, l := range []string{"correct", "incorrect"} {
			if claims := strings.Contains(text, "*"+l+"*"); claims != labels[l] {
				k.untrue++
				b.t.Errorf("the card of %s says %s: %v; Phoenix holds %v", span, l, claims, labels)
			}
		}
	}
	return k
}

// none fails the test unless nothing was lost, twice or wrong, and enough
// happened for that to mean something.
func (b *bubble) none(cards, accepted int) {
	b.t.Helper()
	k := b.count()
	b.t.Logf("%d clicks, %d refused or unanswered; %s", b.clicks, b.refused, k)
	if k.lost+k.wrong+k.duplicate+k.twice+k.untrue > 0 {
		b.t.Error("something was lost, twice or wrong")
	}
	if k.cards < cards || k.accepted < accepted {
		b.t.Errorf("only %d cards and %d accepted judgements; want %d and %d at least: what is wrong with this test?", k.cards, k.accepted, cards, accepted)
	}
}

// Ten minutes of a whole bot: traces arrive, three people tap, connections are
// cut and acks are lost.
func TestBubble_OneCardEach_AndTheLastWordCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 4, phoenixd.Options{}, slackd.Options{})
		defer b.end()
		r := b.start()
		steps := 60
		if raceEnabled {
			steps = 30
		}
		b.live(steps, func(step int) {
			switch step % 20 {
			case 7:
				b.slack.Disconnect("refresh_requested")
			case 13:
				b.slack.Cut()
			case 17:
				b.slack.LoseAcks(2)
			}
		})
		time.Sleep(2 * time.Minute)
		if err := r.end(); err != nil {
			t.Error(err)
		}
		b.none(steps-5, steps*3/4)
	})
}

// thumb is a 👍 or 👎 that somebody may tap, on the card or behind its ⋯.
type thumb struct {
	ts, span, label string
	do              slackd.Action
}

func thumbs(messages []map[string]any) (list []thumb) {
	add := func(m map[string]any, block string, action, option, value string) {
		f := strings.Split(value, ":")
		kind := action
		if option != "" {
			kind = f[len(f)-1]
		}
		if label := map[string]string{"up": "correct", "down": "incorrect"}[kind]; label != "" {
			list = append(list, thumb{m["ts"].(string), f[3], label, slackd.Action{BlockID: block, ActionID: action, Option: option}})
		}
	}
	for _, m := range messages {
		for _, b := range blocksOf(m) {
			elements, _ := b["elements"].([]any)
			if a, has := b["accessory"]; has {
				elements = append(elements, a)
			}
			for _, e := range elements {
				e, _ := e.(map[string]any)
				action, _ := e["action_id"].(string)
				if value, is := e["value"].(string); is {
					add(m, b["block_id"].(string), action, "", value)
				}
				options, _ := e["options"].([]any)
				for _, o := range options {
					value := o.(map[string]any)["value"].(string)
					add(m, b["block_id"].(string), action, value, value)
				}
			}
		}
	}
	return list
}

func blocksOf(m map[string]any) (list []map[string]any) {
	blocks, _ := m["blocks"].([]any)
	for _, b := range blocks {
		list = append(list, b.(map[string]any))
	}
	return list
}

func bubbleRoute() review.Route {
	r := review.Route{Name: "main", Project: recorded.Project, Channel: "#llm-reviews", Schedule: "@every 10s", Rubric: "correctness", MaxOpen: 1000, Backlog: 1000, Order: review.Newest}
	r.Since, r.OpenFor, r.Sample = time.Hour, 0, 1
	return r
}
