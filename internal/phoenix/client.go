package phoenix

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options say where Phoenix is and how to be let in.
type Options struct {
	Endpoint string            // base URL, "http://127.0.0.1:6006" or "https://app.phoenix.arize.com/s/space"
	APIKey   string            // sent as a bearer token; empty where the server has no authentication
	Headers  map[string]string // sent with every request
	Registry prometheus.Registerer
	Version  string      // Spanbot's, for the User-Agent
	TLS      *tls.Config // nil: the system's authorities, and no certificate of ours

	// Dial makes the connections; nil: as usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client speaks to one Phoenix. It is safe for use by several goroutines.
type Client struct {
	base     string // without a slash at the end
	header   http.Header
	host     string   // Host header, when one is configured
	secrets  []string // never shown
	http     *http.Client
	metrics  *metrics
	circuit  circuit
	patience time.Duration          // callTimeout; a test has less
	version  atomic.Pointer[string] // of the server, as its last answer said
}

const (
	// callTimeout is how long a call may go without any progress: a page of
	// huge spans takes its time.
	callTimeout = 15 * time.Second
	// callLimit ends a call that makes progress for ever.
	callLimit = 3 * time.Minute
	// idleTimeout is shorter than the 5 s after which the server closes an idle
	// connection.
	idleTimeout = 4 * time.Second
	excerptSize = 300
)

// New makes a client. It does not call the server; the error says what is wrong
// with the options and never holds a secret.
func New(o Options) (*Client, error) {
	u, err := url.Parse(strings.TrimSpace(o.Endpoint))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, refused("the address of Phoenix must be a URL like http://127.0.0.1:6006", nil)
	}
	c := &Client{header: http.Header{}, metrics: newMetrics(o.Registry), patience: callTimeout}
	if u.User != nil {
		req := &http.Request{Header: c.header}
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
		c.secrets = append(c.secrets, password)
		u.User = nil
	}
	c.base = strings.TrimSuffix(strings.TrimRight(u.String(), "/"), "/v1/traces")
	for name, value := range o.Headers {
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !token(name) || !printable(value) {
			return nil, refused(fmt.Sprintf("the header %q for Phoenix has a name or a value that HTTP does not allow", name), nil)
		}
		if strings.EqualFold(name, "Host") {
			c.host = value
			continue
		}
		c.header.Set(name, value)
		c.secrets = append(c.secrets, value)
	}
	if key := strings.TrimSpace(o.APIKey); key != "" {
		if !printable(key) {
			return nil, refused("the API key for Phoenix holds a character that HTTP does not allow; is it the whole key, and only the key?", nil)
		}
		c.header.Set("Authorization", "Bearer "+key)
		c.secrets = append(c.secrets, key)
	}
	agent := "spanbot"
	if o.Version != "" && printable(o.Version) {
		agent += "/" + o.Version
	}
	c.header.Set("User-Agent", agent)
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	c.http = &http.Client{
		// No cookie jar: a log-in cookie would authenticate as someone else.
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         o.Dial,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     idleTimeout,
			TLSHandshakeTimeout: 5 * time.Second,
			TLSClientConfig:     o.TLS,
		},
		// A redirected POST would become a GET, and the headers may hold keys.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// token reports whether s is a header name.
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7F || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F })
}

// request is one request to Phoenix.
type request struct {
	call   string // metric label
	method string
	path   string // "/v1/projects"; escaped
	query  url.Values
	body   []byte // JSON; nil: none
	accept string // media type that is demanded; "" = application/json
	kind   string // media type that comes where it is another one; "" = accept
	write  bool   // what it asks for may be done although no answer comes
	once   bool   // must not be repeated by itself: it is no upsert
}

func (r request) name() string { return r.method + " " + r.path }

