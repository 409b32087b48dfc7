package phoenixd

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// config says what annotations of a name should look like. Nothing checks them
// against it.
type config struct {
	id          int64
	name, class string // class: CATEGORICAL, CONTINUOUS or FREEFORM
	description *string
	direction   string // "": none, of a FREEFORM
	values      []configValue
	low, high   *float64
	threshold   *float64
}

type configValue struct {
	Label string `json:"label"`
	Score *float `json:"score"`
}

var (
	configClasses = []string{"CATEGORICAL", "CONTINUOUS", "FREEFORM"}
	gidClasses    = []string{"CategoricalAnnotationConfig", "ContinuousAnnotationConfig", "FreeformAnnotationConfig"}
)

func (c *config) model() string { return gidClasses[slices.Index(configClasses, c.class)] }

func (c *config) gid() string { return gid(c.model(), c.id) }

func (c *config) json() map[string]any {
	out := map[string]any{"name": c.name, "type": c.class, "description": c.description, "optimization_direction": c.direction, "id": c.gid()}
	if c.direction == "" {
		out["optimization_direction"] = nil
	}
	switch c.class {
	case "CATEGORICAL":
		out["values"] = c.values
	case "FREEFORM":
		out["threshold"] = number(c.threshold)
		fallthrough
	default:
		out["lower_bound"], out["upper_bound"] = number(c.low), number(c.high)
	}
	return out
}

// getConfigs lists annotation configs, newest first.
func (s *Server) getConfigs(c *call) answer {
	q := c.query()
	limit := q.limit(100, 0)
	if !q.ok() {
		return q.wrong()
	}
	cursor, _ := q.last("cursor")
	class, top, err := fromGID(cursor)
	if cursor != "" && (err != nil || !slices.Contains(gidClasses, class)) {
		return inText(http.StatusBadRequest, "Invalid cursor: %s", cursor)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list, following := []map[string]any{}, (*string)(nil)
	for _, a := range slices.Backward(s.store.configs) {
		if cursor != "" && a.id > top {
			continue
		}
		if len(list) == limit {
			next := a.gid()
			following = &next
			break
		}
		list = append(list, a.json())
	}
	return inJSON(http.StatusOK, page{list, following})
}

// getConfig finds a config by name or by the global id of any of the classes.
func (s *Server) getConfig(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	class, id, err := fromGID(c.path[0])
	byID := err == nil && slices.Contains(gidClasses, class)
	for _, a := range s.store.configs {
		if byID && a.id == id || !byID && a.name == c.path[0] {
			return data(a.json())
		}
	}
	return inText(http.StatusNotFound, "Annotation configuration not found")
}

// readConfig reads a config; its shape depends on its type.
func readConfig(v any) (*config, *checker) {
	c := &checker{}
	m, ok := c.body(v)
	if !ok {
		return nil, c
	}
	in := []any{"body"}
	tag, ok := m["type"]
	if !ok {
		c.add("union_tag_not_found", in, "Unable to extract tag using discriminator 'type'", m, map[string]any{"discriminator": "'type'"})
		return nil, c
	}
	out := &config{}
	if out.class, ok = tag.(string); !ok || !slices.Contains(configClasses, out.class) {
		found, list := fmt.Sprint(tag), "'"+strings.Join(configClasses, "', '")+"'"
		c.add("union_tag_invalid", in, fmt.Sprintf("Input tag '%s' found using 'type' does not match any of the expected tags: %s", found, list),
			m, map[string]any{"discriminator": "'type'", "tag": found, "expected_tags": list})
		return nil, c
	}
	in = below(in, out.class)
	out.name = c.text(in, m, "name", true)
	out.description = c.textOrNull(in, m, "description")
	freeform := out.class == "FREEFORM"
	if m["optimization_direction"] != nil || !freeform {
		out.direction = c.oneOf(in, m, "optimization_direction", "enum", true, "MINIMIZE", "MAXIMIZE", "NONE")
	}
	if out.class == "CATEGORICAL" {
		for i, v := range c.list(in, m, "values", true) {
			at := below(below(in, "values"), i)
			if value, ok := c.model(at, v, "CategoricalAnnotationValue"); ok {
				out.values = append(out.values, configValue{c.text(at, value, "label", true), number(c.numberOrNull(at, value, "score"))})
			}
		}
		return out, c
	}
	if freeform {
		out.threshold = c.numberOrNull(in, m, "threshold")
	}
	out.low, out.high = c.numberOrNull(in, m, "lower_bound"), c.numberOrNull(in, m, "upper_bound")
	return out, c
}

// nonsense says, in the words of Phoenix's 400, what in a config of a right shape
// makes no sense; "" when all does. The input, which the real text repeats, is
// left out.
func (c *config) nonsense() string {
	say := func(model, field, text string) string {
		return fmt.Sprintf("1 validation error for %s\n%s  Value error, %s [type=value_error]", model, field, text)
	}
	seen := map[string]bool{}
	for _, v := range c.values {
		if v.Label == "" {
			return say("CategoricalAnnotationValue", "label\n", "Label must be non-empty")
		}
	}
	for _, v := range c.values {
		if seen[v.Label] {
			return say(c.model(), "values\n", fmt.Sprintf("Values for categorical annotation config has duplicate label: %q", v.Label))
		}
		seen[v.Label] = true
	}
	switch {
	case c.class == "CATEGORICAL" && len(c.values) == 0:
		return say(c.model(), "values\n", "Values must be non-empty")
	case c.low != nil && c.high != nil && *c.low >= *c.high:
		return say(c.model(), "", "Lower bound must be strictly less than upper bound")
	}
	return ""
}

// postConfig makes an annotation config.
func (s *Server) postConfig(c *call) answer {
	v, half, bad := c.json()
	if bad != nil {
		return *bad
	}
	made, check := readConfig(v)
	switch {
	case !check.ok():
		return check.wrong()
	case half:
		return crash()
	case made.name == "note":
		return inText(http.StatusConflict, "The name 'note' is reserved for trace and span notes and cannot be used for annotation configs.")
	}
	if why := made.nonsense(); why != "" {
		return inText(http.StatusBadRequest, "%s", why)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.store.configs, func(a *config) bool { return a.name == made.name }) {
		return inText(http.StatusConflict, "The name of the annotation configuration is already taken")
	}
	made.id = after(s.store.configs, func(a *config) int64 { return a.id })
	s.store.configs = append(s.store.configs, made)
	return data(made.json())
}
