package queue

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// body is a judgement as Redis holds it. Its names are part of the stored
// layout; at is read by lua/change.lua.
type body struct {
	Route     string   `json:"route"`
	Trace     string   `json:"trace"`
	Span      string   `json:"span"`
	OnTrace   bool     `json:"on_trace,omitempty"`
	Project   string   `json:"project,omitempty"`
	Name      string   `json:"name"`
	Rubric    string   `json:"rubric"`
	Team      string   `json:"team"`
	User      string   `json:"user"`
	UserName  string   `json:"user_name,omitempty"`
	Label     string   `json:"label,omitempty"`
	Score     *float64 `json:"score,omitempty"`
	Why       string   `json:"explanation,omitempty"`
	Correct   string   `json:"correction,omitempty"`
	Withdrawn bool     `json:"withdrawn,omitempty"`
	At        int64    `json:"at"` // ms
	Channel   string   `json:"channel,omitempty"`
	Message   string   `json:"message,omitempty"`
	Thread    string   `json:"thread,omitempty"`

	Stream      string  `json:"stream,omitempty"`
	Probability float64 `json:"selection_probability,omitempty"`

	Recorded *review.Recorded `json:"recorded,omitempty"` // of an answer in a study
}

func encodeJudgement(j review.Judgement, project string) ([]byte, error) {
	b, err := json.Marshal(body{
		Route: j.Route, Trace: j.TraceID, Span: j.SpanID, OnTrace: j.OnTrace, Project: project, Name: j.Name, Rubric: j.Rubric,
		Team: j.Reviewer.Team, User: j.Reviewer.ID, UserName: j.Reviewer.Name,
		Label: j.Label, Score: j.Score, Why: j.Explanation, Correct: j.Correction, Withdrawn: j.Withdrawn, At: millis(j.At),
		Channel: j.Channel, Message: j.Message, Thread: j.ThreadTS,
		Stream: string(j.Chosen.Stream), Probability: j.Chosen.Probability,
		Recorded: j.Recorded,
	})
	if err != nil { // a score that is no number; the form refuses those
		return nil, &review.Error{Kind: review.Invalid, Text: "this judgement cannot be stored", Err: err}
	}
	return b, nil
}

func decodeJudgement(b []byte) (j review.Judgement, project string, err error) {
	var s body
	if err := json.Unmarshal(b, &s); err != nil {
		return j, "", fmt.Errorf("stored judgement is damaged: %w", err)
	}
	return review.Judgement{
		Ref: review.Ref{Route: s.Route, TraceID: s.Trace, SpanID: s.Span}, OnTrace: s.OnTrace, Name: s.Name, Rubric: s.Rubric,
		Reviewer: review.Reviewer{Team: s.Team, ID: s.User, Name: s.UserName},
		Answer:   review.Answer{Label: s.Label, Score: s.Score, Explanation: s.Why, Correction: s.Correct}, Withdrawn: s.Withdrawn, At: timeOf(s.At),
		Channel: s.Channel, Message: s.Message, ThreadTS: s.Thread,
		Chosen:   review.Chosen{Stream: review.Stream(s.Stream), Probability: s.Probability},
		Recorded: s.Recorded,
	}, s.Project, nil
}

type deadBody struct {
	Body json.RawMessage `json:"body"`
	Why  string          `json:"why"`
	At   int64           `json:"at"` // ms
}

func encodeDead(d Dead) ([]byte, error) {
	b, err := encodeJudgement(d.Judgement, d.Project)
	if err != nil {
		return nil, err
	}
	return json.Marshal(deadBody{b, d.Why, time.Now().UnixMilli()})
}

// maxExcerpt is the most bytes that an open card's excerpt may take.
const maxExcerpt = 4 << 10

// encodeExcerpt compresses an excerpt; one that is still too large is cut
// further, which its counts of "more characters" say. It is nil where that does
// not help (thousands of documents without a text): such a card is drawn from
// Phoenix.
func encodeExcerpt(s review.Span) ([]byte, error) {
	for size := 1600; ; size /= 2 {
		raw, err := json.Marshal(s)
		if err != nil {
			return nil, fmt.Errorf("excerpt of span %s: %w", s.ID, err)
		}
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.BestSpeed)
		if err != nil {
			return nil, err
		}
		if _, err = w.Write(raw); err == nil {
			err = w.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("compress excerpt of span %s: %w", s.ID, err)
		}
		if b.Len() <= maxExcerpt {
			return b.Bytes(), nil
		}
		if size < 16 {
			return nil, nil
		}
		s = shorten(s, size)
	}
}

func shorten(s review.Span, n int) review.Span {
	s.Input, s.Output = s.Input.Cut(n), s.Output.Cut(n)
	cut := func(ms []review.Message) []review.Message {
		out := make([]review.Message, len(ms))
		for i, m := range ms {
			m.Content = m.Content.Cut(n)
			calls := make([]review.ToolCall, len(m.ToolCalls))
			for k, c := range m.ToolCalls {
				c.Arguments = c.Arguments.Cut(n / 4)
				calls[k] = c
			}
			m.ToolCalls = calls
			out[i] = m
		}
		return out
	}
	s.Asked, s.Answered = cut(s.Asked), cut(s.Answered)
	docs := make([]review.Document, len(s.Documents))
	for i, d := range s.Documents {
		d.Content = d.Content.Cut(n / 4)
		docs[i] = d
	}
	s.Documents = docs
	calls := make([]review.ToolCall, len(s.ToolCalls))
	for i, c := range s.ToolCalls {
		c.Arguments = c.Arguments.Cut(n / 4)
		calls[i] = c
	}
	s.ToolCalls = calls
	exhibits := make([]review.Exhibit, len(s.Exhibits))
	for i, e := range s.Exhibits {
		exhibits[i] = review.Exhibit{Title: e.Title, Text: e.Text.Cut(n)}
	}
	s.Exhibits = exhibits
	return s
}

func decodeExcerpt(b []byte) (s review.Span, err error) {
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), 1<<20))
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		return review.Span{}, fmt.Errorf("stored excerpt is damaged: %w", err)
	}
	return s, nil
}
