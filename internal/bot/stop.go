package bot

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
	"github.com/spanbot/spanbot/internal/stats"
)

// progress is how far a route with a Stop is on its way to enough judgements.
type progress struct {
	queue.Progress
	stop   review.Stop
	failed int  // spans whose verdict is the rubric's 👎
	thumb  bool // the rubric has a 👎
	chance bool // only spans that chance chose are counted: the route posts others, too
}

// progress reads it. It is false for a route without a Stop, and while its rubric
// is not known.
func (r *route) progress(ctx context.Context) (progress, bool, error) {
	_, rubric, _ := r.now()
	if !r.Stop.Set() || rubric.Name == "" {
		return progress{}, false, nil
	}
	counted, err := r.b.queue.Progress(ctx, r.Name, rubric.Hash())
	if err != nil {
		return progress{}, false, err
	}
	p := progress{stop: r.Stop, Progress: counted, chance: r.Order == review.ByUncertainty}
	if rubric.Down != nil {
		p.thumb, p.failed = true, counted.Labels[rubric.Down.Name]
	}
	return p, true, nil
}

// halfWidth is that of a look's interval; of a rubric without a 👎 no rate is known.
func (p progress) halfWidth(l review.Look) float64 {
	if !p.thumb {
		return 1
	}
	return stats.HalfWidth(l.Failed, l.Judged)
}

// enough reports whether the route has enough judgements. It takes the look that
// is due, and sees to it that the channel is told once.
func (r *route) enough(ctx context.Context) (bool, error) {
	p, ok, err := r.progress(ctx)
	if err != nil || !ok {
		return false, err
	}
	_, rubric, channel := r.now()
	if size, due := p.stop.Due(p.Judged(), p.Looks); due {
		if err := r.b.queue.KeepLook(ctx, r.Name, rubric.Hash(), review.Look{Size: size, Judged: p.Judged(), Failed: p.failed}); err != nil {
			return false, err
		}
		if p, _, err = r.progress(ctx); err != nil { // another replica may have looked first
			return false, err
		}
	}
	at, enough := p.stop.Enough(p.Looks, p.halfWidth)
	if !enough {
		return false, nil
	}
	if err := r.tellEnough(ctx, channel, rubric.Hash(), at, p.at(at)); err != nil {
		// It is said later; that nothing more is posted does not wait for it.
		r.log.Warn("the channel could not be told that the route has enough judgements; trying again", "kind", review.KindOf(err), "error", err)
	}
	return true, nil
}

// tellEnough tells the channel, unless that was done. Of several replicas one
// does, and it looks in the channel first: an earlier one may have died between
// telling and noting it, and a new Redis knows of nothing.
func (r *route) tellEnough(ctx context.Context, channel, rubric string, at review.Look, line string) error {
	mine, err := r.b.queue.Telling(ctx, r.Name, rubric, at)
	if err != nil || !mine {
		return err
	}
	id := slackui.EnoughBlockID(r.Name, rubric, at.Size)
	ts, found, err := r.b.slack.Find(ctx, channel, "", id, r.fullWindow(), r.b.identity)
	if err != nil {
		return err
	}
	if !found {
		posted, err := r.b.slack.Post(ctx, channel, "", slackui.DrawEnough(id, r.Name, line))
		if err != nil {
			return err
		}
		ts = posted.TS
		r.log.Info("the route has enough judgements", "judged", at.Judged, "failed", at.Failed, "look", at.Size, "ts", ts)
	}
	return r.b.queue.Told(ctx, r.Name, rubric, at, ts)
}

// line says how far the route is: at the look where it had enough, else now.
func (p progress) line() string {
	if at, enough := p.stop.Enough(p.Looks, p.halfWidth); enough {
		return "enough: " + p.at(at)
	}
	n := p.Judged()
	switch {
	case n == 0 && p.stop.Width > 0:
		return "no label yet; " + points(p.stop.Width) + " is wanted"
	case !p.thumb:
		return fmt.Sprintf("%s of at most %s; the rubric has no 👎, so there is no failure rate", labels(n), thousands(p.stop.Labels))
	}
	return p.rate(review.Look{Judged: n, Failed: p.failed}) + p.more(n, p.failed, p.stop.Width)
}

// at says what was found at a look.
func (p progress) at(l review.Look) string {
	which := ""
	for i, size := range p.stop.Looks {
		if size == l.Size {
			which = fmt.Sprintf(" (look %d of %d)", i+1, len(p.stop.Looks))
		}
	}
	if l.Size == p.stop.Labels {
		which = " (no more are wanted)"
	}
	if !p.thumb {
		return labels(l.Judged) + which
	}
	// What the next step would take: the width that was not reached, else the next
	// narrower one in whole points.
	next := p.stop.Width
	if half := p.halfWidth(l); half <= next+review.SameWidth {
		next = math.Max((math.Ceil(half*100)-1)/100, 0)
	}
	return p.rate(l) + which + p.more(l.Judged, l.Failed, next)
}

// rate is "failure rate 8 % ± 3 points after 320 labels".
func (p progress) rate(l review.Look) string {
	return "failure rate " + number(stats.Wilson(l.Failed, l.Judged).Value*100) + " % " + points(stats.HalfWidth(l.Failed, l.Judged)) + " after " + labels(l.Judged) + p.of()
}

// of says which labels are counted, where those are not all.
func (p progress) of() string {
	if p.chance {
		return " of spans chosen by chance"
	}
	return ""
}

// more is "; about 390 more for ± 2": how many more labels make the interval that
// narrow if the rate stays.
func (p progress) more(judged, failed int, width float64) string {
	if width <= 0 {
		return ""
	}
	m := stats.SampleSize(float64(failed)/float64(judged), width) - judged
	if m <= 0 {
		return ""
	}
	if m > 20 {
		m = (m + 9) / 10 * 10
	}
	return "; about " + thousands(m) + " more for ± " + number(width*100)
}

func points(width float64) string {
	if n := number(width * 100); n != "1" {
		return "± " + n + " points"
	}
	return "± 1 point"
}

func labels(n int) string {
	if n == 1 {
		return "1 label"
	}
	return thousands(n) + " labels"
}

// number is f with one decimal, where it has one.
func number(f float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0")
}

// thousands is 12,345.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
