// Package browser drives a real Chromium through the local workspace and the
// stand-in Phoenix: for tests, and for the pictures in the documentation.
//
// A tab notices what no test would think to ask: an error in the console, and a
// request to anywhere but this machine. Both fail the test when the tab closes.
package browser

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// Browser is a running Chromium with a profile of its own.
type Browser struct {
	tb  rig.TB
	ctx context.Context
}

// Start starts Chromium without a window.
func Start(tb rig.TB) *Browser {
	tb.Helper()
	path, err := exec.LookPath("chromium")
	rig.Need(tb, "chromium", err)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // a container's root may not make namespaces
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("font-render-hinting", "none"),
		chromedp.Flag("lang", "en-GB"),
		chromedp.Env("TZ=UTC"),
	)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	tb.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	tb.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		tb.Fatalf("chromium: %v", err)
	}
	return &Browser{tb, ctx}
}

// Look is how a tab is looked at. The zero value is a laptop by day.
type Look struct {
	Width, Height int64 // CSS pixels; 0: 1280 × 800
	Scale         float64
	Dark          bool
	Touch         bool
}

// Tab is one open page.
type Tab struct {
	tb   rig.TB
	ctx  context.Context
	stop context.CancelFunc

	mu       sync.Mutex
	troubles []string
}

// patience is how long a step waits for what it needs.
const patience = 15 * time.Second

// Open opens a page in a new tab.
func (b *Browser) Open(address string, look Look) *Tab {
	b.tb.Helper()
	t := &Tab{tb: b.tb}
	t.ctx, t.stop = chromedp.NewContext(b.ctx, chromedp.WithListener(t.notice))
	b.tb.Cleanup(t.Close)
	if look.Width == 0 {
		look.Width, look.Height = 1280, 800
	}
	if look.Scale == 0 {
		look.Scale = 1
	}
	scheme := "light"
	if look.Dark {
		scheme = "dark"
	}
	// The tab lives as long as the context of its first action.
	if err := chromedp.Do(t.ctx); err != nil {
		b.tb.Fatalf("a tab: %v", err)
	}
	t.run("open "+address,
		command(network.Enable, network.EnableParams{}),
		command(log.Enable, cdp.Empty{}),
		command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: look.Width, Height: look.Height, DeviceScaleFactor: look.Scale, Mobile: look.Touch}),
		command(emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: look.Touch}),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}}),
		chromedp.Navigate(address))
	return t
}

type step = chromedp.Action[chromedp.Void]

// command is a command of the protocol whose answer does not matter.
func command[P, R any](c cdp.Command[P, R], params P) step {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// notice keeps what must not happen.
func (t *Tab) notice(event any) {
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || !local(u) {
			t.trouble("a request to " + e.Request.URL)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			var words []string
			for _, a := range e.Args {
				words = append(words, strings.Trim(string(a.Value), `"`)+a.Description)
			}
			t.trouble("console: " + strings.Join(words, " "))
		}
	case *runtime.EventExceptionThrown:
		t.trouble("exception: " + thrown(e.ExceptionDetails))
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			t.trouble(fmt.Sprintf("browser: %s %s", e.Entry.Text, e.Entry.URL))
		}
	}
}

func thrown(d *runtime.ExceptionDetails) string {
	if d.Exception != nil && d.Exception.Description != "" {
		return d.Exception.Description
	}
	return d.Text
}

func local(u *url.URL) bool {
	switch u.Scheme {
	case "data", "blob", "about":
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func (t *Tab) trouble(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.troubles = append(t.troubles, text)
}

// Forget drops the troubles so far: for a test that causes them on purpose.
func (t *Tab) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.troubles = nil
}

// Close closes the tab and fails the test for whatever it noticed.
func (t *Tab) Close() {
	t.stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, text := range t.troubles {
		t.tb.Errorf("in the browser: %s", text)
	}
	t.troubles = nil
}

func (t *Tab) run(what string, steps ...step) {
	t.tb.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.tb.Fatalf("%s: %v\n%s", what, err, t.shown())
	}
}

// ask runs an action and returns its value.
func ask[T any](t *Tab, what string, a chromedp.Action[T]) T {
	t.tb.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.tb.Fatalf("%s: %v\n%s", what, err, t.shown())
	}
	return v
}

// shown is what the page says, for messages of failed tests. With
// SPANBOT_TEST_PICTURES=FOLDER a picture of it goes there.
func (t *Tab) shown() string {
	ctx, cancel := context.WithTimeout(t.ctx, 2*time.Second)
	defer cancel()
	if dir := os.Getenv("SPANBOT_TEST_PICTURES"); dir != "" {
		if png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()); err == nil {
			_ = os.WriteFile(filepath.Join(dir, "failed.png"), png, 0o600)
		}
	}
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	if err != nil {
		return "and the page does not answer: " + err.Error()
	}
	return "the page says:\n" + text
}

