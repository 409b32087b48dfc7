package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spanbot/spanbot/internal/review"
)

// The readers of single values. Their errors say what was found and what is
// allowed; where it was found is the caller's to say. No error of the standard
// library is passed on: most repeat the input, which may hold a password.

var durationPart = regexp.MustCompile(`^(\d+(?:\.\d+)?)(w|d|h|ms|m|s)`)

var durationUnits = map[string]time.Duration{
	"w": 7 * 24 * time.Hour, "d": 24 * time.Hour, "h": time.Hour,
	"m": time.Minute, "s": time.Second, "ms": time.Millisecond,
}

// longest bounds every duration: what is longer is a slip, and must not overflow.
const longest = 10 * 365 * 24 * time.Hour

// parseDuration reads "24h", "7d", "1w", "1d12h" and "0".
func parseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf(`%q is not a duration; want one such as "90m", "24h", "7d" or "2w"`, s)
	if s == "0" {
		return 0, nil
	}
	var sum float64
	rest := s
	for rest != "" {
		m := durationPart.FindStringSubmatch(rest)
		if m == nil {
			return 0, bad
		}
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, bad
		}
		sum += n * float64(durationUnits[m[2]])
		rest = rest[len(m[0]):]
	}
	switch {
	case s == "":
		return 0, bad
	case sum > float64(longest):
		return 0, fmt.Errorf("%s is longer than ten years", s)
	}
	return time.Duration(sum), nil
}

var reviewerID = regexp.MustCompile(`^[UWS][A-Z0-9]{5,}$`)

// parseReviewer reads who may judge: a user, a user group, or the channel.
func parseReviewer(s string) (string, error) {
	switch {
	case strings.EqualFold(s, review.ChannelMembers):
		return review.ChannelMembers, nil
	case strings.EqualFold(s, everybody):
		return everybody, nil
	case reviewerID.MatchString(s):
		return s, nil
	case strings.HasPrefix(s, "@"):
		return "", fmt.Errorf(`%q is a name, and names change; want the id, as U01ABCDEF of a person or S01ABCDEF of a user group (their profile in Slack → ⋮ → Copy member ID), or "channel"`, s)
	}
	return "", fmt.Errorf(`%q is no reviewer; want the id of a person (U01ABCDEF) or of a user group (S01ABCDEF), or "channel"`, s)
}

func parseBool(s string) (bool, error) {
	w, err := word(s, []string{"true", "false"})
	return w == "true", err
}

// ParseSince reads a moment of the past: a duration before now ("24h", "7d"), a
// date ("2026-11-20", in local time) or an RFC 3339 time.
func ParseSince(s string, now time.Time) (time.Time, error) {
	if d, err := parseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf(`%q is no moment; want a duration such as "24h" or "7d", a date such as "2026-11-20", or a time such as "2026-11-20T09:00:00Z"`, s)
}

// formatDuration writes a duration as people write it in the file.
func formatDuration(d time.Duration) string {
	switch {
	case d > 0 && d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d > 0 && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}

// positiveDuration is a duration of at least a minute.
func positiveDuration(s string) (time.Duration, error) {
	d, err := parseDuration(s)
	if err == nil && d < time.Minute {
		return 0, fmt.Errorf("%s is too short; want a minute or more", s)
	}
	return d, err
}

// parsePoints reads a width in points of a percentage, "3" or "2.5", as a share.
func parsePoints(s string) (float64, error) {
	f, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(s, "%")), 64)
	switch {
	case err != nil || math.IsNaN(f):
		return 0, fmt.Errorf("%q is no width; want points such as 3", s)
	case f > 0 && f < 0.2:
		return 0, fmt.Errorf("%s points would take more than 100,000 labels; did you mean %s?", s, strconv.FormatFloat(f*100, 'f', -1, 64))
	case f <= 0 || f > 50:
		return 0, fmt.Errorf("%s is outside the range; want 0.2 to 50 points", s)
	}
	return f / 100, nil
}

