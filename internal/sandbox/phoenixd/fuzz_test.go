package phoenixd

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// FuzzDecode compares the reader of JSON with encoding/json, where both take it.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5,"é\u00e9\ud83d\ude00",null,true]}`, `[1e400,NaN]`, `"\ud83d"`, `{"a":1,}`, ` 0 `, `-0`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, half, err := decode(b)
		var want any
		d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF"))))
		wantErr := d.Decode(&want)
		if wantErr == nil {
			if _, more := d.Token(); more == nil || more != io.EOF {
				return
			}
		}
		if err != nil {
			// encoding/json mends bytes that are no UTF-8, and goes deeper.
			if _, no := err.(unreadable); !no && wantErr == nil { //nolint:errorlint // decode wraps nothing
				t.Fatalf("%q: %v", b, err)
			}
			return
		}
		if wantErr != nil || half {
			return
		}
		var got any
		if err := json.Unmarshal(encode(v), &got); err != nil {
			t.Fatalf("%q is written as %q: %v", b, encode(v), err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", b, got, want)
		}
	})
}

// FuzzMoment must not fail, and must read what it writes.
func FuzzMoment(f *testing.F) {
	for _, s := range []string{"2026-01-01T00:00:00.123456+01:30", "1700000000.5", "2026-02-30", "2026-01-01_00:00", "-1e5", "2026-01-01T00:00:00,5Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, why := parseMoment(s)
		if why != "" || m.Year() < 0 || m.Year() > 9999 {
			return
		}
		again, why := parseMoment(stamp(m.Time))
		if why != "" || !again.Equal(m.Time) {
			t.Errorf("%q is %s, which is %s, %q", s, stamp(m.Time), again, why)
		}
	})
}

// FuzzRequest sends any request to a stand-in with a span and an annotation. It
// must answer in one of Phoenix's ways, and hold together after.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/v1/projects/p/spans", "limit=2&attribute=a.b:1&cursor=U3Bhbjox", "")
	f.Add("POST", "/v1/projects/p/spans", "", `{"data":[{"name":"n","context":{"trace_id":"t","span_id":"s2"},"span_kind":"LLM","start_time":"2026-01-01T00:00:00Z","end_time":1,"status_code":"OK","attributes":{"a.0.b":1,"a.0":2}}]}`)
	f.Add("POST", "/v1/span_annotations", "sync=true", `{"data":[{"span_id":"s","name":"q","annotator_kind":"HUMAN","result":{"score":"1"}}]}`)
	f.Add("POST", "/v1/annotation_configs", "", `{"type":"FREEFORM","name":"f"}`)
	f.Add("POST", "/graphql", "", `{"query":"mutation($i:[ID!]!){deleteSpanAnnotations(input:{annotationIds:$i}){spanAnnotations{id}}}","variables":{"i":["U3BhbkFubm90YXRpb246MQ=="]}}`)
	f.Add("DELETE", "/v1/projects/p/span_annotations", "delete_all=true", "")
	f.Add("GET", "/redirects/spans/s", "", "")
	f.Add("POST", "/v1/datasets/upload", "sync=true", `{"action":"update","name":"d","inputs":[{"q":1},{}],"outputs":[{},{}],"splits":["a",["b",null]],"span_ids":["s",null],"example_ids":["e","f"]}`)
	f.Add("POST", "/v1/datasets/RGF0YXNldDox/experiments", "", `{"name":"n","version_id":"RGF0YXNldFZlcnNpb246MQ==","splits":["a"],"repetitions":2}`)
	f.Add("POST", "/v1/experiments/RXhwZXJpbWVudDox/runs", "", `{"dataset_example_id":"RGF0YXNldEV4YW1wbGU6MQ==","output":{"a":[1]},"repetition_number":1,"start_time":"2026-01-01T00:00:00Z","end_time":1,"error":"x"}`)
	f.Add("POST", "/v1/experiment_evaluations", "", `{"experiment_run_id":"RXhwZXJpbWVudFJ1bjox","name":"n","annotator_kind":"LLM","start_time":"2026-01-01T00:00:00Z","end_time":"2026-01-01T00:00:00Z","result":{"score":1}}`)
	f.Add("GET", "/v1/experiments/RXhwZXJpbWVudDox/incomplete-evaluations", "evaluation_name=a&limit=1&cursor=RXhwZXJpbWVudFJ1bjox", "")
	f.Add("DELETE", "/v1/datasets/RGF0YXNldDox", "", "")
	f.Add("GET", "/datasets/RGF0YXNldDox/compare", "experimentId=RXhwZXJpbWVudDox", "")
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		if !strings.HasPrefix(path, "/") || path == "/live" || !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "DELETE"}, method) {
			return
		}
		s := New(Options{})
		defer s.Close()
		must(t, s.Ingest("p", map[string]any{
			"name": "n", "context": map[string]any{"trace_id": "t", "span_id": "s"}, "span_kind": "LLM", "status_code": "OK",
			"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z", "attributes": map[string]any{"a.b": 1, "input.value": "in"},
		}))
		send(s, http.MethodPost, "/v1/span_annotations", "sync=true", `{"data":[{"span_id":"s","name":"q","annotator_kind":"HUMAN"}]}`)
		dataset := post(t, s, "/v1/datasets/upload?sync=true", uploadOf("d", 2, nil))["dataset_id"].(string)
		experiment := post(t, s, "/v1/datasets/"+dataset+"/experiments", map[string]any{"repetitions": 2})["id"].(string)
		run := post(t, s, "/v1/experiments/"+experiment+"/runs", runOf(s.store.examples[0].gid(), "out"))["id"].(string)
		post(t, s, "/v1/experiment_evaluations", saidOf(run, "yes"))
		w := send(s, method, path, query, body)
		if !slices.Contains([]int{200, 202, 204, 400, 403, 404, 405, 409, 422, 500}, w.Code) {
			t.Errorf("%s %s: %d", method, path, w.Code)
		}
		if w.Header().Get("Content-Type") == "application/json" && w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: not JSON: %s", method, path, w.Body)
		}
		for _, again := range []string{"/v1/projects", "/v1/projects/p/spans", "/v1/projects/p/span_annotations?identifier=x", "/v1/annotation_configs", "/v1/datasets", "/datasets", "/"} {
			path, query, _ := strings.Cut(again, "?")
			if w := send(s, http.MethodGet, path, query, ""); w.Code != 200 {
				t.Errorf("%s %s breaks %s: %d %s", method, path, again, w.Code, w.Body)
			}
		}
		if len(s.store.spans) != len(s.store.spanByID) || len(s.store.traces) != len(s.store.traceByID) {
			t.Error("the store does not hold together")
		}
		runs, evaluations := 0, 0
		for _, e := range s.store.experiments {
			runs += len(e.runs)
			for _, r := range e.runs {
				evaluations += len(r.evaluations)
			}
		}
		if runs != len(s.store.runs) || evaluations != len(s.store.evaluations) {
			t.Errorf("%d runs of experiments and %d in all; %d and %d evaluations", runs, len(s.store.runs), evaluations, len(s.store.evaluations))
		}
	})
}

func send(s *Server, method, path, query, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body))
	r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}
