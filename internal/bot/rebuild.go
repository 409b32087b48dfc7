package bot

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

const (
	// knownRefresh is how often a route notes that its cards are known until now.
	knownRefresh = 30 * time.Second
	// knownMargin is how much of what should be known is looked at again: clocks
	// differ, and a post may be in hand while it is noted.
	knownMargin = 2 * time.Minute
	// rebuildBatch is how many cards are looked up in Phoenix together.
	rebuildBatch = 100
)

// Rebuilt counts what looking for a route's cards in Slack brought back.
type Rebuilt struct {
	Cards    int // cards found in Slack
	New      int // of these, the ones that Redis did not know
	Stored   int // judgements of theirs that Phoenix holds
	Waiting  int // judgements that only the card still had; they go to Phoenix
	Reopened int // cards that show a judgement which nobody has any more; they ask again
}

// known makes sure that Redis knows which cards the route has in Slack. It does
// not when it is new or was flushed: then all cards are looked for. A Redis that
// was started anew, or another one after a fail-over, may have lost its last
// moments: then those since are.
//
// It is asked before each claim. Without it a span whose card Redis has
// forgotten would be posted a second time.
func (r *route) known(ctx context.Context) error {
	if _, ok := r.ofStudy(); ok {
		return r.knownStudy(ctx)
	}
	select { // polling and posting of one process ask together at the start
	case r.knowing <- struct{}{}:
		defer func() { <-r.knowing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	k, run, ok, err := r.b.queue.Epoch(ctx, r.Name)
	if err != nil {
		return err
	}
	now := time.Now()
	var since time.Time
	switch {
	case !ok:
		if since, err = r.window(ctx); err != nil {
			return err
		}
	case run != "" && k.Run != run:
		since = k.Until.Add(-knownMargin)
	default:
		r.sameEpoch(ctx, k.Name)
		if now.Sub(k.Until) < knownRefresh {
			return nil
		}
		return r.b.queue.KnownUntil(ctx, r.Name, k, now)
	}
	keep, done, mine, err := r.b.queue.Building(ctx, r.Name)
	if err != nil {
		return err
	}
	if !mine {
		return queue.ErrUnbuilt
	}
	defer done()
	if _, err := r.rebuild(ctx, since, keep); err != nil {
		return err
	}
	k = queue.Epoch{Until: now, Run: run, Name: rand.Text()}
	if err := r.b.queue.KeepEpoch(ctx, r.Name, k); err != nil {
		return err
	}
	r.sameEpoch(ctx, k.Name)
	return nil
}

// sameEpoch notices that Redis was rebuilt since this replica last looked, and
// gives it once more what this replica accepted and has not seen confirmed, of the
// route's studies, too: those may not be known any more.
func (r *route) sameEpoch(ctx context.Context, name string) {
	r.mu.Lock()
	was := r.epoch
	r.epoch = name
	r.mu.Unlock()
	if was == "" || was == name {
		return
	}
	for _, j := range r.b.accepted.values() {
		if base, _, _ := strings.Cut(j.Route, studyMark); base != r.Name {
			continue
		}
		if err := r.b.again(ctx, j, r.Project); err != nil {
			r.log.Error("a judgement that Redis may have lost could not be given to it again", "ref", j.Ref, "user", j.Reviewer.ID, "error", err)
		}
	}
}

// window is since when cards are looked for on a Redis that knows none: as long
// as a card may be open, and no span before it is found again by a first poll.
// State of an earlier release knows its cards without saying so.
func (r *route) window(ctx context.Context) (time.Time, error) {
	project, _, _ := r.now()
	if _, polled, err := r.b.queue.Cursor(ctx, r.Name, project); err != nil || polled {
		return time.Now().Add(-knownMargin), err
	}
	return r.fullWindow(), nil
}

func (r *route) fullWindow() time.Time {
	keep := r.b.set.Retention
	if r.OpenFor > 0 {
		keep = min(keep, max(r.OpenFor, r.Since))
	}
	return time.Now().Add(-keep)
}

// rebuild looks for the route's cards in Slack, as far back as since, and brings
// back those that Redis does not know: where they stand, what Phoenix holds of
// them, and judgements that only they still show.
func (r *route) rebuild(ctx context.Context, since time.Time, keep func(context.Context) error) (Rebuilt, error) {
	var n Rebuilt
	project, rubric, channel := r.now()
	start := time.Now()
	batches := map[string][]slackui.Found{} // the route's own, and those of its studies
	flush := func(name string) error {
		about := rubric
		if name != r.Name {
			about = ofStudyNamed(name, rubric)
		}
		if err := r.restoreCards(ctx, project, name, about, batches[name], &n); err != nil {
			return err
		}
		batches[name] = nil
		return keep(ctx)
	}
	err := r.b.slack.Cards(ctx, channel, since, r.b.identity, func(f slackui.Found) error {
		if base, _, _ := strings.Cut(f.Route, studyMark); base != r.Name {
			return nil
		}
		n.Cards++
		if batches[f.Route] = append(batches[f.Route], f); len(batches[f.Route]) == rebuildBatch {
			return flush(f.Route)
		}
		return nil
	})
	for name := range batches {
		if err == nil {
			err = flush(name)
		}
	}
	if err != nil {
		return n, err
	}
	if n.New > 0 {
		r.log.Warn("Redis did not know cards that are in Slack; they were brought back", "cards", n.Cards, "new", n.New,
			"stored", n.Stored, "waiting", n.Waiting, "reopened", n.Reopened, "since", since.UTC().Format(time.RFC3339), "took", time.Since(start).Round(time.Millisecond))
	}
	r.b.metrics.rebuilt.WithLabelValues(r.Name).Add(float64(n.New))
	r.b.redraw.send()
	return n, nil
}

// restoreCards brings back those of a batch that Redis does not know: of the route
// itself, or of a study of that name.
func (r *route) restoreCards(ctx context.Context, project, name string, rubric review.Rubric, batch []slackui.Found, n *Rebuilt) error {
	batch, err := r.unknown(ctx, name, batch)
	if err != nil || len(batch) == 0 {
		return err
	}
	spans := make([]review.Span, len(batch))
	for i, f := range batch {
		spans[i] = review.Span{ID: f.SpanID, TraceID: f.TraceID}
	}
	held, err := r.b.phoenix.Held(ctx, project, rubric.Name, spans)
	if err != nil {
		return err
	}
	var chosen map[string]review.Chosen
	if rubric.Study == nil {
		if chosen, err = r.chosenAgain(ctx, project, rubric, spans); err != nil {
			return err
		}
	}
	for _, f := range batch {
		votes := r.b.votesOf(held, f.Ref, rubric.Name, prefixOf(name))
		own := rubric
		if rubric.Study != nil && len(f.Waiting) > 0 {
			known := false
			if own, known, err = r.b.rubrics.get(ctx, f.Rubric); err != nil {
				return err
			}
			if !known {
				// What its buttons stand for went with Redis: the card asks again.
				r.log.Error("a card shows an answer that was on its way to Phoenix, and nobody knows any more what it stood for", "ref", f.Ref, "channel", f.Channel, "ts", f.TS)
				f.Waiting = nil
			}
		}
		var put []review.Judgement
		reopened := false
		_, err := r.b.queue.Change(ctx, name, f.TraceID, func(t *review.Thread) (queue.Step, error) {
			put, reopened = nil, false
			if t.Project == "" {
				t.Project = r.Project
			}
			s := queue.Step{Resent: true}
			if c := t.Card(f.SpanID); c != nil && c.TS != "" {
				return queue.Step{Nothing: true}, nil
			}
			if t.TS == "" && f.ThreadTS != "" {
				t.Channel, t.TS = f.Channel, f.ThreadTS
			}
			t.Place(review.Card{SpanID: f.SpanID, Channel: f.Channel, TS: f.TS, Rubric: f.Rubric, Posted: f.Posted, Summary: cutBytes(f.Summary, review.MaxSummary), Chosen: chosen[f.SpanID]}, f.ThreadTS)
			t.Follow(f.SpanID, t.Card(f.SpanID).Votes, review.Difference{Adopted: votes}, time.Now())
			for _, v := range f.Waiting {
				j := review.Judgement{Ref: f.Ref, OnTrace: v.OnTrace, Name: rubric.Name, Rubric: f.Rubric,
					Reviewer: review.Reviewer{Team: r.b.identity.Team, ID: v.Reviewer},
					Answer:   review.Answer{Label: v.Label, Score: v.Score, Explanation: v.Words}, Withdrawn: v.Withdrawn,
					At: v.At, Channel: f.Channel, Message: f.TS, ThreadTS: f.ThreadTS}
				j.Recorded = own.Record(j.Answer)
				if own := t.Card(f.SpanID).Find(v.Reviewer, rubric.Name, v.OnTrace); own != nil && own.At.After(v.At) {
					continue // Phoenix has a newer one
				}
				if v.Withdrawn {
					put = append(put, j)
				} else if t.Judge(j) {
					put = append(put, j)
				}
			}
			s.Put = put
			card := t.Card(f.SpanID)
			if len(card.Votes) == 0 {
				switch f.State {
				case review.Skipped, review.Expired, review.Deleted:
					t.Close(f.SpanID, f.State)
					card.State, card.Closer = f.State, f.Closer
				case review.Judged:
					reopened = true
				}
			}
			if card.State != f.State || len(votes) > 0 || len(put) > 0 {
				s.Redraw = redrawOf(t, f.SpanID)
			}
			return s, nil
		})
		if err != nil {
			return err
		}
		n.New++
		n.Stored += len(votes)
		n.Waiting += len(put)
		if reopened {
			n.Reopened++
			r.log.Warn("a card shows a judgement that neither Redis nor Phoenix has any more; it asks again", "ref", f.Ref, "channel", f.Channel, "ts", f.TS)
		}
	}
	return nil
}

// unknown leaves out the cards that Redis knows.
func (r *route) unknown(ctx context.Context, name string, batch []slackui.Found) ([]slackui.Found, error) {
	ids := make([]string, len(batch))
	for i, f := range batch {
		ids[i] = f.TraceID
	}
	threads, err := r.b.queue.Threads(ctx, name, ids)
	if err != nil {
		return nil, err
	}
	var out []slackui.Found
	for i, f := range batch {
		if c := threads[i].Card(f.SpanID); c == nil || c.TS == "" {
			out = append(out, f)
		}
	}
	return out, nil
}

// votesOf is what Phoenix holds of a span, as votes of its card. People of this
// workspace are their user ids; anybody else judged in Phoenix itself.
//
// What was said in a study stands on the study's card alone: prefix begins its
// identifiers, and is "" for votes.
func (b *Bot) votesOf(held []phoenix.Held, ref review.Ref, name, prefix string) (out []review.Vote) {
	own := prefix + review.Reviewer{Team: b.identity.Team}.Identifier()
	for _, h := range held {
		if prefix == "" && review.OfStudy(h.Identifier) || !strings.HasPrefix(h.Identifier, prefix) {
			continue
		}
		if h.OnTrace && h.TraceID != ref.TraceID || !h.OnTrace && h.SpanID != ref.SpanID {
			continue
		}
		v := review.Vote{Name: name, OnTrace: h.OnTrace, Rubric: h.Rubric, Label: h.Label, Score: h.Score, Words: h.Words(),
			At: h.Clicked.Truncate(time.Millisecond), Delivery: review.Stored}
		if user, ok := strings.CutPrefix(h.Identifier, own); ok {
			v.Reviewer = user
		} else {
			v.Reviewer = review.InPhoenix + strings.TrimPrefix(h.Identifier, prefix)
		}
		if !slices.ContainsFunc(out, func(o review.Vote) bool { return o.Reviewer == v.Reviewer && o.OnTrace == v.OnTrace }) {
			out = append(out, v)
		}
	}
	return out
}

// again gives a judgement to the outbox once more, unless its reviewer spoke
// since. Sending one twice does no harm: Phoenix keeps one.
func (b *Bot) again(ctx context.Context, j review.Judgement, project string) error {
	_, err := b.queue.Change(ctx, j.Route, j.TraceID, func(t *review.Thread) (queue.Step, error) {
		if t.Project == "" {
			t.Project = project
		}
		switch own := t.Card(j.SpanID).Find(j.Reviewer.ID, j.Name, j.OnTrace); {
		case own != nil && own.At.After(j.At):
			return queue.Step{Nothing: true}, nil
		case own != nil && own.At.Equal(j.At):
			t.Retry(j)
		case j.Withdrawn:
		default:
			t.Judge(j)
		}
		return queue.Step{Put: []review.Judgement{j}, Resent: true, Redraw: redrawOf(t, j.SpanID)}, nil
	})
	if err == nil {
		b.kick.send()
		b.redraw.send()
	}
	return err
}

// cutBytes is the longest start of s, in whole characters, of at most n bytes.
func cutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

// Rebuild looks for all cards of all routes in Slack, as when Redis had lost
// everything, and brings back those that it does not know. It works beside a
// running bot.
func Rebuild(ctx context.Context, set Settings, each func(route string, n Rebuilt)) error {
	b, err := connect(ctx, set)
	if err != nil {
		return err
	}
	defer b.queue.Close()
	for _, r := range b.routes {
		if err := r.prepare(ctx); err != nil {
			return fmt.Errorf("route %s: %w", r.Name, err)
		}
		keep, done, mine, err := b.queue.Building(ctx, r.Name)
		if err != nil {
			return err
		}
		if !mine {
			return &review.Error{Kind: review.Busy, Text: fmt.Sprintf("route %s is being rebuilt by a running bot right now; try again in a minute", r.Name)}
		}
		n, err := r.rebuild(ctx, r.fullWindow(), keep)
		done()
		if err != nil {
			return fmt.Errorf("route %s: %w", r.Name, err)
		}
		each(r.Name, n)
	}
	return nil
}
