package main

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	crand "crypto/rand"

	"github.com/spanbot/spanbot/internal/bot"
	"github.com/spanbot/spanbot/internal/config"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/recorded"
	"github.com/spanbot/spanbot/internal/sandbox/redisd"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
	"github.com/spanbot/spanbot/internal/sandbox/slackd/page"
)

// startStandIns starts the stand-ins that a configuration asks for and tells the
// settings where they are. Without any it does nothing, and the sandbox is nil.
func (a *app) startStandIns(c config.Config, set *bot.Settings) (*sandbox.Sandbox, error) {
	if !c.StandIns.Any() {
		return nil, nil
	}
	o := sandboxOptions(c, set.Log)
	if c.StandIns.Slack || c.StandIns.Phoenix {
		l, err := bot.Listen(c.Listen)
		if err != nil {
			return nil, err
		}
		o.Listener = l
	}
	box, err := sandbox.Start(a.ctx, o)
	if err != nil {
		return nil, usage("%s", err)
	}
	if err := mayForget(c, box); err != nil {
		_ = box.Close()
		return nil, err
	}
	note := box.Note()
	use(note, c, set)
	if o.Listener != nil {
		set.Mount = box.Mount
	}
	if q := box.Queue; q != nil {
		set.StandIns[slices.IndexFunc(set.StandIns, func(s bot.StandIn) bool { return s.Part == "redis" })].State = q.Err
		if q.Kept() {
			// Nobody else writes to our own Redis: what is not ours there is of an
			// earlier start.
			set.Gone = gone
		}
	}
	note.Version = versionText()
	if note.URL == "" {
		note.URL = "http://" + strings.Replace(c.Listen, "0.0.0.0", "127.0.0.1", 1)
	}
	if c.Data != "" {
		if err := box.Publish(c.Data, note); err != nil {
			set.Log.Warn("other commands will not find this bot", "error", err)
		}
	}
	return box, nil
}

// sandboxOptions says which stand-ins a configuration asks for.
func sandboxOptions(c config.Config, log *slog.Logger) sandbox.Options {
	var o sandbox.Options
	if c.StandIns.Slack {
		o.Slack = &slackd.Options{Channels: channels(c), Page: page.Handler()}
	}
	if c.StandIns.Phoenix {
		o.Phoenix = &phoenixd.Options{Project: c.Routes[0].Project, Feed: feed()}
	}
	if c.StandIns.Redis {
		o.Queue = &redisd.Options{Dir: c.Data, Log: log, Memory: c.StandIns.Memory || c.Data == ""}
	}
	return o
}

// channels are those of all routes: a local workspace has what is asked for.
func channels(c config.Config) []string {
	var list []string
	for _, r := range c.Routes {
		if !slices.Contains(list, r.Channel) {
			list = append(list, r.Channel)
		}
	}
	return list
}

// feed is the recorded traces, each time with fresh ids.
func feed() []phoenixd.Source {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	ids := rand.NewChaCha8(seed)
	var list []phoenixd.Source
	for _, trace := range recorded.Traces() {
		list = append(list, func(end time.Time) []map[string]any { return trace.Spans(end.Add(-trace.Took()), ids) })
	}
	return list
}

// mayForget refuses real judgements in a queue that forgets, unless somebody
// asked for just that.
func mayForget(c config.Config, box *sandbox.Sandbox) error {
	if box.Queue == nil || box.Queue.Kept() || c.StandIns.Memory || c.StandIns.Slack && c.StandIns.Phoenix {
		return nil
	}
	why := "neither valkey-server nor redis-server is on PATH"
	if c.Data == "" {
		why = "there is no folder to keep it in (SPANBOT_DATA)"
	}
	return usage("without REDIS_URL the queue would be in memory, because %s, and judgements that have not reached Phoenix would be lost at exit; "+
		"install valkey-server, set REDIS_URL, or ask for it with REDIS_URL=memory", why)
}

// gone recognises what earlier starts left behind: a local workspace and a
// stand-in Phoenix never come back. A real Phoenix does, and may lack judgements.
func gone(instance string) (gone, phoenix bool) {
	team, name, _ := strings.Cut(instance, "@")
	phoenix = sandbox.LocalPhoenix(name)
	return phoenix || sandbox.LocalTeam(team), phoenix
}

// use tells the settings where stand-ins are, for the parts that want one.
func use(n sandbox.Note, c config.Config, set *bot.Settings) {
	if c.StandIns.Slack && n.Slack != nil {
		set.Slack.BotToken, set.Slack.AppToken, set.Slack.SigningSecret, set.Slack.APIURL = n.Slack.BotToken, n.Slack.AppToken, "", n.Slack.API
		set.StandIns = append(set.StandIns, bot.StandIn{Part: "slack", What: "local workspace at " + n.URL + "/"})
	}
	if c.StandIns.Phoenix && n.Phoenix != nil {
		set.Phoenix.Endpoint, set.PhoenixPublic, set.PhoenixName = n.Phoenix.Endpoint, "", n.Phoenix.Name
		set.StandIns = append(set.StandIns, bot.StandIn{Part: "phoenix", What: "stand-in at " + n.Phoenix.Endpoint + "/"})
	}
	if c.StandIns.Redis && n.Queue != nil {
		set.Redis = n.Queue.URL
		set.StandIns = append(set.StandIns, bot.StandIn{Part: "redis", What: queueText(*n.Queue, c)})
	}
}

func queueText(q sandbox.QueueNote, c config.Config) string {
	if q.Kept {
		return q.What + ", " + inHome(c.Data) + ", kept"
	}
	return q.What + ", in memory: nothing is kept after exit"
}

