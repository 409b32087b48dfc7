package bot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

const (
	// claimLease is how long one replica may take from claim to record; Slack's
	// pace of one message a second and channel is part of it.
	claimLease = 60 * time.Second
	// postTimeout keeps a step in hand well inside its lease.
	postTimeout = 40 * time.Second
	// cardText is how much of each text of a trace is read for its cards.
	cardText = 2000
	// cardSpans is how many spans of a trace are read to fill a card or draw an
	// outline. The outline shows 40 and counts these.
	cardSpans = 500
)

// posting turns the backlog into cards whenever there is room for one.
func (r *route) posting(ctx context.Context) {
	for {
		r.fill(ctx)
		t := time.NewTimer(r.b.set.Idle)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-r.room:
		case <-t.C:
		}
		t.Stop()
	}
}

// fill posts until the backlog is empty, max_open is reached or something is
// in the way.
func (r *route) fill(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		if r.prepare(ctx) != nil {
			return
		}
		if err := r.known(ctx); err != nil {
			if ctx.Err() == nil {
				_ = r.waits("known", "the cards in Slack", err)
			}
			return
		}
		r.goesOn("known")
		if enough, err := r.enough(ctx); err != nil || enough {
			if err != nil && ctx.Err() == nil {
				_ = r.waits("claim", "Redis", err)
			}
			return
		}
		c, ok, err := r.claim(ctx)
		if err != nil {
			if ctx.Err() == nil {
				_ = r.waits("claim", "Redis", err)
			}
			return
		}
		r.goesOn("claim")
		if !ok {
			return
		}
		fault("post.claimed")
		if err := r.post(c); err != nil {
			r.log.Warn("a card could not be posted; its span waits", "span", c.SpanID, "kind", review.KindOf(err), "error", err)
			// One span that cannot be posted does not hold up the others; what
			// concerns them all is not tried on each.
			if k := review.KindOf(err); k == review.Denied || k == review.Gone || k == review.Busy || failures == 2 {
				return
			}
			failures++
		}
	}
}

// post takes one claimed span to its card. It runs under the finishing
// context: a claim in hand is posted and recorded, or put back, also when the
// bot is being stopped.
func (r *route) post(c queue.Claim) error {
	ctx, cancel := context.WithTimeout(r.b.finish, postTimeout)
	defer cancel()
	project, rubric, channel := r.now()

	thread, err := r.b.queue.Thread(ctx, r.Name, c.TraceID)
	if err != nil {
		return r.putBack(ctx, c, time.Second, err)
	}
	s, study := r.ofStudy()
	if card := thread.Card(c.SpanID); card != nil && card.TS != "" {
		if study {
			return r.askAnew(ctx, c)
		}
		return r.b.queue.Drop(ctx, c) // it has its card; only the claim was left
	}
	parent := ""
	if thread.Channel == channel {
		parent = thread.TS
	}
	if study {
		return r.postCase(ctx, s, c, parent)
	}
	trace, err := r.b.phoenix.Trace(ctx, project, c.TraceID, cardText, cardSpans)
	if err != nil {
		return r.putBack(ctx, c, review.WaitOf(err), err)
	}
	span, ok := trace.Find(c.SpanID)
	if !ok {
		span, err = r.b.phoenix.Span(ctx, project, c.TraceID, c.SpanID, cardText)
		if gone(err) {
			return r.drop(ctx, c, review.Vanished)
		}
		if err != nil {
			return r.putBack(ctx, c, review.WaitOf(err), err)
		}
		trace.Spans = append(trace.Spans, span)
	}
	// Hours may lie between find and post: someone may have judged it in Phoenix.
	annotated, evidence, err := r.b.phoenix.Evidence(ctx, project, rubric.Name, r.judge(), []review.Span{span})
	if err != nil {
		return r.putBack(ctx, c, review.WaitOf(err), err)
	}
	if annotated[span.ID] {
		// It may have been posted by an owner who died, and judged since.
		if _, found, err := r.findAgain(ctx, c, channel, parent); err != nil {
			return r.putBack(ctx, c, review.WaitOf(err), err)
		} else if !found {
			return r.drop(ctx, c, review.Annotated)
		}
	}

	excerpt := trace.Fill(span).Excerpt()
	card := review.Card{
		SpanID: c.SpanID, Channel: channel, State: review.Open, Rubric: rubric.Hash(),
		Posted: time.Now(), Summary: summaryOf(excerpt), Chosen: r.chosen(c, evidence[span.ID], rubric),
	}
	if err := r.sendAndRecord(ctx, c, parent, card, excerpt, rubric); err != nil {
		return err
	}
	r.b.metrics.carded.Observe(time.Since(span.End).Seconds())
	return nil
}

