package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// channels posts to three channels at once, with Slack's limits in force.
func channels(l *lab) {
	n := 100
	if l.small {
		n = 20
	}
	px := rig.Phoenix(l)
	var routes []crowdRoute
	for i := range 3 {
		r := crowdRoute{fmt.Sprintf("lane-%d", i), fmt.Sprintf("bench-lane-%d", i), "ChatCompletion"}
		routes = append(routes, r)
		var spans []map[string]any
		for range n {
			spans = append(spans, rig.NewSpan("ChatCompletion", "What is the largest planet?", "Jupiter."))
		}
		px.Ingest(l, r.project, spans...)
	}
	c := newCrowd(l, px.URL, rig.Redis(l), routes, slackd.Options{})
	c.start()
	c.posted(n, time.Duration(n)*2*time.Second+time.Minute)
	c.mu.Lock()
	defer c.mu.Unlock()
	var paces []float64
	for _, id := range c.channels {
		at := c.posts[id]
		if len(at) != n {
			l.Errorf("%d messages were posted for %d spans", len(at), n)
		}
		paces = append(paces, float64(len(at)-1)/at[len(at)-1].Sub(at[0]).Seconds())
	}
	l.report(slices.Min(paces) >= .98, fmt.Sprintf("3 channels, %d cards each, at Slack's limit of one a second: ≥ 0.98 cards/s in each", n), "%.3f, %.3f and %.3f cards/s", paces[0], paces[1], paces[2])
	l.report(c.limited == 0, "the same: no call is refused for its pace", "%d answers of 429", c.limited)
}
