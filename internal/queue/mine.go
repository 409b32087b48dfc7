package queue

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

const (
	// mineKept is how long it is known what a reviewer judged: longer than
	// anybody's today.
	mineKept = 48 * time.Hour
	// mineMost bounds how much of it is known.
	mineMost = 1000

	onTrace = "|trace"
)

// mine notes, for lua/change.lua, that a judgement was made or taken back.
func mine(j review.Judgement) []any {
	what := redrawMember(j.Route, j.TraceID, j.SpanID)
	if j.OnTrace {
		what += onTrace
	}
	at := millis(j.At)
	if j.Withdrawn {
		at = 0
	}
	return []any{what, at, mineKept.Milliseconds(), mineMost}
}

// Judged is a judgement as a reviewer looks back on it.
type Judged struct {
	review.Ref
	At       time.Time
	Vote     review.Vote
	Card     review.Card
	ThreadTS string // of the parent, where the card is a reply; else ""
}

// JudgedBy is what a reviewer judged since then and did not take back, newest
// first, max at most; total is how many there are. What was judged earlier than
// two days ago is not known.
func (q *Queue) JudgedBy(ctx context.Context, user string, since time.Time, max int) (list []Judged, total int, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key, from := q.key.mine(user), strconv.FormatInt(since.UnixMilli(), 10)
	p := q.c.Pipeline()
	count := p.ZCount(ctx, key, from, "+inf")
	members := p.ZRevRangeByScoreWithScores(ctx, key, &redis.ZRangeBy{Min: from, Max: "+inf", Count: int64(max)})
	if _, err := p.Exec(ctx); err != nil {
		return nil, 0, failed("read what "+user+" judged", err)
	}
	traces := map[string][]string{} // by route
	for _, z := range members.Val() {
		if j, _, ok := minedMember(z); ok {
			traces[j.Route] = append(traces[j.Route], j.TraceID)
		}
	}
	threads := map[review.Ref]review.Thread{}
	for route, ids := range traces {
		found, err := q.Threads(ctx, route, ids)
		if err != nil {
			return nil, 0, err
		}
		for i, t := range found {
			threads[review.Ref{Route: route, TraceID: ids[i]}] = t
		}
	}
	for _, z := range members.Val() {
		j, whole, ok := minedMember(z)
		t := threads[review.Ref{Route: j.Route, TraceID: j.TraceID}]
		card := t.Card(j.SpanID)
		if !ok || card == nil {
			continue
		}
		for _, v := range card.Votes {
			if v.Reviewer != user || v.OnTrace != whole || v.Withdrawn {
				continue
			}
			j.Vote, j.Card = v, *card
			if t.TS != card.TS {
				j.ThreadTS = t.TS
			}
			list = append(list, j)
			break
		}
	}
	return list, int(count.Val()), nil
}

func minedMember(z redis.Z) (j Judged, whole, ok bool) {
	text, _ := z.Member.(string)
	text, whole = strings.CutSuffix(text, onTrace)
	f := strings.Split(text, "|")
	if len(f) != 3 {
		return Judged{}, false, false
	}
	return Judged{Ref: review.Ref{Route: f[0], TraceID: f[1], SpanID: f[2]}, At: time.UnixMilli(int64(z.Score))}, whole, true
}
