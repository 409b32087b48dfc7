package bot

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/proxy"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// poller is a route on a real Phoenix that polls and never posts.
type poller struct {
	t       *testing.T
	px      *rig.PhoenixServer
	wire    *proxy.HTTP
	project string
	r       *route
	log     *strings.Builder
}

var pollers atomic.Int64

func newPoller(t *testing.T, px *rig.PhoenixServer, change func(*review.Route)) *poller {
	t.Helper()
	m := miniredis.RunT(t)
	p := &poller{t: t, px: px, wire: proxy.NewHTTP(t, px.URL), log: &strings.Builder{},
		project: fmt.Sprintf("poll-%d-%d", os.Getpid(), pollers.Add(1))}
	c, err := phoenix.New(phoenix.Options{Endpoint: p.wire.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Server(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: m.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	b := newBot(Settings{Phoenix: phoenix.Options{Endpoint: p.wire.URL}, Log: slog.New(slog.NewTextHandler(p.log, nil))}, c, prometheus.NewRegistry())
	b.queue = queue.New(client, queue.Options{Instance: p.project})
	if err := b.queue.KeepEpoch(t.Context(), "main", queue.Epoch{Until: time.Now()}); err != nil {
		t.Fatal(err)
	}
	rt := review.Route{Name: "main", Project: p.project, Channel: "C1", Schedule: "@every 30s", Rubric: "correctness",
		Sample: 1, Since: 24 * time.Hour, MaxOpen: 0, Backlog: 500, Order: review.Newest}
	if change != nil {
		change(&rt)
	}
	p.r = newRoute(b, rt)
	p.r.rubric = review.DefaultRubric("correctness")
	return p
}

func (p *poller) ingest(spans ...map[string]any) []string {
	p.t.Helper()
	p.px.Ingest(p.t, p.project, spans...)
	return rig.SpanIDs(spans)
}

func (p *poller) poll() error {
	p.t.Helper()
	if p.r.projectID == "" {
		id, err := p.r.b.projectID(p.t.Context(), p.project)
		if err != nil {
			return err
		}
		p.r.projectID = id
	}
	return p.r.poll(p.t.Context())
}

func (p *poller) must() {
	p.t.Helper()
	if err := p.poll(); err != nil {
		p.t.Fatal(err)
	}
}

// drain claims everything that waits, newest first, and returns the span ids.
func (p *poller) drain() []string {
	p.t.Helper()
	var out []string
	for {
		c, ok, err := p.r.b.queue.Claim(p.t.Context(), "main", 0, review.Newest, time.Hour)
		if err != nil {
			p.t.Fatal(err)
		}
		if !ok {
			return out
		}
		_, err = p.r.b.queue.Change(p.t.Context(), "main", c.TraceID, func(t *review.Thread) (queue.Step, error) {
			t.Place(review.Card{SpanID: c.SpanID, Channel: "C1", TS: fmt.Sprintf("1758000000.%06d", c.Row), Posted: time.Now()}, "")
			return queue.Step{Claim: &c}, nil
		})
		if err != nil {
			p.t.Fatal(err)
		}
		out = append(out, c.SpanID)
	}
}

func span(name string, change func(map[string]any)) map[string]any {
	s := rig.NewSpan(name, "q", "a")
	if change != nil {
		change(s)
	}
	return s
}

func many(n int) (out []map[string]any) {
	for i := range n {
		out = append(out, span(fmt.Sprint("s", i), nil))
	}
	return out
}

func TestPoll_FindsNewSpansOnceNewestFirst(t *testing.T) {
	p := newPoller(t, rig.SharedPhoenix(t), nil)
	ids := p.ingest(many(5)...)
	p.must()
	got := p.drain()
	slices.Reverse(got)
	if !slices.Equal(got, ids) {
		t.Errorf("found %v; want %v, newest first", got, ids)
	}
	p.must()
	if got := p.drain(); len(got) != 0 {
		t.Errorf("found again: %v", got)
	}
	more := p.ingest(many(3)...)
	p.must()
	if got := p.drain(); len(got) != 3 || !slices.Contains(got, more[0]) {
		t.Errorf("new ones: %v; want %v", got, more)
	}
}

func TestPoll_AnnotatedByAHumanIsLeftOut_ByAJudgeIsNot(t *testing.T) {
	p := newPoller(t, rig.SharedPhoenix(t), nil)
	spans := many(4)
	ids := p.ingest(spans...)
	trace := spans[2]["context"].(map[string]any)["trace_id"]
	p.px.Annotate(t,
		map[string]any{"span_id": ids[0], "name": "correctness", "annotator_kind": "HUMAN", "result": map[string]any{"label": "x"}, "identifier": "a"},
		map[string]any{"span_id": ids[1], "name": "correctness", "annotator_kind": "LLM", "result": map[string]any{"label": "x"}, "identifier": "b"},
		map[string]any{"span_id": ids[3], "name": "other", "annotator_kind": "HUMAN", "result": map[string]any{"label": "x"}, "identifier": "c"})
	p.px.Call(t, "POST", "/v1/trace_annotations?sync=true", map[string]any{"data": []any{
		map[string]any{"trace_id": trace, "name": "correctness", "annotator_kind": "HUMAN", "result": map[string]any{"label": "x"}, "identifier": "d"}}})
	p.must()
	got := p.drain()
	if len(got) != 2 || !slices.Contains(got, ids[1]) || !slices.Contains(got, ids[3]) {
		t.Errorf("found %v of %v; want the second and the fourth", got, ids)
	}
}

func TestPoll_Filters(t *testing.T) {
	px := rig.SharedPhoenix(t)
	spans := func() []map[string]any {
		root := span("root", nil)
		child := span("child", func(s map[string]any) {
			s["parent_id"] = root["context"].(map[string]any)["span_id"]
			s["context"].(map[string]any)["trace_id"] = root["context"].(map[string]any)["trace_id"]
		})
		return []map[string]any{
			root, child,
			span("judge", func(s map[string]any) { s["span_kind"] = "EVALUATOR" }),
			span("chain", func(s map[string]any) { s["span_kind"] = "CHAIN" }),
			span("bad", func(s map[string]any) { s["status_code"] = "ERROR" }),
			span("acme", func(s map[string]any) { s["attributes"].(map[string]any)["metadata.tenant"] = "acme" }),
			span("old", func(s map[string]any) {
				s["start_time"], s["end_time"] = "2020-01-01T00:00:00Z", "2020-01-01T00:00:01Z"
			}),
		}
	}
	names := []string{"root", "child", "judge", "chain", "bad", "acme", "old"}
	for _, c := range []struct {
		name   string
		change func(*review.Route)
		want   string
	}{
		{"roots, no evaluators, since a day", nil, "acme bad chain root"},
		{"all spans", func(r *review.Route) { r.Spans.AllSpans = true }, "acme bad chain child root"},
		{"a kind", func(r *review.Route) { r.Spans.Kinds = []string{"CHAIN"} }, "chain"},
		{"evaluators, asked for", func(r *review.Route) { r.Spans.Kinds = []string{"EVALUATOR"} }, "judge"},
		{"a name", func(r *review.Route) { r.Spans.Names = []string{"acme", "root"} }, "acme root"},
		{"a status", func(r *review.Route) { r.Spans.Statuses = []string{"ERROR"} }, "bad"},
		{"an attribute", func(r *review.Route) {
			r.Spans.Attributes = []review.Attribute{{Path: "metadata.tenant", Value: "acme"}}
		}, "acme"},
		{"nobody in the sample", func(r *review.Route) { r.Sample = 0 }, ""},
		{"any age", func(r *review.Route) { r.Since = 100 * 365 * 24 * time.Hour }, "acme bad chain old root"},
	} {
		p := newPoller(t, px, c.change)
		ids := p.ingest(spans()...)
		p.must()
		var got []string
		for _, id := range p.drain() {
			got = append(got, names[slices.Index(ids, id)])
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: found %v; want %s", c.name, got, c.want)
		}
		// The forward feed filters as the look back does.
		ids = p.ingest(spans()...)
		p.must()
		got = nil
		for _, id := range p.drain() {
			got = append(got, names[slices.Index(ids, id)])
		}
		slices.Sort(got)
		want := strings.ReplaceAll(c.want, "old ", "")
		if c.name == "any age" {
			want = c.want
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s, later: found %v; want %s", c.name, got, want)
		}
	}
}

func TestPoll_FullBacklogSkipsNothing(t *testing.T) {
	p := newPoller(t, rig.SharedPhoenix(t), func(r *review.Route) { r.Backlog = 10 })
	first := p.ingest(many(35)...)
	p.must() // the look back stops at ten
	cur, _, err := p.r.b.queue.Cursor(t.Context(), "main", p.r.projectID)
	if err != nil || cur.Low == 0 {
		t.Fatalf("cursor %+v %v; the look back must remember where it stopped", cur, err)
	}
	var got []string
	second := p.ingest(many(25)...) // more arrive meanwhile than fit
	for range 20 {
		n, err := p.r.b.queue.Waiting(t.Context(), "main")
		if err != nil || n.Backlog > 10 {
			t.Fatalf("%+v wait, %v", n, err)
		}
		got = append(got, p.drain()...)
		p.must()
	}
	want := slices.Concat(first, second)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d spans were found, %d exist; some are missing or twice", len(got), len(want))
	}
}

func TestPoll_DeletedNewestSpan_ItsSuccessorIsFoundThoughItHasItsRow(t *testing.T) {
	p := newPoller(t, rig.Phoenix(t), nil) // row ids are the server's: nobody else may write
	ids := p.ingest(many(5)...)
	p.must()
	p.drain()
	p.px.DeleteSpan(t, ids[4])
	next := p.ingest(span("successor", nil))[0] // SQLite gives it the row of the deleted one
	p.must()
	if got := p.drain(); !slices.Contains(got, next) {
		t.Errorf("found %v; want %s", got, next)
	}
}

func TestPoll_RecreatedDatabaseIsSaidOnceAndLookedAtAnew(t *testing.T) {
	px := rig.Phoenix(t)
	p := newPoller(t, px, nil)
	p.ingest(many(3)...)
	p.must()
	p.drain()
	// Another database behind the same address: the watermark is far above it.
	cur, _, err := p.r.b.queue.Cursor(t.Context(), "main", p.r.projectID)
	if err != nil {
		t.Fatal(err)
	}
	cur.Mark += 1000
	if err := p.r.b.queue.SaveCursor(t.Context(), "main", p.r.projectID, cur); err != nil {
		t.Fatal(err)
	}
	more := p.ingest(many(2)...)
	for range 3 {
		p.must()
	}
	if got := p.drain(); len(got) != 2 || !slices.Contains(got, more[0]) {
		t.Errorf("found %v; want %v", got, more)
	}
	if n := strings.Count(p.log.String(), "another or a recreated database"); n != 1 {
		t.Errorf("said %d times; want once:\n%s", n, p.log)
	}
}

func TestPoll_NothingNew_CostsTheSameForAnyProject(t *testing.T) {
	px := rig.SharedPhoenix(t)
	requests := func(n int) int {
		p := newPoller(t, px, nil)
		p.ingest(many(n)...)
		p.must()
		p.drain()
		p.must()
		p.wire.Forget()
		p.must()
		return len(p.wire.Exchanges("GET"))
	}
	small, large := requests(5), requests(250)
	if small > 3 || large > small+1 {
		t.Errorf("%d requests with 5 spans, %d with 250", small, large)
	}
}

func TestPoll_EmptyProjectThenTheFirstSpan(t *testing.T) {
	p := newPoller(t, rig.SharedPhoenix(t), nil)
	if err := p.poll(); review.KindOf(err) != review.Gone {
		t.Fatalf("a project that does not exist: %v; want gone", err)
	}
	id := p.ingest(span("first", nil))[0]
	p.px.DeleteSpan(t, id)
	p.must()
	if got := p.drain(); len(got) != 0 {
		t.Errorf("found %v in an empty project", got)
	}
	id = p.ingest(span("second", nil))[0]
	p.must()
	if got := p.drain(); !slices.Equal(got, []string{id}) {
		t.Errorf("found %v; want %s", got, id)
	}
}

func TestPoll_PhoenixFailsInTheMiddle_NothingIsSkipped(t *testing.T) {
	p := newPoller(t, rig.SharedPhoenix(t), nil)
	p.ingest(many(2)...)
	p.must()
	p.drain()
	ids := p.ingest(many(130)...)
	p.wire.Fail("GET /v1/projects/"+p.r.projectID+"/span_annotations", -1, proxy.HTTPFault{Status: 503})
	if err := p.poll(); err == nil {
		t.Fatal("a poll without annotations succeeded")
	}
	p.wire.Heal()
	p.must()
	if got := p.drain(); len(got) != len(ids) {
		t.Errorf("found %d of %d", len(got), len(ids))
	}
}

func TestNextLook_GetsRarer(t *testing.T) {
	for _, c := range []struct{ age, want time.Duration }{{0, 5 * time.Second}, {30 * time.Second, 15 * time.Second}, {20 * time.Minute, 10 * time.Minute}} {
		if got := nextLook(c.age); got != c.want {
			t.Errorf("nextLook(%s) = %s; want %s", c.age, got, c.want)
		}
	}
	now := time.UnixMilli(1_758_000_000_000)
	if staleClaim("1758000000.000200", now) || staleClaim(outlineClaim+"1757999990000", now) || !staleClaim(outlineClaim+"1757999000000", now) {
		t.Error("a live outline is taken for stale, or a dead claim for live")
	}
}
