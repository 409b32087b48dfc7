// Package local keeps stand-ins to this machine: they have no accounts, and a
// browser here reaches them.
package local

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Foreign says why a request is refused that a web page of somebody else may
// have sent; "" when none did. Names that lead to this machine are the trick of
// such pages (DNS rebinding), so the host must be spelled as this machine's; and a
// page of another origin says so. origins are taken beside the server's own; who
// is the server's name in the words.
//
// A connection in memory has no host to be spelled.
func Foreign(r *http.Request, who string, origins ...string) string {
	at, isTCP := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if isTCP && at != nil && !here(r.Host) {
		return who + " answers to localhost only."
	}
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(origins, origin) {
		return ""
	}
	if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
		return who + " answers to its own pages only."
	}
	return ""
}

// Listener refuses an address that other machines reach; the words say what to
// use instead.
func Listener(a net.Addr, who string) error {
	t, isTCP := a.(*net.TCPAddr)
	if !isTCP || t.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s has no accounts and listens on this machine only, not on %s; use 127.0.0.1:%d", who, a, t.Port)
}

// here reports whether a Host header is spelled as this machine's.
func here(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
