package slackui

import (
	"fmt"

	"github.com/slack-go/slack"
)

// EnoughBlockID is the block_id by which the message is found that says that a
// route has enough judgements under a rubric's hash, at one look.
func EnoughBlockID(route, rubric string, size int) string {
	return fmt.Sprintf("enough:%s:%s:%d", route, rubric, size)
}

// DrawEnough draws the message that a route has enough judgements. line is how
// far it came.
func DrawEnough(blockID, route, line string) Message {
	const rest = "No more cards are posted here. Open ones can still be judged, and whoever runs Spanbot can ask for more: a smaller width, or more labels, under stop in the configuration."
	head := slack.NewSectionBlock(plain("🏁 "+clean(route)+" has enough judgements: "+clean(line)+"."), nil, nil)
	head.BlockID = blockID
	return Message{Text: escape("🏁 " + clean(route) + " has enough judgements: " + clean(line) + "."), Blocks: []slack.Block{head, plainNote(rest)}}
}
