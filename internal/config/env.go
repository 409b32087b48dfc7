package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"unicode"
)

// env is the value of an environment variable, "" when it is not set. Compose
// files pass unset variables on as empty ones, so empty is not set.
func (l *loader) env(name string) string {
	if l.src.Env == nil {
		return ""
	}
	v, _ := l.src.Env(name)
	return strings.TrimSpace(v)
}

// lookup is a setting's value from flag or environment, and what set it:
// "--listen", "PHOENIX_PROJECT_NAME".
func (l *loader) lookup(s Setting) (value, from string) {
	if v, ok := l.src.Flags[s.Flag]; ok && s.Flag != "" {
		return strings.TrimSpace(v), "--" + s.Flag
	}
	for _, name := range append([]string{s.Env}, s.Aliases...) {
		if v := l.env(name); v != "" {
			return v, name
		}
	}
	return "", ""
}

// given reports whether flag or environment say anything, right or wrong.
func (l *loader) given(env string) bool {
	s := setting(env)
	_, from := l.lookup(s)
	return from != "" || s.Secret && l.env(env+"_FILE") != ""
}

// set reads a setting from file, environment and flag; a later one wins. A
// wrong value is a mistake even where another one wins.
func set[T any](l *loader, env string, file fileSettings, to *T, parse func(string) (T, error)) {
	if f, ok := file.values[setting(env).YAML]; ok {
		read(l, f, to, parse)
	}
	override(l, env, to, parse)
}

// override reads a setting from environment and flag.
func override[T any](l *loader, env string, to *T, parse func(string) (T, error)) {
	s, from := l.lookup(setting(env))
	if from == "" {
		return
	}
	v, err := parse(s)
	if err != nil {
		l.elsewhere(from, err.Error())
		return
	}
	*to = v
}

// phoenixEndpoint reads Phoenix's address by the names that the official client
// reads, in its order. Its default, http://localhost:6006, does not count as
// said; neither does OTEL_EXPORTER_OTLP_ENDPOINT, which need not be Phoenix.
func (l *loader) phoenixEndpoint(c *Config, file fileSettings) {
	if f, ok := file.values["phoenix.endpoint"]; ok {
		read(l, f, &c.Phoenix.Endpoint, parsePhoenix)
	}
	s := setting("PHOENIX_ENDPOINT")
	s.Aliases = slices.DeleteFunc(slices.Clone(s.Aliases), func(a string) bool { return a == "PHOENIX_HOST" })
	v, from := l.lookup(s)
	if host := l.env("PHOENIX_HOST"); from == "" && host != "" {
		v, from = "http://"+hostPort(host, l.env("PHOENIX_PORT")), "PHOENIX_HOST"
	}
	if from == "" {
		return
	}
	u, err := parsePhoenix(v)
	if err != nil {
		l.elsewhere(from, err.Error())
		return
	}
	c.Phoenix.Endpoint = u
}

// hostPort is the address of a server that was told to listen on host and port.
func hostPort(host, port string) string {
	switch host {
	case "0.0.0.0":
		host = "127.0.0.1"
	case "::", "[::]":
		host = "::1"
	}
	// Kubernetes sets PHOENIX_PORT=tcp://10.0.0.1:6006 for a service of that name.
	if port == "" || strings.Contains(port, "/") {
		port = "6006"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// secret reads a secret from its variable, or from the file that the variable's
// _FILE form names.
func (l *loader) secret(env string) Secret {
	direct, path := l.env(env), l.env(env+"_FILE")
	switch {
	case direct != "" && path != "":
		l.elsewhere(env, "it is set, and "+env+"_FILE too; remove one")
		return ""
	case path == "":
		return Secret(direct)
	}
	data, err := l.src.ReadFile(path)
	if err != nil {
		l.elsewhere(env+"_FILE", fmt.Sprintf("cannot read %s: %s", path, cause(err)))
		return ""
	}
	s := strings.TrimSpace(string(data))
	if s == "" {
		l.elsewhere(env+"_FILE", path+" is empty")
	}
	return Secret(s)
}

// token reads a secret that is one word.
func (l *loader) token(env string) Secret {
	s := l.secret(env)
	if strings.ContainsFunc(s.Reveal(), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r > unicode.MaxASCII }) {
		l.elsewhere(env, "it holds a blank, a line break or a character that no key has; copy it again")
		return ""
	}
	return s
}

// slackTokens says what Slack's tokens are, by how they start.
var slackTokens = []struct{ prefix, what, env string }{
	{"xoxb-", "a bot token", "SLACK_BOT_TOKEN"},
	{"xapp-", "an app-level token", "SLACK_APP_TOKEN"},
	{"xoxp-", "a user token; Spanbot wants the bot's, xoxb-…", ""},
	{"xoxe", "a rotating token; Spanbot wants the bot's, xoxb-…: switch token rotation off", ""},
}

// slackToken reads one of Slack's tokens. Only a swap is refused: emulators
// make up their own.
func (l *loader) slackToken(env, prefix string) Secret {
	s := l.token(env)
	for _, t := range slackTokens {
		if !strings.HasPrefix(s.Reveal(), t.prefix) || t.prefix == prefix {
			continue
		}
		text := "this is " + t.what
		if t.env != "" {
			text += "; it belongs into " + t.env
		}
		l.elsewhere(env, text)
	}
	return s
}

// elsewhere notes a mistake that does not stand in the YAML file.
func (l *loader) elsewhere(path, text string) {
	l.mistakes = append(l.mistakes, Mistake{Path: path, Text: text})
}

// missing notes a setting that is needed and not there.
func (l *loader) missing(env, why string) {
	text := setting(env).missing()
	if why != "" {
		text += ". " + why
	}
	l.mistakes = append(l.mistakes, Mistake{Text: text, Missing: true})
}

func (l *loader) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

// cause is the reason of a file error, without the path that was said already.
func cause(err error) string {
	var pe *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	case errors.As(err, &pe):
		return pe.Err.Error()
	}
	return err.Error()
}
