package proxy

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spanbot/spanbot/internal/sandbox/slackcall"
)

// outgoing is what the emulator is asked: the arguments, with the block_ids that
// Slack fills in, and with its own id of a view.
func (s *Slack) outgoing(c *Call) map[string]any {
	args := maps.Clone(c.Args)
	if blocks, is := args["blocks"].([]any); is {
		args["blocks"] = s.withBlockIDs(blocks)
	}
	if view, is := args["view"].(map[string]any); is {
		view = maps.Clone(view)
		if blocks, is := view["blocks"].([]any); is {
			view["blocks"] = s.withBlockIDs(blocks)
		}
		args["view"] = view
	}
	if id := c.String("view_id"); id != "" {
		s.mu.Lock()
		args["view_id"] = s.views.upstream(id)
		s.mu.Unlock()
	}
	switch c.Method {
	case "conversations.history", "conversations.replies", "conversations.list", "users.list":
		delete(args, "cursor") // paging is ours
	}
	return args
}

func (s *Slack) withBlockIDs(blocks []any) []any {
	out := make([]any, len(blocks))
	for i, b := range blocks {
		out[i] = b
		if m, is := b.(map[string]any); is && slackcall.Text(m["block_id"]) == "" {
			m = maps.Clone(m)
			m["block_id"] = s.fresh("b")
			out[i] = m
		}
	}
	return out
}

// fresh is an id that was not used before.
func (s *Slack) fresh(prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	return prefix + strconv.FormatInt(int64(s.serial), 36)
}

// mend changes a good answer of the emulator into what Slack would have said.
func (s *Slack) mend(c *Call, body map[string]any) {
	switch c.Method {
	case "chat.postMessage", "chat.update":
		s.keepMetadata(c, body)
	case "conversations.history":
		s.mendMessages(c, body, true)
	case "conversations.replies":
		s.mendMessages(c, body, false)
	case "conversations.info":
		if ch, is := body["channel"].(map[string]any); is {
			s.mendChannel(ch)
		}
	case "conversations.list", "users.conversations":
		s.mendChannels(c, body)
	case "users.list":
		paged(c, body, "members")
	case "views.open", "views.push", "views.update", "views.publish":
		if view, is := body["view"].(map[string]any); is {
			s.mu.Lock()
			s.views.shown(c, view)
			s.mu.Unlock()
		}
	case "apps.connections.open":
		id := s.fresh("link")
		s.mu.Lock()
		s.tickets[id] = slackcall.Text(body["url"])
		s.mu.Unlock()
		body["url"] = "ws" + strings.TrimPrefix(s.URL, "http") + "/link/" + id
	}
}

func (s *Slack) keepMetadata(c *Call, body map[string]any) {
	raw, given := c.Args["metadata"]
	if !given {
		return
	}
	key := slackcall.Text(body["channel"]) + "/" + slackcall.Text(body["ts"])
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, _ := raw.(map[string]any); len(m) == 0 {
		delete(s.metadata, key)
		return
	}
	s.metadata[key] = raw
}

// mendMessages applies oldest, latest, inclusive, limit and cursor, hides what
// history does not show, and adds the metadata.
func (s *Slack) mendMessages(c *Call, body map[string]any, newestFirst bool) {
	all, _ := body["messages"].([]any)
	oldest, latest := c.String("oldest"), c.String("latest")
	inclusive := c.String("inclusive") == "true" || c.String("inclusive") == "1"
	var kept []any
	for i, raw := range all {
		m, _ := raw.(map[string]any)
		ts := slackcall.Text(m["ts"])
		parent := !newestFirst && i == 0 // a thread's parent always comes
		after := oldest == "" || ts > oldest || inclusive && ts == oldest
		before := latest == "" || ts < latest || inclusive && ts == latest
		if m["subtype"] == "ephemeral" || !parent && !(after && before) {
			continue
		}
		kept = append(kept, s.withMetadata(c, m))
	}
	body["messages"] = kept
	if kept == nil {
		body["messages"] = []any{}
	}
	paged(c, body, "messages")
}

func (s *Slack) withMetadata(c *Call, m map[string]any) map[string]any {
	s.mu.Lock()
	meta, _ := s.metadata[c.String("channel")+"/"+slackcall.Text(m["ts"])].(map[string]any)
	s.mu.Unlock()
	if meta == nil {
		return m
	}
	m = maps.Clone(m)
	m["metadata"] = map[string]any{"event_type": meta["event_type"]}
	if all := c.String("include_all_metadata"); all == "true" || all == "1" {
		m["metadata"] = meta
	}
	return m
}

