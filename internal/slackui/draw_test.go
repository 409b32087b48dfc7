package slackui

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"pgregory.net/rapid"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/blockkit"
)

var update = flag.Bool("update", false, "write testdata/*.json anew")

var (
	drawnAt = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	testRef = review.Ref{Route: "main", TraceID: strings.Repeat("ab", 16), SpanID: "6f1e2d3c4b5a6978"}
)

func score(f float64) *float64 { return &f }

func chatSpan() review.Span {
	return review.Span{
		ID: testRef.SpanID, TraceID: testRef.TraceID, Name: "ChatCompletion", Kind: "LLM", Model: "gpt-4o", Tokens: 312, Status: "OK",
		Start: drawnAt.Add(-5 * time.Minute), End: drawnAt.Add(-5*time.Minute + 1240*time.Millisecond),
		Asked: []review.Message{
			{Role: "system", Content: review.Text{Head: "Answer in rhyme."}},
			{Role: "user", Content: review.Text{Head: "What is the largest planet in our solar system?"}},
		},
		Answered: []review.Message{{Role: "assistant", Content: review.Text{Head: "Blorptang 4821 wizzle, 77 crumplefax and 9034 snoods,\nzindle 12 flarn 5550 — quibbledy."}}},
	}
}

func ragSpan() review.Span {
	return review.Span{
		ID: testRef.SpanID, TraceID: testRef.TraceID, Name: "rag-answer", Kind: "CHAIN", Model: "gpt-4o-mini", Tokens: 2104,
		Start: drawnAt.Add(-2 * time.Hour), End: drawnAt.Add(-2*time.Hour + 3800*time.Millisecond),
		Status: "ERROR", StatusMessage: "RateLimitError: 429",
		Input:  review.Text{Head: `{"question":"Can I return opened software?","locale":"de-DE","options":{},"list":[1,2]}`, JSON: true},
		Output: review.Text{Head: strings.Repeat("Opened software can be returned within 30 days as long as you kept the receipt. ", 40), More: 12000},
		Documents: []review.Document{
			{Score: score(.91), Content: review.Text{Head: "Returns are accepted within 30 days if the seal is unbroken", More: 300}},
			{Score: score(.84), Content: review.Text{Head: "Software licences cannot be returned."}},
			{ID: "doc-3"},
		},
		ToolCalls: []review.ToolCall{{Name: "search", Arguments: review.Text{Head: `{"q":"return policy"}`}}},
	}
}

func cardOf(s review.Span, c review.Card) CardView {
	x := s.Excerpt()
	c.SpanID, c.Summary = s.ID, s.Summary(150)
	return CardView{Ref: testRef, Project: "my-annotations-app", Card: c, Rubric: review.DefaultRubric("correctness"), Span: &x,
		Names: map[string]string{"U1": "Ana Silva", "U2": "Ben Okafor"}, Phoenix: "https://phoenix.example.com", Now: drawnAt}
}

func voteOf(user, label string, s float64, change func(*review.Vote)) review.Vote {
	v := review.Vote{Reviewer: user, Name: "correctness", Label: label, Score: &s, At: drawnAt.Add(-time.Minute), Delivery: review.Stored}
	if change != nil {
		change(&v)
	}
	return v
}

func judged(votes ...review.Vote) review.Card { return review.Card{State: review.Judged, Votes: votes} }

func bigTrace(n int) review.Trace {
	root := ragSpan()
	t := review.Trace{ID: root.TraceID, Spans: []review.Span{root}}
	for i := range n {
		s := chatSpan()
		s.ID, s.ParentID = fmt.Sprintf("%016x", i+1), root.ID
		s.Start = root.Start.Add(time.Duration(i) * time.Second)
		s.End = s.Start.Add(800 * time.Millisecond)
		t.Spans = append(t.Spans, s)
	}
	return t
}

