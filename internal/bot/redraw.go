package bot

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

const (
	// redrawLease is longer than Slack's pace may make one update wait.
	redrawLease = 90 * time.Second
	// silence is how long Phoenix may take before a card says that a judgement
	// is saved here and will be sent.
	silence = time.Second
	// sameDrawing is how long a replica trusts that a message says what it drew:
	// another one may have drawn it since, or someone deleted it.
	sameDrawing = 10 * time.Second
	// redrawPatience is how long a redraw waits for Phoenix: other cards wait, too.
	redrawPatience = 2 * time.Second
)

// redrawing makes cards in Slack say what the state says, oldest change first,
// each card once however often it changed. chat.update is the scarcest call.
func (b *Bot) redrawing(ctx context.Context) {
	wait := time.Millisecond
	for {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			b.redrawDue(ctx) // what was clicked last
			return
		case <-b.redraw:
		case <-t.C:
		}
		t.Stop()
		for b.redrawDue(ctx) && ctx.Err() == nil {
		}
		wait = b.set.Idle
		if due, ok, err := b.queue.NextRedraw(b.finish); err == nil && ok {
			wait = min(wait, max(time.Until(due), 50*time.Millisecond))
		}
	}
}

// redrawDue redraws the one that has been due longest and reports whether
// there was one.
func (b *Bot) redrawDue(ctx context.Context) bool {
	step, cancel := context.WithTimeout(b.finish, redrawLease)
	defer cancel()
	r, ok, err := b.queue.TakeRedraw(step, lease(redrawLease))
	if err != nil || !ok {
		if err != nil && ctx.Err() == nil {
			b.log.Warn("cards cannot be redrawn", "error", err)
		}
		return false
	}
	fault("redraw.taken")
	again, err := b.redrawOne(step, r)
	fault("redraw.drawn")
	if err != nil {
		wait := max(review.WaitOf(err), 5*time.Second)
		b.log.Warn("a card could not be redrawn; it is tried again", "trace", r.TraceID, "what", r.What, "in", wait, "error", err)
		again = time.Now().Add(wait)
	} else {
		b.metrics.redrawLag.Observe(time.Since(r.Due).Seconds())
	}
	switch err := b.queue.DoneRedraw(step, r, again); {
	case errors.Is(err, queue.ErrLost):
		// We stood still. What we drew then may be older than what another replica
		// drew meanwhile; what is drawn now is not.
		if _, err := b.redrawOne(step, r); err != nil {
			b.log.Warn("a card may say something old until it is drawn next", "trace", r.TraceID, "what", r.What, "error", err)
		}
	case err != nil:
		b.log.Warn("a redraw is done once more when its lease ends", "error", err)
	}
	return true
}

func (b *Bot) redrawOne(ctx context.Context, r queue.Redraw) (again time.Time, err error) {
	t, err := b.queue.Thread(ctx, r.Route, r.TraceID)
	if err != nil {
		return time.Time{}, err
	}
	if r.What == outlineKey {
		again, err = b.redrawOutline(ctx, t)
	} else {
		again, err = b.redrawCard(ctx, t, r.What)
	}
	switch review.KindOf(err) {
	case review.Gone:
		return time.Time{}, b.messageGone(ctx, r)
	case review.Denied:
		// A token or a channel that someone has to mend: the card waits for that.
		b.log.Warn("a card cannot be redrawn until it is mended", "trace", r.TraceID, "what", r.What, "error", err)
		return time.Now().Add(5 * time.Minute), nil
	case review.Refused, review.Invalid, review.Broken:
		// Trying again would change nothing; the state is safe.
		b.log.Error("Slack does not take an update", "trace", r.TraceID, "what", r.What, "error", err)
		return time.Time{}, nil
	}
	return again, err
}

// notAsked stands for a question that nobody knows any more.
var notAsked = review.Rubric{Question: "This question is no longer asked."}

