package bot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

// Budgets of a click, from its receipt: Slack waits three seconds. When Redis
// has not taken it in its time, Phoenix has until directBudget; then the person
// is told. A click that had to wait for its turn gets budgetLeast of each all the
// same: with many people at once, giving up on a Redis that was never asked would
// only move the crowd to Phoenix.
const (
	redisBudget  = 400 * time.Millisecond
	directBudget = 1900 * time.Millisecond
	budgetLeast  = 250 * time.Millisecond
)

// within is the context of a step of a click.
func within(ctx context.Context, received time.Time, budget time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, max(time.Until(received.Add(budget)), budgetLeast))
}

// handle says what each button and form means.
func (b *Bot) handle() {
	b.mux.OnClick(slackui.Up, b.guarded(b.tap))
	b.mux.OnClick(slackui.Down, b.guarded(b.tap))
	for i := range slackui.ChooseMost {
		b.mux.OnClick(slackui.Choose(i), b.guarded(b.tap))
	}
	b.mux.OnClick(slackui.Annotate, b.guarded(b.openForm))
	b.mux.OnClick(slackui.Pick, b.guarded(b.openForm))
	b.mux.OnClick(slackui.Withdraw, b.guarded(b.withdraw))
	b.mux.OnClick(slackui.Skip, b.guarded(b.skip))
	b.mux.OnClick(slackui.Details, b.openDetails)
	b.mux.OnClick(slackui.Page, b.turnPage)
	b.mux.OnClick(slackui.Trace, b.showTrace)
	b.mux.OnClick(slackui.Again, b.guarded(b.tryAgain))
	b.mux.OnSubmit(b.submit)
	b.mux.OnHome(b.openHome)
	b.mux.OnStatus(b.status)
}

// tap stores what a button says: 👍, 👎, or an answer of a study. It only talks to Redis, so it answers in
// milliseconds with Phoenix down; deliver.go carries the judgement on.
func (b *Bot) tap(ctx context.Context, c slackui.Click) error {
	rctx, cancel := within(ctx, c.Received, redisBudget)
	rubric, ok, err := b.rubrics.get(rctx, c.Rubric)
	cancel()
	if err != nil && review.KindOf(err) != review.Down && review.KindOf(err) != review.Unsure {
		return err
	}
	if !ok {
		if err != nil {
			return notSaved(err)
		}
		return b.changedQuestion(ctx, c)
	}
	answer, ok := rubric.Thumb(c.Action == slackui.Up)
	if i, chosen := c.Action.Chosen(); chosen && i < len(rubric.Labels) {
		answer, ok = review.Answer{Label: rubric.Labels[i].Name, Score: rubric.Labels[i].Score}, true
	}
	if !ok {
		return &review.Error{Kind: review.Invalid, Text: "This question has no such button any more; use “Annotate…”."}
	}
	j := judgement(c.Ref, rubric, c.Reviewer, c.Channel, c.Message, c.ThreadTS)
	j.Answer, j.Recorded, j.Tap = answer, rubric.Record(answer), true
	if c.Again && !c.At.IsZero() {
		j.At = c.At.Truncate(time.Millisecond)
	}
	return b.keep(ctx, j, c.Received, c.Again)
}

// submit stores a filled form.
func (b *Bot) submit(ctx context.Context, s slackui.Submit) (map[review.Field]string, error) {
	if err := b.mayJudge(ctx, s.Ref, s.Reviewer.ID); err != nil {
		return nil, err
	}
	rctx, cancel := within(ctx, s.Received, redisBudget)
	rubric, ok, err := b.asked(rctx, s.Rubric, s.Ref.Route)
	cancel()
	if err != nil {
		return nil, notSaved(err)
	}
	if !ok {
		return nil, &review.Error{Kind: review.Invalid, Text: "Not saved: this question is no longer asked and its answers are not known any more. Copy your text and use a newer card."}
	}
	answer, wrong := rubric.Parse(s.Label, s.Score, s.Explanation, s.Correction)
	if wrong != nil {
		return wrong, nil
	}
	j := judgement(s.Ref, rubric, s.Reviewer, s.Channel, s.Message, s.ThreadTS)
	j.Answer, j.Recorded, j.OnTrace = answer, rubric.Record(answer), s.OnTrace
	return nil, b.keep(ctx, j, s.Received, false)
}

