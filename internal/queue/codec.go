package queue

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// A thread is stored in a compact binary form: it lives for months, and as
// JSON a judged card would take twice its promised 300 bytes.
//
// The first byte is the version of the form. Numbers are varints, texts are
// length and bytes, Slack's ts is its two numbers, a span id its 8 bytes. What
// equals its default costs one bit in a flags byte.
const codecVersion = 1

var errCodec = errors.New("stored thread is damaged")

// Flags of a card.
const (
	cardOtherChannel = 1 << iota // its channel is not the parent's
	cardOwnTS                    // its message is not the parent
	cardCloser
	cardHexSpan // span id is 16 hex digits: stored as 8 bytes
	cardChosen  // it was chosen in a stream
)

// Flags of a vote.
const (
	voteOnTrace = 1 << iota
	voteWithdrawn
	voteScore
	voteInteger     // the score is a whole number
	voteOtherRubric // judged under another rubric than the card asks
	voteWords
	voteWhy
)

// The order is part of the stored form: append only.
var (
	states     = []review.State{review.Open, review.Judged, review.Skipped, review.Expired, review.Deleted, review.Loose}
	deliveries = []review.Delivery{review.Stored, review.Waiting, review.Failed}
	streams    = []review.Stream{review.Control, review.Uncertain}
)

func indexOf[T comparable](list []T, v T) uint64 {
	for i, x := range list {
		if x == v {
			return uint64(i)
		}
	}
	return 0
}

type writer []byte

func (w *writer) num(n uint64)  { *w = binary.AppendUvarint(*w, n) }
func (w *writer) int(n int64)   { *w = binary.AppendVarint(*w, n) }
func (w *writer) text(s string) { w.num(uint64(len(s))); *w = append(*w, s...) }
func (w *writer) ts(s string) {
	sec, frac, ok := strings.Cut(s, ".")
	a, err1 := strconv.ParseUint(sec, 10, 63)
	b, err2 := strconv.ParseUint(frac, 10, 32)
	if !ok || err1 != nil || err2 != nil || len(frac) != 6 || strconv.FormatUint(a, 10) != sec || a == 0 {
		w.num(0)
		w.text(s)
		return
	}
	w.num(a)
	w.num(b)
}

func encodeThread(t review.Thread) []byte {
	w := writer{codecVersion}
	w.text(t.Project)
	w.text(t.Channel)
	w.ts(t.TS)
	w.ts(t.Outline)
	w.num(uint64(len(t.Cards)))
	for _, c := range t.Cards {
		var flags uint64
		set := func(on bool, f uint64) {
			if on {
				flags |= f
			}
		}
		id, err := hex.DecodeString(c.SpanID)
		isHex := err == nil && len(id) == 8 && hex.EncodeToString(id) == c.SpanID
		set(c.Channel != t.Channel, cardOtherChannel)
		set(c.TS != t.TS, cardOwnTS)
		set(c.Closer != "", cardCloser)
		set(isHex, cardHexSpan)
		set(c.Chosen.Stream != "", cardChosen)
		w.num(flags)
		w.num(indexOf(states, c.State))
		if isHex {
			w = append(w, id...)
		} else {
			w.text(c.SpanID)
		}
		if c.Channel != t.Channel {
			w.text(c.Channel)
		}
		if c.TS != t.TS {
			w.ts(c.TS)
		}
		if c.Closer != "" {
			w.text(c.Closer)
		}
		if c.Chosen.Stream != "" {
			w.num(indexOf(streams, c.Chosen.Stream))
			w = binary.BigEndian.AppendUint64(w, math.Float64bits(c.Chosen.Probability))
		}
		w.text(c.Rubric)
		w.int(millis(c.Posted))
		w.text(c.Summary)
		w.num(uint64(len(c.Votes)))
		for _, v := range c.Votes {
			encodeVote(&w, c, v)
		}
	}
	return w
}

