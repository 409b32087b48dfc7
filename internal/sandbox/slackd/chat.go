package slackd

import (
	"strings"
)

// writable finds the channel that a call writes to.
func (s *Server) writable(c call) (*channel, string) {
	ch := s.channel(c.text("channel"))
	switch {
	case ch == nil:
		return nil, "channel_not_found"
	case ch.archived:
		return nil, "is_archived"
	case !ch.has(s.bot):
		return nil, "not_in_channel"
	}
	return ch, ""
}

// botMessage is a message of the app.
func (s *Server) botMessage(c call) obj {
	m := obj{"type": "message", "user": s.bot, "bot_id": s.botID, "app_id": s.app, "team": s.team, "text": c.text("text"),
		"bot_profile": obj{"id": s.botID, "app_id": s.app, "name": s.botName, "team_id": s.team, "deleted": false, "updated": 0, "icons": obj{}}}
	if blocks, given := c.args["blocks"]; given {
		m["blocks"] = s.named(blocks)
	}
	if meta, is := c.args["metadata"].(obj); is && len(meta) > 0 {
		m["metadata"] = copied(meta)
	}
	return m
}

func chatPost(s *Server, c call) answer {
	ch, code := s.writable(c)
	if code != "" {
		return no(code)
	}
	if a, bad := checkMessage(c, maxText); bad {
		return a
	}
	m := s.botMessage(c)
	m["ts"] = s.stamp()
	// A parent that is gone lets its reply stand on its own, without a word.
	if parent := ch.message(c.text("thread_ts")); parent != nil && parent["subtype"] != "tombstone" {
		thread := tsOf(parent)
		if up := threadOf(parent); up != "" {
			thread = up
		}
		m["thread_ts"] = thread
	}
	s.add(ch, m)
	return yes(obj{"channel": ch.id, "ts": tsOf(m), "message": copied(m)})
}

func chatUpdate(s *Server, c call) answer {
	ch := s.channel(c.text("channel"))
	if ch == nil {
		return no("channel_not_found")
	}
	if ch.archived {
		return no("is_archived")
	}
	m := ch.message(c.text("ts"))
	switch {
	case m == nil || m["subtype"] == "tombstone":
		return no("message_not_found")
	case m["bot_id"] != s.botID:
		return no("cant_update_message")
	}
	if a, bad := checkMessage(c, maxUpdate); bad {
		return a
	}
	next := s.botMessage(c)
	for k, v := range m {
		if _, given := next[k]; !given && k != "blocks" {
			next[k] = v
		}
	}
	if meta, is := c.args["metadata"].(obj); is && len(meta) == 0 {
		delete(next, "metadata") // {} takes it away; nothing said keeps it
	}
	if _, given := c.args["text"]; !given {
		next["text"] = m["text"]
	}
	if next["text"] != m["text"] { // other blocks alone are no edit
		next["edited"] = obj{"user": s.bot, "ts": s.stamp()}
	}
	i, _ := ch.index(tsOf(m))
	ch.messages[i] = next
	s.changed(ch, next)
	return yes(obj{"channel": ch.id, "ts": tsOf(next), "text": next["text"], "message": copied(next)})
}

func chatDelete(s *Server, c call) answer {
	ch := s.channel(c.text("channel"))
	if ch == nil {
		return no("channel_not_found")
	}
	m := ch.message(c.text("ts"))
	switch {
	case m == nil || m["subtype"] == "tombstone":
		return no("message_not_found")
	case m["bot_id"] != s.botID:
		return no("cant_delete_message")
	}
	s.remove(ch, tsOf(m))
	return yes(obj{"channel": ch.id, "ts": tsOf(m)})
}

func chatEphemeral(s *Server, c call) answer {
	ch, code := s.writable(c)
	if code != "" {
		return no(code)
	}
	user := c.text("user")
	switch {
	case s.person(user) == nil:
		return no("user_not_found")
	case !ch.has(user):
		return no("user_not_in_channel")
	}
	if a, bad := checkMessage(c, maxUpdate); bad {
		return a
	}
	m := s.botMessage(c)
	if t := c.text("thread_ts"); t != "" {
		m["thread_ts"] = t
	}
	return yes(obj{"message_ts": s.tell(user, ch, m)})
}

// tell shows a message to one person and returns its ts.
func (s *Server) tell(user string, ch *channel, m obj) string {
	m["ts"], m["is_ephemeral"], m["channel"] = s.stamp(), true, ch.id
	list := append(s.store.ephemerals[user], m)
	if len(list) > keepEphemeral {
		list = list[len(list)-keepEphemeral:]
	}
	s.store.ephemerals[user] = list
	s.toUser(user, obj{"t": "ephemeral", "channel": ch.id, "message": m})
	return tsOf(m)
}

// untell takes an ephemeral message away.
func (s *Server) untell(user, ts string) bool {
	list := s.store.ephemerals[user]
	for i, m := range list {
		if tsOf(m) == ts {
			s.store.ephemerals[user] = append(list[:i:i], list[i+1:]...)
			s.toUser(user, obj{"t": "ephemeral_deleted", "channel": m["channel"], "ts": ts})
			return true
		}
	}
	return false
}

func chatPermalink(s *Server, c call) answer {
	ch := s.channel(c.text("channel"))
	if ch == nil {
		return no("channel_not_found")
	}
	m := ch.message(c.text("message_ts"))
	if m == nil {
		return no("message_not_found")
	}
	link := c.base + "/archives/" + ch.id + "/p" + strings.ReplaceAll(tsOf(m), ".", "")
	if parent := threadOf(m); parent != "" {
		link += "?thread_ts=" + parent + "&cid=" + ch.id
	}
	return yes(obj{"channel": ch.id, "permalink": link})
}
