package config

import (
	"fmt"
	"path/filepath"

	"github.com/spanbot/spanbot/internal/review"
)

// StandIns says in which outside part's place a stand-in goes: a part of which
// nothing at all is said. A part of which something is said is the real one, and
// what it lacks is a mistake.
type StandIns struct {
	Slack, Phoenix, Redis bool
	Allowed               bool // SPANBOT_STAND_INS is not off
	Memory                bool // REDIS_URL=memory: a queue that is gone after exit was asked for
}

// Any reports whether there is any.
func (s StandIns) Any() bool { return s.Slack || s.Phoenix || s.Redis }

const (
	// DemoProject is the project of the tutorial, which the stand-in Phoenix holds.
	DemoProject = "my-annotations-app"

	demoChannel  = "#llm-reviews"
	demoSchedule = "@every 2s" // asks a stand-in in this very process
	demoMaxOpen  = 50

	// phoenixDefault is where traces go that name no project.
	phoenixDefault = "default"

	// inMemory is the REDIS_URL of a queue without a disk.
	inMemory = "memory"
)

// standIns finds the parts of which nothing is said, and the data folder.
func (l *loader) standIns(c *Config, file fileSettings) {
	c.StandIns.Allowed = true
	set(l, "SPANBOT_STAND_INS", file, &c.StandIns.Allowed, func(s string) (bool, error) {
		if s != "on" && s != "off" {
			return false, fmt.Errorf("%q is not known; want on or off", short(s))
		}
		return s == "on", nil
	})
	c.Data = l.dataFolder()
	set(l, "SPANBOT_DATA", file, &c.Data, func(s string) (string, error) { return s, nil })
	if !c.StandIns.Allowed {
		if c.StandIns.Memory {
			l.elsewhere("REDIS_URL", "a queue in memory is a stand-in, and SPANBOT_STAND_INS is off; name a Redis, or take one of the two back")
		}
		return
	}
	said := func(path string, envs ...string) bool {
		_, found := file.values[path]
		for _, env := range envs {
			found = found || l.given(env)
		}
		return found
	}
	c.StandIns.Phoenix = !said("phoenix.endpoint", "PHOENIX_ENDPOINT") && l.env("PHOENIX_HOST") == "" && l.phoenixHalf() == ""
	c.StandIns.Slack = !said("slack.api_url", "SLACK_API_URL", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET")
	c.StandIns.Redis = c.StandIns.Memory || !said("redis.url", "REDIS_URL")
}

// phoenixHalf says what is said of a Phoenix whose address is not; "" = nothing.
func (l *loader) phoenixHalf() string {
	for _, env := range []string{"PHOENIX_API_KEY", "PHOENIX_CLIENT_HEADERS", "PHOENIX_PUBLIC_URL"} {
		if l.given(env) {
			return env + " alone is not enough"
		}
	}
	return ""
}

// dataFolder is where programs keep their data, by the XDG base directory
// specification.
func (l *loader) dataFolder() string {
	switch {
	case l.env("XDG_DATA_HOME") != "":
		return filepath.Join(l.env("XDG_DATA_HOME"), "spanbot")
	case l.env("HOME") != "":
		return filepath.Join(l.env("HOME"), ".local", "share", "spanbot")
	case l.env("LOCALAPPDATA") != "":
		return filepath.Join(l.env("LOCALAPPDATA"), "spanbot")
	}
	return ""
}

// demoPace lets a channel be alive whose traces come from the stand-in, unless
// somebody said how fast it shall be.
func (l *loader) demoPace(r *review.Route, base review.Route) {
	usual := defaultRoute()
	if base.Schedule == usual.Schedule && !l.given("SPANBOT_SCHEDULE") {
		r.Schedule = demoSchedule
	}
	if base.MaxOpen == usual.MaxOpen && !l.given("SPANBOT_MAX_OPEN") {
		r.MaxOpen = demoMaxOpen
	}
}
