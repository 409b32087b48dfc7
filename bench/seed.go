package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

const seeded = "bench"

// seed starts a Phoenix on a project of n root spans of some 3 kB, of which
// annotated ones have a human annotation. The database is made once, in
// .cache/bench; writing the server's file is the only way to 100,000 spans in
// less than a quarter of an hour.
func seed(l *lab, n, annotated int) *rig.PhoenixServer {
	l.Helper()
	dir := filepath.Join(rig.Root(l), ".cache", "bench")
	name := filepath.Join(dir, "v1-"+rig.PhoenixVersion()+"-"+strconv.Itoa(n)+"-"+strconv.Itoa(annotated)+".db")
	if _, err := os.Stat(name); err != nil {
		fill(l, dir, name, n, annotated)
	}
	// A copy: what a run writes must not be there in the next.
	work, err := os.MkdirTemp("", "spanbot-bench-")
	if err != nil {
		l.Fatalf("%v", err)
	}
	l.Cleanup(func() { _ = os.RemoveAll(work) })
	db := filepath.Join(work, "phoenix.db")
	copyFile(l, name, db)
	return rig.Phoenix(l, rig.Env("PHOENIX_SQL_DATABASE_URL", "sqlite:///"+db))
}

func fill(l *lab, dir, name string, n, annotated int) {
	l.Logf("seeding %d spans, %d annotated", n, annotated)
	empty := rig.Phoenix(l)
	empty.Ingest(l, seeded, rig.NewSpan("ChatCompletion", strings.Repeat("What is it? ", 120), strings.Repeat("It is this. ", 120)))
	empty.Stop()
	db := filepath.Join(empty.WorkingDir, "phoenix.db")
	python := filepath.Join(rig.Root(l), ".cache", "phoenix-"+rig.PhoenixVersion(), "bin", "python")
	out, err := exec.Command(python, filepath.Join(rig.Root(l), "bench", "seed.py"), db, seeded, strconv.Itoa(n-1), strconv.Itoa(annotated)).CombinedOutput()
	if err != nil {
		l.Fatalf("seed.py: %v\n%s", err, out)
	}
	part := name + ".part"
	copyFile(l, db, part)
	if err := os.Rename(part, name); err != nil {
		l.Fatalf("%v", err)
	}
}

func copyFile(l *lab, from, to string) {
	in, err := os.Open(from)
	if err != nil {
		l.Fatalf("%v", err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		l.Fatalf("%v", err)
	}
	if _, err := io.Copy(out, in); err != nil {
		l.Fatalf("%v", err)
	}
	if err := out.Close(); err != nil {
		l.Fatalf("%v", err)
	}
}
