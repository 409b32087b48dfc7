package rig

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// client speaks to the rig's own servers: never through a proxy of the machine.
var client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: 3 * time.Second}}

// SpanID is a fresh OpenTelemetry span id, 16 hex digits.
func SpanID() string { return randomHex(8) }

// TraceID is a fresh OpenTelemetry trace id, 32 hex digits.
func TraceID() string { return randomHex(16) }

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// NewSpan is an LLM root span of one question and one answer that ended now,
// as Ingest takes it. Its ids are fresh; change what the test is about.
func NewSpan(name, input, output string) map[string]any {
	now := time.Now().UTC()
	return map[string]any{
		"name":           name,
		"context":        map[string]any{"trace_id": TraceID(), "span_id": SpanID()},
		"span_kind":      "LLM",
		"parent_id":      nil,
		"start_time":     now.Add(-1200 * time.Millisecond).Format(time.RFC3339Nano),
		"end_time":       now.Format(time.RFC3339Nano),
		"status_code":    "OK",
		"status_message": "",
		"attributes": map[string]any{
			"input.value":                input,
			"output.value":               output,
			"llm.model_name":             "gpt-4o-mini",
			"llm.token_count.prompt":     120,
			"llm.token_count.completion": 40,
		},
	}
}

// SpanIDs are the OpenTelemetry span ids of spans, in order.
func SpanIDs(spans []map[string]any) []string {
	ids := make([]string, len(spans))
	for i, s := range spans {
		ids[i], _ = s["context"].(map[string]any)["span_id"].(string)
	}
	return ids
}

// call sends one request, with the admin secret where there is one, and returns
// the status and the body.
func (s *PhoenixServer) call(method, path string, body any) (int, []byte, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, s.URL+path, r)
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.AdminSecret != "" {
		req.Header.Set("Authorization", "Bearer "+s.AdminSecret)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// Call sends one request to the server and returns the body, as raw JSON; body
// is marshalled when not nil. A status outside 2xx fails the test.
func (s *PhoenixServer) Call(tb TB, method, path string, body any) []byte {
	tb.Helper()
	status, b, err := s.call(method, path, body)
	if err != nil {
		tb.Fatalf("Phoenix %s %s: %v", method, path, err)
	}
	if status < 200 || status > 299 {
		tb.Fatalf("Phoenix %s %s: %d %s", method, path, status, b)
	}
	return b
}

// Ingest writes spans (the shape of POST /v1/projects/{p}/spans; see NewSpan)
// and waits until the server lists them all. The project is made when new.
func (s *PhoenixServer) Ingest(tb TB, project string, spans ...map[string]any) {
	tb.Helper()
	const atOnce = 1000
	for rest := spans; len(rest) > 0; {
		n := min(atOnce, len(rest))
		s.Call(tb, http.MethodPost, "/v1/projects/"+url.PathEscape(project)+"/spans", map[string]any{"data": rest[:n]})
		rest = rest[n:]
	}
	missing := map[string]bool{}
	for _, id := range SpanIDs(spans) {
		missing[id] = true
	}
	deadline := time.Now().Add(time.Minute)
	for {
		if err := s.strikeListed(project, missing); err != nil {
			tb.Fatalf("Ingest into %q: %v", project, err)
		}
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("Ingest into %q: %d of %d spans are not listed after a minute", project, len(missing), len(spans))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// strikeListed takes out of missing what the server lists, newest first, as far
// back as a page holds something that is missing.
func (s *PhoenixServer) strikeListed(project string, missing map[string]bool) error {
	cursor := ""
	for len(missing) > 0 {
		path := "/v1/projects/" + url.PathEscape(project) + "/spans?limit=1000"
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		status, b, err := s.call(http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		if status == http.StatusNotFound {
			return nil // the project is not made yet
		}
		if status != http.StatusOK {
			return fmt.Errorf("GET %s: %d %s", path, status, b)
		}
		var page struct {
			Data []struct {
				Context struct {
					SpanID string `json:"span_id"`
				} `json:"context"`
			} `json:"data"`
			Next *string `json:"next_cursor"`
		}
		if err := json.Unmarshal(b, &page); err != nil {
			return fmt.Errorf("GET %s: %w", path, err)
		}
		before := len(missing)
		for _, span := range page.Data {
			delete(missing, span.Context.SpanID)
		}
		if page.Next == nil || len(missing) == before {
			return nil
		}
		cursor = *page.Next
	}
	return nil
}

// Annotations reads the annotations of spans back, as raw JSON objects, whoever
// wrote them.
func (s *PhoenixServer) Annotations(tb TB, project string, spanIDs ...string) []map[string]any {
	tb.Helper()
	return s.annotations(tb, project, "span_annotations", "span_ids", spanIDs)
}

// TraceAnnotations reads the annotations of traces back, as raw JSON objects.
func (s *PhoenixServer) TraceAnnotations(tb TB, project string, traceIDs ...string) []map[string]any {
	tb.Helper()
	return s.annotations(tb, project, "trace_annotations", "trace_ids", traceIDs)
}

func (s *PhoenixServer) annotations(tb TB, project, resource, key string, ids []string) []map[string]any {
	tb.Helper()
	var all []map[string]any
	for len(ids) > 0 {
		n := min(100, len(ids))
		q := url.Values{key: ids[:n], "limit": {"1000"}}
		for {
			var page struct {
				Data []map[string]any `json:"data"`
				Next *string          `json:"next_cursor"`
			}
			b := s.Call(tb, http.MethodGet, "/v1/projects/"+url.PathEscape(project)+"/"+resource+"?"+q.Encode(), nil)
			if err := json.Unmarshal(b, &page); err != nil {
				tb.Fatalf("%s of %q: %v", resource, project, err)
			}
			all = append(all, page.Data...)
			if page.Next == nil || *page.Next == "" {
				break
			}
			q.Set("cursor", *page.Next)
		}
		ids = ids[n:]
	}
	return all
}

// Annotate writes annotations of spans as another tool would (the shape of POST
// /v1/span_annotations).
func (s *PhoenixServer) Annotate(tb TB, annotations ...map[string]any) {
	tb.Helper()
	s.Call(tb, http.MethodPost, "/v1/span_annotations?sync=true", map[string]any{"data": annotations})
}

// DeleteSpan deletes a span by its OpenTelemetry or global id.
func (s *PhoenixServer) DeleteSpan(tb TB, id string) {
	tb.Helper()
	s.Call(tb, http.MethodDelete, "/v1/spans/"+url.PathEscape(id), nil)
}