// TestDrawings pins the exact JSON that Slack gets, one file per state.
func TestDrawings(t *testing.T) {
	words := voteOf("U1", "incorrect", 0, func(v *review.Vote) { v.Words = "nonsense words, no rhyme" })
	late := func(v *review.Vote) { v.Delivery = review.Waiting }
	thread := review.Thread{Route: "main", TraceID: testRef.TraceID, Cards: []review.Card{{SpanID: testRef.SpanID, State: review.Judged, Votes: []review.Vote{words}}}}
	own := review.Judgement{Ref: testRef, Answer: review.Answer{Label: "incorrect", Score: score(.25), Explanation: "no rhyme"}, OnTrace: true}
	excerpt := chatSpan().Excerpt()
	instructed := review.DefaultRubric("correctness")
	instructed.Instructions = "Correct is what answers the question and rhymes."
	many := review.Rubric{Name: "topic", Question: "What is it about?"}
	for i := range 12 {
		many.Labels = append(many.Labels, review.Label{Name: fmt.Sprintf("topic %d", i+1)})
	}
	form := func(v FormView) any { v.Ref = testRef; return DrawForm(v) }
	who := review.Adjudication(instructed, "correct", "incorrect", "judge:correctness:0123456789ab")
	pair := review.SideBySide("ab:1a2b3c:", "RXh0MQ== RXh0Mg==", "improved", "baseline")
	asked := func(span review.Span, r review.Rubric, c review.Card, label string, revealed bool) any {
		if label != "" {
			c.Votes = []review.Vote{{Reviewer: "U1", Name: r.Name, Label: label, Words: "it rhymes", At: drawnAt.Add(-time.Hour), Delivery: review.Stored}}
		}
		v := cardOf(span, c)
		v.Rubric, v.Revealed = r, revealed
		return DrawCard(v)
	}
	doubted := review.Case{Exhibits: []review.Exhibit{{Title: "People say 2 × “correct”, 1 × “incorrect”", Text: review.Text{Head: "“correct”: It rhymes.\n“incorrect”: Of what?"}},
		{Title: "The judge says “incorrect” (unvalidated)", Text: review.Text{Head: "It names no source."}}}}.Span(chatSpan())
	blind := review.Case{SpanID: testRef.SpanID, TraceID: testRef.TraceID, Blind: &review.Text{Head: "What rhymes with blue?"},
		Exhibits: []review.Exhibit{{Title: "A", Text: review.Text{Head: "shoe"}}, {Title: "B", Text: review.Text{Head: "green", More: 12_000}}}}.Span(chatSpan())
	for name, got := range map[string]any{
		"card_open":      DrawCard(cardOf(chatSpan(), review.Card{State: review.Open})),
		"card_documents": DrawCard(cardOf(ragSpan(), review.Card{State: review.Open})),
		"card_nothing":   DrawCard(cardOf(review.Span{ID: testRef.SpanID, Name: "task"}, review.Card{State: review.Open})),
		"card_judged":    DrawCard(cardOf(chatSpan(), judged(words))),
		"card_judged_by_three": DrawCard(cardOf(chatSpan(), judged(words, voteOf("U2", "correct", 1, nil),
			voteOf("U3", "correct", 1, func(v *review.Vote) { v.OnTrace = true })))),
		"card_waiting":         DrawCard(cardOf(chatSpan(), judged(voteOf("U2", "correct", 1, late)))),
		"card_just_now":        DrawCard(cardOf(chatSpan(), judged(voteOf("U2", "correct", 1, func(v *review.Vote) { late(v); v.At = drawnAt.Add(-900 * time.Millisecond) })))),
		"card_not_stored":      DrawCard(cardOf(chatSpan(), judged(voteOf("U2", "correct", .5, func(v *review.Vote) { v.Delivery, v.Why = review.Failed, "this span no longer exists in Phoenix" })))),
		"card_withdrawing":     DrawCard(cardOf(chatSpan(), review.Card{State: review.Open, Votes: []review.Vote{voteOf("U2", "correct", 1, func(v *review.Vote) { late(v); v.Withdrawn = true })}})),
		"card_skipped":         DrawCard(cardOf(chatSpan(), review.Card{State: review.Skipped, Closer: "U1"})),
		"card_expired":         DrawCard(cardOf(chatSpan(), review.Card{State: review.Expired})),
		"card_deleted":         DrawCard(cardOf(chatSpan(), review.Card{State: review.Deleted})),
		"card_minimal":         DrawMinimalCard(cardOf(chatSpan(), review.Card{State: review.Open})),
		"outline":              DrawOutline(OutlineView{Ref: testRef, Trace: bigTrace(202), Thread: thread, Rubric: review.DefaultRubric("correctness"), Names: map[string]string{"U1": "Ana Silva"}, Phoenix: "https://phoenix.example.com", Now: drawnAt}),
		"card_who_is_right":    asked(doubted, who, review.Card{State: review.Open}, "", false),
		"card_decided":         asked(doubted, who, review.Card{State: review.Judged}, review.JudgeRight, false),
		"card_side_by_side":    asked(blind, pair, review.Card{State: review.Open}, "", false),
		"card_preferred":       asked(blind, pair, review.Card{State: review.Judged}, review.PreferA, false),
		"card_revealed":        asked(blind, pair, review.Card{State: review.Judged}, review.PreferA, true),
		"form_who_is_right":    form(FormView{Rubric: who, Span: &doubted}),
		"details_side_by_side": DrawDetails(DetailsView{Ref: testRef, Rubric: pair, Span: blind, Phoenix: "https://phoenix.example.com", Now: drawnAt}),
		"form_fresh":           form(FormView{Rubric: instructed, Span: &excerpt, Channel: "C1", Message: "1.000001"}),
		"form_prefilled":       form(FormView{Rubric: review.DefaultRubric("correctness"), Span: &excerpt, Own: &own}),
		"form_many":            form(FormView{Rubric: many, Summary: "question  →  answer"}),
		"form_freeform":        form(FormView{Rubric: review.Rubric{Name: "remarks", Question: "What do you notice?"}}),
		"details":              DrawDetails(DetailsView{Ref: testRef, Rubric: instructed, Project: "p", Span: ragSpan(), Trace: bigTrace(50), Phoenix: "https://phoenix.example.com", Now: drawnAt}),
		"details_lost":         DrawDetails(DetailsView{Ref: testRef, Span: review.Span{Output: review.Text{Head: "what the card kept"}}, Note: "Phoenix does not answer."}),
		"wait":                 DrawWait("Details"),
		"home_fresh":           DrawHome(HomeView{Version: "1.2.3", Routes: []HomeRoute{{Name: "main", Channel: "C1"}, {Name: "billing", Why: "project billing: it does not exist yet"}}}),
		"home_busy": DrawHome(HomeView{Version: "1.2.3", OnWay: 2, Total: 1203,
			Routes: []HomeRoute{{Name: "main", Channel: "C1", Open: 12, Waiting: 1340, Oldest: drawnAt.Add(-26 * time.Hour)}, {Name: "a", Channel: "C2", Open: 1, Oldest: drawnAt}, {Name: "b", Channel: "C3", Waiting: 3}},
			Labels: []HomeCount{{"👍 correct", 900}, {"👎 incorrect", 303}},
			Judged: []HomeJudged{{"👎 incorrect", "C1", "https://x.slack.com/archives/C1/p1758000000000100", drawnAt}, {"📝 0.25", "", "", drawnAt.Add(-time.Minute)}}}),
	} {
		t.Run(name, func(t *testing.T) {
			b, err := json.MarshalIndent(got, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(b)+"\n"); d != "" {
				t.Errorf("%s differs; when it is meant: go test ./internal/slackui -run TestDrawings -update\n%s", path, d)
			}
			valid(t, got)
		})
	}
}

