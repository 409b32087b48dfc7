package bot

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spanbot/spanbot/internal/queue"
	"github.com/spanbot/spanbot/internal/review"
)

// studyMark stands between a route's name and its study's: no route has it in
// its name.
const studyMark = "."

// Names of studies.
const (
	adjudication = "judge" // "<route>.judge"
	sideBySide   = "ab-"   // "<route>.ab-<of which two>"
)

// AdjudicationOf is the name of the study that asks a route's reviewers who is
// right, they or a judge.
func AdjudicationOf(route string) string { return route + studyMark + adjudication }

// SideBySideOf is the name of the study that shows a route's reviewers the answers
// of two experiments; pair names the two in a few characters of a-z and 0-9.
func SideBySideOf(route, pair string) string { return route + studyMark + sideBySide + pair }

// SideBySidePrefix begins the identifiers of what is said there.
func SideBySidePrefix(pair string) string { return review.PreferencePrefix + pair + ":" }

// prefixOf begins the identifiers of what is said on the cards of a route or a
// study; "" for votes.
func prefixOf(name string) string {
	_, study, ok := strings.Cut(name, studyMark)
	switch {
	case !ok:
		return ""
	case study == adjudication:
		return review.AdjudicatedPrefix
	}
	return SideBySidePrefix(strings.TrimPrefix(study, sideBySide))
}

// blind reports whether the name is that of a study whose cards must not tell what is
// what.
func blind(name string) bool { return strings.HasPrefix(prefixOf(name), review.PreferencePrefix) }

// ofStudyNamed is what the cards of a study ask, as far as its name tells; rubric
// is its route's.
func ofStudyNamed(name string, rubric review.Rubric) review.Rubric {
	about := review.Rubric{Name: rubric.Name, Study: &review.Asked{Prefix: prefixOf(name)}}
	if !strings.HasSuffix(name, studyMark+adjudication) {
		about.Name = review.Preference
	}
	return about
}

// prefix is prefixOf the route.
func (r *route) prefix() string { return prefixOf(r.Name) }

// studies are the studies at work.
type studies struct {
	wake signal
	mu   sync.Mutex
	at   map[string]*studyAt
}

type studyAt struct {
	r    *route
	stop context.CancelFunc // nil: nothing of it runs yet
}

// route is the study of that name; nil when there is none.
func (s *studies) route(name string) *route {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.at[name]; at != nil {
		return at.r
	}
	return nil
}

