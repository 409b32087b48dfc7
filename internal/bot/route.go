package bot

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

// route is a configured route at work.
type route struct {
	review.Route
	b    *Bot
	log  *slog.Logger
	room signal // there may be something to post, or room for it

	mu        sync.Mutex
	rubric    review.Rubric
	projectID string
	channel   slackui.Channel
	checked   time.Time         // when all of the above was last found good
	ended     time.Time         // when the last poll ended
	took      time.Duration     // and how long it was
	polled    time.Time         // when Phoenix was last looked at with success
	problems  map[string]string // what each step of the route waits for; each is said once
	settled   map[string]int64
	knowing   chan struct{} // holds one while it is asked whether the cards are known
	epoch     string        // of what Redis knows (queue.Epoch.Name); "" before the first look
	study     *review.Study // nil: it is a route of the configuration

	// Of polling alone.
	sifted int64 // how many of those that wait for a judge were looked up
	full   bool  // it has enough judgements

	// Of reconciling alone.
	walked string // how far back through the history it is
	asked  int    // cards whose span was asked for
}

func newRoute(b *Bot, r review.Route) *route {
	return &route{Route: r, b: b, log: b.log.With("route", r.Name), room: newSignal(), problems: map[string]string{}, settled: map[string]int64{}, knowing: make(chan struct{}, 1)}
}

// recheck is how long a route trusts what it found: a rubric may be edited in
// Phoenix, a channel archived.
const recheck = 5 * time.Minute

// prepare finds what the route needs: a Phoenix that is new enough, its
// project, the rubric, a channel it may post to. While one is missing the
// route waits, says so once, and tries again at its next tick; the others go on.
func (r *route) prepare(ctx context.Context) error {
	r.mu.Lock()
	fresh := time.Since(r.checked) < recheck && r.projectID != ""
	r.mu.Unlock()
	if fresh {
		return nil
	}
	if err := r.b.checkServer(ctx); err != nil {
		return r.waits("prepare", "Phoenix", err)
	}
	id, err := r.b.projectID(ctx, r.Project)
	if err != nil {
		return r.waits("prepare", "project "+r.Project, err)
	}
	rubric, err := r.askedOf(ctx)
	if err != nil {
		return r.waits("prepare", "rubric "+r.Rubric, err)
	}
	ch, err := r.b.channelOf(ctx, r.Channel, r.External)
	if err != nil {
		return r.waits("prepare", "channel "+r.Channel, err)
	}
	if rubric.Study == nil { // each case of a study has its own
		if err := r.b.rubrics.keep(ctx, rubric); err != nil {
			return r.waits("prepare", "Redis", err)
		}
	}
	r.mu.Lock()
	r.projectID, r.rubric, r.channel, r.checked = id, rubric, ch, time.Now()
	r.mu.Unlock()
	r.goesOn("prepare")
	return nil
}

// goesOn notes that a step works (again).
func (r *route) goesOn(step string) {
	r.mu.Lock()
	was := r.problems[step]
	delete(r.problems, step)
	left := len(r.problems)
	r.mu.Unlock()
	if was == "" {
		return
	}
	r.log.Info("the route goes on", "waited_for", was)
	if left == 0 {
		r.b.metrics.degraded.WithLabelValues(r.Name).Set(0)
	}
}

// waits notes what a step of the route waits for, and says it once.
func (r *route) waits(step, what string, err error) error {
	// Ports and times in an error's cause differ each time; the sentence does not.
	text := what + ": " + cmp.Or(review.TextOf(err), err.Error())
	r.mu.Lock()
	known := r.problems[step] == text
	r.problems[step], r.checked = text, time.Time{}
	r.mu.Unlock()
	r.b.forgetProject(r.Project)
	r.b.metrics.degraded.WithLabelValues(r.Name).Set(1)
	if !known {
		r.log.Warn("the route waits", "for", what, "kind", review.KindOf(err), "error", err)
	}
	return err
}

// waitsFor is what the route waits for in words; "" when it works.
func (r *route) waitsFor() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, step := range []string{"prepare", "known", "poll", "claim", "post"} {
		if p := r.problems[step]; p != "" {
			return p
		}
	}
	return ""
}

// now is what prepare found.
func (r *route) now() (projectID string, rubric review.Rubric, channel string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.projectID, r.rubric, r.channel.ID
}

// run polls at start and then by the schedule, and posts whenever there is
// something to post and room for it.
func (r *route) run(ctx context.Context) {
	// The configuration was checked with the same parser; this cannot fail for a
	// route that came from there.
	schedule, err := ParseSchedule(r.Schedule)
	if err != nil {
		r.log.Error("the route does not run", "error", err)
		return
	}
	var steps sync.WaitGroup
	steps.Go(func() { r.posting(ctx) })
	steps.Go(func() { r.expiring(ctx) })
	steps.Go(func() { r.reconciling(ctx) })
	if _, ok := r.ofStudy(); ok { // a command chose what it asks about
		steps.Wait()
		return
	}

	r.tick(ctx, false)
	c := cron.New(cron.WithLocation(time.UTC), cron.WithLogger(cron.DiscardLogger),
		// Skip outside, Recover inside: the other way round one panic would hold
		// the token for ever.
		cron.WithChain(cron.SkipIfStillRunning(cron.DiscardLogger), recovered(r.log)))
	c.Schedule(schedule, cron.FuncJob(func() { r.tick(ctx, true) }))
	c.Start()
	<-ctx.Done()
	<-c.Stop().Done()
	steps.Wait()
}

