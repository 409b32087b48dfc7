package bot

import (
	"context"
	"errors"
	"time"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

const (
	// detailText is how much of a span's texts the details show before the link
	// to Phoenix, in characters.
	detailText = 200_000
	// detailOutlineText is enough for the trace beside the details.
	detailOutlineText = 200
	// phoenixPatience is how long a window that is open already waits for Phoenix.
	phoenixPatience = 10 * time.Second
)

// openForm opens the form for a card's span or one picked from an outline. It
// opens before any call to Phoenix: the trigger lives three seconds.
func (b *Bot) openForm(ctx context.Context, c slackui.Click) error {
	rubric, ok, err := b.asked(ctx, c.Rubric, c.Ref.Route)
	if err != nil {
		return notOpened(err)
	}
	if !ok {
		return &review.Error{Kind: review.Gone, Text: "This question is no longer asked, and its answers are not known any more."}
	}
	thread, err := b.queue.Thread(ctx, c.Ref.Route, c.Ref.TraceID)
	if err != nil {
		return notOpened(err)
	}
	view := slackui.FormView{Ref: c.Ref, Rubric: rubric, Channel: c.Channel, Message: c.Message, ThreadTS: c.ThreadTS}
	card := thread.Card(c.Ref.SpanID)
	switch {
	case card != nil && card.TS != "":
		view.Channel, view.Message, view.ThreadTS = card.Channel, card.TS, ""
		if card.TS != thread.TS {
			view.ThreadTS = thread.TS
		}
	case c.Action == slackui.Pick:
		// The message that was clicked is the outline: not this span's card.
		view.Message, view.ThreadTS = "", thread.TS
	}
	if card != nil {
		view.Summary = card.Summary
	}
	if span, ok, err := b.queue.Excerpt(ctx, c.Ref); err == nil && ok {
		view.Span = &span
	} else if study, err := b.caseOf(ctx, c.Ref); err == nil && study != nil {
		// A card that was answered keeps no excerpt, and what is asked is about the case.
		span := study.Span(review.Span{ID: c.Ref.SpanID, TraceID: c.Ref.TraceID, Output: review.Text{Head: view.Summary}}).Excerpt()
		view.Span = &span
	}
	own, known := b.own(ctx, card, c, rubric)
	if known {
		view.Own = own
		_, err = b.slack.OpenView(ctx, c.Trigger, slackui.DrawForm(view))
		return err
	}
	// Redis does not know what this person said before: Phoenix may.
	id, err := b.slack.OpenView(ctx, c.Trigger, slackui.DrawWait("Annotate"))
	if err != nil {
		return err
	}
	b.later(func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, phoenixPatience)
		defer cancel()
		view.Own = b.ownInPhoenix(ctx, thread.Project, c, rubric)
		if view.Span == nil {
			if span, err := b.excerptFromPhoenix(ctx, thread.Project, c.Ref); err == nil {
				view.Span = &span
			}
		}
		// The budget of Phoenix must not eat Slack's.
		sctx, cancel := context.WithTimeout(b.finish, phoenixPatience)
		defer cancel()
		return b.slack.UpdateView(sctx, id, "", slackui.DrawForm(view))
	})
	return nil
}

func notOpened(cause error) error {
	return &review.Error{Kind: review.Down, Text: "The form could not be opened: our store does not answer right now. Please try again in a moment; 👍 and 👎 may still work.", Err: cause}
}

// own is the clicker's current judgement as Redis holds it; known is false
// when Redis cannot tell: the card's entry expired, or its words did.
func (b *Bot) own(ctx context.Context, card *review.Card, c slackui.Click, rubric review.Rubric) (own *review.Judgement, known bool) {
	if card == nil {
		// A span that an outline shows and nobody judged through it here.
		return nil, c.Action == slackui.Pick
	}
	vote := card.Find(c.Reviewer.ID, rubric.Name, false)
	if vote == nil || vote.Withdrawn {
		if onTrace := card.Find(c.Reviewer.ID, rubric.Name, true); onTrace != nil && !onTrace.Withdrawn {
			vote = onTrace
		}
	}
	if vote == nil || vote.Withdrawn {
		return nil, true
	}
	j := judgement(c.Ref, rubric, c.Reviewer, c.Channel, c.Message, c.ThreadTS)
	j.OnTrace, j.Label, j.Score = vote.OnTrace, vote.Label, vote.Score
	j.Recorded = rubric.Record(j.Answer)
	if vote.Words == "" {
		return &j, true
	}
	kept, ok, err := b.queue.Kept(ctx, c.Ref.Route, j)
	if err != nil || !ok {
		return nil, false
	}
	return &kept, true
}

// ownInPhoenix asks Phoenix for the clicker's annotation of the span, then of
// the trace. Without an answer the form opens empty.
func (b *Bot) ownInPhoenix(ctx context.Context, project string, c slackui.Click, rubric review.Rubric) *review.Judgement {
	id, err := b.projectOf(ctx, project, c.Ref.Route)
	if err != nil {
		return nil
	}
	for _, onTrace := range []bool{false, true} {
		j := judgement(c.Ref, rubric, c.Reviewer, c.Channel, c.Message, c.ThreadTS)
		j.OnTrace = onTrace
		a, ok, err := b.phoenix.Own(ctx, id, j)
		if err != nil {
			b.log.Warn("the form opens without the reviewer's earlier judgement", "ref", c.Ref, "error", err)
			return nil
		}
		if ok {
			j.Answer, j.Recorded = a, rubric.Record(a)
			return &j
		}
	}
	return nil
}

