package bot

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

const (
	// batch is how many judgements go in one request: about 2 ms each in the
	// server, and nothing else is written meanwhile.
	batch = 100
	// deliverLease is how soon judgements are taken up again whose holder died.
	// While it lives it extends its lease, however long Phoenix takes.
	deliverLease  = 6 * time.Second
	deliverExtend = 2 * time.Second
	// deliverTimeout bounds one round of requests.
	deliverTimeout = 60 * time.Second
	// poisoned is after how many answers of 500 to a judgement sent alone it is
	// parked among the dead letters.
	poisoned = 8
	// longestPause bounds the wait between two attempts while Phoenix is down.
	longestPause = 5 * time.Second
)

// deliver carries judgements from the outbox to Phoenix until ctx ends. It
// starts at once when one comes in. While Phoenix does not answer, one attempt
// at a time probes it.
func (b *Bot) deliver(ctx context.Context) {
	wait, down := b.set.Idle, time.Duration(0)
	for {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			_, _ = b.deliverDue(batch) // what was clicked while we were being stopped
			return
		case <-b.kick:
		case <-t.C:
		}
		t.Stop()
		n := batch
		if down > 0 {
			n = 1
		}
		for {
			sent, err := b.deliverDue(n)
			if err != nil {
				down = min(max(2*down, time.Second), longestPause)
				break
			}
			if sent == 0 {
				break
			}
			down, n = 0, batch
		}
		if down > 0 {
			if !pause(ctx, down) {
				return
			}
			wait = time.Millisecond
			continue
		}
		wait = b.set.Idle
		if due, ok, err := b.queue.NextDue(b.finish); err == nil && ok {
			wait = min(wait, max(time.Until(due), time.Millisecond))
		}
	}
}

// deliverDue delivers up to n judgements that are due and reports how many it
// took. It fails only when the other side is down, so that the caller pauses.
func (b *Bot) deliverDue(n int) (int, error) {
	ctx, cancel := context.WithTimeout(b.finish, deliverTimeout)
	defer cancel()
	fault("deliver.due")
	asked := time.Now()
	entries, err := b.queue.Lease(ctx, n, lease(deliverLease))
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	fault("deliver.leased")
	held := b.hold(ctx, entries, asked)
	defer held.release()
	taken := len(entries)
	if entries, err = b.overtaken(ctx, entries); err != nil {
		return taken, b.putOff(ctx, entries, err)
	}
	var spans, traces, withdrawn []queue.Entry
	for _, e := range entries {
		switch {
		case e.Withdrawn:
			withdrawn = append(withdrawn, e)
		case e.OnTrace:
			traces = append(traces, e)
		default:
			spans = append(spans, e)
		}
	}
	var failed error
	for _, group := range [][]queue.Entry{spans, traces} {
		if len(group) > 0 {
			failed = errors.Join(failed, b.deliverBatch(ctx, held, group))
		}
	}
	for _, e := range withdrawn {
		failed = errors.Join(failed, b.deliverWithdrawal(ctx, held, e))
	}
	fault("deliver.settled")
	return taken, failed
}

// doubtAge is how long a judgement may wait before it is asked whether Phoenix
// has a later word of its reviewer.
const doubtAge = 10 * time.Minute

// overtaken settles judgements of whose reviewer Phoenix holds a later word, and
// returns the others: while Redis was gone a click went straight to Phoenix, and
// what had waited in Redis must not replace it. Only what may have been
// overtaken is asked for: what waited long or was tried before, and what was
// clicked before Redis answered without a break.
func (b *Bot) overtaken(ctx context.Context, es []queue.Entry) ([]queue.Entry, error) {
	type group struct{ project, name string }
	doubtful := map[group][]queue.Entry{}
	var rest []queue.Entry
	trusted := time.UnixMilli(b.trusted.Load())
	for _, e := range es {
		if e.Project != "" && (e.Tries > 0 || e.At.Before(trusted) || time.Since(e.At) > doubtAge) {
			g := group{e.Project, e.Name}
			doubtful[g] = append(doubtful[g], e)
		} else {
			rest = append(rest, e)
		}
	}
	for g, list := range doubtful {
		id, err := b.projectID(ctx, g.project)
		if gone(err) {
			rest = append(rest, list...) // the delivery itself finds out what that means
			continue
		}
		if err != nil {
			return es, err
		}
		spans := make([]review.Span, len(list))
		for i, e := range list {
			spans[i] = review.Span{ID: e.SpanID, TraceID: e.TraceID, ParentID: "x"} // spans alone
			if e.OnTrace {
				spans[i] = review.Span{TraceID: e.TraceID}
			}
		}
		held, err := b.phoenix.Held(ctx, id, g.name, spans)
		if err != nil {
			return es, err
		}
		for _, e := range list {
			h, there := heldOf(held, e.Judgement)
			if !there || !h.Clicked.After(e.At) {
				rest = append(rest, e)
				continue
			}
			b.log.Warn("Phoenix holds a later word of this reviewer; the earlier one is not sent", "key", e.Key, "clicked", e.At, "later", h.Clicked)
			if err := b.settleOvertaken(ctx, e, h); err != nil {
				return es, err
			}
		}
	}
	return rest, nil
}

