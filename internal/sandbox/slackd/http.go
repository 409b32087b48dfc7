package slackd

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/slackcall"
)

// eventWaits are the pauses before an event is sent again (docs.slack.dev,
// Events API).
var eventWaits = []time.Duration{0, time.Minute, 5 * time.Minute}

// request delivers by HTTP mode: signed, and for events up to three times more.
func (s *Server) request(kind string, payload obj, answered func(json.RawMessage)) error {
	body, contentType, err := encode(kind, payload)
	if err != nil {
		return err
	}
	answer, reason, again := s.post(body, contentType, 0, "")
	if reason == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		if answered != nil {
			answered(answer)
		}
		return nil
	}
	if kind == "events_api" && again {
		s.spawn(func() {
			for i, wait := range eventWaits {
				t := time.NewTimer(wait)
				select {
				case <-t.C:
				case <-s.done:
					t.Stop()
					return
				}
				if _, reason, again = s.post(body, contentType, i+1, reason); reason == "" || !again {
					return
				}
			}
		})
	}
	return errNoAck
}

// encode is the body of a request of that kind.
func encode(kind string, payload obj) (body, contentType string, err error) {
	const form = "application/x-www-form-urlencoded"
	if kind == "slash_commands" {
		values := url.Values{}
		for k, v := range payload {
			values.Set(k, slackcall.Text(v))
		}
		return values.Encode(), form, nil
	}
	b, err := json.Marshal(payload)
	if err != nil || kind == "events_api" {
		return string(b), "application/json", err
	}
	return url.Values{"payload": {string(b)}}.Encode(), form, nil
}

// post sends one signed request. reason is why it counts as not taken: Slack's
// word for X-Slack-Retry-Reason; again, whether the app takes it once more.
func (s *Server) post(body, contentType string, retry int, why string) (answer json.RawMessage, reason string, again bool) {
	r, err := http.NewRequest(http.MethodPost, s.o.HTTP, strings.NewReader(body))
	if err != nil {
		return nil, "connection_failed", false
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
	r.Header.Set("X-Slack-Request-Timestamp", stamp)
	r.Header.Set("X-Slack-Signature", slackcall.Sign(s.tokens.signing, stamp, body))
	if retry > 0 {
		r.Header.Set("X-Slack-Retry-Num", strconv.Itoa(retry))
		r.Header.Set("X-Slack-Retry-Reason", why)
	}
	client := *s.client
	client.Timeout = ackWithin
	resp, err := client.Do(r)
	if err != nil {
		if t, is := err.(interface{ Timeout() bool }); is && t.Timeout() {
			return nil, "http_timeout", true
		}
		return nil, "connection_failed", true
	}
	defer resp.Body.Close()
	again = resp.Header.Get("X-Slack-No-Retry") != "1"
	if resp.StatusCode != http.StatusOK {
		return nil, "http_error", again
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, "http_error", again
	}
	if s.loseAck() {
		return nil, "http_timeout", again
	}
	if !json.Valid(b) { // a text, or nothing
		b = []byte(fmt.Sprintf("%q", b))
		if string(b) == `""` {
			b = nil
		}
	}
	return b, "", again
}
