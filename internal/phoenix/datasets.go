package phoenix

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// Dataset is a dataset of Phoenix.
type Dataset struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Metadata    map[string]any `json:"metadata"`
	Examples    int            `json:"example_count"`
}

// Example is one example of a version of a dataset.
type Example struct {
	ID       string         `json:"id"`      // as it was given when uploaded; Phoenix's global id where none was
	NodeID   string         `json:"node_id"` // Phoenix's global id: what experiments speak of
	Input    map[string]any `json:"input"`
	Output   map[string]any `json:"output"`
	Metadata map[string]any `json:"metadata"`
	Source   struct {
		SpanID string `json:"span_id"` // OpenTelemetry id of the span it was made from; "" for none, and before 19.5
	} `json:"source"`
}

// NewExample is an example to upload.
type NewExample struct {
	ID       string // unique in the dataset; the OpenTelemetry span id of examples made from spans
	SpanID   string // links the example to the span, when it is made; "" for none
	Split    string // "train", "dev", "test" …; "" for none: see Append
	Input    map[string]any
	Output   map[string]any
	Metadata map[string]any
}

// Uploaded is what an upload did.
type Uploaded struct {
	DatasetID string `json:"dataset_id"`
	VersionID string `json:"version_id"` // not always the newest after an upload that changed nothing
	Created   int    `json:"num_created_examples"`
	Updated   int    `json:"num_updated_examples"`
}

// Dataset finds the dataset of exactly that name; false where there is none.
//
// Phoenix: GET /v1/datasets?name=….
func (c *Client) Dataset(ctx context.Context, name string) (Dataset, bool, error) {
	q := url.Values{"name": {name}, "limit": {"10"}}
	for {
		var following *string
		var found *Dataset
		r := request{call: "datasets", method: http.MethodGet, path: "/v1/datasets", query: q}
		err := c.do(ctx, r, func(body io.Reader) error {
			following, found = nil, nil
			return eachItem(newCleaner(body), &following, func(d *json.Decoder) error {
				var one Dataset
				err := d.Decode(&one)
				if one.Name == name && found == nil {
					found = &one
				}
				return err
			})
		})
		if err != nil {
			return Dataset{}, false, err
		}
		if found != nil {
			return *found, true, nil
		}
		if !next(q, following) {
			return Dataset{}, false, nil
		}
	}
}

// Version is one version of a dataset.
type Version struct {
	ID      string    `json:"version_id"`
	Created time.Time `json:"created_at"`
}

// NewestVersion is the newest version of a dataset; false for one without any.
//
// Phoenix: GET /v1/datasets/{id}/versions.
func (c *Client) NewestVersion(ctx context.Context, dataset string) (Version, bool, error) {
	var out struct {
		Data []Version `json:"data"`
	}
	r := request{call: "dataset_versions", method: http.MethodGet, path: "/v1/datasets/" + url.PathEscape(dataset) + "/versions", query: url.Values{"limit": {"1"}}}
	if err := c.do(ctx, r, decodeJSON(&out, smallText)); err != nil || len(out.Data) == 0 {
		return Version{}, false, err
	}
	return out.Data[0], true, nil
}

// Examples lists a version of a dataset, the newest for an empty version, whole
// or one split of it, and names the version that was read. Texts are not cut.
//
// Phoenix: GET /v1/datasets/{id}/examples, which has no pages.
func (c *Client) Examples(ctx context.Context, dataset, version, split string) ([]Example, string, error) {
	q := url.Values{}
	if version != "" {
		q.Set("version_id", version)
	}
	if split != "" {
		q.Set("split", split)
	}
	var out struct {
		Data struct {
			VersionID string    `json:"version_id"`
			Examples  []Example `json:"examples"`
		} `json:"data"`
	}
	r := request{call: "dataset_examples", method: http.MethodGet, path: "/v1/datasets/" + url.PathEscape(dataset) + "/examples", query: q}
	err := c.do(ctx, r, whole(&out))
	return out.Data.Examples, out.Data.VersionID, err
}

// ExampleNote is an example without its texts.
type ExampleNote struct {
	ID       string         `json:"id"` // as it was given when uploaded
	Metadata map[string]any `json:"metadata"`
}

