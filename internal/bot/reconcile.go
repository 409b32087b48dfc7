package bot

import (
	"context"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
)

// Bounds of a look at what Phoenix and Slack hold. Per look and route: two
// lists of annotations a hundred cards, ten single questions whether a span is
// still there, one page of the channel, at most five threads and five single
// messages. At one look in thirty seconds that is some 1,700 requests to Phoenix
// and at most 1,320 to Slack an hour, however many cards there are; ten thousand
// open ones come round in 50 minutes.
const (
	reconcileEvery  = 30 * time.Second
	reconcileCards  = 100
	reconcileExists = 10
	reconcileReply  = 5
	// reconcileDays is how long a judged card is compared with Phoenix.
	reconcileDays = 7 * 24 * time.Hour
	// lostAtLeast judgements missing at once, and half of those compared, are no
	// deletion by hand: the database is another one.
	lostAtLeast = 3
)

// lookEvery is how often the route's cards are compared: as often as it polls,
// within bounds.
func (r *route) lookEvery() time.Duration {
	every := reconcileEvery
	if s, err := ParseSchedule(r.Schedule); err == nil {
		next := s.Next(time.Now())
		every = s.Next(next).Sub(next)
	}
	return min(max(every, reconcileEvery), 60*reconcileEvery)
}

// reconciling makes cards follow what others did: an annotation made, changed or
// deleted in Phoenix, a span that is gone, a message deleted in Slack.
func (r *route) reconciling(ctx context.Context) {
	every := r.lookEvery()
	for pause(ctx, every) {
		mine, err := r.b.queue.Slot(ctx, r.Name+"/reconcile", every)
		if err != nil || !mine {
			continue
		}
		if r.prepare(ctx) != nil || r.known(ctx) != nil {
			continue // said there
		}
		if err := r.reconcile(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("cards could not be compared with Phoenix and Slack; it is tried again", "kind", review.KindOf(err), "error", err)
		}
	}
}

// reconcile is one look: at the next open cards, and at the next that were
// judged in the last days.
func (r *route) reconcile(ctx context.Context) error {
	place, err := r.b.queue.Looked(ctx, r.Name, "open")
	if err != nil {
		return err
	}
	open, err := r.b.queue.OpenFrom(ctx, r.Name, place, reconcileCards)
	if err != nil {
		return err
	}
	if err := r.inPhoenix(ctx, open); err != nil {
		return err
	}
	if err := r.stillThere(ctx, open); err != nil {
		return err
	}
	if err := r.inSlack(ctx, open); err != nil {
		return err
	}
	next := place + int64(len(open))
	if len(open) < reconcileCards {
		next = 0
	}
	if err := r.b.queue.KeepLooked(ctx, r.Name, "open", next); err != nil {
		return err
	}
	judged, err := r.judgedLately(ctx)
	if err != nil {
		return err
	}
	return r.inPhoenix(ctx, judged)
}

// judgedLately walks backwards through the history, a piece each time.
func (r *route) judgedLately(ctx context.Context) ([]review.Ref, error) {
	events, next, err := r.b.queue.HistoryBack(ctx, r.walked, reconcileCards)
	if err != nil {
		return nil, err
	}
	r.walked = next
	seen := map[review.Ref]bool{}
	var out []review.Ref
	for _, e := range events {
		if time.Since(e.Time) > reconcileDays {
			r.walked = ""
			break
		}
		if e.Judgement != nil && e.Judgement.Route == r.Name && !seen[e.Judgement.Ref] {
			seen[e.Judgement.Ref] = true
			out = append(out, e.Judgement.Ref)
		}
	}
	return out, nil
}

// compared is a card and how it differs from Phoenix.
type compared struct {
	ref    review.Ref
	before []review.Vote
	diff   review.Difference
}

