package slackui

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/blockkit"
)

func TestReport_IsWhatSlackTakesWhateverItHolds(t *testing.T) {
	hostile := "<!channel> *bold* <https://evil.example|x> & " + strings.Repeat("long ", 2000)
	var many []string
	for range 100 {
		many = append(many, hostile)
	}
	for name, r := range map[string]Report{
		"usual": {Title: "Judge correctness: DIRECTIONAL", Lines: []string{"accuracy 84 % (65 to 94 %, n = 25)"}, Table: "a  b\n1  2", Notes: []string{"only 25 labels"},
			Links: []Link{{"Compare in Phoenix", "https://phoenix.example.com/datasets/x/compare?experimentId=y"}}},
		"hostile": {Title: hostile, Lines: many, Table: hostile, Notes: many, Links: []Link{{hostile, "https://example.com/" + strings.Repeat("x", 4000)}, {"", ""}}},
		"bare":    {Title: "Nothing"},
	} {
		m := DrawReport(r)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range blockkit.ValidateMessage(b) {
			t.Errorf("%s: %s", name, p)
		}
		if strings.Contains(m.Text, "<!channel>") || strings.Contains(string(b), `"type":"mrkdwn"`) {
			t.Errorf("%s: what it says is read as markup: %s", name, m.Text)
		}
	}
}

func TestPostPicture_GoesBelowTheMessage(t *testing.T) {
	var done string
	var got []byte
	lacking := false
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	mux.HandleFunc("/api/files.getUploadURLExternal", func(w http.ResponseWriter, r *http.Request) {
		if lacking {
			io.WriteString(w, `{"ok":false,"error":"missing_scope","needed":"files:write"}`)
			return
		}
		io.WriteString(w, `{"ok":true,"upload_url":"`+srv.URL+`/put","file_id":"F1"}`)
	})
	mux.HandleFunc("/put", func(_ http.ResponseWriter, r *http.Request) {
		f, _, err := r.FormFile("file")
		if err != nil {
			t.Error(err)
			return
		}
		got, _ = io.ReadAll(f)
	})
	mux.HandleFunc("/api/files.completeUploadExternal", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		done = r.Form.Get("channel_id") + " " + r.Form.Get("thread_ts") + " " + r.Form.Get("files")
		io.WriteString(w, `{"ok":true,"files":[{"id":"F1","title":"Judge"}]}`)
	})
	c := New(Options{BotToken: "xoxb-x", APIURL: srv.URL + "/api/"})
	if err := c.PostPicture(t.Context(), "C1", "1.2", "Judge", "alt", []byte("png bytes")); err != nil {
		t.Fatal(err)
	}
	if string(got) != "png bytes" || !strings.HasPrefix(done, "C1 1.2 ") || !strings.Contains(done, "F1") {
		t.Errorf("%q, %q", got, done)
	}
	lacking = true
	if err := c.PostPicture(t.Context(), "C1", "1.2", "Judge", "alt", []byte("png")); review.KindOf(err) != review.Denied || !strings.Contains(err.Error(), "files:write") {
		t.Errorf("without the scope: %v", err)
	}
	for _, tt := range []struct {
		scopes []string
		may    bool
	}{{nil, true}, {[]string{"chat:write"}, false}, {[]string{"chat:write", "files:write"}, true}} {
		if got := (Identity{Scopes: tt.scopes}).MayUpload(); got != tt.may {
			t.Errorf("%v: %v", tt.scopes, got)
		}
	}
}