// EachNote calls f with each example of the newest version of a dataset, without
// its texts, which come over the wire all the same, but are not kept, and names the
// version. A request that is repeated begins anew.
//
// Phoenix: GET /v1/datasets/{id}/examples.
func (c *Client) EachNote(ctx context.Context, dataset string, f func(ExampleNote)) (version string, err error) {
	r := request{call: "dataset_examples", method: http.MethodGet, path: "/v1/datasets/" + url.PathEscape(dataset) + "/examples"}
	err = c.do(ctx, r, func(body io.Reader) error {
		d := json.NewDecoder(newCleaner(body))
		return eachField(d, func(key string) error {
			if key != "data" {
				return skip(d)
			}
			return eachField(d, func(key string) error {
				switch key {
				case "version_id":
					return d.Decode(&version)
				case "examples":
					if err := expect(d, '['); err != nil {
						return err
					}
					for d.More() {
						var e ExampleNote
						if err := d.Decode(&e); err != nil {
							return err
						}
						f(e)
					}
					return expect(d, ']')
				}
				return skip(d)
			})
		})
	})
	return version, err
}

// eachField reads an object; f reads the value of the key.
func eachField(d *json.Decoder, f func(key string) error) error {
	if err := expect(d, '{'); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if err := f(name); err != nil {
			return err
		}
	}
	return expect(d, '}')
}

func skip(d *json.Decoder) error {
	var value json.RawMessage
	return d.Decode(&value)
}

// whole reads one JSON value with all of its texts.
func whole[T any](v *T) func(io.Reader) error {
	return func(r io.Reader) error {
		var fresh T
		*v = fresh // of a try before this one
		return json.NewDecoder(newCleaner(r)).Decode(v)
	}
}

// Append creates a dataset or extends it: examples whose ID is there already are
// changed where they differ, none is ever deleted. Repeating it does no harm.
// Splits are replaced by those given; where no example of an upload has one, they
// stay as they are.
//
// Phoenix: POST /v1/datasets/upload?sync=true with the action append.
func (c *Client) Append(ctx context.Context, name, description string, examples []NewExample) (Uploaded, error) {
	body := struct {
		Action      string           `json:"action"`
		Name        string           `json:"name"`
		Description string           `json:"description,omitempty"`
		Inputs      []map[string]any `json:"inputs"`
		Outputs     []map[string]any `json:"outputs"`
		Metadata    []map[string]any `json:"metadata"`
		Splits      []*string        `json:"splits,omitempty"`
		SpanIDs     []*string        `json:"span_ids"`
		ExampleIDs  []*string        `json:"example_ids"`
	}{Action: "append", Name: name, Description: description}
	optional := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	seen, split := map[string]bool{}, false
	for _, e := range examples {
		if seen[e.ID] && e.ID != "" {
			return Uploaded{}, refused(fmt.Sprintf("the example %s stands twice in one upload", e.ID), nil)
		}
		seen[e.ID] = true
		body.Inputs = append(body.Inputs, object(e.Input))
		body.Outputs = append(body.Outputs, object(e.Output))
		body.Metadata = append(body.Metadata, object(e.Metadata))
		body.Splits = append(body.Splits, optional(e.Split))
		split = split || e.Split != ""
		body.SpanIDs = append(body.SpanIDs, optional(e.SpanID))
		body.ExampleIDs = append(body.ExampleIDs, optional(e.ID))
	}
	if !split {
		body.Splits = nil
	}
	raw, err := clean(body)
	if err != nil {
		return Uploaded{}, refused("the examples cannot be written as JSON", err)
	}
	var out struct {
		Data *Uploaded `json:"data"`
	}
	r := request{call: "dataset_upload", method: http.MethodPost, path: "/v1/datasets/upload", query: url.Values{"sync": {"true"}}, body: raw, write: true}
	if err := c.do(ctx, r, decodeJSON(&out, smallText)); err != nil {
		return Uploaded{}, err
	}
	if out.Data == nil {
		return Uploaded{}, refused("Phoenix did not say what became of the upload", nil)
	}
	return *out.Data, nil
}

func object(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{} // null is refused
	}
	return m
}

// DatasetURL is where a browser sees the examples of a dataset; "" without a base.
func DatasetURL(base, dataset string) string {
	if base == "" || dataset == "" {
		return ""
	}
	return strings.TrimRight(base, "/") + "/datasets/" + url.PathEscape(dataset) + "/examples"
}

