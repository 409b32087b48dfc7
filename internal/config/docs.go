package config

import (
	_ "embed"
	"strings"
)

// Example is the commented spanbot.yaml that `config init` writes.
//
//go:embed example.yaml
var Example []byte

//go:embed choosing.md
var choosing string

// SettingsTable is the table of all settings, in Markdown, as it stands in the
// README.
func SettingsTable() string {
	var b strings.Builder
	b.WriteString("| environment | YAML | flag | default | what it is |\n|---|---|---|---|---|\n")
	for _, s := range Settings() {
		env := code(s.Env)
		if s.Secret {
			env += " ⚿"
		}
		help := s.Help
		if len(s.Aliases) > 0 {
			names := make([]string, len(s.Aliases))
			for i, a := range s.Aliases {
				names[i] = code(a)
				if a == "PHOENIX_HOST" {
					names[i] += " with `PHOENIX_PORT`"
				}
			}
			help += ". Also read: " + strings.Join(names, ", ")
		}
		flag := ""
		if s.Flag != "" {
			flag = code("--" + s.Flag)
		}
		row(&b, env, code(s.YAML), flag, s.Default, help)
	}
	return b.String()
}

// Reference is docs/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

One route needs no file: the environment is enough. For more routes, or rubrics
of your own, there is ` + "`spanbot.yaml`" + `; ` + "`spanbot config init`" + ` writes a commented
one and ` + "`spanbot config check`" + ` finds every mistake in it without connecting to
anything.

A flag counts before the environment, the environment before the file, the file
before the default. Where the file names routes, the environment's one route
(named ` + code(oneRoute) + `) does not exist.

⚿ is a secret: it comes from the environment alone, or from the file whose path
stands in the variable's ` + "`_FILE`" + ` form (` + "`SLACK_BOT_TOKEN_FILE=/run/secrets/slack`" + `).
An empty variable counts as not set.

## All settings

`)
	b.WriteString(SettingsTable())
	b.WriteString("\n## spanbot.yaml\n\nDurations are written as `90m`, `24h`, `7d` or `2w`. A list of one may be a single value. Unknown keys are mistakes.\n")
	for _, s := range Sections() {
		title := "Top of the file"
		if s.Path != "" {
			title = code(s.Path)
		}
		b.WriteString("\n### " + title + "\n\n" + s.Help + "\n\n| key | value | default | what it is |\n|---|---|---|---|\n")
		for _, k := range s.Keys {
			row(&b, code(k.Name), k.Form, k.Default, k.Help)
		}
	}
	b.WriteString("\n" + choosing + "## Example\n\n```yaml\n" + string(Example) + "```\n")
	return b.String()
}

func row(b *strings.Builder, cells ...string) {
	for _, c := range cells {
		b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
