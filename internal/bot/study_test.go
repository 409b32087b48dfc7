package bot

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/phoenixd"
	"github.com/spanbot/spanbot/internal/sandbox/recorded"
	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// button finds the newest button on the card of a route's span whose text begins so.
func (b *bubble) button(route, span, text string) (ts string, a slackd.Action) {
	b.t.Helper()
	for _, channel := range b.channels() {
		for _, m := range b.slack.Messages(channel) {
			for _, block := range blocksOf(m) {
				elements, _ := block["elements"].([]any)
				for _, e := range elements {
					e, _ := e.(map[string]any)
					value, _ := e["value"].(string)
					words, _ := e["text"].(map[string]any)
					if f := strings.Split(value, ":"); len(f) < 5 || f[1] != route || f[3] != span {
						continue
					}
					if said, _ := words["text"].(string); strings.HasPrefix(said, text) {
						ts, a = m["ts"].(string), slackd.Action{BlockID: block["block_id"].(string), ActionID: e["action_id"].(string)}
					}
				}
			}
		}
	}
	return ts, a
}

// answer taps that button and returns what the person was told; "" when it was taken.
func (b *bubble) answer(who slackd.Person, route string, n int, text string) string {
	b.t.Helper()
	ts, a := b.button(route, spanID(n), text)
	if ts == "" {
		b.t.Fatalf("no card of %s for span %d has a button %s", route, n, text)
	}
	before := len(b.slack.Ephemerals(who.ID))
	if err := b.slack.Click(who.ID, b.channels()[0], ts, a); err != nil {
		b.t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
	if list := b.slack.Ephemerals(who.ID); len(list) > before {
		text, _ := list[len(list)-1]["text"].(string)
		return text
	}
	return ""
}

// shown is all that the messages with buttons or menus of a route's span say.
func (b *bubble) shown(route string, n int) string {
	var out []string
	for _, m := range b.slack.Messages(b.channels()[0]) {
		raw, err := json.Marshal(m)
		if err != nil {
			b.t.Fatal(err)
		}
		if strings.Contains(string(raw), `"card:`+route+":"+spanID(n)+`"`) {
			out = append(out, string(raw))
		}
	}
	return strings.Join(out, "\n")
}

// stored is what Phoenix holds of a span under a name: "identifier=label" and the
// outcome.
func (b *bubble) stored(n int, name string) map[string]string {
	out := map[string]string{}
	for _, a := range b.px.Annotations(spanID(n)) {
		if a["name"] != name || a["annotator_kind"] != "HUMAN" {
			continue
		}
		meta, _ := a["metadata"].(map[string]any)
		result, _ := a["result"].(map[string]any)
		label := fmt.Sprint(result["label"])
		if o, ok := meta["outcome"]; ok {
			label += " (" + fmt.Sprint(o) + ")"
		}
		if o, ok := meta["order"]; ok {
			label += " " + fmt.Sprint(o)
		}
		out[a["identifier"].(string)] = label
	}
	return out
}

func disagreement(n int) review.Case {
	return review.Case{TraceID: fmt.Sprintf("%032x", n+1), SpanID: spanID(n),
		Rubric:   review.Adjudication(review.DefaultRubric("correctness"), "correct", "incorrect", "judge:correctness:0123456789ab"),
		Exhibits: []review.Exhibit{{Title: "People", Text: review.Text{Head: "1 × correct"}}, {Title: "The judge (unvalidated)", Text: review.Text{Head: "It names no source."}}}}
}

func adjudicationStudy(r review.Route) review.Study {
	return review.Study{Name: AdjudicationOf(r.Name), Route: r.Name, Project: r.Project, About: "correctness", Prefix: review.AdjudicatedPrefix, Title: "who is right", Created: time.Now()}
}

// rhymes puts two answers side by side.
func rhymes(n int, a, z string) review.Case {
	return review.Case{TraceID: fmt.Sprintf("%032x", n+1), SpanID: spanID(n), Rubric: review.SideBySide(SideBySidePrefix("1a2b3c"), "RXh0MQ== RXh0Mg==", a, z),
		Blind:    &review.Text{Head: "What rhymes with blue?"},
		Exhibits: []review.Exhibit{{Title: "A", Text: review.Text{Head: "shoe"}}, {Title: "B", Text: review.Text{Head: "green"}}}}
}

func sideBySideStudy(r review.Route) review.Study {
	return review.Study{Name: SideBySideOf(r.Name, "1a2b3c"), Route: r.Name, Project: r.Project, About: review.Preference, Prefix: SideBySidePrefix("1a2b3c"), Title: "which is better", Created: time.Now()}
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: Phoenix holds %v, want %v", what, got, want)
	}
}

