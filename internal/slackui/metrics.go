package slackui

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	calls   *prometheus.CounterVec
	acks    *prometheus.HistogramVec
	refused *prometheus.CounterVec
	up      prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spanbot_slack_calls_total",
			Help: "Calls of Slack's Web API by method and outcome."}, []string{"call", "outcome"}),
		acks: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "spanbot_click_ack_seconds",
			Help: "From a click's arrival to its ack, by kind.", Buckets: []float64{.001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2, 3}}, []string{"kind"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spanbot_interactions_refused_total",
			Help: "Interactions that were refused, by reason."}, []string{"reason"}),
		up: prometheus.NewGauge(prometheus.GaugeOpts{Name: "spanbot_slack_connected",
			Help: "1 while clicks can arrive."}),
	}
	if reg != nil {
		reg.MustRegister(m.calls, m.acks, m.refused, m.up)
	}
	return m
}
