package phoenix

import (
	"context"
	"strings"

	"github.com/spanbot/spanbot/internal/review"
)

// Hints lists span ids of the project that have no annotation of that name by
// anybody, by start time, newest first. It is fast where few of many spans are
// left, and no more than a hint: annotations by programs hide a span from it,
// and the query language behind it may change. Each hit is checked, and all
// else found, with Newest and Annotated. rootsOnly leaves child spans out.
// Refused: the server does not take the query (15.4 takes no sort with the
// GraphQL library that is current today).
//
// Phoenix: POST /graphql, the filter language of its user interface. (POST
// /v1/spans has the same language, but cuts at its limit in no order.)
func (c *Client) Hints(ctx context.Context, projectName, name string, rootsOnly bool, limit int) ([]string, error) {
	// Servers do not agree on escapes in a string of the language.
	if limit <= 0 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '\'' || r == '\\' }) {
		return nil, nil
	}
	p, err := c.Project(ctx, projectName)
	if err != nil {
		return nil, err
	}
	condition := "not annotations['" + name + "']"
	if rootsOnly {
		condition += " and parent_id is None"
	}
	var data struct {
		Node struct {
			Spans struct {
				Edges []struct {
					Node struct {
						SpanID string `json:"spanId"`
					} `json:"node"`
				} `json:"edges"`
			} `json:"spans"`
		} `json:"node"`
	}
	const query = `query($p:ID!,$n:Int!,$f:String){node(id:$p){... on Project{spans(first:$n,filterCondition:$f,sort:{col:startTime,dir:desc}){edges{node{spanId}}}}}}`
	refusal, err := c.graphql(ctx, "hints", query, map[string]any{"p": p.ID, "n": min(limit, 1000), "f": condition}, &data, false)
	if err == nil && refusal != nil {
		err = refused("Phoenix does not understand the query for spans without an annotation", refusal)
	}
	if err != nil {
		if review.KindOf(err) == review.Broken {
			err = refused("Phoenix's answer to the query for spans cannot be understood", err)
		}
		return nil, err
	}
	var ids []string
	for _, e := range data.Node.Spans.Edges {
		ids = append(ids, e.Node.SpanID)
	}
	return ids, nil
}
