package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

const (
	loadReviewers = 200
	loadRounds    = 10 // clicks and bare scripts take turns
	loadRoutes    = 10 // a channel takes a card a second: more of them, so that the cards are there sooner
	// drainSlice is how many batches the bot and the bare client send in turns.
	// The first of each slice is not counted: it was ready before its turn.
	drainSlice = 10
)

// loads has a whole team click at once, and measures what one replica takes and
// what it then brings to Phoenix.
func loads(l *lab) {
	clicks, perRoute := 10_000, 50
	if l.small {
		clicks, perRoute = 1_000, 5
	}
	px := rig.Phoenix(l)
	gate := newGate(l, px.URL)
	const project = "bench-load"
	var routes []crowdRoute
	var spans []map[string]any
	for i := range loadRoutes {
		r := crowdRoute{fmt.Sprintf("load-%d", i), project, fmt.Sprintf("question-%d", i)}
		routes = append(routes, r)
		for range perRoute {
			spans = append(spans, rig.NewSpan(r.spans, "What is the largest planet?", "Jupiter."))
		}
	}
	px.Ingest(l, project, spans...)
	o := anyPace()
	o.PerMinute["chat.update"] = 50 // Slack's own: the lag of the cards is told
	o.More = loadReviewers - 3
	c := newCrowd(l, gate.URL, rig.RedisWith(l, "appendfsync everysec"), routes, o)
	c.start()
	cards := c.posted(perRoute, 5*time.Minute)
	people := c.local.Reviewers()
	if len(people) != loadReviewers {
		l.Fatalf("there are %d reviewers", len(people))
	}

	// Phoenix is down while clicks are counted: it would take the cores from both
	// sides of the comparison.
	gate.refuse(true)
	db := redis.NewClient(&redis.Options{Addr: c.redis.Addr})
	defer func() { _ = db.Close() }()
	before := written(l, db)
	run := newLoadRun(c, cards, people)
	first := run.round(0, 1) // a click of each: connections are warm in production
	size := int(written(l, db)-before) / len(people)
	each := clicks/loadReviewers - 1
	acks := first
	var clicking, writing, serving time.Duration
	floor := newFloor(l, db, size)
	for i := range loadRounds {
		from, to := 1+i*each/loadRounds, 1+(i+1)*each/loadRounds
		began := time.Now()
		acks = append(acks, run.round(from, to)...)
		clicking += time.Since(began)
		writing += bareScripts(l, db, size, (to-from)*loadReviewers)
		serving += floor.run(c, cards[0], people[0], to-from)
	}
	run.settle()
	counted := float64(each * loadReviewers)
	accepted, bare := (counted-float64(run.refused))/clicking.Seconds(), counted/writing.Seconds()
	l.report(accepted >= .5*bare, fmt.Sprintf("%d clicks of %d reviewers on %d cards, %d in flight: accepted at ≥ 0.5 × the rate of a Lua script with one write of the same size", clicks, loadReviewers, len(cards), loadReviewers),
		"%.0f/s against %.0f/s of %d B: %.2f × (an HTTP handler that reads a click and does nothing but that script: %.0f/s)", accepted, bare, size, accepted/bare, counted/serving.Seconds())
	l.report(quantile(acks, .99) <= 250*time.Millisecond, "the same: click → ack, p99 ≤ 250 ms", "p50 %s, p99 %s, longest %s (n = %d)",
		ms(median(acks)), ms(quantile(acks, .99)), ms(quantile(acks, 1)), len(acks))

	ours, theirs := gate.drain(l, len(acks)-run.refused)
	l.report(ours >= .8*theirs, "the same, drained to Phoenix: ≥ 0.8 × the rate of bare POSTs of the same batches", "%.0f/s against %.0f/s: %.2f × (%d judgements in %d requests; %d look-ups of later words took %.1f s)",
		ours, theirs, ours/theirs, gate.sent, gate.requests, gate.looked, gate.looking.Seconds())
	lost, wrong, twice := run.missing(px, project)
	for end := time.Now().Add(time.Minute); lost > 0 && time.Now().Before(end); { // the last ones may be on their way
		time.Sleep(time.Second)
		lost, wrong, twice = run.missing(px, project)
	}
	l.report(lost+wrong+twice == 0, "the same: each accepted judgement is in Phoenix, once, as it was said", "%d lost, %d wrong, %d twice of %d", lost, wrong, twice, len(acks)-run.refused)
	l.report(run.refused == 0, "the same: no reviewer is told that a click was not saved", "%d of %d", run.refused, len(acks))
	run.lag()

	// Once more with Phoenix at work: all say the opposite of a part.
	run.opposite, run.refused = true, 0
	acks = run.round(0, max(1, clicks/loadReviewers/5))
	run.settle()
	l.report(quantile(acks, .99) <= 250*time.Millisecond && run.refused == 0, fmt.Sprintf("%d clicks the same way while Phoenix takes judgements: click → ack, p99 ≤ 250 ms, none refused", len(acks)), "p50 %s, p99 %s, longest %s (%d refused)",
		ms(median(acks)), ms(quantile(acks, .99)), ms(quantile(acks, 1)), run.refused)
}

