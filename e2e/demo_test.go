package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/spanbot/spanbot/internal/sandbox/browser"
	"github.com/spanbot/spanbot/internal/sandbox/proxy"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// The product as somebody tries it: nothing is configured, people sit before a
// browser. Each tab fails its test for an error in the console and for a request
// that leaves this machine.

const demoProject = "my-annotations-app"

func demo(t *testing.T, environment ...string) *rig.BotProcess {
	t.Helper()
	path, err := buildBot()
	if err != nil {
		t.Fatal(err)
	}
	b := rig.Bot(t, path, environment...)
	t.Cleanup(func() {
		if strings.Contains(b.Output(), "DATA RACE") {
			t.Errorf("data race:\n%s", b.Output())
		}
	})
	return b
}

// demoAnnotations waits until the stand-in Phoenix holds n annotations of a
// span's card.
func demoAnnotations(t *testing.T, b *rig.BotProcess, span string, n int) []annotation {
	t.Helper()
	var got []annotation
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		got = decode(t, b.Phoenix.Annotations(t, demoProject, span))
		if len(got) == n {
			return got
		}
		if time.Now().After(end) {
			t.Fatalf("Phoenix holds %d annotations of span %s, want %d: %+v", len(got), span, n, got)
		}
	}
}

// spanOf is the span that a card is about.
func spanOf(t *testing.T, w browser.Workspace, card string) string {
	t.Helper()
	id := browser.Eval[string](w.Tab, fmt.Sprintf(`document.querySelector(%q).dataset.value`, card+` [data-action-id="up"]`))
	f := strings.Split(id, ":")
	if len(f) < 4 {
		t.Fatalf("the button's value is %q", id)
	}
	return f[3]
}

func TestDemo_TwoPeopleJudgeACard(t *testing.T) {
	b := demo(t)
	chromium := browser.Start(t)
	ana := chromium.Workspace(b.Workspace, "Ana", browser.Look{})
	card := ana.Card("")
	t.Logf("the first card was seen %s after the start", time.Since(b.Started)) // promised in docs/benchmarks-demo.md
	span := spanOf(t, ana, card)
	ana.Tap(card, "up")
	ana.Says(card, "Ana")
	one := demoAnnotations(t, b, span, 1)[0]
	if one.Result.Label != "correct" || one.Name != "correctness" || one.Kind != "HUMAN" {
		t.Errorf("annotation %+v", one)
	}

	ben := chromium.Workspace(b.Workspace, "Ben", browser.Look{})
	ben.Says(card, "Ana")
	ben.Tap(card, "down")
	ben.Says(card, "Ben")
	ana.Says(card, "Ben") // without a reload
	if two := demoAnnotations(t, b, span, 2); two[0].Identifier == two[1].Identifier {
		t.Errorf("both are by %s", two[0].Identifier)
	}

	px := chromium.Open(b.Phoenix.URL+"/redirects/spans/"+span, browser.Look{})
	px.Says("main", "incorrect")
	ana.Tap(card, "down") // Ana thinks again
	px.Eventually("Phoenix's page shows the change", `document.querySelector("main").innerText.split("incorrect").length >= 3`)
}

func TestDemo_FormSaysWhatIsWrongAndKeepsWhatWasTyped(t *testing.T) {
	b := demo(t)
	w := browser.Start(t).Workspace(b.Workspace, "Ana", browser.Look{})
	card := w.Card("")
	span := spanOf(t, w, card)
	w.Tap(card, "annotate")
	w.Wait(`[data-testid="modal"] [data-block-id="score"]`)
	w.Click(`[data-testid="modal"] [data-value="incorrect"]`)
	w.Type(`[data-testid="modal"] [data-block-id="explanation"]`, "It rhymes where it should not.")
	w.Type(`[data-testid="modal"] [data-block-id="score"]`, "7")
	w.Click(`[data-testid="modal-submit"]`)
	w.Wait(`[data-testid="modal-error-score"]`)
	w.Says(`[data-testid="modal-error-score"]`, "0 to 1")
	w.Type(`[data-testid="modal"] [data-block-id="score"]`, "0.25")
	w.Click(`[data-testid="modal-submit"]`)
	w.Gone(`[data-testid="modal"]`)
	w.Says(card, "Ana")
	got := demoAnnotations(t, b, span, 1)[0]
	if got.Result.Label != "incorrect" || got.Result.Score == nil || *got.Result.Score != .25 || got.Result.Explanation != "It rhymes where it should not." {
		t.Errorf("annotation %+v", got.Result)
	}
}

