package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/browser"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// demos measures the product with nothing configured.
func demos(l *lab) {
	info, err := os.Stat(l.bot)
	if err != nil {
		l.Fatalf("%v", err)
	}
	l.report(info.Size() <= 35<<20, "binary, all stand-ins in it: ≤ 35 MB", "%.1f MB", float64(info.Size())/(1<<20))

	chromium := browser.Start(l)
	b := rig.Bot(l, l.bot)
	l.redis = regexp.MustCompile(`(redis|valkey)-server [0-9.]+`).FindString(b.Output())
	ready, card := []time.Duration{}, []time.Duration{}
	for i := range 5 {
		if i > 0 {
			b.Stop()
			b.Start()
		}
		w := chromium.Workspace(b.Workspace, "Ana", browser.Look{})
		w.Card("")
		card, ready = append(card, time.Since(b.Started)), append(ready, b.Ready)
		w.Forget()
		w.Close()
	}
	l.report(median(ready) <= time.Second, "demo: binary starts → ready: ≤ 1 s", "%s", ms(median(ready)))
	l.report(median(card) <= 5*time.Second, "demo: binary starts → first card to be seen in a browser: ≤ 5 s", "%s (with the browser's own start of the page; the first start %s, the fifth on the same kept queue %s)",
		ms(median(card)), ms(card[0]), ms(card[4]))

	// Somebody looks, clicks and scrolls for a minute, two tabs open.
	ana := chromium.Workspace(b.Workspace, "Ana", browser.Look{})
	ben := chromium.Workspace(b.Workspace, "Ben", browser.Look{})
	top, child := 0, 0
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if browser.Eval[bool](ana.Tab, `document.querySelector('[data-testid^="message-"] [data-action-id="up"]') !== null`) {
			c := ana.Card("")
			ana.Tap(c, "up")
			ben.Says(c, "Ana") // its buttons went behind ⋯
			ben.Tap(c, "down")
		}
		r, err := http.Get(b.Phoenix.URL + "/")
		if err != nil {
			l.Fatalf("%v", err)
		}
		r.Body.Close()
		top = max(top, rss(l, b.PID))
		for _, pid := range children(b.PID) {
			child = max(child, rss(l, pid))
		}
		time.Sleep(time.Second)
	}
	l.report(top+child <= 80<<10, "demo: resident memory of bot, stand-ins and queue: ≤ 80 MB", "%.1f MB, %.1f of them the queue's process", float64(top+child)/1024, float64(child)/1024)
}

// children are the processes that a process has started.
func children(pid int) []int {
	var list []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil && !slices.Contains(list, n) {
				list = append(list, n)
			}
		}
	}
	return list
}
