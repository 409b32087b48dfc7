package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/spanbot/spanbot/internal/review"
)

// What holds where nothing is said.
const (
	defaultFile     = "spanbot.yaml"
	defaultSchedule = "@every 30s"
	defaultRubric   = "correctness"
	defaultListen   = "127.0.0.1:8080"
	// oneRoute is the name of the route that the environment describes.
	oneRoute = "main"

	defaultRetention = 90 * 24 * time.Hour
)

// defaultRoute is a route of which nothing is said.
func defaultRoute() review.Route {
	return review.Route{
		Schedule: defaultSchedule, Rubric: defaultRubric,
		Sample: 1, Since: 24 * time.Hour, MaxOpen: 25, Backlog: 500,
		Order: review.Newest, OpenFor: 7 * 24 * time.Hour,
		Uncertainty: review.Uncertainty{Random: 0.3},
	}
}

// most bounds max_open and backlog: Redis keeps some 2 KB for each.
const most = 100_000

// kinds are OpenInference's span kinds, as Phoenix knows them.
var kinds = []string{"LLM", "CHAIN", "TOOL", "RETRIEVER", "EMBEDDING", "AGENT", "RERANKER", "EVALUATOR", "GUARDRAIL", "PROMPT", "DECISION", "UNKNOWN"}

var statuses = []string{"OK", "ERROR", "UNSET"}

// fileSettings is what the file says, by YAML path, and where.
type fileSettings struct {
	values  map[string]field // "phoenix.endpoint"
	base    review.Route     // defaults for each route
	routes  []fileRoute
	rubrics []fileRubric
}

type fileRoute struct {
	review.Route
	path string
	at   map[string]field // by key
	node *yaml.Node
}

type fileRubric struct {
	review.Rubric
	path string
	node *yaml.Node
}

// top reads the whole file. root may be nil.
func (l *loader) top(root *yaml.Node) fileSettings {
	out := fileSettings{values: map[string]field{}, base: defaultRoute()}
	if root == nil {
		return out
	}
	plain := func(s Section, f field) {
		for _, v := range l.fields(f.value, s, f.path) {
			out.values[v.path] = v
		}
	}
	top := l.fields(root, topSection, "")
	for _, f := range top { // before the routes, wherever it stands
		if f.key == "defaults" {
			l.route(f.value, routeSection.without("defaults", "name", "up", "down"), f.path, &out.base)
		}
	}
	for _, f := range top {
		switch f.key {
		case "phoenix":
			plain(phoenixSection, f)
		case "slack":
			plain(slackSection, f)
		case "redis":
			plain(redisSection, f)
		case "model":
			plain(modelSection, f)
		case "listen", "retention", "stand_ins", "data":
			out.values[f.path] = f
		case "routes":
			for _, item := range l.list(f) {
				r := fileRoute{Route: out.base, path: item.path, node: item.value}
				r.at = l.route(item.value, routeSection, item.path, &r.Route)
				out.routes = append(out.routes, r)
			}
		case "rubrics":
			for _, item := range l.list(f) {
				out.rubrics = append(out.rubrics, l.rubric(item))
			}
		}
	}
	return out
}

// list reads a list of sections.
func (l *loader) list(f field) []field {
	if f.value.Kind == yaml.ScalarNode && !null(f.value) || f.value.Kind == yaml.MappingNode {
		l.wrong(f.value, f.path, `want a list: each entry starts with "- ", found %s`, kind(f.value))
		return nil
	}
	return l.items(f)
}

