package slackui

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// maxBody is more than Slack sends: a view_submission carries the view, at
	// most 250 KB.
	maxBody = 1 << 20
	// maxSkew is how old a signed request may be.
	maxSkew = 5 * time.Minute
)

// Handler takes Slack's requests in HTTP mode: /slack/events,
// /slack/interactive and /slack/commands, each of which takes any kind, so that
// one URL is enough.
func (m *Mux) Handler() http.Handler {
	m.c.metrics.up.Set(1)
	mux := http.NewServeMux()
	for _, path := range []string{"/slack/events", "/slack/interactive", "/slack/commands"} {
		mux.HandleFunc("POST "+path, m.serve)
	}
	return mux
}

func (m *Mux) serve(w http.ResponseWriter, r *http.Request) {
	received := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		m.c.metrics.refused.WithLabelValues("too_large").Inc()
		http.Error(w, "the body is too large or incomplete", http.StatusRequestEntityTooLarge)
		return
	}
	if err := verify(received, r.Header, body, m.c.opts.SigningSecret); err != nil {
		m.c.metrics.refused.WithLabelValues("signature").Inc()
		m.log.Warn("a request that Slack did not sign was refused", "path", r.URL.Path, "from", r.RemoteAddr, "error", err)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	m.workers <- struct{}{}
	defer func() { <-m.workers }()
	w.Header().Set("X-Slack-No-Retry", "1") // what was answered was handled
	answer := compact(m.request(context.WithoutCancel(r.Context()), r.Header.Get("Content-Type"), body, received))
	if answer == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(answer)
}

// request tells the kinds apart by their shape, not by the path.
func (m *Mux) request(ctx context.Context, contentType string, body []byte, received time.Time) any {
	if strings.HasPrefix(contentType, "application/json") {
		return m.event(body)
	}
	form, err := url.ParseQuery(string(body))
	switch {
	case err != nil:
		m.c.metrics.refused.WithLabelValues("malformed").Inc()
		return nil
	case form.Get("ssl_check") == "1":
		return nil
	case form.Has("payload"):
		return m.interaction(ctx, []byte(form.Get("payload")), received, false)
	case form.Has("command"):
		return m.command(ctx, form.Get("text"), received)
	}
	m.c.metrics.refused.WithLabelValues("unknown_type").Inc()
	return nil
}

var (
	errUnsigned = errors.New("the request is not signed by Slack")
	errStale    = errors.New("the request is stale: its timestamp is more than five minutes off")
)

// verify checks Slack's signature over the raw body, in constant time: v0= and
// the hex HMAC-SHA256 of "v0:<timestamp>:<body>" under the signing secret
// (docs.slack.dev, verifying requests).
func verify(now time.Time, h http.Header, body []byte, secret string) error {
	stamp := h.Get("X-Slack-Request-Timestamp")
	sec, err := strconv.ParseInt(stamp, 10, 64)
	given, hexErr := hex.DecodeString(strings.TrimPrefix(h.Get("X-Slack-Signature"), "v0="))
	if err != nil || hexErr != nil || secret == "" || !strings.HasPrefix(h.Get("X-Slack-Signature"), "v0=") {
		return errUnsigned
	}
	if d := now.Sub(time.Unix(sec, 0)); d > maxSkew || d < -maxSkew {
		return errStale
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("v0:" + stamp + ":"))
	mac.Write(body)
	if !hmac.Equal(mac.Sum(nil), given) {
		return errUnsigned
	}
	return nil
}