// A connection that is cut comes back by itself, and what was typed is still there.
func TestDemo_FormSurvivesALostConnection(t *testing.T) {
	b := demo(t)
	wire := proxy.NewTCP(t, "tcp", strings.TrimPrefix(b.URL, "http://"))
	w := browser.Start(t).Workspace("http://"+wire.Addr+"/", "Ben", browser.Look{})
	card := w.Card("")
	span := spanOf(t, w, card)
	w.Tap(card, "annotate")
	w.Type(`[data-testid="modal"] [data-block-id="explanation"]`, "half a sentence")
	wire.Refuse(true)
	wire.Cut()
	w.Eventually("the page has noticed", `document.querySelector(".banner") !== null`)
	wire.Refuse(false)
	w.Gone(".banner")
	w.Eventually("the text is still there", `document.querySelector('[data-testid="modal"] textarea')?.value === "half a sentence"`)
	w.Click(`[data-testid="modal-submit"]`)
	w.Gone(`[data-testid="modal"]`)
	if got := demoAnnotations(t, b, span, 1)[0]; got.Result.Explanation != "half a sentence" {
		t.Errorf("annotation %+v", got.Result)
	}
	w.Forget() // a cut socket is an error in the console
}

func TestDemo_ThreadDarkAndNarrow(t *testing.T) {
	b := demo(t)
	w := browser.Start(t).Workspace(b.Workspace, "Ana", browser.Look{Width: 390, Height: 844, Dark: true, Touch: true})
	card := w.Card("")
	w.Tap(card, "annotate")
	w.Wait(`[data-testid="modal"]`)
	w.Eventually("nothing is wider than the window", `document.documentElement.scrollWidth <= 390`)
	w.Key(kb.Escape)
	w.Gone(`[data-testid="modal"]`)
	rag := w.Card("ferry")
	w.Tap(rag, "trace")
	w.Click(strings.Replace(rag, "message-", "thread-open-", 1))
	w.Says(`[data-testid="thread"]`, "vector_lookup")
	w.Eventually("the thread fits", `document.documentElement.scrollWidth <= 390`)
	w.Eventually("it is dark", `(() => { const c = getComputedStyle(document.querySelector('[data-testid="thread"]')).backgroundColor.match(/\d+/g).map(Number); return c[0] < 64 && c[1] < 64 && c[2] < 64 })()`)
	w.Click(`[data-testid="thread-close"]`)
	w.Gone(`[data-testid="thread"]`)
	w.Wait(card)
	w.Click(`[aria-label="Back to channels"]`)
	w.Click(`[data-testid="theme-switch"]`)
	w.Eventually("it is light", `document.documentElement.dataset.theme === "light"`)
}

func TestDemo_HomeAndCommand(t *testing.T) {
	b := demo(t)
	w := browser.Start(t).Workspace(b.Workspace, "Chen", browser.Look{})
	card := w.Card("")
	w.Tap(card, "up")
	w.Says(card, "Chen")
	w.Type(`[data-testid="composer"]`, "/spanbot status")
	w.Key(kb.Enter)
	w.Eventually("the bot answers the command", `[...document.querySelectorAll('[data-testid^="message-"]')].some(m => m.innerText.includes("Only visible to you") && m.innerText.includes("Phoenix"))`)
	w.Click(`[data-testid="home"]`)
	w.Says(`[data-testid="home-view"]`, "llm-reviews")
	w.Says(`[data-testid="home-view"]`, "correct")
}

// Each start is a new workspace and a new Phoenix: what the kept queue remembers
// of the last one neither delays the first card nor comes back.
func TestDemo_StartsAreAlike(t *testing.T) {
	b := demo(t)
	chromium := browser.Start(t)
	seen := map[string]bool{}
	for i := range 3 {
		if i > 0 {
			b.Start()
		}
		w := chromium.Workspace(b.Workspace, "Ana", browser.Look{})
		card := w.Card("")
		span := spanOf(t, w, card)
		if seen[span] {
			t.Errorf("start %d shows span %s of an earlier one", i+1, span)
		}
		seen[span] = true
		w.Tap(card, "up")
		w.Says(card, "Ana")
		demoAnnotations(t, b, span, 1)
		w.Eventually("a second card comes", `document.querySelectorAll('[data-testid^="message-"] [data-action-id="up"]').length >= 2`)
		w.Forget()
		w.Close()
		if i == 0 {
			b.Stop()
		} else {
			b.Kill()
		}
	}
}

