package main

import (
	"fmt"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/slackui"
)

// post posts a report to a channel, with its picture below it where the app may
// upload files; without draw there is none. The numbers are in the text always.
func (a *app) post(w *loopWork, channel string, r slackui.Report, alt string, draw func() ([]byte, error)) error {
	set := a.settings(w.c)
	if w.c.StandIns.Slack {
		running, found, err := a.running(w.c)
		if err != nil {
			return err
		}
		if !found || running.Slack == nil {
			return usage("--post: no Slack is configured (SLACK_BOT_TOKEN), and no bot with a local workspace runs on %s", w.c.Data)
		}
		use(running, w.c, &set)
	}
	s := slackui.New(set.Slack)
	who, err := s.Identity(a.ctx)
	if err != nil {
		return fmt.Errorf("--post: %w", err)
	}
	ch, err := s.Channel(a.ctx, channel)
	if err != nil {
		return fmt.Errorf("--post %s: %w", channel, err)
	}
	posted, err := s.Post(a.ctx, ch.ID, "", slackui.DrawReport(r))
	if err != nil {
		return fmt.Errorf("--post %s: %w", channel, err)
	}
	fmt.Fprintf(a.errOut, "spanbot: posted to %s\n", channel)
	if draw == nil {
		return nil
	}
	if !who.MayUpload() {
		fmt.Fprintln(a.errOut, "spanbot: without a picture: the app has no scope files:write")
		return nil
	}
	png, err := draw()
	if err != nil {
		return fmt.Errorf("the picture cannot be drawn: %w", err)
	}
	// A report without its picture says all the same.
	if err := s.PostPicture(a.ctx, ch.ID, posted.TS, alt, alt+"; the numbers are in the message above", png); err != nil {
		if review.KindOf(err) == review.Denied {
			fmt.Fprintf(a.errOut, "spanbot: without a picture: %v\n", err)
			return nil
		}
		return fmt.Errorf("the report is posted, its picture is not: %w", err)
	}
	return nil
}
