package slackd

import "slices"

// Channel is the id of a channel by its name, "" when there is none.
func (s *Server) Channel(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channel("#" + name); c != nil {
		return c.id
	}
	return ""
}

// Messages are the messages of a channel, replies among them, oldest first, as
// conversations.history shows them.
func (s *Server) Messages(channel string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.store.channels[channel]
	if c == nil {
		return nil
	}
	list := make([]map[string]any, len(c.messages))
	for i, m := range c.messages {
		list[i] = copied(c.shown(m))
	}
	return list
}

// MessagesAfter are those that were posted after ts; "": all.
func (s *Server) MessagesAfter(channel, ts string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.store.channels[channel]
	if c == nil {
		return nil
	}
	var list []map[string]any
	for _, m := range slices.Backward(c.messages) {
		if pad(tsOf(m)) <= pad(ts) {
			break
		}
		list = append(list, copied(c.shown(m)))
	}
	slices.Reverse(list)
	return list
}

// View is a modal or an App Home as a person sees it.
type View struct {
	ID     string
	Object map[string]any // as views.open answers it
}

// Views are the modals that a person has open, root first.
func (s *Server) Views(user string) []View {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []View
	for _, v := range s.views.stacks[user] {
		list = append(list, View{v.id(), copied(v.object)})
	}
	return list
}

// Home is a person's App Home; false while none was published.
func (s *Server) Home(user string) (View, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.store.homes[user]
	if v == nil {
		return View{}, false
	}
	return View{v.id(), copied(v.object)}, true
}

// Ephemerals are the messages that a person was shown alone, oldest first.
func (s *Server) Ephemerals(user string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copied(s.store.ephemerals[user])
}

// App is the app's id.
func (s *Server) App() string { return s.app }

// BotID is the bot's id as messages carry it; its user is BotUser.
func (s *Server) BotID() string { return s.botID }

// DeleteMessage deletes a message, as somebody with the right to does in Slack.
func (s *Server) DeleteMessage(channel, ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.store.channels[channel]; c != nil {
		s.remove(c, ts)
	}
}

// Archive archives a channel, or brings it back.
func (s *Server) Archive(channel string, archived bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.store.channels[channel]; c != nil {
		c.archived = archived
	}
}

// Remove takes the bot or a person out of a channel.
func (s *Server) Remove(channel, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.store.channels[channel]; c != nil {
		c.members = slices.DeleteFunc(c.members, func(m string) bool { return m == user })
	}
}

// Group makes a user group, or gives one that there is other members.
func (s *Server) Group(id string, users ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groups == nil {
		s.groups = map[string][]string{}
	}
	s.groups[id] = users
}

// Share shares a channel with another organisation (Slack Connect), or ends that.
func (s *Server) Share(channel string, shared bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.store.channels[channel]; c != nil {
		c.shared = shared
	}
}