// Where a judge and people differ somebody decides, under an identifier of its
// own; the votes stay, and the cards of the route do not take it for one.
func TestBubble_AnAdjudicationIsNoVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bubbleRoute()
		r.Since = 24 * time.Hour
		b := quiet(t, r)
		defer b.end()
		b.ingest(0, 2)
		b.start()
		time.Sleep(time.Minute)
		ana, ben := b.people[0], b.people[1]
		for n := range 3 {
			if said := b.answer(ana, r.Name, n, "👍"); said != "" {
				t.Fatal(said)
			}
		}
		ordinary := b.shown(r.Name, 0)
		set := b.settings(b.network.Dial)
		// One new card at a time: what was asked before takes no place.
		for _, more := range []int{1, 0} {
			a, err := Ask(t.Context(), set, adjudicationStudy(r), []review.Case{disagreement(0), disagreement(1)}, 1)
			if err != nil || a.New != 1 || a.More != more || a.Alone {
				t.Fatal(a, err)
			}
		}
		time.Sleep(time.Minute)
		name := AdjudicationOf(r.Name)
		for _, want := range []string{"Who is right?", "People say “correct”, the judge says “incorrect”.", "1 × correct", "The judge (unvalidated)", "It names no source."} {
			if !strings.Contains(b.shown(name, 0), want) {
				t.Errorf("the card does not say %q: %s", want, b.shown(name, 0))
			}
		}
		who := func(p slackd.Person) string { return review.Reviewer{Team: b.slack.Team(), ID: p.ID}.Identifier() }
		for _, a := range []struct {
			who  slackd.Person
			n    int
			text string
		}{{ben, 0, review.JudgeRight}, {ana, 1, review.HumanRight}, {ben, 1, review.RubricUnclear}} {
			if a.n == 1 && a.who == ben {
				break // a card that was answered has its buttons behind the form
			}
			if said := b.answer(a.who, name, a.n, a.text); said != "" {
				t.Fatal(said)
			}
		}
		time.Sleep(time.Minute)
		same(t, "span 0", b.stored(0, "correctness"), map[string]string{who(ana): "correct", "adjudicated:" + who(ben): "incorrect (Judge right)"})
		same(t, "span 1", b.stored(1, "correctness"), map[string]string{who(ana): "correct", "adjudicated:" + who(ana): "correct (Human right)"})
		same(t, "span 2", b.stored(2, "correctness"), map[string]string{who(ana): "correct"})
		if now := b.shown(name, 0); !strings.Contains(now, "⚖️ *Judge right*") || !strings.Contains(now, "Ben ") {
			t.Errorf("the card says %s", now)
		}
		// Several looks at Phoenix later the route's own card still shows its one vote.
		time.Sleep(10 * time.Minute)
		if now := b.shown(r.Name, 0); now != ordinary {
			t.Errorf("the route's card says %s, and said %s", now, ordinary)
		}
		if a, err := Ask(t.Context(), set, adjudicationStudy(r), []review.Case{disagreement(0), disagreement(1)}, 0); err != nil || a.New != 0 {
			t.Errorf("asked again, %d are new, %v", a.New, err)
		}

		// What was deleted in Phoenix by hand is asked again on the card.
		if !b.px.DeleteAnnotation(spanID(0), "adjudicated:"+who(ben)) {
			t.Fatal("the annotation is not there")
		}
		time.Sleep(30 * time.Minute)
		if ts, _ := b.button(name, spanID(0), review.JudgeRight); ts == "" {
			t.Errorf("the card does not ask again: %s", b.shown(name, 0))
		}
	})
}

