package slackui

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/spanbot/spanbot/internal/review"
)

// ErrBlocks says that Slack refuses the blocks as drawn: post the minimal card.
var ErrBlocks = errors.New("blocks refused by Slack")

// table says what each of Slack's error words means for the bot and, where a
// person can mend it, what to do (docs.slack.dev, the methods' error lists).
var table = map[string]struct {
	kind review.Kind
	text string
}{
	"ratelimited":  {review.Busy, "Slack asks us to slow down"},
	"rate_limited": {review.Busy, "Slack asks us to slow down"},

	"invalid_blocks":         {review.Refused, "Slack refuses the message as drawn"},
	"invalid_blocks_format":  {review.Refused, "Slack refuses the message as drawn"},
	"msg_blocks_too_long":    {review.Refused, "Slack refuses the message as too long"},
	"msg_too_large":          {review.Refused, "Slack refuses the message as too long"},
	"msg_too_long":           {review.Refused, "Slack refuses the message as too long"},
	"only_one_table_allowed": {review.Refused, "Slack refuses the message as drawn"},
	"no_text":                {review.Refused, "Slack refuses a message without text"},
	"invalid_arguments":      {review.Refused, "Slack refuses the request as malformed"},
	"view_too_large":         {review.Refused, "the window is too large for Slack"},
	"hash_conflict":          {review.Busy, "the window was changed meanwhile"},
	"push_limit_reached":     {review.Refused, "too many windows are open"},

	"expired_trigger_id":   {review.Gone, "That took too long for Slack; please click again."},
	"invalid_trigger_id":   {review.Gone, "That took too long for Slack; please click again."},
	"exchanged_trigger_id": {review.Gone, "That click was used already; please click again."},
	"not_found":            {review.Gone, "the window was closed"},

	"message_not_found":       {review.Gone, "the message was deleted in Slack"},
	"cant_update_message":     {review.Refused, "the message cannot be changed any more"},
	"edit_window_closed":      {review.Refused, "the message cannot be changed any more"},
	"is_inactive":             {review.Refused, "the message cannot be changed any more"},
	"block_mismatch":          {review.Refused, "the message cannot be changed any more"},
	"thread_not_found":        {review.Gone, "the thread was deleted in Slack"},
	"channel_not_found":       {review.Gone, "the channel does not exist, or it is private and the bot is not in it; check its name, or type /invite @spanbot there"},
	"is_archived":             {review.Gone, "the channel is archived; unarchive it or name another one"},
	"not_in_channel":          {review.Denied, "the bot is not in the channel; type /invite @spanbot there"},
	"restricted_action":       {review.Denied, "the workspace does not let the bot post there; ask an admin"},
	"messages_tab_disabled":   {review.Denied, "the app's Messages tab is switched off; switch it on under “App Home”"},
	"invalid_auth":            {review.Denied, "Slack does not know the token; check SLACK_BOT_TOKEN and SLACK_APP_TOKEN"},
	"not_authed":              {review.Denied, "Slack got no token; check SLACK_BOT_TOKEN and SLACK_APP_TOKEN"},
	"token_revoked":           {review.Denied, "the token was revoked; install the app again and set the new SLACK_BOT_TOKEN"},
	"token_expired":           {review.Denied, "the token has expired; install the app again and set the new SLACK_BOT_TOKEN"},
	"account_inactive":        {review.Denied, "the app was removed from the workspace; install it again and set the new SLACK_BOT_TOKEN"},
	"team_access_not_granted": {review.Denied, "the app was not granted this workspace; ask an admin of the organisation"},
	"ekm_access_denied":       {review.Denied, "an admin has suspended access (Enterprise Key Management)"},
	"not_allowed_token_type":  {review.Denied, "the token is of the wrong kind: SLACK_BOT_TOKEN is xoxb-…, SLACK_APP_TOKEN is xapp-…"},
	"user_not_found":          {review.Gone, "Slack does not know that user"},
	"users_not_found":         {review.Gone, "Slack does not know that user"},
	"no_such_subteam":         {review.Gone, "there is no such user group; check the reviewers of the route"},
	"plan_upgrade_required":   {review.Denied, "the workspace's plan has no user groups; name people or the channel as reviewers of the route"},
	"user_not_in_channel":     {review.Gone, "that user is not in the channel"},
	"not_enabled":             {review.Denied, "the app's Home tab is switched off; switch it on under “App Home”"},

	// Slack's own trouble: a write may have been done.
	"internal_error":      {review.Unsure, "Slack has a fault of its own"},
	"fatal_error":         {review.Unsure, "Slack has a fault of its own"},
	"service_unavailable": {review.Unsure, "Slack is not available right now"},
	"request_timeout":     {review.Unsure, "Slack did not answer in time"},
}

