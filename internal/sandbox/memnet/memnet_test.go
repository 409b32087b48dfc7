package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/memnet"
)

func TestNet_HTTPInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memnet.Net
		l := n.Listen("a.test:80")
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Hour) // nobody waits for it
			_, _ = io.Copy(w, r.Body)
		})}
		go func() { _ = s.Serve(l) }()
		c := &http.Client{Transport: &http.Transport{DialContext: n.Dial}}
		r, err := c.Post("http://a.test/", "text/plain", bytes.NewReader(make([]byte, 1<<20)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		if err != nil || len(b) != 1<<20 {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		r.Body.Close()
		c.CloseIdleConnections()
		_ = s.Close()
		time.Sleep(time.Second) // a server's connections take their time to end
		if _, err := n.Dial(t.Context(), "tcp", "a.test:80"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed listener: %v", err)
		}
		if _, err := n.Dial(t.Context(), "tcp", "b.test:80"); err == nil {
			t.Error("nobody listens at b.test, and it answers")
		}
	})
}

// An end that writes much before it reads does not stop the other; what was
// written before the end arrives; a deadline is kept.
func TestNet_Buffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memnet.Net
		n.Serve("echo:1", func(context.Context) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				_, _ = io.Copy(there, there)
				there.Close()
			}()
			return here, nil
		})
		c, err := n.Dial(t.Context(), "tcp", "echo:1")
		if err != nil {
			t.Fatal(err)
		}
		sent := bytes.Repeat([]byte("0123456789"), 100_000)
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("it comes back changed: %v", err)
		}
		start := time.Now()
		_ = c.SetReadDeadline(start.Add(time.Minute))
		var late net.Error
		if _, err := c.Read(got); !errors.As(err, &late) || !late.Timeout() || time.Since(start) != time.Minute {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		c.Close()
	})
}
