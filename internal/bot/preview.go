package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
)

// PreviewOptions say what a preview shows.
type PreviewOptions struct {
	Out   io.Writer
	JSON  bool   // one JSON object a line
	Limit int    // spans per route; 0 = 25
	Route string // only this one; "" = all
}

const (
	previewLimit = 25
	// previewText is how much of each text a preview shows, in JSON.
	previewText = 2000
	// hintBelow is the share of hits in the first page below which the preview
	// asks for hints: most spans are annotated, and a pass would be long.
	hintBelow = pageSize / 4
)

// previewSpan is one line of a preview in JSON.
type previewSpan struct {
	Route   string         `json:"route"`
	Verdict review.Verdict `json:"verdict"`
	SpanID  string         `json:"span_id"`
	TraceID string         `json:"trace_id"`
	Name    string         `json:"name"`
	Kind    string         `json:"kind"`
	Status  string         `json:"status"`
	Start   time.Time      `json:"start_time"`
	Latency float64        `json:"latency_ms"`
	Model   string         `json:"model,omitempty"`
	Tokens  int            `json:"tokens,omitempty"`
	Input   string         `json:"input"`
	Output  string         `json:"output"`
	Summary string         `json:"summary"`
	URL     string         `json:"url"`
}

// previewTotal is a route's last line.
type previewTotal struct {
	Route       string                 `json:"route"`
	Total       bool                   `json:"total"`
	Verdicts    map[review.Verdict]int `json:"verdicts"`
	OutsideRows int64                  `json:"outside_rows"` // rows of the feed, of any kind, that were not looked at
	CardsPerDay float64                `json:"cards_per_day"`
	Notes       []string               `json:"notes,omitempty"`
}

// Preview polls each route once and posts nothing: it shows what would be
// posted and how many cards a day that is. It needs neither Slack nor Redis, so
// it does not know which spans have a card already.
func Preview(ctx context.Context, set Settings, o PreviewOptions) error {
	px, err := phoenix.New(set.Phoenix)
	if err != nil {
		return err
	}
	b := &Bot{set: set, log: set.Log, phoenix: px}
	if _, err := px.Server(ctx); err != nil {
		return err
	}
	if o.Limit <= 0 {
		o.Limit = previewLimit
	}
	found := false
	for _, r := range set.Routes {
		if o.Route != "" && r.Name != o.Route {
			continue
		}
		found = true
		if err := b.preview(ctx, r, o); err != nil {
			return fmt.Errorf("route %s: %w", r.Name, err)
		}
	}
	if !found {
		return &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("there is no route %q", o.Route)}
	}
	return nil
}

// preview is one route's look.
type preview struct {
	b       *Bot
	r       review.Route
	o       PreviewOptions
	project string
	rubric  review.Rubric
	oldest  time.Time
	shown   map[string]bool
	first   time.Time // start of the oldest span that would be posted
	total   previewTotal
}

func (b *Bot) preview(ctx context.Context, r review.Route, o PreviewOptions) error {
	id, err := b.projectID(ctx, r.Project)
	if err != nil {
		return err
	}
	rubric, err := b.rubricOf(ctx, r)
	if err != nil {
		return err
	}
	p := &preview{b: b, r: r, o: o, project: id, rubric: rubric, oldest: time.Now().Add(-r.Since), shown: map[string]bool{},
		total: previewTotal{Route: r.Name, Total: true, Verdicts: map[review.Verdict]int{}}}
	if !o.JSON {
		fmt.Fprintf(o.Out, "Route %s: project %s → %s, rubric %s: %s\n", r.Name, r.Project, orNone(r.Channel), rubric.Name, rubric.Question)
	}
	if err := p.look(ctx); err != nil {
		return err
	}
	return p.finish(ctx)
}