// settleOvertaken lets the card show the later word.
func (b *Bot) settleOvertaken(ctx context.Context, e queue.Entry, h phoenix.Held) error {
	later := review.Vote{Reviewer: e.Reviewer.ID, Name: e.Name, OnTrace: e.OnTrace, Rubric: h.Rubric, Label: h.Label, Score: h.Score,
		Words: h.Words(), At: h.Clicked.Truncate(time.Millisecond), Delivery: review.Stored}
	_, err := b.queue.Change(ctx, e.Route, e.TraceID, func(t *review.Thread) (queue.Step, error) {
		s := queue.Step{Done: []queue.Entry{e}, Tell: []queue.Event{{What: queue.Changed, Key: e.Key, At: e.At, Why: "a later word went straight to Phoenix"}}}
		if t.Confirm(e.Judgement, "") {
			var before []review.Vote
			if c := t.Card(e.SpanID); c != nil {
				before = c.Votes
			}
			t.Follow(e.SpanID, before, review.Difference{Changed: []review.Vote{later}}, time.Now())
			s.Redraw = redrawOf(t, e.SpanID)
		}
		return s, nil
	})
	b.redraw.send()
	return err
}

// leases are those of judgements in hand. They are extended until released.
type leases struct {
	mu      sync.Mutex
	ends    time.Time // unless extended again
	gone    bool
	release func()
}

// lost reports whether another replica may have, or have had, one of them: our
// process stood still, or Redis did not answer, for longer than they last.
func (l *leases) lost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = l.gone || time.Now().After(l.ends)
	return l.gone
}

func (l *leases) until(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = l.gone || time.Now().After(l.ends)
	l.ends = t
}

func (l *leases) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
}

// hold extends the leases of entries, which were asked for at a time.
func (b *Bot) hold(ctx context.Context, es []queue.Entry, asked time.Time) *leases {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	l := &leases{ends: asked.Add(lease(deliverLease)), release: func() { cancel(); <-done }}
	go func() {
		defer close(done)
		for pause(ctx, deliverExtend) {
			asked := time.Now()
			switch err := b.queue.Extend(ctx, es, lease(deliverLease)); {
			case err == nil:
				l.until(asked.Add(lease(deliverLease)))
			case errors.Is(err, queue.ErrLost):
				l.lose()
			case ctx.Err() == nil:
				b.log.Warn("leases could not be extended; another replica may send the same judgements, which does no harm", "error", err)
			}
		}
	}()
	return l
}

// deliverBatch posts judgements of one kind of target together. A batch that
// Phoenix refuses is sent again one by one, so that one bad judgement does not
// hold up the others.
func (b *Bot) deliverBatch(ctx context.Context, held *leases, es []queue.Entry) error {
	list := b.annotations(ctx, es)
	if held.lost() {
		return nil // they are due again by now, for whoever comes first
	}
	fault("deliver.sending")
	err := b.phoenix.Annotate(ctx, list)
	var missing *phoenix.MissingError
	switch {
	case err == nil:
		fault("deliver.sent")
		return b.settle(ctx, held, es, "")
	case errors.As(err, &missing):
		gone := map[string]bool{}
		for _, id := range missing.IDs {
			gone[id] = true
		}
		var rest []queue.Entry
		for _, e := range es {
			id := e.SpanID
			if e.OnTrace {
				id = e.TraceID
			}
			if !gone[id] {
				rest = append(rest, e)
			} else if err := b.settle(ctx, held, []queue.Entry{e}, goneText(e)); err != nil {
				return err
			}
		}
		if len(rest) == len(es) {
			return b.putOff(ctx, es, err) // Phoenix named none of them: do not loop
		}
		if len(rest) > 0 {
			return b.deliverBatch(ctx, held, rest)
		}
		return nil
	}
	final := review.KindOf(err) == review.Refused || serverError(err)
	switch {
	case final && len(es) > 1:
		var failed error
		for i := range es {
			failed = errors.Join(failed, b.deliverBatch(ctx, held, es[i:i+1]))
		}
		return failed
	case review.KindOf(err) == review.Refused, serverError(err) && es[0].Tries+1 >= poisoned:
		b.log.Error("Phoenix refuses a judgement; it is kept among the dead letters", "key", es[0].Key, "error", err)
		return b.settle(ctx, held, es, refusedText(err))
	}
	return b.putOff(ctx, es, err)
}

