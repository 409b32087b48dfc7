package bot

import (
	"context"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
)

// siftMost bounds how many of the spans that wait for a judge one poll looks up:
// the next poll goes on behind them.
const siftMost = 100

// judge is the annotation name whose word the route is ordered by; "" when it is
// not ordered by any.
func (r *route) judge() string {
	if r.Order != review.ByUncertainty {
		return ""
	}
	return r.JudgeName()
}

// sift looks up some of the spans that wait for a judge. Judges come later than
// a poll does, so a span of the uncertain stream waits for them. When no judge
// comes, newer ones take its place at last.
func (r *route) sift(ctx context.Context, project string) error {
	list, err := r.b.queue.Unjudged(ctx, r.Name, r.sifted, siftMost)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		r.sifted = 0
		return nil
	}
	if r.judge() == "" { // the route had that order once: now they are posted behind the others
		for i := range list {
			list[i].Uncertainty = 1
		}
		added, _, err := r.b.queue.Sift(ctx, r.Name, r.Backlog, list)
		r.b.metrics.verdict(r.Name, review.Post, added)
		return err
	}
	spans := make([]review.Span, len(list))
	for i, f := range list {
		spans[i].ID = f.SpanID // no trace: whether a human judged that one is asked before it is posted
	}
	_, rubric, _ := r.now()
	annotated, evidence, err := r.b.phoenix.Evidence(ctx, project, rubric.Name, r.judge(), spans)
	if err != nil {
		return err
	}
	var seen []queue.Find
	judged := 0
	for _, f := range list {
		u, known := evidence[f.SpanID].Uncertainty(rubric)
		if annotated[f.SpanID] {
			u, known = 0, true
			judged++
		}
		if known {
			f.Uncertainty = u
			seen = append(seen, f)
		}
	}
	added, went, err := r.b.queue.Sift(ctx, r.Name, r.Backlog, seen)
	if err != nil {
		return err
	}
	r.sifted += int64(len(list) - added - went)
	judged = min(judged, went)
	r.b.metrics.verdict(r.Name, review.Post, added)
	r.b.metrics.verdict(r.Name, review.Annotated, judged)
	r.b.metrics.verdict(r.Name, review.NotChosen, went-judged)
	return nil
}

// claim takes what is to be posted next.
func (r *route) claim(ctx context.Context) (queue.Claim, bool, error) {
	if r.Order == review.ByUncertainty {
		return r.b.queue.ClaimUncertain(ctx, r.Name, r.MaxOpen, r.Uncertainty.Random, lease(claimLease))
	}
	return r.b.queue.Claim(ctx, r.Name, r.MaxOpen, r.Order, lease(claimLease))
}

// chosen is how a claimed span was chosen, by what is known of it now: a judge
// may have come since the poll.
func (r *route) chosen(c queue.Claim, e review.Evidence, rubric review.Rubric) review.Chosen {
	stream := r.StreamOf(c.SpanID)
	switch {
	case c.Uncertain:
		stream = review.Uncertain // also when the route has another order by now
	case stream == review.Uncertain:
		return review.Chosen{} // it waited already when the route got its order
	}
	u, _ := e.Uncertainty(rubric)
	return r.Choice(stream, u > 0)
}

// chosenAgain is the same of cards that Redis does not know any more.
func (r *route) chosenAgain(ctx context.Context, project string, rubric review.Rubric, spans []review.Span) (map[string]review.Chosen, error) {
	if r.judge() == "" {
		return nil, nil
	}
	_, evidence, err := r.b.phoenix.Evidence(ctx, project, rubric.Name, r.judge(), spans)
	if err != nil {
		return nil, err
	}
	out := make(map[string]review.Chosen, len(spans))
	for _, s := range spans {
		u, _ := evidence[s.ID].Uncertainty(rubric)
		out[s.ID] = r.Choice(r.StreamOf(s.ID), u > 0)
	}
	return out, nil
}
