package config

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Of each outside part: nothing said is a stand-in, all said is the real one,
// half said is a mistake. The three do not depend on each other.
func TestStandIns_TakeThePlaceOfWhatNothingIsSaidAbout(t *testing.T) {
	slack := vars{"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1", "SLACK_CHANNEL": "#reviews"}
	tests := []struct {
		name string
		env  vars
		disk files
		want StandIns
		miss string // part of the one mistake
	}{
		{"nothing", nil, nil, StandIns{Slack: true, Phoenix: true, Redis: true, Allowed: true}, ""},
		{"Slack", slack, nil, StandIns{Phoenix: true, Redis: true, Allowed: true}, ""},
		{"Phoenix", vars{"PHOENIX_ENDPOINT": "http://p:6006"}, nil, StandIns{Slack: true, Redis: true, Allowed: true}, ""},
		{"Phoenix by its host", vars{"PHOENIX_HOST": "p"}, nil, StandIns{Slack: true, Redis: true, Allowed: true}, ""},
		{"Phoenix in the file", nil, files{"spanbot.yaml": "phoenix: {endpoint: http://p:6006}"}, StandIns{Slack: true, Redis: true, Allowed: true}, ""},
		{"Redis", vars{"REDIS_URL": "redis://r"}, nil, StandIns{Slack: true, Phoenix: true, Allowed: true}, ""},
		{"Redis in the file", nil, files{"spanbot.yaml": "redis: {url: redis://r}"}, StandIns{Slack: true, Phoenix: true, Allowed: true}, ""},
		{"Redis from a secret's file", vars{"REDIS_URL_FILE": "/r"}, files{"/r": "redis://r"}, StandIns{Slack: true, Phoenix: true, Allowed: true}, ""},
		{"memory asked for", vars{"REDIS_URL": "memory"}, nil, StandIns{Slack: true, Phoenix: true, Redis: true, Allowed: true, Memory: true}, ""},
		{"all", complete(nil), nil, StandIns{Allowed: true}, ""},
		{"all, and off", complete(vars{"SPANBOT_STAND_INS": "off"}), nil, StandIns{}, ""},
		{"all, and off in the file", complete(nil), files{"spanbot.yaml": "stand_ins: off"}, StandIns{}, ""},

		{"bot token alone", vars{"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_CHANNEL": "#a"}, nil, StandIns{}, "SLACK_APP_TOKEN is not set"},
		{"app token alone", vars{"SLACK_APP_TOKEN": "xapp-1", "SLACK_CHANNEL": "#a"}, nil, StandIns{}, "SLACK_BOT_TOKEN is not set"},
		{"tokens without a channel", vars{"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}, nil, StandIns{}, "SLACK_CHANNEL is not set"},
		{"key without its endpoint", vars{"PHOENIX_API_KEY": "k"}, nil, StandIns{}, "PHOENIX_API_KEY alone is not enough"},
		{"headers without their endpoint", vars{"PHOENIX_CLIENT_HEADERS": "a=b"}, nil, StandIns{}, "PHOENIX_CLIENT_HEADERS alone is not enough"},
		{"public address alone", vars{"PHOENIX_PUBLIC_URL": "https://p"}, nil, StandIns{}, "PHOENIX_PUBLIC_URL alone is not enough"},
		{"a wrong endpoint is no reason for a stand-in", vars{"PHOENIX_ENDPOINT": "http://"}, nil, StandIns{}, "PHOENIX_ENDPOINT"},
		{"off, and memory", complete(vars{"SPANBOT_STAND_INS": "off", "REDIS_URL": "memory"}), nil, StandIns{}, "a queue in memory is a stand-in"},
		{"neither on nor off", complete(vars{"SPANBOT_STAND_INS": "no"}), nil, StandIns{}, `want on or off`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(tt.env, tt.disk, NeedAll, nil)
			if tt.miss != "" {
				if got := strings.Join(mistakes(t, err), "\n"); !strings.Contains(got, tt.miss) {
					t.Errorf("mistakes:\n%s\nwant one with %q", got, tt.miss)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, c.StandIns); d != "" {
				t.Error(d)
			}
		})
	}
}

// The environment's one route is whole without a word, and what somebody says
// of it counts before the demo.
func TestStandIns_TheRoute(t *testing.T) {
	tests := []struct {
		name string
		env  vars
		disk files
		want string
	}{
		{"nothing", nil, nil, "my-annotations-app → #llm-reviews @every 2s 50"},
		{"what is said", vars{"PHOENIX_PROJECT": "p", "SLACK_CHANNEL": "#c", "SPANBOT_SCHEDULE": "@every 9s", "SPANBOT_MAX_OPEN": "3"}, nil, "p → #c @every 9s 3"},
		{"what the file says", nil, files{"spanbot.yaml": "defaults: {schedule: '@every 7s', max_open: 4}"}, "my-annotations-app → #llm-reviews @every 7s 4"},
		{"a real Phoenix is not asked every two seconds", vars{"PHOENIX_ENDPOINT": "http://p:6006"}, nil, "default → #llm-reviews @every 30s 25"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(tt.env, tt.disk, NeedAll, nil)
			if err != nil {
				t.Fatal(err)
			}
			r := c.Routes[0]
			if got := r.Project + " → " + r.Channel + " " + r.Schedule + " " + strconv.Itoa(r.MaxOpen); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestDataFolder(t *testing.T) {
	for _, tt := range []struct {
		env  vars
		want string
	}{
		{vars{"HOME": "/home/me"}, "/home/me/.local/share/spanbot"},
		{vars{"HOME": "/home/me", "XDG_DATA_HOME": "/data"}, "/data/spanbot"},
		{vars{"HOME": "/home/me", "SPANBOT_DATA": "/var/lib/spanbot"}, "/var/lib/spanbot"},
		{nil, ""},
	} {
		c, err := load(tt.env, nil, 0, nil)
		if err != nil || c.Data != tt.want {
			t.Errorf("%v: data %q, %v; want %q", tt.env, c.Data, err, tt.want)
		}
	}
}
