package phoenix

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

var (
	ana = review.Reviewer{Team: "T01TEST", ID: "U01ALICE", Name: "Ana Silva"}
	bob = review.Reviewer{Team: "T01TEST", ID: "U01BOB", Name: "Bob"}
)

func score(f float64) *float64 { return &f }

// judge is a judgement of the span by that reviewer, under the name "correctness".
func judge(s map[string]any, who review.Reviewer, label string, f *float64) Annotation {
	return Annotation{Judgement: review.Judgement{
		Ref:  review.Ref{Route: "r", SpanID: rig.SpanIDs([]map[string]any{s})[0], TraceID: traceID(s)},
		Name: "correctness", Reviewer: who, Answer: review.Answer{Label: label, Score: f},
	}, Metadata: map[string]any{"reviewer": who.Name, "clicked_at": "2026-11-01T12:00:00Z"}}
}

func onWhole(a Annotation) Annotation {
	a.OnTrace = true
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnnotate_IsReadBackAsItWasSaid(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		s := rig.NewSpan("s", "in", "out")
		c, p := prepare(t, px, s)
		a := judge(s, ana, "incorrect", score(0)) // 0 is a score
		a.Explanation = "two\nlines & <b>ünïcode</b> 😀"
		a.Correction = strings.Repeat("It should have said 0. ", 130) // longer than any other metadata may be
		if _, ok, err := c.Own(t.Context(), p.ID, a.Judgement); ok || err != nil {
			t.Errorf("before: %v, %v", ok, err)
		}
		must(t, c.Annotate(t.Context(), []Annotation{a}))
		got, ok, err := c.Own(t.Context(), p.ID, a.Judgement)
		if diff := cmp.Diff(a.Answer, got); err != nil || !ok || diff != "" {
			t.Errorf("Own: %v, %v\n%s", ok, err, diff)
		}
		raw := px.Annotations(t, p.Name, a.SpanID)
		if len(raw) != 1 || raw[0]["annotator_kind"] != "HUMAN" || raw[0]["identifier"] != "slack:T01TEST:U01ALICE" ||
			raw[0]["metadata"].(map[string]any)["reviewer"] != "Ana Silva" || raw[0]["result"].(map[string]any)["score"] != 0.0 {
			t.Errorf("in Phoenix: %v", raw)
		}
		whole := onWhole(judge(s, ana, "correct", score(1)))
		must(t, c.Annotate(t.Context(), []Annotation{whole}))
		if got, ok, err = c.Own(t.Context(), p.ID, whole.Judgement); err != nil || !ok || got.Label != "correct" {
			t.Errorf("on the trace: %+v, %v, %v", got, ok, err)
		}
		if raw = px.TraceAnnotations(t, p.Name, whole.TraceID); len(raw) != 1 || raw[0]["trace_id"] != whole.TraceID {
			t.Errorf("on the trace: %v", raw)
		}
	})
}

func TestAnnotate_ChangesTheReviewersOwnAndNobodyElses(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		s := rig.NewSpan("s", "in", "out")
		c, p := prepare(t, px, s)
		must(t, c.Annotate(t.Context(), []Annotation{judge(s, ana, "correct", score(1)), judge(s, bob, "correct", nil)}))
		must(t, c.Annotate(t.Context(), []Annotation{judge(s, ana, "incorrect", nil)}))
		if raw := px.Annotations(t, p.Name, rig.SpanIDs([]map[string]any{s})...); len(raw) != 2 {
			t.Fatalf("%d annotations, want one each: %v", len(raw), raw)
		}
		for who, want := range map[review.Reviewer]string{ana: "incorrect", bob: "correct"} {
			got, ok, err := c.Own(t.Context(), p.ID, judge(s, who, "", nil).Judgement)
			if err != nil || !ok || got.Label != want || got.Score != nil {
				t.Errorf("%s: %+v, %v, %v", who.Name, got, ok, err)
			}
		}
	})
}

func TestAnnotate_OneUnknownSpanAndNothingIsWritten(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		s := rig.NewSpan("s", "in", "out")
		c, p := prepare(t, px, s)
		for name, whole := range map[string]bool{"spans": false, "traces": true} {
			var batch []Annotation
			var unknown []string
			for i := range 100 {
				a := judge(s, ana, "correct", nil)
				if i > 0 {
					a = judge(rig.NewSpan("x", "", ""), ana, "correct", nil)
					id := a.SpanID
					if whole {
						id = a.TraceID
					}
					unknown = append(unknown, id)
				}
				a.OnTrace = whole
				batch = append(batch, a)
			}
			err := c.Annotate(t.Context(), batch)
			var missing *MissingError
			if review.KindOf(err) != review.Gone || !errors.As(err, &missing) || !slices.Equal(missing.IDs, unknown) {
				t.Errorf("%s: %v; want Gone and all unknown ids", name, err)
			}
			if _, ok, err := c.Own(t.Context(), p.ID, batch[0].Judgement); ok || err != nil {
				t.Errorf("%s: the known one was written: %v, %v", name, ok, err)
			}
		}
		if raw := px.Annotations(t, p.Name, rig.SpanIDs([]map[string]any{s})...); len(raw) != 0 {
			t.Errorf("in Phoenix: %v", raw)
		}
	})
}

