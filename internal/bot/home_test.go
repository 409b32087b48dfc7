package bot

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

// stage is a Slack that takes App Homes: it says what answer tells it, and holds
// a drawing back until it is let go.
type stage struct {
	*clerk
	log    bytes.Buffer
	mu     sync.Mutex
	views  []string // as published, in order
	answer string
	began  chan struct{} // one for each drawing that arrived
	let    chan struct{} // closed: nothing is held back
}

func newStage(t *testing.T) *stage {
	s := &stage{clerk: newClerk(t), answer: `{"ok":true}`, began: make(chan struct{}, 1000), let: make(chan struct{})}
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/views.publish") {
			fmt.Fprint(w, `{"ok":false,"error":"user_not_found"}`)
			return
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		s.mu.Lock()
		s.views = append(s.views, body.String())
		answer := s.answer
		s.mu.Unlock()
		s.began <- struct{}{}
		<-s.let
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(slack.Close)
	s.b.slack = slackui.New(slackui.Options{BotToken: "xoxb-x", APIURL: slack.URL + "/"})
	s.b.log = slog.New(slog.NewTextHandler(&s.log, nil))
	s.b.rubrics.bot = s.b
	s.b.homes.gap = time.Millisecond
	s.b.identity.URL = "https://x.slack.com/"
	return s
}

func (s *stage) open() {
	s.t.Helper()
	if err := s.b.openHome(s.t.Context(), ana); err != nil {
		s.t.Error(err)
	}
}

func (s *stage) says(answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

var ana = review.Reviewer{Team: "T1", ID: "U1", Name: "Ana"}

func TestHome_AStormOfTapsIsOneMoreDrawing(t *testing.T) {
	s := newStage(t)
	s.b.touchHome(ana) // nobody looks at it
	s.open()
	<-s.began
	for range 100 {
		s.open()
		s.b.touchHome(ana)
	}
	close(s.let)
	s.b.work.Wait()
	if len(s.views) != 2 {
		t.Errorf("drawn %d times", len(s.views))
	}
}

// What was judged while an older drawing was on its way is in the last one.
func TestHome_TheLastDrawingHasEverythingAndNoContentOfASpan(t *testing.T) {
	s := newStage(t)
	s.open()
	<-s.began
	rubric := review.DefaultRubric("correctness")
	s.b.rubrics.learn(rubric)
	ref := review.Ref{Route: "main", TraceID: strings.Repeat("a", 32), SpanID: strings.Repeat("b", 16)}
	if _, err := s.b.queue.Change(t.Context(), ref.Route, ref.TraceID, func(th *review.Thread) (queue.Step, error) {
		th.Place(review.Card{SpanID: ref.SpanID, Channel: "C7", TS: "1758000000.000200", Rubric: rubric.Hash(), Posted: time.Now(), Summary: "top secret question"}, "")
		return queue.Step{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	j := judgement(ref, rubric, ana, "C7", "1758000000.000200", "")
	j.Answer, j.Tap = review.Answer{Label: "correct"}, true
	if err := s.b.keep(t.Context(), j, time.Now(), false); err != nil {
		t.Fatal(err)
	}
	close(s.let)
	s.b.work.Wait()
	last := s.views[len(s.views)-1]
	for _, want := range []string{"correct", "C7", "/archives/C7/p1758000000000200|card"} {
		if !strings.Contains(last, want) {
			t.Errorf("no %q in\n%s", want, last)
		}
	}
	if strings.Contains(last, "secret") {
		t.Errorf("a span's content is in\n%s", last)
	}

	before := len(s.views)
	j.Answer, j.Withdrawn, j.At = review.Answer{}, true, j.At.Add(time.Second)
	if _, err := s.b.queue.Change(t.Context(), ref.Route, ref.TraceID, func(th *review.Thread) (queue.Step, error) {
		th.Withdraw(j)
		return queue.Step{Put: []review.Judgement{j}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	s.b.touchHome(ana)
	s.b.work.Wait()
	if last := s.views[len(s.views)-1]; len(s.views) != before+1 || !strings.Contains(last, "Nothing yet") {
		t.Errorf("after it was taken back, drawn %d times:\n%s", len(s.views)-before, last)
	}
}

func TestHome_ATabThatIsSwitchedOffIsSaidOnce(t *testing.T) {
	s := newStage(t)
	close(s.let)
	s.says(`{"ok":false,"error":"not_enabled"}`)
	for range 3 {
		s.open()
		s.b.work.Wait()
	}
	if n := strings.Count(s.log.String(), "App Homes cannot be shown"); n != 1 || !strings.Contains(s.log.String(), "switch it on") {
		t.Errorf("said %d times:\n%s", n, s.log.String())
	}
	s.b.touchHome(ana)
	s.b.work.Wait()
	if len(s.views) != 3 {
		t.Errorf("tried %d times; judging need not try", len(s.views))
	}
	s.says(`{"ok":true}`)
	s.open()
	s.b.work.Wait()
	s.says(`{"ok":false,"error":"not_enabled"}`)
	s.open()
	s.b.work.Wait()
	if n := strings.Count(s.log.String(), "App Homes cannot be shown"); n != 2 {
		t.Errorf("off again is said %d times in all", n)
	}
}

func TestHome_ABusySlackIsTriedThreeTimes(t *testing.T) {
	s := newStage(t)
	close(s.let)
	s.says(`{"ok":false,"error":"ratelimited"}`)
	s.open()
	s.b.work.Wait()
	if len(s.views) != homeTries {
		t.Errorf("tried %d times", len(s.views))
	}
}

func TestStatus_SaysWhatDoesNotAnswer(t *testing.T) {
	s := newStage(t)
	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()
	px, err := phoenix.New(phoenix.Options{Endpoint: nobody.URL})
	if err != nil {
		t.Fatal(err)
	}
	s.b.phoenix, s.b.set.Version = px, "1.2.3"
	s.b.routes = []*route{newRoute(s.b, review.Route{Name: "main", Schedule: "@every 30s", MaxOpen: 25})}
	s.b.routes[0].problems["prepare"] = "channel #x: not there"
	v := s.b.status(t.Context())
	if v.Version != "1.2.3" || v.Server != "" || v.Trouble == "" || v.Redis != "" || len(v.Routes) != 1 || v.Routes[0].MaxOpen != 25 || v.Routes[0].Why != "channel #x: not there" {
		t.Errorf("%+v", v)
	}
	_ = s.redis.Close()
	if v := s.b.status(t.Context()); v.Redis == "" || len(v.Routes) != 1 || v.Routes[0].Name != "main" {
		t.Errorf("with Redis gone: %+v", v)
	}
}