// judgement is the frame of one, without what was said: who said it where, and
// whose annotation it is. Milliseconds are what
// Redis keeps; the latest click counts by them.
func judgement(ref review.Ref, rubric review.Rubric, who review.Reviewer, channel, message, thread string) review.Judgement {
	return review.Judgement{
		Ref: ref, Name: rubric.Name, Rubric: rubric.Hash(), Reviewer: who,
		At: time.Now().Truncate(time.Millisecond), Channel: channel, Message: message, ThreadTS: thread,
		Recorded: rubric.Record(review.Answer{}),
	}
}

// keep makes a judgement safe: card and outbox in one step. With Redis gone it
// goes straight to Phoenix; when that fails too the reviewer is told. again says
// that Slack sends this click once more.
func (b *Bot) keep(ctx context.Context, j review.Judgement, received time.Time, again bool) error {
	changed, over := false, false
	judge := func(t *review.Thread) (queue.Step, error) {
		if t.Project == "" {
			if r := b.route(j.Route); r != nil {
				t.Project = r.Project
			}
		}
		// Clocks of replicas differ; a person's second word is the later one all
		// the same. One that Slack sends again keeps its place.
		own := t.Card(j.SpanID).Find(j.Reviewer.ID, j.Name, j.OnTrace)
		if own != nil && !again && !j.At.After(own.At) {
			j.At = own.At.Add(time.Millisecond)
		}
		if over && (own == nil || own.Withdrawn || !j.Tap || own.Label != j.Label) { // the same tap again says nothing new
			return queue.Step{Nothing: true}, errRevealed
		}
		if changed = t.Judge(j); !changed {
			return queue.Step{Nothing: true}, nil
		}
		s := queue.Step{Put: []review.Judgement{j}, Redraw: redrawOf(t, j.SpanID), Safe: true}
		if j.OnTrace {
			for _, c := range t.Cards { // it may have stood on another card
				if c.TS != "" {
					s.Redraw[c.SpanID] = time.Time{}
				}
			}
		}
		if j.Explanation != "" || j.Correction != "" {
			s.Keep = []review.Judgement{j}
		} else {
			s.Forget = []review.Judgement{j}
		}
		return s, nil
	}
	fault("click.received")
	rctx, cancel := within(ctx, received, redisBudget)
	// Who taps between this look and the change has not seen a card that tells.
	over, _ = b.revealed(rctx, j.Route)
	_, err := b.queue.Change(rctx, j.Route, j.TraceID, judge)
	cancel()
	fault("click.kept")
	if errors.Is(err, queue.ErrUnreplicated) {
		// Redis has it, on a master that may be going. Phoenix shall have it, too;
		// where that does not answer, what Redis has must do.
		if derr := b.annotateNow(ctx, j, received); derr != nil {
			b.log.Warn("a judgement is on one Redis server alone", "ref", j.Ref, "user", j.Reviewer.ID, "error", derr)
		}
		err = nil
	}
	switch review.KindOf(err) {
	case "":
		if !changed {
			b.metrics.judged(j, "unchanged")
			return nil
		}
		b.accepted.put(j.Key(), j)
		b.metrics.judged(j, "accepted")
		b.kick.send()
		b.redraw.send()
		b.touchHome(j.Reviewer)
		return nil
	case review.Invalid:
		return err
	default:
		if over {
			return errRevealed
		}
		b.trusted.Store(time.Now().UnixMilli()) // what is older may be behind what goes to Phoenix now
		if err := b.keepDirect(ctx, j, received, err); err != nil {
			return err
		}
		b.accepted.put(j.Key(), j)
		// Redis may hold an older one of this reviewer, on its way or on the card.
		again = true // it keeps its place among what the reviewer says meanwhile
		b.spawn(func() {
			for pause(b.finish, time.Second) {
				_, err := b.queue.Change(b.finish, j.Route, j.TraceID, judge)
				if err == nil || review.KindOf(err) == review.Invalid {
					b.kick.send()
					b.redraw.send()
					return
				}
			}
		})
		return nil
	}
}

