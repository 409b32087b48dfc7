package redisd

import (
	"os"
	"regexp"
	"strings"
	"sync"
)

// maxLog is the size from which a log file is put aside as ".1", in bytes. The
// one that was there is dropped, so both take twice this at most.
const maxLog = 1 << 20

// maxTail is how much of the end is remembered to explain a crash, in bytes.
const maxTail = 4 << 10

// boundedLog is a file that does not grow without end. It is the child's stdout
// and stderr. A full disk must not end the child: failures to write are
// swallowed.
type boundedLog struct {
	path string
	max  int64

	mu   sync.Mutex
	f    *os.File
	size int64
	tail []byte
}

func openLog(path string) (*boundedLog, error) {
	l := &boundedLog{path: path, max: maxLog}
	return l, l.open(os.O_APPEND)
}

func (l *boundedLog) open(flag int) (err error) {
	l.f, err = os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|flag, 0o600)
	if err != nil {
		return err
	}
	info, err := l.f.Stat()
	if err == nil {
		l.size = info.Size()
	}
	return err
}

func (l *boundedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, p...)
	if more := len(l.tail) - maxTail; more > 0 {
		l.tail = append([]byte(nil), l.tail[more:]...)
	}
	if l.size+int64(len(p)) > l.max {
		l.f.Close()
		_ = os.Rename(l.path, l.path+".1") // when that fails the file is emptied instead
		_ = l.open(os.O_TRUNC)             // when that fails l.f is nil, and so are its writes
	}
	n, _ := l.f.Write(p)
	l.size += int64(n)
	return len(p), nil
}

// fresh forgets the end: what comes next is another child's.
func (l *boundedLog) fresh() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = nil
}

func (l *boundedLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.f.Close()
}

// head is what Redis puts before each line: "4711:M 26 Nov 2026 12:00:00.123 # ".
var head = regexp.MustCompile(`^\d+:[A-Z] [^#*.-]*?\d\d:\d\d:\d\d\.\d+ ([#*.-]) `)

// lastWords is the line that best says why a child has ended: its last warning,
// else its last line.
func (l *boundedLog) lastWords() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, warning := "", ""
	for line := range strings.Lines(string(l.tail)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		last = head.ReplaceAllString(line, "")
		m := head.FindStringSubmatch(line)
		if m != nil && m[1] == "#" && !strings.HasPrefix(last, "WARNING") {
			warning = last
		}
	}
	if warning != "" {
		return warning
	}
	return last
}
