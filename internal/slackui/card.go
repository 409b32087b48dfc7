package slackui

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/spanbot/spanbot/internal/review"
)

const (
	// cardBudget is the most characters of a whole message. Slack refuses one
	// somewhere above 13,000, entities counted, and does not say where.
	cardBudget = 8900
	// textBudget is the most bytes of the sentence for notifications: chat.update
	// takes 4,000.
	textBudget = 2800
	// quiet is how long Phoenix may take before a card says that it waits.
	quiet = time.Second
)

// Message is what Slack is sent.
type Message struct {
	Text   string        `json:"text"` // a full sentence, for notifications and screen readers
	Blocks []slack.Block `json:"blocks"`
}

// CardView is all that a card shows.
type CardView struct {
	Ref     review.Ref
	Project string
	Card    review.Card
	Rubric  review.Rubric     // without a name: the question is not known any more
	Span    *review.Span      // excerpt; nil: drawn from Card.Summary alone
	Names   map[string]string // by user id; an unknown one is shown as the id
	Phoenix string            // base URL of links, without trailing slash; "" = no links
	Notice  string            // one line for reviewers
	// Blind: it is of a blind study, whatever is known of its question.
	Blind bool
	// Revealed: a blind study is over, and a card that was answered says what was what.
	Revealed bool
	Now      time.Time
}

// DrawCard draws a card by its state: an open one in full, all others in two
// lines, so that a channel of fifty can be skimmed.
func DrawCard(v CardView) Message {
	if v.Card.State == review.Open || v.Card.State == review.Loose {
		return v.open()
	}
	return v.closed()
}

func (v CardView) open() Message {
	span := v.spanOrSummary()
	blocks := []slack.Block{
		slack.NewRichTextBlock(CardBlockID(v.Ref), section(textOf(line(v.question(), 300), bold))),
		note(v.facts(span)),
		slack.NewActionBlock(blockJudge, v.buttons()...),
	}
	blocks = append(blocks, v.lines()...)
	v.keep(blocks)
	shown := content(partsOf(span), cardBudget-characters(blocks))
	blocks = slices.Insert(blocks, 2, slack.Block(slack.NewRichTextBlock(blockIO, shown...)))
	return Message{Text: v.sentence(span), Blocks: blocks}
}

// facts are the span's; of a blind study none that would tell.
func (v CardView) facts(s review.Span) string {
	if v.blind() {
		return "side by side · which is which is told when all are answered"
	}
	return facts(s, v.Project, v.Phoenix)
}

func (v CardView) blind() bool { return v.Blind || v.Rubric.Study != nil && v.Rubric.Study.Blind }

// link is where Phoenix shows the span; "" for a blind card: what people said of it
// stands there, with what is what.
func (v CardView) link() string {
	if v.blind() {
		return ""
	}
	return spanLink(v.Phoenix, v.Ref.SpanID)
}

// DrawMinimalCard is the card for when Slack refuses the full one: question,
// link and buttons, none of the span's text.
func DrawMinimalCard(v CardView) Message {
	link := "Its content cannot be shown here."
	if l := v.link(); l != "" {
		link += " <" + l + "|Open it in Phoenix>, or tap ⋯ → Details."
	} else if v.blind() {
		link += " Tap ⋯ → Details."
	}
	return Message{
		Text: escape(line(v.question(), 300)) + " A span waits for your judgement.",
		Blocks: []slack.Block{
			slack.NewRichTextBlock(CardBlockID(v.Ref), section(textOf(line(v.question(), 300), bold))),
			note(link),
			slack.NewActionBlock(blockJudge, v.buttons()...),
		},
	}
}

func (v CardView) spanOrSummary() review.Span {
	if v.Span != nil {
		return *v.Span
	}
	return review.Span{ID: v.Ref.SpanID, TraceID: v.Ref.TraceID, Output: review.Text{Head: v.Card.Summary}}
}

func (v CardView) question() string {
	if q := strings.TrimSpace(v.Rubric.Question); q != "" {
		return q
	}
	return "What do you think of this?"
}

// hash is the rubric that the card's buttons carry.
func (v CardView) hash() string {
	if v.Rubric.Name == "" {
		return v.Card.Rubric
	}
	return v.Rubric.Hash()
}

// sentence is what notifications and screen readers get: it carries the content.
func (v CardView) sentence(s review.Span) string {
	t := line(v.question(), 300)
	if sum := s.Summary(600); sum != "" {
		t += " " + clean(sum)
	}
	return bounded(escape(t), textBudget)
}

