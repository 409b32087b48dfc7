package review

import (
	"testing"
	"time"
)

var t0 = time.UnixMilli(1_758_000_000_000)

func tap(user, label string, at time.Duration) Judgement {
	s := map[string]float64{"correct": 1}[label]
	return Judgement{
		Ref: Ref{Route: "main", TraceID: "t", SpanID: "s"}, Name: "correctness", Rubric: "r", Reviewer: Reviewer{Team: "T", ID: user},
		Answer: Answer{Label: label, Score: &s}, At: t0.Add(at), Tap: true, Channel: "C", Message: "1.000001",
	}
}

func placed() *Thread {
	t := &Thread{Route: "main", TraceID: "t"}
	t.Place(Card{SpanID: "s", Channel: "C", TS: "1.000001", Rubric: "r", Posted: t0}, "")
	return t
}

func TestFirstCardIsTheParentAndLaterOnesReply(t *testing.T) {
	th := placed()
	th.Place(Card{SpanID: "s2", Channel: "C", TS: "2.000001"}, "1.000001")
	if th.TS != "1.000001" || th.Card("s2").State != Open {
		t.Errorf("parent %q, second card %+v", th.TS, th.Card("s2"))
	}
	// Slack posts a reply to a deleted parent on its own: it becomes the parent.
	th.Place(Card{SpanID: "s3", Channel: "C", TS: "3.000001"}, "")
	if th.TS != "3.000001" {
		t.Errorf("parent %q; want the new one", th.TS)
	}
}

func TestTaps(t *testing.T) {
	for _, c := range []struct {
		name    string
		taps    []Judgement
		changed []bool
		votes   int
		label   string // of the last tap's reviewer
	}{
		{"one", []Judgement{tap("a", "correct", 0)}, []bool{true}, 1, "correct"},
		{"the same again changes nothing", []Judgement{tap("a", "correct", 0), tap("a", "correct", 1e9)}, []bool{true, false}, 1, "correct"},
		{"the other one changes one's own", []Judgement{tap("a", "correct", 0), tap("a", "incorrect", 1e9)}, []bool{true, true}, 1, "incorrect"},
		{"another reviewer stands beside", []Judgement{tap("a", "correct", 0), tap("b", "incorrect", 1e9)}, []bool{true, true}, 2, "incorrect"},
		{"a redelivered older click loses", []Judgement{tap("a", "correct", 2e9), tap("a", "incorrect", 1e9)}, []bool{true, false}, 1, "correct"},
	} {
		th := placed()
		for i, j := range c.taps {
			if got := th.Judge(j); got != c.changed[i] {
				t.Errorf("%s: tap %d changed = %v", c.name, i, got)
			}
		}
		last := c.taps[len(c.taps)-1]
		v := th.Card("s").Find(last.Reviewer.ID, "correctness", false)
		if len(th.Card("s").Votes) != c.votes || v == nil || v.Label != c.label || th.Card("s").State != Judged {
			t.Errorf("%s: %+v", c.name, th.Card("s"))
		}
	}
}

func TestFailedJudgementMayBeTappedAgain(t *testing.T) {
	th := placed()
	j := tap("a", "correct", 0)
	th.Judge(j)
	if !th.Confirm(j, "refused") || th.Card("s").Votes[0].Why != "refused" {
		t.Fatalf("%+v", th.Card("s"))
	}
	if !th.Judge(tap("a", "correct", 1e9)) || th.Card("s").Votes[0].Delivery != Waiting {
		t.Errorf("%+v", th.Card("s"))
	}
}

func TestOldNewsOfADeliveryIsIgnored(t *testing.T) {
	th := placed()
	first := tap("a", "correct", 0)
	th.Judge(first)
	th.Judge(tap("a", "incorrect", 1e9))
	if th.Confirm(first, "") || th.Card("s").Votes[0].Delivery != Waiting {
		t.Errorf("a replaced judgement was confirmed: %+v", th.Card("s"))
	}
}

func TestWithdrawnLastJudgementOpensTheCardAgain(t *testing.T) {
	th := placed()
	th.Judge(tap("a", "correct", 0))
	th.Judge(tap("b", "correct", 0))
	w := tap("a", "", 1e9)
	w.Withdrawn = true
	if !th.Withdraw(w) || th.Withdraw(w) || th.Card("s").State != Judged {
		t.Errorf("after the first of two: %+v", th.Card("s"))
	}
	if !th.Confirm(w, "") || len(th.Card("s").Votes) != 1 {
		t.Errorf("deleted in Phoenix: %+v", th.Card("s"))
	}
	w2 := tap("b", "", 2e9)
	if !th.Withdraw(w2) || th.Card("s").State != Open {
		t.Errorf("after the last one: %+v", th.Card("s"))
	}
	if !th.Judge(tap("b", "incorrect", 3e9)) || th.Card("s").Votes[0].Withdrawn || th.Card("s").State != Judged {
		t.Errorf("judged anew while the deletion is out: %+v", th.Card("s"))
	}
	if th.Withdraw(tap("nobody", "", 4e9)) {
		t.Error("withdrew what was never said")
	}
}