// route reads a route, or the defaults, over what is in r already.
func (l *loader) route(n *yaml.Node, s Section, path string, r *review.Route) map[string]field {
	at := map[string]field{}
	for _, f := range l.fields(n, s, path) {
		at[f.key] = f
		switch f.key {
		case "name":
			read(l, f, &r.Name, parseRouteName)
		case "project":
			read(l, f, &r.Project, parseText)
		case "channel":
			read(l, f, &r.Channel, parseChannel)
		case "schedule":
			read(l, f, &r.Schedule, l.schedule)
		case "rubric":
			read(l, f, &r.Rubric, parseRubricName)
		case "up":
			read(l, f, &r.Up, parseText)
		case "down":
			read(l, f, &r.Down, parseText)
		case "spans":
			read(l, f, &r.Spans.AllSpans, func(s string) (bool, error) {
				w, err := word(s, []string{"roots", "all"})
				return w == "all", err
			})
		case "kinds":
			r.Spans.Kinds = l.words(f, func(s string) (string, error) { return word(s, kinds) })
		case "names":
			r.Spans.Names = l.words(f, parseText)
		case "status":
			r.Spans.Statuses = l.words(f, func(s string) (string, error) { return word(s, statuses) })
		case "attributes":
			r.Spans.Attributes = l.attributes(f)
		case "sample":
			read(l, f, &r.Sample, parseShare)
		case "since":
			read(l, f, &r.Since, parseDuration)
		case "max_open":
			read(l, f, &r.MaxOpen, func(s string) (int, error) { return parseCount(s, 0, most) })
		case "backlog":
			read(l, f, &r.Backlog, func(s string) (int, error) { return parseCount(s, 1, most) })
		case "order":
			read(l, f, &r.Order, func(s string) (review.Order, error) {
				w, err := word(s, []string{string(review.Newest), string(review.Oldest), string(review.ByUncertainty)})
				return review.Order(w), err
			})
		case "uncertainty":
			l.uncertainty(f, &r.Uncertainty)
		case "stop":
			l.stop(f, &r.Stop)
		case "open_for":
			read(l, f, &r.OpenFor, positiveDuration)
		case "reviewers":
			r.Reviewers = l.reviewers(f)
		case "external":
			read(l, f, &r.External, parseBool)
		}
	}
	return at
}

// uncertainty reads how a route of that order chooses.
func (l *loader) uncertainty(f field, u *review.Uncertainty) {
	for _, v := range l.fields(f.value, uncertaintySection, f.path) {
		switch v.key {
		case "judge":
			read(l, v, &u.Judge, parseRubricName)
		case "random":
			read(l, v, &u.Random, func(s string) (float64, error) {
				n, err := parseShare(s)
				if err == nil && n == 0 {
					return 0, errors.New("without spans chosen by chance no rate can be read off the judgements; want more than 0%")
				}
				return n, err
			})
		}
	}
}

// What holds in a stop section of which less is said.
var defaultStop = review.Stop{Labels: 2000, Looks: []int{50, 100, 200, 400, 800, 1600}}

// stop reads when a route has enough judgements.
func (l *loader) stop(f field, to *review.Stop) {
	if f.value.Kind == yaml.ScalarNode && (strings.EqualFold(f.value.Value, "off") || strings.EqualFold(f.value.Value, "false")) {
		*to = review.Stop{}
		return
	}
	s := *to
	if !s.Set() {
		s = defaultStop
	}
	before := len(l.mistakes)
	said := map[string]field{}
	for _, v := range l.fields(f.value, stopSection, f.path) {
		said[v.key] = v
		switch v.key {
		case "width":
			read(l, v, &s.Width, parsePoints)
		case "labels":
			read(l, v, &s.Labels, func(s string) (int, error) { return parseCount(s, 1, most) })
		case "looks":
			s.Looks = l.looks(v)
		}
	}
	_, hasWidth := said["width"]
	_, hasLabels := said["labels"]
	switch {
	case len(l.mistakes) > before:
		return
	case !hasWidth && !hasLabels && !to.Set():
		l.wrong(f.at, f.path, "it does not say what is enough; add width: 3 (points) or labels: 2000, or write stop: off")
		return
	case s.Width > 0 && len(s.Looks) > 0 && s.Looks[0] > s.Labels && hasLabels:
		l.wrong(said["labels"].value, said["labels"].path, "the first look is at %d labels, so the width would never count; raise labels or add an earlier look", s.Looks[0])
	}
	if at, ok := said["looks"]; ok && s.Looks[len(s.Looks)-1] > s.Labels {
		l.wrong(at.value, at.path, "the look at %d is never reached: the route stops at %d labels", s.Looks[len(s.Looks)-1], s.Labels)
	}
	s.Looks = slices.DeleteFunc(slices.Clone(s.Looks), func(n int) bool { return n > s.Labels })
	*to = s
}