// keepDirect is the way around a Redis that does not answer.
func (b *Bot) keepDirect(ctx context.Context, j review.Judgement, received time.Time, cause error) error {
	if err := b.annotateNow(ctx, j, received); err != nil {
		b.metrics.judged(j, "lost")
		b.log.Error("a judgement was refused with a word to the reviewer: neither Redis nor Phoenix took it",
			"ref", j.Ref, "user", j.Reviewer.ID, "redis", cause, "phoenix", err)
		if review.KindOf(err) == review.Gone {
			return &review.Error{Kind: review.Gone, Text: "Not saved: this span no longer exists in Phoenix.", Err: err}
		}
		return notSaved(err)
	}
	b.metrics.judged(j, "direct")
	b.log.Warn("Redis does not answer; a judgement went straight to Phoenix", "ref", j.Ref, "user", j.Reviewer.ID, "error", cause)
	return nil
}

// annotateNow writes a judgement to Phoenix while its reviewer waits.
func (b *Bot) annotateNow(ctx context.Context, j review.Judgement, received time.Time) error {
	ctx, cancel := within(ctx, received, directBudget)
	defer cancel()
	return b.phoenix.Annotate(ctx, []phoenix.Annotation{b.annotation(j, j.Reviewer.Name)})
}

func notSaved(cause error) error {
	return &review.Error{Kind: review.Down, Text: "Not saved: our store does not answer right now. Please try again in a moment.", Err: cause}
}

// redrawOf lists what a change of one card makes stale, for now.
func redrawOf(t *review.Thread, spanID string) map[string]time.Time {
	out := map[string]time.Time{}
	if c := t.Card(spanID); c != nil && c.TS != "" {
		out[spanID] = time.Time{}
	}
	if t.Outline != "" {
		out[outlineKey] = time.Time{}
	}
	return out
}

// withdraw takes the reviewer's judgement back: it is deleted in Phoenix, and
// the card opens again when it was the last one.
func (b *Bot) withdraw(ctx context.Context, c slackui.Click) error {
	rubric, ok, err := b.asked(ctx, c.Rubric, c.Ref.Route)
	if err != nil {
		return notSaved(err)
	}
	if !ok {
		return &review.Error{Kind: review.Gone, Text: "This question is no longer known; nothing was withdrawn. Your annotation can be deleted in Phoenix."}
	}
	j := judgement(c.Ref, rubric, c.Reviewer, c.Channel, c.Message, c.ThreadTS)
	j.Withdrawn, j.OnTrace = true, c.OnTrace
	_, err = b.queue.Change(ctx, c.Ref.Route, c.Ref.TraceID, func(t *review.Thread) (queue.Step, error) {
		if card := t.Card(c.Ref.SpanID); card != nil && card.Find(c.Reviewer.ID, rubric.Name, c.OnTrace) != nil {
			if !t.Withdraw(j) {
				return queue.Step{Nothing: true}, nil // it is on its way already
			}
		}
		if t.Project == "" {
			if r := b.route(c.Ref.Route); r != nil {
				t.Project = r.Project
			}
		}
		return queue.Step{Put: []review.Judgement{j}, Forget: []review.Judgement{j}, Redraw: redrawOf(t, c.Ref.SpanID)}, nil
	})
	if err != nil {
		return &review.Error{Kind: review.KindOf(err), Text: "Not withdrawn: our store does not answer right now. Please try again in a moment.", Err: err}
	}
	b.accepted.put(j.Key(), j)
	b.metrics.judged(j, "accepted")
	b.kick.send()
	b.redraw.send()
	b.touchHome(j.Reviewer)
	b.later(func(ctx context.Context) error {
		return b.slack.UpdateView(ctx, c.ViewID, "", slackui.DrawNote("Withdrawn", "Your judgement was taken back and is being deleted in Phoenix. You can close this window."))
	})
	return nil
}

