package phoenix

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// The stand-in does not know the filter language, and neither do servers before
// 20.0 all of it: whoever asks them has to look at every span.
func TestSpoken_NamesWhatWasAnnotated_OrFails(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		spans := spansOf(6, nil) // the last is a child of the one before it
		spans[5]["parent_id"] = rig.SpanIDs(spans)[4]
		spans[5]["context"].(map[string]any)["trace_id"] = traceID(spans[4])
		c, p := prepare(t, px, spans...)
		ids := rig.SpanIDs(spans)
		named := func(a Annotation, name string) Annotation { a.Name = name; return a }
		odd := `it's "so" \x41 ` + "tab\t, é 😀"
		must(t, c.Annotate(t.Context(), []Annotation{judge(spans[0], ana, "correct", nil), judge(spans[0], bob, "correct", nil), named(judge(spans[1], ana, "correct", nil), odd), judge(spans[5], ana, "correct", nil)}))
		must(t, c.AddSpanAnnotations(t.Context(), []SpanAnnotation{{SpanID: ids[2], Name: "correctness", Kind: "LLM", Identifier: "judge:1", Answer: review.Answer{Label: "correct"}}}))
		must(t, c.Annotate(t.Context(), []Annotation{onWhole(judge(spans[3], ana, "correct", nil)), onWhole(judge(spans[4], ana, "correct", nil))}))

		got, err := c.Spoken(t.Context(), p.ID, "correctness")
		if px.WorkingDir == "" || !px.AtLeast("20.0") {
			if err == nil {
				t.Fatalf("the server knows the filter language now: %+v", got)
			}
			return
		}
		must(t, err)
		same := func(what string, got []review.Span, want ...string) {
			t.Helper()
			list := slices.SortedFunc(slices.Values(got), func(a, b review.Span) int { return cmp.Compare(slices.Index(ids, a.ID), slices.Index(ids, b.ID)) })
			var have []string
			for _, s := range list {
				have = append(have, s.ID)
				i := slices.Index(ids, s.ID)
				if read, err := c.Span(t.Context(), p.ID, "", s.ID, 100); err != nil || s.TraceID != traceID(spans[i]) || s.ParentID != read.ParentID || s.Start.Sub(read.Start).Abs() > 0 {
					t.Errorf("%s: %+v; read by itself: %+v, %v", what, s, read, err)
				}
			}
			if !slices.Equal(have, want) {
				t.Errorf("%s: %v, want %v", what, have, want)
			}
		}
		same("spans", got.OnSpan, ids[0], ids[2], ids[5])
		same("traces", got.OnTrace, ids[3], ids[4])
		if got.Spans != 6 {
			t.Errorf("%d spans", got.Spans)
		}
		got, err = c.Spoken(t.Context(), p.ID, odd)
		must(t, err)
		same("an odd name", got.OnSpan, ids[1])
		if got, err = c.Spoken(t.Context(), p.ID, "nobody's"); err != nil || len(got.OnSpan)+len(got.OnTrace) != 0 {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err = c.Spoken(t.Context(), "UHJvamVjdDo5OTk5OTk=", "correctness"); err == nil {
			t.Error("a project that is not there")
		}
	})
}

func TestUnjudged_NamesWhatAJudgeHasNotSeen_OrFails(t *testing.T) {
	each(t, func(t *testing.T, px *rig.PhoenixServer) {
		spans := spansOf(7, func(i int, s map[string]any) {
			switch i {
			case 5:
				s["parent_id"] = rig.SpanID()
			case 6:
				s["span_kind"] = "EVALUATOR"
			}
		})
		c, p := prepare(t, px, spans...)
		ids := rig.SpanIDs(spans)
		said := func(i int, name, kind, who string) SpanAnnotation {
			return SpanAnnotation{SpanID: ids[i], Name: name, Kind: kind, Identifier: who, Answer: review.Answer{Label: "correct"}}
		}
		must(t, c.AddSpanAnnotations(t.Context(), []SpanAnnotation{
			said(0, "c_judge", "LLM", "judge:1"),
			said(1, "c_judge", "LLM", "judge:2"),
			said(2, "c_judge", "LLM", "judge:1"), said(2, "c_judge", "LLM", "judge:2"),
			said(3, "c", "HUMAN", "judge:1"), // of another name
		}))
		without, with, err := c.Unjudged(t.Context(), p.ID, "c_judge", "judge:1")
		if px.WorkingDir == "" || !px.AtLeast("20.10") {
			if err == nil {
				t.Fatalf("the server knows the filter language now: %v, %v", without, with)
			}
			return
		}
		must(t, err)
		named := func(list []review.Span) (out []string) {
			for _, id := range ids {
				for _, s := range list {
					if s.ID == id {
						out = append(out, id)
					}
				}
			}
			if len(out) != len(list) {
				t.Errorf("%v", list)
			}
			return out
		}
		if got, want := named(without), []string{ids[1], ids[3], ids[4]}; !slices.Equal(got, want) {
			t.Errorf("without: %v, want %v", got, want)
		}
		if got, want := named(with), []string{ids[0], ids[2]}; !slices.Equal(got, want) {
			t.Errorf("with: %v, want %v", got, want)
		}
	})
}

func TestQueried_RefusesWhatItCannotRead(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":         "",
		"no boundary":     "{}\r\n",
		"cut":             "--b\r\nContent-Type: application/json\r\n\r\n{\"data\":[{\"0_context.span_id\":\"a\",\"1_context.trace_id\":\"b\"},",
		"a row of no use": "--b\r\nContent-Type: application/json\r\n\r\n{\"data\":[{\"0_context.span_id\":\"a\"}]}\r\n--b--\r\n",
		"no data":         "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--\r\n",
		"a strange time":  "--b\r\nContent-Type: application/json\r\n\r\n{\"data\":[{\"0_context.span_id\":\"a\",\"1_context.trace_id\":\"b\",\"2_start_time\":\"noon\"}]}\r\n--b--\r\n",
	} {
		if got, err := queried(strings.NewReader(body)); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}