// fataler is a test, rapid's or the testing package's.
type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// valid checks what Slack would: the schema of Block Kit, the rules that no
// schema states, the length of the whole, and that nothing of a span is parsed.
func valid(t fataler, drawn any) {
	t.Helper()
	switch m := drawn.(type) {
	case Message:
		b, err := json.Marshal(m.Blocks)
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		if p := blockkit.ValidateMessage(b); len(p) > 0 {
			t.Fatalf("Slack would refuse the message: %v\n%s", p, b)
		}
		if n := blockkit.Characters(b); n > 9000 || len(m.Blocks) > 40 {
			t.Fatalf("%d characters in %d blocks; want at most 9,000 in 40", n, len(m.Blocks))
		}
		if m.Text == "" || len(m.Text) > 3000 || !utf8.ValidString(m.Text) {
			t.Fatalf("the text for notifications has %d bytes: %q", len(m.Text), m.Text)
		}
		harmless(t, m.Text)
		for _, s := range mrkdwnOf(b) {
			harmless(t, s)
		}
	case slack.HomeTabViewRequest:
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		if p := blockkit.ValidateHome(b); len(p) > 0 {
			t.Fatalf("Slack would refuse the App Home: %v\n%s", p, b)
		}
		for _, s := range mrkdwnOf(b) {
			harmless(t, ourChannel.ReplaceAllString(s, ""))
		}
	case slack.ModalViewRequest:
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		if p := blockkit.ValidateModal(b); len(p) > 0 {
			t.Fatalf("Slack would refuse the modal: %v\n%s", p, b)
		}
		if len(b) > 250_000 {
			t.Fatalf("the view has %d bytes of JSON; Slack takes 250 KB", len(b))
		}
		for _, s := range mrkdwnOf(b) {
			harmless(t, s)
		}
	}
}

