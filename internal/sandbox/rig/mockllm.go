package rig

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// MockLLM starts mock-llm, an emulator of OpenAI by somebody else, with rules of
// its own configuration language, and returns its base URL with /v1.
func MockLLM(tb TB, rules string) string {
	tb.Helper()
	script, err := cached("mock-llm", "node_modules", "@dwmkerr", "mock-llm", "dist", "main.js")
	Need(tb, "mock-llm", err)
	node, err := exec.LookPath("node")
	Need(tb, "node", err)
	dir, err := newDir()
	if err != nil {
		tb.Fatalf("mock-llm: %v", err)
	}
	config := filepath.Join(dir, "mock-llm.yaml")
	if err := os.WriteFile(config, []byte(rules), 0o600); err != nil {
		tb.Fatalf("mock-llm: %v", err)
	}
	port := freePort()
	c := &child{name: "mock-llm", logPath: filepath.Join(dir, "log"), command: func() *exec.Cmd {
		cmd := exec.Command(node, script, "--config", config)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), fmt.Sprintf("PORT=%d", port), "HOST=127.0.0.1")
		return cmd
	}}
	c.attach(tb, dir)
	if err := c.start(); err != nil {
		tb.Fatalf("mock-llm: %v", err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/v1", port)
	for range 300 {
		if resp, err := http.Get(url + "/models"); err == nil {
			resp.Body.Close()
			return url
		}
		time.Sleep(50 * time.Millisecond)
	}
	tb.Fatalf("mock-llm does not answer\n%s", c.tail())
	return ""
}