func encodeVote(w *writer, c review.Card, v review.Vote) {
	var flags uint64
	set := func(on bool, f uint64) {
		if on {
			flags |= f
		}
	}
	whole := v.Score != nil && *v.Score == math.Trunc(*v.Score) && math.Abs(*v.Score) < 1<<52 && !math.Signbit(*v.Score)
	set(v.OnTrace, voteOnTrace)
	set(v.Withdrawn, voteWithdrawn)
	set(v.Score != nil, voteScore)
	set(whole, voteInteger)
	set(v.Rubric != c.Rubric, voteOtherRubric)
	set(v.Words != "", voteWords)
	set(v.Why != "", voteWhy)
	w.num(flags)
	w.num(indexOf(deliveries, v.Delivery))
	w.text(v.Reviewer)
	w.text(v.Name)
	w.text(v.Label)
	switch {
	case whole:
		w.num(uint64(*v.Score))
	case v.Score != nil:
		*w = binary.BigEndian.AppendUint64(*w, math.Float64bits(*v.Score))
	}
	if v.Rubric != c.Rubric {
		w.text(v.Rubric)
	}
	if v.Words != "" {
		w.text(v.Words)
	}
	if v.Why != "" {
		w.text(v.Why)
	}
	w.int(millis(v.At) - millis(c.Posted))
}

// millis is a time as it is stored; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) num() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) int() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) text() string { return string(r.bytes(r.num())) }

func (r *reader) ts() string {
	sec := r.num()
	if sec == 0 {
		return r.text()
	}
	frac := strconv.FormatUint(r.num(), 10)
	if len(frac) > 6 {
		r.bad = true
		return ""
	}
	return strconv.FormatUint(sec, 10) + "." + strings.Repeat("0", 6-len(frac)) + frac
}

// count reads the length of a list, each entry of which takes at least one byte.
func (r *reader) count() int {
	n := r.num()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n) //nolint:gosec // at most len(r.b)
}

func pick[T any](r *reader, list []T) (v T) {
	n := r.num()
	if n >= uint64(len(list)) {
		r.bad = true
		return v
	}
	return list[n]
}

func decodeThread(route, trace string, b []byte) (review.Thread, error) {
	t := review.Thread{Route: route, TraceID: trace}
	if len(b) == 0 {
		return t, nil
	}
	if b[0] != codecVersion {
		return t, errCodec
	}
	r := &reader{b: b[1:]}
	t.Project, t.Channel, t.TS, t.Outline = r.text(), r.text(), r.ts(), r.ts()
	for range r.count() {
		flags := r.num()
		c := review.Card{State: pick(r, states), Channel: t.Channel, TS: t.TS}
		if flags&cardHexSpan != 0 {
			c.SpanID = hex.EncodeToString(r.bytes(8))
		} else {
			c.SpanID = r.text()
		}
		if flags&cardOtherChannel != 0 {
			c.Channel = r.text()
		}
		if flags&cardOwnTS != 0 {
			c.TS = r.ts()
		}
		if flags&cardCloser != 0 {
			c.Closer = r.text()
		}
		if flags&cardChosen != 0 {
			c.Chosen.Stream = pick(r, streams)
			if b := r.bytes(8); b != nil {
				c.Chosen.Probability = math.Float64frombits(binary.BigEndian.Uint64(b))
			}
		}
		c.Rubric, c.Posted, c.Summary = r.text(), timeOf(r.int()), r.text()
		for range r.count() {
			c.Votes = append(c.Votes, decodeVote(r, c))
		}
		t.Cards = append(t.Cards, c)
	}
	if r.bad || len(r.b) > 0 {
		return review.Thread{Route: route, TraceID: trace}, errCodec
	}
	return t, nil
}

func decodeVote(r *reader, c review.Card) review.Vote {
	flags := r.num()
	v := review.Vote{
		Delivery: pick(r, deliveries), Reviewer: r.text(), Name: r.text(), Label: r.text(), Rubric: c.Rubric,
		OnTrace: flags&voteOnTrace != 0, Withdrawn: flags&voteWithdrawn != 0,
	}
	if flags&voteScore != 0 {
		var f float64
		if flags&voteInteger != 0 {
			f = float64(r.num())
		} else if b := r.bytes(8); b != nil {
			f = math.Float64frombits(binary.BigEndian.Uint64(b))
		}
		v.Score = &f
	}
	if flags&voteOtherRubric != 0 {
		v.Rubric = r.text()
	}
	if flags&voteWords != 0 {
		v.Words = r.text()
	}
	if flags&voteWhy != 0 {
		v.Why = r.text()
	}
	v.At = timeOf(r.int() + millis(c.Posted))
	return v
}
