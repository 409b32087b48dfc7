package phoenix

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/review"
	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

// Here are the cases that run on a real Phoenix alone. The stand-in has no
// accounts: every caller is anonymous, so there is no key to refuse.

func TestAuth_WrongKeysAndViewersAreDenied(t *testing.T) {
	px := rig.Phoenix(t, rig.WithAuth())
	good, _ := connect(t, px, Options{APIKey: px.AdminSecret})
	s, err := good.Server(t.Context())
	if err != nil || s.Auth == "ANONYMOUS" {
		t.Errorf("with the key: %+v, %v", s, err)
	}
	span := rig.NewSpan("s", "in", "out")
	px.Ingest(t, "auth", span)
	must(t, good.Annotate(t.Context(), []Annotation{judge(span, ana, "correct", nil)}))
	p, err := good.Project(t.Context(), "auth")
	must(t, err)
	must(t, good.Withdraw(t.Context(), p.ID, judge(span, ana, "", nil)))

	const wrong = "wrong-key-that-nobody-may-see"
	for name, key := range map[string]string{"a wrong key": wrong, "no key": ""} {
		bad, _ := connect(t, px, Options{APIKey: key})
		_, err := bad.Server(t.Context())
		if review.KindOf(err) != review.Denied || strings.Contains(err.Error(), wrong) {
			t.Errorf("Server with %s: %v; want Denied", name, err)
		}
		if err := bad.Annotate(t.Context(), []Annotation{judge(span, ana, "correct", nil)}); review.KindOf(err) != review.Denied {
			t.Errorf("Annotate with %s: %v; want Denied", name, err)
		}
		if v, ok := bad.serverVersion(); !ok || v.text != px.Version {
			t.Errorf("the version is not known from a refusal: %v", v)
		}
	}
	viewer, _ := connect(t, px, Options{APIKey: viewerKey(t, px)})
	if s, err := viewer.Server(t.Context()); review.KindOf(err) != review.Denied || s.Role != "VIEWER" {
		t.Errorf("Server with a viewer's key: %+v, %v; want Denied", s, err)
	}
	if err := viewer.Annotate(t.Context(), []Annotation{judge(span, ana, "correct", nil)}); review.KindOf(err) != review.Denied {
		t.Errorf("Annotate with a viewer's key: %v; want Denied", err)
	}
}

// viewerKey makes a user who may only read, and an API key of theirs.
func viewerKey(t *testing.T, px *rig.PhoenixServer) string {
	t.Helper()
	const email, password = "viewer@example.com", "A-viewer-0nly!"
	px.Call(t, "POST", "/v1/users", map[string]any{"send_welcome_email": false, "user": map[string]any{
		"email": email, "username": "viewer", "role": "VIEWER", "auth_method": "LOCAL", "password": password,
	}})
	post := func(path string, cookies []*http.Cookie, body, out any) []*http.Cookie {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(http.MethodPost, px.URL+path, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for _, c := range cookies {
			req.AddCookie(c)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if out != nil {
			err = json.NewDecoder(resp.Body).Decode(out)
		}
		if err != nil || resp.StatusCode > 299 {
			t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
		return resp.Cookies()
	}
	var out struct {
		Data struct {
			CreateUserAPIKey struct{ JWT string } `json:"createUserApiKey"`
		}
		Errors any
	}
	login := post("/auth/login", nil, map[string]string{"email": email, "password": password}, nil)
	post("/graphql", login, map[string]any{"query": `mutation{createUserApiKey(input:{name:"test"}){jwt}}`}, &out)
	if out.Data.CreateUserAPIKey.JWT == "" {
		t.Fatalf("no key for the viewer: %v", out.Errors)
	}
	return out.Data.CreateUserAPIKey.JWT
}
