package slackui

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/spanbot/spanbot/internal/review"
)

// A card says in Slack all that a lost Redis has to learn again: its first
// block's id and its buttons name it, the form of its first block tells its
// state, and the ids of its notes hold what no other part of the world has yet:
// who skipped it, and the judgements that Phoenix has not confirmed.

// Found is a card as it stands in Slack.
type Found struct {
	review.Ref
	Rubric   string // hash; "" where no button says it
	Channel  string
	TS       string
	ThreadTS string // of the parent, "" when it stands on its own
	Posted   time.Time
	State    review.State
	Closer   string
	Summary  string
	// Waiting are judgements that Phoenix had not confirmed when the card was
	// drawn. Of an explanation they have the start.
	Waiting []review.Vote
}

const (
	keptPrefix = "kept:"
	blockIDMax = 255
)

// keep writes what only this card knows into the ids of its notes, as much as
// fits. The first note takes what fits first.
func (v CardView) keep(blocks []slack.Block) {
	var parts []string
	if v.Card.State == review.Skipped && v.Card.Closer != "" {
		parts = append(parts, "s,"+url.QueryEscape(v.Card.Closer))
	}
	for _, o := range v.Card.Votes {
		if o.Delivery == review.Waiting {
			parts = append(parts, keptVote(o))
		}
	}
	for i := len(blocks) - 1; i > 0 && len(parts) > 0; i-- { // the first block's id is the card's
		n, ok := blocks[i].(*slack.ContextBlock)
		if !ok || n.BlockID != "" {
			continue
		}
		id := keptPrefix
		for len(parts) > 0 && len(id)+len(parts[0])+1 <= blockIDMax {
			id += parts[0] + ";"
			parts = parts[1:]
		}
		if id != keptPrefix {
			n.BlockID = id
		}
	}
}

func keptVote(o review.Vote) string {
	flags := ""
	if o.OnTrace {
		flags += "t"
	}
	if o.Withdrawn {
		flags += "x"
	}
	score := ""
	if o.Score != nil {
		score = strconv.FormatFloat(*o.Score, 'g', -1, 64)
	}
	s := strings.Join([]string{"v", url.QueryEscape(o.Reviewer), strconv.FormatInt(o.At.UnixMilli(), 36), flags,
		url.QueryEscape(o.Label), url.QueryEscape(score)}, ",")
	if words := "," + url.QueryEscape(o.Words); o.Words != "" && len(keptPrefix)+len(s)+len(words)+1 <= blockIDMax {
		s += words
	}
	return s
}

// kept reads what keep wrote.
func (f *Found) kept(id string) {
	rest, ok := strings.CutPrefix(id, keptPrefix)
	if !ok {
		return
	}
	for _, part := range strings.Split(rest, ";") {
		p := strings.Split(part, ",")
		for i := range p {
			if s, err := url.QueryUnescape(p[i]); err == nil {
				p[i] = s
			}
		}
		switch {
		case len(p) == 2 && p[0] == "s":
			f.Closer = p[1]
		case len(p) >= 6 && p[0] == "v":
			ms, err := strconv.ParseInt(p[2], 36, 64)
			if err != nil || p[1] == "" {
				continue
			}
			v := review.Vote{Reviewer: p[1], At: time.UnixMilli(ms), OnTrace: strings.Contains(p[3], "t"),
				Withdrawn: strings.Contains(p[3], "x"), Label: p[4], Delivery: review.Waiting}
			if n, err := strconv.ParseFloat(p[5], 64); err == nil {
				v.Score = &n
			}
			if len(p) > 6 {
				v.Words = p[6]
			}
			f.Waiting = append(f.Waiting, v)
		}
	}
}

// foundMessage is what is read of a message of our own.
type foundMessage struct {
	TS         string      `json:"ts"`
	ThreadTS   string      `json:"thread_ts"`
	BotID      string      `json:"bot_id"`
	User       string      `json:"user"`
	ReplyCount int         `json:"reply_count"`
	Blocks     foundBlocks `json:"blocks"`
}