// ourChannel is a link to a channel, which only the App Home has.
var ourChannel = regexp.MustCompile(`<#C[0-9A-Z]+>`)

// mrkdwnOf finds every text that Slack parses.
func mrkdwnOf(b []byte) (out []string) {
	var v any
	if json.Unmarshal(b, &v) != nil {
		return nil
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			if v["type"] == "mrkdwn" {
				if v["verbatim"] != true {
					out = append(out, "<!channel> mrkdwn without verbatim")
				}
				out = append(out, v["text"].(string))
			}
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(v)
	return out
}

// harmless fails for what would call people or change what follows.
func harmless(t fataler, s string) {
	t.Helper()
	for _, bad := range []string{"<!channel", "<!here", "<!everyone", "<!subteam", "<@", "<#", "<javascript:", "<mailto:", "\u202e", "\x00", "\x1b"} {
		if strings.Contains(s, bad) {
			t.Fatalf("%q can be parsed by Slack: %q", bad, s)
		}
	}
}

// hostileText is what spans may hold.
func hostileText(most int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		piece := rapid.SampledFrom([]string{"<!channel>", "<@U123>", "<https://evil.example|click>", "@here", "&&&&", "```", "*b*", "_i_", "|", ">", "<",
			"\u202eabc", "\x00", "\x1b[31m", "\n", "   ", "é", "日本語", "👩‍👩‍👧", "{\"a\":[1,{\"b\":\"", "word ", "\\\"", "]}", "\u200fעברית", "\xff"})
		var b strings.Builder
		for range rapid.IntRange(0, 8).Draw(t, "pieces") {
			b.WriteString(strings.Repeat(piece.Draw(t, "piece"), rapid.IntRange(1, 40).Draw(t, "times")))
		}
		if rapid.Bool().Draw(t, "long") {
			b.WriteString(strings.Repeat(piece.Draw(t, "filler"), most))
		}
		return b.String()
	})
}

