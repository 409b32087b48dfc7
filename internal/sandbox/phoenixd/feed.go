package phoenixd

import (
	"log/slog"
	"time"
)

// Source makes the spans of one recorded trace that ended about then, with ids
// that were never used, in the shape of POST /v1/projects/{p}/spans.
type Source func(then time.Time) []map[string]any

const (
	defaultStart = 8
	defaultEvery = 20 * time.Second
)

// feeder sends recorded traces, one after the other and round again.
type feeder struct {
	server  *Server
	project string
	sources []Source
	next    int
}

func (f *feeder) send(then time.Time) {
	source := f.sources[f.next%len(f.sources)]
	f.next++
	if err := f.server.Ingest(f.project, source(then)...); err != nil {
		// A mistake in the recording: the others are as good as before.
		slog.Error("a recorded trace was left out", "number", (f.next-1)%len(f.sources)+1, "err", err)
	}
}

// run sends the first traces as if they had come before, then one at a time.
func (f *feeder) begin(start int, every time.Duration) {
	now := time.Now()
	for i := range start {
		f.send(now.Add(-every * time.Duration(start-1-i)))
	}
}

func (f *feeder) run(every time.Duration) {
	defer f.server.running.Done()
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-f.server.done:
			return
		case now := <-t.C:
			f.send(now)
		}
	}
}
