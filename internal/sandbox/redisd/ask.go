//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package redisd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// ask sends one command to the server at a socket and returns its answer: a
// simple string, or a bulk string whole. An error answer, "LOADING Redis is
// loading the dataset in memory" for one, is a refusal.
//
// RESP2, redis.io/docs/latest/develop/reference/protocol-spec.
func ask(socket string, limit time.Duration, command ...string) (string, error) {
	conn, err := net.DialTimeout("unix", socket, limit)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "%s\r\n", strings.Join(command, " ")); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	switch {
	case strings.HasPrefix(line, "+"):
		return line[1:], nil
	case strings.HasPrefix(line, "-"):
		return "", refusal(line[1:])
	case strings.HasPrefix(line, "$"):
		n, err := strconv.Atoi(line[1:])
		if err != nil || n < 0 || n > 1<<20 {
			return "", fmt.Errorf("%s answered %q", command[0], line)
		}
		b := make([]byte, n)
		_, err = io.ReadFull(r, b)
		return string(b), err
	}
	return "", fmt.Errorf("%s answered %q", command[0], line)
}

// refusal is an error that the server answered: it is there.
type refusal string

func (r refusal) Error() string { return string(r) }

// loading reports whether a server answered that it still reads its data.
func loading(err error) bool {
	var r refusal
	return errors.As(err, &r) && strings.HasPrefix(string(r), "LOADING")
}

// field is a line "name:value" of INFO's answer; "" when it is not there.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