// ofStudy is the study whose cards the route posts; false for a route of the
// configuration, and for none.
func (r *route) ofStudy() (review.Study, bool) {
	if r == nil {
		return review.Study{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.study == nil {
		return review.Study{}, false
	}
	return *r.study, true
}

// all lists the routes and the studies.
func (b *Bot) all() []*route {
	b.studies.mu.Lock()
	defer b.studies.mu.Unlock()
	out := slices.Clone(b.routes)
	for _, name := range slices.Sorted(maps.Keys(b.studies.at)) {
		out = append(out, b.studies.at[name].r)
	}
	return out
}

// studyCheck is how often studies are looked for without a word that there is a
// new one.
const studyCheck = time.Minute

// studying runs the studies that Redis knows.
func (b *Bot) studying(ctx context.Context) {
	for {
		if err := b.loadStudies(ctx); err != nil && ctx.Err() == nil {
			b.log.Warn("studies could not be read; trying again", "error", err)
		}
		b.studies.mu.Lock()
		for _, at := range b.studies.at {
			if at.stop == nil {
				sctx, stop := context.WithCancel(ctx)
				at.stop = stop
				b.spawn(func() { at.r.run(sctx) })
			}
		}
		b.studies.mu.Unlock()
		t := time.NewTimer(studyCheck)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-b.studies.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// loadStudies learns which studies there are. Those of a route that was taken out
// of the configuration take clicks and post nothing more.
func (b *Bot) loadStudies(ctx context.Context) error {
	list, err := b.queue.Studies(ctx)
	if err != nil {
		return err
	}
	b.studies.mu.Lock()
	defer b.studies.mu.Unlock()
	there := map[string]bool{}
	for _, s := range list {
		base := slices.IndexFunc(b.routes, func(r *route) bool { return r.Name == s.Route })
		if base < 0 {
			continue
		}
		there[s.Name] = true
		if at := b.studies.at[s.Name]; at != nil {
			at.r.mu.Lock()
			at.r.study = &s
			at.r.mu.Unlock()
			at.r.room.send()
			continue
		}
		if b.studies.at == nil {
			b.studies.at = map[string]*studyAt{}
		}
		b.studies.at[s.Name] = &studyAt{r: newStudy(b, b.routes[base].Route, s)}
	}
	for name, at := range b.studies.at {
		if !there[name] {
			if at.stop != nil {
				at.stop()
			}
			delete(b.studies.at, name)
		}
	}
	return nil
}

// newStudy is a study at work: it has its route's channel, reviewers and bounds,
// and finds nothing by itself.
func newStudy(b *Bot, base review.Route, s review.Study) *route {
	base.Name, base.Project = s.Name, s.Project
	base.Order, base.Stop, base.Sample = review.Oldest, review.Stop{}, 1
	r := newRoute(b, base)
	r.study = &s
	return r
}

// redrawCards has cards drawn anew by a bot that runs, or by the next one. asks names
// the rubric that a card asks from now on, by its hash; without one it asks what it did.
func (b *Bot) redrawCards(ctx context.Context, refs []review.Ref, asks map[review.Ref]string) error {
	for _, ref := range refs {
		_, err := b.queue.Change(ctx, ref.Route, ref.TraceID, func(t *review.Thread) (queue.Step, error) {
			c := t.Card(ref.SpanID)
			if c == nil || c.TS == "" {
				return queue.Step{Nothing: true}, nil
			}
			c.Rubric = cmp.Or(asks[ref], c.Rubric)
			return queue.Step{Redraw: redrawOf(t, ref.SpanID)}, nil
		})
		if err != nil {
			return err
		}
	}
	b.redraw.send()
	return nil
}

// revealed reports whether a blind study is over. Redis is asked each time: what
// this replica saw last may be a minute old, and counts only while Redis does not
// answer (with the error).
func (b *Bot) revealed(ctx context.Context, name string) (bool, error) {
	if !blind(name) {
		return false, nil
	}
	s, _, err := b.queue.Study(ctx, name)
	if err != nil {
		s, _ = b.route(name).ofStudy()
	}
	return s.Revealed, err
}

// errRevealed refuses what is said when it is told already which answer is whose:
// it would be counted among what was said blind. What was taken before stays, also
// where it is on its way yet: its reviewer was told that it counts.
var errRevealed = &review.Error{Kind: review.Invalid, Text: "Not saved: it is revealed already which answer is whose, and only what was said before that counts."}

// knownStudy is known for a study: its route looks for the cards of both.
func (r *route) knownStudy(ctx context.Context) error {
	s, _ := r.ofStudy()
	base := r.b.route(s.Route)
	if base == nil {
		return &review.Error{Kind: review.Invalid, Text: "the route " + s.Route + " of this study is not configured any more"}
	}
	if err := base.prepare(ctx); err != nil {
		return err
	}
	if err := base.known(ctx); err != nil {
		return err
	}
	of, run, ok, err := r.b.queue.Epoch(ctx, base.Name)
	if err != nil || !ok {
		return err
	}
	own, _, had, err := r.b.queue.Epoch(ctx, r.Name)
	if err != nil {
		return err
	}
	if !had || own.Name != of.Name || own.Run != run {
		return r.b.queue.KeepEpoch(ctx, r.Name, of)
	}
	return nil
}

// errCaseGone says that Redis lost what a study shows on a card. Looking again brings
// nothing back.
var errCaseGone = &review.Error{Kind: review.Gone, Text: "What this card showed is not kept any more; it can be asked again by the command that asked it."}

// caseOf is what a study shows of a card's span; nil for a card of a route. The error
// is errCaseGone when it is not kept any more.
func (b *Bot) caseOf(ctx context.Context, ref review.Ref) (*review.Case, error) {
	if !strings.Contains(ref.Route, studyMark) {
		return nil, nil
	}
	c, ok, err := b.queue.Case(ctx, ref.Route, ref.TraceID, ref.SpanID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errCaseGone
	}
	return &c, nil
}

// askAnew lets a card that a case has already ask what the case says: it may have been
// posted for another judge, before Redis lost it.
func (r *route) askAnew(ctx context.Context, c queue.Claim) error {
	study, ok, err := r.b.queue.Case(ctx, r.Name, c.TraceID, c.SpanID)
	if err != nil {
		return r.putBack(ctx, c, time.Second, err)
	}
	if ok {
		if err := r.b.redrawCards(ctx, []review.Ref{c.Ref}, map[review.Ref]string{c.Ref: study.Rubric.Hash()}); err != nil {
			return r.putBack(ctx, c, time.Second, err)
		}
	}
	return r.b.queue.Drop(ctx, c)
}

// postCase takes one claimed span of a study to its card.
func (r *route) postCase(ctx context.Context, s review.Study, c queue.Claim, parent string) error {
	project, _, channel := r.now()
	over, err := r.b.revealed(ctx, s.Name)
	if err != nil {
		return r.putBack(ctx, c, time.Second, err)
	}
	if over { // nothing that is said there counts any more
		return r.drop(ctx, c, review.Enough)
	}
	study, ok, err := r.b.queue.Case(ctx, s.Name, c.TraceID, c.SpanID)
	if err != nil {
		return r.putBack(ctx, c, time.Second, err)
	}
	if !ok {
		r.log.Error("a case waits for its card, and what it asks is not known any more; the command that asked it can ask it again", "span", c.SpanID)
		return r.drop(ctx, c, review.Vanished)
	}
	span := review.Span{ID: c.SpanID, TraceID: c.TraceID}
	held, err := r.b.phoenix.Held(ctx, project, s.About, []review.Span{span})
	if err != nil {
		return r.putBack(ctx, c, review.WaitOf(err), err)
	}
	if len(r.b.votesOf(held, c.Ref, s.About, s.Prefix)) > 0 {
		// It may have been posted by an owner who died, and answered since.
		if _, found, err := r.findAgain(ctx, c, channel, parent); err != nil {
			return r.putBack(ctx, c, review.WaitOf(err), err)
		} else if !found {
			return r.drop(ctx, c, review.Annotated)
		}
	}
	there, err := r.b.phoenix.Exists(ctx, project, c.SpanID)
	if err != nil {
		return r.putBack(ctx, c, review.WaitOf(err), err)
	}
	if !there {
		return r.drop(ctx, c, review.Vanished)
	}
	excerpt, err := r.b.excerptFromPhoenix(ctx, s.Project, c.Ref)
	if err != nil {
		return r.putBack(ctx, c, review.WaitOf(err), err)
	}
	if err := r.b.rubrics.keep(ctx, study.Rubric); err != nil {
		return r.putBack(ctx, c, time.Second, err)
	}
	card := review.Card{SpanID: c.SpanID, Channel: channel, State: review.Open, Rubric: study.Rubric.Hash(), Posted: time.Now(), Summary: summaryOf(excerpt)}
	return r.sendAndRecord(ctx, c, parent, card, excerpt, study.Rubric)
}

// Asking says what became of what a command asks.
type Asking struct {
	New  int // cases that were not asked before
	More int // cases that were not, beyond how many were to be asked
	// Alone: no bot ever ran for this route with this Slack workspace, Phoenix and
	// Redis, so the cards wait until one does.
	Alone bool
}

// Ask puts a study before the reviewers of a route: a running bot posts a card for
// each case, as there is room, of at most most new ones (0: all). What has a card
// already is left as it is.
func Ask(ctx context.Context, set Settings, s review.Study, cases []review.Case, most int) (a Asking, err error) {
	b, err := connect(ctx, set)
	if err != nil {
		return a, err
	}
	defer b.queue.Close()
	switch r := b.route(s.Route); {
	case r == nil:
		return a, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("there is no route %s; the routes are %s", s.Route, routeNames(b.routes))}
	case r.Project != s.Project:
		return a, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("the route %s is for spans of project %s, and these are of project %s; name a route of that project", r.Name, r.Project, s.Project)}
	case s.Name == AdjudicationOf(r.Name) && s.About != r.Rubric:
		// Its cards are known by their span alone, and what is said on them is looked
		// for under the route's rubric when Redis was lost.
		return a, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("the reviewers of route %s judge %s, and this is about %s; %s", r.Name, r.Rubric, s.About, b.routeAbout(s))}
	}
	if _, _, ran, err := b.queue.Epoch(ctx, s.Route); err != nil {
		return a, err
	} else if !ran {
		a.Alone = true
	}
	if cases, a.More, err = b.unasked(ctx, s.Name, cases, most); err != nil {
		return a, err
	}
	added, lost, err := b.queue.Ask(ctx, s, cases)
	if err != nil {
		return a, err
	}
	a.New = added
	asks := map[review.Ref]string{}
	for _, c := range cases {
		asks[review.Ref{Route: s.Name, TraceID: c.TraceID, SpanID: c.SpanID}] = c.Rubric.Hash()
	}
	return a, b.redrawCards(ctx, lost, asks)
}

// unasked leaves out new cases beyond most, and counts them: those that were asked
// before take nobody's place.
func (b *Bot) unasked(ctx context.Context, name string, cases []review.Case, most int) (out []review.Case, more int, err error) {
	finds := make([]queue.Find, len(cases))
	for i, c := range cases {
		finds[i] = queue.Find{Row: int64(i + 1), TraceID: c.TraceID, SpanID: c.SpanID}
	}
	known, err := b.queue.Known(ctx, name, finds)
	if err != nil {
		return nil, 0, err
	}
	all := most <= 0
	for i, c := range cases {
		if !known[i] && !all {
			if most == 0 {
				more++
				continue
			}
			most--
		}
		out = append(out, c)
	}
	return out, more, nil
}

// StudyState says how far a study is.
type StudyState struct {
	review.Study
	Cases   int // all that were asked
	Waiting int // without a card yet
	Open    int // with one that nobody answered
}

// LookAt says how far a study is; false when it is not known (any more).
func LookAt(ctx context.Context, set Settings, name string) (StudyState, bool, error) {
	b, err := connect(ctx, set)
	if err != nil {
		return StudyState{}, false, err
	}
	defer b.queue.Close()
	s, ok, err := b.queue.Study(ctx, name)
	if err != nil || !ok {
		return StudyState{}, false, err
	}
	n, err := b.queue.Waiting(ctx, name)
	if err != nil {
		return StudyState{}, false, err
	}
	refs, err := b.queue.CaseRefs(ctx, name)
	return StudyState{Study: s, Cases: len(refs), Waiting: n.Backlog + n.Claimed, Open: n.Open}, true, err
}

// Reveal ends a blind study: its cards say what was what. Done again, it only has
// them drawn again.
func Reveal(ctx context.Context, set Settings, name string) error {
	b, err := connect(ctx, set)
	if err != nil {
		return err
	}
	defer b.queue.Close()
	if _, err := b.queue.Reveal(ctx, name); err != nil {
		return err
	}
	refs, err := b.queue.CaseRefs(ctx, name)
	if err == nil {
		err = b.redrawCards(ctx, refs, nil)
	}
	if err != nil {
		return fmt.Errorf("%s is over, and not all of its cards say so yet; run it again with --reveal: %w", name, err)
	}
	return nil
}

// routeAbout says which route an adjudication may be asked in.
func (b *Bot) routeAbout(s review.Study) string {
	var of []*route
	for _, r := range b.routes {
		if r.Project == s.Project && r.Rubric == s.About {
			of = append(of, r)
		}
	}
	if len(of) == 0 {
		return fmt.Sprintf("no route of project %s has that rubric: add one to the configuration", s.Project)
	}
	return "name a route with that rubric: " + routeNames(of)
}

func routeNames(routes []*route) string {
	var out []string
	for _, r := range routes {
		out = append(out, r.Name)
	}
	return strings.Join(out, ", ")
}
