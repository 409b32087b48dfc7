package phoenix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spanbot/spanbot/internal/review"
)

// Withdraw deletes the reviewer's own annotation of the judgement's target and
// name; that there is none (any more) is fine. The row is read right before:
// SQLite gives the id of a deleted annotation to the next one. Where Phoenix
// refuses the deletion, the annotation is overwritten with nothing and marked
// as retracted, which Annotated and Own understand.
//
// Phoenix: POST /graphql deleteSpanAnnotations, deleteTraceAnnotations; the
// REST deletion has no filter by span and would take the reviewer's whole
// history.
func (c *Client) Withdraw(ctx context.Context, project string, a Annotation) error {
	t, id := targetOf(a.Judgement)
	var refusal error
	for range 3 {
		w, ok, err := c.row(ctx, project, a.Judgement)
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		refusal, err = c.delete(ctx, t, w.ID)
		if err != nil && review.KindOf(err) == review.Unsure && ctx.Err() == nil {
			continue // look again
		}
		if err != nil {
			return err
		}
		if refusal == nil {
			return nil
		}
		if !strings.Contains(refusal.Error(), "Could not find") {
			break
		}
	}
	a.Answer = review.Answer{}
	a.Metadata = maps.Clone(a.Metadata)
	if a.Metadata == nil {
		a.Metadata = map[string]any{}
	}
	a.Metadata[retractedKey] = true
	item, err := a.wire()
	if err != nil {
		return err
	}
	err = c.post(ctx, t, []writeItem{item}, []string{id})
	var none *MissingError
	if errors.As(err, &none) {
		return nil
	}
	if err != nil {
		return errors.Join(err, refusal)
	}
	return nil
}

// delete removes one annotation by its global id. refusal is the server's word
// why not; err is a failure to ask.
func (c *Client) delete(ctx context.Context, t target, id string) (refusal, err error) {
	query := fmt.Sprintf("mutation($i:[ID!]!){%s(input:{annotationIds:$i}){%s{id}}}", t.delete, t.deleted)
	errs, err := c.graphql(ctx, "delete", query, map[string]any{"i": []string{id}}, nil, true)
	switch s := status(err); {
	case s >= 400 && s < 500 && review.KindOf(err) != review.Busy: // 403 for a viewer, 404 or 405 behind a proxy
		return err, nil
	case err != nil && isDecode(err): // no GraphQL at this address
		return err, nil
	}
	return errs, err
}

// graphql sends a query. Phoenix reports its errors with status 200; they are
// refusal. A mutation is not repeated by itself.
func (c *Client) graphql(ctx context.Context, call, query string, variables map[string]any, data any, mutation bool) (refusal, err error) {
	body, err := clean(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return nil, refused("the query cannot be written as JSON", err)
	}
	var out struct {
		Data   json.RawMessage `json:"data"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	err = c.do(ctx, request{
		call: call, method: http.MethodPost, path: "/graphql", body: body, write: mutation, once: mutation,
	}, decodeJSON(&out, 4000))
	if err != nil {
		return nil, err
	}
	if len(out.Errors) > 0 {
		var words []string
		for _, e := range out.Errors {
			words = append(words, word(e.Message, excerptSize))
		}
		slices.Sort(words)
		return errors.New("graphql: " + strings.Join(words, "; ")), nil
	}
	if data == nil {
		return nil, nil
	}
	return nil, json.Unmarshal(out.Data, data)
}