// sendAndRecord posts a claimed card and makes it known.
func (r *route) sendAndRecord(ctx context.Context, c queue.Claim, parent string, card review.Card, excerpt review.Span, rubric review.Rubric) error {
	posted, err := r.send(ctx, c, parent, card, excerpt, rubric)
	if err != nil {
		return r.putBackAfterPost(ctx, c, err)
	}
	fault("post.sent")
	card.TS = posted.TS
	if err := r.record(c, card, posted, excerpt); err != nil {
		return err
	}
	fault("post.recorded")
	r.goesOn("post")
	r.b.metrics.posted.WithLabelValues(r.Name).Inc()
	r.log.Info("posted", "span", c.SpanID, "trace", c.TraceID, "channel", card.Channel, "ts", posted.TS)
	return nil
}

// summaryOf is the line a judged card keeps, in at most review.MaxSummary bytes.
func summaryOf(s review.Span) string {
	for n := 150; ; n -= 10 {
		if line := s.Summary(n); len(line) <= review.MaxSummary || n <= 20 {
			return line
		}
	}
}

// send posts the card. A claim whose earlier owner died, and a post whose
// outcome nobody knows, are looked for in the channel first: Slack has no key
// that would make posting twice harmless.
func (r *route) send(ctx context.Context, c queue.Claim, parent string, card review.Card, excerpt review.Span, rubric review.Rubric) (slackui.Posted, error) {
	if p, ok, err := r.findAgain(ctx, c, card.Channel, parent); err != nil || ok {
		return p, err
	}
	view := slackui.CardView{
		Ref: c.Ref, Project: r.Project, Card: card, Rubric: rubric, Span: &excerpt,
		Phoenix: r.b.set.public(), Blind: blind(r.Name), Now: time.Now(),
	}
	fault("post.sending")
	posted, err := r.b.slack.Post(ctx, card.Channel, parent, slackui.DrawCard(view))
	if errors.Is(err, slackui.ErrBlocks) {
		r.log.Error("Slack refuses the card as drawn; posting it in its minimal form", "span", c.SpanID, "error", err)
		posted, err = r.b.slack.Post(ctx, card.Channel, parent, slackui.DrawMinimalCard(view))
	}
	if review.KindOf(err) != review.Unsure {
		return posted, err
	}
	// Slack may show an accepted message late: look twice before giving up.
	for range 2 {
		if !pause(ctx, 2*time.Second) {
			break
		}
		if p, ok, ferr := r.find(ctx, c, card.Channel, parent); ferr == nil && ok {
			return p, nil
		}
	}
	return posted, err
}

// findAgain looks for the card if an earlier owner of the claim may have posted it.
func (r *route) findAgain(ctx context.Context, c queue.Claim, channel, parent string) (slackui.Posted, bool, error) {
	if !c.Again {
		return slackui.Posted{}, false, nil
	}
	return r.find(ctx, c, channel, parent)
}

// find looks for the card: for a reply in its thread, and always in the channel,
// where a reply stands whose parent had been deleted.
func (r *route) find(ctx context.Context, c queue.Claim, channel, parent string) (slackui.Posted, bool, error) {
	// Clocks of Redis and Slack may differ by a little.
	oldest := c.Since.Add(-2 * time.Minute)
	if parent != "" {
		ts, ok, err := r.b.slack.Find(ctx, channel, parent, slackui.CardBlockID(c.Ref), oldest, r.b.identity)
		if ok || (err != nil && review.KindOf(err) != review.Gone) {
			return slackui.Posted{TS: ts, ThreadTS: parent}, ok, err
		}
	}
	ts, ok, err := r.b.slack.Find(ctx, channel, "", slackui.CardBlockID(c.Ref), oldest, r.b.identity)
	return slackui.Posted{TS: ts}, ok, err
}

