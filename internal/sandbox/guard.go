package sandbox

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// guard refuses what a web page of somebody else may have sent: there are no
// accounts, and a browser on this machine reaches us. A name that leads here is
// the trick of such pages (DNS rebinding), so the host must be spelled as this
// machine's; and a page of another origin says so. Slack's clients name Slack's
// own origin when they open the socket.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopback(r.Host) {
			http.Error(w, "This is a stand-in. It answers to localhost only.", http.StatusForbidden)
			return
		}
		if o := r.Header.Get("Origin"); o != "" && !sameOrigin(o, r.Host) && (r.URL.Path != "/link" || o != "https://api.slack.com") {
			http.Error(w, "This is a stand-in. It answers to its own pages only.", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host == host
}

func loopback(host string) bool {
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
