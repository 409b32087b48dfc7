package queue

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/tls"
	"crypto/x509"

	"github.com/redis/go-redis/v9"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/certs"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// crowd is people who judge all the time, each with a click's budget, and the
// book of what they were told.
type crowd struct {
	t        *testing.T
	q        *Queue
	mu       sync.Mutex
	next     int
	accepted map[int]bool // number of the judgement
	unsafe   int          // written, but no replica confirmed it: these went to Phoenix as well
	refused  int
	stop     context.CancelFunc
	people   sync.WaitGroup
}

func newCrowd(t *testing.T, q *Queue) *crowd {
	ctx, stop := context.WithCancel(t.Context())
	c := &crowd{t: t, q: q, accepted: map[int]bool{}, stop: stop}
	for range 4 {
		c.people.Go(func() {
			for ctx.Err() == nil {
				c.one(ctx)
			}
		})
	}
	return c
}

func (c *crowd) one(ctx context.Context) {
	c.mu.Lock()
	c.next++
	n := c.next
	c.mu.Unlock()
	j := judgement(n, "U1", "correct", time.Now())
	ctx, cancel := context.WithTimeout(ctx, 400*time.Millisecond)
	defer cancel()
	_, err := c.q.Change(ctx, "r", j.TraceID, func(th *review.Thread) (Step, error) {
		if !th.Judge(j) {
			return Step{Nothing: true}, nil
		}
		return Step{Put: []review.Judgement{j}, Safe: true}, nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.accepted[n] = true
	case errors.Is(err, ErrUnreplicated):
		c.unsafe++
	default:
		c.refused++
	}
}

func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.accepted) + c.unsafe
}

// more waits until that many more were accepted, on a replica or on the master
// alone.
func (c *crowd) more(n int) {
	c.t.Helper()
	want := c.count() + n
	for end := time.Now().Add(30 * time.Second); c.count() < want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("only %d of %d more judgements were accepted in 30 s; %d refused", n-(want-c.count()), n, c.refused)
		}
	}
}

// end stops the people and looks for what each was told is safe.
func (c *crowd) end() {
	c.t.Helper()
	c.stop()
	c.people.Wait()
	waiting := map[string]bool{}
	for l, err := range c.q.Letters(context.WithoutCancel(c.t.Context())) {
		if err != nil {
			c.t.Fatal(err)
		}
		waiting[l.Key] = true
	}
	lost := 0
	for n := range c.accepted {
		j := judgement(n, "U1", "correct", time.Now())
		th, err := c.q.Thread(c.t.Context(), "r", j.TraceID)
		if err != nil {
			c.t.Fatal(err)
		}
		if !waiting[j.Key()] || th.Card(j.SpanID).Find("U1", "correctness", false) == nil {
			lost++
		}
	}
	c.t.Logf("%d accepted, %d refused, %d on the master alone (these go to Phoenix as well); %d lost", len(c.accepted), c.refused, c.unsafe, lost)
	if lost > 0 {
		c.t.Errorf("%d of %d accepted judgements are lost", lost, len(c.accepted))
	}
}

func sentinels(t *testing.T) (master *rig.RedisServer, sentinel string, q *Queue) {
	t.Helper()
	master = rig.Redis(t)
	_, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		t.Fatal(err)
	}
	replica := rig.RedisWith(t, "replicaof 127.0.0.1 "+port)
	sentinel = rig.Sentinel(t, master)
	c := redis.NewSentinelClient(&redis.Options{Addr: sentinel})
	defer c.Close()
	r := redis.NewClient(&redis.Options{Addr: replica.Addr})
	defer r.Close()
	m := redis.NewClient(&redis.Options{Addr: master.Addr})
	defer m.Close()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		list, err := c.Replicas(t.Context(), "mymaster").Result()
		info, _ := r.Info(t.Context(), "replication").Result()
		seen, _ := m.Info(t.Context(), "replication").Result()
		if err == nil && len(list) == 1 && strings.Contains(info, "master_link_status:up") && strings.Contains(seen, "state=online") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the sentinel sees no replica: %v %v", list, err)
		}
	}
	return master, sentinel, open(t, "redis+sentinel://"+sentinel+"/mymaster")
}

