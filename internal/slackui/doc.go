// Package slackui is everything Slack: what people see and tap, and the wire
// between them and the bot.
//
// Drawing is pure: card.go, outline.go, form.go and details.go turn state into
// Block Kit, text.go keeps the hostile text of spans from meaning anything
// there, button.go writes into each button what a click needs.
//
// The wire: client.go calls Slack at the pace of pace.go; mux.go takes clicks
// and forms, the same over Socket Mode (socket.go) and HTTP (http.go);
// errors.go gives Slack's failures their Kind, reply.go turns ours into words.
//
// What a click means is not decided here: package bot registers that. Nothing
// here knows Phoenix or Redis.
package slackui
