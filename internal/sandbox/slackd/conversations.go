package slackd

import (
	"slices"
	"strings"
)

func (s *Server) channelObject(c *channel) obj {
	created := int64(1_700_000_000)
	return obj{
		"id": c.id, "name": c.name, "name_normalized": c.name, "created": created, "creator": s.people[0].ID,
		"is_channel": !c.private, "is_group": c.private, "is_im": false, "is_mpim": false, "is_private": c.private,
		"is_archived": c.archived, "is_general": c.name == "general", "is_member": c.has(s.bot), "unlinked": 0,
		"is_shared": c.shared, "is_org_shared": false, "is_ext_shared": c.shared, "is_pending_ext_shared": false,
		"context_team_id": s.team, "num_members": len(c.members), "previous_names": []string{},
		"topic":   obj{"value": c.topic, "creator": s.people[0].ID, "last_set": created},
		"purpose": obj{"value": "", "creator": "", "last_set": 0},
	}
}

func conversationsList(s *Server, c call) answer {
	types := strings.Split(c.text("types"), ",")
	if c.text("types") == "" {
		types = []string{"public_channel"}
	}
	var all []obj
	for _, id := range s.store.order {
		ch := s.store.channels[id]
		kind := "public_channel"
		if ch.private {
			kind = "private_channel"
		}
		if !slices.Contains(types, kind) || c.flag("exclude_archived") && ch.archived || ch.private && !ch.has(s.bot) {
			continue
		}
		all = append(all, s.channelObject(ch))
	}
	from, to, next, ok := c.page(len(all), 100, 1000)
	if !ok {
		return no("invalid_cursor")
	}
	return yes(obj{"channels": append([]obj{}, all[from:to]...), "response_metadata": obj{"next_cursor": next}})
}

// readable finds the channel that a call reads.
func (s *Server) readable(c call) (*channel, string) {
	ch := s.store.channels[c.text("channel")]
	switch {
	case ch == nil, ch.private && !ch.has(s.bot):
		return nil, "channel_not_found"
	case !ch.has(s.bot):
		return nil, "not_in_channel"
	}
	return ch, ""
}

func conversationsInfo(s *Server, c call) answer {
	ch := s.store.channels[c.text("channel")]
	if ch == nil || ch.private && !ch.has(s.bot) {
		return no("channel_not_found")
	}
	o := s.channelObject(ch)
	if !c.flag("include_num_members") {
		delete(o, "num_members")
	}
	return yes(obj{"channel": o})
}

// within reports whether a ts lies in the asked stretch of time.
func (c call) within(ts string) bool {
	ts = pad(ts) // in a bubble's year 2000 a ts is shorter
	oldest, latest, inclusive := pad(c.text("oldest")), pad(c.text("latest")), c.flag("inclusive")
	if oldest != "" && (ts < oldest || ts == oldest && !inclusive) {
		return false
	}
	return latest == "" || ts < latest || ts == latest && inclusive
}

// pad writes a time as a ts is written, so that the two compare as text.
func pad(t string) string {
	if t == "" || t == "0" {
		return ""
	}
	sec, frac, _ := strings.Cut(t, ".")
	for len(sec) < 10 {
		sec = "0" + sec
	}
	for len(frac) < 6 {
		frac += "0"
	}
	return sec + "." + frac[:6]
}

// read is a message as history gives it.
func (c call) read(m obj) obj {
	meta, has := m["metadata"].(obj)
	if has && !c.flag("include_all_metadata") {
		m["metadata"] = obj{"event_type": meta["event_type"]}
	}
	return m
}

func conversationsHistory(s *Server, c call) answer {
	ch, code := s.readable(c)
	if code != "" {
		return no(code)
	}
	var all []obj
	for _, m := range slices.Backward(ch.messages) {
		if threadOf(m) == "" && c.within(tsOf(m)) {
			all = append(all, m)
		}
	}
	return ch.listed(c, all, obj{"pin_count": 0})
}

func conversationsReplies(s *Server, c call) answer {
	ch, code := s.readable(c)
	if code != "" {
		return no(code)
	}
	parent := ch.message(c.text("ts"))
	if parent == nil {
		return no("thread_not_found")
	}
	if up := threadOf(parent); up != "" {
		if parent = ch.message(up); parent == nil {
			return no("thread_not_found")
		}
	}
	all := []obj{parent}
	for _, m := range ch.replies(tsOf(parent)) {
		if c.within(tsOf(m)) {
			all = append(all, m)
		}
	}
	return ch.listed(c, all, obj{})
}

// listed is one page of messages.
func (ch *channel) listed(c call, all []obj, body obj) answer {
	from, to, next, ok := c.page(len(all), 100, 999)
	if !ok {
		return no("invalid_cursor")
	}
	list := []obj{}
	for _, m := range all[from:to] {
		list = append(list, c.read(ch.shown(m)))
	}
	body["messages"], body["has_more"] = list, next != ""
	if next != "" {
		body["response_metadata"] = obj{"next_cursor": next}
	}
	return yes(body)
}

func conversationsMembers(s *Server, c call) answer {
	ch, code := s.readable(c)
	if code != "" {
		return no(code)
	}
	from, to, next, ok := c.page(len(ch.members), 100, 1000)
	if !ok {
		return no("invalid_cursor")
	}
	return yes(obj{"members": append([]string{}, ch.members[from:to]...), "response_metadata": obj{"next_cursor": next}})
}

func conversationsJoin(s *Server, c call) answer {
	ch := s.store.channels[c.text("channel")]
	switch {
	case ch == nil:
		return no("channel_not_found")
	case ch.archived:
		return no("is_archived")
	case ch.private:
		return no("method_not_supported_for_channel_type")
	}
	if !ch.has(s.bot) {
		ch.members = append(ch.members, s.bot)
	}
	return yes(obj{"channel": s.channelObject(ch)})
}
