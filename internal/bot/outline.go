package bot

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

const (
	// outlineKey names a trace's outline among the things to redraw.
	outlineKey = "outline"
	// outlineClaim stands in Thread.Outline while one replica posts it.
	outlineClaim = "posting:"
	// outlineStale is when such a claim is given up: its owner must be dead.
	outlineStale = time.Minute
	// lateSpans is how long an outline is looked after: spans of a trace may
	// come late. The looks get rarer with its age.
	lateSpans = time.Hour
)

// showTrace posts the outline of a card's trace into its thread, once. It is
// posted after the click was answered: Slack's pace may make it wait.
func (b *Bot) showTrace(ctx context.Context, c slackui.Click) error {
	mark := outlineClaim + strconv.FormatInt(time.Now().UnixMilli(), 10)
	there := false
	thread, err := b.queue.Change(ctx, c.Ref.Route, c.Ref.TraceID, func(t *review.Thread) (queue.Step, error) {
		there = false
		b.learnCard(t, c)
		if t.Outline != "" && !staleClaim(t.Outline, time.Now()) {
			there = true
			return queue.Step{Redraw: map[string]time.Time{outlineKey: {}}}, nil
		}
		t.Outline = mark
		return queue.Step{}, nil
	})
	if err != nil {
		return &review.Error{Kind: review.KindOf(err), Text: "The trace could not be shown: our store does not answer right now. Please try again in a moment.", Err: err}
	}
	if there {
		b.drawn.drop(thread.Channel + "/" + thread.Outline) // its message may have been deleted
		b.redraw.send()
		return &review.Error{Kind: review.Invalid, Text: "The trace is shown in this card's thread already; it is being brought up to date."}
	}
	b.later(func(ctx context.Context) error {
		err := b.postOutline(ctx, c, thread, mark)
		if err != nil {
			b.unclaimOutline(c.Ref, mark)
			text := review.TextOf(err)
			if text == "" {
				text = "the reason is in the bot's log"
			}
			_ = b.slack.Tell(ctx, c.Channel, c.Reviewer.ID, c.ThreadTS, "The trace could not be shown: "+text)
		}
		return err
	})
	return nil
}

// staleClaim reports whether an outline is being posted by someone who died.
func staleClaim(outline string, now time.Time) bool {
	ms, ok := strings.CutPrefix(outline, outlineClaim)
	if !ok {
		return false
	}
	at, err := strconv.ParseInt(ms, 10, 64)
	return err != nil || now.Sub(time.UnixMilli(at)) > outlineStale
}

func (b *Bot) postOutline(ctx context.Context, c slackui.Click, thread review.Thread, mark string) error {
	message, err := b.drawOutline(ctx, thread, c.Ref)
	if err != nil {
		return err
	}
	// An earlier owner may have posted it and died before the record.
	ts, ok, err := b.slack.Find(ctx, thread.Channel, thread.TS, slackui.OutlineBlockID(c.Ref), time.Now().Add(-24*time.Hour), b.identity)
	if err != nil {
		return err
	}
	if !ok {
		posted, err := b.slack.Post(ctx, thread.Channel, thread.TS, message)
		if err != nil {
			return err
		}
		ts = posted.TS
	}
	_, err = b.queue.Change(ctx, c.Ref.Route, c.Ref.TraceID, func(t *review.Thread) (queue.Step, error) {
		if t.Outline != mark {
			return queue.Step{Nothing: true}, nil
		}
		t.Outline = ts
		return queue.Step{Redraw: map[string]time.Time{outlineKey: time.Now().Add(nextLook(0))}}, nil
	})
	return err
}

func (b *Bot) unclaimOutline(ref review.Ref, mark string) {
	ctx, cancel := context.WithTimeout(b.finish, 5*time.Second)
	defer cancel()
	_, err := b.queue.Change(ctx, ref.Route, ref.TraceID, func(t *review.Thread) (queue.Step, error) {
		if t.Outline != mark {
			return queue.Step{Nothing: true}, nil
		}
		t.Outline = ""
		return queue.Step{}, nil
	})
	if err != nil {
		b.log.Warn("an outline stays claimed for a minute", "ref", ref, "error", err)
	}
}

// drawOutline reads the trace and draws it with the verdicts of today.
func (b *Bot) drawOutline(ctx context.Context, t review.Thread, ref review.Ref) (slackui.Message, error) {
	id, err := b.projectOf(ctx, t.Project, t.Route)
	if err != nil {
		return slackui.Message{}, err
	}
	trace, err := b.phoenix.Trace(ctx, id, t.TraceID, detailOutlineText, cardSpans)
	if err != nil {
		return slackui.Message{}, err
	}
	if len(trace.Spans) == 0 {
		return slackui.Message{}, &review.Error{Kind: review.Gone, Text: "this trace no longer exists in Phoenix"}
	}
	hash := ""
	if len(t.Cards) > 0 {
		hash = t.Cards[0].Rubric
	}
	rubric, ok, err := b.asked(ctx, hash, t.Route)
	if err != nil {
		return slackui.Message{}, err
	}
	if !ok {
		return slackui.Message{}, &review.Error{Kind: review.Gone, Text: "the question of this card is no longer known"}
	}
	return slackui.DrawOutline(slackui.OutlineView{
		Ref: ref, Trace: trace, Thread: t, Rubric: rubric, Names: b.names.of(ctx, on(t)),
		Phoenix: b.set.public(), Now: time.Now(),
	}), nil
}

// redrawOutline brings an outline up to date and says when to look again.
func (b *Bot) redrawOutline(ctx context.Context, t review.Thread) (again time.Time, err error) {
	if t.Outline == "" || strings.HasPrefix(t.Outline, outlineClaim) || len(t.Cards) == 0 {
		return time.Time{}, nil
	}
	ref := review.Ref{Route: t.Route, TraceID: t.TraceID, SpanID: t.Cards[0].SpanID}
	pctx, cancel := context.WithTimeout(ctx, redrawPatience)
	defer cancel()
	m, err := b.drawOutline(pctx, t, ref)
	if review.KindOf(err) == review.Gone {
		return time.Time{}, nil // it keeps showing what was there
	}
	if err != nil {
		return time.Now().Add(30 * time.Second), nil
	}
	if err := b.update(ctx, t.Channel, t.Outline, m); err != nil {
		return time.Time{}, err
	}
	if age := time.Since(timeOf(t.Outline)); age < lateSpans {
		again = time.Now().Add(nextLook(age))
	}
	return again, nil
}

// nextLook is when an outline of that age is looked at again.
func nextLook(age time.Duration) time.Duration { return max(5*time.Second, age/2) }

// timeOf is when a Slack message was posted: its ts is a time in seconds.
func timeOf(ts string) time.Time {
	sec, err := strconv.ParseFloat(ts, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(int64(sec), 0)
}