// recovered keeps a panic of a poll from ending the process.
func recovered(log *slog.Logger) cron.JobWrapper {
	return func(j cron.Job) cron.Job {
		return cron.FuncJob(func() {
			defer func() {
				if p := recover(); p != nil {
					log.Error("a poll panicked; the next one runs as usual", "panic", p)
				}
			}()
			j.Run()
		})
	}
}

// tick is one poll. Over several replicas one of them takes the slot; the
// first poll of a process does not wait for one.
func (r *route) tick(ctx context.Context, slot bool) {
	if ctx.Err() != nil {
		return
	}
	// A poll that took long is followed by as long a rest: whoever is slow has
	// other things to do, too.
	r.mu.Lock()
	resting := slot && time.Since(r.ended) < r.took-time.Second
	r.mu.Unlock()
	if resting {
		return
	}
	if slot {
		mine, err := r.b.queue.Slot(ctx, r.Name, r.slot())
		if err != nil {
			_ = r.waits("poll", "Redis", err)
			return
		}
		if !mine {
			return
		}
	}
	start := time.Now()
	err := r.prepare(ctx)
	if err == nil {
		if err = r.known(ctx); err != nil && ctx.Err() == nil {
			_ = r.waits("known", "the cards in Slack", err)
		}
	}
	if err == nil {
		r.goesOn("known")
		if err = r.poll(ctx); err == nil {
			r.goesOn("poll")
			r.mu.Lock()
			r.polled = time.Now()
			r.mu.Unlock()
		} else if ctx.Err() == nil {
			_ = r.waits("poll", "Phoenix", err)
		}
	}
	outcome := "ok"
	if err != nil {
		outcome = string(review.KindOf(err))
	}
	r.mu.Lock()
	r.ended, r.took = time.Now(), time.Since(start)
	r.mu.Unlock()
	r.b.metrics.polls.WithLabelValues(r.Name, outcome).Observe(time.Since(start).Seconds())
	r.room.send()
}

// slot is how long a slot of the schedule is. "@every 30s" starts with the
// process, so replicas share its stretches of thirty seconds; the ticks of a
// cron spec come to all replicas in the same second.
func (r *route) slot() time.Duration {
	s, err := ParseSchedule(r.Schedule)
	if every, ok := s.(cron.ConstantDelaySchedule); ok && err == nil {
		return every.Delay
	}
	return time.Second
}

// askedOf is the rubric that the route asks.
func (r *route) askedOf(ctx context.Context) (review.Rubric, error) {
	if s, ok := r.ofStudy(); ok {
		return review.Rubric{Name: s.About, Question: s.Title, Study: &review.Asked{Prefix: s.Prefix}}, nil
	}
	return r.b.rubricOf(ctx, r.Route)
}

// rubricOf is the rubric of a route: the configuration's, else Phoenix's
// annotation config of that name, else the default one.
func (b *Bot) rubricOf(ctx context.Context, r review.Route) (review.Rubric, error) {
	if rubric, ok := b.set.Rubrics[r.Rubric]; ok {
		return rubric, nil
	}
	c, ok, err := b.phoenix.AnnotationConfig(ctx, r.Rubric)
	if err != nil {
		return review.Rubric{}, err
	}
	if !ok {
		return review.DefaultRubric(r.Rubric), nil
	}
	rubric := c.Rubric(r.Up, r.Down)
	if wrong := rubric.Check(); len(wrong) > 0 {
		return review.Rubric{}, &review.Error{Kind: review.Invalid, Text: fmt.Sprintf(
			"the annotation config %q in Phoenix cannot be asked in Slack: %s", r.Rubric, strings.Join(wrong, "; "))}
	}
	return rubric, nil
}

// channelOf resolves a configured channel. A name is looked up once and kept
// in Redis, because listing channels is slow and scarce. Channels shared with
// other organisations are refused: traces would leave the house.
func (b *Bot) channelOf(ctx context.Context, name string, external bool) (slackui.Channel, error) {
	id := name
	if strings.HasPrefix(name, "#") {
		if kept, ok, err := b.queue.Channel(ctx, name); err == nil && ok {
			id = kept
		}
	}
	ch, err := b.slack.Channel(ctx, id)
	if review.KindOf(err) == review.Gone && id != name {
		ch, err = b.slack.Channel(ctx, name) // the kept id is stale
	}
	if err != nil {
		return ch, err
	}
	if strings.HasPrefix(name, "#") && ch.ID != id {
		if err := b.queue.KeepChannel(ctx, name, ch.ID); err != nil {
			return ch, err
		}
	}
	return ch, usable(ch, external)
}

// usable refuses a channel that cards must not or cannot go to.
func usable(ch slackui.Channel, external bool) error {
	switch {
	case ch.Archived:
		return &review.Error{Kind: review.Gone, Text: fmt.Sprintf("channel #%s is archived; unarchive it or name another one", ch.Name)}
	case ch.ExtShared && !external:
		return &review.Error{Kind: review.Denied, Text: fmt.Sprintf("channel #%s is shared with another organisation, which would see the prompts and answers of your traces; use an internal channel, or set external: true on the route", ch.Name)}
	case !ch.Member:
		return &review.Error{Kind: review.Denied, Text: fmt.Sprintf("the bot is not in channel #%s; type /invite @spanbot there", ch.Name)}
	}
	return nil
}
