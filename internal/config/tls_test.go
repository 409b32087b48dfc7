package config

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/spanbot/spanbot/internal/sandbox/certs"
)

// certFiles are two authorities with what they signed, "/a/ca.pem" and
// "/b/client.key" among them.
func certFiles(t *testing.T) (files, certs.Files) {
	t.Helper()
	disk := files{}
	var first certs.Files
	for i, at := range []string{"/a/", "/b/"} {
		f, err := certs.New(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = f
		}
		for name, path := range map[string]string{"ca.pem": f.CA, "client.pem": f.ClientCert, "client.key": f.ClientKey} {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			disk[at+name] = string(b)
		}
	}
	return disk, first
}

// The files are what a server sees that takes only our certificate, and what we
// hold its own against; whether the environment or the file names them.
func TestTLS_FilesAreUsedAgainstAServer(t *testing.T) {
	disk, f := certFiles(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.TLS.PeerCertificates[0].Subject.CommonName))
	}))
	c, err := f.Server()
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = c
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of each client that it refuses
	server.StartTLS()
	defer server.Close()

	env := vars{"PHOENIX_CA_FILE": "/a/ca.pem", "PHOENIX_CLIENT_CERT_FILE": "/a/client.pem", "PHOENIX_CLIENT_KEY_FILE": "/a/client.key"}
	yaml := "phoenix: {ca_file: /a/ca.pem, client_cert_file: /a/client.pem, client_key_file: /a/client.key}\n"
	for _, tt := range []struct {
		name string
		env  vars
		yaml string
		ok   bool
	}{
		{"environment", env, "", true},
		{"file", nil, yaml, true},
		{"environment before file", vars{"PHOENIX_CA_FILE": "/b/ca.pem"}, yaml, false},
		{"another authority", vars{"PHOENIX_CA_FILE": "/b/ca.pem", "PHOENIX_CLIENT_CERT_FILE": "/a/client.pem", "PHOENIX_CLIENT_KEY_FILE": "/a/client.key"}, "", false},
		{"no certificate of ours", vars{"PHOENIX_CA_FILE": "/a/ca.pem"}, "", false},
		{"a certificate that another authority signed", vars{"PHOENIX_CA_FILE": "/a/ca.pem", "PHOENIX_CLIENT_CERT_FILE": "/b/client.pem", "PHOENIX_CLIENT_KEY_FILE": "/b/client.key"}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk["spanbot.yaml"] = tt.yaml
			env := vars{"PHOENIX_ENDPOINT": server.URL}
			for k, v := range tt.env {
				env[k] = v
			}
			c, err := load(env, disk, 0, nil)
			if err != nil || c.Phoenix.TLS == nil {
				t.Fatal(err, c.Phoenix.TLS)
			}
			if c.Phoenix.TLS.MinVersion < tls.VersionTLS12 {
				t.Errorf("versions from %x on are taken", c.Phoenix.TLS.MinVersion)
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: c.Phoenix.TLS}}
			resp, err := client.Get(server.URL)
			if (err == nil) != tt.ok {
				t.Errorf("%v", err)
			}
			if err == nil {
				resp.Body.Close()
			}
		})
	}
}

func TestTLS_Mistakes(t *testing.T) {
	disk, _ := certFiles(t)
	disk["/locked.key"] = string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("hunter2")}))
	disk["/old-locked.key"] = string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("hunter2")}))
	disk["/words"] = "hunter2"
	disk["/damaged.pem"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("hunter2")}))
	pair := func(cert, key string) vars {
		return vars{"PHOENIX_ENDPOINT": "https://p", "PHOENIX_CLIENT_CERT_FILE": cert, "PHOENIX_CLIENT_KEY_FILE": key}
	}
	redis := func(url string) vars { return vars{"REDIS_URL": url, "REDIS_CA_FILE": "/a/ca.pem"} }
	for _, tt := range []struct {
		name string
		env  vars
		want string // "": none
	}{
		{"as it should be", pair("/a/client.pem", "/a/client.key"), ""},
		{"not there", pair("/no.pem", "/a/client.key"), "PHOENIX_CLIENT_CERT_FILE: cannot read /no.pem: there is no such file"},
		{"no certificate", pair("/words", "/a/client.key"), "PHOENIX_CLIENT_CERT_FILE: /words holds no certificate"},
		{"swapped", pair("/a/client.key", "/a/client.pem"), "PHOENIX_CLIENT_CERT_FILE: /a/client.key holds no certificate"},
		{"no key", pair("/a/client.pem", "/words"), "PHOENIX_CLIENT_KEY_FILE: /words holds no private key"},
		{"a key with a passphrase", pair("/a/client.pem", "/locked.key"), "PHOENIX_CLIENT_KEY_FILE: /locked.key is locked with a passphrase"},
		{"an older form of one", pair("/a/client.pem", "/old-locked.key"), "PHOENIX_CLIENT_KEY_FILE: /old-locked.key is locked with a passphrase"},
		{"another one's key", pair("/a/client.pem", "/b/client.key"), "PHOENIX_CLIENT_KEY_FILE: /b/client.key is not the key of the certificate in /a/client.pem"},
		{"damaged", pair("/damaged.pem", "/a/client.key"), "or one of the two is damaged"},
		{"key alone", vars{"PHOENIX_ENDPOINT": "https://p", "PHOENIX_CLIENT_KEY_FILE": "/a/client.key"}, "PHOENIX_CLIENT_CERT_FILE and PHOENIX_CLIENT_KEY_FILE go together"},
		{"certificate alone", vars{"PHOENIX_ENDPOINT": "https://p", "PHOENIX_CLIENT_CERT_FILE": "/a/client.pem"}, "PHOENIX_CLIENT_CERT_FILE and PHOENIX_CLIENT_KEY_FILE go together"},
		{"an authority that is none", vars{"PHOENIX_ENDPOINT": "https://p", "PHOENIX_CA_FILE": "/words"}, "PHOENIX_CA_FILE: /words holds no certificate"},
		{"an authority that is damaged", vars{"PHOENIX_ENDPOINT": "https://p", "PHOENIX_CA_FILE": "/damaged.pem"}, "PHOENIX_CA_FILE: /damaged.pem holds no certificate"},
		// Else everything would go over the wire as it is, and nobody would notice.
		{"Phoenix without TLS", vars{"PHOENIX_ENDPOINT": "http://p", "PHOENIX_CA_FILE": "/a/ca.pem"}, "PHOENIX_CA_FILE: it is for an encrypted connection, and the address does not begin with https://"},
		{"Redis without TLS", redis("redis://r:6379"), "REDIS_CA_FILE: it is for an encrypted connection, and the address does not begin with rediss://"},
		{"Sentinel without TLS", redis("redis+sentinel://r:26379/m"), "REDIS_CA_FILE: it is for an encrypted connection"},
		{"Cluster without TLS", redis("redis+cluster://r:6379"), "REDIS_CA_FILE: it is for an encrypted connection"},
		{"a socket", redis("unix:///run/redis.sock"), "REDIS_CA_FILE: it is for an encrypted connection"},
		{"Redis with TLS", redis("rediss://r:6379"), ""},
		{"Sentinel with TLS", redis("rediss+sentinel://r:26379/m"), ""},
		{"Cluster with TLS", redis("rediss+cluster://r:6379"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(tt.env, disk, 0, nil)
			got := mistakes(t, err)
			switch {
			case tt.want == "" && len(got) > 0, tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n"), tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "MIG")) {
				t.Errorf("what the files hold came out: %v", err)
			}
		})
	}
}
