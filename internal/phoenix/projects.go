package phoenix

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spanbot/spanbot/internal/review"
)

// Project is a Phoenix project.
type Project struct {
	ID   string // Phoenix's global id, "UHJvamVjdDox": what goes into paths
	Name string
}

// listLimit is the page size of short lists.
const listLimit = "100"

// Project finds the project of that name. It fails with Gone when there is
// none; on a fresh installation a project exists from its first span on. The
// name is looked for in the list of all, since "/", "?" and "#" cannot stand in
// a path.
//
// Phoenix: GET /v1/projects; name_contains since 17.16, ignored before.
func (c *Client) Project(ctx context.Context, name string) (Project, error) {
	q := url.Values{"limit": {listLimit}}
	// Else the name would be a pattern for the server, or nearly one.
	if !strings.ContainsFunc(name, func(r rune) bool { return r >= 0x7F || strings.ContainsRune(`%_\`, r) }) {
		q.Set("name_contains", name)
	}
	for {
		var page struct {
			Data []struct {
				ID   string `json:"id"`
				Name string `json:"name"`
			} `json:"data"`
			Next *string `json:"next_cursor"`
		}
		err := c.do(ctx, request{call: "projects", method: http.MethodGet, path: "/v1/projects", query: q}, decodeJSON(&page, 4000))
		if err != nil {
			return Project{}, err
		}
		for _, p := range page.Data {
			if p.Name == name {
				return Project{p.ID, p.Name}, nil
			}
		}
		if !next(q, page.Next) {
			return Project{}, gone(fmt.Sprintf("Phoenix has no project “%s” (yet): it exists from its first trace on", name), nil)
		}
	}
}

// AnnotationConfig finds the annotation config of that name; false when Phoenix
// has none.
//
// Phoenix: GET /v1/annotation_configs.
func (c *Client) AnnotationConfig(ctx context.Context, name string) (review.AnnotationConfig, bool, error) {
	q := url.Values{"limit": {listLimit}}
	for {
		// The union of all types; servers add fields with every release.
		var page struct {
			Data []struct {
				Name        string `json:"name"`
				Type        string `json:"type"`
				Description string `json:"description"`
				Direction   string `json:"optimization_direction"`
				Values      []struct {
					Label string   `json:"label"`
					Score *float64 `json:"score"`
				} `json:"values"`
				Low  *float64 `json:"lower_bound"`
				High *float64 `json:"upper_bound"`
			} `json:"data"`
			Next *string `json:"next_cursor"`
		}
		err := c.do(ctx, request{call: "annotation_configs", method: http.MethodGet, path: "/v1/annotation_configs", query: q}, decodeJSON(&page, 4000))
		if err != nil {
			return review.AnnotationConfig{}, false, err
		}
		for _, a := range page.Data {
			if a.Name != name {
				continue
			}
			out := review.AnnotationConfig{
				Name: a.Name, Type: strings.ToUpper(a.Type), Description: cleanText(a.Description, 4000).Head,
				Direction: strings.ToUpper(a.Direction), Low: a.Low, High: a.High,
			}
			for _, v := range a.Values {
				out.Values = append(out.Values, review.Label{Name: plain(v.Label), Score: v.Score})
			}
			return out, true, nil
		}
		if !next(q, page.Next) {
			return review.AnnotationConfig{}, false, nil
		}
	}
}

// next moves a query to the next page; false on the last one.
func next(q url.Values, cursor *string) bool {
	if cursor == nil || *cursor == "" || *cursor == q.Get("cursor") {
		return false
	}
	q.Set("cursor", *cursor)
	return true
}

func projectPath(id, resource string) string {
	return "/v1/projects/" + url.PathEscape(id) + "/" + resource
}

// SpanURL is where a browser sees the span in Phoenix, whatever project it is
// in; "" without a base.
func SpanURL(base, spanID string) string {
	if base == "" || spanID == "" {
		return ""
	}
	return strings.TrimRight(base, "/") + "/redirects/spans/" + url.PathEscape(spanID)
}
