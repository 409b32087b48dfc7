package slackui

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/spanbot/spanbot/internal/review"
)

// inOneMinute is the largest number of times within any minute.
func inOneMinute(at []time.Time) (most int) {
	for _, from := range at {
		n := 0
		for _, t := range at {
			if d := t.Sub(from); d >= 0 && d < time.Minute {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func TestPace_WhatARefusalHeldUpDoesNotGoOutAllAtOnce(t *testing.T) {
	for _, callers := range []int{1, 96} {
		t.Run(fmt.Sprint(callers, " at once"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPace()
				p.updates.block(70 * time.Second)
				var mu sync.Mutex
				var sent []time.Time
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for range 192 / callers {
							if err := p.update(t.Context()); err != nil {
								t.Error(err)
								return
							}
							mu.Lock()
							sent = append(sent, time.Now())
							mu.Unlock()
						}
					})
				}
				wg.Wait()
				if most := inOneMinute(sent); len(sent) != 192 || most > updatesMinute {
					t.Errorf("%d updates went out, %d within one minute; want 192 and at most %d", len(sent), most, updatesMinute)
				}
			})
		})
	}
}

func TestPace_WhoGivesUpTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		for range updatesMinute {
			if err := p.update(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 59 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if p.update(ctx) == nil {
				t.Fatal("an update too many went out")
			}
			cancel()
		}
		start := time.Now()
		for range updatesMinute {
			if err := p.update(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("a minute later the updates wait %s more; want at most 1s", d)
		}
	})
}

// answering is a Slack that gives each method its answer; scopes as of the token.
func answering(t *testing.T, answers map[string]string) *Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := strings.TrimPrefix(r.URL.Path, "/api/")
		w.Header().Set("X-OAuth-Scopes", "chat:write,commands")
		if method == "apps.connections.open" {
			w.Header().Set("X-OAuth-Scopes", "connections:write")
		}
		fmt.Fprint(w, answers[method])
	}))
	t.Cleanup(srv.Close)
	return New(Options{BotToken: "xoxb-x", AppToken: "xapp-x", APIURL: srv.URL + "/api"})
}

func TestFind_NamesTheScopeThatIsMissing(t *testing.T) {
	for method, thread := range map[string]string{"conversations.history": "", "conversations.replies": "1.000001"} {
		c := answering(t, map[string]string{method: `{"ok":false,"error":"missing_scope","needed":"groups:history","provided":"chat:write"}`})
		_, _, err := c.Find(t.Context(), "C1", thread, "card:r:s", time.Time{}, Identity{BotID: "B1", BotUser: "U0"})
		if review.KindOf(err) != review.Denied || !strings.Contains(review.TextOf(err), "groups:history") {
			t.Errorf("%s: %v; want Denied, naming groups:history", method, err)
		}
	}
}

func TestIdentity_ScopesAreThoseOfTheBotToken(t *testing.T) {
	c := answering(t, map[string]string{
		"auth.test": `{"ok":true,"team_id":"T1"}`, "apps.connections.open": `{"ok":true,"url":"wss://127.0.0.1:1"}`,
	})
	id, err := c.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckAppToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"chat:write", "commands"}
	if !slices.Equal(id.Scopes, want) || !slices.Equal(c.scopes(), want) {
		t.Errorf("scopes = %v, after the app token was checked %v; want %v", id.Scopes, c.scopes(), want)
	}
}

func TestManifest_EveryNameThatIsTakenComesBackAsIs(t *testing.T) {
	for _, name := range []string{"Spanbot", "123", "true", "null", "-", "- bot", "~", "?", "Überprüfung 2", strings.Repeat("x", 35)} {
		b, err := Manifest(ManifestOptions{Name: name})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		var m struct {
			Display struct {
				Name any `yaml:"name"`
			} `yaml:"display_information"`
			Features struct {
				Bot struct {
					Name any `yaml:"display_name"`
				} `yaml:"bot_user"`
			} `yaml:"features"`
		}
		if err := yaml.Unmarshal(b, &m); err != nil || m.Display.Name != any(name) || m.Features.Bot.Name != any(name) {
			t.Errorf("%q came back as %v and %v (%v)", name, m.Display.Name, m.Features.Bot.Name, err)
		}
	}
	for _, bad := range []string{" ", "x ", `x\y`, "x\ty", "x\u0085y"} {
		if _, err := Manifest(ManifestOptions{Name: bad}); err == nil {
			t.Errorf("the name %q was taken", bad)
		}
	}
}