// foundBlocks are a message's blocks, as far as they can be read: other apps'
// may hold anything, and one of theirs must not hide ours.
type foundBlocks []foundBlock

// UnmarshalJSON never fails for the sake of one block.
func (l *foundBlocks) UnmarshalJSON(b []byte) error {
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		return nil
	}
	*l = make(foundBlocks, len(raw))
	for i := range raw {
		var one foundBlock
		if json.Unmarshal(raw[i], &one) == nil {
			(*l)[i] = one
		}
	}
	return nil
}

type foundBlock struct {
	Type      string         `json:"type"`
	BlockID   string         `json:"block_id"`
	Text      *foundText     `json:"text"`
	Accessory *foundElement  `json:"accessory"`
	Elements  []foundElement `json:"elements"`
}

type foundText struct {
	Text string `json:"text"`
}

type foundElement struct {
	Type    string `json:"type"`
	Value   string `json:"value"`
	Text    any    `json:"text"` // a text object of a button, the text itself in a note
	Options []struct {
		Value string `json:"value"`
	} `json:"options"`
}

// by reports whether a message is ours: others can write the same ids into theirs,
// and what a card says of reviewers is believed when Redis has forgotten it.
func (m foundMessage) by(us Identity) bool {
	if m.BotID != "" && us.BotID != "" {
		return m.BotID == us.BotID
	}
	return m.User != "" && m.User == us.BotUser
}

// is reports whether the message is the one with that block_id; the ids in its
// buttons are the second witness.
func (m foundMessage) is(blockID string) bool {
	for i, b := range m.Blocks {
		if i == 0 && b.BlockID == blockID {
			return true
		}
		for _, e := range b.Elements {
			if ref, _, _, ok := decodeValue(e.Value); ok && CardBlockID(ref) == blockID {
				return true
			}
		}
	}
	return false
}

// card reads a message; false for what is no card of ours.
func (m foundMessage) card(channel string) (f Found, ok bool) {
	if len(m.Blocks) == 0 {
		return f, false
	}
	id, ok := strings.CutPrefix(m.Blocks[0].BlockID, "card:")
	if !ok {
		return f, false
	}
	for _, b := range m.Blocks {
		for _, e := range append(slices.Clone(b.Elements), deref(b.Accessory)) {
			values := []string{e.Value}
			for _, o := range e.Options {
				values = append(values, o.Value)
			}
			for _, s := range values {
				if ref, rubric, _, ok := decodeValue(s); ok && CardBlockID(ref) == "card:"+id {
					f.Ref, f.Rubric = ref, rubric
				}
			}
		}
		f.kept(b.BlockID)
	}
	if f.SpanID == "" { // no button left: its trace is not known
		return f, false
	}
	f.Channel, f.TS, f.ThreadTS, f.Posted = channel, m.TS, m.ThreadTS, slackTime(m.TS)
	if f.ThreadTS == f.TS {
		f.ThreadTS = ""
	}
	f.State = stateOf(m.Blocks[0])
	if f.State != review.Open {
		if last := m.Blocks[len(m.Blocks)-1]; last.Type == "context" && len(last.Elements) == 1 && len(m.Blocks) > 1 {
			if s, ok := last.Elements[0].Text.(string); ok && last.Elements[0].Type == "plain_text" {
				f.Summary = s
			}
		}
	}
	return f, true
}

func deref(e *foundElement) foundElement {
	if e == nil {
		return foundElement{}
	}
	return *e
}

// Heads of closed cards; stateOf reads them back.
const (
	headSkipped = "⏭️ *Skipped*"
	headExpired = "⌛ *Closed*"
	headGone    = "🗑️ *This span no longer exists in Phoenix.*"
)