func (v CardView) button(a Action, text string) slack.BlockElement {
	return slack.NewButtonBlockElement(string(a), encodeValue(v.Ref, v.hash()), plain(line(text, 72)))
}

func (v CardView) buttons() []slack.BlockElement {
	var out []slack.BlockElement
	if v.Rubric.Up != nil && v.Rubric.Down != nil {
		out = append(out, v.button(Up, "👍 "+v.Rubric.Up.Name), v.button(Down, "👎 "+v.Rubric.Down.Name))
	}
	if v.Rubric.Study != nil {
		for i, l := range v.Rubric.Labels[:min(ChooseMost, len(v.Rubric.Labels))] {
			out = append(out, v.button(Choose(i), l.Name))
		}
		return append(out, v.button(Annotate, "With a reason…"), v.overflow(Details, Skip))
	}
	if v.Rubric.Name != "" {
		out = append(out, v.button(Annotate, "Annotate…"))
	}
	if v.blind() { // the trace tells, too
		return append(out, v.overflow(Details, Skip))
	}
	return append(out, v.overflow(Details, Trace, Skip))
}

// overflow is the menu behind ⋯: actions, and the link to Phoenix last.
func (v CardView) overflow(actions ...Action) *slack.OverflowBlockElement {
	names := map[Action]string{Annotate: "Annotate…", Details: "Details", Trace: "Show the trace", Skip: "Skip"}
	if v.Rubric.Up != nil && v.Rubric.Down != nil {
		names[Up], names[Down] = "👍 "+v.Rubric.Up.Name, "👎 "+v.Rubric.Down.Name
	}
	var options []*slack.OptionBlockObject
	for _, a := range actions {
		if names[a] != "" {
			options = append(options, option(names[a], encodeValue(v.Ref, v.hash(), string(a))))
		}
	}
	if link := v.link(); link != "" {
		o := option("Open in Phoenix", encodeValue(v.Ref, v.hash(), actionOpen))
		o.URL = link
		options = append(options, o)
	}
	return slack.NewOverflowBlockElement(actionMore, options...)
}

func (v CardView) closed() Message {
	var head, said string
	actions := []Action{Up, Down, Annotate, Details}
	switch v.Card.State {
	case review.Judged:
		head, said = v.verdicts()
	case review.Skipped:
		who := v.name(v.Card.Closer)
		head, said = headSkipped+"  ·  "+escape(who), "Skipped by "+escape(who)
	case review.Expired:
		head = headExpired + "  ·  nobody judged it in time"
		said = "Closed: nobody judged it in time"
	default:
		head = headGone
		said = "This span no longer exists in Phoenix"
		actions = []Action{Details}
		if len(v.Card.Votes) > 0 {
			votes, _ := v.verdicts()
			head += "  ·  " + votes
		}
	}
	if v.Rubric.Name == "" {
		actions = []Action{Details}
	}
	menu := v.overflow(actions...)
	b := slack.NewSectionBlock(mrkdwn(bounded(head, 2800)), nil, slack.NewAccessory(menu))
	b.BlockID = CardBlockID(v.Ref)
	if len(menu.Options) == 0 {
		b.Accessory = nil
	}
	blocks := append([]slack.Block{b}, v.lines()...)
	text := said + "."
	if what := v.revealed(); what != "" {
		blocks = append(blocks, note(what))
		text += " " + what
	}
	if sum := line(v.Card.Summary, 300); sum != "" {
		blocks = append(blocks, plainNote(sum))
		text += " " + escape(sum)
	}
	v.keep(blocks)
	return Message{Text: bounded(text, textBudget), Blocks: blocks}
}

// revealed says what stood for what; "" while that is not told, or nothing was
// hidden.
func (v CardView) revealed() string {
	if !v.Revealed || !v.blind() || v.Card.State != review.Judged {
		return ""
	}
	var parts []string
	for _, l := range v.Rubric.Labels[:min(2, len(v.Rubric.Labels))] {
		if l.Stored != nil {
			parts = append(parts, l.Name+" was *"+inLabel(l.Stored.Name, 70)+"*")
		}
	}
	return strings.Join(parts, ", ")
}

