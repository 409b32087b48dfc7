package browser

import (
	"fmt"
	"time"

	"github.com/chromedp/chromedp"
)

// Workspace is a tab with the local workspace: what people do there, in their
// words.
type Workspace struct{ *Tab }

// Workspace opens the local workspace as the seeded reviewer of that name.
func (b *Browser) Workspace(page, name string, look Look) Workspace {
	b.tb.Helper()
	w := Workspace{b.Open(page, look)}
	who := fmt.Sprintf(`[...document.querySelectorAll('[data-testid="user-switch"] a')].find(a => a.innerText.includes(%q))`, name)
	w.Eventually("somebody called "+name+" is there", who+" !== undefined")
	w.Eventually("I am "+name, fmt.Sprintf(`(() => { const a = %s; if (a?.getAttribute("aria-current")) return true; a?.click(); return false })()`, who))
	if look.Width > 0 && look.Width < narrow {
		w.Wait(`[data-testid="user-switch"]`)
		w.Click(`[data-testid="channel-llm-reviews"]`)
	}
	return w
}

// narrow is the width below which the page shows the channels or one of them.
const narrow = 720

// Card waits for a message with buttons that says words, and returns a selector
// for it; the newest one where several do.
func (w Workspace) Card(words string) string {
	w.tb.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll('[data-testid^="message-"]')].findLast(m => m.querySelector('[data-action-id="up"], [data-action-id="choose-0"]') && m.innerText.includes(%q))`, words)
	id := ask(w.Tab, fmt.Sprintf("find a card that says %q", words),
		chromedp.Poll[string](find+"?.dataset.testid", chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(patience)))
	return fmt.Sprintf(`[data-testid=%q]`, id)
}

// Tap does with a card what a button of that action id does, or the entry behind
// its ⋯: a card that was judged keeps its buttons there.
func (w Workspace) Tap(card, action string) {
	w.tb.Helper()
	button := fmt.Sprintf(`%s [data-action-id=%q]`, card, action)
	w.Wait(card + " [data-action-id]")
	if Eval[bool](w.Tab, fmt.Sprintf(`document.querySelector(%q) !== null`, button)) {
		w.Click(button)
		return
	}
	w.Click(card + ` [data-action-id="more"]`)
	w.Click(fmt.Sprintf(`%s [role="menu"] [data-value$=%q]`, card, ":"+action))
}