func TestAnnotate_CleansWhatPhoenixCannotStore(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		s := rig.NewSpan("s", "in", "out")
		c, p := prepare(t, px, s)
		a := judge(s, ana, "cor\x00rect", nil)
		a.Explanation = "nul \x00, half \xed\xa0\xbd, whole 😀" + strings.Repeat("x", 2*maxExplanation)
		a.Metadata["wh\x00o"] = "A\x00na"
		must(t, c.Annotate(t.Context(), []Annotation{a}))
		raw := px.Annotations(t, p.Name, a.SpanID)
		text := raw[0]["result"].(map[string]any)["explanation"].(string)
		if raw[0]["result"].(map[string]any)["label"] != "correct" || strings.ContainsAny(text, "\x00") ||
			!strings.HasPrefix(text, "nul , half ") || !strings.Contains(text, "😀") || len(text) > maxExplanation+20 ||
			raw[0]["metadata"].(map[string]any)["who"] != "Ana" {
			t.Errorf("stored: %.300v", raw)
		}
		for name, bad := range map[string]func(*Annotation){
			"a name for the notes": func(a *Annotation) { a.Name = "note" },
			"no name":              func(a *Annotation) { a.Name = "" },
			"an endless name":      func(a *Annotation) { a.Name = strings.Repeat("x", maxKey+1) },
			"no finite score":      func(a *Annotation) { zero := 0.0; a.Score = score(1 / zero) },
		} {
			b := judge(s, ana, "correct", nil)
			bad(&b)
			if err := c.Annotate(t.Context(), []Annotation{b}); review.KindOf(err) != review.Refused {
				t.Errorf("%s: %v; want Refused", name, err)
			}
		}
	})
}

func TestAnnotated_MeansByAHumanUnderThisName(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		names := []string{"none", "human", "judge", "human other name", "trace of root", "trace of child", "taken back", "judge and human"}
		spans := spansOf(len(names), nil)
		spans[5]["parent_id"] = rig.SpanID()
		c, p := prepare(t, px, spans...)
		ids := rig.SpanIDs(spans)
		raw := func(i int, name, kind string) map[string]any {
			return map[string]any{"span_id": ids[i], "name": name, "annotator_kind": kind, "identifier": kind, "result": map[string]any{"label": "x"}}
		}
		px.Annotate(t, raw(1, "correctness", "HUMAN"), raw(2, "correctness", "LLM"), raw(3, "helpfulness", "HUMAN"),
			raw(7, "correctness", "LLM"), raw(7, "correctness", "HUMAN"))
		must(t, c.Annotate(t.Context(), []Annotation{onWhole(judge(spans[4], ana, "correct", nil)), onWhole(judge(spans[5], ana, "correct", nil))}))
		back := judge(spans[6], ana, "", nil)
		back.Metadata["retracted"] = true
		must(t, c.Annotate(t.Context(), []Annotation{back}))
		rows := collect(t, c.Newest(t.Context(), Query{Project: p.ID, Filter: review.Filter{AllSpans: true}}, 0))
		var list []review.Span
		for _, r := range rows {
			list = append(list, r.Span)
		}
		list = append(list, review.Span{ID: rig.SpanID(), TraceID: rig.TraceID()})
		got, err := c.Annotated(t.Context(), p.ID, "correctness", list)
		want := map[string]bool{ids[1]: true, ids[4]: true, ids[7]: true}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s\nof %v", err, diff, ids)
		}
		got, err = c.Annotated(t.Context(), p.ID, "correctness", []review.Span{{ID: rig.SpanID(), TraceID: rig.TraceID()}})
		if err != nil || len(got) != 0 {
			t.Errorf("spans that Phoenix does not know: %v, %v", got, err)
		}
		if _, err = c.Annotated(t.Context(), "UHJvamVjdDo5OTk5OTk=", "correctness", list); review.KindOf(err) != review.Gone {
			t.Errorf("an unknown project: %v; want Gone", err)
		}
	})
}