// An operator moves the master's place to the replica: nothing that was said to
// be safe is lost.
func TestSentinel_FailOverByHand(t *testing.T) {
	_, sentinel, q := sentinels(t)
	c := newCrowd(t, q)
	c.more(300)
	s := redis.NewSentinelClient(&redis.Options{Addr: sentinel})
	defer s.Close()
	if err := s.Failover(t.Context(), "mymaster").Err(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	c.more(100)
	c.end()
}

// The master is killed under load: its replica has all that was said to be safe.
func TestSentinel_KilledMaster(t *testing.T) {
	master, _, q := sentinels(t)
	c := newCrowd(t, q)
	c.more(300)
	master.Kill()
	c.more(100)
	c.end()
}

// A Cluster of three masters, and the slot of our keys moves to another one while
// people judge.
func TestCluster_SlotMovesUnderLoad(t *testing.T) {
	var nodes []*rig.RedisServer
	var clients []*redis.Client
	var ids []string
	ctx := t.Context()
	for range 3 {
		n := rig.RedisWith(t, "cluster-enabled yes", "cluster-node-timeout 2000")
		c := redis.NewClient(&redis.Options{Addr: n.Addr, Protocol: 2})
		defer c.Close()
		id, err := c.Do(ctx, "CLUSTER", "MYID").Text()
		if err != nil {
			t.Fatal(err)
		}
		nodes, clients, ids = append(nodes, n), append(clients, c), append(ids, id)
	}
	for i, c := range clients {
		from, to := i*16384/3, (i+1)*16384/3-1
		if err := c.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", from, to).Err(); err != nil {
			t.Fatal(err)
		}
		host, port, _ := net.SplitHostPort(nodes[0].Addr)
		if err := c.Do(ctx, "CLUSTER", "MEET", host, port).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		good := 0
		for _, c := range clients {
			if info, err := c.ClusterInfo(ctx).Result(); err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3") {
				good++
			}
		}
		if good == 3 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the cluster does not come up")
		}
	}
	q := open(t, "redis+cluster://"+nodes[0].Addr+","+nodes[1].Addr)
	crowd := newCrowd(t, q)
	crowd.more(300)
	slot, err := clients[0].ClusterKeySlot(ctx, q.key.due()).Result()
	if err != nil {
		t.Fatal(err)
	}
	from := int(slot) * 3 / 16384
	for from*16384/3 > int(slot) {
		from--
	}
	for (from+1)*16384/3-1 < int(slot) {
		from++
	}
	to := (from + 1) % 3
	must := func(c *redis.Client, args ...any) {
		t.Helper()
		if err := c.Do(ctx, args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	must(clients[to], "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from])
	must(clients[from], "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to])
	host, port, _ := net.SplitHostPort(nodes[to].Addr)
	for {
		keys, err := clients[from].ClusterGetKeysInSlot(ctx, int(slot), 50).Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) == 0 {
			break
		}
		args := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
		for _, k := range keys {
			args = append(args, k)
		}
		must(clients[from], args...)
	}
	for _, i := range []int{to, from, 3 - to - from} {
		must(clients[i], "CLUSTER", "SETSLOT", slot, "NODE", ids[to])
	}
	crowd.more(300)
	crowd.end()
}

// tlsServer is what a test of encrypted connections needs: a server's lines of
// configuration, and what we show and trust.
type tlsServer struct {
	port  string // the encrypted one
	lines []string
	ours  *tls.Config // with a certificate of our own
}

func newTLSServer(t *testing.T) tlsServer {
	t.Helper()
	f, err := certs.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(f.ClientCert, f.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	s := tlsServer{port: freePort(t), ours: &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}
	s.ours.RootCAs.AppendCertsFromPEM(pem)
	s.lines = []string{"tls-port " + s.port, "tls-cert-file " + f.ServerCert, "tls-key-file " + f.ServerKey, "tls-ca-cert-file " + f.CA}
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// only holds that a server takes us with our certificate, and neither without one
// nor when we trust others.
func (s tlsServer) only(t *testing.T, url string) {
	t.Helper()
	for what, c := range map[string]*tls.Config{
		"without a certificate of ours":     {RootCAs: s.ours.RootCAs, MinVersion: tls.VersionTLS12},
		"by an authority we do not know":    {Certificates: s.ours.Certificates, RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12},
		"with nothing said of certificates": nil,
	} {
		q, err := Open(t.Context(), url, Options{Instance: t.Name(), TLS: c})
		if err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err = q.Ping(ctx)
			cancel()
			_ = q.Close()
		}
		if err == nil {
			t.Errorf("we talk to it %s", what)
		}
	}
	q, err := Open(t.Context(), url, Options{Instance: t.Name(), TLS: s.ours})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	judge(t, q, judgement(1, "U1", "correct", time.Now()))
}

// TLS with a certificate of our own, on a server that takes no other.
func TestTLS_WithAClientCertificate(t *testing.T) {
	s := newTLSServer(t)
	rig.RedisWith(t, s.lines...)
	s.only(t, "rediss://127.0.0.1:"+s.port+"/0")
}

// Sentinels and the master that they name are both spoken to in secret.
func TestTLS_Sentinel(t *testing.T) {
	s := newTLSServer(t)
	rig.RedisWith(t, append(s.lines, "tls-replication yes")...)
	sentinel := s
	sentinel.port = freePort(t)
	sentinel.lines = append([]string{"tls-port " + sentinel.port, "tls-replication yes"}, s.lines[1:]...)
	plain := rig.SentinelWith(t, "127.0.0.1:"+s.port, sentinel.lines...)
	c := redis.NewSentinelClient(&redis.Options{Addr: plain})
	defer c.Close()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if m, err := c.Master(t.Context(), "mymaster").Result(); err == nil && m["flags"] == "master" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the sentinel does not reach its master")
		}
	}
	s.only(t, "rediss+sentinel://127.0.0.1:"+sentinel.port+"/mymaster")
}

// A Cluster names its nodes to us by their encrypted ports.
func TestTLS_Cluster(t *testing.T) {
	s := newTLSServer(t)
	n := rig.RedisWith(t, append(s.lines, "cluster-enabled yes", "tls-cluster yes", "cluster-announce-ip 127.0.0.1")...)
	c := redis.NewClient(&redis.Options{Addr: n.Addr, Protocol: 2})
	defer c.Close()
	if err := c.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if info, err := c.ClusterInfo(t.Context()).Result(); err == nil && strings.Contains(info, "cluster_state:ok") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the cluster does not come up")
		}
	}
	s.only(t, "rediss+cluster://127.0.0.1:"+s.port)
}
