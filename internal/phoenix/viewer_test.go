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
	post := func(path string, cookies []*http.Cookie, body any) *http.Response {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest("POST", px.URL+path, bytes.NewReader(b))
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
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	login := post("/auth/login", nil, map[string]string{"email": email, "password": password})
	resp := post("/graphql", login.Cookies(), map[string]any{
		"query": `mutation{createUserApiKey(input:{name:"test"}){jwt}}`,
	})
	var out struct {
		Data struct {
			CreateUserAPIKey struct{ JWT string } `json:"createUserApiKey"`
		}
		Errors any
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out.Data.CreateUserAPIKey.JWT == "" {
		t.Fatalf("no key for the viewer: log-in %s, then %v, %v", login.Status, out.Errors, err)
	}
	return out.Data.CreateUserAPIKey.JWT
}
