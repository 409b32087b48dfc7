package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// run runs a program and returns how long it took, its largest resident size
// in bytes, and when its first line came.
func (l *lab) run(cmd *exec.Cmd) (whole time.Duration, rss int64, first time.Duration) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.Fatalf("%v", err)
	}
	cmd.Stderr = os.Stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		l.Fatalf("%v", err)
	}
	lines := 0
	for s := bufio.NewReaderSize(out, 1<<20); ; {
		_, err := s.ReadBytes('\n')
		if err != nil {
			break
		}
		if lines++; lines == 1 {
			first = time.Since(began)
		}
	}
	err = cmd.Wait()
	whole = time.Since(began)
	if err != nil || lines < 100 {
		l.Fatalf("%s: %v, %d lines", cmd.Path, err, lines)
	}
	return whole, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10, first
}

func previews(l *lab) {
	python := filepath.Join(rig.Root(l), ".cache", "phoenix-"+rig.PhoenixVersion(), "bin", "python")
	preview := func(px *rig.PhoenixServer) *exec.Cmd {
		cmd := exec.Command(l.bot, "preview", "--limit", "100", "--json")
		cmd.Env = []string{"PHOENIX_ENDPOINT=" + px.URL, "PHOENIX_PROJECT=" + seeded, "HOME=" + os.TempDir()}
		return cmd
	}
	client := func(px *rig.PhoenixServer) *exec.Cmd {
		cmd := exec.Command(python, filepath.Join(rig.Root(l), "bench", "fastest.py"), px.URL, seeded)
		cmd.Env = append(os.Environ(), "PYTHONWARNINGS=ignore")
		return cmd
	}
	px := seed(l, 10_000, 0)
	var ours, theirs []time.Duration
	var ourSize, theirSize int64
	for i := range 6 {
		a, m, _ := l.run(preview(px))
		b, n, _ := l.run(client(px))
		if i > 0 {
			ours, theirs = append(ours, a), append(theirs, b)
			ourSize, theirSize = max(ourSize, m), max(theirSize, n)
		}
	}
	a, b := median(ours), median(theirs)
	l.report(10*a <= b, "`preview --limit 100 --json` of 10 k unannotated root spans: ≤ 1/10 of the time of the official Python client's fastest way", "%s against %s: 1/%.1f", ms(a), ms(b), float64(b)/float64(a))
	l.report(10*ourSize <= theirSize, "the same: ≤ 1/10 of its memory", "%d MB against %d MB: 1/%.1f", ourSize>>20, theirSize>>20, float64(theirSize)/float64(ourSize))
	px.Stop()

	px = seed(l, 10_000, 9_900)
	var firsts, wholes []time.Duration
	for i := range 6 {
		w, _, f := l.run(preview(px))
		if i > 0 {
			firsts, wholes = append(firsts, f), append(wholes, w)
		}
	}
	l.report(median(firsts) <= time.Second, "the same where "+strconv.Itoa(9_900)+" of them are annotated: ≤ 1 s to the first hit", "%s to the first, %s to the hundredth", ms(median(firsts)), ms(median(wholes)))
}
