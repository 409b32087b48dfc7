// Command pictures takes the pictures of the documentation from the running
// product, with nothing configured: make pictures.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/chromedp/chromedp/kb"

	"github.com/spanbot/spanbot/internal/sandbox/browser"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

func main() {
	_ = os.Setenv("SPANBOT_TEST_REQUIRE", "all") // a missing part is said, not skipped
	if err := rig.Program(take); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

// The looks of the pictures.
var (
	laptop = browser.Look{Width: 1180, Height: 760, Scale: 1.5}
	night  = browser.Look{Width: 1180, Height: 760, Scale: 1.5, Dark: true}
	phone  = browser.Look{Width: 390, Height: 780, Scale: 2, Touch: true}
)

func take(tb rig.TB) {
	root := rig.Root(tb)
	binary := filepath.Join(root, ".cache", "pictures", "spanbot")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/bot")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("go build: %v\n%s", err, out)
	}
	save := func(name string, t *browser.Tab) {
		path := filepath.Join(root, "docs", "pictures", name+".png")
		if err := os.WriteFile(path, t.Picture(), 0o600); err != nil {
			tb.Fatalf("%v", err)
		}
		fmt.Println(path)
	}
	bot := rig.Bot(tb, binary)
	chromium := browser.Start(tb)

	ana := chromium.Workspace(bot.Workspace, "Ana", laptop)
	ben := chromium.Workspace(bot.Workspace, "Ben", laptop)
	chen := chromium.Workspace(bot.Workspace, "Chen", phone)
	ana.Eventually("all cards are there", `document.querySelectorAll('[data-testid^="message-"] [data-action-id="up"]').length >= 8`)

	// Two people judge, one of them with words; what comes next is open.
	card := ana.Card("Apollo")
	ana.Tap(card, "up")
	ana.Says(card, "Ana")
	ben.Tap(card, "down")
	ana.Says(card, "Ben")
	card = ana.Card("France")
	ben.Tap(card, "up")
	ana.Says(card, "Ben")
	card = ana.Card("boiling point")
	ana.Says(card, "Annotate")
	save("card", ana.Tab)

	ana.Tap(card, "annotate")
	ana.Wait(`[data-testid="modal"] [data-block-id="score"]`)
	ana.Click(`[data-testid="modal"] [data-value="correct"]`)
	ana.Type(`[data-testid="modal"] [data-block-id="explanation"]`, "At sea level, in rhyme: just what was asked for.")
	save("form", ana.Tab)
	ana.Key(kb.Escape)
	ana.Gone(`[data-testid="modal"]`)

	trace := ana.Card("ferry")
	ana.Tap(trace, "trace")
	ana.Click(strings.Replace(trace, "message-", "thread-open-", 1))
	ana.Says(`[data-testid="thread"]`, "vector_lookup")
	save("thread", ana.Tab)
	ana.Click(`[data-testid="thread-close"]`)

	ana.Click(`[data-testid="home"]`)
	ana.Wait(`[data-testid="home-view"]`)
	save("home", ana.Tab)

	chen.Tap(chen.Card(""), "annotate")
	chen.Wait(`[data-testid="modal"]`)
	save("phone", chen.Tab)
	chen.Click(`[data-testid="modal-close"]`)
	chen.Gone(`[data-testid="modal"]`)

	late := chromium.Workspace(bot.Workspace, "Chen", night)
	late.Card("")
	save("dark", late.Tab)

	// What commands ask the reviewers.
	run := func(args ...string) string {
		cmd := exec.Command(binary, args...)
		cmd.Dir, cmd.Env = bot.Home(), []string{"HOME=" + bot.Home(), "PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if err != nil {
			tb.Fatalf("spanbot %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	ana = chromium.Workspace(bot.Workspace, "Ana", laptop) // not at home any more
	// The card in the middle, whatever else comes meanwhile.
	alone := func(card string) {
		browser.Eval[bool](ana.Tab, fmt.Sprintf(`document.querySelector(%q).scrollIntoView({ block: "center" }), true`, card))
	}
	run("loop", "--traces", "60", "--dataset", "trivia-rhymes", "--error-rates", "0.2,0.2,0.2")
	run("judge", "align", "--dataset", "trivia-rhymes", "--require", "none", "--cards", "main")
	card = ana.Card("Who is right?")
	alone(card)
	save("adjudication", ana.Tab)
	compare := []string{"experiment", "compare", "initial system prompt", "updated system prompt", "--dataset", "trivia-rhymes"}
	run(append(compare, "--cards", "main", "--cards-most", "12")...)
	for n := range 12 {
		card = ana.Card("Which answer is better?")
		if n == 0 {
			alone(card)
			save("side-by-side", ana.Tab)
		}
		// Ana has her reasons: what has numbers in it is no rhyme.
		texts := strings.Split(ana.Text(card), "\nB\n")
		choice := "choose-0"
		if numbers(texts[0]) > numbers(texts[1]) {
			choice = "choose-1"
		}
		ana.Tap(card, choice)
		ana.Says(card, "Ana")
	}
	fmt.Println(run(compare...))

	px := chromium.Open(bot.Phoenix.URL+"/", laptop)
	px.Says("main", "incorrect")
	browser.Eval[bool](px, `[...document.querySelectorAll("article")].find(a => a.innerText.includes("incorrect")).scrollIntoView({ block: "center" }), true`)
	save("phoenix", px)
}

// numbers counts the digits of a text.
func numbers(s string) (n int) {
	for _, r := range s {
		if r >= '0' && r <= '9' {
			n++
		}
	}
	return n
}