// look reads the feed newest first until enough is found. Where the first page
// has few hits, the spans that Phoenix's own query names are shown first; the
// pass behind it finds what the query cannot know.
func (p *preview) look(ctx context.Context) error {
	newest, err := p.b.phoenix.NewestRow(ctx, p.project, !p.r.Spans.AllSpans)
	if err != nil || newest == 0 {
		return err
	}
	q := phoenix.Query{Project: p.project, Filter: p.r.Spans, Since: p.oldest, Text: previewText, Page: min(pageSize, p.o.Limit)}
	firstPage := true
	for page, err := range pages(p.b.phoenix.Newest(ctx, q, 0)) {
		if err != nil {
			return err
		}
		hits, err := p.page(ctx, page)
		if err != nil {
			return err
		}
		if p.full() {
			p.total.OutsideRows = page[len(page)-1].Row - 1
			return nil
		}
		if firstPage && hits < hintBelow {
			if err := p.hints(ctx); err != nil {
				return err
			}
			if p.full() {
				p.total.OutsideRows = page[len(page)-1].Row - 1
				return nil
			}
		}
		firstPage = false
	}
	return nil
}

func (p *preview) full() bool { return p.total.Verdicts[review.Post] >= p.o.Limit }

// hints shows the spans that the undocumented query finds, each checked by the
// documented way. Any failure of it only means that the pass takes longer.
func (p *preview) hints(ctx context.Context) error {
	ids, err := p.b.phoenix.Hints(ctx, p.r.Project, p.rubric.Name, !p.r.Spans.AllSpans, p.o.Limit)
	if err != nil {
		return nil
	}
	spans, err := p.b.phoenix.SpansByID(ctx, p.project, ids, previewText)
	if err != nil {
		return nil
	}
	var page []phoenix.Row
	for _, s := range spans {
		// The filter on attributes is the feed's to check: such spans wait for the pass.
		if len(p.r.Spans.Attributes) == 0 && p.r.Spans.Match(s) {
			page = append(page, phoenix.Row{Span: s, Match: true})
		}
	}
	_, err = p.page(ctx, page)
	return err
}

// page decides on a page and shows what would be posted.
func (p *preview) page(ctx context.Context, page []phoenix.Row) (hits int, err error) {
	var ask []review.Span
	for _, row := range page {
		if p.shown[row.ID] {
			continue
		}
		v := review.NoMatch
		if row.Match {
			v = p.r.Decide(row.Span, p.oldest, false, false)
		}
		if v == review.Post {
			ask = append(ask, row.Span)
			continue
		}
		p.shown[row.ID] = true
		p.total.Verdicts[v]++
	}
	if len(ask) == 0 {
		return 0, nil
	}
	judge := ""
	if p.r.Order == review.ByUncertainty {
		judge = p.r.JudgeName()
	}
	annotated, evidence, err := p.b.phoenix.Evidence(ctx, p.project, p.rubric.Name, judge, ask)
	if err != nil {
		return 0, err
	}
	for _, s := range ask {
		if p.full() {
			return hits, nil
		}
		p.shown[s.ID] = true
		if annotated[s.ID] {
			p.total.Verdicts[review.Annotated]++
			continue
		}
		u, known := evidence[s.ID].Uncertainty(p.rubric)
		if v := p.r.Sift(p.r.StreamOf(s.ID), u, known); v != review.Post {
			p.total.Verdicts[v]++
			continue
		}
		hits++
		p.total.Verdicts[review.Post]++
		if p.first.IsZero() || s.Start.Before(p.first) {
			p.first = s.Start
		}
		if err := p.show(s); err != nil {
			return hits, err
		}
	}
	return hits, nil
}