func goneText(e queue.Entry) string {
	if e.OnTrace {
		return "this trace no longer exists in Phoenix"
	}
	return "this span no longer exists in Phoenix"
}

func refusedText(err error) string {
	if t := review.TextOf(err); t != "" {
		return t
	}
	return "Phoenix refuses it"
}

// serverError reports a 500: the one failure of the other side that may be
// this judgement's own fault.
func serverError(err error) bool {
	var s *phoenix.StatusError
	return errors.As(err, &s) && s.Status == http.StatusInternalServerError
}

// putOff gives the leases back. The error is passed on when it is the other
// side's and concerns everything, so that deliver pauses.
func (b *Bot) putOff(ctx context.Context, es []queue.Entry, cause error) error {
	wait := max(review.WaitOf(cause), min(time.Second<<min(es[0].Tries, 6), time.Minute))
	if k := review.KindOf(cause); k == review.Down || k == review.Unsure {
		wait = longestPause // the pause is deliver's; a short way back when Phoenix answers
	}
	b.log.Warn("judgements wait for Phoenix", "judgements", len(es), "kind", review.KindOf(cause), "again_in", wait, "error", cause)
	if err := b.queue.Later(ctx, es, wait); err != nil {
		return err // the leases end by themselves
	}
	for _, e := range es {
		b.soon(e)
	}
	switch review.KindOf(cause) {
	case review.Down, review.Unsure, review.Denied, review.Busy:
		return cause
	}
	return nil
}

// soon lets the card say that the judgement is saved here and will be sent.
func (b *Bot) soon(e queue.Entry) {
	if e.Tries > 0 {
		return // it says so already
	}
	ctx, cancel := context.WithTimeout(b.finish, 5*time.Second)
	defer cancel()
	_, err := b.queue.Change(ctx, e.Route, e.TraceID, func(t *review.Thread) (queue.Step, error) {
		c := t.Card(e.SpanID)
		if c == nil {
			return queue.Step{Nothing: true}, nil
		}
		return queue.Step{Redraw: redrawOf(t, e.SpanID)}, nil
	})
	if err != nil {
		b.log.Warn("a card could not be marked for redrawing", "ref", e.Ref, "error", err)
	}
	b.redraw.send()
}

// settle records what became of delivered judgements: stored (failure empty)
// or, with the reason, a dead letter. Judgements of one trace are settled
// together.
func (b *Bot) settle(ctx context.Context, held *leases, es []queue.Entry, failure string) error {
	type key struct{ route, trace string }
	groups := map[key][]queue.Entry{}
	var order []key
	for _, e := range es {
		k := key{e.Route, e.TraceID}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], e)
	}
	for _, k := range order {
		lost := held.lost()
		_, err := b.queue.Change(ctx, k.route, k.trace, func(t *review.Thread) (queue.Step, error) {
			s := queue.Step{Redraw: map[string]time.Time{}}
			for _, e := range groups[k] {
				if failure == "" {
					s.Done = append(s.Done, e)
				} else {
					s.Bury = append(s.Bury, queue.Dead{Entry: e, Why: failure})
				}
				if !t.Confirm(e.Judgement, failure) {
					if lost && failure == "" {
						if j, ok := b.overwrote(ctx, t, e); ok {
							s.Put, s.Resent = append(s.Put, j), true
						}
					}
					continue
				}
				if failure == goneText(e) && !e.OnTrace {
					t.Close(e.SpanID, review.Deleted)
				}
				for what, at := range redrawOf(t, e.SpanID) {
					s.Redraw[what] = at
				}
			}
			return s, nil
		})
		if err != nil {
			return err // the leases end; Phoenix takes the same judgements once more
		}
		for _, e := range groups[k] {
			b.confirmed(e.Judgement)
			switch {
			case failure != "":
				b.metrics.judged(e.Judgement, "failed")
			case e.Withdrawn:
				b.metrics.judged(e.Judgement, "withdrawn")
			default:
				b.metrics.judged(e.Judgement, "stored")
			}
		}
	}
	b.redraw.send()
	return nil
}

