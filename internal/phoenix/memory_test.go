package phoenix

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// hugePages serves a page of n spans; write writes the attributes of each.
func hugePages(t *testing.T, n int, write func(w *bufio.Writer)) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		out := bufio.NewWriterSize(w, 64<<10)
		fmt.Fprint(out, `{"data":[`)
		for i := range n {
			if i > 0 {
				out.WriteByte(',')
			}
			fmt.Fprintf(out, `{"id":"%s","name":"huge","context":{"trace_id":"%032x","span_id":"%016x"},"span_kind":"LLM","parent_id":null,`+
				`"start_time":"2026-11-01T12:00:00+00:00","end_time":"2026-11-01T12:00:01+00:00","status_code":"OK","status_message":"","attributes":{`,
				cursor(int64(1000-i)), i, i)
			write(out)
			fmt.Fprint(out, `},"events":[]}`)
		}
		fmt.Fprint(out, `],"next_cursor":null}`)
		out.Flush()
	}))
	t.Cleanup(srv.Close)
	return srv
}

// peak watches the memory of the process until stop is called.
func peak() (stop func() (heap, rss uint64)) {
	debug.FreeOSMemory() // what the case before left behind
	done, result := make(chan struct{}), make(chan [2]uint64)
	go func() {
		var most [2]uint64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most[0], most[1] = max(most[0], m.HeapInuse+m.StackInuse), max(most[1], residentSet())
			select {
			case <-done:
				result <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() (uint64, uint64) {
		close(done)
		m := <-result
		return m[0], m[1]
	}
}

// aloneKey tells a test that its process is its own.
const aloneKey = "SPANBOT_TEST_ALONE"

// residentSet is the process's RSS in bytes; 0 where /proc does not tell.
func residentSet() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages uint64
	_, _ = fmt.Sscan(string(b), &size, &pages)
	return pages * uint64(os.Getpagesize())
}

func TestHundredSpansOfTenMegabytesStayWithinHundredMegabytes(t *testing.T) {
	if os.Getenv(aloneKey) == "" {
		// In a process of its own: what other tests hold is not to be measured.
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), aloneKey+"=1")
		out, err := cmd.CombinedOutput()
		if t.Logf("%s", out); err != nil {
			t.Error(err)
		}
		return
	}
	chunk := strings.Repeat(`ten megabytes of \"quoted\" text, \u00e4\n`, 1+(64<<10)/40)
	tests := []struct {
		name  string
		spans int
		write func(w *bufio.Writer)
		more  bool
	}{
		{"one text", 100, func(w *bufio.Writer) {
			w.WriteString(`"input.value":"why?","output.value":"`)
			for n := 0; n < 10<<20; n += len(chunk) {
				w.WriteString(chunk)
			}
			w.WriteByte('"')
		}, true},
		{"a thousand messages", 30, func(w *bufio.Writer) {
			for i := range 1000 {
				if i > 0 {
					w.WriteByte(',')
				}
				fmt.Fprintf(w, `"llm.output_messages.%d.message.content":"%s"`, i, chunk[:len(chunk)/40*10/40*40])
			}
		}, true},
		{"an embedding", 30, func(w *bufio.Writer) {
			w.WriteString(`"output.value":"x","embedding.embeddings.0.embedding.vector":[0.123456789`)
			for n := 0; n < 10<<20; n += 12 {
				w.WriteString(",-0.12345678")
			}
			w.WriteByte(']')
		}, false},
	}
	if raceEnabled {
		tests = tests[:1] // a gigabyte takes ten times as long
		tests[0].spans = 10
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := hugePages(t, tt.spans, tt.write)
			c, err := New(Options{Endpoint: srv.URL})
			if err != nil {
				t.Fatal(err)
			}
			stop := peak()
			var rows []Row // a caller that keeps the page
			start := time.Now()
			for r, err := range c.Newest(t.Context(), Query{Project: "p"}, 0) {
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, r)
			}
			took := time.Since(start)
			heap, rss := stop()
			t.Logf("%v, heap %d MB, RSS %d MB", took.Round(time.Millisecond), heap>>20, rss>>20)
			if len(rows) != tt.spans || rows[0].Row != 1000 {
				t.Fatalf("%d spans", len(rows))
			}
			last := rows[tt.spans-1].Span
			text := last.Output
			if a := last.Answer(); a != nil {
				text = a.Content
			}
			if text.Empty() || tt.more != (text.More > 0) {
				t.Errorf("the last text has %d characters and %d more", len(text.Head), text.More)
			}
			if heap > 100<<20 {
				t.Errorf("the heap grew to %d MB", heap>>20)
			}
			if rss > 100<<20 && !raceEnabled {
				t.Errorf("the process grew to %d MB", rss>>20)
			}
		})
	}
}

func TestPageThatTakesTooLongIsReadInSmallerOnes(t *testing.T) {
	var limits []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := r.URL.Query().Get("limit")
		limits = append(limits, limit)
		w.Header().Set("Content-Type", "application/json")
		if limit != "1" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, `{"data":[],"next_cursor":null}`)
	}))
	defer srv.Close()
	c, err := New(Options{Endpoint: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	c.patience = 50 * time.Millisecond
	for _, err := range c.Newest(t.Context(), Query{Project: "p", Filter: review.Filter{}}, 0) {
		t.Errorf("a row or an error: %v", err)
	}
	if got := strings.Join(limits, " "); got != "100 10 1" {
		t.Errorf("pages of %s", got)
	}
}
