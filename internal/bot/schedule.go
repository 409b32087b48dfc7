package bot

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// scheduleParser takes 5 fields, 6 with seconds first, @every and the names.
var scheduleParser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// scheduleForm is what a schedule may look like, for messages.
const scheduleForm = `want "@every 30s", "@hourly", or the five fields minute hour day month weekday, as in "*/5 9-17 * * 1-5"`

// ParseSchedule reads a cron spec: five fields, six with seconds first,
// "@every 30s" or one of @hourly, @daily, @weekly, @monthly, @yearly. Times are
// UTC unless the spec starts with "CRON_TZ=Europe/Berlin ".
//
// It refuses, with the reason in words, what the cron library lets through:
// specs that make its parser panic, dates that never come, and more than one
// run a second.
func ParseSchedule(spec string) (cron.Schedule, error) {
	rest := strings.TrimSpace(spec)
	if rest == "" {
		return nil, fmt.Errorf("the schedule is empty; %s", scheduleForm)
	}
	zone := time.UTC
	if key, tail, ok := strings.Cut(rest, "="); ok && (key == "TZ" || key == "CRON_TZ") {
		// The library slices the spec at the first space, and panics without one.
		name, fields, found := strings.Cut(tail, " ")
		fields = strings.TrimSpace(fields)
		if !found || name == "" || fields == "" {
			return nil, fmt.Errorf(`a time zone must be followed by a space and the schedule, as in "CRON_TZ=Europe/Berlin 0 9 * * *"`)
		}
		loc, err := time.LoadLocation(name)
		if err != nil {
			return nil, fmt.Errorf(`time zone %q is not known; want a name such as "Europe/Berlin"`, name)
		}
		zone, rest = loc, fields
	}
	if every, ok := strings.CutPrefix(rest, "@every"); ok {
		if err := checkEvery(strings.TrimSpace(every)); err != nil {
			return nil, err
		}
	}
	s, err := parseCron(rest)
	if err != nil {
		return nil, explainCron(rest, err)
	}
	if fields, ok := s.(*cron.SpecSchedule); ok {
		fields.Location = zone // else the machine's own: replicas would disagree
	}
	if s.Next(time.Now()).IsZero() {
		return nil, errors.New("the schedule never comes: no year has that date")
	}
	return s, nil
}

func checkEvery(s string) error {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return fmt.Errorf(`%q after @every is not a duration; want one such as "30s", "5m" or "1h30m"`, s)
	case d < time.Second:
		return fmt.Errorf("@every %s is faster than once a second; want 1s or more", s)
	case d%time.Second != 0:
		return fmt.Errorf("@every %s: only whole seconds are possible", s)
	}
	return nil
}

// parseCron calls the library's parser, which panics on some input.
func parseCron(spec string) (s cron.Schedule, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("cannot be understood")
		}
	}()
	return scheduleParser.Parse(spec)
}

// explainCron puts the library's terse errors into words for the traps that
// people step into.
func explainCron(spec string, err error) error {
	fields := strings.Fields(spec)
	switch {
	case strings.HasPrefix(spec, "@"):
		return fmt.Errorf("%q is not known; want @every with a duration, @hourly, @daily, @weekly, @monthly or @yearly", fields[0])
	case len(fields) != 5 && len(fields) != 6:
		return fmt.Errorf("%q has %d field(s); %s", spec, len(fields), scheduleForm)
	case strings.ContainsAny(spec, "L#W"):
		return fmt.Errorf(`"L", "W" and "#" are not supported; %s`, scheduleForm)
	case hasSeven(fields[len(fields)-1]):
		return errors.New("weekday 7 is not known; Sunday is 0")
	}
	return fmt.Errorf("%w; %s", err, scheduleForm)
}

func hasSeven(weekday string) bool {
	for _, f := range strings.FieldsFunc(weekday, func(r rune) bool { return r == ',' || r == '-' || r == '/' }) {
		if n, err := strconv.Atoi(f); err == nil && n == 7 {
			return true
		}
	}
	return false
}