// record makes the card known. It is tried for as long as the claim lives:
// without it the card would be looked for in the channel once more.
func (r *route) record(c queue.Claim, card review.Card, posted slackui.Posted, excerpt review.Span) error {
	var err error
	claim := &c
	for range 5 {
		ctx, cancel := context.WithTimeout(r.b.finish, 5*time.Second)
		_, err = r.b.queue.Change(ctx, r.Name, c.TraceID, func(t *review.Thread) (queue.Step, error) {
			if old := t.Card(c.SpanID); claim == nil && old != nil && old.TS != "" && old.TS != posted.TS {
				return queue.Step{Nothing: true}, errSecondCard
			}
			t.Project = r.Project
			t.Place(card, posted.ThreadTS)
			s := queue.Step{Claim: claim, Excerpts: map[string]review.Span{c.SpanID: excerpt}}
			if now := t.Card(c.SpanID); now.State != review.Open {
				// Someone was faster than the record: the card must say so.
				s.Redraw = map[string]time.Time{c.SpanID: {}}
			}
			if t.Outline != "" {
				s.Redraw = map[string]time.Time{outlineKey: {}, c.SpanID: {}}
			}
			return s, nil
		})
		cancel()
		if errors.Is(err, queue.ErrLost) && claim != nil {
			// The claim ran out, or Redis lost it; the card is in Slack all the same.
			claim = nil
			continue
		}
		if k := review.KindOf(err); k == "" || k == review.Refused {
			break
		}
		if !pause(r.b.finish, time.Second) {
			break
		}
	}
	if errors.Is(err, errSecondCard) {
		return r.removeSecond(c, posted)
	}
	if err != nil && !r.recorded(c, posted) {
		return fmt.Errorf("record card %s at %s: %w", c.Ref, posted.TS, err)
	}
	return nil
}

// errSecondCard says that the span has another card by now.
var errSecondCard = &review.Error{Kind: review.Refused, Text: "the span has another card by now"}

// removeSecond deletes a card that was posted although another replica had
// posted one: our claim had run out while Slack, or we, stood still.
func (r *route) removeSecond(c queue.Claim, posted slackui.Posted) error {
	ctx, cancel := context.WithTimeout(r.b.finish, 15*time.Second)
	defer cancel()
	_, _, channel := r.now()
	r.log.Warn("another replica posted this span's card meanwhile; ours is removed", "span", c.SpanID, "ts", posted.TS)
	if err := r.b.slack.Delete(ctx, channel, posted.TS); err != nil {
		return fmt.Errorf("remove the second card of %s at %s: %w", c.Ref, posted.TS, err)
	}
	return nil
}

// recorded looks whether the card stands where it was posted: a write whose
// answer was lost is refused when it is sent again after someone's click.
func (r *route) recorded(c queue.Claim, posted slackui.Posted) bool {
	ctx, cancel := context.WithTimeout(r.b.finish, 5*time.Second)
	defer cancel()
	t, err := r.b.queue.Thread(ctx, r.Name, c.TraceID)
	card := t.Card(c.SpanID)
	return err == nil && card != nil && card.TS == posted.TS && card.Summary != ""
}

func (r *route) drop(ctx context.Context, c queue.Claim, why review.Verdict) error {
	r.b.metrics.verdict(r.Name, why, 1)
	r.log.Info("not posted", "span", c.SpanID, "verdict", why)
	return r.b.queue.Drop(ctx, c)
}

// putBack returns a claim that surely was not posted.
func (r *route) putBack(ctx context.Context, c queue.Claim, after time.Duration, cause error) error {
	if review.KindOf(cause) == review.Denied || review.KindOf(cause) == review.Gone {
		_ = r.waits("post", "the channel", cause)
	}
	// The longer it has failed, the rarer it is tried.
	after = max(after, time.Second, min(time.Since(c.Since)/2, 5*time.Minute))
	if err := r.b.queue.PutBack(ctx, c, after); err != nil {
		// Its lease ends by itself; then it is looked for and posted.
		r.log.Warn("a claim could not be put back", "span", c.SpanID, "error", err)
	}
	return cause
}

// putBackAfterPost does the same after Slack was asked. When the outcome is
// unknown the claim is left to run out: whoever takes it next looks in the
// channel first.
func (r *route) putBackAfterPost(ctx context.Context, c queue.Claim, cause error) error {
	if review.KindOf(cause) == review.Unsure {
		return cause
	}
	return r.putBack(ctx, c, review.WaitOf(cause), cause)
}