// Redis may lose everything: no card comes twice, a tap on a question that nobody
// knows any more is refused with a word, and asking again makes it known.
func TestBubble_AStudyOutlivesALostRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bubbleRoute()
		r.Since = 24 * time.Hour
		b := quiet(t, r)
		defer b.end()
		b.ingest(0, 1)
		b.start()
		time.Sleep(time.Minute)
		set := b.settings(b.network.Dial)
		cases := []review.Case{disagreement(0), disagreement(1)}
		if _, err := Ask(t.Context(), set, adjudicationStudy(r), cases, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		name := AdjudicationOf(r.Name)
		if said := b.answer(b.people[0], name, 0, review.Ambiguous); said != "" {
			t.Fatal(said)
		}
		time.Sleep(time.Minute)
		count := func() (n int) {
			for _, m := range b.slack.Messages(b.channels()[0]) {
				raw, _ := json.Marshal(m)
				n += strings.Count(string(raw), `"card:`+name+":")
			}
			return n
		}
		before := count()
		b.redis.FlushAll()
		for _, bot := range b.bots {
			_ = bot.end()
		}
		b.start()
		time.Sleep(2 * time.Minute)
		if said := b.answer(b.people[1], name, 1, review.HumanRight); !strings.Contains(said, "Not saved") {
			t.Errorf("a tap on a question that nobody knows was answered with %q", said)
		}
		if a, err := Ask(t.Context(), set, adjudicationStudy(r), cases, 0); err != nil || a.New != 0 {
			t.Errorf("asked again, %d are new, %v", a.New, err)
		}
		time.Sleep(2 * time.Minute)
		if said := b.answer(b.people[1], name, 1, review.HumanRight); said != "" {
			t.Errorf("after it was asked again: %q", said)
		}
		time.Sleep(time.Minute)
		if now := count(); now != before || before != 2 {
			t.Errorf("%d cards, and then %d; want 2", before, now)
		}
		who := func(p slackd.Person) string { return review.Reviewer{Team: b.slack.Team(), ID: p.ID}.Identifier() }
		same(t, "span 0", b.stored(0, "correctness"), map[string]string{"adjudicated:" + who(b.people[0]): "<nil> (Ambiguous)"})
		same(t, "span 1", b.stored(1, "correctness"), map[string]string{"adjudicated:" + who(b.people[1]): "correct (Human right)"})
		if now := b.shown(name, 0); !strings.Contains(now, "⚖️ *Ambiguous*") {
			t.Errorf("the answered card says %s", now)
		}
	})
}

// Nothing on a blind card tells which answer is whose, until the study is over.
func TestBubble_ASideBySideIsBlindUntilItIsRevealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bubbleRoute()
		r.Since = 24 * time.Hour
		b := quiet(t, r)
		b.change = func(s *Settings) { s.PhoenixPublic = "https://phoenix.example" }
		defer b.end()
		b.ingest(0, 1)
		b.start()
		time.Sleep(time.Minute)
		name, s := SideBySideOf(r.Name, "1a2b3c"), sideBySideStudy(r)
		set := b.settings(b.network.Dial)
		if a, err := Ask(t.Context(), set, s, []review.Case{rhymes(0, "baseline", "improved"), rhymes(1, "improved", "baseline")}, 0); err != nil || a.New != 2 {
			t.Fatal(a.New, err)
		}
		time.Sleep(time.Minute)
		tells := func(n int) (found []string) {
			for _, word := range []string{"baseline", "improved", "RXh0", "phoenix.example", "question 0", "question 1"} {
				if strings.Contains(b.shown(name, n), word) {
					found = append(found, word)
				}
			}
			return found
		}
		for n := range 2 {
			if got := tells(n); got != nil || !strings.Contains(b.shown(name, n), "What rhymes with blue?") {
				t.Errorf("card %d tells %q: %s", n, got, b.shown(name, n))
			}
		}
		ana := b.people[0]
		for n, text := range []string{"A", "Both bad"} {
			if said := b.answer(ana, name, n, text); said != "" {
				t.Fatal(said)
			}
		}
		time.Sleep(time.Minute)
		for n := range 2 {
			if got := tells(n); got != nil {
				t.Errorf("card %d, answered, tells %q: %s", n, got, b.shown(name, n))
			}
		}
		id := "ab:1a2b3c:" + review.Reviewer{Team: b.slack.Team(), ID: ana.ID}.Identifier()
		same(t, "span 0", b.stored(0, "preference"), map[string]string{id: "baseline (A) map[A:baseline B:improved]"})
		same(t, "span 1", b.stored(1, "preference"), map[string]string{id: "both bad (Both bad) map[A:improved B:baseline]"})
		state, ok, err := LookAt(t.Context(), set, name)
		if err != nil || !ok || state.Cases != 2 || state.Waiting+state.Open != 0 {
			t.Errorf("state %+v, %v, %v", state, ok, err)
		}
		if err := Reveal(t.Context(), set, name); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if now := b.shown(name, 0); !strings.Contains(now, "A was *baseline*, B was *improved*") {
			t.Errorf("the card says %s", now)
		}
	})
}

