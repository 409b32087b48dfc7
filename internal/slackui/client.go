package slackui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/slack-go/slack"

	"github.com/spanbot/spanbot/internal/review"
)

// callTimeout bounds one call; slack-go has no time-out of its own.
const callTimeout = 15 * time.Second

// Options say which app it is and where Slack is.
type Options struct {
	BotToken      string // xoxb-…
	AppToken      string // xapp-…: Socket Mode
	SigningSecret string // HTTP mode
	APIURL        string // with trailing slash; "" = Slack's own
	HTTP          *http.Client
	Registry      prometheus.Registerer // nil: no metrics
	Log           *slog.Logger          // nil: silent

	// Dial makes the connections where HTTP is nil, Socket Mode's too; nil: as
	// usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client calls Slack. It is safe for concurrent use.
type Client struct {
	api     *slack.Client
	opts    Options
	http    *http.Client
	pace    *pace
	log     *slog.Logger
	metrics *metrics
	scopes  func() []string
}

// New makes a client; it calls nothing yet.
func New(o Options) *Client {
	if o.HTTP == nil {
		o.HTTP = &http.Client{Timeout: callTimeout}
		if o.Dial != nil {
			t := http.DefaultTransport.(*http.Transport).Clone()
			t.DialContext = o.Dial
			o.HTTP.Transport = t
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.APIURL == "" {
		o.APIURL = slack.APIURL
	}
	if !strings.HasSuffix(o.APIURL, "/") {
		o.APIURL += "/"
	}
	granted := &header{}
	// No OptionRetry: it would post twice; what may be repeated is repeated from
	// state by those who know it.
	options := []slack.Option{slack.OptionHTTPClient(o.HTTP), slack.OptionAPIURL(o.APIURL),
		slack.OptionOnResponseHeaders(granted.see)}
	if o.AppToken != "" {
		options = append(options, slack.OptionAppLevelToken(o.AppToken))
	}
	return &Client{
		api: slack.New(o.BotToken, options...), opts: o, http: o.HTTP, pace: newPace(), log: o.Log,
		metrics: newMetrics(o.Registry), scopes: granted.list,
	}
}

// call counts one call by its outcome and gives its failure a Kind.
func (c *Client) call(method string, writes bool, err error) error {
	err = failed(method, writes, err)
	outcome := "ok"
	if err != nil {
		outcome = string(review.KindOf(err))
	}
	c.metrics.calls.WithLabelValues(method, outcome).Inc()
	if errors.Is(err, ErrBlocks) {
		c.log.Error("Slack refuses blocks", "call", method, "error", err)
	}
	return err
}

// Identity is who we are in which workspace.
type Identity struct {
	Team, TeamName string
	Enterprise     string // id of the organisation the workspace belongs to; "" for none
	URL            string // "https://example.slack.com/"
	BotUser, BotID string
	Scopes         []string // granted ones; nil where Slack does not say
}

// Identity asks who we are.
//
// Slack: auth.test.
func (c *Client) Identity(ctx context.Context) (Identity, error) {
	r, err := c.api.AuthTestContext(ctx)
	if err := c.call("auth.test", false, err); err != nil {
		return Identity{}, err
	}
	return Identity{Team: r.TeamID, TeamName: r.Team, Enterprise: r.EnterpriseID, URL: r.URL, BotUser: r.UserID, BotID: r.BotID, Scopes: c.scopes()}, nil
}

// CheckAppToken asks whether Slack would open a Socket Mode connection.
//
// Slack: apps.connections.open.
func (c *Client) CheckAppToken(ctx context.Context) error {
	_, _, err := c.api.StartSocketModeContext(ctx)
	return c.call("apps.connections.open", false, err)
}

// Channel is a channel as the bot sees it.
type Channel struct {
	ID, Name                             string
	Member, Archived, ExtShared, Private bool
}

// Channel looks a channel up, by id or "#name"; a name takes a walk through
// the list of channels, which is slow and scarce: keep the id.
//
// Slack: conversations.info, conversations.list.
func (c *Client) Channel(ctx context.Context, idOrName string) (Channel, error) {
	name, byName := strings.CutPrefix(idOrName, "#")
	if !byName {
		ch, err := c.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: idOrName})
		if err := c.call("conversations.info", false, err); err != nil {
			return Channel{ID: idOrName}, err
		}
		return channelOf(*ch), nil
	}
	in := &slack.GetConversationsParameters{ExcludeArchived: false, Limit: 1000, Types: []string{"public_channel", "private_channel"}}
	for {
		list, next, err := c.api.GetConversationsContext(ctx, in)
		if err := c.call("conversations.list", false, err); err != nil {
			if review.KindOf(err) == review.Busy {
				if err := sleep(ctx, review.WaitOf(err)); err != nil {
					return Channel{Name: name}, failed("conversations.list", false, err)
				}
				continue
			}
			return Channel{Name: name}, err
		}
		for _, ch := range list {
			if ch.Name == name || ch.NameNormalized == name {
				return channelOf(ch), nil
			}
		}
		if next == "" {
			return Channel{Name: name}, &review.Error{Kind: review.Gone, Text: fmt.Sprintf(
				"there is no channel #%s, or it is private and the bot is not in it; check its name, or type /invite @spanbot there", name)}
		}
		in.Cursor = next
	}
}

func channelOf(ch slack.Channel) Channel {
	return Channel{ID: ch.ID, Name: ch.Name, Member: ch.IsMember, Archived: ch.IsArchived,
		ExtShared: ch.IsExtShared || ch.IsPendingExtShared, Private: ch.IsPrivate}
}

// Posted is where a message stands.
type Posted struct {
	TS       string
	ThreadTS string // the parent; "" when it stands on its own, also when the parent had been deleted
}

func (m Message) options() []slack.MsgOption {
	return []slack.MsgOption{
		slack.MsgOptionText(m.Text, false), slack.MsgOptionBlocks(m.Blocks...),
		slack.MsgOptionParse(false), slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	}
}

// Post posts a message, as a reply when threadTS is given, at Slack's pace. It
// is never repeated here: after Unsure the message may be there. ErrBlocks:
// Slack refuses what was drawn.
//
// Slack: chat.postMessage.
func (c *Client) Post(ctx context.Context, channel, threadTS string, m Message) (Posted, error) {
	lane := c.pace.channel(channel)
	if err := lane.wait(ctx); err != nil {
		return Posted{}, &review.Error{Kind: review.Busy, Text: "Slack's pace leaves no room right now", Err: err}
	}
	options := m.options()
	if threadTS != "" {
		options = append(options, slack.MsgOptionTS(threadTS))
	}
	_, ts, r, err := c.api.PostMessageWithResponseContext(ctx, channel, options...)
	if err := c.call("chat.postMessage", true, err); err != nil {
		if review.KindOf(err) == review.Busy {
			lane.block(review.WaitOf(err))
		}
		return Posted{}, err
	}
	return Posted{TS: ts, ThreadTS: r.ThreadTimestamp}, nil
}

// Update replaces a message, below 50 a minute over all. A refusal for pace is
// waited out here and tried once more.
//
// Slack: chat.update.
func (c *Client) Update(ctx context.Context, channel, ts string, m Message) error {
	for try := 0; ; try++ {
		if err := c.pace.update(ctx); err != nil {
			return &review.Error{Kind: review.Busy, Text: "Slack's pace leaves no room right now", Err: err}
		}
		// chat.update forgets how the post was parsed: options says it again.
		_, _, _, err := c.api.UpdateMessageContext(ctx, channel, ts, m.options()...)
		err = channelTrouble(c.call("chat.update", true, err))
		if review.KindOf(err) == review.Busy {
			c.pace.updates.block(review.WaitOf(err))
			if try == 0 {
				continue
			}
		}
		return err
	}
}

// channelTrouble tells a channel that was archived or left, which can be mended,
// from a message that is gone for good.
func channelTrouble(err error) error {
	var a slack.SlackErrorResponse
	if errors.As(err, &a) && (a.Err == "is_archived" || a.Err == "channel_not_found") {
		return &review.Error{Kind: review.Denied, Text: review.TextOf(err), Err: err}
	}
	return err
}

// Find looks for a message of ours by the block_id of its first block, in a
// channel or, with threadTS, in a thread, among those since oldest.
//
// Slack: conversations.history, conversations.replies.
func (c *Client) Find(ctx context.Context, channel, threadTS, blockID string, oldest time.Time, us Identity) (ts string, ok bool, err error) {
	method := "conversations.history"
	form := url.Values{"channel": {channel}, "limit": {"200"}, "oldest": {stamp(oldest)}, "inclusive": {"true"}}
	if threadTS != "" {
		method = "conversations.replies"
		form.Set("ts", threadTS)
	}
	for {
		var page messagePage
		if err := c.page(ctx, method, form, &page); err != nil {
			return "", false, err
		}
		for _, m := range page.Messages {
			if m.by(us) && m.is(blockID) {
				return m.TS, true, nil
			}
		}
		if page.Meta.Cursor == "" || form.Get("cursor") == page.Meta.Cursor {
			return "", false, nil
		}
		form.Set("cursor", page.Meta.Cursor)
	}
}

// raw calls a method that reads, and decodes the answer ourselves.
func (c *Client) raw(ctx context.Context, method string, form url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.opts.APIURL+method, strings.NewReader(form.Encode()))
	if err != nil {
		return failed(method, false, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+c.opts.BotToken)
	resp, err := c.http.Do(req)
	if err != nil {
		return c.call(method, false, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		wait, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode == http.StatusTooManyRequests {
			return c.call(method, false, &slack.RateLimitedError{RetryAfter: time.Duration(max(wait, 1)) * time.Second})
		}
		return c.call(method, false, slack.StatusCodeError{Code: resp.StatusCode, Status: resp.Status})
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return c.call(method, false, err)
	}
	return nil
}

// stamp is a time as Slack's oldest parameter.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000)
}

// OpenView opens a modal; the trigger lives three seconds and works once.
//
// Slack: views.open.
func (c *Client) OpenView(ctx context.Context, trigger string, v slack.ModalViewRequest) (viewID string, err error) {
	r, err := c.api.OpenViewContext(ctx, trigger, v)
	if err := c.call("views.open", true, err); err != nil {
		return "", err
	}
	return r.ID, nil
}

// UpdateView replaces a modal; with hash only if it is still that version.
// A modal that was closed meanwhile is no failure.
//
// Slack: views.update.
func (c *Client) UpdateView(ctx context.Context, viewID, hash string, v slack.ModalViewRequest) error {
	_, err := c.api.UpdateViewContext(ctx, v, "", hash, viewID)
	if err := c.call("views.update", true, err); err != nil && review.KindOf(err) != review.Gone {
		return err
	}
	return nil
}

// Tell shows a text to one person in a channel.
//
// Slack: chat.postEphemeral.
func (c *Client) Tell(ctx context.Context, channel, user, threadTS, text string) error {
	options := []slack.MsgOption{slack.MsgOptionText(escape(text), false), slack.MsgOptionParse(false)}
	if threadTS != "" {
		options = append(options, slack.MsgOptionTS(threadTS))
	}
	_, err := c.api.PostEphemeralContext(ctx, channel, user, options...)
	return c.call("chat.postEphemeral", true, err)
}

// Members are the user ids of a channel, or of a user group ("S…"), for which the
// app needs the scope usergroups:read.
//
// Slack: conversations.members, usergroups.users.list.
func (c *Client) Members(ctx context.Context, id string) ([]string, error) {
	if strings.HasPrefix(id, "S") {
		users, err := c.api.GetUserGroupMembersContext(ctx, id)
		return users, c.call("usergroups.users.list", false, err)
	}
	var all []string
	in := &slack.GetUsersInConversationParameters{ChannelID: id, Limit: 1000}
	for {
		users, next, err := c.api.GetUsersInConversationContext(ctx, in)
		if err := c.call("conversations.members", false, err); err != nil {
			if review.KindOf(err) != review.Busy {
				return nil, err
			}
			if err := sleep(ctx, review.WaitOf(err)); err != nil {
				return nil, failed("conversations.members", false, err)
			}
			continue
		}
		if all = append(all, users...); next == "" {
			return all, nil
		}
		in.Cursor = next
	}
}

// UserName is a user's real name, else the display name: labels are read by
// people who do not know the nicknames.
//
// Slack: users.info.
func (c *Client) UserName(ctx context.Context, user string) (string, error) {
	u, err := c.api.GetUserInfoContext(ctx, user)
	if err := c.call("users.info", false, err); err != nil {
		return "", err
	}
	for _, n := range []string{u.RealName, u.Profile.RealName, u.Profile.DisplayName, u.Name} {
		if n = strings.TrimSpace(n); n != "" {
			return n, nil
		}
	}
	return user, nil
}

// Permalink is the address of a message, put together as chat.getPermalink
// does, without asking: "https://x.slack.com/archives/C01/p1758000000000200",
// for a reply with its parent behind it. "" where something is missing.
func Permalink(workspaceURL, channel, ts, threadTS string) string {
	if workspaceURL == "" || channel == "" || ts == "" {
		return ""
	}
	link := strings.TrimRight(workspaceURL, "/") + "/archives/" + channel + "/p" + strings.ReplaceAll(ts, ".", "")
	if threadTS != "" && threadTS != ts {
		link += "?thread_ts=" + threadTS + "&cid=" + channel
	}
	return link
}
