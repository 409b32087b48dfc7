package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// crew is some replicas of the bot on one real Redis. Slack and Phoenix are the
// stand-ins, in this process: they are quick and can be asked for everything, so
// that a bot can die many times in a minute.
type crew struct {
	t       *testing.T
	px      *phoenixd.Server
	slack   *slackd.Server
	channel string
	env     map[string]string
	listen  []string   // address of each replica
	bots    []*process // nil: dead
	project string
	book    ledger
	dice    *rand.Rand // of the test's own goroutine
	turn    atomic.Int64
}

// newCrew prepares n replicas in Socket Mode, or in HTTP mode behind a balancer.
// None runs yet.
func newCrew(t *testing.T, n int, httpMode bool, env map[string]string) *crew {
	c := &crew{t: t, project: "crew", bots: make([]*process, n)}
	c.book.said = map[said][]word{}
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("SPANBOT_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("SPANBOT_SEED=%d", seed)
	c.dice = rand.New(rand.NewPCG(seed, 0))
	for range n {
		c.listen = append(c.listen, freeAddress(t))
	}
	c.px = phoenixd.New(phoenixd.Options{Keep: 100_000})
	t.Cleanup(c.px.Close)
	o := slackd.Options{PostEvery: -1, PerMinute: map[string]int{}}
	for _, m := range []string{"chat.update", "conversations.info", "conversations.list", "conversations.history", "conversations.replies", "users.info", "apps.connections.open", "auth.test"} {
		o.PerMinute[m] = 0
	}
	if httpMode {
		o.HTTP = c.balancer() + "/slack/events"
	}
	c.slack = slackd.New(o)
	t.Cleanup(c.slack.Close)
	serve := func(f func(net.Listener) error) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = f(l) }()
		return "http://" + l.Addr().String()
	}
	c.channel = c.slack.Channel("llm-reviews")
	c.env = map[string]string{
		"PHOENIX_ENDPOINT": serve(c.px.Serve), "PHOENIX_PROJECT": c.project, "REDIS_URL": rig.Redis(t).URL,
		"SLACK_API_URL": serve(c.slack.Serve) + "/api/", "SLACK_BOT_TOKEN": c.slack.BotToken(), "SLACK_CHANNEL": "#llm-reviews",
		"SPANBOT_SCHEDULE": "@every 1s", "SPANBOT_MAX_OPEN": "0", "SPANBOT_LOG_LEVEL": "info",
	}
	if httpMode {
		c.env["SLACK_SIGNING_SECRET"] = c.slack.SigningSecret()
	} else {
		c.env["SLACK_APP_TOKEN"] = c.slack.AppToken()
	}
	maps.Copy(c.env, env)
	return c
}

// balancer sends each request to the next replica that takes a connection.
func (c *crew) balancer() string {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		var err error
		for range c.listen {
			var conn net.Conn
			at := c.listen[int(c.turn.Add(1))%len(c.listen)]
			if conn, err = (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, at); err == nil {
				return conn, nil
			}
		}
		return nil, err
	}
	p := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "replicas" },
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	s := httptest.NewServer(p)
	c.t.Cleanup(s.Close)
	return s.URL
}

// start starts a replica; env goes before what all have.
func (c *crew) start(i int, env ...string) {
	c.t.Helper()
	all := maps.Clone(c.env)
	all["SPANBOT_LISTEN"] = c.listen[i]
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		all[k] = v
	}
	c.bots[i] = launch(c.t, buildFaulty, all)
}