// do sends the request and hands the body of a 2xx answer to decode, which
// starts anew where the request is repeated. Repeated are, quickly: a GET twice
// after a broken connection or a 5xx; an upsert once after a broken connection
// or a 500 on a connection that had been used before. The server closes the
// connection silently after each 500 and after five idle seconds, so these say
// nothing about the request.
func (c *Client) do(ctx context.Context, r request, decode func(io.Reader) error) error {
	for try := 0; ; try++ {
		done, err := c.circuit.enter()
		if err != nil {
			return err
		}
		reused, err := c.try(ctx, r, decode)
		done(ctx, err)
		if err == nil || ctx.Err() != nil {
			return err
		}
		s := status(err)
		if s >= 500 {
			c.http.CloseIdleConnections()
		}
		again := false
		switch {
		case r.method == http.MethodGet && try < 2:
			again = s >= 500 && s != http.StatusInsufficientStorage || s == 0 && broken(err)
			again = again || s == http.StatusBadRequest && isHead(err)
		case try == 0 && !r.once:
			again = reused && (s == http.StatusInternalServerError || s == 0 && broken(err))
			again = again || s == http.StatusBadRequest && isHead(err)
		}
		if !again {
			return err
		}
		if r.method == http.MethodGet {
			pause(ctx, time.Duration(50+rand.IntN(100*(try+1)))*time.Millisecond) //nolint:gosec // spreads retries; nobody gains by guessing
		}
	}
}

// isHead reports the 400 that the server gives to some requests at random.
func isHead(err error) bool {
	var se *StatusError
	return errors.As(err, &se) && se.Retryable
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// try sends the request once. reused says that the connection had been used before.
func (c *Client) try(ctx context.Context, r request, decode func(io.Reader) error) (reused bool, err error) {
	start := time.Now()
	defer func() { c.metrics.observe(r.call, start, err) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(callLimit, func() { cancel(errTimeout) })
	defer limit.Stop()
	progress := time.AfterFunc(c.patience, func() { cancel(errTimeout) })
	defer progress.Stop()

	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused },
	})
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(traced, r.method, target, body)
	if err != nil {
		return false, refused("the request to Phoenix cannot be made", errors.New(r.name()))
	}
	req.Header = c.header.Clone()
	if c.host != "" {
		req.Host = c.host
	}
	want := r.accept
	if want == "" {
		want = "application/json"
	}
	req.Header.Set("Accept", want)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reused, transportError(ctx, r.name(), r.write, err)
	}
	defer resp.Body.Close()
	version := resp.Header.Get("x-phoenix-server-version")
	if version != "" {
		c.version.Store(&version)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return reused, c.refusal(r, resp)
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if r.kind != "" {
		want = r.kind
	}
	if kind != want && (want != "application/json" || !strings.HasSuffix(kind, "+json")) {
		return reused, notJSON(r.name(), kind, version)
	}
	reader := &watched{r: resp.Body, progress: progress, patience: c.patience}
	if err := decode(reader); err != nil {
		if reader.err != nil && !errors.Is(reader.err, io.EOF) { // the wire's fault
			err = reader.err
		} else {
			err = &errDecode{err}
		}
		return reused, transportError(ctx, r.name(), r.write, err)
	}
	// What is left of it, so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, reader, 64<<10)
	return reused, nil
}

// watched puts the timeout off while bytes come.
type watched struct {
	r        io.Reader
	progress *time.Timer
	patience time.Duration
	err      error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.progress.Reset(w.patience)
	}
	if err != nil {
		w.err = err
	}
	return n, err
}

// refusal reads an answer outside of 2xx. Secrets that it repeats are taken out.
func (c *Client) refusal(r request, resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // half of it is better than nothing
	s := string(b)
	for _, secret := range c.secrets {
		if len(secret) > 3 {
			s = strings.ReplaceAll(s, secret, "[secret]")
		}
	}
	s = strings.Join(strings.Fields(plain(s)), " ")
	excerpt, more := cutRunes(s, excerptSize)
	if more > 0 {
		excerpt += "…"
	}
	return statusError(r.name(), resp, s, excerpt)
}

// decodeJSON reads one JSON value; strings longer than limit characters come
// with the mark that uncut takes off.
func decodeJSON(v any, limit int) func(io.Reader) error {
	return func(r io.Reader) error { return json.NewDecoder(newCutter(r, limit)).Decode(v) }
}
