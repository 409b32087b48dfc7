package slackd

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
