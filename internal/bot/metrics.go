package bot

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spanbot/spanbot/internal/review"
)

// metrics counts what the flows do; phoenix, slackui and queue count their own.
type metrics struct {
	seen       *prometheus.CounterVec   // spans looked at, by route and verdict
	posted     *prometheus.CounterVec   // cards posted, by route
	judgements *prometheus.CounterVec   // by label and outcome
	polls      *prometheus.HistogramVec // how long a poll took, by route and outcome
	stored     prometheus.Histogram     // click → Phoenix has it
	carded     prometheus.Histogram     // end of the span → its card
	redrawLag  prometheus.Histogram     // a card should say something else → it does
	outside    *prometheus.GaugeVec     // rows of the feed not looked at yet
	degraded   *prometheus.GaugeVec     // 1 while a route waits for something
	rebuilt    *prometheus.CounterVec   // cards brought back from Slack, by route
	restored   *prometheus.CounterVec   // judgements sent again that Phoenix had lost, by route
	followed   *prometheus.CounterVec   // cards changed because Phoenix was, by route
	standIn    *prometheus.GaugeVec     // 1 for each outside part that is not the real one
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		seen: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spanbot_spans_seen_total",
			Help: "Spans that a poll looked at for the first time, by verdict."}, []string{"route", "verdict"}),
		posted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spanbot_spans_posted_total",
			Help: "Spans that got a card."}, []string{"route"}),
		judgements: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spanbot_judgements_total",
			Help: "Judgements by label and outcome: accepted, unchanged, stored, withdrawn, failed, direct (Redis was gone), lost (refused with a word to the reviewer), forbidden (by somebody who is no reviewer of the route)."}, []string{"label", "outcome"}),
		polls: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "spanbot_poll_duration_seconds",
			Help: "How long a poll took.", Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 9)}, []string{"route", "outcome"}),
		stored: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "spanbot_click_stored_seconds",
			Help: "From a click to Phoenix's confirmation.", Buckets: []float64{.005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 60, 600, 3600}}),
		carded: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "spanbot_span_card_seconds",
			Help: "From the end of a span to its card.", Buckets: []float64{.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 86400}}),
		redrawLag: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "spanbot_card_redraw_lag_seconds",
			Help: "From a change to the card in Slack that shows it.", Buckets: []float64{.05, .1, .25, .5, 1, 2, 5, 10, 30, 60, 300}}),
		outside: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "spanbot_route_outside_rows",
			Help: "Rows of the project's span feed that a full backlog keeps from being looked at; an upper bound of the spans that wait outside."}, []string{"route"}),
		degraded: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "spanbot_route_degraded",
			Help: "1 while the route waits for something that has to be mended; the log and /readyz?verbose say what."}, []string{"route"}),
	}
	m.rebuilt = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spanbot_cards_rebuilt_total",
		Help: "Cards that Redis did not know and that were brought back from Slack."}, []string{"route"})
	m.restored = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spanbot_judgements_restored_total",
		Help: "Judgements sent again because Phoenix, set back to an earlier copy, did not have them any more."}, []string{"route"})
	m.followed = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spanbot_cards_followed_total",
		Help: "Cards changed because somebody annotated, changed or deleted in Phoenix itself."}, []string{"route"})
	m.standIn = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "spanbot_stand_in",
		Help: "1 for each outside part (slack, phoenix, redis) in whose place a stand-in is."}, []string{"part"})
	reg.MustRegister(m.seen, m.posted, m.judgements, m.polls, m.stored, m.carded, m.redrawLag, m.outside, m.degraded, m.rebuilt, m.restored, m.followed, m.standIn)
	return m
}

func (m *metrics) verdict(route string, v review.Verdict, n int) {
	if n > 0 {
		m.seen.WithLabelValues(route, string(v)).Add(float64(n))
	}
}

func (m *metrics) judged(j review.Judgement, outcome string) {
	label := j.Label
	if label == "" {
		label = "none"
	}
	m.judgements.WithLabelValues(label, outcome).Inc()
	if outcome == "stored" {
		m.stored.Observe(time.Since(j.At).Seconds())
	}
}
