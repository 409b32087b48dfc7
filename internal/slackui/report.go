package slackui

import (
	"bytes"
	"context"
	"slices"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/spanbot/spanbot/internal/review"
)

// Report is a result that a command posts: all of its numbers in words, so that
// the picture may be missing.
type Report struct {
	Title string
	Lines []string // one each, plain
	Table string   // set in a fixed width; "" for none
	Notes []string // what keeps one from reading too much into it
	Links []Link
}

// Link is a button that opens a page.
type Link struct{ Text, URL string }

// bounds of a report, far below Slack's own.
const (
	reportTitle = 140
	reportLine  = 400
	reportLines = 20
	reportTable = 2000
)

// DrawReport draws a report. What it says may hold names and labels of anybody:
// nothing of it is read as markup.
func DrawReport(r Report) Message {
	short := func(s string, n int) string { s, _ = review.CutWords(s, n); return s }
	blocks := []slack.Block{slack.NewHeaderBlock(slack.NewTextBlockObject(slack.PlainTextType, short(r.Title, reportTitle), false, false))}
	section := func(lines []string, style *slack.RichTextSectionTextStyle) slack.RichTextElement {
		var elements []slack.RichTextSectionElement
		for i, l := range lines[:min(len(lines), reportLines)] {
			if i > 0 {
				elements = append(elements, slack.NewRichTextSectionTextElement("\n", nil))
			}
			elements = append(elements, slack.NewRichTextSectionTextElement(short(l, reportLine), style))
		}
		return slack.NewRichTextSection(elements...)
	}
	if len(r.Lines) > 0 {
		blocks = append(blocks, slack.NewRichTextBlock("report:lines", section(r.Lines, nil)))
	}
	if r.Table != "" {
		blocks = append(blocks, slack.NewRichTextBlock("report:table", &slack.RichTextPreformatted{Type: slack.RTEPreformatted,
			Elements: []slack.RichTextSectionElement{slack.NewRichTextSectionTextElement(short(r.Table, reportTable), nil)}}))
	}
	if len(r.Notes) > 0 {
		blocks = append(blocks, slack.NewRichTextBlock("report:notes", section(r.Notes, &slack.RichTextSectionTextStyle{Italic: true})))
	}
	var buttons []slack.BlockElement
	for i, l := range r.Links {
		if l.URL == "" || utf8.RuneCountInString(l.URL) > 3000 {
			continue
		}
		b := slack.NewButtonBlockElement("link", "", slack.NewTextBlockObject(slack.PlainTextType, short(l.Text, 70), false, false))
		b.URL, b.ActionID = l.URL, "link_"+string(rune('a'+i%26))
		buttons = append(buttons, b)
	}
	if len(buttons) > 0 {
		blocks = append(blocks, slack.NewActionBlock("report:links", buttons...))
	}
	text := r.Title
	for _, l := range r.Lines[:min(len(r.Lines), 3)] {
		text += " · " + l
	}
	return Message{Text: escape(short(text, 600)), Blocks: blocks}
}

// MayUpload reports whether the app was granted files:write, by the scopes that
// Slack names; true where it names none, so that it is tried.
func (i Identity) MayUpload() bool {
	return i.Scopes == nil || slices.Contains(i.Scopes, "files:write")
}

// PostPicture puts a PNG below a message, with words for who cannot see it.
//
// Slack: files.getUploadURLExternal, files.completeUploadExternal; scope files:write.
func (c *Client) PostPicture(ctx context.Context, channel, threadTS, name, alt string, png []byte) error {
	_, err := c.api.UploadFileContext(ctx, slack.UploadFileParameters{Channel: channel, ThreadTimestamp: threadTS, Filename: name + ".png", Title: name, AltTxt: alt,
		FileSize: len(png), Reader: bytes.NewReader(png)})
	return c.call("files.completeUploadExternal", true, err)
}
