package bot

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
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

// Some minutes of a whole bot in a bubble: traces arrive, three people tap,
// connections are cut and acks are lost. Each span has one card, and Phoenix
// holds what each person said last, once.
func TestBubble_OneCardEach_AndTheLastWordCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const seed = 4
		var network memnet.Net
		ids := rand.NewChaCha8([32]byte{seed})
		var feed []phoenixd.Source
		for _, trace := range recorded.Traces() {
			feed = append(feed, func(end time.Time) []map[string]any { return trace.Spans(end.Add(-trace.Took()), ids) })
		}
		px := phoenixd.New(phoenixd.Options{Feed: feed, Every: 10 * time.Second, Seed: seed})
		go func() { _ = px.Serve(network.Listen("10.0.0.2:6006")) }()
		slack := slackd.New(slackd.Options{Seed: seed})
		slack.At("http://10.0.0.3:80")
		go func() { _ = slack.Serve(network.Listen("10.0.0.3:80")) }()
		redis := miniredis.NewMiniRedis()
		network.Serve("10.0.0.4:6379", func(context.Context) (net.Conn, error) { return redis.Dial() })

		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- Run(ctx, Settings{
				Phoenix: phoenix.Options{Endpoint: "http://10.0.0.2:6006"}, PhoenixName: "stand-in",
				Slack: slackui.Options{BotToken: slack.BotToken(), AppToken: slack.AppToken(), APIURL: "http://10.0.0.3:80/api/"},
				Redis: "redis://10.0.0.4:6379/0", Dial: network.Dial, Mount: func(http.Handler) {}, Retention: 90 * 24 * time.Hour,
				Routes: []review.Route{bubbleRoute()}, Log: slog.New(slog.DiscardHandler), Version: "test",
			})
		}()

		said := map[string]string{} // "user span" -> label
		people := slack.Reviewers()
		dice := rand.New(rand.NewPCG(seed, 0))
		channel := slack.Channel("llm-reviews")
		for step := range 60 {
			time.Sleep(10 * time.Second)
			switch step % 20 {
			case 7:
				slack.Disconnect("refresh_requested")
			case 13:
				slack.Cut()
			case 17:
				slack.LoseAcks(2)
			}
			cards := thumbs(slack.Messages(channel))
			for range min(2, len(cards)) {
				b := cards[dice.IntN(len(cards))]
				who := people[dice.IntN(len(people))]
				key := who.ID + " " + b.span
				if err := slack.Click(who.ID, channel, b.ts, b.do); err != nil {
					delete(said, key) // nobody said that it was taken, nor that it was not
					continue
				}
				said[key] = b.label
			}
		}
		time.Sleep(time.Minute)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}

		cards := map[string]int{}
		for _, m := range slack.Messages(channel) {
			if id := blocksOf(m)[0]["block_id"].(string); strings.HasPrefix(id, "card:main:") {
				cards[id]++
			}
		}
		for id, n := range cards {
			if n != 1 {
				t.Errorf("%s was posted %d times", id, n)
			}
		}
		if len(cards) < 55 || len(said) < 45 {
			t.Errorf("only %d cards and %d judgements: what is wrong with this test?", len(cards), len(said))
		}
		for key, label := range said {
			user, span, _ := strings.Cut(key, " ")
			var got []string
			for _, a := range px.Annotations(span) {
				if a["identifier"] == "slack:"+slack.Team()+":"+user {
					got = append(got, fmt.Sprint(a["result"].(map[string]any)["label"]))
				}
			}
			if len(got) != 1 || got[0] != label {
				t.Errorf("%s said %s of %s; Phoenix holds %v", user, label, span, got)
			}
		}
		px.Close()
		slack.Close()
		redis.Close()
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
