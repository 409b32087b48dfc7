package queue

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/spanbot/spanbot/internal/review"
)

// keys is the prefix "sb:{tag}:" of every key of an instance. The tag in braces
// puts them all in one slot of a cluster, since a click changes several in one
// script. Each method is one kind of key; there are no others.
//
//	layout    STRING  version of all that is stored
//	instance  STRING  Options.Instance, for people
//	routes    SET     every route name that ever had state
//
//	t:<route>:<trace>         STRING  review.Thread, see codec.go             retention
//	x:<route>:<trace>:<span>  STRING  drawn excerpt of an open card           retention
//	said:<route>:<key>        STRING  a judgement with its whole explanation  retention
//
//	backlog:<route>  ZSET  "<trace>:<span>" -> row id; found, no place yet
//	claimed:<route>  ZSET  "<trace>:<span>" -> ms when the claim runs out
//	claims:<route>   HASH  "<trace>:<span>" -> {t turn, r row, s since, a again, u uncertain}
//	uncertain:<route>  ZSET  "<trace>:<span>" -> rank; as the backlog, of the uncertain stream
//	unjudged:<route>   ZSET  "<trace>:<span>" -> row id; of the uncertain stream, no judge has seen it yet
//	taken:<route>      HASH  stream -> claims from it while both had some
//	open:<route>     ZSET  "<trace>:<span>" -> ms when posted; cards that wait for a reviewer
//
//	tally:<route>    HASH    "<rubric>|<label>" -> cards chosen by chance that have this verdict  retention
//	looks:<route>    HASH    "<rubric>|<size>" -> "judged:failed"; with "|said" -> ts of the message  retention
//	telling:<route>  STRING  token of the replica that says the route has enough  one minute
//
//	due    ZSET  judgement key -> ms when it is due next
//	body   HASH  judgement key -> judgement, JSON
//	turn   HASH  judgement key -> the fencing token of its last change or lease
//	lease  HASH  judgement key -> "turn:ms" of the lease that is out
//	tries  HASH  judgement key -> failed deliveries so far
//	dead   HASH  judgement key -> {body, why, at}
//
//	seq      STRING  last fencing token; never given twice, also to a key that comes back
//	history  STREAM  what happened to judgements, see history.go; also of each entry  retention
//
//	built            HASH    route -> "ms:run:epoch"; until when its cards are known here, see built.go
//	building:<route> STRING  token of the replica that rebuilds it            one minute
//	looked           HASH    route|what -> how far its cards were compared with Phoenix and Slack
//
//	redraw     ZSET  "<route>|<trace>|<what>" -> ms when it is due
//	redrawing  HASH  the same -> ms when the lease of who draws it runs out
//	remark     HASH  the same -> ms when it is due after that
//	drew:<channel>/<ts>  STRING  token of the replica that drew a message last  one minute
//
//	studies        HASH  name -> review.Study, JSON                              retention
//	cases:<study>  HASH  "<trace>:<span>" -> review.Case, JSON, compressed        retention
//
//	cursor:<route>:<project>  HASH    mark, low, oldest
//	slot:<route>              STRING  "number:token" of the last slot      two intervals
//	rubric:<hash>             STRING  review.Rubric, JSON                  retention
//	mine:<user>               ZSET    "<route>|<trace>|<span>[|trace]" -> ms; what they judged  two days
//	names                     HASH    user id -> "<unix seconds> <name>"
//	channels                  HASH    "#name" -> channel id
//	wake                      pub/sub channel
//
// Keys without a lifetime are bounded by what waits (lines), by the
// configuration (cursors, channels) or by the people (names).
type keys string

// index is the one key that belongs to no instance: a SET of the names of all
// that were ever opened here, until they are forgotten. It is in a slot of its
// own, so no script touches it.
const index = "sb:instances"

// everyInstance matches the keys of all instances.
const everyInstance = "sb:{*"

// keysOf is the prefix of an instance's keys.
func keysOf(instance string) keys {
	sum := sha256.Sum256([]byte(instance))
	tag := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:4]))
	return keys("sb:{" + tag + "}:")
}

func (k keys) layout() string   { return string(k) + "layout" }
func (k keys) instance() string { return string(k) + "instance" }
func (k keys) routes() string   { return string(k) + "routes" }

func (k keys) thread(route, trace string) string {
	return string(k) + "t:" + route + ":" + shortTrace(trace)
}
func (k keys) excerpt(r review.Ref) string {
	return string(k) + "x:" + r.Route + ":" + shortTrace(r.TraceID) + ":" + r.SpanID
}
func (k keys) said(j review.Judgement) string {
	return string(k) + "said:" + j.Route + ":" + j.Key()
}

func (k keys) backlog(route string) string { return string(k) + "backlog:" + route }
func (k keys) claimed(route string) string { return string(k) + "claimed:" + route }
func (k keys) claims(route string) string  { return string(k) + "claims:" + route }
func (k keys) open(route string) string    { return string(k) + "open:" + route }

func (k keys) uncertain(route string) string { return string(k) + "uncertain:" + route }
func (k keys) unjudged(route string) string  { return string(k) + "unjudged:" + route }
func (k keys) taken(route string) string     { return string(k) + "taken:" + route }

func (k keys) tally(route string) string   { return string(k) + "tally:" + route }
func (k keys) looks(route string) string   { return string(k) + "looks:" + route }
func (k keys) telling(route string) string { return string(k) + "telling:" + route }

func (k keys) due() string   { return string(k) + "due" }
func (k keys) body() string  { return string(k) + "body" }
func (k keys) turn() string  { return string(k) + "turn" }
func (k keys) lease() string { return string(k) + "lease" }
func (k keys) tries() string { return string(k) + "tries" }
func (k keys) dead() string  { return string(k) + "dead" }

func (k keys) seq() string     { return string(k) + "seq" }
func (k keys) history() string { return string(k) + "history" }

func (k keys) built() string                { return string(k) + "built" }
func (k keys) building(route string) string { return string(k) + "building:" + route }
func (k keys) looked() string               { return string(k) + "looked" }

func (k keys) redraw() string    { return string(k) + "redraw" }
func (k keys) redrawing() string { return string(k) + "redrawing" }
func (k keys) remark() string    { return string(k) + "remark" }
func (k keys) drew(channel, ts string) string {
	return string(k) + "drew:" + channel + "/" + ts
}

func (k keys) studies() string           { return string(k) + "studies" }
func (k keys) cases(study string) string { return string(k) + "cases:" + study }

func (k keys) cursor(route, project string) string {
	return string(k) + "cursor:" + route + ":" + project
}
func (k keys) slot(route string) string  { return string(k) + "slot:" + route }
func (k keys) rubric(hash string) string { return string(k) + "rubric:" + hash }
func (k keys) mine(user string) string   { return string(k) + "mine:" + user }
func (k keys) names() string             { return string(k) + "names" }
func (k keys) channels() string          { return string(k) + "channels" }
func (k keys) wake() string              { return string(k) + "wake" }

// allKeys matches every key of the instance.
func allKeys(k keys) string { return string(k) + "*" }

// shortTrace writes a trace id in 22 characters instead of 32: a thread is kept
// for months. What is no hex stays as it is.
func shortTrace(id string) string {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) == 0 || strings.ToLower(id) != id {
		return id
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// member names a span in a route's sets.
func member(trace, span string) string { return trace + ":" + span }

func splitMember(m string) (trace, span string) {
	trace, span, _ = strings.Cut(m, ":")
	return trace, span
}
