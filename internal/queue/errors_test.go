package queue

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
)

func TestOpen_RedisThatIsNotThereFailsFastAndIsDown(t *testing.T) {
	q, err := Open(t.Context(), "redis://:hunter2@127.0.0.1:1/0", Options{Instance: "x"})
	if err != nil {
		t.Fatalf("a Redis that does not answer yet is no reason not to start: %v", err)
	}
	defer q.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	_, err = q.Change(ctx, "r", "t", func(*review.Thread) (Step, error) { return Step{}, nil })
	if review.KindOf(err) != review.Down || ctx.Err() != nil {
		t.Errorf("Change = %v (%s) within its budget: %v; want down", err, review.KindOf(err), ctx.Err() == nil)
	}
	if err := q.Ping(t.Context()); strings.Contains(err.Error(), "hunter2") {
		t.Error("the password stands in the error")
	}
}

func TestOpen_URLsThatAreNotUnderstood_DoNotRepeatThePassword(t *testing.T) {
	for _, u := range []string{"http://:hunter2@h", "redis://:hunter2@h:notaport", "redis+sentinel://:hunter2@h:1", "", "redis://:hunter2@h/x"} {
		_, err := Open(t.Context(), u, Options{})
		if review.KindOf(err) != review.Invalid || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", u, err)
		}
	}
}

func TestOpen_NewerLayoutIsRefusedInWords(t *testing.T) {
	s := sharedRedis(t)
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer func() { _ = c.Close() }()
	q := newQueue(t, c)
	if err := c.Set(t.Context(), q.key.layout(), Layout+1, time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), s.URL, q.opts)
	if review.KindOf(err) != review.Refused || !strings.Contains(err.Error(), "newer Spanbot") {
		t.Errorf("%v", err)
	}
}

func TestErrors_RedisWordsBecomeKinds(t *testing.T) {
	s := sharedRedis(t)
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer func() { _ = c.Close() }()
	word := func(text string) error {
		return c.Eval(t.Context(), "return redis.error_reply(ARGV[1])", nil, text).Err()
	}
	for _, tt := range []struct {
		err  error
		kind review.Kind
		say  string
	}{
		{word("OOM command not allowed when used memory > 'maxmemory'."), review.Down, "out of memory"},
		{word("READONLY You can't write against a read only replica."), review.Down, "read-only replica"},
		{word("NOAUTH Authentication required."), review.Denied, "user or password"},
		{word("LOADING Redis is loading the dataset in memory"), review.Down, "cannot write"},
		{word("ERR Error running script (call to f_0): @user_script:1: @user_script: 1: -OOM command not allowed when used memory > 'maxmemory'."), review.Down, "out of memory"},
		{errors.New("redis: all sentinels specified in configuration are unreachable"), review.Down, "does not answer"},
		{errors.New("redis: cluster has no nodes"), review.Down, "does not answer"},
		{context.DeadlineExceeded, review.Unsure, "in time"},
		{errors.New("EOF"), review.Unsure, "in time"},
		{redis.ErrClosed, review.Down, "closed"},
	} {
		got := failed("x", tt.err)
		if review.KindOf(got) != tt.kind || !strings.Contains(review.TextOf(got), tt.say) {
			t.Errorf("%v: %s %q; want %s …%s…", tt.err, review.KindOf(got), review.TextOf(got), tt.kind, tt.say)
		}
	}
	if failed("x", nil) != nil {
		t.Error("no error became one")
	}
}

func TestServer_TellsWhatAnOperatorMustKnow(t *testing.T) {
	s := sharedRedis(t)
	q, err := Open(t.Context(), s.URL, Options{Instance: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	i, err := q.Server(t.Context())
	if err != nil || i.Version == "" || !i.AOF || i.Eviction != "noeviction" || i.Role != "master" {
		t.Errorf("%+v %v", i, err)
	}
}
