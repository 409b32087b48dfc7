package evals

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spanbot/spanbot/internal/phoenix"
	"github.com/spanbot/spanbot/internal/review"
)

// journal keeps what models answered in an experiment, and what was paid for, until
// Phoenix has it: a file beside the run, one JSON value a line, on the disk before
// anything is sent. What a process leaves behind, the next run of the experiment
// delivers first. A nil journal keeps nothing.
type journal struct {
	path string

	mu      sync.Mutex
	file    *os.File
	open    map[string]*paid // what Phoenix does not have yet, by key
	written int              // lines

	syncing sync.Mutex
	synced  int // lines that are on the disk
}

// paid is a line of a journal. Lines of one key belong together: the answer comes
// first, what the judge said of it later, and that it is stored last.
type paid struct {
	Key        string              `json:"key"` // example and repetition
	Run        *phoenix.Run        `json:"run,omitempty"`
	Evaluation *phoenix.Evaluation `json:"evaluation,omitempty"` // RunID is "" where the run is not stored yet
	Stored     bool                `json:"stored,omitempty"`
}

// TryJournal makes a folder of journals, and reports whether files can be kept in
// it, so that nobody finds out later. "" is for none.
//
// Invalid: they cannot.
func TryJournal(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return noJournal(dir, err)
	}
	f, err := os.CreateTemp(dir, ".try-*")
	if err != nil {
		return noJournal(dir, err)
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return noJournal(dir, err)
	}
	return nil
}

func noJournal(dir string, err error) error {
	return &review.Error{Kind: review.Invalid, Text: fmt.Sprintf("cannot keep a journal of the answers in %s: %v; name another folder with --journal, or do without with --journal off", dir, cmp.Or(errors.Unwrap(err), err))}
}

// openJournal opens an experiment's journal in a folder, and reads what an earlier
// run left in it. Lines that cannot be read, as the last of a process that was
// killed while it wrote, are skipped: what is in them was not sent either, and is
// asked for again.
func openJournal(dir string, e phoenix.Experiment) (*journal, error) {
	if dir == "" {
		return nil, nil
	}
	cannot := func(err error) error { return noJournal(dir, err) }
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, cannot(err)
	}
	j := &journal{path: filepath.Join(dir, journalName(e)), open: map[string]*paid{}}
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, cannot(err)
	}
	j.file = f
	whole, err := j.read(f)
	if err == nil && !whole { // what follows must not be glued to it
		_, err = f.WriteString("\n")
	}
	if err != nil {
		_ = f.Close()
		return nil, cannot(err)
	}
	return j, nil
}

// journalName names an experiment's file by its project, which Phoenix names by
// chance: ids are the same on every server, and SQLite gives them out again.
func journalName(e phoenix.Experiment) string {
	name := e.Project
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		sum := sha256.Sum256([]byte(e.ID + " " + e.Name + " " + e.Created.UTC().Format(time.RFC3339Nano)))
		name = "Experiment-" + hex.EncodeToString(sum[:12])
	}
	return name + ".jsonl"
}

// read reads a journal; whole says that its last line has its end.
func (j *journal) read(r io.Reader) (whole bool, err error) {
	b := bufio.NewReader(r)
	whole = true
	for {
		line, err := b.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if len(line) > 0 {
			whole = line[len(line)-1] == '\n'
			j.take(line)
		}
		if err != nil {
			return whole, nil
		}
	}
}

func (j *journal) take(line []byte) {
	var p paid
	if json.Unmarshal(bytes.TrimSpace(line), &p) != nil || p.Key == "" {
		return
	}
	if p.Stored {
		delete(j.open, p.Key)
		return
	}
	if was := j.open[p.Key]; was != nil && p.Run == nil {
		p.Run = was.Run
	}
	j.open[p.Key] = &p
}

// keep puts a line on the disk.
func (j *journal) keep(p paid) error {
	if j == nil {
		return nil
	}
	line, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err = j.append(line); err == nil && !p.Stored {
		// That it is stored may be lost: it is delivered once more then, which does
		// no harm.
		err = j.sync()
	}
	if err != nil {
		return fmt.Errorf("the journal of the answers cannot be written, so no more are bought: %w", err)
	}
	return nil
}

func (j *journal) append(line []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return err
	}
	j.written++
	j.take(line)
	return nil
}

// sync returns when what was written before is on the disk. Who waits for another's
// turn needs none of their own, so a slow disk does not slow many workers down.
func (j *journal) sync() error {
	j.mu.Lock()
	mine := j.written
	j.mu.Unlock()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.synced >= mine {
		return nil
	}
	j.mu.Lock()
	all := j.written
	j.mu.Unlock()
	if err := j.file.Sync(); err != nil {
		return err
	}
	j.synced = all
	return nil
}

// waiting lists what Phoenix does not have yet.
func (j *journal) waiting() []paid {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []paid
	for _, p := range j.open {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b paid) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// close ends the journal. Its file goes when Phoenix has all that is in it: as it
// is on the disk, for another process may run the same experiment.
func (j *journal) close() error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.file.Close()
	f, failed := os.Open(j.path)
	if failed != nil {
		if errors.Is(failed, fs.ErrNotExist) {
			failed = nil // the other one was last
		}
		return errors.Join(err, failed)
	}
	seen := &journal{open: map[string]*paid{}}
	_, failed = seen.read(f)
	_ = f.Close()
	if failed == nil && len(seen.open) == 0 && len(j.open) == 0 {
		failed = os.Remove(j.path)
	}
	return errors.Join(err, failed)
}