func (c *crew) ready(i int) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("replica %d is ready", i), func() bool {
		resp, err := http.Get("http://" + c.listen[i] + "/readyz")
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// kill ends a replica as a crash does.
func (c *crew) kill(i int) {
	c.t.Helper()
	_ = c.bots[i].cmd.Process.Signal(syscall.SIGKILL)
	<-c.bots[i].done
	if log := c.bots[i].log.String(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic:") {
		c.t.Errorf("replica %d was broken before it was killed:\n%s", i, log)
	}
}

func (c *crew) eventually(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	c.t.Fatalf("not within %s: %s", patience, what)
}

// ingest sends one span to Phoenix and returns its id.
func (c *crew) ingest() string {
	s := rig.NewSpan("ChatCompletion", "What is the largest planet?", "Jupiter.")
	if err := c.px.Ingest(c.project, s); err != nil {
		c.t.Error(err)
	}
	id := rig.SpanIDs([]map[string]any{s})[0]
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	c.book.spans = append(c.book.spans, id)
	return id
}

// cards are the messages of the channel that are cards, by span id; more than one
// of a span is a mistake that report counts.
func (c *crew) cards() map[string][]rig.SlackMessage {
	all := map[string][]rig.SlackMessage{}
	for _, m := range c.slack.Messages(c.channel) {
		raw, err := json.Marshal(m)
		if err != nil {
			c.t.Error(err)
		}
		card := rig.SlackMessage{Raw: raw}
		if err := json.Unmarshal(raw, &card); err != nil {
			c.t.Error(err)
		}
		if id, is := strings.CutPrefix(card.BlockID(), "card:main:"); is {
			all[id] = append(all[id], card)
		}
	}
	return all
}

// card waits for a span's card.
func (c *crew) card(span string) rig.SlackMessage {
	c.t.Helper()
	var list []rig.SlackMessage
	c.eventually("the card of "+span, func() bool {
		list = c.cards()[span]
		return len(list) > 0
	})
	return list[0]
}

// said is whose word of what; word is one that somebody gave.
type (
	said struct{ user, span string }
	word struct {
		label    string // "": withdrawn
		accepted bool   // its click was acked
	}
)

// ledger is what people did, in order.
type ledger struct {
	mu    sync.Mutex
	spans []string
	said  map[said][]word
}

var labelOf = map[string]string{"up": "correct", "down": "incorrect"}

// click taps 👍 or 👎 ("up", "down") on a card and books whether it was accepted.
func (c *crew) click(user, span string, m rig.SlackMessage, what string) bool {
	a, ok := m.Button(what)
	do := slackd.Action{ActionID: what}
	if !ok {
		if a, ok = m.Option("more", ":"+what); !ok {
			return false
		}
		option := a["selected_option"].(map[string]any)["value"].(string)
		do = slackd.Action{ActionID: "more", Option: option}
	}
	do.BlockID, _ = a["block_id"].(string)
	err := c.slack.Click(user, c.channel, m.TS, do)
	if err != nil && !strings.HasPrefix(err.Error(), "operation_timeout") {
		return false // the card was drawn anew meanwhile: nothing was sent
	}
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	c.book.said[said{user, span}] = append(c.book.said[said{user, span}], word{labelOf[what], err == nil})
	return err == nil
}

// withdraw takes a person's judgement back, by the form. It is tried until a
// replica answers: one may stand still.
func (c *crew) withdraw(user, span string) {
	c.t.Helper()
	c.eventually(user+" withdraws what they said of "+span, func() bool {
		for _, v := range c.slack.Views(user) {
			_ = c.slack.Dismiss(user, v.ID, true)
		}
		m := c.card(span)
		o, ok := m.Option("more", ":annotate")
		if !ok {
			return false
		}
		block, _ := o["block_id"].(string)
		value, _ := o["selected_option"].(map[string]any)["value"].(string)
		if c.slack.Click(user, c.channel, m.TS, slackd.Action{BlockID: block, ActionID: "more", Option: value}) != nil {
			return false
		}
		for range 20 {
			for _, v := range c.slack.Views(user) {
				raw, err := json.Marshal(v.Object)
				if err != nil {
					c.t.Error(err)
				}
				var form rig.SlackMessage // a view has its blocks where a message has them
				if err := json.Unmarshal(raw, &form); err != nil {
					c.t.Error(err)
				}
				if b, ok := form.Button("withdraw"); ok {
					block, _ := b["block_id"].(string)
					return c.slack.ClickView(user, v.ID, slackd.Action{BlockID: block, ActionID: "withdraw"}, nil) == nil
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		return false
	})
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	c.book.said[said{user, span}] = append(c.book.said[said{user, span}], word{"", true})
}

// load lets spans arrive and people click until stop is called. Each person has
// two hands, each with its half of the cards, so that of one person's clicks on
// one card each follows the answer to the last.
func (c *crew) load(spanEvery time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var work sync.WaitGroup
	every := func(d time.Duration, f func()) {
		work.Go(func() {
			tick := time.NewTicker(d)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					f()
				}
			}
		})
	}
	var seen atomic.Pointer[map[string][]rig.SlackMessage]
	look := func() { cards := c.cards(); seen.Store(&cards) }
	look()
	every(spanEvery, func() { c.ingest() })
	every(150*time.Millisecond, look)
	for _, p := range c.slack.Reviewers() {
		for hand := range 2 {
			dice := rand.New(rand.NewPCG(c.dice.Uint64(), 1))
			every(400*time.Millisecond, func() {
				var mine []string
				cards := *seen.Load()
				for id := range cards {
					if int(id[0])%2 == hand {
						mine = append(mine, id)
					}
				}
				if len(mine) == 0 {
					return
				}
				slices.Sort(mine)
				span := mine[dice.IntN(len(mine))]
				if !c.click(p.ID, span, cards[span][0], []string{"up", "down"}[dice.IntN(2)]) {
					time.Sleep(300 * time.Millisecond) // one that was not heard may still come
				}
			})
		}
	}
	return func() { cancel(); work.Wait() }
}

// tally is what became of it all.
type tally struct {
	spans, clicks, accepted, unheard int
	lost, duplicate, wrong           []string
}

func (t tally) bad() int { return len(t.lost) + len(t.duplicate) + len(t.wrong) }

// count compares what people did with what Slack shows and Phoenix holds.
func (c *crew) count() tally {
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	n := tally{spans: len(c.book.spans)}
	cards := c.cards()
	names := map[string]string{}
	for _, p := range c.slack.Reviewers() {
		names[p.ID] = p.Real
	}
	holds := map[said]string{}
	for _, span := range c.book.spans {
		switch len(cards[span]) {
		case 0:
			n.lost = append(n.lost, "card of "+span)
		case 1:
		default:
			n.duplicate = append(n.duplicate, fmt.Sprintf("card of %s: %d", span, len(cards[span])))
		}
		for _, a := range c.px.Annotations(span) {
			user, ours := strings.CutPrefix(fmt.Sprint(a["identifier"]), "slack:"+c.slack.Team()+":")
			key := said{user, span}
			if !ours || c.book.said[key] == nil {
				n.wrong = append(n.wrong, fmt.Sprintf("nobody said %v", a))
				continue
			}
			if holds[key] != "" {
				n.duplicate = append(n.duplicate, fmt.Sprintf("annotation of %s by %s", span, user))
			}
			holds[key] = fmt.Sprint(a["result"].(map[string]any)["label"])
		}
		if len(cards[span]) == 0 {
			continue
		}
		// The card says of each person what Phoenix holds, and nothing else.
		shown := map[string]string{}
		for line := range strings.Lines(cards[span][0].Shown()) {
			for _, label := range labelOf {
				if !strings.Contains(line, "*"+label+"*") {
					continue
				}
				for user, name := range names {
					if strings.Contains(line, name) {
						shown[user] = label
					}
				}
			}
		}
		for user := range names {
			if shown[user] != holds[said{user, span}] {
				n.wrong = append(n.wrong, fmt.Sprintf("the card of %s shows %q of %s, Phoenix holds %q", span, shown[user], user, holds[said{user, span}]))
			}
		}
		if strings.Contains(cards[span][0].Shown(), "saved here") {
			n.wrong = append(n.wrong, "the card of "+span+" says that something waits")
		}
	}
	for key, words := range c.book.said {
		n.clicks += len(words)
		// The last accepted word counts; one after it that was not heard may.
		may := map[string]bool{}
		must := false
		for _, w := range words {
			if w.accepted {
				n.accepted++
				may, must = map[string]bool{}, true
			} else {
				n.unheard++
			}
			may[w.label] = true
		}
		switch has := holds[key]; {
		case has == "" && must && !may[""]:
			n.lost = append(n.lost, fmt.Sprintf("judgement of %s by %s: %v", key.span, key.user, words))
		case has != "" && !may[has]:
			n.wrong = append(n.wrong, fmt.Sprintf("of %s %s said %v; Phoenix holds %s", key.span, key.user, words, has))
		}
	}
	return n
}

// calm waits until nothing is lost, doubled or wrong. A bot keeps Slack's paces,
// one card a second and 50 updates a minute: what waits has as long as it gets
// less within the minute.
func (c *crew) calm() tally {
	const minute = time.Minute + patience
	n := c.count()
	for end, least := time.Now().Add(minute), n.bad(); n.bad() > 0 && time.Now().Before(end); n = c.count() {
		if n.bad() < least {
			end, least = time.Now().Add(minute), n.bad()
		}
		time.Sleep(200 * time.Millisecond)
	}
	return n
}

// settled waits until nothing is lost, doubled or wrong, looks once more a little
// later, and reports.
func (c *crew) settled(kills int) {
	c.t.Helper()
	c.calm()
	time.Sleep(2 * time.Second) // what may come behind
	n := c.calm()
	c.t.Logf("%d kills: %d spans, %d clicks, %d accepted, %d unheard; %d lost, %d duplicate, %d wrong",
		kills, n.spans, n.clicks, n.accepted, n.unheard, len(n.lost), len(n.duplicate), len(n.wrong))
	for _, list := range [][]string{n.lost, n.duplicate, n.wrong} {
		for i, s := range list {
			if i == 10 {
				c.t.Errorf("and %d more", len(list)-i)
				break
			}
			c.t.Error(s)
		}
	}
	if n.spans < kills || n.accepted < 5*kills {
		c.t.Errorf("too little happened for %d kills to mean anything", kills)
	}
}

// kills is how often tests kill: SPANBOT_KILLS, which make soak sets, or fewer.
func kills(t *testing.T, usually int) int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("SPANBOT_KILLS"), strconv.Itoa(usually)))
	if err != nil || n < 1 {
		t.Fatalf("SPANBOT_KILLS=%s is no number of kills", os.Getenv("SPANBOT_KILLS"))
	}
	return n
}