// projectOf is the global id of a thread's project, or of its route's when the
// thread has been forgotten.
func (b *Bot) projectOf(ctx context.Context, project, routeName string) (string, error) {
	if project == "" {
		if r := b.route(routeName); r != nil {
			project = r.Project
		}
	}
	if project == "" {
		return "", &review.Error{Kind: review.Gone, Text: "The project of this card is not known any more."}
	}
	return b.projectID(ctx, project)
}

// excerptFromPhoenix reads a span as a card shows it.
func (b *Bot) excerptFromPhoenix(ctx context.Context, project string, ref review.Ref) (review.Span, error) {
	study, err := b.caseOf(ctx, ref)
	if err != nil {
		return review.Span{}, err
	}
	if study != nil && study.Blind != nil {
		return study.Span(review.Span{}).Excerpt(), nil
	}
	id, err := b.projectOf(ctx, project, ref.Route)
	if err != nil {
		return review.Span{}, err
	}
	trace, err := b.phoenix.Trace(ctx, id, ref.TraceID, cardText, cardSpans)
	if err != nil {
		return review.Span{}, err
	}
	span, ok := trace.Find(ref.SpanID)
	if !ok {
		if span, err = b.phoenix.Span(ctx, id, ref.TraceID, ref.SpanID, cardText); err != nil {
			return review.Span{}, err
		}
	}
	span = trace.Fill(span)
	if study != nil {
		span = study.Span(span)
	}
	return span.Excerpt(), nil
}

// wholeSpan is what a details window pages through.
type wholeSpan struct {
	view slackui.DetailsView
	at   time.Time
}

// openDetails shows the whole text of a span, its earlier turns and its trace,
// to the person who asked.
func (b *Bot) openDetails(ctx context.Context, c slackui.Click) error {
	id, err := b.slack.OpenView(ctx, c.Trigger, slackui.DrawWait("Details"))
	if err != nil {
		return err
	}
	b.later(func(ctx context.Context) error { return b.showDetails(ctx, c, id, 0) })
	return nil
}

// turnPage shows another page in a details window that is open.
func (b *Bot) turnPage(_ context.Context, c slackui.Click) error {
	b.later(func(ctx context.Context) error { return b.showDetails(ctx, c, c.ViewID, c.Page) })
	return nil
}

func (b *Bot) showDetails(ctx context.Context, c slackui.Click, viewID string, page int) error {
	rubric, _, err := b.asked(ctx, c.Rubric, c.Ref.Route)
	if err != nil {
		rubric = review.Rubric{}
	}
	view := b.wholeOf(ctx, c.Ref)
	view.Ref, view.Rubric, view.Page = c.Ref, rubric, page
	view.Phoenix, view.Now = b.set.public(), time.Now()
	if blind(c.Ref.Route) { // also where its question is not known any more
		view.Phoenix = ""
	}
	return b.slack.UpdateView(ctx, viewID, "", slackui.DrawDetails(view))
}

// wholeOf reads the span for the details; with Phoenix down it is what Redis
// holds, and says so.
func (b *Bot) wholeOf(ctx context.Context, ref review.Ref) slackui.DetailsView {
	if kept, ok := b.details.get(ref.String()); ok && time.Since(kept.at) < 2*time.Minute {
		return kept.view
	}
	thread, terr := b.queue.Thread(ctx, ref.Route, ref.TraceID)
	view := slackui.DetailsView{Project: thread.Project}
	study, err := b.caseOf(ctx, ref)
	if errors.Is(err, errCaseGone) {
		view.Note = errCaseGone.Text
		return view
	}
	if err != nil {
		view.Note = "Our store does not answer; open it again in a moment."
		return view
	}
	if study != nil && study.Blind != nil {
		view.Span = study.Span(review.Span{})
		return view
	}
	pctx, cancel := context.WithTimeout(ctx, phoenixPatience)
	defer cancel()
	id, err := b.projectOf(pctx, thread.Project, ref.Route)
	if err == nil {
		view.Span, err = b.phoenix.Span(pctx, id, ref.TraceID, ref.SpanID, detailText)
	}
	if err == nil {
		trace, terr := b.phoenix.Trace(pctx, id, ref.TraceID, detailOutlineText, cardSpans)
		if terr == nil {
			view.Trace = trace
			view.Span = trace.Fill(view.Span)
		}
		if study != nil {
			view.Span = study.Span(view.Span)
		}
		b.details.put(ref.String(), wholeSpan{view, time.Now()})
		return view
	}
	if review.KindOf(err) == review.Gone {
		view.Note = "This span no longer exists in Phoenix. What follows is what the card kept of it."
	} else {
		view.Note = "Phoenix does not answer. What follows is what the card kept of the span; open it again later for the whole text."
	}
	if span, ok, xerr := b.queue.Excerpt(ctx, ref); xerr == nil && ok {
		view.Span = span
		return view
	}
	view.Span = review.Span{ID: ref.SpanID, TraceID: ref.TraceID}
	if terr == nil {
		if card := thread.Card(ref.SpanID); card != nil {
			view.Span.Output = review.Text{Head: card.Summary}
		}
	}
	return view
}