// failed gives a failure of a Slack call its Kind; writes is true for calls
// that do something, of which an unclear outcome is Unsure rather than Down.
// The token never appears in it.
func failed(call string, writes bool, err error) error {
	if err == nil {
		return nil
	}
	var known *review.Error
	if errors.As(err, &known) {
		return err
	}
	unclear := review.Down
	if writes {
		unclear = review.Unsure
	}
	wrap := func(kind review.Kind, text string, wait time.Duration, cause error) error {
		return &review.Error{Kind: kind, Text: text, Wait: wait, Err: fmt.Errorf("%s: %w", call, cause)}
	}
	var limited *slack.RateLimitedError
	var status slack.StatusCodeError
	var answer slack.SlackErrorResponse
	var dial *net.OpError
	switch {
	case errors.As(err, &limited):
		return wrap(review.Busy, "Slack asks us to slow down", limited.RetryAfter, err)
	case errors.As(err, &answer):
		return fromAnswer(call, answer, wrap)
	case errors.As(err, &status):
		switch {
		case status.Code == http.StatusTooManyRequests:
			return wrap(review.Busy, "Slack asks us to slow down", time.Second, err)
		case status.Code >= 500:
			return wrap(unclear, "Slack has a fault of its own", 0, err)
		}
		return wrap(review.Refused, "Slack refuses the request", 0, err)
	case errors.As(err, &dial) && dial.Op == "dial":
		return wrap(review.Down, "Slack cannot be reached", 0, err)
	case errors.Is(err, context.Canceled):
		return wrap(unclear, "", 0, err)
	}
	return wrap(unclear, "Slack did not answer", 0, err)
}

func fromAnswer(call string, a slack.SlackErrorResponse, wrap func(review.Kind, string, time.Duration, error) error) error {
	cause := error(a)
	if m := a.ResponseMetadata.Messages; len(m) > 0 {
		cause = fmt.Errorf("%w (%s)", a, strings.Join(m, "; "))
	}
	if a.Err == "missing_scope" {
		return wrap(review.Denied, "the app lacks the scope "+orUnknown(a.Needed)+"; add it under “OAuth & Permissions” and install the app again", 0, cause)
	}
	row, ok := table[a.Err]
	if !ok {
		if strings.HasPrefix(a.Err, "restricted_action") {
			row = table["restricted_action"]
		} else {
			row.kind, row.text = review.Refused, "Slack refuses the request ("+a.Err+")"
		}
	}
	if row.kind == review.Refused {
		switch a.Err {
		case "invalid_blocks", "invalid_blocks_format", "invalid_arguments", "msg_blocks_too_long", "msg_too_large", "msg_too_long", "only_one_table_allowed":
			cause = fmt.Errorf("%w: %w", ErrBlocks, cause)
		}
	}
	wait := time.Duration(0)
	if row.kind == review.Busy {
		wait = time.Second
	}
	return wrap(row.kind, row.text, wait, cause)
}

func orUnknown(s string) string {
	if s == "" {
		return "(Slack does not say which)"
	}
	return s
}
