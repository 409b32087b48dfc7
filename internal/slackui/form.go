package slackui

import (
	"strings"

	"github.com/slack-go/slack"

	"github.com/spanbot/spanbot/internal/review"
)

// radioMost is how many labels are shown as radio buttons; more become a select.
const radioMost = 10

// FormView is all that the form shows.
type FormView struct {
	Ref      review.Ref
	Rubric   review.Rubric
	Span     *review.Span // what is judged; nil: Summary
	Summary  string
	Own      *review.Judgement // prefills the form, OnTrace too; nil: the person has said nothing yet
	Channel  string            // where the card is, for the judgement's metadata
	Message  string
	ThreadTS string
}

// DrawForm draws the form: what, how much, why, applies to what. The fields'
// block_ids are review.Field: Slack keeps what was typed under them and shows
// errors there.
func DrawForm(v FormView) slack.ModalViewRequest {
	own := review.Judgement{}
	if v.Own != nil {
		own = *v.Own
	}
	blocks := v.head()
	if len(v.Rubric.Labels) > 0 {
		blocks = append(blocks, v.label(own))
	}
	if v.Rubric.Range != nil {
		blocks = append(blocks, v.score(own))
	}
	why := slack.NewPlainTextInputBlockElement(plain("What made you decide? Others learn from this."), blockWhy)
	why.Multiline, why.MaxLength = true, review.MaxExplanation
	why.InitialValue, _ = review.CutWords(clean(own.Explanation), review.MaxExplanation)
	b := slack.NewInputBlock(blockWhy, plain("Why?"), nil, why)
	b.Optional = true
	fix := slack.NewPlainTextInputBlockElement(plain("What should it have said?"), blockFix)
	fix.Multiline, fix.MaxLength = true, review.MaxExplanation
	fix.InitialValue, _ = review.CutWords(clean(own.Correction), review.MaxExplanation)
	right := slack.NewInputBlock(blockFix, plain("Correction"), plain("Becomes part of the dataset, beside what the model said."), fix)
	right.Optional = true
	if v.Rubric.Study != nil {
		blocks = append(blocks, b) // it is about the case, and corrects nothing
	} else {
		blocks = append(blocks, b, right, v.target(own))
	}
	if v.Own != nil {
		kind := []string{}
		if own.OnTrace {
			kind = append(kind, string(review.FieldTarget))
		}
		button := slack.NewButtonBlockElement(string(Withdraw), encodeValue(v.Ref, v.Rubric.Hash(), kind...), plain("Withdraw my judgement"))
		button.Style = slack.StyleDanger
		blocks = append(blocks, slack.NewActionBlock("withdraw", button))
	}
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: callbackForm, Title: plain("Annotate"), Submit: plain("Save"), Close: plain("Cancel"),
		Blocks: slack.Blocks{BlockSet: blocks},
		PrivateMetadata: place{Value: encodeValue(v.Ref, v.Rubric.Hash()), Channel: v.Channel, Message: v.Message,
			Thread: v.ThreadTS, OnTrace: own.OnTrace}.encode(),
	}
}

// head says what is judged and by which instructions.
func (v FormView) head() []slack.Block {
	var out []slack.Block
	var about []slack.RichTextElement
	if v.Span != nil {
		about = content(partsOf(v.Span.Excerpt()), 900)
	} else if s := strings.TrimSpace(clean(v.Summary)); s != "" {
		about = []slack.RichTextElement{quote(textOf(s, nil))}
	}
	if len(about) > 0 {
		out = append(out, slack.NewRichTextBlock("", about...))
	}
	if t := strings.TrimSpace(clean(v.Rubric.Instructions)); t != "" {
		t, cut := review.CutWords(t, 2000)
		if cut > 0 {
			t += " …"
		}
		out = append(out, slack.NewRichTextBlock("", section(textOf(t, italic))))
	}
	if len(out) > 0 {
		out = append(out, slack.NewDividerBlock())
	}
	return out
}

func (v FormView) label(own review.Judgement) slack.Block {
	var options []*slack.OptionBlockObject
	var first *slack.OptionBlockObject
	for _, l := range v.Rubric.Labels {
		if len(options) == 100 {
			break // Slack's limit; review.Rubric.Check refuses more
		}
		text := l.Name
		if sign := v.Rubric.Sign(l.Name); sign != "" {
			text = sign + " " + text
		}
		o := option(text, bounded(l.Name, 150))
		options = append(options, o)
		if l.Name == own.Label {
			first = o
		}
	}
	var e slack.BlockElement
	if len(options) <= radioMost {
		r := slack.NewRadioButtonsBlockElement(blockLabel, options...)
		r.InitialOption = first
		e = r
	} else {
		s := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("Choose an answer"), blockLabel, options...)
		s.InitialOption = first
		e = s
	}
	b := slack.NewInputBlock(blockLabel, plain(line(v.Rubric.Question, 1900)), nil, e)
	// A score or a few words alone are an answer, too, but not in a study.
	b.Optional = v.Rubric.Study == nil
	return b
}

func (v FormView) score(own review.Judgement) slack.Block {
	e := slack.NewNumberInputBlockElement(nil, blockScore, true)
	// Slack's own check of the bounds would say it in its own words, in its own
	// place; ours stands under the field in the same words everywhere.
	if l, ok := v.Rubric.Label(own.Label); own.Score != nil && (!ok || l.Score == nil || *l.Score != *own.Score) {
		e.InitialValue = review.FormatScore(*own.Score)
	}
	hint := "Left empty, the label's own score counts."
	if t := v.Rubric.RangeText(); t != "" {
		hint = strings.ToUpper(t[:1]) + t[1:] + ". " + hint
	}
	if len(v.Rubric.Labels) == 0 {
		hint, _, _ = strings.Cut(hint, " Left empty")
	}
	b := slack.NewInputBlock(blockScore, plain("Score"), plain(hint), e)
	b.Optional = true
	return b
}

func (v FormView) target(own review.Judgement) slack.Block {
	span, trace := option("this span", "span"), option("the whole trace", "trace")
	e := slack.NewRadioButtonsBlockElement(blockTarget, span, trace)
	e.InitialOption = span
	if own.OnTrace {
		e.InitialOption = trace
	}
	return slack.NewInputBlock(blockTarget, plain("Applies to"), nil, e)
}

// DrawWait is a window that opens at once while what it will show is fetched.
func DrawWait(title string) slack.ModalViewRequest {
	return DrawNote(title, "Loading…")
}

// DrawNote is a window with a sentence.
func DrawNote(title, text string) slack.ModalViewRequest {
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: callbackRead, Title: plain(line(title, 24)), Close: plain("Close"),
		Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewRichTextBlock("", section(textOf(clean(text), nil)))}},
	}
}