// Commands find the bot that runs, and use its stand-ins.
func TestDemo_CommandsFindTheBot(t *testing.T) {
	b := demo(t)
	path, _ := buildBot()
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(path, args...)
		cmd.Dir, cmd.Env = b.Home(), []string{"HOME=" + b.Home(), "PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("spanbot %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for _, args := range [][]string{{"check"}, {"preview"}} {
		if out := run(args...); !strings.Contains(out, "of the bot that runs at "+strings.TrimSuffix(b.Workspace, "/")) {
			t.Errorf("spanbot %v says:\n%s", args, out)
		}
	}
	out := run("traces", "--count", "2")
	if !strings.Contains(out, "2 traces") || !strings.Contains(out, b.Phoenix.URL) {
		t.Errorf("spanbot traces says:\n%s", out)
	}
	// A second bot on the same folder would be two on one queue.
	cmd := exec.Command(path, "--listen", "127.0.0.1:0")
	cmd.Dir, cmd.Env = b.Home(), []string{"HOME=" + b.Home(), "PATH=" + os.Getenv("PATH")}
	said, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || strings.Count(string(said), "\n") != 1 {
		t.Errorf("a second bot: %v\n%s", err, said)
	}
}

// Each part is replaced by a real one, and the others stay.
func TestDemo_EachPartIsReplacedByItself(t *testing.T) {
	t.Run("Phoenix", func(t *testing.T) {
		px := rig.SharedPhoenix(t)
		const project = "e2e-demo-own-phoenix"
		b := demo(t, "PHOENIX_ENDPOINT="+px.URL, "PHOENIX_PROJECT="+project, "SPANBOT_SCHEDULE=@every 1s")
		if b.Phoenix != nil || !strings.Contains(b.Output(), px.URL) {
			t.Errorf("it says:\n%s", b.Output())
		}
		span := rig.NewSpan("ChatCompletion", "Is this a real Phoenix?", "It is.")
		px.Ingest(t, project, span)
		w := browser.Start(t).Workspace(b.Workspace, "Ana", browser.Look{})
		card := w.Card("Is this a real Phoenix?")
		w.Tap(card, "down")
		w.Says(card, "Ana")
		w.Eventually("the card says no more that it is on its way", fmt.Sprintf(`!document.querySelector(%q).innerText.includes("⏳")`, card))
		id := rig.SpanIDs([]map[string]any{span})[0]
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			if got := decode(t, px.Annotations(t, project, id)); len(got) == 1 && got[0].Result.Label == "incorrect" {
				break
			} else if time.Now().After(end) {
				t.Fatalf("Phoenix holds %+v", got)
			}
		}
	})
	t.Run("Redis", func(t *testing.T) {
		rd := rig.Redis(t)
		b := demo(t, "REDIS_URL="+rd.URL)
		w := browser.Start(t).Workspace(b.Workspace, "Ben", browser.Look{})
		card := w.Card("")
		span := spanOf(t, w, card)
		w.Tap(card, "up")
		demoAnnotations(t, b, span, 1)
		if _, err := os.Stat(b.Home() + "/.local/share/spanbot/appendonlydir"); err == nil {
			t.Error("there is an embedded queue, too")
		}
	})
	t.Run("Slack", func(t *testing.T) {
		people, slack := proxy.Workspace(t, rig.SlackConfig{}, false, proxy.SlackOptions{PostEvery: time.Second})
		b := demo(t, "SLACK_BOT_TOKEN="+rig.BotToken, "SLACK_APP_TOKEN="+rig.AppToken, "SLACK_API_URL="+slack.APIURL, "SLACK_CHANNEL=#llm-review")
		if b.Workspace != "" {
			t.Errorf("a local workspace is printed:\n%s", b.Output())
		}
		m := people.WaitMessage(rig.Reviews, patience, "a card", func(m rig.SlackMessage) bool { return strings.HasPrefix(m.BlockID(), "card:main:") })
		up, _ := m.Button("up")
		people.Click(rig.Reviews, m.TS, rig.Alice, up)
		demoAnnotations(t, b, strings.TrimPrefix(m.BlockID(), "card:main:"), 1)
	})
}

// What is not the real thing is named where operators look; without a Redis to
// start, the queue is in memory, and that is said.
func TestDemo_SaysWhatIsAStandIn(t *testing.T) {
	b := demo(t, "PATH="+t.TempDir())
	if !strings.Contains(b.Output(), "nothing is kept after exit") || !strings.Contains(b.Output(), "install valkey-server") {
		t.Errorf("it says:\n%s", b.Output())
	}
	for path, want := range map[string][]string{
		"/readyz?verbose": {"stand-in for slack: ok — local workspace", "stand-in for phoenix: ok", "stand-in for redis: ok — miniredis"},
		"/metrics":        {`spanbot_stand_in{part="slack"} 1`, `spanbot_stand_in{part="phoenix"} 1`, `spanbot_stand_in{part="redis"} 1`},
	} {
		r, err := http.Get(b.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s does not say %q:\n%s", path, w, text)
			}
		}
	}
}
