// Package slackcall reads calls of Slack's Web API as Slack does, and signs
// requests as it does: what a stand-in and a proxy before one have in common.
//
// What a method means is not here.
package slackcall

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// MaxBody is the most that is read of a call: a view may have 250 KB, and a form
// escapes each byte as three.
const MaxBody = 2 << 20

// jsonArgs are the arguments that are JSON: in a form they come as text.
var jsonArgs = map[string]bool{"blocks": true, "attachments": true, "view": true, "metadata": true, "files": true}

// Read reads a call's token (form field or Bearer) and its arguments (query, form
// or JSON). Arguments that are JSON come out decoded; null is as if it was not
// there.
func Read(r *http.Request) (token string, args map[string]any, err error) {
	args = map[string]any{}
	for k, v := range r.URL.Query() {
		args[k] = v[0]
	}
	if r.Method != http.MethodGet {
		if err := readBody(r, args); err != nil {
			return "", args, err
		}
	}
	for k := range jsonArgs {
		raw, isText := args[k].(string)
		if !isText {
			continue
		}
		if raw == "" {
			delete(args, k)
			continue
		}
		var v any
		if err := json.Unmarshal([]byte(raw), &v); err != nil {
			return "", args, fmt.Errorf("%s is no JSON: %w", k, err)
		}
		args[k] = v
	}
	for k, v := range args {
		if v == nil { // "blocks":null is as if it was not there
			delete(args, k)
		}
	}
	token = Text(args["token"])
	delete(args, "token")
	if bearer, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); is {
		token = bearer
	}
	return token, args, nil
}

func readBody(r *http.Request, args map[string]any) error {
	body := io.LimitReader(r.Body, MaxBody)
	switch kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) {
	case "application/json":
		d := json.NewDecoder(body)
		d.UseNumber()
		var given map[string]any
		if err := d.Decode(&given); err != nil && !errors.Is(err, io.EOF) { // an empty body is no arguments
			return err
		}
		for k, v := range given {
			args[k] = v
		}
		return nil
	case "multipart/form-data":
		r.Body = io.NopCloser(body)
		if err := r.ParseMultipartForm(MaxBody); err != nil {
			return err
		}
		for k, v := range r.MultipartForm.Value {
			args[k] = v[0]
		}
		return nil
	default:
		b, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		form, err := url.ParseQuery(string(b))
		if err != nil {
			return err
		}
		for k, v := range form {
			args[k] = v[0]
		}
		return nil
	}
}

// Text is a value as a form carries it.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// Sign is Slack's signature of a request: v0= and the hex HMAC-SHA256 of
// "v0:<timestamp>:<body>" under the signing secret (docs.slack.dev, verifying
// requests from Slack).
func Sign(secret, stamp, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}