// verdicts is who judged what: "👍 *correct* · Ana Silva — “nonsense words”".
// People of one verdict stand together; what does not fit is counted.
func (v CardView) verdicts() (shown, spoken string) {
	type group struct {
		label string
		names []string
		words string
	}
	var groups []*group
	byLabel := map[string]*group{}
	for _, o := range v.Card.Votes {
		if o.Withdrawn {
			continue
		}
		l := v.label(o)
		g := byLabel[l]
		if g == nil {
			g = &group{label: l}
			byLabel[l] = g
			groups = append(groups, g)
		}
		g.names = append(g.names, v.name(o.Reviewer))
		if o.Words != "" && g.words == "" {
			g.words = o.Words
		}
	}
	const most = 6    // names of one verdict
	const room = 2600 // bytes of verdicts; a section holds 3,000 characters
	var parts, heard []string
	size := 0
	for i, g := range groups {
		names := g.names
		if len(names) > most {
			names = append(names[:most:most], "and "+strconv.Itoa(len(g.names)-most)+" more")
		}
		count := ""
		if len(g.names) > 1 {
			count = " " + strconv.Itoa(len(g.names))
		}
		p := g.label + count + "  ·  " + escape(strings.Join(names, ", "))
		if g.words != "" {
			p += " — “" + inLabel(g.words, 80) + "”"
		}
		if size += len(p) + 1; size > room {
			left := 0
			for _, g := range groups[i:] {
				left += len(g.names)
			}
			parts = append(parts, "and "+strconv.Itoa(left)+" more")
			heard = append(heard, "and "+strconv.Itoa(left)+" more")
			break
		}
		parts = append(parts, p)
		heard = append(heard, strings.ReplaceAll(g.label, "*", "")+" by "+escape(strings.Join(names, ", ")))
	}
	if len(parts) == 0 {
		return "*Judged*", "Judged"
	}
	return strings.Join(parts, "\n"), strings.Join(heard, "; ")
}

// label is a verdict in bold with its thumb; the score is said when it is not
// the label's own.
func (v CardView) label(o review.Vote) string {
	t := "*" + inLabel(o.Label, 70) + "*"
	if o.Label == "" {
		t = "*comment*"
	}
	if sign := v.Rubric.Sign(o.Label); sign != "" {
		t = sign + " " + t
	} else if v.Rubric.Study != nil {
		t = "⚖️ " + t
	} else {
		t = "📝 " + t
	}
	if o.Score != nil {
		own, ok := v.Rubric.Label(o.Label)
		if o.Label == "" {
			t = "📝 *" + review.FormatScore(*o.Score) + "*"
		} else if !ok || own.Score == nil || *own.Score != *o.Score {
			t += " " + review.FormatScore(*o.Score)
		}
	}
	if o.OnTrace {
		t += " (whole trace)"
	}
	return t
}

func (v CardView) name(user string) string {
	if id, elsewhere := strings.CutPrefix(user, review.InPhoenix); elsewhere {
		if id = line(id, 40); id == "" {
			return "someone in Phoenix"
		}
		return id + " (in Phoenix)"
	}
	n := line(v.Names[user], 60)
	if n == "" {
		n = user
	}
	return n
}

// lines say what a reviewer should know beside the verdict: nothing while all
// is well.
func (v CardView) lines() []slack.Block {
	var out []slack.Block
	waiting, withdrawing := false, false
	failures := map[string]bool{}
	for _, o := range v.Card.Votes {
		late := o.Delivery == review.Waiting && v.Now.Sub(o.At) >= quiet
		switch {
		case o.Delivery == review.Failed:
			t := "⚠️ Not stored in Phoenix"
			if o.Withdrawn {
				t = "⚠️ Not deleted in Phoenix"
			}
			if o.Why != "" {
				t += ": " + inLabel(o.Why, 300)
			}
			if !failures[t] && len(failures) < 3 {
				out = append(out, note(t))
			}
			failures[t] = true
		case late && o.Withdrawn:
			withdrawing = true
		case late:
			waiting = true
		}
	}
	if len(failures) > 0 {
		out = append(out, slack.NewActionBlock(blockAgain, v.button(Again, "Try again")))
	}
	if waiting {
		out = append(out, plainNote("⏳ Phoenix does not answer; saved here, will be sent as soon as it does."))
	}
	if withdrawing {
		out = append(out, plainNote("⏳ Phoenix does not answer; a judgement was taken back here and will be deleted there as soon as it does."))
	}
	if v.Notice != "" {
		out = append(out, plainNote(line(v.Notice, 300)))
	}
	return out
}
