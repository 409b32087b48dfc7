package bot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/recorded"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// quiet is a bubble in whose Phoenix nothing happens by itself.
func quiet(t *testing.T, routes ...review.Route) *bubble {
	b := newBubble(t, 7, phoenixd.Options{Start: -1, Keep: 1 << 20}, slackd.Options{})
	b.routes = routes
	return b
}

// spanID names the n-th span that ingest sends.
func spanID(n int) string { return fmt.Sprintf("%016x", 0x9e37_79b9_7f4a_7c15*uint64(n+1)) }

// ingest sends the spans from … to, each the root of a trace of its own.
func (b *bubble) ingest(from, to int) {
	b.t.Helper()
	var spans []map[string]any
	now := time.Now().UTC()
	for n := from; n <= to; n++ {
		spans = append(spans, map[string]any{
			"name": "answer", "span_kind": "LLM", "status_code": "OK",
			"context":    map[string]any{"trace_id": fmt.Sprintf("%032x", n+1), "span_id": spanID(n)},
			"start_time": now.Add(-time.Second).Format(time.RFC3339Nano), "end_time": now.Format(time.RFC3339Nano),
			"attributes": map[string]any{"input.value": fmt.Sprintf("question %d", n), "output.value": "answer"},
		})
	}
	if err := b.px.Ingest(recorded.Project, spans...); err != nil {
		b.t.Fatal(err)
	}
}

// annotate stores what a program says of spans.
func (b *bubble) annotate(list ...map[string]any) {
	b.t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: b.network.Dial, DisableKeepAlives: true}}
	for len(list) > 0 {
		part := list[:min(len(list), 100)]
		list = list[len(part):]
		body, err := json.Marshal(map[string]any{"data": part})
		if err != nil {
			b.t.Fatal(err)
		}
		r, err := client.Post("http://"+atPhoenix+"/v1/span_annotations?sync=true", "application/json", bytes.NewReader(body))
		if err != nil {
			b.t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK {
			b.t.Fatalf("annotations are refused: %s", r.Status)
		}
	}
}

// verdictOf is what a judge writes that was asked as often as there are votes.
func verdictOf(n, correct, incorrect int) map[string]any {
	label := "correct"
	if incorrect > correct {
		label = "incorrect"
	}
	return map[string]any{"span_id": spanID(n), "name": "correctness_judge", "annotator_kind": "LLM", "identifier": "judge:1",
		"result":   map[string]any{"label": label},
		"metadata": map[string]any{"votes": map[string]any{"correct": correct, "incorrect": incorrect}}}
}

func uncertainRoute(random float64) review.Route {
	r := bubbleRoute()
	r.Order, r.Uncertainty.Random = review.ByUncertainty, random
	r.MaxOpen, r.Backlog, r.Since = 0, 5000, 24*time.Hour
	return r
}

// cards are the span ids of the cards in Slack, in the order they were posted.
func (b *bubble) cards() (ids []string) {
	seen := map[string]bool{}
	for _, channel := range b.channels() {
		for _, on := range thumbs(b.slack.Messages(channel)) {
			if !seen[on.span] {
				seen[on.span] = true
				ids = append(ids, on.span)
			}
		}
	}
	return ids
}

