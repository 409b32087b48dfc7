package slackui

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/spanbot/spanbot/internal/review"
)

// A button's value carries all that a click needs when Redis has forgotten the
// card: "v1:<route>:<trace>:<span>:<rubric hash>", and behind ⋯ also
// ":<action>". No part contains a colon. An option holds 150 characters: 32 +
// 32 + 16 + 8 and the action fit.

const valueVersion = "v1"

func encodeValue(ref review.Ref, rubric string, extra ...string) string {
	// OpenTelemetry ids are hex; Phoenix's own span route takes anything.
	return strings.Join(append([]string{valueVersion, ref.Route, url.QueryEscape(ref.TraceID), url.QueryEscape(ref.SpanID), rubric}, extra...), ":")
}

// decodeValue reads a button's value, of this release or an earlier one; false
// for what Spanbot did not write.
func decodeValue(s string) (ref review.Ref, rubric string, extra []string, ok bool) {
	p := strings.Split(s, ":")
	if len(p) < 5 || p[0] != valueVersion || p[1] == "" || p[3] == "" {
		return review.Ref{}, "", nil, false
	}
	trace, err1 := url.QueryUnescape(p[2])
	span, err2 := url.QueryUnescape(p[3])
	if err1 != nil || err2 != nil {
		return review.Ref{}, "", nil, false
	}
	return review.Ref{Route: p[1], TraceID: trace, SpanID: span}, p[4], p[5:], true
}

// CardBlockID is the identity of a card in Slack: the block_id of its first
// block, kept through every update, by which it is found again in history.
func CardBlockID(ref review.Ref) string { return "card:" + ref.Route + ":" + ref.SpanID }

// OutlineBlockID is the same for the outline of a trace.
func OutlineBlockID(ref review.Ref) string { return "outline:" + ref.Route + ":" + ref.TraceID }

// place is what a modal carries in private_metadata: what it is about, and
// where it was opened. Slack shows it to nobody, but it is no secret.
type place struct {
	Value   string `json:"v"`
	Channel string `json:"c,omitempty"`
	Message string `json:"m,omitempty"`
	Thread  string `json:"t,omitempty"`
	OnTrace bool   `json:"o,omitempty"` // of the judgement that the form shows
	Page    int    `json:"p,omitempty"`
}

func (p place) encode() string {
	b, err := json.Marshal(p)
	if err != nil { // strings, a bool and a number
		return ""
	}
	return string(b)
}

func decodePlace(s string) (p place, ok bool) {
	return p, json.Unmarshal([]byte(s), &p) == nil && p.Value != ""
}

// pageValue adds a page number to a details button.
func pageValue(ref review.Ref, rubric string, page int) string {
	return encodeValue(ref, rubric, strconv.Itoa(page))
}