// redrawCard draws one card from state. Something unconfirmed that is younger
// than a second gets no word yet: it is looked at again when it is older.
func (b *Bot) redrawCard(ctx context.Context, t review.Thread, spanID string) (again time.Time, err error) {
	card := t.Card(spanID)
	if card == nil || card.TS == "" {
		return time.Time{}, nil
	}
	ref := review.Ref{Route: t.Route, TraceID: t.TraceID, SpanID: spanID}
	rubric, ok, err := b.asked(ctx, card.Rubric, t.Route)
	if err != nil {
		return time.Time{}, err
	}
	if !ok {
		rubric = notAsked
	}
	view := slackui.CardView{
		Ref: ref, Project: t.Project, Card: *card, Rubric: rubric, Names: b.names.of(ctx, on(t)),
		Phoenix: b.set.public(), Blind: blind(t.Route), Now: time.Now(),
	}
	if view.Revealed, err = b.revealed(ctx, t.Route); err != nil {
		return time.Time{}, err
	}
	if card.State == review.Open {
		if view.Revealed {
			view.Notice = "It is revealed which answer is whose; nothing more is asked here."
		}
		view.Span, err = b.excerptOf(ctx, t, ref)
		switch {
		case errors.Is(err, errSpanGone):
			return time.Time{}, b.spanGone(ctx, ref)
		case errors.Is(err, errCaseGone):
			// Nobody can answer what is not shown.
			view.Rubric, view.Notice = notAsked, errCaseGone.Text
		case err != nil:
			return time.Time{}, err
		case view.Span == nil: // Phoenix does not answer: the summary for now
			again = view.Now.Add(30 * time.Second)
		}
	}
	if first := card.Outstanding(); !first.IsZero() && view.Now.Sub(first) < silence {
		again = first.Add(silence)
	}
	m := slackui.DrawCard(view)
	fault("redraw.drawing")
	err = b.update(ctx, card.Channel, card.TS, m)
	return again, err
}

// errSpanGone says that Phoenix does not have a card's span, or its project, any more.
var errSpanGone = errors.New("the span is gone from Phoenix")

// spanGone closes an open card whose span no longer exists; the next drawing
// says so.
func (b *Bot) spanGone(ctx context.Context, ref review.Ref) error {
	_, err := b.queue.Change(ctx, ref.Route, ref.TraceID, func(t *review.Thread) (queue.Step, error) {
		if !t.Close(ref.SpanID, review.Deleted) {
			return queue.Step{Nothing: true}, nil
		}
		return queue.Step{Redraw: redrawOf(t, ref.SpanID)}, nil
	})
	b.redraw.send()
	return err
}

// excerptOf is what an open card shows of its span: from Redis, else read
// again from Phoenix and kept. nil when Phoenix does not have or give it; the error is
// errSpanGone or errCaseGone when nobody will.
func (b *Bot) excerptOf(ctx context.Context, t review.Thread, ref review.Ref) (*review.Span, error) {
	span, ok, err := b.queue.Excerpt(ctx, ref)
	if err != nil {
		return nil, err
	}
	if ok {
		return &span, nil
	}
	pctx, cancel := context.WithTimeout(ctx, redrawPatience)
	defer cancel()
	span, err = b.excerptFromPhoenix(pctx, t.Project, ref)
	switch {
	case errors.Is(err, errCaseGone):
		return nil, err
	case gone(err):
		return nil, errSpanGone
	case err != nil:
		return nil, nil
	}
	_, err = b.queue.Change(ctx, ref.Route, ref.TraceID, func(t *review.Thread) (queue.Step, error) {
		c := t.Card(ref.SpanID)
		if c == nil || c.State != review.Open {
			return queue.Step{Nothing: true}, nil
		}
		if c.Summary == "" {
			c.Summary = summaryOf(span)
		}
		return queue.Step{Excerpts: map[string]review.Span{ref.SpanID: span}}, nil
	})
	return &span, err
}

// drawing is what a message said when this replica last drew it.
type drawing struct {
	sum [sha256.Size]byte
	at  time.Time
}

// update sends a drawing to Slack, unless the message says just that already.
func (b *Bot) update(ctx context.Context, channel, ts string, m slackui.Message) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("draw %s/%s: %w", channel, ts, err)
	}
	key, sum := channel+"/"+ts, sha256.Sum256(raw)
	if last, ok := b.drawn.get(key); ok && last.sum == sum && time.Since(last.at) < sameDrawing {
		// Another replica may have drawn something else since.
		if mine, err := b.queue.DrewLast(ctx, channel, ts, b.token); err != nil || mine {
			return err
		}
	}
	// Before the update: of a replica that dies between the two it is known that
	// it may have drawn.
	if err := b.queue.Draws(ctx, channel, ts, b.token); err != nil {
		return err
	}
	if err := b.slack.Update(ctx, channel, ts, m); err != nil {
		b.drawn.drop(key)
		return err
	}
	b.drawn.put(key, drawing{sum, time.Now()})
	return nil
}

// messageGone takes note that someone deleted a card's message in Slack, which
// frees its place; what was said of its span stays. An outline is forgotten and can be asked for again.
func (b *Bot) messageGone(ctx context.Context, r queue.Redraw) error {
	_, err := b.queue.Change(ctx, r.Route, r.TraceID, func(t *review.Thread) (queue.Step, error) {
		if r.What == outlineKey {
			t.Outline = ""
			return queue.Step{}, nil
		}
		return queue.Step{Nothing: !t.Unplace(r.What)}, nil
	})
	return err
}
