package config

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
)

// tlsFiles are the settings of one outside part: who may sign its certificate,
// and how we prove who we are.
type tlsFiles struct{ ca, cert, key string }

var (
	phoenixTLS = tlsFiles{"PHOENIX_CA_FILE", "PHOENIX_CLIENT_CERT_FILE", "PHOENIX_CLIENT_KEY_FILE"}
	redisTLS   = tlsFiles{"REDIS_CA_FILE", "REDIS_CLIENT_CERT_FILE", "REDIS_CLIENT_KEY_FILE"}
)

// tls reads the files that are named; nil when none is: then the system's
// authorities count, and we show no certificate.
func (l *loader) tls(f tlsFiles, address, scheme string) *tls.Config {
	if !l.given(f.ca) && !l.given(f.cert) && !l.given(f.key) {
		return nil
	}
	for _, env := range []string{f.ca, f.cert, f.key} {
		if l.given(env) && address != "" && !strings.HasPrefix(address, scheme) {
			l.elsewhere(env, "it is for an encrypted connection, and the address does not begin with "+scheme)
			return nil
		}
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if pem := l.file(f.ca); pem != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			l.elsewhere(f.ca, l.env(f.ca)+" holds no certificate; want one or more of -----BEGIN CERTIFICATE-----")
		}
	}
	if l.given(f.cert) != l.given(f.key) {
		l.elsewhere(f.cert, f.cert+" and "+f.key+" go together; set both or neither")
		return c
	}
	cert, key := l.file(f.cert), l.file(f.key)
	if cert == nil || key == nil {
		return c
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil { // its words may repeat parts of the key
		l.elsewhere(f.cert, l.env(f.cert)+" and "+l.env(f.key)+" are no certificate and its key in PEM")
		return c
	}
	c.Certificates = []tls.Certificate{pair}
	return c
}

// file reads the file that a setting names; nil when it names none, or none
// that can be read, which is a mistake then.
func (l *loader) file(env string) []byte {
	name := l.env(env)
	if name == "" {
		return nil
	}
	b, err := l.src.ReadFile(name)
	if err != nil {
		l.elsewhere(env, "cannot read "+name+": "+cause(err))
		return nil
	}
	return b
}
