package slackd

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// keep bounds what one channel remembers: the oldest messages beyond go, with
// their threads.
const keep = 4000

// keepEphemeral bounds what one person was told alone.
const keepEphemeral = 100

type store struct {
	last       time.Time // of the newest ts, so that no two are alike
	channels   map[string]*channel
	order      []string // ids, as they were made
	ephemerals map[string][]obj
	homes      map[string]*view // by user
}

type channel struct {
	id, name, topic string
	private         bool
	archived        bool
	shared          bool // with another organisation
	members         []string
	messages        []obj             // by ts, replies among them
	read            map[string]string // user → ts of the newest message they have seen
}

func newStore() store {
	return store{channels: map[string]*channel{}, ephemerals: map[string][]obj{}, homes: map[string]*view{}}
}

// addChannel makes a channel by a name or an id.
func (s *Server) addChannel(name string) *channel {
	name = strings.TrimPrefix(name, "#")
	for _, c := range s.store.channels {
		if c.name == name || c.id == name {
			return c
		}
	}
	c := &channel{name: name, read: map[string]string{}}
	switch {
	case isID(name):
		c.id, c.name = name, "channel-"+strings.ToLower(name)
	default:
		c.id = s.id("C", 10)
	}
	switch c.name {
	case "general":
		c.topic = "This workspace is on your machine alone. Nothing in it is kept after Spanbot stops."
	default:
		c.topic = "Cards of spans that nobody has judged yet"
	}
	c.members = []string{s.bot}
	for _, p := range s.people {
		c.members = append(c.members, p.ID)
	}
	s.store.channels[c.id] = c
	s.store.order = append(s.store.order, c.id)
	return c
}

// isID reports whether somebody configured a channel by its id.
func isID(s string) bool {
	return len(s) >= 5 && (s[0] == 'C' || s[0] == 'G') && strings.Trim(s, idLetters) == ""
}

// channel finds a channel by id or, as Slack does for posts, by "#name".
func (s *Server) channel(idOrName string) *channel {
	if c := s.store.channels[idOrName]; c != nil {
		return c
	}
	if name, is := strings.CutPrefix(idOrName, "#"); is {
		for _, c := range s.store.channels {
			if c.name == name {
				return c
			}
		}
	}
	return nil
}

func (c *channel) has(user string) bool { return slices.Contains(c.members, user) }

// index is where a message with that ts stands or would stand.
func (c *channel) index(ts string) (int, bool) {
	i := sort.Search(len(c.messages), func(i int) bool { return tsOf(c.messages[i]) >= ts })
	return i, i < len(c.messages) && tsOf(c.messages[i]) == ts
}

func (c *channel) message(ts string) obj {
	if i, ok := c.index(ts); ok {
		return c.messages[i]
	}
	return nil
}

func tsOf(m obj) string { s, _ := m["ts"].(string); return s }

// threadOf is the ts of a reply's parent; "" for a message that stands on its own.
func threadOf(m obj) string {
	t, _ := m["thread_ts"].(string)
	if t == tsOf(m) {
		return ""
	}
	return t
}

// stamp is a fresh ts: the time, and never the same twice.
func (s *Server) stamp() string {
	now := time.Now().Truncate(time.Microsecond)
	if !now.After(s.store.last) {
		now = s.store.last.Add(time.Microsecond)
	}
	s.store.last = now
	return fmt.Sprintf("%d.%06d", now.Unix(), now.Nanosecond()/1000)
}

// add puts a message into a channel and tells the pages.
func (s *Server) add(c *channel, m obj) {
	c.messages = append(c.messages, m)
	if len(c.messages) > keep {
		gone := c.messages[:len(c.messages)-keep]
		for _, m := range gone {
			s.broadcast(obj{"t": "deleted", "channel": c.id, "ts": tsOf(m)})
		}
		c.messages = slices.Clone(c.messages[len(gone):])
	}
	s.changed(c, m)
}

// changed tells the pages that a message is new or another one, and its parent
// with it.
func (s *Server) changed(c *channel, m obj) {
	if parent := threadOf(m); parent != "" {
		if p := c.message(parent); p != nil {
			s.broadcast(obj{"t": "message", "channel": c.id, "message": c.shown(p)})
		}
	}
	s.broadcast(obj{"t": "message", "channel": c.id, "message": c.shown(m)})
	for p := range s.pages {
		p.send(obj{"t": "channel", "channel": s.channelFor(c, p.user)})
	}
}

// remove takes a message away. A parent of replies leaves a tombstone, as in
// Slack.
func (s *Server) remove(c *channel, ts string) {
	i, ok := c.index(ts)
	if !ok {
		return
	}
	m := c.messages[i]
	if len(c.replies(ts)) > 0 {
		c.messages[i] = obj{"type": "message", "subtype": "tombstone", "text": "This message was deleted.",
			"user": "USLACKBOT", "hidden": true, "ts": ts, "thread_ts": ts}
		s.changed(c, c.messages[i])
		return
	}
	c.messages = slices.Delete(c.messages, i, i+1)
	s.broadcast(obj{"t": "deleted", "channel": c.id, "ts": ts})
	if parent := c.message(threadOf(m)); parent != nil {
		s.changed(c, parent)
	}
}

// replies are the replies to a message, oldest first.
func (c *channel) replies(ts string) []obj {
	var list []obj
	from, _ := c.index(ts)
	for _, m := range c.messages[from:] {
		if threadOf(m) == ts {
			list = append(list, m)
		}
	}
	return list
}

// shown is a message as it is read: with the sums of its thread.
func (c *channel) shown(m obj) obj {
	out := obj{}
	for k, v := range m {
		out[k] = v
	}
	replies := c.replies(tsOf(m))
	if threadOf(m) != "" || len(replies) == 0 {
		if tsOf(m) == m["thread_ts"] && m["subtype"] != "tombstone" {
			delete(out, "thread_ts") // its replies are gone
		}
		return out
	}
	var users []string
	for _, r := range replies {
		if u, _ := r["user"].(string); !slices.Contains(users, u) {
			users = append(users, u)
		}
	}
	out["thread_ts"] = tsOf(m)
	out["reply_count"], out["reply_users_count"], out["reply_users"] = len(replies), len(users), users
	out["latest_reply"] = tsOf(replies[len(replies)-1])
	out["is_locked"], out["subscribed"] = false, false
	return out
}

// person finds a member by id.
func (s *Server) person(id string) *Person {
	for i := range s.people {
		if s.people[i].ID == id {
			return &s.people[i]
		}
	}
	return nil
}

// unread is how many messages a person has not seen: those of others that are
// no replies.
func (c *channel) unread(user string) int {
	n := 0
	for i := len(c.messages) - 1; i >= 0 && tsOf(c.messages[i]) > c.read[user]; i-- {
		if threadOf(c.messages[i]) == "" && c.messages[i]["user"] != user {
			n++
		}
	}
	return n
}
