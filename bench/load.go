package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
	"github.com/spanbot/spanbot/internal/sandbox/slackcall"
)

const (
	loadClicks    = 10_000
	loadReviewers = 200
	loadCards     = 500
	loadRounds    = 4 // in turns with the scripts
)

// quietSlack answers every call with what slack-go wants to hear, and counts.
// Slack's own pace would be what is measured otherwise.
type quietSlack struct {
	updates, refusals atomic.Int64 // refusals are words to one person: not saved
	*httptest.Server
}

func newQuietSlack(l *lab) *quietSlack {
	q := &quietSlack{}
	q.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		switch method := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]; method {
		case "auth.test":
			fmt.Fprint(w, `{"ok":true,"team_id":"T01TEST","team":"Bench","user_id":"U0BOT0000","bot_id":"B0BOT0000","url":"https://bench.slack.com/"}`)
		case "conversations.info":
			fmt.Fprint(w, `{"ok":true,"channel":{"id":"C0BENCH00","name":"bench","is_member":true,"is_channel":true}}`)
		case "conversations.history", "conversations.replies":
			fmt.Fprint(w, `{"ok":true,"messages":[],"has_more":false}`)
		case "users.info":
			fmt.Fprint(w, `{"ok":true,"user":{"id":"U1","real_name":"A Reviewer"}}`)
		case "chat.postMessage":
			fmt.Fprintf(w, `{"ok":true,"channel":"C0BENCH00","ts":"%d.000100"}`, time.Now().Unix())
		case "chat.postEphemeral":
			q.refusals.Add(1)
			fmt.Fprint(w, `{"ok":true,"message_ts":"1758000000.000900"}`)
		case "chat.update":
			q.updates.Add(1)
			fmt.Fprint(w, `{"ok":true,"channel":"C0BENCH00","ts":"1758000000.000100"}`)
		default:
			fmt.Fprint(w, `{"ok":true}`)
		}
	}))
	l.Cleanup(q.Close)
	return q
}

// clicker sends signed interactions, as Slack does in HTTP mode.
type clicker struct {
	url    string
	client *http.Client
}

func (c *clicker) tap(user, trace, span, hash, action string, card int) (time.Duration, error) {
	payload, err := json.Marshal(map[string]any{
		"type": "block_actions", "user": map[string]any{"id": user, "username": user, "team_id": "T01TEST"}, "team": map[string]any{"id": "T01TEST"},
		"trigger_id": "1.1.x", "container": map[string]any{"type": "message", "message_ts": fmt.Sprintf("1758000000.%06d", card), "channel_id": "C0BENCH00"},
		"channel": map[string]any{"id": "C0BENCH00"}, "message": map[string]any{"ts": fmt.Sprintf("1758000000.%06d", card)},
		"actions": []any{map[string]any{"type": "button", "block_id": "judge", "action_id": action, "value": "v1:main:" + trace + ":" + span + ":" + hash, "action_ts": fmt.Sprintf("%.6f", float64(time.Now().UnixMicro())/1e6)}},
	})
	if err != nil {
		return 0, err
	}
	body := "payload=" + url.QueryEscape(string(payload))
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	req, err := http.NewRequest(http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Slack-Request-Timestamp", stamp)
	req.Header.Set("X-Slack-Signature", slackcall.Sign(rig.SigningSecret, stamp, body))
	start := time.Now()
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the bot answers %s", resp.Status)
	}
	return time.Since(start), nil
}

// inFlight runs n of f with so many at once and returns how long each and all took.
func inFlight(n, at int, f func(i, worker int) (time.Duration, error)) (each []time.Duration, all time.Duration, failed int) {
	each = make([]time.Duration, n)
	var next, bad atomic.Int64
	var people sync.WaitGroup
	start := time.Now()
	for w := range at {
		people.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				took, err := f(i, w)
				if err != nil {
					bad.Add(1)
					continue
				}
				each[i] = took
			}
		})
	}
	people.Wait()
	return each, time.Since(start), int(bad.Load())
}