func TestEvidence_IsWhatJudgesAndUsersSaid_InTheAnswerThatIsAskedForAnyway(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		spans := spansOf(4, nil)
		project := "evidence " + rig.SpanID()
		px.Ingest(t, project, spans...)
		c, check := connect(t, px, Options{})
		p, err := c.Project(t.Context(), project)
		must(t, err)
		ids := rig.SpanIDs(spans)
		raw := func(i int, name, kind, identifier, label string, meta map[string]any) map[string]any {
			return map[string]any{"span_id": ids[i], "name": name, "annotator_kind": kind, "identifier": identifier,
				"result": map[string]any{"label": label, "score": 0}, "metadata": meta}
		}
		px.Annotate(t,
			raw(0, "correctness_judge", "LLM", "judge:1", "correct", map[string]any{"votes": map[string]any{"correct": 3, "incorrect": 2}}),
			raw(0, "correctness_judge", "LLM", "judge:2", "incorrect", map[string]any{"votes": "many"}),
			raw(0, "correctness_judge", "HUMAN", "somebody", "correct", nil), // is no judge
			raw(0, "user_feedback", "HUMAN", "app", "negative", nil),
			raw(1, "correctness", "HUMAN", "somebody", "correct", nil),
			raw(2, "helpfulness_judge", "LLM", "judge:1", "correct", nil),
			raw(3, "correctness_judge", "CODE", "rule", "correct", nil))
		var list []review.Span
		for _, id := range ids {
			list = append(list, review.Span{ID: id})
		}
		clear(check.seen)
		annotated, got, err := c.Evidence(t.Context(), p.ID, "correctness", "correctness_judge", list)
		must(t, err)
		if asked := check.seen["GET /v1/projects/"+p.ID+"/span_annotations"]; asked != 1 {
			t.Errorf("%d requests, want 1", asked)
		}
		if diff := cmp.Diff(map[string]bool{ids[1]: true}, annotated); diff != "" {
			t.Error(diff)
		}
		slices.SortFunc(got[ids[0]].Judges, func(a, b review.Opinion) int { return strings.Compare(a.Label, b.Label) })
		want := map[string]review.Evidence{
			ids[0]: {
				Judges:   []review.Opinion{{Label: "correct", Votes: map[string]float64{"correct": 3, "incorrect": 2}}, {Label: "incorrect", Votes: map[string]float64{}}},
				Feedback: []review.Answer{{Label: "negative", Score: score(0)}},
			},
			ids[3]: {Judges: []review.Opinion{{Label: "correct", Votes: map[string]float64{}}}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnnotated_AsksBySmallAndLargeBatches(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		s := rig.NewSpan("s", "in", "out")
		project := "batches " + rig.SpanID()
		px.Ingest(t, project, s)
		c, check := connect(t, px, Options{})
		p, err := c.Project(t.Context(), project)
		must(t, err)
		must(t, c.Annotate(t.Context(), []Annotation{judge(s, ana, "correct", nil)}))
		for n, want := range map[int]int{1: 1, 25: 1, 100: 4, 101: 2, 400: 2} {
			list := []review.Span{}
			for range n - 1 {
				list = append(list, review.Span{ID: rig.SpanID(), TraceID: rig.TraceID()})
			}
			list = append(list, review.Span{ID: rig.SpanIDs([]map[string]any{s})[0], TraceID: traceID(s)})
			clear(check.seen)
			got, err := c.Annotated(t.Context(), p.ID, "correctness", list)
			if err != nil || len(got) != 1 {
				t.Errorf("%d ids: %v, %v", n, got, err)
			}
			if asked := check.seen["GET /v1/projects/"+p.ID+"/span_annotations"]; asked != want {
				t.Errorf("%d ids: %d requests, want %d", n, asked, want)
			}
		}
	})
}

func TestWithdraw_DeletesExactlyTheReviewersOwn(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		spans := spansOf(2, nil)
		c, p := prepare(t, px, spans...)
		other := judge(spans[0], ana, "good", nil)
		other.Name = "helpfulness"
		must(t, c.Annotate(t.Context(), []Annotation{
			judge(spans[0], ana, "correct", nil), judge(spans[0], bob, "correct", nil), other, judge(spans[1], ana, "correct", nil),
		}))
		must(t, c.Annotate(t.Context(), []Annotation{onWhole(judge(spans[0], ana, "correct", nil)), onWhole(judge(spans[0], bob, "correct", nil))}))
		for range 2 { // taking back what is not there is fine
			must(t, c.Withdraw(t.Context(), p.ID, judge(spans[0], ana, "", nil)))
		}
		var left []string
		for _, a := range px.Annotations(t, p.Name, rig.SpanIDs(spans)...) {
			left = append(left, a["name"].(string)+" "+a["identifier"].(string)+" "+a["span_id"].(string))
		}
		slices.Sort(left)
		ids := rig.SpanIDs(spans)
		want := []string{
			"correctness slack:T01TEST:U01ALICE " + ids[1], "correctness slack:T01TEST:U01BOB " + ids[0],
			"helpfulness slack:T01TEST:U01ALICE " + ids[0],
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, left); diff != "" {
			t.Error(diff)
		}
		must(t, c.Withdraw(t.Context(), p.ID, onWhole(judge(spans[0], ana, "", nil))))
		if raw := px.TraceAnnotations(t, p.Name, traceID(spans[0])); len(raw) != 1 || raw[0]["identifier"] != bob.Identifier() {
			t.Errorf("on the trace: %v", raw)
		}
		must(t, c.Withdraw(t.Context(), p.ID, judge(rig.NewSpan("never sent", "", ""), ana, "", nil)))
	})
}