// parseShare reads a share as "10%" or "0.1".
func parseShare(s string) (float64, error) {
	num, percent := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf(`%q is not a share; want one such as 10%% or 0.1`, s)
	}
	if percent {
		f /= 100
	}
	switch {
	case f < 0:
		return 0, fmt.Errorf("%s is less than nothing; want 0%% to 100%%", s)
	case f > 1 && !percent && f <= 100:
		return 0, fmt.Errorf("%s is more than every span; did you mean %s%%?", s, s)
	case f > 1:
		return 0, fmt.Errorf("%s is more than every span; want 0%% to 100%%", s)
	}
	return f, nil
}

// parseCount reads a whole number between low and high.
func parseCount(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a whole number; want %d to %d", s, low, high)
	case n < low || n > high:
		return 0, fmt.Errorf("%d is outside the range; want %d to %d", n, low, high)
	}
	return n, nil
}

func parseNumber(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return f, nil
}

// parseURL reads the base URL of a web service, and takes trailing slashes off.
func parseURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", errors.New("not a URL; want one such as https://phoenix.example.com")
	case u.Scheme != "http" && u.Scheme != "https":
		if at := blot(s); !strings.Contains(s, "//") && !strings.ContainsAny(s, " @") {
			return "", fmt.Errorf("%q has no http:// or https://; did you mean %q?", at, "http://"+at)
		}
		return "", errors.New("the URL must start with http:// or https://")
	case u.Hostname() == "":
		return "", errors.New("the URL names no host")
	case u.User != nil:
		return "", errors.New("a user or password in the URL would show in links and logs; put them into PHOENIX_API_KEY or PHOENIX_CLIENT_HEADERS")
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New(`the base URL must end before "?" and "#"`)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// parsePhoenix reads Phoenix's base URL. People paste the collector's address,
// so its path is taken off, as the official client does.
func parsePhoenix(s string) (string, error) {
	s, err := parseURL(s)
	return strings.TrimRight(strings.TrimSuffix(s, "/v1/traces"), "/"), err
}

// parseSlackAPI reads the base of Slack's methods; slack-go appends to it, so
// it ends with a slash.
func parseSlackAPI(s string) (string, error) {
	s, err := parseURL(s)
	if err != nil {
		return "", err
	}
	return s + "/", nil
}

// checkRedis looks at a Redis URL without repeating it: it may hold a password.
func checkRedis(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("not a URL; want one such as redis://127.0.0.1:6379/0 (characters such as @ / # in a password must be percent-encoded)")
	case !slices.Contains([]string{"redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "rediss+sentinel", "rediss+cluster"}, u.Scheme):
		return errors.New("the URL must start with redis://, redis+sentinel:// or redis+cluster:// (rediss with TLS), or unix:// (socket)")
	case u.Scheme == "unix" && u.Path == "":
		return errors.New("the URL names no socket; want one such as unix:///run/redis.sock")
	case u.Scheme != "unix" && u.Hostname() == "":
		return errors.New("the URL names no host; want one such as redis://127.0.0.1:6379/0")
	}
	return nil
}

// hasPassword reports whether a Redis URL holds a secret.
func hasPassword(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return strings.Contains(s, "@")
	}
	_, set := u.User.Password()
	q := u.Query()
	return set || q.Has("password") || q.Has("sentinel_password")
}

// parseLevel reads a log level.
func parseLevel(s string) (slog.Level, error) {
	w, err := word(s, []string{"debug", "info", "warn", "error"})
	if err != nil {
		return 0, err
	}
	var l slog.Level
	err = l.UnmarshalText([]byte(w))
	return l, err
}

// parseListen reads an address to listen on.
func parseListen(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if _, err := strconv.Atoi(s); err == nil {
			return "", fmt.Errorf("%q has no host; did you mean %q?", s, "127.0.0.1:"+s)
		}
		return "", fmt.Errorf("%q is not an address; want host:port, as 127.0.0.1:8080", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("%q is not a port; want 0 to 65535", port)
	}
	if strings.ContainsFunc(host, unicode.IsSpace) {
		return "", fmt.Errorf("%q is not a host", host)
	}
	return s, nil
}

var (
	channelID   = regexp.MustCompile(`^[CG][A-Z0-9]{2,}$`)
	channelLink = regexp.MustCompile(`/archives/([CG][A-Z0-9]{2,})`)
	routeName   = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)
)

