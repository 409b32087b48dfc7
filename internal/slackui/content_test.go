package slackui

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/review"
)

// An excerpt may keep nothing of the calls but their number.
func TestToolCalls_OfWhichNoneIsShown(t *testing.T) {
	s := chatSpan()
	s.ToolCalls = []review.ToolCall{{Arguments: review.Text{More: 3}}}
	m := DrawCard(cardOf(s, review.Card{State: review.Open}))
	valid(t, m)
	b, err := json.Marshal(m.Blocks)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "3, none of them shown") {
		t.Errorf("the card says %s", b)
	}
}