// Two thousand spans, a tenth of which a judge is unsure of; the judge comes after
// the poll. Each is in the stream that its hash says, the cards are those of both
// streams and no others, and what is stored of them says how they were chosen.
func TestBubble_AnUncertainRouteKeepsItsShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 2000
		if raceEnabled {
			n = 400
		}
		b := quiet(t, uncertainRoute(.3))
		defer b.end()
		b.ingest(0, n-1)
		b.start()
		b.start()
		time.Sleep(20 * time.Minute)

		r := b.routes[0]
		control := 0
		for i := range n {
			if r.StreamOf(spanID(i)) == review.Control {
				control++
			}
		}
		if got := len(b.cards()); got != control {
			t.Errorf("before the judge came there are %d cards; want the %d of the control stream", got, control)
		}
		var list []map[string]any
		for i := range n {
			if i%10 == 0 {
				list = append(list, verdictOf(i, 3, 2))
			} else {
				list = append(list, verdictOf(i, 5, 0))
			}
		}
		b.annotate(list...)
		time.Sleep(20 * time.Minute)

		posted := map[string]bool{}
		for _, id := range b.cards() {
			posted[id] = true
		}
		uncertain := 0
		for i := range n {
			id := spanID(i)
			want := r.StreamOf(id) == review.Control || i%10 == 0
			if posted[id] != want {
				t.Errorf("span %d of the %s stream, unsure %v: posted %v", i, r.StreamOf(id), i%10 == 0, posted[id])
			}
			if posted[id] && r.StreamOf(id) == review.Uncertain {
				uncertain++
			}
		}
		share := float64(control) / float64(n)
		if math.Abs(share-.3) > .05 || uncertain == 0 {
			t.Errorf("%d of %d spans are the control stream's, %d are uncertain", control, n, uncertain)
		}
		t.Logf("%d spans: %d control, %d uncertain", n, control, uncertain)

		for range 30 {
			time.Sleep(time.Second)
			b.work(1)
		}
		time.Sleep(time.Minute)
		streams := map[string]int{}
		for i := range n {
			for _, a := range b.px.Annotations(spanID(i)) {
				if a["annotator_kind"] != "HUMAN" {
					continue
				}
				meta := a["metadata"].(map[string]any)
				s := r.StreamOf(spanID(i))
				streams[string(s)]++
				want := .3
				if i%10 == 0 && s == review.Uncertain { // its card came when the judge had seen it
					want = 1
				}
				if meta["stream"] != string(s) || meta["selection_probability"] != want {
					t.Errorf("span %d: stream %v, selection probability %v; want %s, %v", i, meta["stream"], meta["selection_probability"], s, want)
				}
			}
		}
		if streams["control"] == 0 || streams["uncertain"] == 0 {
			t.Errorf("judged: %v; want some of each", streams)
		}
	})
}

// The judge was there first: one card of ten at a time, the most uncertain first,
// three of ten by chance; the users' own word counts most. A Redis that lost all
// learns anew how each card was chosen.
func TestBubble_MostUncertainFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := quiet(t, uncertainRoute(.3))
		defer b.end()
		b.routes[0].MaxOpen = 10
		b.routes[0].Sample = .8
		const n = 200
		b.ingest(0, n-1)
		r := b.routes[0]
		loud := map[string]bool{}
		for i := n - 1; i >= 0; i-- { // the newest ones, which a poll sees first
			b.annotate(verdictOf(i, 5, i%3))
			if review.Sampled(r.Name, spanID(i), r.Sample) && r.StreamOf(spanID(i)) == review.Uncertain && len(loud) < 4 {
				loud[spanID(i)] = true
				b.annotate(map[string]any{"span_id": spanID(i), "name": review.FeedbackName, "annotator_kind": "HUMAN", "identifier": "app",
					"result": map[string]any{"label": "negative", "score": 0}})
			}
		}
		b.start()
		time.Sleep(2 * time.Minute)
		cards := b.cards()
		if len(cards) != 10 {
			t.Fatalf("%d cards", len(cards))
		}
		control, first := 0, 0
		for _, id := range cards {
			if r.StreamOf(id) == review.Control {
				control++
			} else if first++; first <= len(loud) && !loud[id] {
				t.Errorf("card %d of the uncertain stream is none that a user contradicts", first)
			}
			if !review.Sampled(r.Name, id, r.Sample) {
				t.Errorf("%s is outside the sample", id)
			}
		}
		if control != 3 {
			t.Errorf("%d of 10 cards by chance; want 3", control)
		}

		b.redis.FlushAll()
		time.Sleep(2 * time.Minute)
		for i := range 12 {
			time.Sleep(2 * time.Second)
			on := thumbs(b.slack.Messages(b.channels()[0]))
			b.click(b.people[0], b.channels()[0], on[2*i%len(on)])
		}
		time.Sleep(time.Minute)
		said := 0
		for i := range n {
			for _, a := range b.px.Annotations(spanID(i)) {
				if a["name"] != "correctness" {
					continue
				}
				said++
				meta := a["metadata"].(map[string]any)
				want := .8
				if i%3 == 0 && !loud[spanID(i)] { // five to none: only chance would choose it
					want *= .3
				}
				if meta["stream"] != string(r.StreamOf(spanID(i))) || math.Abs(meta["selection_probability"].(float64)-want) > 1e-9 {
					t.Errorf("span %d: stream %v, selection probability %v; want %s, %v", i, meta["stream"], meta["selection_probability"], r.StreamOf(spanID(i)), want)
				}
			}
		}
		if said < 5 {
			t.Errorf("only %d judgements are stored", said)
		}
		b.none(10, 5)
	})
}

