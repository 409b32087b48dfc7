package phoenix

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spanbot/spanbot/internal/review"
)

// The oldest server that Spanbot talks to, and the first that can list spans in
// ascending order, and by span id.
var (
	floor       = version{major: 15, minor: 4}
	ascending   = version{major: 20, minor: 16}
	knowsSpanID = version{major: 19, minor: 6}
)

// Server is what stands at the other end.
type Server struct {
	Version string // "20.26.1"; "" when a proxy hides it
	Auth    string // "ANONYMOUS" without authentication, else how the key's user logs in
	User    string // name of the key's user
	Role    string // SYSTEM, ADMIN, MEMBER; "" without authentication
}

// Server asks who is there and remembers the version for Ascends. It fails with
// Refused below 15.4.0, naming what is missing, and with Denied for a key that
// is not accepted or belongs to a viewer.
//
// Phoenix: GET /v1/user, GET /arize_phoenix_version.
func (c *Client) Server(ctx context.Context) (Server, error) {
	var out struct {
		Data struct {
			AuthMethod string `json:"auth_method"`
			Username   string `json:"username"`
			Email      string `json:"email"`
			Role       string `json:"role"`
		} `json:"data"`
	}
	err := c.do(ctx, request{call: "user", method: http.MethodGet, path: "/v1/user"}, decodeJSON(&out, smallText))
	v, known := c.serverVersion()
	if known && v.less(floor) {
		return Server{Version: v.text}, refused(fmt.Sprintf("Phoenix %s is older than 15.4.0: it lacks the exact reading of annotations, filters of spans and trace annotations that Spanbot needs; upgrade the server", v.text), err)
	}
	if status(err) == http.StatusNotFound {
		err = &review.Error{Kind: review.Down, Text: "there is no Phoenix at PHOENIX_ENDPOINT (404); is its base path right?", Err: err}
	}
	if err != nil {
		return Server{Version: v.text}, err
	}
	if !known {
		v = c.plainVersion(ctx)
		if v.text != "" && v.less(floor) {
			return Server{Version: v.text}, refused(fmt.Sprintf("Phoenix %s is older than 15.4.0; upgrade the server", v.text), nil)
		}
	}
	d := out.Data
	s := Server{Version: v.text, Auth: plain(d.AuthMethod), User: plain(d.Username), Role: strings.ToUpper(plain(d.Role))}
	if s.User == "" {
		s.User = plain(d.Email)
	}
	if s.Role == "VIEWER" {
		return s, &review.Error{Kind: review.Denied, Text: fmt.Sprintf("the API key belongs to %s, a viewer in Phoenix, who may not write annotations; use the key of a member", s.User)}
	}
	return s, nil
}

// plainVersion asks for the version where no header tells it.
func (c *Client) plainVersion(ctx context.Context) version {
	var text string
	err := c.do(ctx, request{call: "version", method: http.MethodGet, path: "/arize_phoenix_version", accept: "text/plain"}, func(r io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(r, 100))
		text = strings.TrimSpace(string(b))
		return err
	})
	v, ok := parseVersion(text)
	if err != nil || !ok {
		return version{}
	}
	c.version.Store(&text)
	return v
}

// Ascends reports whether the server is known to list spans in ascending order
// (20.16; release candidates count). Every answer may change it: servers are
// upgraded.
func (c *Client) Ascends() bool {
	v, ok := c.serverVersion()
	return ok && !v.less(ascending)
}

func (c *Client) serverVersion() (version, bool) {
	if p := c.version.Load(); p != nil {
		return parseVersion(*p)
	}
	return version{}, false
}

type version struct {
	major, minor int
	text         string
}

// parseVersion reads "20.26.1", also with a suffix as in "20.16.0rc1" or "20.16.0.dev3".
func parseVersion(s string) (version, bool) {
	v := version{text: plain(strings.TrimSpace(s))}
	n, _ := fmt.Sscanf(v.text, "%d.%d", &v.major, &v.minor)
	return v, n == 2
}

func (v version) less(o version) bool {
	return v.major < o.major || v.major == o.major && v.minor < o.minor
}
