package slackui

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack/socketmode"

	"github.com/spanbot/spanbot/internal/review"
)

const (
	// maxAck is the size from which Slack drops the ack of an envelope silently.
	maxAck = 20_000
	// flush is how long queued acks get to reach the wire when we stop.
	flush = 200 * time.Millisecond
)

// Run takes interactions by Socket Mode until ctx ends, then finishes those in
// hand. It returns early only with what cannot heal: a token that Slack refuses.
func (m *Mux) Run(ctx context.Context) error {
	options := []socketmode.Option{socketmode.OptionLog(log.New(io.Discard, "", 0))}
	if m.c.opts.Dial != nil {
		options = append(options, socketmode.OptionDialer(&websocket.Dialer{NetDialContext: m.c.opts.Dial, HandshakeTimeout: callTimeout}))
	}
	socket := socketmode.New(m.c.api, options...)
	// The connection outlives ctx until the acks of what is in hand are written.
	conn, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	ended := make(chan error, 1)
	go func() { ended <- socket.RunContext(conn) }()
	defer m.up(false)
	for {
		select {
		case <-ctx.Done():
			m.up(false)
			m.running.Wait()
			_ = sleep(conn, flush)
			hangUp()
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				m.log.Debug("the Socket Mode connection ended", "error", err)
			}
			return nil
		case err := <-ended:
			m.running.Wait()
			return &review.Error{Kind: review.Denied, Err: err,
				Text: "Slack refuses the Socket Mode connection; check SLACK_APP_TOKEN (xapp-…, scope connections:write) and that Socket Mode is switched on"}
		case e := <-socket.Events:
			m.dispatch(conn, socket, e)
		}
	}
}

func (m *Mux) up(on bool) {
	m.connected.Store(on)
	v := 0.0
	if on {
		v = 1
	}
	m.c.metrics.up.Set(v)
}

// dispatch hands an event to a worker. It does not wait for it: while the
// reader of the connection is blocked, Slack's pings go unseen.
func (m *Mux) dispatch(ctx context.Context, socket *socketmode.Client, e socketmode.Event) {
	received := time.Now()
	switch e.Type {
	case socketmode.EventTypeHello:
		m.up(true)
		if e.Request != nil && e.Request.NumConnections > 1 {
			m.log.Info("other processes share this app; each envelope goes to any one of them", "connections", e.Request.NumConnections)
		}
		return
	case socketmode.EventTypeConnecting:
		m.up(false)
		return
	case socketmode.EventTypeConnectionError, socketmode.EventTypeIncomingError, socketmode.EventTypeErrorWriteFailed:
		m.log.Warn("Socket Mode trouble; the connection is made anew", "event", e.Type, "data", errorText(e.Data))
		return
	}
	id, kind, raw, again := envelope(e)
	if id == "" {
		return
	}
	m.workers <- struct{}{}
	m.running.Go(func() {
		defer func() { <-m.workers }()
		h, first := m.seen.first(id)
		if first {
			h.ack = m.handle(ctx, kind, raw, received, again)
			close(h.done)
		} else {
			<-h.done
		}
		m.ack(ctx, socket, id, h.ack)
	})
}

// envelope is what an event carries. One that slack-go cannot parse is taken
// from its raw text: ours is the parser that counts.
func envelope(e socketmode.Event) (id, kind string, raw json.RawMessage, again bool) {
	if e.Request != nil && e.Request.EnvelopeID != "" {
		return e.Request.EnvelopeID, e.Request.Type, e.Request.Payload, e.Request.RetryAttempt > 0
	}
	if bad, ok := e.Data.(*socketmode.ErrorBadMessage); ok {
		var r socketmode.Request
		if json.Unmarshal(bad.Message, &r) == nil {
			return r.EnvelopeID, r.Type, r.Payload, r.RetryAttempt > 0
		}
	}
	return "", "", nil, false
}

func errorText(v any) string {
	if err, ok := v.(error); ok {
		return err.Error()
	}
	return ""
}

// handle answers one envelope by its type.
func (m *Mux) handle(ctx context.Context, kind string, raw json.RawMessage, received time.Time, again bool) any {
	switch kind {
	case "interactive":
		return m.interaction(ctx, raw, received, again)
	case "slash_commands":
		var c struct {
			Text string `json:"text"`
		}
		_ = json.Unmarshal(raw, &c) // without text it is a call for help
		return m.command(ctx, c.Text, received)
	case "events_api":
		return m.event(raw)
	}
	m.c.metrics.refused.WithLabelValues("unknown_type").Inc()
	return nil
}

func (m *Mux) ack(ctx context.Context, socket *socketmode.Client, id string, body any) {
	b := compact(body)
	if len(b) > maxAck {
		m.log.Error("an answer is too large for Slack and is left out", "bytes", len(b))
		b = nil
	}
	var payload any
	if b != nil {
		payload = json.RawMessage(b)
	}
	if err := socket.AckCtx(ctx, id, payload); err != nil {
		m.log.Warn("an ack could not be sent; Slack sends the envelope again", "error", err)
	}
}