// Where no judge comes the control stream is posted all the same, and what waits
// for the judge is bounded.
func TestBubble_WithoutAJudgeTheControlStreamGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := quiet(t, uncertainRoute(.3))
		defer b.end()
		b.routes[0].Backlog = 20
		b.ingest(0, 199)
		b.start()
		time.Sleep(10 * time.Minute)
		control := 0
		for i := range 200 {
			if b.routes[0].StreamOf(spanID(i)) == review.Control {
				control++
			}
		}
		if got := len(b.cards()); got != control {
			t.Errorf("%d cards; want the %d of the control stream", got, control)
		}
		waiting := 0
		for _, k := range b.redis.Keys() {
			if bytes.Contains([]byte(k), []byte("}:unjudged:")) {
				members, _ := b.redis.ZMembers(k)
				waiting += len(members)
			}
		}
		if waiting != 20 {
			t.Errorf("%d spans wait for the judge; want 20", waiting)
		}
	})
}

// Who takes the order back gets all the spans, and those of the uncertain stream
// are still known as such: a rate must not count them.
func TestBubble_TheOrderIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := quiet(t, uncertainRoute(.3))
		defer b.end()
		b.ingest(0, 59)
		r := b.start()
		time.Sleep(5 * time.Minute)
		if n := len(b.cards()); n == 0 || n > 40 {
			t.Fatalf("%d cards of 60 spans", n)
		}
		_ = r.end()
		was := b.routes[0]
		b.routes[0].Order = review.Newest
		b.routes[0].Stop = review.Stop{Labels: 1000}
		b.start()
		time.Sleep(5 * time.Minute)
		if n := len(b.cards()); n != 60 {
			t.Errorf("%d cards of 60 spans", n)
		}
		b.judgeAll(60)
		control := 0
		for i := range 60 {
			if was.StreamOf(spanID(i)) == review.Control {
				control++
			}
		}
		if home := b.home(); !strings.Contains(home, fmt.Sprintf("after %d labels", control)) {
			t.Errorf("%d cards by chance; App Home: %s", control, home)
		}
		b.none(60, 60)
	})
}

// A poll asks Phoenix no more than before, and one that waits for a judge costs
// four requests at the most.
func TestBubble_LookingForUncertaintyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := quiet(t, uncertainRoute(.3))
		defer b.end()
		b.routes[0].MaxOpen = 1 // the rest of the work is polling
		b.ingest(0, 999)
		b.start()
		time.Sleep(5 * time.Minute)
		const route = "GET /v1/projects/{p}/span_annotations"
		before := b.px.Calls(route)
		time.Sleep(10 * time.Minute)
		if n := b.px.Calls(route) - before; n == 0 || n > 4*60+20 {
			t.Errorf("%d requests in 60 polls", n)
		}
	})
}
