package bot

import (
	"strings"
	"testing"
	"time"
)

func TestParseSchedule_TakesWhatCronTakes(t *testing.T) {
	from := time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC) // a Sunday
	tests := []struct {
		spec string
		want time.Time
	}{
		{"@every 30s", from.Add(30 * time.Second)},
		{"  @every 1h30m ", from.Add(90 * time.Minute)},
		{"@hourly", time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC)},
		{"*/5 * * * *", time.Date(2026, 3, 1, 12, 5, 0, 0, time.UTC)},
		{"*/10 * * * * *", time.Date(2026, 3, 1, 12, 0, 40, 0, time.UTC)},
		{"0 9 * * 1-5", time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)},
		{"0 9 * * MON", time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)},
		// 9 in Berlin is 8 UTC in winter.
		{"CRON_TZ=Europe/Berlin 0 9 * * *", time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)},
		{"TZ=Europe/Berlin 0 9 * * *", time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)},
		{"CRON_TZ=UTC @daily", time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)},
		{"0 0 29 2 *", time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC)},
	}
	for _, tt := range tests {
		s, err := ParseSchedule(tt.spec)
		if err != nil {
			t.Errorf("ParseSchedule(%q): %v", tt.spec, err)
			continue
		}
		if got := s.Next(from); !got.Equal(tt.want) {
			t.Errorf("%q: next after %s is %s, want %s", tt.spec, from, got, tt.want)
		}
	}
}

func TestParseSchedule_RefusesWithTheReason(t *testing.T) {
	tests := []struct{ spec, want string }{
		{"", "empty"},
		{"TZ=", "followed by a space"},
		{"TZ=UTC", "followed by a space"},
		{"CRON_TZ=UTC@hourly", "followed by a space"},
		{"CRON_TZ=UTC ", "followed by a space"},
		{"CRON_TZ= 0 9 * * *", "followed by a space"},
		{"CRON_TZ=Mars/Olympus 0 9 * * *", `"Mars/Olympus" is not known`},
		{"0 0 31 2 *", "never comes"},
		{"@every 500ms", "faster than once a second"},
		{"@every 0s", "faster than once a second"},
		{"@every -5s", "faster than once a second"},
		{"@every 1500ms", "whole seconds"},
		{"@every", "not a duration"},
		{"@every often", "not a duration"},
		{"@reboot", `"@reboot" is not known`},
		{"every 30s", "2 field"},
		{"0 9 * * 7", "Sunday is 0"},
		{"0 9 L * *", "not supported"},
		{"61 * * * *", "above maximum"},
		// The library would take a second zone, and panic on this one.
		{"TZ=UTC TZ=UTC", "1 field"},
	}
	for _, tt := range tests {
		_, err := ParseSchedule(tt.spec)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseSchedule(%q) = %v; want a reason with %q", tt.spec, err, tt.want)
		}
	}
}

func FuzzParseSchedule(f *testing.F) {
	for _, s := range []string{"@every 30s", "TZ=", "CRON_TZ=UTC@hourly", "*/5 9-17 * * 1-5", "0 0 31 2 *", "TZ=UTC TZ="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := ParseSchedule(spec)
		if err == nil && s.Next(time.Now()).IsZero() {
			t.Errorf("%q was taken and never comes", spec)
		}
	})
}