// load is 10,000 clicks from 200 reviewers over 500 cards, each next click after
// the ack, in turns with a script of one write on the same Redis; then how fast
// what waits reaches a real Phoenix, against bare POSTs of the same batches.
func load(l *lab) {
	px := rig.Phoenix(l)
	var spans []map[string]any
	for range loadCards {
		spans = append(spans, rig.NewSpan("ChatCompletion", "What is the largest planet?", "Jupiter."))
	}
	slack := newQuietSlack(l)
	s := &stage{l: l, px: px, redis: rig.RedisWith(l, "appendfsync everysec")}
	l.redis = s.redis.Name
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.Fatalf("%v", err)
	}
	s.listen = free.Addr().String()
	free.Close()
	s.cmd = botCommand(l,
		"PHOENIX_ENDPOINT="+px.URL, "PHOENIX_PROJECT=bench-load", "PHOENIX_PUBLIC_URL=https://phoenix.example.com", "REDIS_URL="+s.redis.URL,
		"SLACK_BOT_TOKEN="+rig.BotToken, "SLACK_SIGNING_SECRET="+rig.SigningSecret, "SLACK_API_URL="+slack.URL+"/api/", "SLACK_CHANNEL=C0BENCH00",
		"SPANBOT_SCHEDULE=@every 1h", "SPANBOT_MAX_OPEN=1", "SPANBOT_LISTEN="+s.listen, "SPANBOT_LOG_LEVEL=error")
	first := rig.NewSpan("ChatCompletion", "q", "a")
	px.Ingest(l, "bench-load", first)
	s.start()
	hash := s.rubricHash()
	for i := 0; i < loadCards; i += 100 {
		px.Ingest(l, "bench-load", spans[i:i+100]...)
	}
	ids := rig.SpanIDs(spans)
	traces := make([]string, len(spans))
	for i, sp := range spans {
		traces[i] = sp["context"].(map[string]any)["trace_id"].(string)
	}
	c := &clicker{url: "http://" + s.listen + "/slack/interactive", client: &http.Client{Timeout: 10 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: loadReviewers}}}
	client := redis.NewClient(&redis.Options{Addr: s.redis.Addr, PoolSize: loadReviewers})
	defer func() { _ = client.Close() }()
	one := redis.NewScript(`redis.call('SET', KEYS[1], ARGV[1], 'PX', 7776000000) return 1`)
	value := strings.Repeat("x", 700) // a thread with a vote, and its judgement

	// Each reviewer goes through the cards in an order of their own.
	type key struct{ worker, card int }
	said := map[key]string{}
	var mu sync.Mutex
	turn := make([]atomic.Int64, loadReviewers)
	var acks []time.Duration
	var clicking, scripting time.Duration
	failed := 0
	began := time.Now()
	for round := range loadRounds {
		n := loadClicks / loadRounds
		each, all, bad := inFlight(n, loadReviewers, func(_, w int) (time.Duration, error) {
			card := (int(turn[w].Add(1))*7 + w*3) % loadCards
			action := []string{"up", "down"}[rand.IntN(2)]
			took, err := c.tap(fmt.Sprintf("U0LOAD%03d", w), traces[card], ids[card], hash, action, card)
			if err == nil {
				mu.Lock()
				said[key{w, card}] = map[string]string{"up": "correct", "down": "incorrect"}[action]
				mu.Unlock()
			}
			return took, err
		})
		acks, clicking, failed = append(acks, each...), clicking+all, failed+bad
		_, all, _ = inFlight(n, loadReviewers, func(i, _ int) (time.Duration, error) {
			start := time.Now()
			err := one.Run(context.Background(), client, []string{fmt.Sprintf("bench:%d:%d", round, i)}, value).Err()
			return time.Since(start), err
		})
		scripting += all
	}
	rate, bareRate := float64(loadClicks-failed)/clicking.Seconds(), float64(loadClicks)/scripting.Seconds()
	p99 := quantile(acks, .99)
	l.report(p99 <= 250*time.Millisecond && failed == 0 && slack.refusals.Load() == 0, "10,000 clicks from 200 reviewers over 500 cards, 200 in flight: ack p99 ≤ 250 ms",
		"p50 %s, p99 %s, longest %s; %d not acked, %d told that it was not saved", ms(median(acks)), ms(p99), ms(quantile(acks, 1)), failed, slack.refusals.Load())
	l.report(rate >= .5*bareRate, "clicks accepted: ≥ 0.5 × a Lua script with one write of the same size, same concurrency, same Redis (AOF everysec), in turns",
		"%.0f/s against %.0f/s (%.2f ×); Phoenix takes judgements meanwhile", rate, bareRate, rate/bareRate)

	waiting := s.metric("spanbot_outbox_judgements")
	start := time.Now()
	for s.metric("spanbot_outbox_judgements") > 0 {
		if time.Since(start) > 10*time.Minute {
			l.Fatalf("the outbox does not drain")
		}
		time.Sleep(100 * time.Millisecond)
	}
	drained := time.Since(start)
	lag := time.Since(began)
	bare := barePosts(l, px, ids, 20)
	drain := waiting / drained.Seconds()
	l.report(drain >= .8*bare, "what waits reaches a real Phoenix: ≥ 0.8 × bare POSTs of the same batch size (100)",
		"%.0f waited and were stored at %.0f/s, bare POSTs at %.0f/s (%.2f ×)", waiting, drain, bare, drain/bare)

	lost := 0
	for card := range loadCards {
		held := map[string]string{}
		for _, a := range px.Annotations(l, "bench-load", ids[card]) {
			r, _ := a["result"].(map[string]any)
			held[fmt.Sprint(a["identifier"])] = fmt.Sprint(r["label"])
		}
		for w := range loadReviewers {
			if label, ok := said[key{w, card}]; ok && held[fmt.Sprintf("slack:T01TEST:U0LOAD%03d", w)] != label {
				lost++
			}
		}
	}
	lost = max(0, lost-int(slack.refusals.Load()))
	l.report(lost == 0, "0 accepted ones lost or wrong in Phoenix", "%d of %d; all stored %s after the first click; %d of 500 cards' updates sent by then (Slack takes 50 a minute)",
		lost, len(said), lag.Round(time.Second), slack.updates.Load())
}