// asking is a team with one bot, to which cases of a study were put.
func asking(t *testing.T, study func(review.Route) review.Study, cases ...review.Case) (b *bubble, set Settings) {
	t.Helper()
	r := bubbleRoute()
	r.Since = 24 * time.Hour
	b = quiet(t, r)
	b.change = func(s *Settings) { s.PhoenixPublic = "https://phoenix.example" }
	t.Cleanup(b.end)
	b.ingest(0, len(cases)-1)
	b.start()
	time.Sleep(time.Minute)
	set = b.settings(b.network.Dial)
	if a, err := Ask(t.Context(), set, study(r), cases, 0); err != nil || a.New != len(cases) {
		t.Fatalf("%d of %d are new, %v", a.New, len(cases), err)
	}
	time.Sleep(time.Minute)
	return b, set
}

// A reveal is not lost with the bot that should have drawn it, and none has to run.
func TestBubble_ARevealWithoutABotIsDrawnByTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, set := asking(t, sideBySideStudy, rhymes(0, "baseline", "improved"))
		name := SideBySideOf(b.routes[0].Name, "1a2b3c")
		if said := b.answer(b.people[0], name, 0, "A"); said != "" {
			t.Fatal(said)
		}
		time.Sleep(time.Minute)
		for _, bot := range b.bots {
			_ = bot.end()
		}
		if err := Reveal(t.Context(), set, name); err != nil {
			t.Fatal(err)
		}
		b.start()
		time.Sleep(time.Minute)
		if now := b.shown(name, 0); !strings.Contains(now, "A was *baseline*, B was *improved*") {
			t.Errorf("the card says %s", now)
		}
	})
}

// A blind card stays blind when Redis lost its question: in Phoenix stands what people
// preferred, and in the trace whose the span's own answer is.
func TestBubble_ABlindCardStaysBlindWhenItsQuestionIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := asking(t, sideBySideStudy, rhymes(0, "baseline", "improved"))
		name, ana := SideBySideOf(b.routes[0].Name, "1a2b3c"), b.people[0]
		if said := b.answer(ana, name, 0, "A"); said != "" {
			t.Fatal(said)
		}
		time.Sleep(time.Minute)
		b.redis.FlushAll()
		if !b.px.DeleteAnnotation(spanID(0), "ab:1a2b3c:"+review.Reviewer{Team: b.slack.Team(), ID: ana.ID}.Identifier()) {
			t.Fatal("the annotation is not there")
		}
		for _, bot := range b.bots {
			_ = bot.end()
		}
		b.start()
		time.Sleep(2 * time.Minute)
		now := b.shown(name, 0)
		details, _ := json.Marshal(b.behind(ana, name, 0, "details").Object)
		if !strings.Contains(now, "no longer asked") {
			t.Errorf("the card says %s", now)
		}
		for _, word := range []string{"phoenix.example", "Show the trace"} {
			if strings.Contains(now+string(details), word) {
				t.Errorf("%q stands on the card or in its details: %s %s", word, now, details)
			}
		}
	})
}

