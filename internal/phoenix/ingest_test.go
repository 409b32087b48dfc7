package phoenix

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// listed waits until the project lists n spans.
func listed(t *testing.T, c *Client, name string, n int) []Row {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var rows []Row
		p, err := c.Project(t.Context(), name)
		if err == nil {
			rows = collect(t, c.Newest(t.Context(), Query{Project: p.ID, Filter: review.Filter{AllSpans: true}}, 0))
		}
		if len(rows) >= n {
			return rows
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q lists %d spans, want %d (%v)", name, len(rows), n, err)
		}
	}
}

func TestAddSpans_MakeTheProjectAndAddToIt(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := prepare(t, px)
		name := "added?" + rig.SpanID() + "#% ü" // what a URL must not take for its own
		first, second := spansOf(2, nil), spansOf(1, nil)
		must(t, c.AddSpans(t.Context(), name, first))
		listed(t, c, name, 2)
		p, err := c.Project(t.Context(), name)
		must(t, err)
		must(t, c.AddSpans(t.Context(), p.ID, second))
		rows := listed(t, c, name, 3)
		if rows[0].ID != rig.SpanIDs(second)[0] || rows[0].Question() != nil || rows[0].Input.Head != "question" {
			t.Errorf("the newest is %+v", rows[0])
		}
	})
}

func TestAddSpans_AllOrNone(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, p := prepare(t, px, spansOf(1, nil)...)
		old := collect(t, c.Newest(t.Context(), Query{Project: p.ID}, 0))[0]
		spans := spansOf(2, nil)
		spans[1]["context"] = map[string]any{"trace_id": old.TraceID, "span_id": old.ID}
		err := c.AddSpans(t.Context(), p.ID, spans)
		var twice *DuplicateError
		if review.KindOf(err) != review.Refused || !errors.As(err, &twice) || len(twice.IDs) != 1 || twice.IDs[0] != old.ID ||
			!strings.Contains(err.Error(), "1 of the spans already") {
			t.Errorf("one that is there: %v; want a DuplicateError", err)
		}
		delete(spans[1], "context")
		if err := addUnchecked(t, c, p.ID, spans); review.KindOf(err) != review.Refused || !strings.Contains(err.Error(), "field is missing") {
			t.Errorf("one without ids: %v", err)
		}
		spans = spansOf(2, nil)
		spans[1]["attributes"].(map[string]any)["a\x00b"] = "half\x00gone"
		must(t, c.AddSpans(t.Context(), p.ID, spans)) // cleaned: Postgres would drop it
		if rows := listed(t, c, p.Name, 3); len(rows) != 3 {
			t.Errorf("%d spans, want the one before and two", len(rows))
		}
	})
}

// addUnchecked sends what the OpenAPI of the server forbids.
func addUnchecked(t *testing.T, c *Client, project string, spans []map[string]any) error {
	check := c.http.Transport.(*contract)
	c.http.Transport = check.next
	defer func() { c.http.Transport = check }()
	return c.AddSpans(t.Context(), project, spans)
}

func TestAddSpans_NamesThatCannotBe(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := prepare(t, px)
		for _, name := range []string{"", ".", "..", "team/app"} {
			if err := c.AddSpans(t.Context(), name, spansOf(1, nil)); review.KindOf(err) != review.Refused {
				t.Errorf("project %q: %v; want Refused", name, err)
			}
		}
		if err := c.AddSpans(t.Context(), "UHJvamVjdDo5OTk5OTk=", spansOf(1, nil)); review.KindOf(err) != review.Gone {
			t.Errorf("an id of no project: %v; want Gone", err)
		}
	})
}

// The answer is lost, and the spans are there: sent again, Phoenix calls them
// duplicates, which is all that was wanted.
func TestAddSpans_LostAnswerIsNoDuplicate(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		c, _ := prepare(t, px)
		check := c.http.Transport.(*contract)
		name, spans := "lost "+rig.SpanID(), spansOf(2, nil)
		lost := 0
		next := check.next
		check.next = roundTrip(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err != nil || r.Method != http.MethodPost || lost > 0 {
				return resp, err
			}
			lost++
			resp.Body.Close()
			check.next = next
			listed(t, c, name, 2) // so that the second request finds them
			return nil, io.ErrUnexpectedEOF
		})
		must(t, c.AddSpans(t.Context(), name, spans))
		if lost != 1 || check.seen["POST /v1/projects/"+name+"/spans"] != 2 {
			t.Errorf("lost %d answers, seen %v", lost, check.seen)
		}
		if rows := listed(t, c, name, 2); len(rows) != 2 {
			t.Errorf("%d spans, want 2", len(rows))
		}
	})
}

func TestAddSpans_RefusalsInWords(t *testing.T) {
	tests := []struct {
		name, kind, body string
		status           int
		want             review.Kind
		text             string
	}{
		{"key", "text/plain", "Invalid token", 401, review.Denied, "PHOENIX_API_KEY"},
		{"viewer", "text/plain", "", 403, review.Denied, "viewer"},
		{"project gone", "text/plain", "Project with ID x not found", 404, review.Gone, "this project"},
		{"invalid", "text/plain", `{"error":"…","duplicate_spans":[],"invalid_spans":[{"span_id":"00f0","error":"no such kind"}]}`, 400, review.Refused, "00f0: no such kind"},
		{"other 400", "text/plain", "no JSON {", 400, review.Refused, "refuses the request (400)"},
		{"queue full", "text/plain", "Server is at capacity", 503, review.Down, "failed (503)"},
		{"storage full", "text/plain", "Database operations are disabled", 507, review.Busy, "make room"},
		{"half of it", "application/json", `{"total_received":2,"total_queued":1}`, 202, review.Refused, "1 of 2"},
		{"web page", "text/html", "<html>", 200, review.Down, "web page"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			})
			err := c.AddSpans(t.Context(), "p", spansOf(2, nil))
			if review.KindOf(err) != tt.want || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), secretKey) {
				t.Errorf("%v (%s); want %s and %q", err, review.KindOf(err), tt.want, tt.text)
			}
		})
	}
}

func TestAddSpans_NoAnswerTwice_IsUnsure(t *testing.T) {
	var n atomic.Int32
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		n.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	c.patience = 30 * time.Millisecond
	if err := c.AddSpans(t.Context(), "p", spansOf(1, nil)); review.KindOf(err) != review.Unsure || n.Load() != 2 {
		t.Errorf("%v after %d requests; want Unsure after 2", err, n.Load())
	}
}

func TestProjectURL(t *testing.T) {
	if got := ProjectURL("https://px.example.com/s/a/", "my app?"); got != "https://px.example.com/s/a/redirects/projects/my%20app%3F" {
		t.Error(got)
	}
	if u, err := url.Parse(ProjectURL("http://h", "a/b")); err != nil || u.EscapedPath() != "/redirects/projects/a%2Fb" {
		t.Error(u, err)
	}
	if ProjectURL("", "x") != "" || ProjectURL("http://h", "") != "" {
		t.Error("a link to nowhere")
	}
}
