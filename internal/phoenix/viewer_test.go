package phoenix

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/spanbot/spanbot/internal/sandbox/rig"
)

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