// paged cuts body[key] to the page that limit and cursor ask for. Its cursor
// names a place in the list, which is enough while nobody deletes.
func paged(c *Call, body map[string]any, key string) {
	all, _ := body[key].([]any)
	limit, err := strconv.Atoi(c.String("limit"))
	if err != nil || limit <= 0 {
		limit = 100
	}
	start := 0
	if cursor := c.String("cursor"); cursor != "" {
		b, err := base64.StdEncoding.DecodeString(cursor)
		if err == nil {
			_, err = fmt.Sscanf(string(b), "next:%d", &start)
		}
		if err != nil || start > len(all) {
			clear(body)
			body["ok"], body["error"] = false, "invalid_cursor"
			return
		}
	}
	end := min(start+min(limit, 1000), len(all))
	next := ""
	if end < len(all) {
		next = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "next:%d", end))
	}
	body[key] = all[start:end]
	if key == "messages" {
		body["has_more"] = next != ""
	}
	body["response_metadata"] = map[string]any{"next_cursor": next}
}

func (s *Slack) mendChannel(ch map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch["is_ext_shared"] == nil {
		ch["is_ext_shared"] = false
	}
	maps.Copy(ch, s.channels[slackcall.Text(ch["id"])])
}

func (s *Slack) mendChannels(c *Call, body map[string]any) {
	all, _ := body["channels"].([]any)
	types := strings.Split(c.String("types"), ",")
	if c.String("types") == "" {
		types = []string{"public_channel"}
	}
	noArchived := c.String("exclude_archived") == "true" || c.String("exclude_archived") == "1"
	kept := []any{}
	for _, raw := range all {
		ch, _ := raw.(map[string]any)
		s.mendChannel(ch)
		kind := "public_channel"
		switch {
		case ch["is_im"] == true:
			kind = "im"
		case ch["is_private"] == true:
			kind = "private_channel"
		}
		if slices.Contains(types, kind) && !(noArchived && ch["is_archived"] == true) {
			kept = append(kept, ch)
		}
	}
	body["channels"] = kept
	paged(c, body, "channels")
}

// viewBook knows the views that the bot has shown. The emulator gives a view a
// new id at each update; Slack, and so the bot, keeps the first.
type viewBook struct {
	current map[string]string         // the bot's id → the emulator's
	first   map[string]string         // the emulator's id → the bot's
	byID    map[string]map[string]any // the bot's id → the view
	modals  []string                  // the bot's ids, the newest last
	homes   map[string]string         // user → the bot's id
}

func newViewBook() viewBook {
	return viewBook{
		current: map[string]string{}, first: map[string]string{},
		byID: map[string]map[string]any{}, homes: map[string]string{},
	}
}

// upstream is the emulator's id of a view.
func (b *viewBook) upstream(id string) string {
	if up, is := b.current[id]; is {
		return up
	}
	return id
}

// shown records a view that a call has shown and gives it the bot's id.
func (b *viewBook) shown(c *Call, view map[string]any) {
	up := slackcall.Text(view["id"])
	id := up
	switch c.Method {
	case "views.update":
		if given := b.named(c); given != "" {
			id = given
		}
	case "views.publish":
		user := c.String("user_id")
		if old := b.homes[user]; old != "" {
			id = old
		}
		b.homes[user] = id
	default:
		b.modals = append(b.modals, id)
	}
	b.current[id], b.first[up] = up, id
	b.rename(view)
	b.byID[id] = view
}

// named is the bot's id of the view that a call is about, "" when unknown.
func (b *viewBook) named(c *Call) string {
	if id := c.String("view_id"); id != "" {
		return id
	}
	if external := c.String("external_id"); external != "" {
		for id, v := range b.byID {
			if slackcall.Text(v["external_id"]) == external {
				return id
			}
		}
	}
	return ""
}

// hash is the current hash of the view that a call is about.
func (b *viewBook) hash(c *Call) (hash string, known bool) {
	id := b.named(c)
	if c.Method == "views.publish" {
		id = b.homes[c.String("user_id")]
	}
	v, known := b.byID[id]
	return slackcall.Text(v["hash"]), known
}

// rename puts the bot's ids into a view of the emulator's.
func (b *viewBook) rename(view map[string]any) {
	for _, key := range []string{"id", "root_view_id", "previous_view_id"} {
		if id, is := b.first[slackcall.Text(view[key])]; is {
			view[key] = id
		}
	}
}

// holding is the view that has an element: the newest modal, else the user's Home.
func (b *viewBook) holding(user, blockID, actionID string) map[string]any {
	for _, id := range slices.Backward(b.modals) {
		if hasAction(b.byID[id], blockID, actionID) {
			return b.byID[id]
		}
	}
	if v := b.byID[b.homes[user]]; hasAction(v, blockID, actionID) {
		return v
	}
	return nil
}

func hasAction(view map[string]any, blockID, actionID string) bool {
	var walk func(any) bool
	walk = func(v any) bool {
		switch v := v.(type) {
		case []any:
			return slices.ContainsFunc(v, walk)
		case map[string]any:
			if slackcall.Text(v["action_id"]) == actionID {
				return true
			}
			return walk(v["elements"]) || walk(v["accessory"]) || walk(v["element"])
		}
		return false
	}
	blocks, _ := view["blocks"].([]any)
	return slices.ContainsFunc(blocks, func(v any) bool {
		m, _ := v.(map[string]any)
		return slackcall.Text(m["block_id"]) == blockID && walk(m)
	})
}
