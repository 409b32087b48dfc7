package main

import (
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// trackeds compares a click with much and with little in Redis. Both bots run
// at once and take turns.
func trackeds(l *lab) {
	const cards = 25
	sizes, clicks := []int{100, 100_000}, 200
	if l.small {
		sizes, clicks = []int{100, 2_000}, 50
	}
	px := rig.Phoenix(l)
	var stages []*stage
	var shown [][]rig.SlackMessage
	for i, n := range sizes {
		project := []string{"bench-few", "bench-many"}[i]
		var spans []map[string]any
		for range cards {
			spans = append(spans, rig.NewSpan("ChatCompletion", "What is the largest planet?", "Jupiter."))
		}
		px.Ingest(l, project, spans...)
		// Polls are not what is measured, and two bots poll twice as often.
		s := newStage(l, px, project, "SPANBOT_SCHEDULE=@every 5s")
		track(l, s, n)
		s.start()
		stages, shown = append(stages, s), append(shown, nil)
	}
	for i, s := range stages {
		shown[i] = s.cards(cards)
		s.stored(shown[i][0], rig.Bob, "up") // names and connections are warm in production
	}
	times := make([][]time.Duration, len(stages))
	for k := range clicks {
		for turn := range stages {
			i := (turn + k) % len(stages) // neither is always the first
			action := []string{"up", "down"}[(k/cards)%2]
			times[i] = append(times[i], stages[i].stored(shown[i][k%cards], rig.Alice, action))
			time.Sleep(20 * time.Millisecond)
		}
	}
	few, many := median(times[0]), median(times[1])
	ratio := float64(many) / float64(few)
	l.report(ratio <= 1.1, "click → stored with 100 k tracked spans ≤ 1.1 × that with 100", "p50 %s with %d, %s with %d: %.2f × (n = %d each, p90 %s and %s)",
		ms(few), sizes[0], ms(many), sizes[1], ratio, clicks, ms(quantile(times[0], .9)), ms(quantile(times[1], .9)))
}
