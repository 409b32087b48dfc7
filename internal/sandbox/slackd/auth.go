package slackd

func apiTest(_ *Server, c call) answer {
	if code := c.text("error"); code != "" {
		return no(code)
	}
	return yes(obj{"args": c.args})
}

const teamName, teamDomain = "Local workspace", "local"

func authTest(s *Server, c call) answer {
	return yes(obj{"url": c.base + "/", "team": teamName, "user": s.botName, "team_id": s.team,
		"user_id": s.bot, "bot_id": s.botID, "is_enterprise_install": false})
}

// connectionsOpen hands out a one-time address for a Socket Mode connection.
func connectionsOpen(s *Server, c call) answer {
	if s.o.HTTP != "" {
		return no("socket_mode_disabled")
	}
	ticket := s.id("", 24)
	s.links.tickets[ticket] = true
	return yes(obj{"url": wsBase(c.base) + "/link?ticket=" + ticket + "&app_id=" + s.app})
}
