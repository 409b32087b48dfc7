package phoenix

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// With Phoenix gone, fifty callers do not make fifty connections: one at a time
// finds out, and when it answers all go on at once.
func TestCircuit_OneProbeAtATime_AndRecoveryAtOnce(t *testing.T) {
	var down atomic.Bool
	var dials, most, now atomic.Int64
	hold := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"data":[{"id":"UHJvamVjdDox","name":"p"}],"next_cursor":null}`))
	}))
	defer s.Close()
	c, err := New(Options{Endpoint: s.URL, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if down.Load() {
			dials.Add(1)
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			select {
			case <-hold:
			case <-ctx.Done():
			}
			return nil, &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := c.Project(ctx, "p")
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	c.http.CloseIdleConnections()
	down.Store(true)
	close(hold)
	for range circuitAfter {
		if err := ask(); review.KindOf(err) != review.Down {
			t.Fatalf("%v", err)
		}
	}
	hold = make(chan struct{})
	dials.Store(0)
	most.Store(0)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := ask(); review.KindOf(err) != review.Down {
				t.Errorf("%v", err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	close(hold)
	wg.Wait()
	if most.Load() > 1 {
		t.Errorf("%d connections were tried at once", most.Load())
	}
	down.Store(false)
	if err := ask(); err != nil {
		t.Errorf("the first call after it is back: %v", err)
	}
	for range 10 {
		wg.Go(func() {
			if err := ask(); err != nil {
				t.Errorf("after recovery: %v", err)
			}
		})
	}
	wg.Wait()
}