// What is said after the reveal is not blind, and is refused with a word: by a tap, in
// the form, and while Redis does not answer. What was said before counts.
func TestBubble_WhatIsSaidAfterTheRevealIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, set := asking(t, sideBySideStudy, rhymes(0, "baseline", "improved"), rhymes(1, "improved", "baseline"))
		r, ana, ben := b.routes[0], b.people[0], b.people[1]
		name := SideBySideOf(r.Name, "1a2b3c")
		if said := b.answer(ana, name, 0, "A"); said != "" {
			t.Fatal(said)
		}
		time.Sleep(time.Minute)
		if err := Reveal(t.Context(), set, name); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if now := b.shown(name, 1); !strings.Contains(now, "nothing more is asked here") {
			t.Errorf("the open card says %s", now)
		}
		refused := "Not saved: it is revealed already"
		if said := b.answer(ben, name, 1, "A"); !strings.Contains(said, refused) {
			t.Errorf("a tap was answered with %q", said)
		}
		b.redis.SetError("LOADING Redis is loading the dataset in memory")
		if said := b.answer(ben, name, 1, "A"); !strings.Contains(said, refused) {
			t.Errorf("without Redis a tap was answered with %q", said)
		}
		b.redis.SetError("")
		time.Sleep(time.Minute)
		v := b.form(ana, name, 0)
		err := b.slack.Submit(ana.ID, v.ID, map[string]any{"label": map[string]any{"label": map[string]any{"type": "radio_buttons", "selected_option": map[string]any{"value": "B"}}}})
		if err == nil || !strings.Contains(err.Error(), refused) {
			t.Errorf("the form was answered with %v", err)
		}
		time.Sleep(time.Minute)
		id := "ab:1a2b3c:" + review.Reviewer{Team: b.slack.Team(), ID: ana.ID}.Identifier()
		same(t, "span 0", b.stored(0, "preference"), map[string]string{id: "baseline (A) map[A:baseline B:improved]"})
		same(t, "span 1", b.stored(1, "preference"), map[string]string{})

		// What has no card by then gets none.
		for _, bot := range b.bots {
			_ = bot.end()
		}
		b.ingest(2, 2)
		if a, err := Ask(t.Context(), set, sideBySideStudy(r), []review.Case{rhymes(2, "baseline", "improved")}, 0); err != nil || a.New != 1 {
			t.Fatal(a.New, err)
		}
		if err := Reveal(t.Context(), set, name); err != nil {
			t.Fatal(err)
		}
		b.start()
		time.Sleep(2 * time.Minute)
		if now := b.shown(name, 2); now != "" {
			t.Errorf("a card came after the reveal: %s", now)
		}
	})
}

// A card whose case went with Redis says so once, and Slack is not asked again and
// again to draw it.
func TestBubble_ACardWhoseCaseIsLostSaysSoOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, set := asking(t, adjudicationStudy, disagreement(0))
		name, ana := AdjudicationOf(b.routes[0].Name), b.people[0]
		if said := b.answer(ana, name, 0, review.HumanRight); said != "" {
			t.Fatal(said)
		}
		time.Sleep(time.Minute)
		// Its answer is gone, too: the card opens again, and has nothing to show.
		b.redis.FlushAll()
		if !b.px.DeleteAnnotation(spanID(0), "adjudicated:"+review.Reviewer{Team: b.slack.Team(), ID: ana.ID}.Identifier()) {
			t.Fatal("the annotation is not there")
		}
		for _, bot := range b.bots {
			_ = bot.end()
		}
		b.start()
		time.Sleep(2 * time.Minute)
		now := b.shown(name, 0)
		if !strings.Contains(now, "no longer asked") || !strings.Contains(now, "not kept any more") {
			t.Errorf("the card says %s", now)
		}
		before := b.slack.Calls("chat.update")
		time.Sleep(time.Hour)
		if n := b.slack.Calls("chat.update") - before; n > 0 {
			t.Errorf("it was drawn %d times in an idle hour", n)
		}
		v := b.behind(ana, name, 0, "details")
		raw, _ := json.Marshal(v.Object)
		if !strings.Contains(string(raw), "not kept any more") || strings.Contains(string(raw), "store does not answer") {
			t.Errorf("the details say %s", raw)
		}
		if err := b.slack.Dismiss(ana.ID, v.ID, false); err != nil {
			t.Fatal(err)
		}
		// Asked again it is as before.
		if _, err := Ask(t.Context(), set, adjudicationStudy(b.routes[0]), []review.Case{disagreement(0)}, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if now := b.shown(name, 0); !strings.Contains(now, "It names no source.") || strings.Contains(now, "not kept any more") {
			t.Errorf("asked again, the card says %s", now)
		}
	})
}

