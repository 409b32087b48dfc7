package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a token, key or password. However it is printed (fmt with any verb,
// slog, JSON, YAML), "[secret]" comes out; an empty one prints as nothing, so
// that a dump still tells what is set.
type Secret string

// Reveal is the secret itself, for the one place that sends it.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

// Format implements fmt.Formatter: without it, verbs that do not suit a string
// print the value behind the complaint.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText implements encoding.TextMarshaler, for JSON, XML and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