func hostileContent(t *rapid.T, name string, most int) review.Text {
	return review.Text{Head: hostileText(most).Draw(t, name), More: rapid.IntRange(0, 20_000_000).Draw(t, name+" more"), JSON: rapid.Bool().Draw(t, name+" json")}
}

func hostileSpan(t *rapid.T, most int) review.Span {
	s := review.Span{
		ID: testRef.SpanID, TraceID: testRef.TraceID, Name: hostileText(60).Draw(t, "name"), Kind: hostileText(5).Draw(t, "kind"),
		Model: hostileText(20).Draw(t, "model"), Status: rapid.SampledFrom([]string{"OK", "ERROR", "UNSET"}).Draw(t, "status"),
		StatusMessage: hostileText(100).Draw(t, "message"), Tokens: rapid.IntRange(0, 1e9).Draw(t, "tokens"),
		Start: drawnAt, End: drawnAt.Add(time.Duration(rapid.Int64Range(-1e9, 1e15).Draw(t, "latency"))),
		Input: hostileContent(t, "in", most), Output: hostileContent(t, "out", most), Exception: hostileContent(t, "exception", 50),
	}
	for range rapid.IntRange(0, 3).Draw(t, "turns") {
		s.Asked = append(s.Asked, review.Message{Role: rapid.SampledFrom([]string{"user", "system", "", "<!here>"}).Draw(t, "role"), Content: hostileContent(t, "asked", most)})
	}
	for range rapid.IntRange(0, 2).Draw(t, "answers") {
		m := review.Message{Role: "assistant", Content: hostileContent(t, "answer", most)}
		for range rapid.IntRange(0, 7).Draw(t, "calls") {
			m.ToolCalls = append(m.ToolCalls, review.ToolCall{Name: hostileText(30).Draw(t, "tool"), Arguments: hostileContent(t, "arguments", 300)})
		}
		s.Answered = append(s.Answered, m)
	}
	for range rapid.IntRange(0, 9).Draw(t, "documents") {
		d := review.Document{ID: hostileText(10).Draw(t, "doc"), Content: hostileContent(t, "document", 300)}
		if rapid.Bool().Draw(t, "scored") {
			d.Score = score(rapid.Float64Range(-1e6, 1e6).Draw(t, "score"))
		}
		s.Documents = append(s.Documents, d)
	}
	return s
}

func anyRubric(t *rapid.T) review.Rubric {
	r := review.Rubric{Name: "r", Question: hostileText(200).Draw(t, "question"), Instructions: hostileText(600).Draw(t, "instructions")}
	for i := range rapid.SampledFrom([]int{0, 1, 2, 3, 10, 11, 100}).Draw(t, "labels") {
		r.Labels = append(r.Labels, review.Label{Name: fmt.Sprintf("%s %d", strings.Repeat("é", rapid.IntRange(0, 60).Draw(t, "width")), i), Score: score(float64(i))})
	}
	if n := len(r.Labels); n >= 2 && rapid.Bool().Draw(t, "thumbs") {
		r.Up, r.Down = &r.Labels[0], &r.Labels[1]
	}
	if rapid.Bool().Draw(t, "range") {
		r.Range = &review.Range{Low: score(0), High: score(5)}
	}
	return r
}

