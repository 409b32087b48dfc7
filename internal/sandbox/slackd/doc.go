// Package slackd is the local workspace: the part of Slack that Spanbot uses,
// kept in memory, on Slack's own protocol, so that slack-go connects to it
// unchanged through its API URL.
//
//   - server.go: options, one request from the listener to its handler
//   - store.go: channels, messages, people; bounded
//   - api.go: the Web API: tokens, pace, the shape of answers and errors
//   - auth.go, chat.go, conversations.go, users.go, views.go: its methods
//   - check.go: what Slack refuses in blocks and texts
//   - link.go: Socket Mode: connections and their frames
//   - http.go: HTTP mode: signed requests
//   - deliver.go: an envelope, until it is acked; again when it is not
//   - people.go: what a person does becomes a payload
//   - hook.go: response_url
//   - ui.go: what the page and the server say to each other
//   - faults.go: failing on command, for tests; nothing of it is reachable by HTTP
//   - page/: the page
//
// Strict where Slack is strict: an unknown token, a block that Slack would
// refuse, a trigger that is used twice, a sixth use of a response_url, a pace
// above Slack's. Times are the clock's, so that all of it works in a synctest
// bubble on a listener in memory.
//
// Not here: accounts (who sits before the page says who they are), files,
// reactions, search, direct messages, events other than app_home_opened, Slack
// Connect, Enterprise Grid. Nothing is kept after Close.
package slackd
