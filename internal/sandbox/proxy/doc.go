// Package proxy stands between Spanbot and the servers that tests run it on.
//
// Slack is strict before a lax Slack emulator (rig.LocalSlack): it knows tokens,
// scopes, Block Kit, lengths, paces and trigger ages, mends what the emulator
// leaves out, and stamps what passes. HTTP does the stamping for Phoenix; TCP
// breaks the wire to Redis. All three fail on command: outages are made by
// breaking the wire, not by wrapping methods.
//
// Like the rest of internal/sandbox it imports none of Spanbot's clients. What it
// holds to be Slack's behaviour is Slack's documentation; what is documented
// nowhere (how soon an envelope is sent again) happens only on request.
package proxy
