package slackd

import "slices"

func usersInfo(s *Server, c call) answer {
	id := c.text("user")
	if id == s.bot {
		return yes(obj{"user": s.botObject()})
	}
	p := s.person(id)
	if p == nil {
		return no("user_not_found")
	}
	return yes(obj{"user": s.userObject(*p)})
}

func usersList(s *Server, c call) answer {
	var all []obj
	for _, p := range s.people {
		all = append(all, s.userObject(p))
	}
	all = append(all, s.botObject())
	from, to, next, ok := c.page(len(all), 1000, 1000)
	if !ok {
		return no("invalid_cursor")
	}
	return yes(obj{"members": all[from:to], "cache_ts": s.store.last.Unix(), "response_metadata": obj{"next_cursor": next}})
}

func (s *Server) userObject(p Person) obj {
	return obj{
		"id": p.ID, "team_id": s.team, "name": p.Name, "real_name": p.Real, "color": p.Color[1:], "deleted": false,
		"tz": "Etc/UTC", "tz_label": "Coordinated Universal Time", "tz_offset": 0,
		"is_admin": false, "is_owner": false, "is_primary_owner": false, "is_restricted": false, "is_ultra_restricted": false,
		"is_bot": false, "is_app_user": false, "updated": 0,
		"profile": obj{"real_name": p.Real, "real_name_normalized": p.Real, "display_name": p.Name, "display_name_normalized": p.Name, "team": s.team},
	}
}

func (s *Server) botObject() obj {
	return obj{
		"id": s.bot, "team_id": s.team, "name": s.botName, "real_name": "Spanbot", "deleted": false, "is_bot": true, "is_app_user": false,
		"tz": "Etc/UTC", "tz_label": "Coordinated Universal Time", "tz_offset": 0, "updated": 0,
		"profile": obj{"real_name": "Spanbot", "real_name_normalized": "Spanbot", "display_name": "", "api_app_id": s.app, "bot_id": s.botID, "team": s.team},
	}
}

// usergroupsRead is the scope that a call of user groups wants.
const usergroupsRead = "usergroups:read"

func usergroupMembers(s *Server, c call) answer {
	if !slices.Contains(s.o.Scopes, usergroupsRead) {
		a := no("missing_scope")
		a.body["needed"], a.body["provided"] = usergroupsRead, scopes
		return a
	}
	users, known := s.groups[c.text("usergroup")]
	if !known {
		return no("no_such_subteam")
	}
	return yes(obj{"users": append([]string{}, users...)})
}
