package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// world is the Slack and the Phoenix of one script.
type world struct {
	slack *slackd.Server
	files bool // the app has files:write
}

type worldKey struct{}

// standInsFor is the command
//
//	standins FILE.csv [files]
//
// It starts a stand-in Phoenix, whose project "shop" has the annotations of the
// file (columns span, rater, label, time, stream, probability; rater "" for a span
// that nobody annotated), and a stand-in Slack, and names both to spanbot. With files the app may
// upload: what it uploads is uploaded.png.
func standInsFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: standins FILE.csv [files]")
	}
	w := ts.Value(worldKey{}).(*world)
	w.files = len(args) > 1 && args[1] == "files"
	px := phoenixd.New(phoenixd.Options{})
	pxSrv := httptest.NewServer(px)
	ts.Defer(px.Close)
	ts.Defer(pxSrv.Close)
	rows, err := csv.NewReader(strings.NewReader(ts.ReadFile(args[0]))).ReadAll()
	ts.Check(err)
	c, err := phoenix.New(phoenix.Options{Endpoint: pxSrv.URL})
	ts.Check(err)

	begin := time.Now().Add(-time.Hour)
	ids := map[string]string{}
	var list []phoenix.SpanAnnotation
	for _, r := range rows[1:] {
		if ids[r[0]] == "" {
			id := fmt.Sprintf("%016x", len(ids)+1)
			ids[r[0]] = id
			start := begin.Add(time.Duration(len(ids)) * time.Second)
			if strings.HasPrefix(r[0], "old") {
				start = start.AddDate(0, -2, 0)
			}
			ts.Check(px.Ingest("shop", map[string]any{
				"name": "answer", "context": map[string]any{"trace_id": strings.Repeat(id, 2), "span_id": id}, "span_kind": "LLM", "parent_id": nil,
				"start_time": start.Format(time.RFC3339Nano), "end_time": start.Add(time.Second).Format(time.RFC3339Nano), "status_code": "OK", "status_message": "",
				"attributes": map[string]any{"input.value": "q " + r[0], "output.value": "a"},
			}))
		}
		if r[1] == "" {
			continue
		}
		meta := map[string]any{"rubric": review.DefaultRubric("correctness").Hash()}
		if r[3] != "" {
			meta["clicked_at"] = r[3]
		}
		if r[4] != "" {
			p, err := strconv.ParseFloat(r[5], 64)
			ts.Check(err)
			meta["stream"], meta["selection_probability"] = r[4], p
		}
		list = append(list, phoenix.SpanAnnotation{SpanID: ids[r[0]], Name: "correctness", Kind: "HUMAN", Identifier: r[1], Answer: review.Answer{Label: r[2]}, Metadata: meta})
	}
	ts.Check(c.AddSpanAnnotations(context.Background(), list))

	w.slack = slackd.New(slackd.Options{Channels: []string{"leads"}, PostEvery: -1})
	ts.Defer(w.slack.Close)
	slackSrv := httptest.NewServer(w.withFiles(ts.MkAbs("uploaded.png")))
	ts.Defer(slackSrv.Close)
	w.slack.At(slackSrv.URL)
	for k, v := range map[string]string{"PHOENIX_ENDPOINT": pxSrv.URL, "PHOENIX_PROJECT": "shop", "SLACK_BOT_TOKEN": w.slack.BotToken(), "SLACK_APP_TOKEN": w.slack.AppToken(),
		"SLACK_API_URL": slackSrv.URL + "/api/", "SLACK_CHANNEL": "leads"} {
		ts.Setenv(k, v)
	}
}

// withFiles lets the stand-in Slack take files, which it does not know, or names
// the scopes of an app that may not upload any.
func (w *world) withFiles(path string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/auth.test", func(rw http.ResponseWriter, r *http.Request) {
		scopes := "chat:write"
		if w.files {
			scopes += ",files:write"
		}
		rec := httptest.NewRecorder()
		w.slack.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			rw.Header()[k] = v
		}
		rw.Header().Set("X-OAuth-Scopes", scopes)
		rw.WriteHeader(rec.Code)
		_, _ = io.Copy(rw, rec.Body)
	})
	mux.HandleFunc("/api/files.getUploadURLExternal", func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, `{"ok":true,"upload_url":"http://%s/put","file_id":"F1"}`, r.Host)
	})
	mux.HandleFunc("/put", func(rw http.ResponseWriter, r *http.Request) {
		f, _, err := r.FormFile("file")
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		var b bytes.Buffer
		_, _ = io.Copy(&b, f)
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/api/files.completeUploadExternal", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, `{"ok":true,"files":[{"id":"F1","title":"x"}]}`)
	})
	mux.Handle("/", w.slack)
	return mux
}

// postedTo is the command
//
//	posted CHANNEL FILE
//
// It writes the messages of a channel of the stand-in Slack to a file, as JSON.
func postedTo(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: posted CHANNEL FILE")
	}
	w := ts.Value(worldKey{}).(*world)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	ts.Check(e.Encode(w.slack.Messages(w.slack.Channel(args[0]))))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b.Bytes(), 0o600))
}