// overwrote is what must go to Phoenix once more after a judgement was sent by
// someone whose lease was another's by then: the reviewer's later word may have
// been there already.
func (b *Bot) overwrote(ctx context.Context, t *review.Thread, e queue.Entry) (review.Judgement, bool) {
	j := e.Judgement
	v := t.Card(j.SpanID).Find(j.Reviewer.ID, j.Name, j.OnTrace)
	switch {
	case v == nil && j.Withdrawn:
		return j, false
	case v == nil: // withdrawn, and deleted before we sent it
		j.Withdrawn, j.At = true, time.Now().Truncate(time.Millisecond)
	case !v.At.After(j.At):
		return j, false
	default:
		j.Answer = review.Answer{Label: v.Label, Score: v.Score, Explanation: v.Words}
		j.At, j.Rubric, j.Withdrawn = v.At, v.Rubric, v.Withdrawn
		if kept, ok, err := b.queue.Kept(ctx, t.Route, j); err == nil && ok && kept.At.Equal(v.At) {
			j.Answer = kept.Answer
		}
		if j.Recorded != nil {
			rubric, known, err := b.rubrics.get(ctx, j.Rubric)
			if err != nil || !known {
				return j, false // the next comparison finds Phoenix behind, and sends it from the history
			}
			j.Recorded = rubric.Record(j.Answer)
		}
		t.Retry(j)
	}
	b.log.Warn("a judgement was sent late, after its lease; the reviewer's later word goes to Phoenix once more", "key", e.Key, "clicked", e.At, "later", j.At)
	return j, true
}

// confirmed forgets what was remembered of a judgement that Phoenix, or the dead
// letters, have now.
func (b *Bot) confirmed(j review.Judgement) {
	if own, ok := b.accepted.get(j.Key()); ok && !own.At.After(j.At) {
		b.accepted.drop(j.Key())
	}
}

// deliverWithdrawal deletes one annotation.
func (b *Bot) deliverWithdrawal(ctx context.Context, held *leases, e queue.Entry) error {
	if e.Project == "" { // its card expired and its route was taken out
		return b.settle(ctx, held, []queue.Entry{e}, "its project is not known any more; delete the annotation in Phoenix")
	}
	b.forgetProject(e.Project) // whether it is still there decides what a 404 means
	project, err := b.projectID(ctx, e.Project)
	known := err == nil
	if known {
		err = b.phoenix.Withdraw(ctx, project, b.annotation(e.Judgement, b.nameFor(ctx, e.Reviewer)))
	}
	switch review.KindOf(err) {
	case "":
		return b.settle(ctx, held, []queue.Entry{e}, "")
	case review.Gone:
		// Phoenix listed its projects and this one is not there: the annotation
		// went with it. A 404 may be a proxy's while Phoenix restarts.
		if !known && gone(err) {
			return b.settle(ctx, held, []queue.Entry{e}, "")
		}
	case review.Refused:
		return b.settle(ctx, held, []queue.Entry{e}, refusedText(err))
	}
	if serverError(err) && e.Tries+1 >= poisoned {
		return b.settle(ctx, held, []queue.Entry{e}, refusedText(err))
	}
	return b.putOff(ctx, []queue.Entry{e}, err)
}

func (b *Bot) annotations(ctx context.Context, es []queue.Entry) []phoenix.Annotation {
	out := make([]phoenix.Annotation, len(es))
	for i, e := range es {
		out[i] = b.annotation(e.Judgement, b.nameFor(ctx, e.Reviewer))
	}
	return out
}

// nameFor is the reviewer's name for the annotation. Phoenix must not wait for
// Slack: a name that does not come in time is the one that came with the click.
func (b *Bot) nameFor(ctx context.Context, r review.Reviewer) string {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if n := b.names.of(ctx, []string{r.ID})[r.ID]; n != "" {
		return n
	}
	return r.Name
}

// annotation adds what people who read the annotation in Phoenix want to know:
// who said it, where, of which question, when.
func (b *Bot) annotation(j review.Judgement, name string) phoenix.Annotation {
	meta := map[string]any{
		"reviewer":   name,
		"channel":    j.Channel,
		"rubric":     j.Rubric,
		"clicked_at": j.At.UTC().Format(time.RFC3339Nano),
		"spanbot":    b.set.Version,
	}
	if j.Chosen.Stream != "" {
		meta["stream"] = string(j.Chosen.Stream)
		meta["selection_probability"] = j.Chosen.Probability
	}
	message, thread := j.Message, j.ThreadTS
	if message == "" {
		message, thread = thread, ""
	}
	if link := slackui.Permalink(b.identity.URL, j.Channel, message, thread); message != "" && link != "" {
		meta["permalink"] = link
	}
	return phoenix.Annotation{Judgement: j, Metadata: meta}
}