// The judge that is made anew after Redis was lost may be another one: cards that are
// there ask what is asked now, whether the command or the bot comes first.
func TestBubble_AnotherJudgeAsksOnTheOldCards(t *testing.T) {
	for _, first := range []string{"the bot", "the command"} {
		t.Run(first+" comes first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, set := asking(t, adjudicationStudy, disagreement(0))
				r, name := b.routes[0], AdjudicationOf(b.routes[0].Name)
				b.redis.FlushAll()
				for _, bot := range b.bots {
					_ = bot.end()
				}
				if first == "the bot" {
					b.start()
					time.Sleep(2 * time.Minute)
				}
				other := disagreement(0)
				other.Rubric = review.Adjudication(review.DefaultRubric("correctness"), "incorrect", "correct", "judge:correctness:ba9876543210")
				if _, err := Ask(t.Context(), set, adjudicationStudy(r), []review.Case{other}, 0); err != nil {
					t.Fatal(err)
				}
				if first == "the command" {
					b.start()
				}
				time.Sleep(2 * time.Minute)
				now := b.shown(name, 0)
				if !strings.Contains(now, "People say “incorrect”, the judge says “correct”.") || strings.Count(now, `"card:`+name+":") != 1 {
					t.Fatalf("the card says %s", now)
				}
				if said := b.answer(b.people[0], name, 0, review.JudgeRight); said != "" {
					t.Error(said)
				}
				time.Sleep(time.Minute)
				id := "adjudicated:" + review.Reviewer{Team: b.slack.Team(), ID: b.people[0].ID}.Identifier()
				same(t, "span 0", b.stored(0, "correctness"), map[string]string{id: "correct (Judge right)"})
			})
		})
	}
}

// The form of a card that was answered shows what it asks about, as that of an open one.
func TestBubble_TheFormOfAnAnsweredCardShowsItsCase(t *testing.T) {
	for name, c := range map[string]struct {
		study  func(review.Route) review.Study
		asked  review.Case
		answer string
		shows  []string
	}{
		"who is right":    {adjudicationStudy, disagreement(0), review.HumanRight, []string{"question 0", "1 × correct", "It names no source."}},
		"which is better": {sideBySideStudy, rhymes(0, "baseline", "improved"), "A", []string{"What rhymes with blue?", "shoe", "green"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _ := asking(t, c.study, c.asked)
				study := c.study(b.routes[0]).Name
				open, _ := json.Marshal(b.with(b.people[1], study, 0).Object)
				if said := b.answer(b.people[0], study, 0, c.answer); said != "" {
					t.Fatal(said)
				}
				time.Sleep(time.Minute)
				answered, _ := json.Marshal(b.form(b.people[0], study, 0).Object)
				for _, want := range c.shows {
					for state, form := range map[string]string{"open": string(open), "answered": string(answered)} {
						if !strings.Contains(form, want) {
							t.Errorf("%s, it does not say %q: %s", state, want, form)
						}
					}
				}
			})
		})
	}
}

