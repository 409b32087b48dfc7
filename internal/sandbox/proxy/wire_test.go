package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestHTTP_FaultsReachTheClientAndAreStamped(t *testing.T) {
	var served atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(w, r.Body)
	}))
	defer server.Close()
	p := NewHTTP(t, server.URL)
	tests := []struct {
		name   string
		fault  *HTTPFault
		status int    // 0: the client gets an error
		body   string // begins so
		served bool
	}{
		{"no fault", nil, 200, `{"a":1}`, true},
		{"a status", &HTTPFault{Status: 503, Body: "busy", Header: http.Header{"Retry-After": {"2"}}}, 503, "busy", false},
		{"a page of the UI", &HTML, 200, "<!DOCTYPE", false},
		{"a cut connection", &HTTPFault{Cut: true}, 0, "", false},
		{"done, and the answer lost", &HTTPFault{Accept: true, Cut: true}, 0, "", true},
		{"done, and no answer", &HTTPFault{Accept: true, Hang: true}, 0, "", true},
		{"never answered", &HTTPFault{Hang: true}, 0, "", false},
		{"a delay", &HTTPFault{Delay: 50 * time.Millisecond}, 200, `{"a":1}`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p.Heal()
			p.Forget()
			served.Store(0)
			if tt.fault != nil {
				p.Fail("POST /v1/x", 1, *tt.fault)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/v1/x?y=1", strings.NewReader(`{"a":1}`))
			resp, err := http.DefaultClient.Do(req)
			status, body := 0, ""
			if err == nil {
				b, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				status, body = resp.StatusCode, string(b)
			}
			if status != tt.status || !strings.HasPrefix(body, tt.body) {
				t.Errorf("got %d %q, %v", status, body, err)
			}
			if got := served.Load() == 1; got != tt.served {
				t.Errorf("the server did it: %v", got)
			}
			cancel()
			var all []Exchange
			for range 100 {
				if all = p.Exchanges("POST /v1"); len(all) == 1 {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			if len(all) != 1 || all[0].Status != tt.status || all[0].Query != "y=1" || all[0].Failed != (tt.fault != nil) || all[0].End.Before(all[0].Start) {
				t.Errorf("exchanges = %+v", all)
			}
		})
	}
}

func TestHTTP_DownIsAServerThatIsNotThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	p := NewHTTP(t, server.URL)
	p.Down(true)
	if resp, err := http.Get(p.URL); err == nil {
		resp.Body.Close()
		t.Errorf("got %s", resp.Status)
	}
	p.Heal()
	resp, err := http.Get(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	server.Close()
	if resp, err := http.Get(p.URL); err == nil {
		resp.Body.Close()
		t.Errorf("the server has stopped: %s", resp.Status)
	}
}

// echo is a server that answers each line with itself.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	return l.Addr().String()
}

func TestTCP_BreaksTheWireAsTold(t *testing.T) {
	p := NewTCP(t, "tcp", echo(t))
	// ask sends a line and returns how the answer came: "ok", "timeout" or "cut".
	ask := func(c net.Conn) string {
		_ = c.SetDeadline(time.Now().Add(150 * time.Millisecond))
		if _, err := fmt.Fprintln(c, "x"); err != nil {
			return "cut"
		}
		_, err := bufio.NewReader(c).ReadString('\n')
		var e net.Error
		switch {
		case err == nil:
			return "ok"
		case errors.As(err, &e) && e.Timeout():
			return "timeout"
		}
		return "cut"
	}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := dial()
	if got := ask(c); got != "ok" {
		t.Fatalf("plain: %s", got)
	}
	p.Cut()
	if got := ask(c); got != "cut" {
		t.Errorf("cut: %s", got)
	}
	c = dial()
	if got := ask(c); got != "ok" {
		t.Errorf("a new connection after the cut: %s", got)
	}
	p.Stall(true)
	if got := ask(c); got != "timeout" {
		t.Errorf("stalled: %s", got)
	}
	p.Stall(false)
	c = dial()
	p.LoseAnswers(true)
	if got := ask(c); got != "timeout" {
		t.Errorf("lost answers: %s", got)
	}
	p.LoseAnswers(false)
	c = dial()
	p.Slow(30 * time.Millisecond)
	start := time.Now()
	if got := ask(c); got != "ok" || time.Since(start) < 60*time.Millisecond {
		t.Errorf("slow: %s after %v", got, time.Since(start))
	}
	p.Slow(0)
	p.Refuse(true)
	if got := ask(dial()); got != "cut" {
		t.Errorf("refused: %s", got)
	}
}
