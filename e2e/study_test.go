package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// studyCards waits for that many cards of a study, and returns them by span.
func (w *world) studyCards(study string, n int) map[string]rig.SlackMessage {
	w.t.Helper()
	cards := map[string]rig.SlackMessage{}
	w.eventually(fmt.Sprintf("%d cards of %s", n, study), func() bool {
		clear(cards)
		for _, m := range w.people.Messages(rig.Reviews) {
			if span, ok := strings.CutPrefix(m.BlockID(), "card:"+study+":"); ok {
				cards[span] = m
			}
		}
		return len(cards) == n
	})
	return cards
}

// choose taps the button in that place of a study's card.
func (w *world) choose(m rig.SlackMessage, user string, place int) {
	w.t.Helper()
	a, ok := m.Button(fmt.Sprintf("choose-%d", place))
	if !ok || !w.people.Click(rig.Reviews, m.TS, user, a) {
		w.t.Fatalf("button %d of a study's card cannot be tapped: %v\n%s", place, m.Actions(), m.Raw)
	}
}

// The loop's last part: what judge and people disagree on, and which of two
// answers is better, is asked in Slack; what is decided is in the next dataset.
func TestLoop_AsksTheReviewers_AndTheDatasetFollows(t *testing.T) {
	w := newWorld(t, withEnv("SPANBOT_MAX_OPEN", "0"))
	cmd := &loopWorld{t, t.TempDir(), w.env}
	cmd.run(0, "loop", "--traces", "100", "--dataset", "study-rhymes", "--error-rates", "0.35,0.35,0.35")
	w.start()

	var al struct {
		N         int     `json:"n"`
		Confusion [][]int `json:"confusion"`
	}
	out := cmd.run(0, "judge", "align", "--dataset", "study-rhymes", "--split", "test", "--require", "none", "--json")
	if err := json.Unmarshal([]byte(out), &al); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	apart := al.Confusion[0][1] + al.Confusion[1][0]
	if apart < 2 {
		t.Fatalf("people with error rates of 35 %% and the judge differ in %d of %d", apart, al.N)
	}
	cmd.run(0, "judge", "align", "--dataset", "study-rhymes", "--split", "test", "--require", "none", "--cards", "main", "--cards-most", "0")
	cards := w.studyCards("main.judge", apart)
	spans := slices.Sorted(maps.Keys(cards))
	for _, m := range cards {
		for _, want := range []string{"Who is right?", "People say", "The judge says", "(unvalidated)", "No language model looked at this answer"} {
			if !strings.Contains(m.Shown(), want) {
				t.Errorf("a card does not say %q:\n%s", want, m.Shown())
			}
		}
		if strings.Contains(m.Shown(), "simulated") {
			t.Errorf("a card names who voted:\n%s", m.Shown())
		}
	}
	right, unclear := spans[0], spans[1]
	w.choose(cards[right], rig.Alice, 1)
	w.choose(cards[unclear], rig.Bob, 3)
	find := func(span, user string) (got *annotation) {
		for _, a := range w.annotations(span) {
			if a.Identifier == "adjudicated:slack:"+rig.TeamID+":"+user {
				got = &a
			}
		}
		return got
	}
	w.eventually("Phoenix holds what was decided", func() bool { return find(right, rig.Alice) != nil && find(unclear, rig.Bob) != nil })
	decided := find(right, rig.Alice)
	judged := ""
	var voted any // the version of the rubric that people voted under
	for _, a := range w.annotations(right) {
		if a.Name == "correctness" && a.Identifier != decided.Identifier {
			voted = a.Metadata["rubric"]
		}
		if a.Name == "correctness_judge" {
			judged = a.Result.Label
		}
	}
	if judged == "" || decided.Result.Label != judged || decided.Metadata["outcome"] != "Judge right" || voted == nil || decided.Metadata["decided_rubric"] != voted || !strings.HasPrefix(fmt.Sprint(decided.Metadata["of"]), "judge:correctness:") {
		t.Errorf("the judge said %q, and stored is %+v", judged, decided)
	}
	if a := find(unclear, rig.Bob); a.Result.Label != "" || a.Metadata["outcome"] != "Rubric unclear" {
		t.Errorf("stored is %+v", a)
	}
	if n := len(w.annotations(right)); n < 4 {
		t.Errorf("%d annotations: the three votes, the judge's and the decision are expected", n)
	}

	var d struct {
		How       map[string]int `json:"how"`
		Disputed  int            `json:"disputed"`
		Unchanged int            `json:"unchanged"`
	}
	out = cmd.run(0, "dataset", "--name", "study-rhymes", "--json")
	if err := json.Unmarshal([]byte(out), &d); err != nil || d.How["adjudicated"] != 1 || d.Disputed < 1 {
		t.Errorf("dataset: %v, %s", err, out)
	}
	if said := cmd.run(0, "judge", "align", "--dataset", "study-rhymes", "--split", "test", "--require", "none", "--cards", "main", "--cards-most", "0", "--json"); !strings.Contains(said, "{") {
		t.Error(said)
	}
	w.studyCards("main.judge", apart) // and no more

	// Side by side: blind until all are answered, then told.
	before, after := "initial system prompt", "updated system prompt"
	compare := func(args ...string) (told struct {
		Preferences *struct {
			Examples, Votes, Before, After, Equal int
			BothBad                               int      `json:"both_bad"`
			Sign                                  *float64 `json:"sign_test_p"`
		}
	}) {
		out := cmd.run(0, append([]string{"experiment", "compare", before, after, "--dataset", "study-rhymes", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &told); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return told
	}
	compare("--cards", "main", "--cards-most", "3")
	pairs := map[string]rig.SlackMessage{}
	study := ""
	w.eventually("three pairs are asked", func() bool {
		for _, m := range w.people.Messages(rig.Reviews) {
			if rest, ok := strings.CutPrefix(m.BlockID(), "card:main.ab-"); ok {
				pair, span, _ := strings.Cut(rest, ":")
				study, pairs[span] = "main.ab-"+pair, m
			}
		}
		return len(pairs) == 3
	})
	for i, span := range slices.Sorted(maps.Keys(pairs)) {
		m := pairs[span]
		if strings.Contains(string(m.Raw), before) || strings.Contains(string(m.Raw), after) || strings.Contains(string(m.Raw), "phoenix.example.com") {
			t.Errorf("a blind card tells which is which:\n%s", m.Raw)
		}
		if i < 2 {
			w.choose(m, rig.Alice, i)
		} else {
			w.choose(m, rig.Alice, 3)
		}
		if i == 1 {
			w.eventually("two are stored", func() bool {
				n := 0
				for span := range pairs {
					for _, a := range w.annotations(span) {
						if a.Name == "preference" {
							n++
						}
					}
				}
				return n == 2
			})
			if told := compare(); told.Preferences != nil {
				t.Errorf("with a card open: %+v", told.Preferences)
			}
		}
	}
	w.eventually("the preferences are told", func() bool {
		p := compare().Preferences
		return p != nil && p.Votes == 3 && p.Examples == 3 && p.BothBad == 1 && p.Before+p.After == 2 && p.Sign != nil
	})
	w.eventually("the cards say which was which", func() bool {
		n := 0
		for _, m := range w.studyCards(study, 3) {
			if strings.Contains(m.Shown(), "A was ") && strings.Contains(m.Shown(), before) {
				n++
			}
		}
		return n == 3
	})
}