// with opens the form of an open card.
func (b *bubble) with(who slackd.Person, route string, n int) slackd.View {
	b.t.Helper()
	ts, a := b.button(route, spanID(n), "With a reason")
	if err := b.slack.Click(who.ID, b.channels()[0], ts, a); err != nil {
		b.t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	views := b.slack.Views(who.ID)
	if len(views) != 1 {
		b.t.Fatalf("%d forms are open", len(views))
	}
	return views[0]
}

// form opens the form behind the ⋯ of an answered card, and returns its view.
func (b *bubble) form(who slackd.Person, route string, n int) slackd.View {
	b.t.Helper()
	return b.behind(who, route, n, "annotate")
}

// behind taps an action behind a card's ⋯, and returns the view that opens.
func (b *bubble) behind(who slackd.Person, route string, n int, action string) slackd.View {
	b.t.Helper()
	for _, m := range b.slack.Messages(b.channels()[0]) {
		for _, bl := range blocksOf(m) {
			elements, _ := bl["elements"].([]any)
			if a, has := bl["accessory"]; has {
				elements = append(elements, a)
			}
			option := optionOf(map[string]any{"elements": elements}, action)
			if f := strings.Split(option, ":"); len(f) < 5 || f[1] != route || f[3] != spanID(n) {
				continue
			}
			if err := b.slack.Click(who.ID, b.channels()[0], m["ts"].(string), slackd.Action{BlockID: bl["block_id"].(string), ActionID: "more", Option: option}); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	time.Sleep(10 * time.Second)
	views := b.slack.Views(who.ID)
	if len(views) != 1 {
		b.t.Fatalf("%d forms are open", len(views))
	}
	return views[0]
}

// A mind is changed with a reason in the form, which asks for nothing that a study
// does not store; and what was decided can be taken back.
func TestBubble_ADecisionIsChangedAndTakenBackInTheForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bubbleRoute()
		r.Since = 24 * time.Hour
		b := quiet(t, r)
		defer b.end()
		b.ingest(0, 0)
		b.start()
		time.Sleep(time.Minute)
		if _, err := Ask(t.Context(), b.settings(b.network.Dial), adjudicationStudy(r), []review.Case{disagreement(0)}, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		name, ana := AdjudicationOf(r.Name), b.people[0]
		id := "adjudicated:" + review.Reviewer{Team: b.slack.Team(), ID: ana.ID}.Identifier()
		if said := b.answer(ana, name, 0, review.HumanRight); said != "" {
			t.Fatal(said)
		}
		time.Sleep(time.Minute)
		v := b.form(ana, name, 0)
		raw, _ := json.Marshal(v.Object)
		for _, not := range []string{`"correction"`, `"target"`, `"score"`} {
			if strings.Contains(string(raw), `"block_id":`+not) {
				t.Errorf("the form asks for %s", not)
			}
		}
		if !strings.Contains(string(raw), `"initial_option":{"text":{"emoji":true,"text":"Human right"`) {
			t.Errorf("the form does not show what was said: %s", raw)
		}
		values := map[string]any{
			"label":       map[string]any{"label": map[string]any{"type": "radio_buttons", "selected_option": map[string]any{"value": review.JudgeRight}}},
			"explanation": map[string]any{"explanation": map[string]any{"type": "plain_text_input", "value": "It names no source."}},
		}
		if err := b.slack.Submit(ana.ID, v.ID, values); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		same(t, "changed", b.stored(0, "correctness"), map[string]string{id: "incorrect (Judge right)"})
		if now := b.shown(name, 0); !strings.Contains(now, "It names no source.") {
			t.Errorf("the card says %s", now)
		}
		v = b.form(ana, name, 0)
		if err := b.slack.ClickView(ana.ID, v.ID, slackd.Action{BlockID: "withdraw", ActionID: "withdraw"}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		same(t, "taken back", b.stored(0, "correctness"), map[string]string{})
		if ts, _ := b.button(name, spanID(0), review.JudgeRight); ts == "" {
			t.Errorf("the card does not ask again: %s", b.shown(name, 0))
		}
	})
}

// A reason is as safe as in a route: with Redis flushed while Phoenix is away, the bot
// that took it gives all of it back, and what it decides does not hang on a question
// that Redis lost.
func TestBubble_AWholeReasonOutlivesRedisWhilePhoenixIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := asking(t, adjudicationStudy, disagreement(0))
		name, ana := AdjudicationOf(b.routes[0].Name), b.people[0]
		if said := b.answer(ana, name, 0, review.HumanRight); said != "" {
			t.Fatal(said)
		}
		time.Sleep(time.Minute)
		v := b.form(ana, name, 0)
		heal := b.px.Fail(phoenixd.Fault{Drop: true})
		reason := strings.Repeat("It names no source. ", 22) + "Enough."
		if err := b.slack.Submit(ana.ID, v.ID, map[string]any{
			"label":       map[string]any{"label": map[string]any{"type": "radio_buttons", "selected_option": map[string]any{"value": review.JudgeRight}}},
			"explanation": map[string]any{"explanation": map[string]any{"type": "plain_text_input", "value": reason}},
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		b.redis.FlushAll()
		time.Sleep(5 * time.Minute)
		heal()
		time.Sleep(5 * time.Minute)
		id := "adjudicated:" + review.Reviewer{Team: b.slack.Team(), ID: ana.ID}.Identifier()
		same(t, "span 0", b.stored(0, "correctness"), map[string]string{id: "incorrect (Judge right)"})
		for _, a := range b.px.Annotations(spanID(0)) {
			result, _ := a["result"].(map[string]any)
			if a["identifier"] == id && result["explanation"] != reason {
				t.Errorf("of %d characters Phoenix holds %q", len(reason), result["explanation"])
			}
		}
	})
}

// Who may not judge in a route may not decide in its studies, known here or not.
func TestBubble_AStudyHasItsRoutesReviewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bubbleRoute()
		r.Since = 24 * time.Hour
		b := quiet(t, r)
		ana, ben := b.people[0], b.people[1]
		b.routes[0].Reviewers = []string{ben.ID}
		defer b.end()
		b.ingest(0, 1)
		b.start()
		time.Sleep(time.Minute)
		if _, err := Ask(t.Context(), b.settings(b.network.Dial), adjudicationStudy(r), []review.Case{disagreement(0), disagreement(1)}, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		name := AdjudicationOf(r.Name)
		if said := b.answer(ana, name, 0, review.HumanRight); !strings.Contains(said, "only the reviewers of this queue") {
			t.Errorf("who is no reviewer was told %q", said)
		}
		if said := b.answer(ben, name, 0, review.HumanRight); said != "" {
			t.Errorf("a reviewer was told %q", said)
		}
		b.redis.FlushAll()
		for _, bot := range b.bots {
			_ = bot.end()
		}
		b.start()
		time.Sleep(2 * time.Minute)
		if said := b.answer(ana, name, 1, review.HumanRight); !strings.Contains(said, "only the reviewers of this queue") {
			t.Errorf("of a study that is not known any more, who is no reviewer was told %q", said)
		}
	})
}

