package redisd

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func init() { logging.Disable() } // it speaks of each refused connection, and these tests refuse many

// start starts a server for the test; it is closed with it.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// client reads the address as the queue does.
func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o.MaxRetries = -1
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func set(t *testing.T, c *redis.Client, key, value string) {
	t.Helper()
	if err := c.Set(context.Background(), key, value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, c *redis.Client, key, want string) {
	t.Helper()
	if got, err := c.Get(context.Background(), key).Result(); err != nil || got != want {
		t.Errorf("%s = %q, %v; want %q", key, got, err, want)
	}
}

func TestMemory_IsUsedWhenNoServerIsOnPathAndSaysThatNothingIsKept(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir, Path: t.TempDir()})
	if s.Kept() || s.What() != "miniredis" || s.Err() != nil {
		t.Errorf("Kept %v, What %q, Err %v", s.Kept(), s.What(), s.Err())
	}
	c := client(t, s.URL())
	set(t, c, "k", "v")
	holds(t, c, "k", "v")
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("it answers after Close")
	}
}

func TestMemory_CanBeDemanded(t *testing.T) {
	if s := start(t, Options{Memory: true}); s.Kept() || s.What() != "miniredis" {
		t.Errorf("Kept %v, What %q", s.Kept(), s.What())
	}
}

func TestMemory_ListensOnLoopbackAndDemandsItsPassword(t *testing.T) {
	s := start(t, Options{Memory: true})
	o, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(o.Addr, "127.0.0.1:") || len(o.Password) < 20 {
		t.Errorf("at %s with a password of %d characters", o.Addr, len(o.Password))
	}
	if err := client(t, "redis://"+o.Addr).Set(t.Context(), "k", "v", 0).Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without the password: %v", err)
	}
	other := start(t, Options{Memory: true})
	if u, _ := redis.ParseURL(other.URL()); u.Password == o.Password {
		t.Error("two servers share their password")
	}
}

// miniredis has no clock of its own.
func TestMemory_LifetimesEnd(t *testing.T) {
	c := client(t, start(t, Options{Memory: true}).URL())
	const life = time.Second
	if err := c.Set(t.Context(), "k", "v", life).Err(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for c.Exists(t.Context(), "k").Val() == 1 {
		if time.Since(begin) > 10*life {
			t.Fatal("the key is still there after ten lifetimes")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if d := time.Since(begin); d < life-tick-50*time.Millisecond {
		t.Errorf("gone after %s; want %s, at most one tick less", d, life)
	}
}