// CompareURL is where a browser sees experiments of a dataset side by side, the
// first as the base; "" without a base address.
func CompareURL(base, dataset string, experiments ...string) string {
	if base == "" || dataset == "" {
		return ""
	}
	return strings.TrimRight(base, "/") + "/datasets/" + url.PathEscape(dataset) + "/compare?" + url.Values{"experimentId": experiments}.Encode()
}

// SpanAnnotation is an annotation of a span, of any kind, as Phoenix holds it.
type SpanAnnotation struct {
	SpanID     string
	TraceID    string // of an annotation of a whole trace, where SpanID is ""
	Name       string
	Kind       string // HUMAN, LLM or CODE
	Identifier string // "" for none
	review.Answer
	Metadata map[string]any // texts of up to 20,000 characters
	Updated  time.Time      // when Phoenix last stored it; zero where it does not say, and ignored when it is written
}

// Retracted reports an annotation that was taken back on a server that would not
// delete it.
func (a SpanAnnotation) Retracted() bool {
	yes, _ := a.Metadata[retractedKey].(bool)
	return yes && a.Empty()
}

// SpanAnnotations lists the annotations of spans, of all kinds, under that name;
// of any name for "". Order is Phoenix's, newest first within some spans.
//
// Phoenix: GET /v1/projects/{id}/span_annotations.
func (c *Client) SpanAnnotations(ctx context.Context, project, name string, spans []string) ([]SpanAnnotation, error) {
	var out []SpanAnnotation
	var names []string
	if name != "" {
		names = []string{name}
	}
	err := c.batches(ctx, project, names, onSpan, spans, maxExplanation, func(w wireAnnotation) {
		if name != "" && w.Name != name {
			return // a server that does not know the filter
		}
		out = append(out, w.annotation())
	})
	return out, err
}

func (w wireAnnotation) annotation() SpanAnnotation {
	a := SpanAnnotation{SpanID: w.SpanID, TraceID: w.TraceID, Name: w.Name, Kind: strings.ToUpper(w.Kind), Identifier: w.Identifier, Answer: w.answer(), Metadata: w.Metadata}
	a.Updated, _ = time.Parse(time.RFC3339, w.Updated)
	return a
}

// TraceAnnotations lists the annotations of whole traces, of all kinds, under that
// name. Order is Phoenix's, newest first within some traces.
//
// Phoenix: GET /v1/projects/{id}/trace_annotations.
func (c *Client) TraceAnnotations(ctx context.Context, project, name string, traces []string) ([]SpanAnnotation, error) {
	var out []SpanAnnotation
	err := c.batches(ctx, project, []string{name}, onTrace, traces, maxExplanation, func(w wireAnnotation) {
		if w.Name != name {
			return // a server that does not know the filter
		}
		out = append(out, w.annotation())
	})
	return out, err
}

// AddSpanAnnotations stores annotations of any kind in one request, all or none,
// and overwrites those of the same span, name and identifier. At most a hundred
// take some 200 ms. It is for programs: reviewers' judgements go through Annotate.
//
// Refused without an identifier: the empty one is shared by all writers, and who
// writes under it overwrites the others. Gone, with a MissingError in it, when
// Phoenix lacks one of the spans.
//
// Phoenix: POST /v1/span_annotations?sync=true.
func (c *Client) AddSpanAnnotations(ctx context.Context, as []SpanAnnotation) error {
	if len(as) == 0 {
		return nil
	}
	items := make([]writeItem, 0, len(as))
	ids := make([]string, 0, len(as))
	for _, a := range as {
		switch {
		case a.Identifier == "" || len(a.Identifier) > maxKey:
			return refused(fmt.Sprintf("an annotation needs an identifier of at most %d bytes", maxKey), nil)
		case a.Name == "" || a.Name == "note" || len(a.Name) > maxKey:
			return refused("an annotation cannot be called “"+word(a.Name, nameSize)+"” in Phoenix", nil)
		}
		item := writeItem{SpanID: a.SpanID, Name: a.Name, Kind: a.Kind, Identifier: a.Identifier, Metadata: map[string]any{}}
		item.Result.Label, _ = cutRunes(a.Label, maxLabel)
		item.Result.Explanation, _ = cutRunes(a.Explanation, maxExplanation)
		item.Result.Score = a.Score
		for k, v := range a.Metadata {
			item.Metadata[k] = bounded(v)
		}
		items = append(items, item)
		ids = append(ids, a.SpanID)
	}
	return c.post(ctx, onSpan, items, ids)
}
