package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/modeld"
)

// interrupted runs a command as a process, interrupts it when at fires, and wants
// it to end with exit code 1 and a word.
func interrupted(t *testing.T, at <-chan struct{}, want string, args ...string) {
	t.Helper()
	cmd := exec.Command("spanbot", args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	select {
	case <-at:
	case <-time.After(60 * time.Second):
		t.Fatalf("it never came so far: %s", errs.String())
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("it ended with %v, want exit code %d", err, exitFailed)
	}
	if !strings.Contains(errs.String(), want) {
		t.Errorf("%q does not say %q", errs.String(), want)
	}
}

// after fires once, with the nth call of its function.
func after(n int64) (fired chan struct{}, count func()) {
	fired = make(chan struct{})
	var seen atomic.Int64
	return fired, func() {
		if seen.Add(1) == n {
			close(fired)
		}
	}
}

func TestInterrupted_JudgeAndExperimentKeepWhatWasDone(t *testing.T) {
	var count atomic.Pointer[func()]
	b := newBench(t, modeld.Options{Latency: 20 * time.Millisecond, Seen: func(map[string]any) {
		if f := count.Load(); f != nil {
			(*f)()
		}
	}})
	const n = 300
	b.spans("p1", "correctness", "aaa", n)
	t.Setenv("PHOENIX_PROJECT", "p1")
	b.ok("dataset", "--name", "d1")
	b.ok("judge", "init", "--shots", "0")

	at, f := after(20)
	count.Store(&f)
	interrupted(t, at, "stopped; verdicts so far are in Phoenix; run it again to go on", "judge", "run", "--dataset", "d1", "--no-traces", "--concurrency", "4")
	asked := b.model.Requests()
	var judged struct {
		Had    int `json:"already_judged"`
		Judged int
	}
	if err := json.Unmarshal([]byte(b.ok("judge", "run", "--dataset", "d1", "--json", "--no-traces")), &judged); err != nil || judged.Had < 16 || judged.Had+judged.Judged != n {
		t.Errorf("%+v, %v", judged, err)
	}
	if more := b.model.Requests() - asked; more != int64(n-judged.Had) {
		t.Errorf("%d calls for the %d that were left", more, n-judged.Had)
	}

	at, f = after(40)
	count.Store(&f)
	run := []string{"experiment", "run", "--dataset", "d1", "--name", "x", "--prompt", "x", "--no-traces", "--concurrency", "4"}
	interrupted(t, at, "stopped; what was run is in Phoenix; go on with --resume ", run...)
	var list []struct{ ID string }
	if err := json.Unmarshal([]byte(b.ok("experiment", "show", "--dataset", "d1", "--json")), &list); err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	var went struct {
		Had  int `json:"already_run"`
		Runs int
	}
	if err := json.Unmarshal([]byte(b.ok(append(run, "--json", "--resume", list[0].ID)...)), &went); err != nil || went.Had < 8 || went.Had+went.Runs != n {
		t.Errorf("%+v, %v", went, err)
	}
}

func TestInterrupted_DatasetKeepsWhatWasUploaded(t *testing.T) {
	b := newBench(t, modeld.Options{})
	const n = 1010 // two uploads
	b.spans("p1", "correctness", "aaa", n)
	to, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	at, count := after(2)
	proxy := httputil.NewSingleHostReverseProxy(to)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/upload") {
			count()
			select {
			case <-at: // the second one never gets there
				_, _ = io.Copy(io.Discard, r.Body) // else nobody notices that it went
				<-r.Context().Done()
				return
			default:
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	defer srv.Close()
	t.Setenv("PHOENIX_PROJECT", "p1")
	interrupted(t, at, "stopped; examples that were uploaded stay; run it again to go on", "dataset", "--name", "d1", "--phoenix-endpoint", srv.URL)
	var r struct{ Created, Unchanged int }
	if err := json.Unmarshal([]byte(b.ok("dataset", "--name", "d1", "--json")), &r); err != nil || r.Unchanged == 0 || r.Created == 0 || r.Created+r.Unchanged != n {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestInterrupted_WhatOnlyReads(t *testing.T) {
	b := newBench(t, modeld.Options{})
	b.spans("p1", "correctness", "aaa", 12)
	t.Setenv("PHOENIX_PROJECT", "p1")
	b.ok("dataset", "--name", "d1")
	b.ok("judge", "init", "--shots", "0")
	to, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ hangs, want, args string }{
		{"span_annotations", "stopped; nothing was measured", "agreement"},
		{"span_annotations", "stopped; nothing was measured", "judge align --dataset d1"},
		{"/examples", "stopped; no file was written", "judge init --dataset d1 -o other.yaml"},
		{"/v1/experiments/", "stopped; nothing was compared", "experiment compare RXhwZXJpbWVudDox RXhwZXJpbWVudDoy"},
	} {
		at, count := after(1)
		proxy := httputil.NewSingleHostReverseProxy(to)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, tt.hangs) {
				count()
				<-r.Context().Done()
				return
			}
			proxy.ServeHTTP(w, r)
		}))
		interrupted(t, at, tt.want, append(strings.Fields(tt.args), "--phoenix-endpoint", srv.URL)...)
		srv.Close()
	}
}
