package phoenixd

import (
	"net/http"
	"strings"
)

// projectJSON is a project as it is listed.
type projectJSON struct {
	Name        string  `json:"name"`
	Description *string `json:"description"`
	ID          string  `json:"id"`
}

func (p *project) json() projectJSON { return projectJSON{p.name, p.description, p.gid()} }

// getProjects lists projects, newest first.
func (s *Server) getProjects(c *call) answer {
	q := c.query()
	limit := q.limit(100, 0)
	withExperiments := q.flag("include_experiment_projects")
	q.flag("include_dataset_evaluator_projects")
	if !q.ok() {
		return q.wrong()
	}
	contains, _ := q.last("name_contains")
	cursor, _ := q.last("cursor")
	top, bad := int64(0), error(nil)
	if cursor != "" {
		if _, top, bad = fromGID(cursor); bad != nil {
			return inText(http.StatusUnprocessableEntity, "Invalid cursor format: %s", cursor)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list, following := []projectJSON{}, (*string)(nil)
	for i := len(s.store.projects) - 1; i >= 0; i-- {
		p := s.store.projects[i]
		if cursor != "" && p.id > top || !strings.Contains(strings.ToLower(p.name), strings.ToLower(contains)) ||
			!withExperiments && s.store.ofExperiment(p) {
			continue
		}
		if len(list) == limit {
			next := p.gid()
			following = &next
			break
		}
		list = append(list, p.json())
	}
	return inJSON(http.StatusOK, page{list, following})
}

func (s *Server) getProject(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, bad := s.store.project(c.path[0])
	if bad != nil {
		return *bad
	}
	return data(p.json())
}

// postProject makes a project. Phoenix crashes on a name that is taken.
func (s *Server) postProject(c *call) answer {
	v, half, bad := c.json()
	if bad != nil {
		return *bad
	}
	check := &checker{}
	var name string
	var description *string
	if m, ok := check.body(v); ok {
		in := []any{"body"}
		name = check.text(in, m, "name", true)
		if given, isText := m["name"].(string); isText && given == "" {
			check.add("string_too_short", below(in, "name"), tooShort, "", map[string]any{"min_length": 1})
		}
		description = check.textOrNull(in, m, "description")
	}
	if !check.ok() {
		return check.wrong()
	}
	if half {
		return crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.store.projects)
	p := s.store.projectNamed(name)
	if len(s.store.projects) == before {
		return crash()
	}
	p.description = description
	return data(p.json())
}
