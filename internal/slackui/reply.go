package slackui

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// words turns a failure into what a person is shown. This is the only place
// that does.
func words(err error) string {
	if t := review.TextOf(err); t != "" && review.KindOf(err) != review.Broken {
		return t
	}
	switch review.KindOf(err) {
	case review.Down, review.Unsure, review.Busy:
		return "Not saved: something does not answer right now. Please try again in a moment."
	}
	return "Not saved: something is broken in Spanbot. It was logged; please tell whoever runs it."
}

// reply tells one person that a tap did not do what it says. In a modal there
// is no place for that but the conversation it was opened from. It does not
// hold up the ack.
func (m *Mux) reply(_ context.Context, p payload, err error) any {
	text := words(err)
	c := Click{}
	c.where(p)
	m.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if p.URL != "" && m.respond(ctx, p.URL, text, c.ThreadTS) == nil {
			return
		}
		if c.Channel == "" || p.User.ID == "" {
			return
		}
		if err := m.c.Tell(ctx, c.Channel, p.User.ID, c.ThreadTS, text); err != nil {
			m.log.Warn("a person could not be told", "user", p.User.ID, "text", text, "error", err)
		}
	})
	return nil
}

// respond answers by the interaction's response_url, which works also where
// the bot cannot post.
func (m *Mux) respond(ctx context.Context, url, text, threadTS string) error {
	body := map[string]any{"response_type": "ephemeral", "replace_original": false, "text": escape(text)}
	if threadTS != "" {
		body["thread_ts"] = threadTS
	}
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := m.c.http.Do(req)
	if err := m.c.call("response_url", true, err); err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return &review.Error{Kind: review.Refused, Text: cmp.Or(resp.Status, "refused")}
	}
	return nil
}
