package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/sandbox/proxy"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

func TestRedisDown_ClicksGoStraightToPhoenix_AndReadyzSaysSo(t *testing.T) {
	w := newWorld(t)
	id := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	w.start()
	w.card(id)
	w.redis.Stop()
	w.tap(id, rig.Alice, "up")
	w.stored(id, rig.Alice, "correct")
	if code, body := w.get("/readyz?verbose"); code != http.StatusOK || !strings.Contains(body, "degraded") || !strings.Contains(body, "redis: down") {
		t.Errorf("/readyz with Redis down and Phoenix up = %d\n%s", code, body)
	}
	w.phoenix.Down(true)
	if code, body := w.get("/readyz?verbose"); code != http.StatusServiceUnavailable || !strings.Contains(body, "phoenix: down") {
		t.Errorf("/readyz with both down = %d\n%s", code, body)
	}
	if code, _ := w.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz = %d; restarting the bot would mend nothing", code)
	}
	w.tap(id, rig.Bob, "down")
	w.people.WaitMessage(rig.Reviews, patience, "the word that nothing was saved", func(m rig.SlackMessage) bool {
		return m.EphemeralTo == rig.Bob && strings.Contains(m.Text, "Not saved")
	})
	w.phoenix.Heal()
	w.redis.Start()
	w.tap(id, rig.Bob, "down")
	w.stored(id, rig.Bob, "incorrect")
	w.shows(id, "incorrect", "Bob Brown")
}

// forget removes what Redis knows, as an expired entry or a lost disk does.
func (w *world) forget(pattern string) {
	w.t.Helper()
	c := redis.NewClient(&redis.Options{Addr: w.redis.Addr})
	defer func() { _ = c.Close() }()
	keys, err := c.Keys(context.Background(), pattern).Result()
	if err != nil || len(keys) == 0 {
		w.t.Fatalf("no keys %s: %v", pattern, err)
	}
	if err := c.Del(context.Background(), keys...).Err(); err != nil {
		w.t.Fatal(err)
	}
}

func TestForgottenCard_TheIdsInItsButtonAreEnough(t *testing.T) {
	w := newWorld(t, withEnv("SPANBOT_SCHEDULE", "@every 1h"))
	ids := w.ingest(rig.NewSpan("ChatCompletion", "q1", "a1"), rig.NewSpan("ChatCompletion", "q2", "a2"))
	w.start()
	w.card(ids[0])
	w.card(ids[1])
	w.forget("*}:t:*")
	w.tap(ids[0], rig.Alice, "up")
	w.stored(ids[0], rig.Alice, "correct")
	w.shows(ids[0], "correct", "Alice Anderson")
	// The form knows from Phoenix what Alice said.
	w.forget("*}:t:*")
	v := w.form(ids[0], rig.Alice)
	b, err := json.Marshal(v.Values())
	if err != nil || !strings.Contains(string(b), "correct") {
		t.Errorf("the form of a forgotten card is not prefilled: %s", b)
	}
	w.people.CloseModal(rig.Alice)
	w.forgetSkip(ids[1])
}

func (w *world) forgetSkip(id string) {
	w.t.Helper()
	w.tap(id, rig.Bob, "skip")
	w.shows(id, "Skipped", "Bob Brown")
}

func TestRouteThatWasTakenOut_StillTakesClicks_AndAnUnknownQuestionIsAskedAnew(t *testing.T) {
	w := newWorld(t)
	ids := w.ingest(rig.NewSpan("ChatCompletion", "q1", "a1"), rig.NewSpan("ChatCompletion", "q2", "a2"))
	w.start()
	w.card(ids[0])
	w.card(ids[1])
	w.stop()

	// A file with another route replaces the environment's.
	file := filepath.Join(t.TempDir(), "spanbot.yaml")
	yaml := "routes:\n  - name: other\n    project: " + w.project + "-other\n    channel: \"#llm-review\"\n    schedule: \"@every 1s\"\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env["SPANBOT_CONFIG"] = file
	w.start()
	w.tap(ids[0], rig.Alice, "down")
	w.stored(ids[0], rig.Alice, "incorrect")
	w.stop()

	// The question changes and what the old buttons meant is forgotten.
	yaml = "routes:\n  - name: main\n    project: " + w.project + "\n    channel: \"#llm-review\"\n    rubric: correctness\n    schedule: \"@every 1s\"\n" +
		"rubrics:\n  - name: correctness\n    question: Does it rhyme?\n    up: {label: rhymes, score: 1}\n    down: {label: does not, score: 0}\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	w.forget("*}:rubric:*")
	w.start()
	w.tap(ids[1], rig.Bob, "up")
	w.people.WaitMessage(rig.Reviews, patience, "the word that the question has changed", func(m rig.SlackMessage) bool {
		return m.EphemeralTo == rig.Bob && strings.Contains(m.Text, "question has changed")
	})
	w.shows(ids[1], "Does it rhyme?", "rhymes")
	if n := len(w.annotations(ids[1])); n != 0 {
		t.Errorf("%d annotations of a tap whose meaning nobody knows", n)
	}
	w.tap(ids[1], rig.Bob, "up")
	w.stored(ids[1], rig.Bob, "rhymes")
}

