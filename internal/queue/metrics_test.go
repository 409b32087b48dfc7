package queue

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

// scrape is what a scrape says, by name and, where it has one, route.
func scrape(t *testing.T, r prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			out[name] = m.GetGauge().GetValue()
		}
	}
	return out
}

func TestMetrics_AreReadFromRedisAtEachScrape(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			q := newQueue(t, s.start(t))
			registry := prometheus.NewRegistry()
			q.opts.Registry = registry
			q = New(q.c, q.opts)
			add(t, q, finds(1, 3)...)
			c, _ := claim(t, q, 0, time.Minute)
			if err := post(t, q, c); err != nil {
				t.Fatal(err)
			}
			judge(t, q, judgement(8, "U1", "correct", time.Now().Add(-time.Hour)))
			judge(t, q, judgement(9, "U1", "correct", time.Now()))
			e := lease(t, q, time.Minute)[0]
			if _, err := q.Change(t.Context(), "r", e.TraceID, func(*review.Thread) (Step, error) {
				return Step{Bury: []Dead{{Entry: e, Why: "refused"}}}, nil
			}); err != nil {
				t.Fatal(err)
			}
			judge(t, q, judgement(7, "U1", "correct", time.Now().Add(-2*time.Hour)))
			time.Sleep(5 * time.Millisecond)
			got := scrape(t, registry)
			for name, want := range map[string]float64{
				"spanbot_redis_up": 1, "spanbot_outbox_judgements": 2, "spanbot_outbox_dead_letters": 1,
				"spanbot_backlog_spans r": 2, "spanbot_open_cards r": 1, "spanbot_redraw_cards": 3,
			} {
				if v, ok := got[name]; !ok || v != want {
					t.Errorf("%s = %v %v; want %v", name, v, ok, want)
				}
			}
			if age := got["spanbot_outbox_oldest_age_seconds"]; age < 7200 || age > 7300 {
				t.Errorf("the oldest click is %v s old; want two hours", age)
			}
			if lag := got["spanbot_redraw_oldest_age_seconds"]; lag <= 0 || lag > 60 {
				t.Errorf("the redraw lag is %v s", lag)
			}
		})
	}
}

func TestMetrics_ScrapeOfADeadRedisIsQuickAndSaysSo(t *testing.T) {
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer c.Close()
	registry := prometheus.NewRegistry()
	New(c, Options{Instance: "x", Registry: registry})
	start := time.Now()
	got := scrape(t, registry)
	if up, ok := got["spanbot_redis_up"]; !ok || up != 0 || len(got) != 1 {
		t.Errorf("%v; want nothing but that it is down", got)
	}
	if d := time.Since(start); d > scrapeTimeout+time.Second {
		t.Errorf("it took %s", d)
	}
}
