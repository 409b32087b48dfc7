package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// sizes measures a bot that tracks 100,000 spans.
func sizes(l *lab) {
	const tracked = 100_000
	px := seed(l, 10_000, 0)
	s := newStage(l, px, seeded, "SPANBOT_MAX_OPEN=25")
	track(l, s, tracked)
	var ready []time.Duration
	for i := range 5 {
		if i > 0 {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
			s.cmd = newCommand(s.cmd)
		}
		s.start()
		ready = append(ready, s.ready)
	}
	l.report(median(ready) <= time.Second, "start → ready: ≤ 1 s", "%s", ms(median(ready)))
	cards := s.cards(25)
	for i := range 60 {
		s.stored(cards[i%25], []string{rig.Alice, rig.Bob}[(i/25)%2], []string{"up", "down"}[i/50])
	}
	var peak []int
	for range 5 {
		time.Sleep(2 * time.Second)
		peak = append(peak, rss(l, s.cmd.Process.Pid))
	}
	top := slices.Max(peak)
	l.report(top <= 40<<10, "resident memory with 100 k tracked spans, polling and taking clicks: ≤ 40 MB", "%.1f MB", float64(top)/1024)
}

// track fills Redis with judged cards, as a team leaves them behind.
func track(l *lab, s *stage, n int) {
	instance := rig.TeamID + "@" + strings.TrimPrefix(s.phoenix.URL, "http://")
	q, err := queue.Open(context.Background(), s.redis.URL, queue.Options{Instance: instance})
	if err != nil {
		l.Fatalf("%v", err)
	}
	defer func() { _ = q.Close() }()
	one := 1.0
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				trace, span := fmt.Sprintf("%032x", i), fmt.Sprintf("%016x", i)
				_, err := q.Change(context.Background(), "main", trace, func(t *review.Thread) (queue.Step, error) {
					t.Project = seeded
					t.Place(review.Card{SpanID: span, Channel: rig.Reviews, TS: fmt.Sprintf("1758000000.%06d", i), Rubric: "cafe0123", Posted: time.Now(), Summary: "What is it?  →  It is this."}, "")
					j := review.Judgement{Ref: review.Ref{Route: "main", TraceID: trace, SpanID: span}, Name: "correctness", Rubric: "cafe0123",
						Reviewer: review.Reviewer{Team: rig.TeamID, ID: rig.Alice}, Answer: review.Answer{Label: "correct", Score: &one}, At: time.Now().Truncate(time.Millisecond)}
					t.Judge(j)
					t.Confirm(j, "")
					return queue.Step{}, nil
				})
				if err != nil {
					l.Errorf("%v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// rss is the resident size of a process in kB.
func rss(l *lab, pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		l.Fatalf("%v", err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")))
			if err != nil {
				l.Fatalf("%v", err)
			}
			return n
		}
	}
	l.Fatalf("no VmRSS")
	return 0
}