// word is what a click said, and which one it was.
type word struct{ label, click string }

// loadRun is who said what, and when.
type loadRun struct {
	c        *crowd
	cards    []card
	people   []slackd.Person
	opposite bool

	mu      sync.Mutex
	refused int
	said    map[string]map[string]word // span → reviewer → what they said last
	first   map[string]time.Time       // channel and ts → the ack of the first click that no drawing follows yet
}

func newLoadRun(c *crowd, cards []card, people []slackd.Person) *loadRun {
	return &loadRun{c: c, cards: cards, people: people, said: map[string]map[string]word{}, first: map[string]time.Time{}}
}

// round has each reviewer click the from-th to the to-th of their cards, the
// next one after the ack, and returns how long the acks took.
func (r *loadRun) round(from, to int) []time.Duration {
	// Requests are made and signed beforehand: that is Slack's work.
	orders := make([][]click, len(r.people))
	up := func(p, i int) bool { return (p+i)%2 == 0 != r.opposite }
	at := func(p, i int) card { return r.cards[(p*7+i*(len(r.cards)/50+1))%len(r.cards)] }
	for p, who := range r.people {
		for i := from; i < to; i++ {
			orders[p] = append(orders[p], r.c.click(at(p, i), who, up(p, i)))
		}
	}
	var all []time.Duration
	var wg sync.WaitGroup
	for p, who := range r.people {
		wg.Go(func() {
			for k, order := range orders[p] {
				took, err := r.c.send(r.c.listen, order)
				m, label := at(p, from+k), "incorrect"
				if up(p, from+k) {
					label = "correct"
				}
				r.mu.Lock()
				if err != nil {
					r.refused++
					r.c.l.Logf("a click was not acked: %v", err)
				} else {
					all = append(all, took)
					if r.said[m.span] == nil {
						r.said[m.span] = map[string]word{}
					}
					r.said[m.span][who.ID] = word{label, order.id}
					if _, waits := r.first[m.channel+m.ts]; !waits {
						r.first[m.channel+m.ts] = time.Now()
					}
				}
				r.mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all
}

// settle waits until nobody is told any more that their click was not saved, and
// takes these out of what was said. Words come beside the ack, not before it.
func (r *loadRun) settle() {
	told := func() int {
		r.c.mu.Lock()
		defer r.c.mu.Unlock()
		return len(r.c.told)
	}
	for before := -1; before != told(); time.Sleep(time.Second) {
		before = told()
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	for span, said := range r.said {
		for user, w := range said {
			if _, refused := r.c.told[w.click]; refused {
				delete(r.said[span], user)
				r.refused++
			}
		}
	}
}

// missing compares Phoenix with what was said.
func (r *loadRun) missing(px *rig.PhoenixServer, project string) (lost, wrong, twice int) {
	have := map[string]map[string][]string{}
	for cards := range slices.Chunk(r.cards, 10) {
		var ids []string
		for _, m := range cards {
			ids = append(ids, m.span)
		}
		for _, a := range px.Annotations(r.c.l, project, ids...) {
			span, _ := a["span_id"].(string)
			who, _ := a["identifier"].(string)
			result, _ := a["result"].(map[string]any)
			label, _ := result["label"].(string)
			user, ours := strings.CutPrefix(who, "slack:"+r.c.local.Team()+":")
			if !ours || a["name"] != "correctness" {
				continue
			}
			if have[span] == nil {
				have[span] = map[string][]string{}
			}
			have[span][user] = append(have[span][user], label)
		}
	}
	for span, said := range r.said {
		for user, w := range said {
			got := have[span][user]
			switch {
			case len(got) == 0:
				lost++
			case len(got) > 1:
				twice++
			case got[0] != w.label:
				wrong++
			}
		}
	}
	return lost, wrong, twice
}

// lag tells how far the cards are behind. It is no promise: Slack takes 50
// updates a minute.
func (r *loadRun) lag() {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	var lags []time.Duration
	waiting := 0
	for m, since := range r.first {
		drawn := false
		for _, at := range r.c.updates[m] {
			if at.After(since) {
				lags, drawn = append(lags, at.Sub(since)), true
				break
			}
		}
		if !drawn {
			waiting++
		}
	}
	if len(lags) == 0 {
		lags = []time.Duration{0}
	}
	r.c.l.report(r.c.limited == 0, "the same: Slack refuses no update of a card (their lag is Slack's pace of 50 a minute, and not awaited)",
		"%d refused; of %d cards %d were drawn when the last judgement was in Phoenix, first click → drawn p50 %s, longest %s; the others need %.0f min more",
		r.c.limited, len(r.first), len(r.first)-waiting, ms(median(lags)), ms(quantile(lags, 1)), float64(waiting)/48)
}

// written is how much Redis has appended to its file since it started.
func written(l *lab, db *redis.Client) int64 {
	info, err := db.Info(context.Background(), "persistence").Result()
	if err != nil {
		l.Fatalf("%v", err)
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "aof_current_size:"); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				l.Fatalf("%v", err)
			}
			return n
		}
	}
	l.Fatalf("Redis does not say how large its file is")
	return 0
}

var oneWrite = redis.NewScript("return redis.call('SET', KEYS[1], ARGV[1])")

// bareScripts runs a script that writes once, n times, as many at once as there
// are reviewers, and returns how long that took.
func bareScripts(l *lab, db *redis.Client, size, n int) time.Duration {
	value := strings.Repeat("x", size)
	if err := oneWrite.Load(context.Background(), db).Err(); err != nil {
		l.Fatalf("%v", err)
	}
	began := time.Now()
	var wg sync.WaitGroup
	for w := range loadReviewers {
		wg.Go(func() {
			for i := w; i < n; i += loadReviewers {
				if err := oneWrite.Run(context.Background(), db, []string{fmt.Sprintf("bench:%d", i)}, value).Err(); err != nil {
					l.Errorf("%v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// floor is an HTTP server that takes clicks and runs the script: what the way
// through HTTP alone costs.
type floor struct{ address string }

func newFloor(l *lab, db *redis.Client, size int) floor {
	value := strings.Repeat("x", size)
	var n atomic.Int64
	at := serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if err := oneWrite.Run(r.Context(), db, []string{fmt.Sprintf("bench:%d", n.Add(1))}, value).Err(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	return floor{strings.TrimPrefix(at, "http://")}
}

// run sends each reviewer's clicks there and returns how long that took.
func (f floor) run(c *crowd, m card, who slackd.Person, each int) time.Duration {
	k := c.click(m, who, true)
	began := time.Now()
	var wg sync.WaitGroup
	for range loadReviewers {
		wg.Go(func() {
			for range each {
				if _, err := c.send(f.address, k); err != nil {
					c.l.Errorf("%v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// gate stands before Phoenix. It can refuse judgements, and let the bot's
// requests and bare ones of the same content take turns.
type gate struct {
	URL  string
	base string
	pass *httputil.ReverseProxy

	mu       sync.Mutex
	down     bool
	turn     chan struct{} // nil: everything passes
	bodies   [][]byte      // of the bot's slice
	done     []time.Time   // when each of them was answered
	sent     int
	requests int
	looked   int           // questions for later words of the reviewers, and the time they took
	looking  time.Duration //
	full     chan struct{} // the bot's slice is complete
}

func newGate(l *lab, target string) *gate {
	u, err := url.Parse(target)
	if err != nil {
		l.Fatalf("%v", err)
	}
	g := &gate{base: target, pass: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = u.Host
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 3 * time.Second, DisableCompression: true},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // a click that gives up on Phoenix is counted elsewhere
	}}
	g.URL = serve(l, g)
	return g
}

func (g *gate) refuse(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = on
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/span_annotations" {
		began := time.Now()
		g.pass.ServeHTTP(w, r)
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.turn != nil && strings.HasSuffix(r.URL.Path, "/span_annotations") {
			g.looked++
			g.looking += time.Since(began)
		}
		return
	}
	g.mu.Lock()
	down, turn := g.down, g.turn
	g.mu.Unlock()
	if down {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	if r.Header.Get("X-Bench") != "" || turn == nil {
		g.pass.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case <-turn:
	case <-r.Context().Done():
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	n := &noted{ResponseWriter: w, status: http.StatusOK}
	g.pass.ServeHTTP(n, r)
	g.mu.Lock()
	defer g.mu.Unlock()
	if n.status != http.StatusOK {
		return
	}
	g.bodies, g.done = append(g.bodies, body), append(g.done, time.Now())
	g.requests++
	g.sent += judgementsIn(body)
	if g.full != nil && len(g.bodies) == drainSlice {
		close(g.full)
		g.full = nil
	}
}

// judgementsIn counts the annotations of a request.
func judgementsIn(body []byte) int { return bytes.Count(body, []byte(`"identifier"`)) }

// bare is a request of the bot as somebody else's: under another annotation name
// too, so that it is nothing to whoever looks for the bot's.
func bare(body []byte) []byte {
	body = bytes.ReplaceAll(body, []byte(`"slack:`), []byte(`"bare:`))
	return bytes.ReplaceAll(body, []byte(`"name":"correctness"`), []byte(`"name":"bare"`))
}

// drain lets the bot deliver n judgements, a slice at a time, and sends the same
// again by bare POSTs after each slice. It returns both rates.
func (g *gate) drain(l *lab, n int) (ours, theirs float64) {
	tokens := make(chan struct{}, drainSlice)
	g.mu.Lock()
	g.turn, g.down = tokens, false
	g.mu.Unlock()
	var took, bareTook time.Duration
	var count int
	client := &http.Client{Timeout: time.Minute}
	for end := time.Now().Add(10 * time.Minute); ; {
		full := make(chan struct{})
		g.mu.Lock()
		g.bodies, g.done, g.full = nil, nil, full
		g.mu.Unlock()
		for range drainSlice {
			tokens <- struct{}{}
		}
		for waiting := true; waiting; {
			select {
			case <-full:
				waiting = false
			case <-time.After(2 * time.Second):
				g.mu.Lock()
				waiting = g.sent < n
				g.mu.Unlock()
				if time.Now().After(end) {
					l.Fatalf("the bot does not drain its outbox: %d of %d", g.sent, n)
				}
			}
		}
		g.mu.Lock()
		bodies, done := g.bodies, g.done
		g.mu.Unlock()
		if len(bodies) > 1 {
			time.Sleep(300 * time.Millisecond) // what the bot does after a batch is not in the way
			var began time.Time
			for i, b := range bodies {
				r, err := http.NewRequest(http.MethodPost, g.URL+"/v1/span_annotations?sync=true", bytes.NewReader(bare(b)))
				if err != nil {
					l.Fatalf("%v", err)
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("X-Bench", "bare")
				resp, err := client.Do(r)
				if err != nil {
					l.Fatalf("%v", err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					l.Fatalf("bare POST: %s", resp.Status)
				}
				if i == 0 {
					began = time.Now()
				} else {
					count += judgementsIn(b)
				}
			}
			bareTook += time.Since(began)
			took += done[len(done)-1].Sub(done[0])
		}
		g.mu.Lock()
		all := g.sent >= n
		g.mu.Unlock()
		if all {
			break
		}
	}
	g.mu.Lock()
	g.turn = nil
	g.mu.Unlock()
	if count == 0 {
		l.Fatalf("too few batches to compare")
	}
	return float64(count) / took.Seconds(), float64(count) / bareTook.Seconds()
}