// inHome writes a folder as people do.
func inHome(folder string) string {
	home, err := os.UserHomeDir()
	if rest, ok := strings.CutPrefix(folder, home+string(filepath.Separator)); ok && err == nil && home != "" {
		return filepath.Join("~", rest)
	}
	return folder
}

// borrowed is what a command other than the bot works on.
type borrowed struct {
	own *sandbox.Sandbox // what was started for this command alone
}

func (b borrowed) Close() {
	if b.own != nil {
		_ = b.own.Close()
	}
}

// borrow uses the stand-ins of a bot that runs on the same data folder, and
// starts those that it lacks. It says on errOut which it took: a command's
// output may be read by a program.
func (a *app) borrow(c config.Config, need config.Need, set *bot.Settings) (borrowed, error) {
	c.StandIns.Slack = c.StandIns.Slack && need&config.NeedSlack != 0
	c.StandIns.Phoenix = c.StandIns.Phoenix && need&config.NeedPhoenix != 0
	c.StandIns.Redis = c.StandIns.Redis && need&config.NeedRedis != 0
	if !c.StandIns.Any() {
		return borrowed{}, nil
	}
	running, found, err := a.running(c)
	if err != nil {
		return borrowed{}, err
	}
	if found {
		use(running, c, set)
		if said := parts(c, running); said != "" {
			fmt.Fprintf(a.errOut, "spanbot: using the stand-in for %s of the bot that runs at %s (process %d)\n", said, running.URL, running.PID)
		}
		c.StandIns.Slack = c.StandIns.Slack && running.Slack == nil
		c.StandIns.Phoenix = c.StandIns.Phoenix && running.Phoenix == nil
		c.StandIns.Redis = c.StandIns.Redis && running.Queue == nil
		if !c.StandIns.Any() {
			return borrowed{}, nil
		}
	}
	o := sandboxOptions(c, set.Log)
	if o.Queue != nil {
		o.Queue.Memory = true // the folder is a bot's
	}
	if o.Slack != nil || o.Phoenix != nil {
		if o.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return borrowed{}, err
		}
	}
	box, err := sandbox.Start(a.ctx, o)
	if err != nil {
		return borrowed{}, usage("%s", err)
	}
	use(box.Note(), c, set)
	fmt.Fprintf(a.errOut, "spanbot: no bot runs with a stand-in for %s; started one for this command\n", parts(c, box.Note()))
	return borrowed{box}, nil
}

// running finds a bot that runs with stand-ins.
func (a *app) running(c config.Config) (sandbox.Note, bool, error) {
	if c.Data == "" {
		return sandbox.Note{}, false, nil
	}
	return sandbox.Find(c.Data)
}

// parts names what a note has of what is wanted: "Slack, Phoenix and Redis".
func parts(c config.Config, n sandbox.Note) string {
	var list []string
	for _, p := range []struct {
		name string
		here bool
	}{
		{"Slack", c.StandIns.Slack && n.Slack != nil},
		{"Phoenix", c.StandIns.Phoenix && n.Phoenix != nil},
		{"Redis", c.StandIns.Redis && n.Queue != nil},
	} {
		if p.here {
			list = append(list, p.name)
		}
	}
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

// banner says what was started, where it is, and how the real one takes its
// place.
func banner(w io.Writer, c config.Config, box *sandbox.Sandbox) {
	type line struct{ part, what, where, own string }
	lines := []line{
		{"Slack", "yours", "", ""},
		{"Phoenix", "yours", c.Phoenix.Endpoint, ""},
		{"Redis", "yours", "", ""},
	}
	if box.Slack != nil {
		lines[0] = line{"Slack", "local workspace", box.Workspace(), "SLACK_BOT_TOKEN, SLACK_APP_TOKEN"}
	}
	if box.Phoenix != nil {
		lines[1] = line{"Phoenix", "stand-in", box.PhoenixEndpoint() + "/", "PHOENIX_ENDPOINT"}
	}
	if box.Queue != nil {
		lines[2] = line{"Redis", queueText(*box.Note().Queue, c), "", "REDIS_URL"}
		if !box.Queue.Kept() && !c.StandIns.Memory {
			lines[2].own = "REDIS_URL, or install valkey-server"
		}
	}
	what, wide := 0, 0
	for _, l := range lines {
		if l.where != "" {
			what = max(what, len(l.what))
		}
	}
	text := func(l line) string {
		if l.where == "" {
			return l.what
		}
		return fmt.Sprintf("%-*s  %s", what, l.what, l.where)
	}
	for _, l := range lines {
		wide = max(wide, len(text(l)))
	}
	fmt.Fprintf(w, "Spanbot %s\n", versionText())
	for _, l := range lines {
		if l.own == "" {
			fmt.Fprintf(w, "  %-7s  %s\n", l.part, text(l))
			continue
		}
		fmt.Fprintf(w, "  %-7s  %-*s  your own: %s\n", l.part, wide, text(l), l.own)
	}
}

// openBrowser shows an address to the person at this machine.
func openBrowser(address string) error {
	name, args := "xdg-open", []string{address}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", address}
	}
	if _, err := exec.LookPath(name); err != nil {
		return &review.Error{Kind: review.Gone, Text: "cannot open a browser here; open " + address + " yourself", Err: err}
	}
	c := exec.Command(name, args...) //nolint:gosec // one of three programs; the address is our own
	if err := c.Start(); err != nil {
		return err
	}
	go func() { _ = c.Wait() }()
	return nil
}
