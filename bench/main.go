// Command bench measures what Spanbot promises, on the real servers, and says
// of each promise whether it holds: promised, measured, yes or no.
//
//	go run ./bench            # all; writes docs/benchmarks.md
//	go run ./bench -only poll # one group; writes nothing, or with -o a table of its own
//	go run ./bench -only load,channels,tracked,million -o docs/benchmarks-load.md
//	go run ./bench -only load -small # to try a group out
//	go run ./bench -only evals/dataset # a part of a group: evals has size, judge, experiment, dataset
//
// Speed is promised as a ratio of two things measured in one run, in turns, so
// that a slow or busy machine slows both. Nothing here is a test: make test
// does not know it.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// result is one promise and what came of it.
type result struct {
	promise  string
	measured string
	holds    bool
}

// lab is what the groups measure with.
type lab struct {
	rig.TB
	bot     string // the built binary
	results []result
	redis   string
	small   bool // to try a group out: what it says then is no figure
	part    string
}

// wants reports that a part of the group is to be measured: each, where none is named.
func (l *lab) wants(part string) bool { return l.part == "" || l.part == part }

func (l *lab) report(holds bool, promise, measured string, args ...any) {
	r := result{promise, fmt.Sprintf(measured, args...), holds}
	l.results = append(l.results, r)
	fmt.Printf("%-4s %s\n     measured: %s\n", yes(holds), r.promise, r.measured)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

var groups = []struct {
	name string
	run  func(*lab)
}{
	{"clicks", clicks}, {"redraw", redraws}, {"poll", polls}, {"preview", previews}, {"size", sizes}, {"demo", demos},
	{"load", loads}, {"channels", channels}, {"tracked", trackeds}, {"million", millions}, {"evals", evalLoop},
}

func main() {
	only := flag.String("only", "", "groups, with commas between them: clicks, redraw, poll, preview, size, demo, load, channels, tracked, million, evals; evals/dataset is a part of one")
	out := flag.String("o", "", "where the table goes; docs/benchmarks.md when all groups run")
	small := flag.Bool("small", false, "try the groups that take long with small sizes")
	phoenix := flag.Int("phoenix", 0, "for the group million itself: be a stand-in Phoenix with so many spans")
	flag.Parse()
	if *phoenix > 0 {
		fmt.Println(servePhoenix(*phoenix))
		os.Exit(1)
	}
	if *out == "" && *only == "" {
		*out = "docs/benchmarks.md"
	}
	_ = os.Setenv("SPANBOT_TEST_REQUIRE", "all")
	var results []result
	failed := false
	redis := ""
	for _, g := range groups {
		for _, asked := range strings.Split(*only, ",") {
			name, part, _ := strings.Cut(asked, "/")
			if name != "" && name != g.name {
				continue
			}
			fmt.Printf("== %s %s\n", g.name, part)
			err := rig.Program(func(tb rig.TB) {
				l := &lab{TB: tb, bot: buildBot(tb), small: *small, part: part}
				g.run(l)
				results = append(results, l.results...)
				if l.redis != "" {
					redis = l.redis
				}
			})
			if err != nil {
				fmt.Printf("NO   %s could not be measured: %v\n", g.name, err)
				failed = true
			}
		}
	}
	failed = failed || slices.ContainsFunc(results, func(r result) bool { return !r.holds })
	if *out != "" {
		if err := write(*out, results, redis); err != nil {
			fmt.Println(err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func buildBot(tb rig.TB) string {
	path := filepath.Join(rig.Root(tb), ".cache", "bench", "spanbot")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/bot")
	cmd.Dir = rig.Root(tb)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// with names a part that took part; "" where it did not.
func with(part string) string {
	if part == "" {
		return ""
	}
	return ", " + part
}

// write makes the table.
func write(path string, results []result, redis string) error {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nWritten by `make bench`; do not edit. Each figure is a median of five or a percentile as it says; ratios are of two things measured in turns in one run.\n\n")
	fmt.Fprintf(&b, "Machine: %d cores, %s, %s. Go %s, Phoenix %s (SQLite)%s. %s.\n\n", runtime.NumCPU(), cpu(), memory(),
		strings.TrimPrefix(runtime.Version(), "go"), rig.PhoenixVersion(), with(redis), time.Now().UTC().Format("2006-01-02"))
	b.WriteString("| promised | measured | held |\n|---|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.promise, r.measured, strings.ToLower(yes(r.holds)))
	}
	b.WriteString("\nWhat is promised of memory while huge spans are read, and of the size of a card in Redis, is held by tests: `internal/phoenix/memory_test.go`, `internal/queue/memory_test.go`.\n")
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func cpu() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

func memory() string {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "memory unknown"
	}
	var kb int
	if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kb); err != nil {
		return "memory unknown"
	}
	return fmt.Sprintf("%d GiB", (kb+1<<19)>>20)
}

// quantile of durations, q in [0, 1].
func quantile(ds []time.Duration, q float64) time.Duration {
	s := slices.Sorted(slices.Values(ds))
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

func median(ds []time.Duration) time.Duration { return quantile(ds, .5) }

func ms(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