// front brings a tab before the others: input to one behind them is never
// answered.
var front = command(page.BringToFront, cdp.Empty{})

// Wait waits until an element that matches the CSS selector is to be seen.
func (t *Tab) Wait(selector string) {
	t.tb.Helper()
	t.run("wait for "+selector, chromedp.WaitVisible(chromedp.CSS(selector)))
}

// Gone waits until nothing matches the selector.
func (t *Tab) Gone(selector string) {
	t.tb.Helper()
	t.run("wait until there is no "+selector, chromedp.WaitNotPresent(chromedp.CSS(selector)))
}

// Says waits until an element's text holds words.
func (t *Tab) Says(selector, words string) {
	t.tb.Helper()
	t.Eventually(fmt.Sprintf("%s says %q", selector, words), fmt.Sprintf(
		`[...document.querySelectorAll(%q)].some(e => e.innerText.includes(%q))`, selector, words))
}

// Eventually waits until a JavaScript expression is true.
func (t *Tab) Eventually(what, expression string) {
	t.tb.Helper()
	ask(t, what, chromedp.Poll[any](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(patience)))
}

// reach scrolls to the first element that matches, waits until nothing covers it
// and it stands still, and returns its middle.
const reach = `(async () => {
	const frame = () => new Promise(done => setTimeout(done, 30));
	for (let before = ""; ; await frame()) {
		const e = document.querySelector(%q);
		if (!e) continue;
		e.scrollIntoView({ block: "nearest", inline: "nearest" });
		const r = e.getBoundingClientRect();
		const at = [r.x + r.width / 2, r.y + r.height / 2];
		const top = document.elementFromPoint(...at);
		const still = before === String(at);
		before = String(at);
		if (still && r.width > 0 && r.height > 0 && !e.disabled && (e === top || e.contains(top) || e.closest("label")?.contains(top))) {
			globalThis.hit = false;
			(e.closest("label") ?? e).addEventListener("click", () => { globalThis.hit = true; }, { once: true, capture: true });
			return at;
		}
	}
})`

// Click clicks the first element that matches, when it can be reached. A page that
// moves between the look and the click, as a channel does when a message comes,
// makes it miss; then it is tried again.
func (t *Tab) Click(selector string) {
	t.tb.Helper()
	for range 5 {
		t.run("look at a tab", front)
		at := ask(t, "reach "+selector, chromedp.Evaluate[[]float64](fmt.Sprintf(reach, selector)+"()", awaited))
		t.run("click "+selector, chromedp.MouseClickXY(at[0], at[1]))
		// An element that is gone was hit: by what the click did.
		if ask(t, "see whether "+selector+" was hit", chromedp.Evaluate[bool](fmt.Sprintf(`globalThis.hit !== false || !document.querySelector(%q)`, selector))) {
			return
		}
	}
	t.tb.Fatalf("click %s: missed five times\n%s", selector, t.shown())
}

func awaited(p *runtime.EvaluateParams) { p.AwaitPromise = new(true) }

// Type types into a field, in place of what is in it. The keys go to where the
// click put the focus: chromedp.SendKeys reads an element's attributes before it
// takes their lock, while the page may be changing them (v0.23.0).
func (t *Tab) Type(selector, text string) {
	t.tb.Helper()
	t.Click(selector)
	ask(t, "select all of "+selector, chromedp.Evaluate[any](fmt.Sprintf(`document.querySelector(%q).select?.(), 0`, selector)))
	t.run("type into "+selector, chromedp.KeyEvent(kb.Delete), chromedp.KeyEvent(text))
}

// Key presses a key, such as kb.Escape, wherever the focus is.
func (t *Tab) Key(key string) {
	t.tb.Helper()
	t.run("press a key", front, chromedp.KeyEvent(key))
}

// Text is an element's text.
func (t *Tab) Text(selector string) string {
	t.tb.Helper()
	return ask(t, "read "+selector, chromedp.Text(chromedp.CSS(selector)))
}

// Eval evaluates JavaScript to a value of type T.
func Eval[T any](t *Tab, expression string) T {
	t.tb.Helper()
	return ask(t, "evaluate "+expression, chromedp.Evaluate[T](expression))
}

// Picture is what is to be seen now, as PNG.
func (t *Tab) Picture() []byte {
	t.tb.Helper()
	t.run("look at a tab", front)
	return ask(t, "take a picture", chromedp.CaptureScreenshot())
}
