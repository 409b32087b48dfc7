package slackd

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spanbot/spanbot/internal/sandbox/blockkit"
)

// Slack's limits of a message (docs.slack.dev, chat.postMessage and block-kit;
// maxCharacters is in no table: it is what people measured).
const (
	maxBlocks     = 50
	maxCharacters = 13_200
	maxText       = 40_000
	maxUpdate     = 4_000 // bytes, chat.update and chat.postEphemeral
	maxMetadata   = 8_000
)

// checkBlocks is a refusal of a message's blocks, and false for good ones.
func checkBlocks(blocks any) (answer, bool) {
	list, is := blocks.([]any)
	if !is {
		return no("invalid_blocks_format"), true
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return no("invalid_blocks_format"), true
	}
	if len(list) > maxBlocks {
		return wrong("invalid_blocks", []string{fmt.Sprintf("no more than %d items allowed [json-pointer:/blocks]", maxBlocks)}), true
	}
	if problems := blockkit.ValidateMessage(raw); len(problems) > 0 {
		return wrong("invalid_blocks", pointers(problems, "")), true
	}
	if blockkit.Characters(raw) > maxCharacters {
		return no("msg_blocks_too_long"), true
	}
	return answer{}, false
}

// checkView is a refusal of a view of that type, and false for a good one.
func checkView(v obj, want string) (answer, bool) {
	if v == nil {
		return wrong("invalid_arguments", []string{"missing required field: view"}), true
	}
	raw, err := json.Marshal(v)
	switch {
	case err != nil:
		return no("invalid_arguments"), true
	case len(raw) > 250_000:
		return no("view_too_large"), true
	case v["type"] != want:
		return wrong("invalid_arguments", []string{fmt.Sprintf("must be %q [json-pointer:/view/type]", want)}), true
	}
	if problems := blockkit.ValidateView(raw); len(problems) > 0 {
		return wrong("invalid_arguments", pointers(problems, "/view")), true
	}
	return answer{}, false
}

func pointers(problems []blockkit.Problem, below string) []string {
	list := make([]string, len(problems))
	for i, p := range problems {
		path := p.Path
		if below != "" && !strings.HasPrefix(path, below) {
			path = below + path
		}
		list[i] = fmt.Sprintf("%s [json-pointer:%s]", p.Text, path)
	}
	return list
}

// checkMessage is a refusal of what a message says, and false for a good one.
func checkMessage(c call, most int) (answer, bool) {
	blocks, hasBlocks := c.args["blocks"]
	text := c.text("text")
	switch {
	case hasBlocks:
		if a, bad := checkBlocks(blocks); bad {
			return a, true
		}
	case strings.TrimSpace(text) == "":
		return no("no_text"), true
	}
	size := utf8.RuneCountInString(text)
	if most == maxUpdate {
		size = len(text)
	}
	if size > most {
		return no("msg_too_long"), true
	}
	meta, given := c.args["metadata"]
	if !given {
		return answer{}, false
	}
	m, is := meta.(obj)
	if !is {
		return no("invalid_metadata_format"), true
	}
	if len(m) == 0 {
		return answer{}, false
	}
	_, named := m["event_type"].(string)
	_, held := m["event_payload"].(obj)
	if !named || !held {
		return no("invalid_metadata_schema"), true
	}
	if raw, err := json.Marshal(m); err != nil || len(raw) > maxMetadata {
		return no("metadata_too_large"), true
	}
	return answer{}, false
}

// named gives blocks without a block_id one, as Slack does.
func (s *Server) named(blocks any) []any {
	list, _ := copied(blocks).([]any)
	for _, b := range list {
		if b, is := b.(obj); is {
			if id, _ := b["block_id"].(string); id == "" {
				b["block_id"] = s.id("", 5)
			}
		}
	}
	return list
}