func TestAsk_RefusesARouteThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bubbleRoute()
		b := quiet(t, r)
		defer b.end()
		synctest.Wait() // everything listens
		if a, err := Ask(t.Context(), b.settings(b.network.Dial), adjudicationStudy(r), []review.Case{disagreement(0)}, 0); err != nil || a.New != 1 || !a.Alone {
			t.Errorf("without a bot: %+v, %v", a, err)
		}
		for _, s := range []review.Study{{Name: "x.judge", Route: "x", Project: recorded.Project}, {Name: r.Name + ".judge", Route: r.Name, Project: "another"}} {
			if _, err := Ask(t.Context(), b.settings(b.network.Dial), s, nil, 0); review.KindOf(err) != review.Invalid {
				t.Errorf("%+v: %v", s, err)
			}
		}
	})
}

// A route's adjudications are all about its rubric: of a span they know one card, and
// of what is said there one name.
func TestAsk_RefusesWhatTheRouteDoesNotJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tone := bubbleRoute(), bubbleRoute()
		tone.Name, tone.Rubric = "polite", "tone"
		b := quiet(t, r, tone)
		defer b.end()
		synctest.Wait() // everything listens
		for about, want := range map[string]string{
			"tone": "the reviewers of route main judge correctness, and this is about tone; name a route with that rubric: polite",
			"wit":  "the reviewers of route main judge correctness, and this is about wit; no route of project " + r.Project + " has that rubric: add one to the configuration",
		} {
			s := adjudicationStudy(r)
			s.About = about
			if _, err := Ask(t.Context(), b.settings(b.network.Dial), s, []review.Case{disagreement(0)}, 0); review.KindOf(err) != review.Invalid || review.TextOf(err) != want {
				t.Errorf("about %s: %v", about, err)
			}
		}
		s := adjudicationStudy(tone)
		s.About = "tone"
		if a, err := Ask(t.Context(), b.settings(b.network.Dial), s, []review.Case{disagreement(0)}, 0); err != nil || a.New != 1 {
			t.Errorf("%+v, %v", a, err)
		}
		if a, err := Ask(t.Context(), b.settings(b.network.Dial), sideBySideStudy(r), []review.Case{rhymes(0, "baseline", "improved")}, 0); err != nil || a.New != 1 {
			t.Errorf("a side by side has no rubric of a route: %+v, %v", a, err)
		}
	})
}
