package queue

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/spanbot/spanbot/internal/review"
)

func anyThread(t *rapid.T) review.Thread {
	text := rapid.StringN(0, 20, 60)
	ts := rapid.SampledFrom([]string{"", "1758000000.000200", "1758000000.999999", "1.5", "not a ts", "0.000000", "1758000000.12"})
	at := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return time.UnixMilli(rapid.Int64Range(1, 4e12).Draw(t, "ms"))
	})
	th := review.Thread{Route: "r", TraceID: "t", Project: text.Draw(t, "project"), Channel: text.Draw(t, "channel"), TS: ts.Draw(t, "ts"), Outline: ts.Draw(t, "outline")}
	for range rapid.IntRange(0, 4).Draw(t, "cards") {
		c := review.Card{
			SpanID: rapid.SampledFrom([]string{"0123456789abcdef", "ABCDEF0123456789", "odd", ""}).Draw(t, "span"), Channel: text.Draw(t, "c"), TS: ts.Draw(t, "m"),
			State: rapid.SampledFrom(states).Draw(t, "state"), Rubric: text.Draw(t, "rubric"), Posted: at.Draw(t, "posted"),
			Summary: text.Draw(t, "summary"), Closer: text.Draw(t, "closer"),
		}
		if rapid.Bool().Draw(t, "chosen") {
			c.Chosen = review.Chosen{Stream: rapid.SampledFrom(streams).Draw(t, "stream"), Probability: rapid.Float64Range(0, 1).Draw(t, "probability")}
		}
		for range rapid.IntRange(0, 4).Draw(t, "votes") {
			v := review.Vote{
				Reviewer: text.Draw(t, "user"), OnTrace: rapid.Bool().Draw(t, "trace"), Name: text.Draw(t, "name"), Rubric: text.Draw(t, "hash"),
				Label: text.Draw(t, "label"), Words: text.Draw(t, "words"), At: at.Draw(t, "at"), Withdrawn: rapid.Bool().Draw(t, "withdrawn"),
				Delivery: rapid.SampledFrom(deliveries).Draw(t, "delivery"), Why: text.Draw(t, "why"),
			}
			if rapid.Bool().Draw(t, "scored") {
				f := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1, -1, .5, 1e300})).Draw(t, "score")
				v.Score = &f
			}
			c.Votes = append(c.Votes, v)
		}
		th.Cards = append(th.Cards, c)
	}
	return th
}

func TestCodec_ThreadsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyThread(t)
		got, err := decodeThread("r", "t", encodeThread(want))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzDecodeThread(f *testing.F) {
	f.Add(encodeThread(review.Thread{Project: "p", Channel: "C", TS: "1758000000.000200", Cards: []review.Card{{SpanID: "0123456789abcdef", Votes: []review.Vote{{Reviewer: "U"}}}}}))
	f.Add([]byte{codecVersion, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 15})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = decodeThread("r", "t", b) // whatever a disk did to it: no panic, no huge allocation
	})
}

func TestExcerpt_FitsFourKilobytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Digits that compress badly are the worst a text can do.
		noise := rapid.Custom(func(t *rapid.T) string { return fmt.Sprint(rapid.SliceOfN(rapid.Uint64(), 150, 150).Draw(t, "noise")) })
		s := review.Span{ID: "s", Input: review.Text{Head: noise.Draw(t, "in")}, Output: review.Text{Head: noise.Draw(t, "out"), More: 5}}
		for range rapid.IntRange(0, 5).Draw(t, "documents") {
			s.Documents = append(s.Documents, review.Document{Content: review.Text{Head: noise.Draw(t, "doc")}})
		}
		whole := s.Input.Len() + s.Output.Len()
		b, err := encodeExcerpt(s)
		if err != nil || len(b) > maxExcerpt {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		got, err := decodeExcerpt(b)
		if err != nil || got.Input.Len()+got.Output.Len() != whole {
			t.Fatalf("%d of %d characters are accounted for, %v", got.Input.Len()+got.Output.Len(), whole, err)
		}
	})
}

func TestExcerpt_ThatCannotFitIsNotKept(t *testing.T) {
	s := review.Span{ID: "s"}
	for i := range 5000 {
		s.Documents = append(s.Documents, review.Document{ID: fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))})
	}
	if b, err := encodeExcerpt(s); b != nil || err != nil {
		t.Errorf("%d bytes, %v; want none: the card is drawn from Phoenix", len(b), err)
	}
}