func TestNothingThatSpansHold_MakesSlackRefuseOrParseACard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRubric(t)
		s := hostileSpan(t, 400)
		c := review.Card{State: rapid.SampledFrom([]review.State{review.Open, review.Judged, review.Skipped, review.Expired, review.Deleted}).Draw(t, "state"), Closer: "U1"}
		for i := range rapid.IntRange(0, 50).Draw(t, "votes") {
			v := voteOf(fmt.Sprintf("U%d", i), hostileText(10).Draw(t, "label"), 1, func(v *review.Vote) {
				v.Words, v.Why = hostileText(20).Draw(t, "words"), hostileText(100).Draw(t, "why")
				v.Delivery = rapid.SampledFrom([]review.Delivery{review.Waiting, review.Stored, review.Failed}).Draw(t, "delivery")
				v.Withdrawn, v.OnTrace = rapid.Bool().Draw(t, "withdrawn"), rapid.Bool().Draw(t, "trace")
			})
			v.Words = review.Answer{Explanation: v.Words}.Words()
			c.Votes = append(c.Votes, v)
		}
		v := cardOf(s, c)
		v.Rubric, v.Names["U3"], v.Project, v.Notice = r, hostileText(50).Draw(t, "person"), hostileText(30).Draw(t, "project"), hostileText(50).Draw(t, "notice")
		if rapid.Bool().Draw(t, "forgotten") {
			v.Span = nil
		}
		valid(t, DrawCard(v))
		valid(t, DrawMinimalCard(v))
	})
}

func TestBlindCards_DoNotLinkToPhoenix(t *testing.T) {
	v := cardOf(chatSpan(), review.Card{State: review.Open})
	v.Phoenix = "https://phoenix.example.com"
	v.Rubric = review.SideBySide("ab:1a2b3c:", "RXh0MQ== RXh0Mg==", "improved", "baseline")
	lost := v
	lost.Rubric, lost.Blind = review.Rubric{Question: "This question is no longer asked."}, true
	answered := lost
	answered.Card.State = review.Judged
	for name, m := range map[string]Message{"minimal": DrawMinimalCard(v), "lost": DrawCard(lost), "lost, minimal": DrawMinimalCard(lost), "lost, answered": DrawCard(answered)} {
		valid(t, m)
		if raw, err := json.Marshal(m); err != nil || strings.Contains(string(raw), "phoenix.example") {
			t.Errorf("%s: %s, %v", name, raw, err)
		}
	}
}

func TestNothingThatSpansHold_MakesSlackRefuseAModalOrAnOutline(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRubric(t)
		s := hostileSpan(t, 1000)
		x := s.Excerpt()
		own := review.Judgement{Ref: testRef, Answer: review.Answer{Explanation: hostileText(3000).Draw(t, "explanation"), Score: score(2)}}
		if len(r.Labels) > 0 {
			own.Label = r.Labels[len(r.Labels)-1].Name
		}
		f := FormView{Ref: testRef, Rubric: r, Span: &x, Own: &own}
		if rapid.Bool().Draw(t, "fresh") {
			f.Own, f.Span, f.Summary = nil, nil, hostileText(10).Draw(t, "summary")
		}
		valid(t, DrawForm(f))
		trace := review.Trace{ID: testRef.TraceID, Spans: []review.Span{s}, Partial: rapid.Bool().Draw(t, "partial")}
		for i := range rapid.IntRange(0, 60).Draw(t, "spans") {
			k := review.Span{ID: fmt.Sprintf("%016x", i), ParentID: s.ID, Name: hostileText(40).Draw(t, "child"), Kind: "TOOL", Start: drawnAt, End: drawnAt.Add(time.Second), Output: hostileContent(t, "output", 20)}
			trace.Spans = append(trace.Spans, k)
		}
		thread := review.Thread{Route: "main", TraceID: testRef.TraceID, Cards: []review.Card{{SpanID: s.ID, State: review.Judged, Votes: []review.Vote{voteOf("U1", hostileText(10).Draw(t, "said"), 1, nil)}}}}
		valid(t, DrawOutline(OutlineView{Ref: testRef, Trace: trace, Thread: thread, Rubric: r, Phoenix: "https://p.example", Now: drawnAt}))
		d := DetailsView{Ref: testRef, Rubric: r, Span: s, Trace: trace, Phoenix: "https://p.example", Now: drawnAt}
		pages, _ := d.pages()
		for _, p := range []int{-1, 0, len(pages) - 1, len(pages) + 5} {
			d.Page = p
			valid(t, DrawDetails(d))
		}
	})
}