// stateOf reads a card's state off its first block.
func stateOf(b foundBlock) review.State {
	if b.Type != "section" || b.Text == nil {
		return review.Open
	}
	// Slack hands emoji back by their names.
	head := strings.NewReplacer(":black_right_pointing_double_triangle_with_vertical_bar:", "⏭️", ":next_track_button:", "⏭️", ":hourglass:", "⌛", ":wastebasket:", "🗑️").Replace(b.Text.Text)
	switch {
	case strings.HasPrefix(head, headSkipped):
		return review.Skipped
	case strings.HasPrefix(head, headExpired):
		return review.Expired
	case strings.HasPrefix(head, headGone):
		return review.Deleted
	}
	return review.Judged
}

// Cards calls f with each card of ours in a channel that was posted since
// oldest, in its threads, too. A refusal for pace is waited out. f's error ends
// it.
//
// Slack: conversations.history, conversations.replies.
func (c *Client) Cards(ctx context.Context, channel string, oldest time.Time, us Identity, f func(Found) error) error {
	each := func(m foundMessage) error {
		if !m.by(us) {
			return nil // somebody else's, whatever it says
		}
		card, ok := m.card(channel)
		if !ok {
			return nil
		}
		return f(card)
	}
	return c.messages(ctx, "conversations.history", url.Values{"channel": {channel}, "oldest": {stamp(oldest)}, "inclusive": {"true"}}, func(m foundMessage) error {
		if err := each(m); err != nil {
			return err
		}
		if m.ReplyCount == 0 {
			return nil
		}
		return c.messages(ctx, "conversations.replies", url.Values{"channel": {channel}, "ts": {m.TS}}, func(r foundMessage) error {
			if r.TS == m.TS {
				return nil
			}
			return each(r)
		})
	})
}

// Present tells which messages of a channel are still there: of those named,
// the ones that stand on their own between the oldest and the newest of them.
// complete is false when Slack did not give all; then what is missing may be
// there.
//
// Slack: conversations.history, one call.
func (c *Client) Present(ctx context.Context, channel, oldest, newest string) (there map[string]bool, complete bool, err error) {
	form := url.Values{"channel": {channel}, "oldest": {oldest}, "latest": {newest}, "inclusive": {"true"}, "limit": {"500"}}
	var page messagePage
	if err := c.page(ctx, "conversations.history", form, &page); err != nil {
		return nil, false, err
	}
	there = map[string]bool{}
	for _, m := range page.Messages {
		there[m.TS] = true
	}
	return there, !page.HasMore, nil
}

type messagePage struct {
	slack.SlackResponse
	Messages []foundMessage `json:"messages"`
	HasMore  bool           `json:"has_more"`
	Meta     struct {
		Cursor string `json:"next_cursor"`
	} `json:"response_metadata"`
}

// page reads one page of messages.
func (c *Client) page(ctx context.Context, method string, form url.Values, into *messagePage) error {
	if err := c.raw(ctx, method, form, into); err != nil {
		return err
	}
	if !into.Ok {
		return c.call(method, false, slack.SlackErrorResponse{Err: into.Error, Needed: into.Needed, Provided: into.Provided})
	}
	c.metrics.calls.WithLabelValues(method, "ok").Inc()
	return nil
}

// messages calls f with each message of a list, page by page.
func (c *Client) messages(ctx context.Context, method string, form url.Values, f func(foundMessage) error) error {
	form.Set("limit", "200")
	for {
		var page messagePage
		err := c.page(ctx, method, form, &page)
		if review.KindOf(err) == review.Busy {
			if err := sleep(ctx, max(review.WaitOf(err), time.Second)); err != nil {
				return failed(method, false, err)
			}
			continue
		}
		if err != nil {
			return err
		}
		for _, m := range page.Messages {
			if err := f(m); err != nil {
				return err
			}
		}
		if page.Meta.Cursor == "" || page.Meta.Cursor == form.Get("cursor") {
			return nil
		}
		form.Set("cursor", page.Meta.Cursor)
	}
}

// Delete removes a message of ours. One that is gone already is no failure.
//
// Slack: chat.delete.
func (c *Client) Delete(ctx context.Context, channel, ts string) error {
	_, _, err := c.api.DeleteMessageContext(ctx, channel, ts)
	if err := c.call("chat.delete", true, err); review.KindOf(err) != review.Gone {
		return err
	}
	return nil
}