// killUnderLoad kills the replicas in turn, each a while after the last was
// started again, and counts what became of spans and clicks.
func (c *crew) killUnderLoad(kills int, least, most time.Duration) {
	for i := range c.bots {
		c.start(i)
	}
	for i := range c.bots {
		c.ready(i)
	}
	c.card(c.ingest())
	// Somewhat more than they can post: there is always a claim in hand.
	stop := c.load(900 * time.Millisecond / time.Duration(len(c.bots)))
	for i := range kills {
		time.Sleep(least + time.Duration(c.dice.Int64N(int64(most-least))))
		c.kill(i % len(c.bots))
		c.start(i % len(c.bots))
	}
	stop() // what was clicked last is heard by who started last
	c.settled(kills)
}

// One bot dies at random moments while spans arrive and people click. The lease
// of what was in hand is short, so that the next one need not wait a minute.
func TestKill_AtRandomMoments(t *testing.T) {
	c := newCrew(t, 1, false, map[string]string{"SPANBOT_LEASE": "2s"})
	c.killUnderLoad(kills(t, 20), 400*time.Millisecond, 2500*time.Millisecond)
}

func TestReplicas_EachKilledInTurnUnderLoad(t *testing.T) {
	for _, mode := range []struct {
		name string
		http bool
	}{{"SocketMode", false}, {"HTTPBehindABalancer", true}} {
		t.Run(mode.name, func(t *testing.T) {
			c := newCrew(t, 3, mode.http, map[string]string{"SPANBOT_LEASE": "2s"})
			c.killUnderLoad(kills(t, 9), 300*time.Millisecond, 1200*time.Millisecond)
		})
	}
}