// skip closes a card without a label, for everyone.
func (b *Bot) skip(ctx context.Context, c slackui.Click) error {
	var taken string
	_, err := b.queue.Change(ctx, c.Ref.Route, c.Ref.TraceID, func(t *review.Thread) (queue.Step, error) {
		taken = ""
		b.learnCard(t, c)
		if !t.Skip(c.Ref.SpanID, c.Reviewer.ID) {
			if card := t.Card(c.Ref.SpanID); card != nil {
				taken = string(card.State)
			}
			return queue.Step{Nothing: true}, nil
		}
		return queue.Step{Redraw: redrawOf(t, c.Ref.SpanID)}, nil
	})
	if err != nil {
		return &review.Error{Kind: review.KindOf(err), Text: "Not skipped: our store does not answer right now. Please try again in a moment.", Err: err}
	}
	if taken != "" && taken != string(review.Skipped) {
		return &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("Not skipped: this card is %s by now.", taken)}
	}
	b.redraw.send()
	return nil
}

// learnCard makes a card known again whose entry expired: the ids in its
// button and its place in Slack are enough.
func (b *Bot) learnCard(t *review.Thread, c slackui.Click) {
	if card := t.Card(c.Ref.SpanID); (card != nil && card.TS != "") || c.Message == "" || c.Message == t.Outline {
		return
	}
	if r := b.route(c.Ref.Route); r != nil && t.Project == "" {
		t.Project = r.Project
	}
	parent := c.ThreadTS
	if parent == c.Message {
		parent = ""
	}
	t.Place(review.Card{SpanID: c.Ref.SpanID, Channel: c.Channel, TS: c.Message, Rubric: c.Rubric, Posted: time.Now()}, parent)
	if t.TS == "" {
		t.Channel, t.TS = c.Channel, parent
	}
}

// changedQuestion answers a tap on a button whose question nobody knows any
// more: what it said cannot be stored truthfully. The card is drawn anew with
// the question its route asks today.
func (b *Bot) changedQuestion(ctx context.Context, c slackui.Click) error {
	rubric, ok := b.current(c.Ref.Route)
	if !ok {
		return &review.Error{Kind: review.Gone, Text: "Not saved: this question is no longer asked, and what its buttons meant is not known any more."}
	}
	_, err := b.queue.Change(ctx, c.Ref.Route, c.Ref.TraceID, func(t *review.Thread) (queue.Step, error) {
		b.learnCard(t, c)
		card := t.Card(c.Ref.SpanID)
		if card == nil || card.Rubric == rubric.Hash() {
			return queue.Step{Nothing: card == nil, Redraw: redrawOf(t, c.Ref.SpanID)}, nil
		}
		card.Rubric = rubric.Hash()
		return queue.Step{Redraw: redrawOf(t, c.Ref.SpanID)}, nil
	})
	if err != nil {
		return notSaved(err)
	}
	b.redraw.send()
	return &review.Error{Kind: review.Invalid, Text: "Not saved: the question has changed since this card was posted. The card is being drawn anew; please answer it again."}
}

// later does what Slack need not wait for, under the finishing context.
func (b *Bot) later(f func(ctx context.Context) error) {
	b.spawn(func() {
		defer func() {
			if p := recover(); p != nil {
				b.log.Error("a background step panicked", "panic", p)
			}
		}()
		ctx, cancel := context.WithTimeout(b.finish, postTimeout)
		defer cancel()
		if err := f(ctx); err != nil {
			b.log.Warn("a background step failed", "kind", review.KindOf(err), "error", err)
		}
	})
}
