package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// preview against a real Phoenix, with nothing set but where that is.
func TestPreview_NeedsPhoenixAlone(t *testing.T) {
	px := rig.SharedPhoenix(t)
	project := "preview " + rig.SpanID()
	spans := []map[string]any{
		rig.NewSpan("ChatCompletion", "What is the capital of Peru?", "Lima"),
		rig.NewSpan("ChatCompletion", "And of Chile?", "Santiago"),
	}
	px.Ingest(t, project, spans...)

	spanbot := func(args ...string) (stdout, stderr string) {
		t.Helper()
		cmd := exec.Command("spanbot", args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PHOENIX_ENDPOINT=" + px.URL, "PHOENIX_PROJECT=" + project}
		cmd.Dir = t.TempDir()
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("spanbot %v: %v\n%s", args, err, errs.String())
		}
		return out.String(), errs.String()
	}

	out, errs := spanbot("preview")
	for _, want := range []string{project, "capital of Peru", "Santiago"} {
		if !strings.Contains(out, want) {
			t.Errorf("the preview does not show %q:\n%s", want, out)
		}
	}
	if errs != "" {
		t.Errorf("a preview has nothing to complain about, and yet:\n%s", errs)
	}

	out, _ = spanbot("preview", "--json", "--limit", "10")
	found := map[string]bool{}
	total := false
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		var line struct {
			SpanID string `json:"span_id"`
			Total  bool   `json:"total"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%v: %q", err, lines.Text())
		}
		if line.SpanID != "" {
			found[line.SpanID] = true
		}
		total = total || line.Total
	}
	for _, id := range rig.SpanIDs(spans) {
		if !found[id] {
			t.Errorf("span %s is missing:\n%s", id, out)
		}
	}
	if !total {
		t.Errorf("no sums at the end:\n%s", out)
	}
}