func TestThread_FurtherSpansOfATraceReply(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "spanbot.yaml")
	yaml := "routes:\n  - name: main\n    project: " + w.project + "\n    channel: \"#llm-review\"\n    schedule: \"@every 1s\"\n    spans: all\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env["SPANBOT_CONFIG"] = file
	root := rig.NewSpan("answer", "q", "a")
	ids := w.ingest(root, child(root, "ChatCompletion", "LLM", "q", "a"), child(root, "search", "TOOL", "x", "y"))
	w.start()
	parents, replies := map[string]bool{}, 0
	for _, id := range ids {
		m := w.card(id)
		if m.ThreadTS == "" || m.ThreadTS == m.TS {
			parents[m.TS] = true
		} else {
			replies++
		}
	}
	if len(parents) != 1 || replies != 2 {
		t.Errorf("%d parents and %d replies; want 1 and 2", len(parents), replies)
	}
	w.tap(ids[2], rig.Alice, "down")
	w.stored(ids[2], rig.Alice, "incorrect")
}

func TestPhoenixNotThereAtStart_TheRouteWaitsAndSaysSoOnce(t *testing.T) {
	w := newWorld(t)
	w.phoenix.Down(true)
	w.start()
	time.Sleep(3 * time.Second)
	if code, body := w.get("/readyz?verbose"); code != http.StatusOK || !strings.Contains(body, "route main: degraded") {
		t.Errorf("/readyz = %d\n%s", code, body)
	}
	if n := strings.Count(w.bot.log.String(), "the route waits"); n != 1 {
		t.Errorf("said %d times that the route waits; want once\n%s", n, w.bot.log)
	}
	w.phoenix.Heal()
	id := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	w.card(id)
}

// command runs another command of the same binary with the bot's settings.
func (w *world) command(args ...string) (string, int) {
	w.t.Helper()
	path, err := buildBot()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = w.t.TempDir()
	cmd.Env = os.Environ()
	for k, v := range w.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

func TestCheck_SaysWhatItFoundAndWhatToDo(t *testing.T) {
	w := newWorld(t, withSlack(proxy.SlackOptions{Scopes: []string{"chat:write", "users:read", "channels:read", "groups:read", "channels:history", "commands"}}))
	out, code := w.command("check")
	for _, want := range []string{"team Test Workspace", "scope groups:history is missing", "Socket Mode: the app token works",
		"posts to #llm-review", "redis 7", "version " + rig.PhoenixVersion(), "does not exist yet"} {
		if !strings.Contains(out, want) {
			t.Errorf("check does not say %q:\n%s", want, out)
		}
	}
	if code != 0 {
		t.Errorf("exit %d; nothing of this keeps the bot from working", code)
	}
	w.slack.SetChannel(rig.Reviews, map[string]any{"is_member": false})
	w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))
	if out, code = w.command("check"); code != 1 || !strings.Contains(out, "/invite") || !strings.Contains(out, "asks “Is the answer correct?”") {
		t.Errorf("not in the channel: exit %d\n%s", code, out)
	}
	w.slack.SetChannel(rig.Reviews, map[string]any{"is_member": true, "is_ext_shared": true})
	if out, code = w.command("check"); code != 1 || !strings.Contains(out, "shared with another organisation") {
		t.Errorf("a shared channel: exit %d\n%s", code, out)
	}
	w.slack.SetChannel(rig.Reviews, map[string]any{"is_ext_shared": false, "is_archived": true})
	if out, code = w.command("check"); code != 1 || !strings.Contains(out, "archived") {
		t.Errorf("an archived channel: exit %d\n%s", code, out)
	}
	w.env["SLACK_BOT_TOKEN"], w.env["SLACK_APP_TOKEN"] = "xoxb-wrong", "xapp-wrong"
	if out, code = w.command("check"); code != 1 || !strings.Contains(out, "SLACK_BOT_TOKEN") {
		t.Errorf("a wrong token: exit %d\n%s", code, out)
	}
	if strings.Contains(out, "xoxb-wrong") {
		t.Error("check prints a token")
	}
}

func TestWrongToken_IsNamedAtStart(t *testing.T) {
	w := newWorld(t, withEnv("SLACK_BOT_TOKEN", "xoxb-wrong"))
	w.launch()
	select {
	case <-w.bot.done:
	case <-time.After(patience):
		t.Fatal("the bot goes on with a token that Slack refuses")
	}
	if log := w.bot.log.String(); !strings.Contains(log, "check SLACK_BOT_TOKEN") || strings.Contains(log, "xoxb-wrong") {
		t.Errorf("it said:\n%s", log)
	}
}

func TestRefusedAppToken_EndsTheBot(t *testing.T) {
	w := newWorld(t, withEnv("SLACK_APP_TOKEN", "xapp-wrong"))
	w.launch()
	select {
	case err := <-w.bot.done:
		if err == nil {
			t.Error("exit 0 with a token that Slack refuses")
		}
	case <-time.After(patience):
		t.Fatal("the bot goes on posting cards that nobody can tap")
	}
	if log := w.bot.log.String(); !strings.Contains(log, "check SLACK_APP_TOKEN") {
		t.Errorf("it said:\n%s", log)
	}
}

func TestBotNotInChannel_OnlyThatRouteWaits(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "spanbot.yaml")
	yaml := "defaults:\n  schedule: \"@every 1s\"\nroutes:\n  - {name: closed, project: " + w.project + ", channel: " + rig.General + "}\n" +
		"  - {name: main, project: " + w.project + ", channel: \"#llm-review\"}\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env["SPANBOT_CONFIG"] = file
	w.slack.SetChannel(rig.General, map[string]any{"is_member": false})
	id := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	w.start()
	w.card(id)
	if _, body := w.get("/readyz?verbose"); !strings.Contains(body, "route closed: degraded") || !strings.Contains(body, "/invite") || !strings.Contains(body, "route main: ok") {
		t.Errorf("/readyz:\n%s", body)
	}
	if _, m := w.get("/metrics"); !strings.Contains(m, `spanbot_route_degraded{route="closed"} 1`) {
		t.Error("the metric does not tell")
	}
}
