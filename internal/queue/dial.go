package queue

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/spanbot/spanbot/internal/review"
)

func init() {
	// go-redis writes to stderr by itself; its failures come back as errors anyway.
	redis.SetLogger(silence{})
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// dial makes the client for a Redis URL. With the defaults a refused port costs
// 1.7 s a call (5 dials, 4 tries); a click has 400 ms.
func dial(raw string, opts Options) (redis.UniversalClient, error) {
	bad := func(err error) error {
		// The URL may hold a password: it is not repeated.
		return &review.Error{Kind: review.Invalid, Err: err, Text: "REDIS_URL is not understood; want redis://[user:password@]host:6379/0, unix:///path/to/socket, redis+sentinel://host:26379,host:26379/mymaster or redis+cluster://host:6379,host:6379; rediss instead of redis for TLS"}
	}
	scheme, _, _ := strings.Cut(raw, "://")
	scheme, encrypted := strings.CutPrefix(scheme, "rediss+")
	if encrypted {
		scheme = "redis+" + scheme
	}
	if scheme != "redis+sentinel" && scheme != "redis+cluster" {
		o, err := redis.ParseURL(raw)
		if err != nil {
			return nil, bad(nil)
		}
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 2*time.Second, 3*time.Second, 3*time.Second
		o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = 1, 1, true
		o.MinRetryBackoff, o.MaxRetryBackoff = 5*time.Millisecond, 20*time.Millisecond
		o.Dialer = opts.Dial
		if o.TLSConfig != nil && opts.TLS != nil {
			t := opts.TLS.Clone()
			t.ServerName = o.TLSConfig.ServerName
			o.TLSConfig = t
		}
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		return redis.NewClient(o), nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil, bad(nil)
	}
	o := &redis.UniversalOptions{
		Addrs:       strings.Split(u.Host, ","),
		DialTimeout: 2 * time.Second, ReadTimeout: 3 * time.Second, WriteTimeout: 3 * time.Second,
		MaxRetries: 3, DialerRetries: 1, ContextTimeoutEnabled: true, Dialer: opts.Dial,
	}
	if encrypted {
		// The name that a certificate must have is that of each node, as Sentinel or
		// the cluster names it.
		if o.TLSConfig = opts.TLS; o.TLSConfig == nil {
			o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	if scheme == "redis+cluster" {
		o.IsClusterMode = true
		return redis.NewUniversalClient(o), nil
	}
	path := strings.Split(strings.Trim(u.Path, "/"), "/")
	if path[0] == "" {
		return nil, bad(fmt.Errorf("no master name"))
	}
	o.MasterName = path[0]
	if len(path) > 1 {
		if o.DB, err = strconv.Atoi(path[1]); err != nil {
			return nil, bad(err)
		}
	}
	return redis.NewUniversalClient(o), nil
}
