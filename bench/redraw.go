package main

import (
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// redraws taps forty times in a minute, with Slack's own limit of fifty updates
// in force, and measures from each ack to the update of its card.
func redraws(l *lab) {
	const n = 40
	px := rig.Phoenix(l)
	var spans []map[string]any
	for range n {
		spans = append(spans, rig.NewSpan("ChatCompletion", "What is the largest planet?", "Jupiter."))
	}
	px.Ingest(l, "bench-redraws", spans...)
	s := newStageAt(l, px, "bench-redraws", map[string]int{"conversations.info": 0, "conversations.list": 0})
	s.start()
	cards := s.cards(n)
	acked := map[string]time.Time{} // by the card's ts
	for _, m := range cards[:n] {
		next := time.Now().Add(time.Minute / n)
		a, ok := m.Button("up")
		if !ok {
			l.Fatalf("no 👍 on a card")
		}
		s.people.Click(rig.Reviews, m.TS, rig.Alice, a)
		e := s.slack.Envelopes("block_actions")
		acked[m.TS] = e[len(e)-1].Acked
		time.Sleep(time.Until(next))
	}
	time.Sleep(5 * time.Second)
	lag := map[string]time.Duration{}
	refused := 0
	for _, c := range s.slack.Calls("chat.update") {
		if !c.OK {
			refused++
			continue
		}
		if _, seen := lag[c.String("ts")]; !seen {
			lag[c.String("ts")] = c.End.Sub(acked[c.String("ts")])
		}
	}
	var lags []time.Duration
	for ts := range acked {
		d, drawn := lag[ts]
		if !drawn {
			d = time.Hour
		}
		lags = append(lags, d)
	}
	p95 := quantile(lags, .95)
	l.report(p95 <= 2*time.Second && refused == 0, "40 clicks in a minute under Slack's limit of 50 updates: a card is redrawn within 2 s (p95), none refused",
		"p50 %s, p95 %s, longest %s; %d refused", ms(median(lags)), ms(p95), ms(quantile(lags, 1)), refused)
}