func (p *preview) show(s review.Span) error {
	x := s.Excerpt()
	line := previewSpan{
		Route: p.r.Name, Verdict: review.Post, SpanID: s.ID, TraceID: s.TraceID, Name: s.Name, Kind: s.Kind, Status: s.Status,
		Start: s.Start, Latency: float64(s.Latency().Microseconds()) / 1000, Model: s.Model, Tokens: s.Tokens,
		Input: said(x.Question(), x.Input), Output: said(x.Answer(), x.Output), Summary: s.Summary(150),
		URL: phoenix.SpanURL(p.b.set.public(), s.ID),
	}
	if p.o.JSON {
		return json.NewEncoder(p.o.Out).Encode(line)
	}
	_, err := fmt.Fprintf(p.o.Out, "  %s  %-8s %s  %s\n", s.Start.UTC().Format("2006-01-02 15:04:05"), s.Kind, s.ID, line.Summary)
	return err
}

func said(m *review.Message, t review.Text) string {
	if m != nil {
		t = m.Content
	}
	if t.More > 0 {
		return fmt.Sprintf("%s … %d more characters", t.Head, t.More)
	}
	return t.Head
}

// finish shows the sums and says what to do where nothing was found.
func (p *preview) finish(ctx context.Context) error {
	t := &p.total
	n := t.Verdicts[review.Post]
	if n > 0 {
		span := max(time.Since(p.first), time.Minute)
		t.CardsPerDay = float64(n) * float64(24*time.Hour) / float64(span)
	}
	if n == 0 {
		note, err := p.b.noRoots(ctx, p.project, p.r)
		if err != nil {
			return err
		}
		if note != "" {
			t.Notes = append(t.Notes, note)
		}
	}
	if t.OutsideRows > 0 && n >= p.o.Limit {
		t.Notes = append(t.Notes, fmt.Sprintf("stopped at %d; up to %d older rows of the project were not looked at", n, t.OutsideRows))
	}
	if p.r.Stop.Set() {
		t.Notes = append(t.Notes, "the route stops when it has enough judgements; how far it is stands in /spanbot status")
	}
	if p.o.JSON {
		return json.NewEncoder(p.o.Out).Encode(t)
	}
	var parts []string
	for _, v := range []review.Verdict{review.Annotated, review.NotChosen, review.Unjudged, review.NoMatch, review.TooOld} {
		if c := t.Verdicts[v]; c > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c, strings.ReplaceAll(string(v), "_", " ")))
		}
	}
	fmt.Fprintf(p.o.Out, "%d would be posted", n)
	if len(parts) > 0 {
		fmt.Fprintf(p.o.Out, "; not posted: %s", strings.Join(parts, ", "))
	}
	if n > 0 {
		fmt.Fprintf(p.o.Out, "; about %.0f cards a day at this rate", t.CardsPerDay)
	}
	fmt.Fprintln(p.o.Out, ".")
	if p.r.MaxOpen > 0 && n > p.r.MaxOpen {
		fmt.Fprintf(p.o.Out, "At most %d are open at a time (max_open); up to %d wait in the backlog.\n", p.r.MaxOpen, p.r.Backlog)
	}
	for _, note := range t.Notes {
		fmt.Fprintln(p.o.Out, "Note: "+note+".")
	}
	return nil
}

// noRoots explains an empty look at a project that is full of spans: their
// root was never exported, as happens behind a gateway that starts the trace.
func (b *Bot) noRoots(ctx context.Context, project string, r review.Route) (string, error) {
	if r.Spans.AllSpans {
		return "", nil
	}
	n := 0
	q := phoenix.Query{Project: project, Filter: review.Filter{AllSpans: true}, Text: feedText, Page: pageSize}
	for row, err := range b.phoenix.Newest(ctx, q, 0) {
		if err != nil {
			return "", err
		}
		if row.Root() {
			return "", nil
		}
		if n++; n == pageSize {
			break
		}
	}
	if n < 10 {
		return "", nil
	}
	return fmt.Sprintf("none of the newest %d spans of project %s is a root; set `spans: all` in route %s to review spans below a root, too", n, r.Project, r.Name), nil
}

func orNone(s string) string {
	if s == "" {
		return "(no channel)"
	}
	return s
}