// looks reads the sizes at which it is looked, which rise.
func (l *loader) looks(f field) (out []int) {
	if f.value.Kind == yaml.SequenceNode && len(f.value.Content) == 0 || null(f.value) {
		l.wrong(f.at, f.path, "it names no number; remove the line for the usual looks")
	}
	for _, item := range l.items(f) {
		var n int
		if !read(l, item, &n, func(s string) (int, error) { return parseCount(s, 10, most) }) {
			continue
		}
		if len(out) > 0 && n <= out[len(out)-1] {
			l.wrong(item.value, item.path, "%d comes after %d; want rising numbers", n, out[len(out)-1])
			continue
		}
		out = append(out, n)
	}
	return out
}

// word is the allowed word that s is, in its own spelling.
func word(s string, allowed []string) (string, error) {
	for _, a := range allowed {
		if strings.EqualFold(a, s) {
			return a, nil
		}
	}
	return "", fmt.Errorf("%q is not known%s", short(s), oneOf(s, allowed))
}

func parseRubricName(s string) (string, error) {
	s, err := parseText(s)
	if err != nil {
		return "", err
	}
	if wrong := review.DefaultRubric(s).Check(); len(wrong) > 0 {
		return "", fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return s, nil
}

// schedule asks who knows cron.
func (l *loader) schedule(s string) (string, error) {
	if l.src.CheckSchedule == nil {
		return s, nil
	}
	return s, l.src.CheckSchedule(s)
}

func (l *loader) words(f field, parse func(string) (string, error)) []string {
	var out []string
	for _, item := range l.items(f) {
		var s string
		if read(l, item, &s, parse) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// everybody among the reviewers takes back what the defaults say.
const everybody = "everybody"

// reviewers reads who may judge. A list of nobody is a slip: taken at its word it
// would let everybody in.
func (l *loader) reviewers(f field) []string {
	list := l.words(f, parseReviewer)
	switch {
	case slices.Contains(list, everybody) && len(list) > 1:
		l.wrong(f.value, f.path, "%q stands beside others, who would not count; remove it or them", everybody)
	case slices.Contains(list, everybody):
		return nil
	case null(f.value), f.value.Kind == yaml.SequenceNode && len(f.value.Content) == 0:
		l.wrong(f.at, f.path, "it names nobody; name reviewers, or write %q to let everybody judge who sees the card", everybody)
	}
	return list
}

// attributes reads a map of attribute paths to the values they must have.
func (l *loader) attributes(f field) []review.Attribute {
	if f.value.Kind != yaml.MappingNode {
		if !null(f.value) {
			l.wrong(f.value, f.path, "want lines such as llm.model_name: gpt-5, found %s", kind(f.value))
		}
		return nil
	}
	var out []review.Attribute
	seen := map[string]bool{}
	for i := 0; i+1 < len(f.value.Content); i += 2 {
		k, v := f.value.Content[i], resolve(f.value.Content[i+1])
		item := field{k.Value, join(f.path, k.Value), k, v}
		switch {
		case k.Kind != yaml.ScalarNode || strings.TrimSpace(k.Value) == "" || k.Tag == "!!merge":
			l.wrong(k, f.path, "a key must be the path of an attribute, as llm.model_name")
			continue
		case seen[k.Value]:
			l.wrong(k, f.path, "attribute %q stands twice", k.Value)
			continue
		case v.Kind == yaml.MappingNode && len(v.Content) > 0:
			l.wrong(v, item.path, "want one value; write the path in one line, as %s.%s: …", k.Value, v.Content[0].Value)
			continue
		}
		seen[k.Value] = true
		s, ok := l.text(item)
		if !ok {
			continue
		}
		a := review.Attribute{Path: k.Value, Value: s}
		switch v.Tag {
		case "!!bool":
			a.Value = strings.EqualFold(s, "true")
		case "!!int":
			if n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 0, 64); err == nil {
				a.Value = float64(n)
			}
		case "!!float":
			if n, err := parseNumber(s); err == nil {
				a.Value = n
			}
		}
		out = append(out, a)
	}
	return out
}

// rubric reads one rubric.
func (l *loader) rubric(item field) fileRubric {
	r := fileRubric{path: item.path, node: item.value}
	before := len(l.mistakes)
	var further []review.Label
	for _, f := range l.fields(item.value, rubricSection, item.path) {
		switch f.key {
		case "name":
			read(l, f, &r.Name, parseRubricName)
		case "question":
			read(l, f, &r.Question, parseText)
		case "instructions":
			read(l, f, &r.Instructions, func(s string) (string, error) { return s, nil })
		case "up":
			if label, ok := l.label(f); ok {
				r.Up = &label
			}
		case "down":
			if label, ok := l.label(f); ok {
				r.Down = &label
			}
		case "labels":
			for _, i := range l.items(f) {
				if label, ok := l.label(i); ok {
					further = append(further, label)
				}
			}
		case "score":
			r.Range = l.scoreRange(f)
		}
	}
	if len(l.mistakes) > before {
		return r // what follows would only repeat it in other words
	}
	if r.Name == "" {
		l.wrong(item.value, item.path, "no name; add the annotation's name, such as name: correctness")
		return r
	}
	if r.Question == "" {
		r.Question = review.DefaultRubric(r.Name).Question
	}
	r.Labels = inOrder(r.Up, r.Down, further)
	for _, text := range r.Check() {
		l.wrong(item.value, item.path, "%s", text)
	}
	for _, label := range r.Labels {
		if label.Score != nil && r.Range != nil &&
			(r.Range.Low != nil && *label.Score < *r.Range.Low || r.Range.High != nil && *label.Score > *r.Range.High) {
			l.wrong(item.value, item.path, "label %q has score %s, outside the rubric's own range", label.Name, review.FormatScore(*label.Score))
		}
	}
	return r
}

// inOrder puts the labels in the form's order: 👍, the further ones, 👎. Where
// the list names a thumb's label too, the list's order counts.
func inOrder(up, down *review.Label, further []review.Label) []review.Label {
	same := func(a *review.Label, b review.Label) bool {
		return a != nil && a.Name == b.Name && (b.Score == nil || a.Score != nil && *a.Score == *b.Score)
	}
	out := slices.Clone(further)
	hasUp := up == nil
	hasDown := down == nil
	for i, f := range out {
		switch {
		case same(up, f) && !hasUp:
			out[i], hasUp = *up, true
		case same(down, f) && !hasDown:
			out[i], hasDown = *down, true
		}
	}
	if !hasUp {
		out = slices.Insert(out, 0, *up)
	}
	if !hasDown {
		out = append(out, *down)
	}
	return out
}

// label reads "good" or {label: good, score: 1}.
func (l *loader) label(f field) (review.Label, bool) {
	var out review.Label
	if f.value.Kind == yaml.ScalarNode {
		return out, read(l, f, &out.Name, parseText)
	}
	ok := true
	for _, v := range l.fields(f.value, labelSection, f.path) {
		switch v.key {
		case "label":
			ok = read(l, v, &out.Name, parseText) && ok
		case "score":
			var n float64
			if ok = read(l, v, &n, parseNumber) && ok; ok {
				out.Score = &n
			}
		}
	}
	if ok && out.Name == "" {
		if f.value.Kind == yaml.MappingNode {
			l.wrong(f.value, f.path, "no label; want {label: good, score: 1}")
		}
		return out, false
	}
	return out, ok
}

func (l *loader) scoreRange(f field) *review.Range {
	var r review.Range
	for _, v := range l.fields(f.value, scoreSection, f.path) {
		var n float64
		if !read(l, v, &n, parseNumber) {
			continue
		}
		if v.key == "low" {
			r.Low = &n
		} else {
			r.High = &n
		}
	}
	return &r
}
