package rig

import (
	"encoding/json"
	"strings"
)

// SlackMessage is a message as local-slack keeps it.
type SlackMessage struct {
	TS          string           `json:"ts"`
	ThreadTS    string           `json:"thread_ts"` // of a reply: its parent's ts
	User        string           `json:"user"`
	BotID       string           `json:"bot_id"`
	Text        string           `json:"text"`
	Subtype     string           `json:"subtype"`      // "ephemeral" for one that EphemeralTo alone sees
	EphemeralTo string           `json:"ephemeral_to"` //
	Blocks      []map[string]any `json:"blocks"`
	Raw         json.RawMessage  `json:"-"`
}

// BlockID is the block_id of the first block, "" without blocks.
func (m SlackMessage) BlockID() string {
	if len(m.Blocks) == 0 {
		return ""
	}
	id, _ := m.Blocks[0]["block_id"].(string)
	return id
}

// Shown is every text in the blocks, in order, one a line: what a reader sees.
func (m SlackMessage) Shown() string { return shown(m.Blocks) }

// Button is the action of tapping the element with this action_id, as Click
// takes it; false when the message has none.
func (m SlackMessage) Button(actionID string) (map[string]any, bool) {
	return action(m.Blocks, actionID, "")
}

// Option is the action of choosing, in the overflow menu or select with this
// action_id, the option whose text or value contains want; false without one.
func (m SlackMessage) Option(actionID, want string) (map[string]any, bool) {
	return action(m.Blocks, actionID, want)
}

// Actions are the action_ids in the message, in order.
func (m SlackMessage) Actions() []string { return actionIDs(m.Blocks) }

// shown collects the texts below v in order.
func shown(v any) string {
	var lines []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []map[string]any:
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			// In the order in which Slack draws them.
			for _, key := range []string{"title", "label", "text", "fields", "elements", "element", "accessory", "options", "hint", "placeholder", "initial_value"} {
				if s, ok := v[key].(string); ok {
					lines = append(lines, s)
				} else {
					walk(v[key])
				}
			}
		}
	}
	walk(v)
	return strings.Join(lines, "\n")
}

// elements calls f for each interactive element below blocks.
func elements(blocks []map[string]any, f func(blockID string, element map[string]any) (stop bool)) {
	var walk func(blockID string, v any) bool
	walk = func(blockID string, v any) bool {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				if walk(blockID, x) {
					return true
				}
			}
		case map[string]any:
			if id, ok := v["action_id"].(string); ok && id != "" {
				return f(blockID, v)
			}
			for _, key := range []string{"accessory", "elements", "element"} {
				if walk(blockID, v[key]) {
					return true
				}
			}
		}
		return false
	}
	for _, b := range blocks {
		id, _ := b["block_id"].(string)
		if walk(id, b) {
			return
		}
	}
}

func actionIDs(blocks []map[string]any) []string {
	var ids []string
	elements(blocks, func(_ string, e map[string]any) bool {
		ids = append(ids, e["action_id"].(string))
		return false
	})
	return ids
}

func action(blocks []map[string]any, actionID, option string) (map[string]any, bool) {
	var out map[string]any
	elements(blocks, func(blockID string, e map[string]any) bool {
		if e["action_id"] != actionID {
			return false
		}
		got := map[string]any{"type": e["type"], "action_id": actionID, "block_id": blockID}
		for _, key := range []string{"value", "text"} {
			if v, ok := e[key]; ok {
				got[key] = v
			}
		}
		if option != "" {
			chosen := findOption(e, option)
			if chosen == nil {
				return false
			}
			got["selected_option"] = chosen
		}
		out = got
		return true
	})
	return out, out != nil
}

// findOption is the option of a menu whose text or value contains want.
func findOption(element map[string]any, want string) map[string]any {
	groups := []any{element}
	if g, ok := element["option_groups"].([]any); ok {
		groups = append(groups, g...)
	}
	for _, g := range groups {
		options, _ := g.(map[string]any)["options"].([]any)
		for _, o := range options {
			o, _ := o.(map[string]any)
			text, _ := o["text"].(map[string]any)
			words, _ := text["text"].(string)
			value, _ := o["value"].(string)
			if strings.Contains(words, want) || strings.Contains(value, want) {
				return o
			}
		}
	}
	return nil
}
