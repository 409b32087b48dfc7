package phoenix

import (
	"context"
	"net/url"
	"slices"

	"github.com/spanbot/spanbot/internal/review"
)

// idsAtOnce is how many span ids one request names: the server's plan for more
// of them is slower than two requests (measured at 100,000 spans).
const idsAtOnce = 10

// SpansByID reads several spans of a project, in the order asked, text
// characters of each text. Spans that Phoenix does not have (any more) are left
// out; on servers before 19.6, which cannot look spans up by id, all are.
//
// Phoenix: GET /v1/projects/{p}/spans?span_id=…, since 19.6.
func (c *Client) SpansByID(ctx context.Context, project string, ids []string, text int) ([]review.Span, error) {
	if v, known := c.serverVersion(); !known || v.less(knowsSpanID) {
		return nil, nil
	}
	q := Query{Project: project, Filter: review.Filter{AllSpans: true}, Text: text}
	var out []review.Span
	for part := range slices.Chunk(ids, idsAtOnce) {
		rows, _, err := c.page(ctx, "spans_by_id", q, url.Values{"span_id": part, "limit": {"100"}})
		if err != nil {
			return nil, err
		}
		for _, id := range part {
			if i := slices.IndexFunc(rows, func(r Row) bool { return r.ID == id }); i >= 0 {
				out = append(out, rows[i].Span)
			}
		}
	}
	return out, nil
}
