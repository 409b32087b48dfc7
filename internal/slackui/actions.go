package slackui

import (
	"strconv"
	"strings"
)

// Action is what a person tapped. It is the action_id, or, behind ⋯, the last
// part of the option's value.
type Action string

// Actions.
const (
	Up       Action = "up"       // 👍
	Down     Action = "down"     // 👎
	Annotate Action = "annotate" // open the form
	Details  Action = "details"  // open the details
	Trace    Action = "trace"    // show the trace in the thread
	Skip     Action = "skip"     // close without a label
	Withdraw Action = "withdraw" // take one's judgement back, from the form
	Page     Action = "page"     // another page of the details
	Again    Action = "again"    // send to Phoenix again what it refused
	Pick     Action = "pick"     // a span chosen in an outline: open its form
)

// ChooseMost is how many answers of a study a card has buttons for.
const ChooseMost = 5

const choosePrefix = "choose-"

// Choose is the button of the rubric's label in that place, in a study.
func Choose(i int) Action { return Action(choosePrefix + strconv.Itoa(i)) }

// Chosen is the place of the label whose button it is; false for another action.
func (a Action) Chosen() (int, bool) {
	n, ok := strings.CutPrefix(string(a), choosePrefix)
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(n)
	return i, err == nil && i >= 0
}

// Ids in blocks and views. They are the wire between a message that was drawn
// months ago and the code of today: never reuse one for another meaning.
const (
	actionMore = "more" // the overflow menu: the option's value names the action
	actionOpen = "open" // a link; Slack reports the tap all the same

	actionRefresh = "refresh" // draws the App Home anew

	blockJudge   = "judge"
	blockAgain   = "again"
	blockIO      = "io"
	blockTarget  = "target"
	blockLabel   = "label"
	blockScore   = "score"
	blockWhy     = "explanation"
	blockFix     = "correction"
	callbackForm = "form"
	callbackRead = "read" // details and notes: nothing to submit
)
