package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/sandbox/proxy"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// Everything that the program prints in a full life, with failures of each part
// provoked, and not one of the secrets that it was handed.
func TestSecrets_AppearInNoOutput(t *testing.T) {
	w := newWorld(t)
	const key, header, password = "px-key-4f9a1c77e2", "gw-secret-8d21b0", "r3dis-pass-77aa01"
	w.env["PHOENIX_API_KEY"] = key
	w.env["PHOENIX_CLIENT_HEADERS"] = "x-gateway-key=" + header
	secrets := []string{key, header, password, rig.BotToken, rig.AppToken}
	c := redis.NewClient(&redis.Options{Addr: w.redis.Addr})
	if err := c.ConfigSet(t.Context(), "requirepass", password).Err(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	good := strings.Replace(w.env["REDIS_URL"], "://", "://:"+password+"@", 1)
	var all strings.Builder
	say := func(args ...string) {
		out, _ := w.command(args...)
		all.WriteString(out)
	}
	everything := func() {
		for _, args := range [][]string{{"check"}, {"check", "--json"}, {"preview"}, {"outbox", "list"}, {"outbox", "list", "--json"},
			{"history"}, {"history", "--json"}, {"history", "--csv"}, {"rebuild"}, {"config", "check"}, {"outbox", "show", "nothing"}} {
			say(args...)
		}
	}
	// A wrong password, a wrong token, a Phoenix that repeats the key.
	w.env["REDIS_URL"] = strings.Replace(w.env["REDIS_URL"], "://", "://:wrong-"+password+"@", 1)
	everything()
	w.env["REDIS_URL"] = good
	w.env["SLACK_BOT_TOKEN"] = rig.BotToken + "-wrong"
	everything()
	w.env["SLACK_BOT_TOKEN"] = rig.BotToken
	w.phoenix.Fail("", -1, proxy.HTTPFault{Status: http.StatusUnauthorized, Type: "text/plain", Body: "Bearer " + key + " and " + header + " are no good"})
	everything()
	w.phoenix.Heal()

	id := w.ingest(rig.NewSpan("ChatCompletion", "q", "a"))[0]
	w.start()
	w.card(id)
	w.tap(id, rig.Alice, "up")
	w.stored(id, rig.Alice, "correct")
	everything()
	w.phoenix.Fail("", -1, proxy.HTTPFault{Status: http.StatusUnauthorized, Type: "text/plain", Body: "Bearer " + key + " is no good"})
	w.tap(id, rig.Bob, "down")
	w.shows(id, "Phoenix does not answer")
	w.phoenix.Heal()
	w.redis.Stop()
	w.tap(id, rig.Alice, "down")
	w.stored(id, rig.Alice, "incorrect")
	w.redis.Start()
	_, ready := w.get("/readyz?verbose")
	_, metrics := w.get("/metrics")
	w.stop()
	all.WriteString(ready + metrics + w.bot.log.String())
	text := all.String()
	if len(text) < 10_000 || !strings.Contains(text, "posted") {
		t.Fatalf("only %d bytes were printed: what is wrong with this test?", len(text))
	}
	for _, s := range secrets {
		if i := strings.Index(text, s); i >= 0 {
			t.Errorf("a secret is printed: %q", text[max(0, i-200):min(len(text), i+20)])
		}
	}
}
