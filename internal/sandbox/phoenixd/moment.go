package phoenixd

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// moment is a date and time of a request; naive says that it names no zone.
type moment struct {
	time.Time
	naive bool
}

// parseMoment reads a date, a date and time, or a number of seconds (of
// milliseconds, above 2e10) as Phoenix does. problem says why it cannot.
func parseMoment(s string) (m moment, problem string) {
	if f, err := strconv.ParseFloat(s, 64); err == nil && !strings.ContainsAny(s, "xXpPnNiI_eE") {
		return unixMoment(f), ""
	}
	day, problem := parseDay(s)
	if problem != "" {
		return m, problem
	}
	if len(s) == 10 {
		return moment{day, true}, ""
	}
	const extra = "unexpected extra characters at the end of the input"
	if strings.IndexByte("Tt _", s[10]) < 0 {
		return m, extra
	}
	clock := s[11:]
	at, ok := parseClock(&clock)
	if !ok {
		return m, extra
	}
	zone, naive, ok := parseZone(clock)
	if !ok {
		return m, extra
	}
	return moment{day.Add(at - zone), naive}, ""
}

func unixMoment(f float64) moment {
	if math.Abs(f) > 2e10 {
		f /= 1000
	}
	return moment{time.UnixMicro(int64(math.Round(f * 1e6))).UTC(), false}
}

// numberAt reads the n digits at i; -1 where something else stands.
func numberAt(s string, i, n int) int {
	if i+n > len(s) {
		return -1
	}
	v := 0
	for _, c := range []byte(s[i : i+n]) {
		if c < '0' || c > '9' {
			return -1
		}
		v = 10*v + int(c-'0')
	}
	return v
}

func parseDay(s string) (t time.Time, problem string) {
	if len(s) < 10 {
		return t, "input is too short"
	}
	year, month, day := numberAt(s, 0, 4), numberAt(s, 5, 2), numberAt(s, 8, 2)
	switch {
	case year < 0:
		return t, "invalid character in year"
	case s[4] != '-':
		return t, "invalid date separator, expected `-`"
	case month < 0:
		return t, "invalid character in month"
	case s[7] != '-':
		return t, "invalid date separator, expected `-`"
	case day < 0:
		return t, "invalid character in day"
	case month < 1 || month > 12:
		return t, "month value is outside expected range of 1-12"
	}
	t = time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if t.Day() != day {
		return t, "day value is outside expected range"
	}
	return t, ""
}

// parseClock takes HH:MM, HH:MM:SS or HH:MM:SS.ffffff off s; of a fraction,
// microseconds are kept.
func parseClock(s *string) (at time.Duration, ok bool) {
	text := *s
	hour, minute := numberAt(text, 0, 2), numberAt(text, 3, 2)
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 || text[2] != ':' {
		return 0, false
	}
	at = time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	text = text[5:]
	if strings.HasPrefix(text, ":") {
		second := numberAt(text, 1, 2)
		if second < 0 || second > 59 {
			return 0, false
		}
		at += time.Duration(second) * time.Second
		text = text[3:]
		if text != "" && strings.IndexByte(".,", text[0]) >= 0 {
			n := 1
			unit := 100 * time.Millisecond
			for ; n < len(text) && text[n] >= '0' && text[n] <= '9'; n++ {
				if n <= 6 {
					at += time.Duration(text[n]-'0') * unit
					unit /= 10
				}
			}
			if n == 1 {
				return 0, false
			}
			text = text[n:]
		}
	}
	*s = text
	return at, true
}

// parseZone reads "", "Z", "+01:00" or "+0100".
func parseZone(s string) (offset time.Duration, naive, ok bool) {
	switch {
	case s == "":
		return 0, true, true
	case s == "Z" || s == "z":
		return 0, false, true
	case s[0] != '+' && s[0] != '-':
		return 0, false, false
	}
	s, negative := s[1:], s[0] == '-'
	if len(s) == 5 && s[2] == ':' {
		s = s[:2] + s[3:]
	}
	hour, minute := numberAt(s, 0, 2), numberAt(s, 2, 2)
	if len(s) != 4 || hour < 0 || hour > 23 || minute < 0 || minute > 59 {
		return 0, false, false
	}
	offset = time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	if negative {
		offset = -offset
	}
	return offset, false, true
}

// stamp is a time as Phoenix writes it: microseconds, none when they are zero,
// and the offset in digits.
func stamp(t time.Time) string {
	t = t.UTC()
	if t.Nanosecond()/1000 == 0 {
		return t.Format("2006-01-02T15:04:05+00:00")
	}
	return t.Format("2006-01-02T15:04:05.000000+00:00")
}