func TestDetails_PageThrough200000CharactersThenLinkToPhoenix(t *testing.T) {
	s := chatSpan()
	s.Answered[0].Content = review.Text{Head: strings.Repeat("word and \"quote\" <b>\n", 250_000/20), More: 1_000_000}
	d := DetailsView{Ref: testRef, Span: s, Phoenix: "https://phoenix.example.com", Now: drawnAt}
	pages, left := d.pages()
	read := 0
	for i := range pages {
		d.Page = i
		valid(t, DrawDetails(d))
		for _, p := range pages[i] {
			read += utf8.RuneCountInString(p.text)
		}
	}
	whole := utf8.RuneCountInString(s.Answered[0].Content.Head) + 1_000_000 + len("Answer in rhyme.") + len("What is the largest planet in our solar system?")
	if read < 195_000 || read > 200_000 || read+left != whole {
		t.Errorf("%d characters on %d pages and %d counted as left; want 200,000 and %d in all", read, len(pages), left, whole)
	}
	d.Page = len(pages) - 1
	b, err := json.Marshal(DrawDetails(d))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "Read the rest in Phoenix") {
		t.Error("the last page does not link to Phoenix")
	}
}

func TestOutline_Lists40SpansAndCountsTheRest(t *testing.T) {
	b, err := json.Marshal(DrawOutline(OutlineView{Ref: testRef, Trace: bigTrace(202), Rubric: review.DefaultRubric("correctness"), Phoenix: "https://phoenix.example.com"}).Blocks)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "and 163 more") {
		t.Errorf("203 spans are not shown as 40 and 163 more: %s", b)
	}
}

func TestLongText_IsCutAtAWordWithAnHonestCount(t *testing.T) {
	text := review.Text{Head: strings.Repeat("word ", 1000), More: 10_000}
	got := review.Text{Head: clean(text.Head), More: text.More}.Cut(textOnCard)
	b, err := json.Marshal(body(text, textOnCard))
	if err != nil {
		t.Fatal(err)
	}
	want := more(5000 - utf8.RuneCountInString(got.Head) + 10_000)
	if !strings.Contains(string(b), want) || !strings.HasSuffix(got.Head, "word") {
		t.Errorf("the card does not say %q after a whole word: …%q", want, got.Head[len(got.Head)-20:])
	}
}

func TestIndent(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nested", `{"a":[1,{"b":"x, {y}"}],"c":{}}`, "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x, {y}\"\n    }\n  ],\n  \"c\": {}\n}"},
		{"cut inside a string", `{"a":"b\"c`, "{\n  \"a\": \"b\\\"c"},
		{"cut behind a bracket", `{"a":[`, "{\n  \"a\": ["},
		{"not JSON", `}{`, "\n}{"},
		{"nothing", ``, ""},
	} {
		if got := indent(c.in); got != c.want {
			t.Errorf("%s: indent(%q) = %q; want %q", c.name, c.in, got, c.want)
		}
	}
}

func TestButtonValues_FitSlackAndComeBack(t *testing.T) {
	ref := review.Ref{Route: strings.Repeat("r", 32), TraceID: strings.Repeat("f", 32), SpanID: strings.Repeat("e", 16)}
	v := encodeValue(ref, "12345678", string(Annotate))
	if len(v) > 150 {
		t.Errorf("an option's value has %d characters; Slack takes 150", len(v))
	}
	got, rubric, extra, ok := decodeValue(v)
	if !ok || got != ref || rubric != "12345678" || len(extra) != 1 || extra[0] != "annotate" {
		t.Errorf("decodeValue(%q) = %v %q %v %v", v, got, rubric, extra, ok)
	}
	for _, bad := range []string{"", "v1", "v1:a:b", "v9:a:b:c:d", "whatever", "v1::t:s:r"} {
		if _, _, _, ok := decodeValue(bad); ok {
			t.Errorf("decodeValue(%q) was understood", bad)
		}
	}
}
