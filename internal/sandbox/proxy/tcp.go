package proxy

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// TCP passes bytes on between a client and a server, until it is told not to.
type TCP struct {
	Addr string // where clients connect: 127.0.0.1:PORT

	network, upstream string
	listener          net.Listener

	mu      sync.Mutex
	changed *sync.Cond
	conns   map[net.Conn]bool
	refuse  bool
	stall   bool
	lose    bool
	delay   time.Duration
	closed  bool
}

// NewTCP listens on a loopback port before upstream; network is "tcp" or "unix".
func NewTCP(tb rig.TB, network, upstream string) *TCP {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("tcp proxy: %v", err)
	}
	p := &TCP{Addr: l.Addr().String(), network: network, upstream: upstream, listener: l, conns: map[net.Conn]bool{}}
	p.changed = sync.NewCond(&p.mu)
	tb.Cleanup(p.close)
	go p.accept()
	return p
}

func (p *TCP) close() {
	p.set(func() { p.closed, p.stall = true, false })
	p.listener.Close()
	p.Cut()
}

func (p *TCP) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.changed.Broadcast()
}

// Cut ends every connection; new ones are taken.
func (p *TCP) Cut() {
	p.set(func() {
		for c := range p.conns {
			c.Close()
		}
	})
}

// Refuse ends new connections at once, as a server that is down; call Cut too to
// end those that are open.
func (p *TCP) Refuse(on bool) { p.set(func() { p.refuse = on }) }

// Stall stops the bytes in both directions; connections stay open.
func (p *TCP) Stall(on bool) { p.set(func() { p.stall = on }) }

// LoseAnswers lets requests through and throws the answers away: what was asked
// is done, and the client never learns it.
func (p *TCP) LoseAnswers(on bool) { p.set(func() { p.lose = on }) }

// Slow holds every piece of data up for d in each direction.
func (p *TCP) Slow(d time.Duration) { p.set(func() { p.delay = d }) }

// Open is the number of connections that are open.
func (p *TCP) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2
}

func (p *TCP) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.serve(client)
	}
}

func (p *TCP) serve(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	refused := p.refuse || p.closed
	p.mu.Unlock()
	if refused {
		return
	}
	server, err := net.Dial(p.network, p.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	p.set(func() { p.conns[client], p.conns[server] = true, true })
	defer p.set(func() { delete(p.conns, client); delete(p.conns, server) })
	done := make(chan struct{}, 2)
	go func() { p.pass(server, client, false); done <- struct{}{} }()
	go func() { p.pass(client, server, true); done <- struct{}{} }()
	<-done // one side has ended: end the other
}

// pass copies from one side to the other under the rules of the moment.
func (p *TCP) pass(to io.Writer, from io.Reader, answers bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			for p.stall && !p.closed {
				p.changed.Wait()
			}
			delay, lose := p.delay, p.lose && answers
			p.mu.Unlock()
			time.Sleep(delay)
			if !lose {
				if _, err := to.Write(buf[:n]); err != nil {
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}
