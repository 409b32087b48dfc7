package bot

import (
	"context"
	"fmt"
	"slices"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

// tryAgain sends to Phoenix once more what it refused of a card, for all of its
// reviewers: why it was refused may be mended by now.
func (b *Bot) tryAgain(ctx context.Context, c slackui.Click) error {
	t, err := b.queue.Thread(ctx, c.Ref.Route, c.Ref.TraceID)
	if err != nil {
		return notSent(err)
	}
	card := t.Card(c.Ref.SpanID)
	if card == nil {
		return &review.Error{Kind: review.Gone, Text: "Nothing was sent: this card is not known any more. Judge it again instead."}
	}
	sent, gone := 0, 0
	for _, v := range card.Votes {
		if v.Delivery != review.Failed {
			continue
		}
		key := b.keyOf(c.Ref, v, prefixOf(c.Ref.Route))
		l, ok, err := b.queue.DeadLetter(ctx, key)
		if err != nil {
			return notSent(err)
		}
		if !ok {
			gone++
			continue
		}
		if err := b.replay(ctx, l); err != nil {
			return notSent(err)
		}
		sent++
	}
	if sent == 0 && gone > 0 {
		return &review.Error{Kind: review.Gone, Text: "Nothing was sent: what was refused is not kept any more. Please judge this card again."}
	}
	return nil
}

func notSent(cause error) error {
	return &review.Error{Kind: review.Down, Text: "Not sent: our store does not answer right now. Please try again in a moment.", Err: cause}
}

// replay brings a dead letter back into the outbox.
func (b *Bot) replay(ctx context.Context, l Letter) error {
	_, err := b.queue.Change(ctx, l.Route, l.TraceID, func(t *review.Thread) (queue.Step, error) {
		if t.Project == "" {
			t.Project = l.Project
		}
		t.Retry(l.Judgement)
		return queue.Step{Put: []review.Judgement{l.Judgement}, Resent: true, Redraw: redrawOf(t, l.SpanID)}, nil
	})
	if err == nil {
		b.kick.send()
		b.redraw.send()
	}
	return err
}

// discard removes a dead letter for good. The history keeps what it said, and
// the card does not show it any more.
func (b *Bot) discard(ctx context.Context, l Letter, why string) error {
	_, err := b.queue.Change(ctx, l.Route, l.TraceID, func(t *review.Thread) (queue.Step, error) {
		if c := t.Card(l.SpanID); c != nil {
			if v := c.Find(l.Reviewer.ID, l.Name, l.OnTrace); v != nil && v.Delivery == review.Failed && v.At.Equal(l.At) {
				t.Follow(l.SpanID, slices.Clone(c.Votes), review.Difference{Missing: []review.Vote{*v}}, l.Given)
			}
		}
		return queue.Step{Drop: []queue.Dead{{Entry: l.Entry, Why: why}}, Redraw: redrawOf(t, l.SpanID)}, nil
	})
	return err
}

// Letter is a judgement that Phoenix does not have: on its way, or refused.
type Letter = queue.Letter

// Outbox looks at the judgements on their way to Phoenix, and at those that
// Phoenix refused. It works beside a running bot.
type Outbox struct{ b *Bot }

// OpenOutbox connects to what a bot with these settings uses.
func OpenOutbox(ctx context.Context, set Settings) (*Outbox, error) {
	b, err := connect(ctx, set)
	if err != nil {
		return nil, err
	}
	return &Outbox{b}, nil
}

// Close ends the connections.
func (o *Outbox) Close() error { return o.b.queue.Close() }

// List is all that is in the outbox, the oldest click first.
func (o *Outbox) List(ctx context.Context) ([]Letter, error) {
	var out []Letter
	for l, err := range o.b.queue.Letters(ctx) {
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Letter) int { return a.At.Compare(b.At) })
	return out, nil
}

// Find is what a key, or the start of one, names: exactly one.
func (o *Outbox) Find(ctx context.Context, key string) (Letter, error) {
	list, err := o.List(ctx)
	if err != nil {
		return Letter{}, err
	}
	var found []Letter
	for _, l := range list {
		if l.Key == key {
			return l, nil
		}
		if len(key) >= 6 && len(l.Key) > len(key) && l.Key[:len(key)] == key || l.SpanID == key {
			found = append(found, l)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Letter{}, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("nothing in the outbox is called %q; spanbot outbox list shows the keys", key)}
	}
	return Letter{}, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("%q names %d judgements; give the whole key, as spanbot outbox list shows it", key, len(found))}
}

// Replay sends a dead letter to Phoenix again; a running bot does it at once.
func (o *Outbox) Replay(ctx context.Context, l Letter) error {
	if !l.Dead {
		return &review.Error{Kind: review.Invalid, Text: l.Key + " is on its way to Phoenix already; nothing to replay"}
	}
	return o.b.replay(ctx, l)
}

// Drop removes a dead letter.
func (o *Outbox) Drop(ctx context.Context, l Letter) error {
	if !l.Dead {
		return &review.Error{Kind: review.Invalid, Text: l.Key + " is on its way to Phoenix; only what Phoenix refused can be dropped. Its reviewer can withdraw it in Slack"}
	}
	return o.b.discard(ctx, l, "dropped by an operator")
}
