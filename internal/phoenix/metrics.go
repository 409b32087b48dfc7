package phoenix

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spanbot/spanbot/internal/review"
)

// metrics count what the client asks of Phoenix.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spanbot_phoenix_requests_total",
			Help: "Requests to Phoenix by what was asked and how it ended (ok, or the kind of failure).",
		}, []string{"call", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "spanbot_phoenix_request_duration_seconds",
			Help:    "How long requests to Phoenix took, the reading of the answer included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60},
		}, []string{"call"}),
	}
	if r == nil {
		return m
	}
	m.requests = register(r, m.requests)
	m.seconds = register(r, m.seconds)
	return m
}

// register uses what a client of the same process has registered before.
func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	var already prometheus.AlreadyRegisteredError
	if err := r.Register(c); errors.As(err, &already) {
		if old, ok := already.ExistingCollector.(C); ok {
			return old
		}
	}
	return c
}

func (m *metrics) observe(call string, start time.Time, err error) {
	outcome := "ok"
	if err != nil {
		outcome = string(review.KindOf(err))
	}
	m.requests.WithLabelValues(call, outcome).Inc()
	m.seconds.WithLabelValues(call).Observe(time.Since(start).Seconds())
}