// wire changes what the server answers.
type wire func(*http.Request) *http.Response

func (c *contract) instead(f wire) {
	next := c.next
	c.next = roundTrip(func(r *http.Request) (*http.Response, error) {
		if resp := f(r); resp != nil {
			resp.Request, resp.Proto, resp.ProtoMajor = r, "HTTP/1.1", 1
			return resp, nil
		}
		return next.RoundTrip(r)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, kind, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body))}
}

func TestWithdraw_WhereDeletingIsRefusedOverwritesWithNothing(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		for name, refusal := range map[string]func() *http.Response{
			"a graphql error": func() *http.Response {
				return answer(200, "application/json", `{"data":null,"errors":[{"message":"Not allowed"}]}`)
			},
			"forbidden":           func() *http.Response { return answer(403, "text/plain", "Forbidden") },
			"no graphql there":    func() *http.Response { return answer(200, "text/html", "<html>") },
			"an unknown mutation": func() *http.Response { return answer(400, "text/plain", "Cannot query field") },
		} {
			t.Run(name, func(t *testing.T) {
				s := rig.NewSpan("s", "in", "out")
				project := "refused " + rig.SpanID()
				px.Ingest(t, project, s)
				c, check := connect(t, px, Options{})
				check.instead(func(r *http.Request) *http.Response {
					if r.URL.Path == "/graphql" {
						return refusal()
					}
					return nil
				})
				p, err := c.Project(t.Context(), project)
				must(t, err)
				a, b := judge(s, ana, "correct", score(1)), judge(s, bob, "correct", score(1))
				must(t, c.Annotate(t.Context(), []Annotation{a, b}))
				must(t, c.Withdraw(t.Context(), p.ID, a))
				if _, ok, err := c.Own(t.Context(), p.ID, a.Judgement); ok || err != nil {
					t.Errorf("still there: %v, %v", ok, err)
				}
				if got, ok, err := c.Own(t.Context(), p.ID, b.Judgement); !ok || err != nil || got.Label != "correct" {
					t.Errorf("the other reviewer's: %v, %v, %v", got, ok, err)
				}
				if raw := px.Annotations(t, p.Name, a.SpanID); len(raw) != 2 {
					t.Errorf("%v", raw)
				}
				must(t, c.Annotate(t.Context(), []Annotation{a})) // a change of mind
				if got, ok, err := c.Own(t.Context(), p.ID, a.Judgement); !ok || err != nil || got.Label != "correct" {
					t.Errorf("said again: %v, %v, %v", got, ok, err)
				}
			})
		}
	})
}

func TestHints_ListUnannotatedRootsNewestFirst(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		name := `a "quoted" name, ü`
		start := time.Now().UTC().Add(-time.Hour)
		spans := spansOf(5, func(i int, s map[string]any) {
			s["start_time"] = start.Add(time.Duration(i) * time.Second).Format(time.RFC3339Nano)
		})
		spans[4]["parent_id"] = rig.SpanIDs(spans)[0]
		c, p := prepare(t, px, spans...)
		a := judge(spans[2], ana, "correct", nil)
		a.Name = name
		must(t, c.Annotate(t.Context(), []Annotation{a}))
		ids := rig.SpanIDs(spans)
		got, err := c.Hints(t.Context(), p.Name, name, true, 2)
		if !px.AtLeast("19.6") && review.KindOf(err) == review.Refused {
			t.Logf("Phoenix %s has no hints to give: %v", px.Version, err)
			return
		}
		if err != nil || !slices.Equal(got, []string{ids[3], ids[1]}) {
			t.Errorf("two roots: %v, %v; of %v", got, err, ids)
		}
		got, err = c.Hints(t.Context(), p.Name, name, false, 100)
		if err != nil || !slices.Equal(got, []string{ids[4], ids[3], ids[1], ids[0]}) {
			t.Errorf("all spans: %v, %v; of %v", got, err, ids)
		}
		if got, err := c.Hints(t.Context(), p.Name, `it's \`, true, 2); err != nil || len(got) != 0 {
			t.Errorf("a name that the language cannot hold everywhere: %v, %v", got, err)
		}
		if _, err := c.Hints(t.Context(), "no "+p.Name, name, true, 2); review.KindOf(err) != review.Gone {
			t.Errorf("an unknown project: %v", err)
		}
	})
}
