package phoenix

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spanbot/spanbot/internal/review"
)

// StatusError is an answer that Phoenix, or a proxy before it, refused with.
// It is found with errors.As in the errors of this package.
type StatusError struct {
	Call       string // "GET /v1/projects/{id}/spans"
	Status     int
	Excerpt    string        // start of the body, without keys and control characters
	RetryAfter time.Duration // 0 when it was not said
	Retryable  bool          // the same request may succeed later
	body       string        // the whole of it, within reason
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s: %d %s", e.Call, e.Status, http.StatusText(e.Status))
	if e.Excerpt != "" {
		s += ": " + e.Excerpt
	}
	return s
}

// MissingError names the targets that Phoenix does not have (any more). Nothing
// of the batch was written.
type MissingError struct {
	IDs []string // span ids, or trace ids
}

func (e *MissingError) Error() string {
	return "Phoenix does not have " + strings.Join(e.IDs, ", ")
}

// ErrOrder says that the server cannot read the feed forward; Newest can.
var ErrOrder = errors.New("the server does not list spans in ascending order (Phoenix 20.16 does)")

// errTimeout is the cause of a call that made no progress.
var errTimeout = errors.New("timed out")

// errDecode marks an answer that is not what was asked for.
type errDecode struct{ err error }

func (e *errDecode) Error() string { return e.err.Error() }
func (e *errDecode) Unwrap() error { return e.err }

// isDecode reports an answer that came whole and is not understood.
func isDecode(err error) bool {
	var de *errDecode
	return errors.As(err, &de)
}

// statusKind says what can be done about a status.
func statusKind(status int, excerpt string) review.Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return review.Denied
	case http.StatusNotFound, http.StatusGone:
		return review.Gone
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return review.Busy
	case http.StatusInsufficientStorage: // storage full: someone has to make room
		return review.Busy
	case http.StatusBadRequest:
		if strings.HasPrefix(excerpt, "Invalid HTTP request received") { // the server's own mistake, at random
			return review.Down
		}
	}
	switch {
	case status >= 500, status < 400:
		// Every write is an upsert: it may be repeated even if it was done.
		return review.Down
	}
	return review.Refused
}

// storageFullWait is how long to leave a server alone whose storage is full.
const storageFullWait = time.Minute

// statusError turns an answer outside of 2xx into an error.
func statusError(call string, resp *http.Response, body, excerpt string) error {
	kind := statusKind(resp.StatusCode, body)
	se := &StatusError{
		Call: call, Status: resp.StatusCode, Excerpt: excerpt, body: body, RetryAfter: retryAfter(resp.Header, time.Now()),
		Retryable: kind == review.Busy || kind == review.Down,
	}
	e := &review.Error{Kind: kind, Err: se, Wait: se.RetryAfter}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		e.Text = "Phoenix refuses the API key (401); set PHOENIX_API_KEY to a key that is valid"
	case resp.StatusCode == http.StatusForbidden:
		e.Text = "Phoenix forbids it (403); the key's user must be a member, not a viewer, and the server not read-only"
	case resp.StatusCode == http.StatusNotFound && strings.HasPrefix(body, "Project with"):
		e.Text = "Phoenix does not have this project (any more)"
	case resp.StatusCode == http.StatusNotFound:
		e.Text = "Phoenix does not have it (404)"
	case resp.StatusCode == http.StatusInsufficientStorage:
		e.Text = "Phoenix's storage is full (507); make room in its database"
		e.Wait = max(e.Wait, storageFullWait)
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		e.Text = fmt.Sprintf("Phoenix's address redirects (%d); set PHOENIX_ENDPOINT to where it leads", resp.StatusCode)
	case kind == review.Busy:
		e.Text = fmt.Sprintf("Phoenix is busy (%d)", resp.StatusCode)
	case kind == review.Down:
		e.Text = fmt.Sprintf("Phoenix failed (%d)", resp.StatusCode)
	default:
		e.Text = fmt.Sprintf("Phoenix refuses the request (%d)", resp.StatusCode)
	}
	return e
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	const most = time.Hour // a proxy that says a week does not know
	if s, err := strconv.ParseInt(v, 10, 64); err == nil {
		if s > int64(most/time.Second) {
			return most
		}
		return max(0, time.Duration(s)*time.Second)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(most, max(0, t.Sub(now)))
	}
	return 0
}

// notJSON is the trap that Phoenix's user interface is: it answers 200 and a
// page of HTML to every path that it does not know.
func notJSON(call, contentType, version string) error {
	if contentType == "" {
		contentType = "no content type"
	}
	text := "the answer is a web page, not JSON: PHOENIX_ENDPOINT has a wrong base path or is not Phoenix's"
	if version != "" {
		text += fmt.Sprintf(", or the server (%s) is too old for this request", version)
	}
	if !strings.HasPrefix(contentType, "text/html") {
		text = strings.Replace(text, "a web page", contentType, 1)
	}
	return &review.Error{Kind: review.Down, Text: text, Err: &errDecode{errors.New(call + ": 200 with " + contentType)}}
}

// transportError is a request that got no answer, or half of one. ctx is the
// call's; write says that what it asked for may have been done.
func transportError(ctx context.Context, call string, write bool, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) { // it repeats method and URL
		err = ue.Err
	}
	kind := review.Down
	text := "Phoenix cannot be reached"
	cause := context.Cause(ctx)
	var de *errDecode
	var op *net.OpError
	switch {
	case errors.As(err, &de):
		text = "Phoenix's answer cannot be understood"
		if write {
			kind = review.Unsure
		}
	case cause != nil:
		text = "Phoenix does not answer in time"
		if errors.Is(cause, context.Canceled) {
			text = "the request to Phoenix was given up"
		}
		if write {
			kind = review.Unsure
		}
		err = cause
	case errors.As(err, &op) && op.Op == "dial":
		// Nothing was sent.
	case write:
		kind = review.Unsure
		text = "the connection to Phoenix broke"
	}
	return &review.Error{Kind: kind, Text: text, Err: fmt.Errorf("%s: %w", call, err)}
}

// dialed reports whether err came after a connection stood.
func dialed(err error) bool {
	var op *net.OpError
	return !errors.As(err, &op) || op.Op != "dial"
}

// broken reports a connection that the server closed, as it does silently after
// a 500 and after five idle seconds.
func broken(err error) bool {
	return !isDecode(err) && dialed(err) && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || isEOF(err) ||
		strings.Contains(err.Error(), "server closed idle connection"))
}

func refused(text string, err error) error {
	return &review.Error{Kind: review.Refused, Text: text, Err: err}
}

func gone(text string, err error) error {
	return &review.Error{Kind: review.Gone, Text: text, Err: err}
}

// status is the HTTP status in err's chain, 0 when there is none.
func status(err error) int {
	var se *StatusError
	if errors.As(err, &se) {
		return se.Status
	}
	return 0
}
