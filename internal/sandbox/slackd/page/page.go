// Package page is the page of the local workspace, as it was built from src/: a
// React program in which slack-blocks-to-jsx draws what is to be read.
//
// It speaks to the server by the socket /ui (src/protocol.ts) and loads nothing
// from anywhere else. scripts/page builds dist/, and with --check fails when it
// is stale. Nothing here knows what a message means.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed dist
var dist embed.FS

// policy lets the page load its own files and speak to its own server, and
// nothing else. Styles are set by the libraries, too.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// file is one file, ready to be sent.
type file struct {
	plain, packed []byte
	kind, tag     string
}

// files are what is served, by their path; packing them takes a moment.
var files = sync.OnceValue(func() map[string]file {
	files := map[string]file{}
	err := fs.WalkDir(dist, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := dist.ReadFile(name)
		if err != nil {
			return err
		}
		at := "/assets/" + strings.TrimPrefix(name, "dist/")
		if name == "dist/index.html" {
			at = "/"
		}
		files[at] = prepare(name, b)
		return nil
	})
	if err != nil {
		panic(err) // it is in the binary
	}
	return files
})

// Handler serves the page: "/" and, below "/assets/", what it needs.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, found := files()[r.URL.Path]
		if !found {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this is a page; it can only be read", http.StatusMethodNotAllowed)
			return
		}
		f.serve(w, r)
	})
}

func prepare(name string, b []byte) file {
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level exists
	_, _ = z.Write(b)                                          // to memory
	_ = z.Close()
	sum := sha256.Sum256(b)
	kind := mime.TypeByExtension(path.Ext(name))
	if path.Ext(name) == ".js" {
		kind = "text/javascript; charset=utf-8"
	}
	return file{plain: b, packed: packed.Bytes(), kind: kind, tag: `"` + hex.EncodeToString(sum[:8]) + `"`}
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // asked for each time, sent when it is another
	h.Set("ETag", f.tag)
	h.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	b := f.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		b = f.packed
	}
	if r.Method == http.MethodGet {
		_, _ = io.Copy(w, bytes.NewReader(b)) // the reader may have left
	}
}
