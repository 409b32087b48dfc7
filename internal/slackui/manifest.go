package slackui

import (
	"bytes"
	"fmt"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"

	"github.com/spanbot/spanbot/internal/review"
)

// ManifestOptions say which app the manifest describes.
type ManifestOptions struct {
	Name    string // "" = Spanbot; ≤ 35 characters
	HTTPURL string // public base URL for HTTP mode; "" = Socket Mode
}

// The order and the limits are those of docs.slack.dev/reference/app-manifest.
// Token rotation stays off: it cannot be switched off again.
var manifest = template.Must(template.New("manifest").Parse(`display_information:
  name: "{{.Name}}"
  description: Review what your LLM application did, where your team already is.
  background_color: "#4a154b"
features:
  app_home:
    home_tab_enabled: true
    messages_tab_enabled: false
  bot_user:
    display_name: "{{.Name}}"
    always_online: true
  slash_commands:
    - command: /spanbot
{{- if .HTTPURL}}
      url: {{.HTTPURL}}/slack/commands
{{- end}}
      description: How Spanbot is doing, and how to judge a card
      usage_hint: status | help
      should_escape: false
oauth_config:
  scopes:
    bot:
{{- range .Scopes}}
      - {{.}}
{{- end}}
settings:
  event_subscriptions:
{{- if .HTTPURL}}
    request_url: {{.HTTPURL}}/slack/events
{{- end}}
    bot_events:
      - app_home_opened
  interactivity:
    is_enabled: true
{{- if .HTTPURL}}
    request_url: {{.HTTPURL}}/slack/interactive
{{- end}}
  org_deploy_enabled: false
  socket_mode_enabled: {{if .HTTPURL}}false{{else}}true{{end}}
  token_rotation_enabled: false
`))

// manifestScopes are what the bot uses; check names what each is for.
var manifestScopes = []string{"chat:write", "commands", "users:read", "channels:read", "groups:read", "channels:history", "groups:history"}

// Manifest is the Slack app manifest, YAML. The app-level token of Socket Mode
// cannot come from a manifest: it is made by hand.
func Manifest(o ManifestOptions) ([]byte, error) {
	if o.Name == "" {
		o.Name = "Spanbot"
	}
	// Quoted in the template: "123" and "true" are names, too.
	if n := utf8.RuneCountInString(o.Name); n > 35 || strings.TrimSpace(o.Name) != o.Name ||
		strings.ContainsAny(o.Name, "\"'\\{}[]:#&*!|>%@`") || strings.ContainsFunc(o.Name, unicode.IsControl) {
		return nil, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("%q cannot be the name of a Slack app; want up to 35 letters, digits, blanks and dashes", o.Name)}
	}
	var b bytes.Buffer
	err := manifest.Execute(&b, struct {
		ManifestOptions
		Scopes []string
	}{ManifestOptions{o.Name, strings.TrimRight(o.HTTPURL, "/")}, manifestScopes})
	return b.Bytes(), err
}