func TestSkipAndExpire(t *testing.T) {
	th := placed()
	if !th.Skip("s", "a") || th.Card("s").State != Skipped || th.Card("s").Closer != "a" || th.Skip("s", "b") {
		t.Errorf("%+v", th.Card("s"))
	}
	if th.Close("s", Expired) {
		t.Error("a skipped card expired")
	}
	if !th.Judge(tap("b", "correct", 0)) || th.Card("s").State != Judged || th.Card("s").Closer != "" {
		t.Errorf("a skipped card cannot be judged: %+v", th.Card("s"))
	}
	th = placed()
	if !th.Close("s", Expired) || th.Close("s", Expired) || !th.Skip("s", "a") {
		t.Errorf("%+v", th.Card("s"))
	}
	if th.Skip("unknown", "a") || th.Close("unknown", Deleted) {
		t.Error("an unknown card was closed")
	}
}

func TestClickBetweenPostAndRecordIsKept(t *testing.T) {
	th := &Thread{Route: "main", TraceID: "t"}
	th.Judge(tap("a", "correct", 0)) // the card is not recorded yet; its ids come with the click
	if c := th.Card("s"); c.TS != "1.000001" || c.State != Judged || th.TS != "1.000001" {
		t.Fatalf("%+v", th)
	}
	th.Place(Card{SpanID: "s", Channel: "C", TS: "1.000001", Rubric: "r", Posted: t0, Summary: "q → a"}, "")
	if c := th.Card("s"); c.State != Judged || len(c.Votes) != 1 || c.Summary != "q → a" {
		t.Errorf("%+v", c)
	}
}

func TestJudgedThroughAnOutline_HasNoMessageOfItsOwn(t *testing.T) {
	th := placed()
	th.Outline = "9.000001"
	j := tap("a", "correct", 0)
	j.SpanID, j.Message = "child", ""
	th.Judge(j)
	if c := th.Card("child"); c.State != Loose || c.TS != "" || len(c.Votes) != 1 {
		t.Errorf("%+v", c)
	}
	j.Message = "9.000001" // the outline's own message is nobody's card
	j.SpanID = "other"
	th.Judge(j)
	if c := th.Card("other"); c.TS != "" {
		t.Errorf("%+v", c)
	}
}

func TestSpanAndTraceJudgementsOfOnePersonAreTwo(t *testing.T) {
	th := placed()
	th.Judge(tap("a", "correct", 0))
	j := tap("a", "incorrect", 0)
	j.OnTrace = true
	th.Judge(j)
	if len(th.Card("s").Votes) != 2 || j.Key() == tap("a", "incorrect", 0).Key() {
		t.Errorf("%+v", th.Card("s"))
	}
}

func TestJudgementOfTheTrace_StandsOnOneCardOfAPerson(t *testing.T) {
	th := placed()
	th.Place(Card{SpanID: "s2", Channel: "C", TS: "2.000001"}, "1.000001")
	first := tap("a", "correct", 0)
	first.OnTrace = true
	th.Judge(first)
	second := tap("a", "incorrect", 1e9)
	second.OnTrace, second.SpanID, second.Message = true, "s2", "2.000001"
	th.Judge(second)
	if n := len(th.Card("s").Votes); n != 0 || th.Card("s").State != Open || len(th.Card("s2").Votes) != 1 {
		t.Errorf("%+v", th.Cards)
	}
}

func TestDeletedMessage_LeavesTheSpanTrackedWithoutAPlace(t *testing.T) {
	th := placed()
	if !th.Unplace("s") || th.Unplace("s") || th.Card("s").State != Loose || th.TS != "" {
		t.Errorf("%+v", th)
	}
	th.Judge(tap("a", "correct", 0)) // its button may still be on someone's screen
	if th.Card("s").State != Judged || th.Card("s").TS == "" {
		t.Errorf("%+v", th.Card("s"))
	}
}

func TestOutstandingIsTheEarliestUnconfirmed(t *testing.T) {
	th := placed()
	th.Judge(tap("a", "correct", 2e9))
	th.Judge(tap("b", "correct", 1e9))
	if got := th.Card("s").Outstanding(); !got.Equal(t0.Add(time.Second)) {
		t.Errorf("%v", got)
	}
	th.Confirm(tap("a", "correct", 2e9), "")
	th.Confirm(tap("b", "correct", 1e9), "")
	if got := th.Card("s").Outstanding(); !got.IsZero() {
		t.Errorf("%v", got)
	}
}
