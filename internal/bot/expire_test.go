package bot

import (
	"strings"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

func TestExpire_CardsNobodyTouchedFreeTheirPlacesAndCanStillBeJudged(t *testing.T) {
	p := newPoller(t, rig.SharedPhoenix(t), func(r *review.Route) { r.OpenFor = 7 * 24 * time.Hour })
	p.ingest(many(2)...)
	p.must()
	ids := p.drain() // posts both
	if err := p.r.expire(t.Context(), time.Now().Add(6*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	open := func() int {
		n, err := p.r.b.queue.Waiting(t.Context(), "main")
		if err != nil {
			t.Fatal(err)
		}
		return n.Open
	}
	if n := open(); n != 2 {
		t.Fatalf("%d open after six days; want 2", n)
	}
	if err := p.r.expire(t.Context(), time.Now().Add(8*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := open(); n != 0 {
		t.Errorf("%d open after eight days; want 0", n)
	}
	r, ok, err := p.r.b.queue.TakeRedraw(t.Context(), time.Minute)
	if err != nil || !ok || r.What != ids[0] && r.What != ids[1] {
		t.Errorf("an expired card is not redrawn: %+v %v %v", r, ok, err)
	}
}

func TestPreview_ProjectWithoutRootsNamesTheSetting(t *testing.T) {
	px := rig.SharedPhoenix(t)
	p := newPoller(t, px, nil)
	spans := many(12)
	for _, s := range spans {
		s["parent_id"] = "00000000000000ff"
	}
	p.ingest(spans...)
	var out strings.Builder
	set := p.r.b.set
	set.Log, set.Routes = p.r.b.log, []review.Route{p.r.Route}
	if err := Preview(t.Context(), set, PreviewOptions{Out: &out}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "0 would be posted") || !strings.Contains(out.String(), "spans: all") {
		t.Errorf("preview says:\n%s", &out)
	}
	set.Routes[0].Spans.AllSpans = true
	out.Reset()
	if err := Preview(t.Context(), set, PreviewOptions{Out: &out, Limit: 5}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "5 would be posted") || !strings.Contains(out.String(), "cards a day") || !strings.Contains(out.String(), "not looked at") {
		t.Errorf("preview says:\n%s", &out)
	}
	t.Logf("\n%s", &out)
}