// inPhoenix compares cards with what Phoenix holds of their spans.
func (r *route) inPhoenix(ctx context.Context, refs []review.Ref) error {
	if len(refs) == 0 {
		return nil
	}
	project, rubric, _ := r.now()
	ids := make([]string, len(refs))
	spans := make([]review.Span, len(refs))
	for i, ref := range refs {
		ids[i] = ref.TraceID
		spans[i] = review.Span{ID: ref.SpanID, TraceID: ref.TraceID}
	}
	// The cards first: what is confirmed after this is no difference.
	threads, err := r.b.queue.Threads(ctx, r.Name, ids)
	if err != nil {
		return err
	}
	held, err := r.b.phoenix.Held(ctx, project, rubric.Name, spans)
	if err != nil {
		return err
	}
	var list []compared
	stored, missing := 0, 0
	for i, ref := range refs {
		card := threads[i].Card(ref.SpanID)
		if card == nil {
			continue
		}
		for _, v := range card.Votes {
			if v.Delivery == review.Stored && !v.Withdrawn && v.Name == rubric.Name {
				stored++
			}
		}
		d := card.Compare(rubric.Name, onCard(&threads[i], ref.SpanID, r.b.votesOf(held, ref, rubric.Name, r.prefix())))
		missing += len(d.Missing)
		if !d.None() {
			list = append(list, compared{ref, card.Votes, d})
		}
	}
	if missing >= lostAtLeast && 2*missing >= stored {
		r.log.Error("Phoenix does not have judgements that it had confirmed: the database is another one, or an earlier copy", "missing", missing, "of", stored)
		return r.restore(ctx)
	}
	for _, c := range list {
		if err := r.follow(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// onCard leaves out judgements of the trace that belong to another card of the
// thread: one stands on the card where it was said, else on the first.
func onCard(t *review.Thread, spanID string, votes []review.Vote) (out []review.Vote) {
	for _, v := range votes {
		at := ""
		for i := range t.Cards {
			if v.OnTrace && t.Cards[i].Find(v.Reviewer, v.Name, true) != nil {
				at = t.Cards[i].SpanID
				break
			}
		}
		if !v.OnTrace || at == spanID || at == "" && len(t.Cards) > 0 && t.Cards[0].SpanID == spanID {
			out = append(out, v)
		}
	}
	return out
}

// follow makes one card show what Phoenix holds; what Phoenix holds an earlier
// word of is sent again.
func (r *route) follow(ctx context.Context, c compared) error {
	for _, v := range c.diff.Behind {
		if err := r.resend(ctx, c.ref, v); err != nil {
			return err
		}
	}
	if len(c.diff.Adopted)+len(c.diff.Changed)+len(c.diff.Missing) == 0 {
		return nil
	}
	_, err := r.b.queue.Change(ctx, r.Name, c.ref.TraceID, func(t *review.Thread) (queue.Step, error) {
		if !t.Follow(c.ref.SpanID, c.before, c.diff, time.Now()) {
			return queue.Step{Nothing: true}, nil
		}
		s := queue.Step{Redraw: redrawOf(t, c.ref.SpanID)}
		for _, v := range c.diff.Missing {
			s.Tell = append(s.Tell, queue.Event{What: queue.Deleted, Key: r.keyOf(c.ref, v), At: v.At, Why: "it is not in Phoenix any more"})
		}
		for _, v := range c.diff.Changed {
			s.Tell = append(s.Tell, queue.Event{What: queue.Changed, Key: r.keyOf(c.ref, v), At: v.At, Why: "it is " + v.Label + " in Phoenix now"})
		}
		return s, nil
	})
	if err != nil {
		return err
	}
	r.log.Info("a card follows Phoenix", "ref", c.ref, "adopted", len(c.diff.Adopted), "changed", len(c.diff.Changed), "deleted", len(c.diff.Missing))
	r.b.metrics.followed.WithLabelValues(r.Name).Inc()
	r.b.redraw.send()
	return nil
}

// keyOf is the outbox's key of a vote.
func (r *route) keyOf(ref review.Ref, v review.Vote) string {
	return r.b.keyOf(ref, v, r.prefix())
}

func (b *Bot) keyOf(ref review.Ref, v review.Vote, prefix string) string {
	j := review.Judgement{Ref: ref, OnTrace: v.OnTrace, Name: v.Name, Reviewer: review.Reviewer{Team: b.identity.Team, ID: v.Reviewer}}
	if prefix != "" {
		j.Recorded = &review.Recorded{Prefix: prefix}
	}
	return j.Key()
}

// resend finds the whole judgement of a vote in the history and sends it again.
func (r *route) resend(ctx context.Context, ref review.Ref, v review.Vote) error {
	key := r.keyOf(ref, v)
	for e, err := range r.b.queue.History(ctx, v.At.Add(-time.Minute)) {
		if err != nil {
			return err
		}
		if e.Judgement != nil && e.Key == key && e.At.Equal(v.At) {
			return r.b.again(ctx, *e.Judgement, e.Project)
		}
	}
	r.log.Error("Phoenix holds an earlier word of a reviewer than the card, and the history does not know the later one any more", "ref", ref, "user", v.Reviewer)
	return nil
}

// stillThere closes open cards whose span is gone. Phoenix answers that for one
// span at a time, so some of the cards are asked for at each look.
func (r *route) stillThere(ctx context.Context, open []review.Ref) error {
	if len(open) == 0 {
		return nil
	}
	project, _, _ := r.now()
	for i := range min(reconcileExists, len(open)) {
		ref := open[(r.asked+i)%len(open)]
		there, err := r.b.phoenix.Exists(ctx, project, ref.SpanID)
		if err != nil {
			return err
		}
		if !there {
			r.log.Info("a card's span is gone from Phoenix; the card closes", "ref", ref)
			if err := r.b.spanGone(ctx, ref); err != nil {
				return err
			}
		}
	}
	r.asked += reconcileExists
	return nil
}

// inSlack frees the places of open cards whose message somebody deleted.
func (r *route) inSlack(ctx context.Context, open []review.Ref) error {
	if len(open) == 0 {
		return nil
	}
	ids := make([]string, len(open))
	for i, ref := range open {
		ids[i] = ref.TraceID
	}
	threads, err := r.b.queue.Threads(ctx, r.Name, ids)
	if err != nil {
		return err
	}
	byChannel := map[string][]int{}
	replies := 0
	for i, ref := range open {
		c := threads[i].Card(ref.SpanID)
		if c == nil || c.TS == "" {
			continue
		}
		if c.TS == threads[i].TS {
			byChannel[c.Channel] = append(byChannel[c.Channel], i)
			continue
		}
		if replies++; replies > reconcileReply {
			continue
		}
		if err := r.replyThere(ctx, threads[i], ref, *c); err != nil {
			return err
		}
	}
	for channel, list := range byChannel {
		first, last := "", ""
		for _, i := range list {
			ts := threads[i].Card(open[i].SpanID).TS
			if first == "" || earlier(ts, first) {
				first = ts
			}
			if last == "" || earlier(last, ts) {
				last = ts
			}
		}
		there, complete, err := r.b.slack.Present(ctx, channel, first, last)
		if err != nil {
			return err
		}
		from := first
		if !complete { // Slack gave the newest of them
			from = last
			for ts := range there {
				if earlier(ts, from) {
					from = ts
				}
			}
		}
		asked := 0
		for _, i := range list {
			ts := threads[i].Card(open[i].SpanID).TS
			if there[ts] || earlier(ts, from) {
				continue
			}
			// A list may leave something out; ask for this one.
			if asked++; asked > reconcileReply {
				break
			}
			if one, _, err := r.b.slack.Present(ctx, channel, ts, ts); err != nil {
				return err
			} else if one[ts] {
				continue
			}
			if err := r.freed(ctx, open[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *route) replyThere(ctx context.Context, t review.Thread, ref review.Ref, c review.Card) error {
	ok := false
	var err error
	if t.TS != "" {
		_, ok, err = r.find(ctx, queue.Claim{Ref: ref, Since: c.Posted}, c.Channel, t.TS)
	}
	if err != nil && review.KindOf(err) != review.Gone {
		return err
	}
	if ok {
		return nil
	}
	return r.freed(ctx, ref)
}

// freed notes that a card's message is gone.
func (r *route) freed(ctx context.Context, ref review.Ref) error {
	r.log.Info("a card's message was deleted in Slack; its place is free", "ref", ref)
	return r.b.messageGone(ctx, queue.Redraw{Route: ref.Route, TraceID: ref.TraceID, What: ref.SpanID})
}

// earlier compares two of Slack's timestamps of one width.
func earlier(a, b string) bool { return len(a) < len(b) || len(a) == len(b) && a < b }

// restoreBatch is how many judgements are compared with Phoenix together.
const restoreBatch = 100

// restore sends again what a Phoenix database that was set back does not have:
// of each judgement in the history the last word. One that somebody deleted or
// changed in Phoenix by hand is left as they wanted it.
func (r *route) restore(ctx context.Context) error {
	keep, done, mine, err := r.b.queue.Building(ctx, r.Name+"/restore")
	if err != nil || !mine {
		return err
	}
	defer done()
	start := time.Now()
	seen := map[string]bool{}
	var batch []queue.Event
	compared, sent := 0, 0
	flush := func() error {
		n, err := r.sendMissing(ctx, batch)
		compared, sent, batch = compared+len(batch), sent+n, nil
		if err != nil {
			return err
		}
		return keep(ctx)
	}
	for at := ""; ; {
		events, next, err := r.b.queue.HistoryBack(ctx, at, 500)
		if err != nil {
			return err
		}
		for _, e := range events {
			if seen[e.Key] {
				continue
			}
			switch e.What {
			case queue.Deleted, queue.Changed, queue.Dropped, queue.Failed:
				seen[e.Key] = true
			case queue.Said, queue.Resent:
				seen[e.Key] = true
				if e.Judgement != nil && e.Judgement.Route == r.Name {
					batch = append(batch, e)
				}
			}
			if len(batch) == restoreBatch {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if at = next; at == "" {
			break
		}
	}
	if err := flush(); err != nil {
		return err
	}
	r.b.metrics.restored.WithLabelValues(r.Name).Add(float64(sent))
	r.log.Warn("judgements that Phoenix does not have any more are sent again", "compared", compared, "sent", sent, "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// sendMissing sends those of a batch that Phoenix does not hold, or of which it
// holds an earlier word.
func (r *route) sendMissing(ctx context.Context, batch []queue.Event) (sent int, err error) {
	type group struct{ project, name string }
	groups := map[group][]queue.Event{}
	for _, e := range batch {
		g := group{e.Project, e.Judgement.Name}
		groups[g] = append(groups[g], e)
	}
	for g, events := range groups {
		id, err := r.b.projectOf(ctx, g.project, r.Name)
		if err != nil {
			return sent, err
		}
		spans := make([]review.Span, len(events))
		for i, e := range events {
			spans[i] = review.Span{ID: e.Judgement.SpanID, TraceID: e.Judgement.TraceID}
		}
		held, err := r.b.phoenix.Held(ctx, id, g.name, spans)
		if err != nil {
			return sent, err
		}
		for _, e := range events {
			h, there := heldOf(held, *e.Judgement)
			if !there && e.Judgement.Withdrawn || there && !h.Clicked.Before(e.At) {
				continue // as it should be
			}
			if err := r.b.again(ctx, *e.Judgement, e.Project); err != nil {
				return sent, err
			}
			sent++
		}
	}
	return sent, nil
}

// heldOf finds what Phoenix holds of a judgement.
func heldOf(held []phoenix.Held, j review.Judgement) (phoenix.Held, bool) {
	for _, h := range held {
		if h.Identifier == j.Identifier() && h.OnTrace == j.OnTrace &&
			(j.OnTrace && h.TraceID == j.TraceID || !j.OnTrace && h.SpanID == j.SpanID) {
			return h, true
		}
	}
	return phoenix.Held{}, false
}