// parseChannel reads a channel id, "#name" or "name": unquoted, YAML takes
// "#name" for a comment, so people leave the # away.
func parseChannel(s string) (string, error) {
	if channelID.MatchString(s) {
		return s, nil
	}
	if m := channelLink.FindStringSubmatch(s); m != nil {
		return "", fmt.Errorf("a link is not a channel; did you mean %q?", m[1])
	}
	name := strings.TrimPrefix(s, "#")
	lower := strings.ToLower(strings.ReplaceAll(name, " ", "-"))
	switch {
	case name == "":
		return "", errors.New(`no channel; want its id, as C01ABCDEF, or "#name"`)
	case strings.ContainsAny(name, "/#.,:@<>|") || len(name) > 80*4:
		return "", fmt.Errorf(`%q is not a channel; want its id, as C01ABCDEF, or "#name"`, s)
	case lower != name:
		return "", fmt.Errorf("channel names have no capitals and no spaces; did you mean %q?", "#"+lower)
	}
	return "#" + name, nil
}

// parseRouteName checks a name that becomes part of buttons and of Redis keys.
func parseRouteName(s string) (string, error) {
	if routeName.MatchString(s) {
		return s, nil
	}
	if len([]rune(s)) > 32 {
		return "", fmt.Errorf("%d characters are too many; want at most 32 of a-z, 0-9, - and _", len([]rune(s)))
	}
	tidy := regexp.MustCompile(`[^a-z0-9_-]+`).ReplaceAllString(strings.ToLower(s), "-")
	if tidy = strings.Trim(tidy, "-"); tidy != "" && tidy != s {
		return "", fmt.Errorf("only a-z, 0-9, - and _ are possible; did you mean %q?", tidy)
	}
	return "", errors.New("only a-z, 0-9, - and _ are possible")
}

// parseText is any text of one line that is not blank.
func parseText(s string) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "", errors.New("it is empty")
	case strings.ContainsFunc(s, unicode.IsControl):
		return "", errors.New("it holds a line break or a control character")
	}
	return s, nil
}

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// parseHeaders reads PHOENIX_CLIENT_HEADERS in both of its forms: "k=v,k=v",
// URL-encoded, as the Python client does, and a JSON object, as the TypeScript
// client does. Errors never repeat a value.
func parseHeaders(s string) (map[string]Secret, error) {
	out := map[string]Secret{}
	add := func(k, v string) error {
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		switch {
		case !headerName.MatchString(k):
			return errors.New("a header name is empty or has characters that HTTP does not allow")
		case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return fmt.Errorf("the value of header %q holds a line break or a control character", k)
		}
		for have := range out {
			if strings.EqualFold(have, k) {
				return fmt.Errorf("header %q stands twice", k)
			}
		}
		out[k] = Secret(v)
		return nil
	}
	if s = strings.TrimSpace(s); strings.HasPrefix(s, "{") {
		var m map[string]string
		if json.Unmarshal([]byte(s), &m) != nil {
			return nil, errors.New(`not a JSON object of texts; want one such as {"x-team": "ml"}`)
		}
		for k, v := range m {
			if err := add(k, v); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	for i, part := range strings.Split(s, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("part %d has no \"=\"; want k=v,k=v (a comma inside a value is %%2C)", i+1)
		}
		// PathUnescape, not QueryUnescape: a + is a plus here.
		name, err1 := url.PathUnescape(k)
		value, err2 := url.PathUnescape(v)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("part %d is not URL-encoded: a %% inside a value is %%25", i+1)
		}
		if err := add(name, value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// openAI is where OpenAI's own models are.
const openAI = "https://api.openai.com/v1"

// PhoenixGateway is the base URL that stands for Phoenix's own gateway to models.
const PhoenixGateway = "phoenix"

// parseModel reads the endpoint of models.
func parseModel(s string) (string, error) {
	if s == PhoenixGateway {
		return s, nil
	}
	s, err := parseURL(s)
	return strings.TrimRight(s, "/"), err
}

// parseWord reads a name without blanks.
func parseWord(s string) (string, error) {
	if strings.ContainsAny(s, " \t\n") {
		return "", errors.New("a model's name has no blanks")
	}
	return s, nil
}
