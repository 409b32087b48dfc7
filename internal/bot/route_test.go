package bot

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
)

func TestPhoenixBelowTheFloor_TheRouteWaitsAndGoesOnWhenItWasUpgraded(t *testing.T) {
	var version atomic.Value
	version.Store("14.9.0")
	px := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-phoenix-server-version", version.Load().(string))
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/v1/user":
			fmt.Fprint(w, `{"data":{"auth_method":"ANONYMOUS"}}`)
		default:
			fmt.Fprint(w, `{"data":[],"next_cursor":null}`)
		}
	}))
	defer px.Close()
	k := newClerk(t)
	c, err := phoenix.New(phoenix.Options{Endpoint: px.URL})
	if err != nil {
		t.Fatal(err)
	}
	k.b.phoenix = c
	r := newRoute(k.b, review.Route{Name: "main", Project: "p", Channel: "C1", Schedule: "@every 30s"})
	if err := r.prepare(t.Context()); review.KindOf(err) != review.Refused || !strings.Contains(r.waitsFor(), "15.4") || !strings.Contains(r.waitsFor(), "14.9.0") {
		t.Fatalf("%v; waits for %q", err, r.waitsFor())
	}
	version.Store("20.26.1")
	if err := r.prepare(t.Context()); review.KindOf(err) != review.Gone || strings.Contains(r.waitsFor(), "15.4") {
		t.Errorf("after the upgrade: %v; waits for %q; want only the project", err, r.waitsFor())
	}
}

func TestSlot_EachTickOfAScheduleHasItsOwn(t *testing.T) {
	for spec, want := range map[string]time.Duration{"@every 30s": 30 * time.Second, "0 9,17 * * *": time.Second, "*/5 9-17 * * 1-5": time.Second} {
		if got := newRoute(newClerk(t).b, review.Route{Schedule: spec}).slot(); got != want {
			t.Errorf("slot of %q = %s; want %s", spec, got, want)
		}
	}
}

func TestMetricNamesAreTidy(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	m.verdict("r", review.Post, 1)
	m.judged(review.Judgement{At: time.Now()}, "stored")
	m.posted.WithLabelValues("r").Inc()
	m.polls.WithLabelValues("r", "ok").Observe(1)
	m.outside.WithLabelValues("r").Set(1)
	m.degraded.WithLabelValues("r").Set(1)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
}
