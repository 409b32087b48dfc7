package phoenix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spanbot/spanbot/internal/review"
)

// DuplicateError names the spans that Phoenix has already, in whatever project:
// a span id exists once on a server. Nothing of the request was stored.
type DuplicateError struct {
	IDs []string // OpenTelemetry span ids
}

func (e *DuplicateError) Error() string {
	return "Phoenix has already " + strings.Join(e.IDs, ", ")
}

// AddSpans stores spans, all or none; each is a span in the shape of Phoenix's
// REST API. project is an id, or the name of a project that is made by this. It
// returns when Phoenix has accepted them; they can be listed a moment later
// (about a second for a hundred). A request whose answer was lost is sent once
// more, which does no harm: spans that are there are not stored again.
//
// Refused, with a DuplicateError in it, for spans that were there before; Refused
// for spans without a name, ids or times, and for times without a zone; Gone for
// an id that no project has.
//
// Phoenix: POST /v1/projects/{id or name}/spans.
func (c *Client) AddSpans(ctx context.Context, project string, spans []map[string]any) error {
	if project == "" || project == "." || project == ".." || strings.Contains(project, "/") {
		return refused(fmt.Sprintf("a project with the name “%s” cannot be made this way; take a name without a slash", project), nil)
	}
	body, err := clean(map[string]any{"data": spans})
	if err != nil {
		return refused("the spans cannot be written as JSON", err)
	}
	var out struct {
		Queued int `json:"total_queued"`
	}
	r := request{call: "add_spans", method: http.MethodPost, path: projectPath(project, "spans"), body: body, write: true, once: true}
	err = asInvalid(c.do(ctx, r, decodeJSON(&out, 4000)))
	if review.KindOf(err) == review.Unsure && ctx.Err() == nil {
		err = asInvalid(c.do(ctx, r, decodeJSON(&out, 4000)))
		var twice *DuplicateError
		if errors.As(err, &twice) && len(twice.IDs) == len(spans) {
			return nil // the first request had arrived
		}
	}
	if err != nil {
		return err
	}
	if out.Queued != len(spans) {
		return refused(fmt.Sprintf("Phoenix took %d of %d spans", out.Queued, len(spans)), nil)
	}
	return nil
}

// asInvalid reads what the server says of spans that it does not take: JSON in
// the text of a 400. Any other error stays as it is.
func asInvalid(err error) error {
	var se *StatusError
	if !errors.As(err, &se) || se.Status != http.StatusBadRequest && se.Status != http.StatusUnprocessableEntity {
		return err
	}
	if se.Status == http.StatusUnprocessableEntity {
		return refused("Phoenix cannot read these spans: a field is missing, or a time has no zone", se)
	}
	var said struct {
		Duplicates []struct {
			ID string `json:"span_id"`
		} `json:"duplicate_spans"`
		Invalid []struct {
			ID    string `json:"span_id"`
			Error string `json:"error"`
		} `json:"invalid_spans"`
	}
	_, object, _ := strings.Cut(se.body, "{")
	if json.Unmarshal([]byte("{"+object), &said) != nil {
		return err
	}
	switch {
	case len(said.Invalid) > 0:
		first := said.Invalid[0]
		return refused(fmt.Sprintf("Phoenix does not take %d of the spans, so none of them; %s: %s",
			len(said.Invalid), word(first.ID, nameSize), word(first.Error, excerptSize)), se)
	case len(said.Duplicates) > 0:
		twice := &DuplicateError{}
		for _, d := range said.Duplicates {
			twice.IDs = append(twice.IDs, word(d.ID, nameSize))
		}
		return refused(fmt.Sprintf("Phoenix has %d of the spans already, so it took none of them; span ids have to be new on the whole server",
			len(twice.IDs)), twice)
	}
	return err
}

// ProjectURL is where a browser sees the project of that name in Phoenix; ""
// without a base.
func ProjectURL(base, name string) string {
	if base == "" || name == "" {
		return ""
	}
	return strings.TrimRight(base, "/") + "/redirects/projects/" + url.PathEscape(name)
}
