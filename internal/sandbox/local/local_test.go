package local_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/sandbox/local"
)

func TestForeign(t *testing.T) {
	for _, k := range []struct {
		host, origin, want string
	}{
		{"127.0.0.1:8080", "", ""},
		{"localhost", "", ""},
		{"[::1]:8080", "http://[::1]:8080", ""},
		{"127.0.0.1:8080", "http://127.0.0.1:8080", ""},
		{"127.0.0.1:8080", "https://ours.example", ""},
		{"attacker.example:8080", "", "localhost only"},
		{"localhost.attacker.example", "", "localhost only"},
		{"127.0.0.1.attacker.example", "", "localhost only"},
		{"10.0.0.1:8080", "", "localhost only"},
		{"127.0.0.1:8080", "http://127.0.0.1:8081", "own pages only"},
		{"127.0.0.1:8080", "https://attacker.example", "own pages only"},
		{"127.0.0.1:8080", "null", "own pages only"},
		{"127.0.0.1:8080", "%", "own pages only"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}))
		r.Host = k.host
		if k.origin != "" {
			r.Header.Set("Origin", k.origin)
		}
		got := local.Foreign(r, "It", "https://ours.example")
		if (got == "") != (k.want == "") || !strings.Contains(got, k.want) {
			t.Errorf("host %s, origin %q: %q, want %q", k.host, k.origin, got, k.want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = "stand-in.test"
	if got := local.Foreign(r, "It"); got != "" {
		t.Errorf("in memory: %q", got)
	}
}

func TestListener(t *testing.T) {
	for address, good := range map[string]bool{"127.0.0.1": true, "::1": true, "0.0.0.0": false, "192.0.2.1": false, "::": false} {
		err := local.Listener(&net.TCPAddr{IP: net.ParseIP(address), Port: 8080}, "it")
		if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "use 127.0.0.1:8080") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := local.Listener(&net.UnixAddr{Name: "/s"}, "it"); err != nil {
		t.Errorf("a unix socket: %v", err)
	}
}