// barePosts is how many annotations a second plain POSTs of a hundred reach.
func barePosts(l *lab, px *rig.PhoenixServer, ids []string, batches int) float64 {
	start := time.Now()
	for b := range batches {
		var data []any
		for i := range 100 {
			data = append(data, map[string]any{"span_id": ids[(b*100+i)%len(ids)], "name": "bare", "annotator_kind": "HUMAN", "identifier": fmt.Sprintf("bare:%d", b*100+i),
				"result":   map[string]any{"label": "correct", "score": 1},
				"metadata": map[string]any{"reviewer": "Alice Anderson", "channel": "C0BENCH00", "rubric": "cafe0123", "clicked_at": "2026-11-25T10:00:00Z", "spanbot": "x", "permalink": "https://x.slack.com/archives/C1/p1"}})
		}
		raw, err := json.Marshal(map[string]any{"data": data})
		if err != nil {
			l.Fatalf("%v", err)
		}
		resp, err := http.Post(px.URL+"/v1/span_annotations?sync=true", "application/json", bytes.NewReader(raw))
		if err != nil || resp.StatusCode != http.StatusOK {
			l.Fatalf("bare POST: %v %v", resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return float64(batches*100) / time.Since(start).Seconds()
}

// metric is a gauge of the bot.
func (s *stage) metric(name string) float64 {
	resp, err := http.Get("http://" + s.listen + "/metrics")
	if err != nil {
		s.l.Fatalf("%v", err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil {
				s.l.Fatalf("%s: %v", name, err)
			}
			return n
		}
	}
	s.l.Fatalf("no metric %s", name)
	return 0
}

// rubricHash is the hash of the rubric that the bot asks, as its buttons say it.
func (s *stage) rubricHash() string {
	c := redis.NewClient(&redis.Options{Addr: s.redis.Addr})
	defer func() { _ = c.Close() }()
	for range 200 {
		keys, _ := c.Keys(context.Background(), "*:rubric:*").Result()
		if len(keys) > 0 {
			return keys[0][strings.LastIndexByte(keys[0], ':')+1:]
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.l.Fatalf("the bot asks nothing")
	return ""
}
