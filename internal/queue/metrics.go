package queue

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector reads the gauges from Redis when they are scraped: they are true
// for all replicas together, and a dead replica leaves no stale number behind.
type collector struct {
	q                                           *Queue
	outbox, oldest, dead, backlog, open, redraw *prometheus.Desc
	redrawLag, up, unreplicated                 *prometheus.Desc
}

// scrapeTimeout keeps a scrape short when Redis hangs.
const scrapeTimeout = 2 * time.Second

func newCollector(q *Queue) *collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		q:         q,
		outbox:    d("spanbot_outbox_judgements", "Judgements that Phoenix has not confirmed."),
		oldest:    d("spanbot_outbox_oldest_age_seconds", "Age of the oldest judgement that Phoenix has not confirmed."),
		dead:      d("spanbot_outbox_dead_letters", "Judgements that Phoenix will never take."),
		backlog:   d("spanbot_backlog_spans", "Spans that were found and wait for a free place.", "route"),
		open:      d("spanbot_open_cards", "Cards that wait for a reviewer.", "route"),
		redraw:    d("spanbot_redraw_cards", "Messages in Slack that have to be drawn anew."),
		redrawLag: d("spanbot_redraw_oldest_age_seconds", "Since when the oldest of them should say something else."),
		unreplicated: prometheus.NewDesc("spanbot_redis_unreplicated_writes_total",
			"Judgements that no replica of Redis confirmed in time; they are on the master alone for a moment.", nil, nil),
		up: d("spanbot_redis_up", "1 when Redis answered this scrape."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.outbox, c.oldest, c.dead, c.backlog, c.open, c.redraw, c.redrawLag, c.up, c.unreplicated} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	age := func(t time.Time) float64 {
		if t.IsZero() {
			return 0
		}
		return time.Since(t).Seconds()
	}
	s, err := c.q.Outbox(ctx)
	if err != nil {
		gauge(c.up, 0)
		return
	}
	gauge(c.up, 1)
	ch <- prometheus.MustNewConstMetric(c.unreplicated, prometheus.CounterValue, float64(c.q.unreplicated.Load()))
	gauge(c.outbox, float64(s.Depth))
	gauge(c.dead, float64(s.Dead))
	gauge(c.oldest, age(s.Oldest))
	if n, oldest, err := c.q.RedrawStats(ctx); err == nil {
		gauge(c.redraw, float64(n))
		gauge(c.redrawLag, age(oldest))
	}
	routes, err := c.q.Routes(ctx)
	if err != nil {
		return
	}
	for _, r := range routes {
		if n, err := c.q.Waiting(ctx, r); err == nil {
			gauge(c.backlog, float64(n.Backlog), r)
			gauge(c.open, float64(n.Open), r)
		}
	}
}
