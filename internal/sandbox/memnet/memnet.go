// Package memnet is a network in memory: servers and clients of one process
// that meet by name. A whole bot with its surroundings fits into a synctest
// bubble on it, where real sockets would keep the clock from moving.
//
// What is written waits until it is read, as much as there is: an end that
// writes a lot before it reads, as a pipeline does, does not stop the other.
package memnet

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Net is one such network. The zero value is empty and ready.
type Net struct {
	mu      sync.Mutex
	servers map[string]func(context.Context) (net.Conn, error)
}

// Listen is a listener for servers that serve on one. Clients reach it under
// the address, "slack.test:80".
func (n *Net) Listen(address string) net.Listener {
	l := &listener{net: n, address: addr(address), conns: make(chan net.Conn), done: make(chan struct{})}
	n.Serve(address, l.dial)
	return l
}

// Serve lets a function answer connections to an address.
func (n *Net) Serve(address string, dial func(context.Context) (net.Conn, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.servers == nil {
		n.servers = map[string]func(context.Context) (net.Conn, error){}
	}
	n.servers[address] = dial
}

// Dial connects to an address of this network; there are no others.
func (n *Net) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	dial := n.servers[address]
	n.mu.Unlock()
	if dial == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr(address), Err: fmt.Errorf("connection refused: nobody listens there")}
	}
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	return buffered(c), nil
}

// buffered puts a buffer of any size into both ways of a connection.
func buffered(there net.Conn) net.Conn {
	here, inner := net.Pipe()
	go carry(inner, there)
	go carry(there, inner)
	return here
}

// carry takes what comes from one end to the other, until either ends.
func carry(to, from net.Conn) {
	var (
		mu      sync.Mutex
		waiting []byte
		ended   bool
		more    = sync.NewCond(&mu)
	)
	go func() {
		b := make([]byte, 32<<10)
		for {
			n, err := from.Read(b)
			mu.Lock()
			waiting = append(waiting, b[:n]...)
			ended = ended || err != nil
			stop := ended
			mu.Unlock()
			more.Signal()
			if stop {
				return
			}
		}
	}()
	for {
		mu.Lock()
		for len(waiting) == 0 && !ended {
			more.Wait()
		}
		b := waiting
		waiting = nil
		mu.Unlock()
		if len(b) == 0 {
			_ = to.Close() // all was delivered
			return
		}
		if _, err := to.Write(b); err != nil {
			_ = from.Close() // nobody reads any more
			return
		}
	}
}

type addr string

func (a addr) Network() string { return "memory" }
func (a addr) String() string  { return string(a) }

type listener struct {
	net     *Net
	address addr
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: l.address, Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return l.address }
