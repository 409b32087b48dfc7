package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
)

// tlsFiles are the settings of one outside part: who may sign its certificate,
// and how we prove who we are.
type tlsFiles struct{ ca, cert, key string }

var (
	phoenixTLS = tlsFiles{"PHOENIX_CA_FILE", "PHOENIX_CLIENT_CERT_FILE", "PHOENIX_CLIENT_KEY_FILE"}
	redisTLS   = tlsFiles{"REDIS_CA_FILE", "REDIS_CLIENT_CERT_FILE", "REDIS_CLIENT_KEY_FILE"}
)

// named is a file that a setting names.
type named struct {
	name  string            // "" where nothing is said
	wrong func(text string) // says that it is a mistake, where it stands
}

// tls reads the files that are named; nil when none is: then the system's
// authorities count, and we show no certificate. schemes are how an address with
// encryption begins: with another one the files would be left unused and what was
// meant to be secret would go over the wire as it is.
func (l *loader) tls(f tlsFiles, file fileSettings, address string, schemes ...string) *tls.Config {
	ca, cert, key := l.named(f.ca, file), l.named(f.cert, file), l.named(f.key, file)
	any := false
	for _, n := range []named{ca, cert, key} {
		if n.name == "" {
			continue
		}
		any = true
		if address != "" && !startsWithOneOf(address, schemes) {
			n.wrong("it is for an encrypted connection, and the address does not begin with " + strings.Join(schemes, " or "))
			return nil
		}
	}
	if !any {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if text := l.contents(ca); text != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			ca.wrong(ca.name + " holds no certificate; want one or more of -----BEGIN CERTIFICATE-----")
		}
	}
	switch {
	case cert.name == "" && key.name != "":
		key.wrong(f.cert + " and " + f.key + " go together; set both or neither")
		return c
	case cert.name != "" && key.name == "":
		cert.wrong(f.cert + " and " + f.key + " go together; set both or neither")
		return c
	}
	certText, keyText := l.contents(cert), l.contents(key)
	if certText == nil || keyText == nil {
		return c
	}
	// The library's words may repeat parts of the key: these are ours.
	locked, isKey := keyIn(keyText)
	pair, err := tls.X509KeyPair(certText, keyText)
	switch {
	case err == nil:
		c.Certificates = []tls.Certificate{pair}
	case !holds(certText, "CERTIFICATE"):
		cert.wrong(cert.name + " holds no certificate; want -----BEGIN CERTIFICATE-----, with those that signed it behind")
	case locked:
		key.wrong(key.name + " is locked with a passphrase, which nobody can type here; take it off (openssl pkey -in … -out …)")
	case !isKey:
		key.wrong(key.name + " holds no private key; want one of -----BEGIN PRIVATE KEY-----")
	default:
		key.wrong(key.name + " is not the key of the certificate in " + cert.name + ", or one of the two is damaged")
	}
	return c
}

func startsWithOneOf(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// keyIn looks for a private key, and whether a passphrase locks it.
func keyIn(text []byte) (locked, found bool) {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return false, false
		}
		if strings.HasSuffix(b.Type, "PRIVATE KEY") {
			return b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED"), true
		}
	}
}

// holds reports whether a PEM file has a block of that type.
func holds(text []byte, kind string) bool {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return false
		}
		if b.Type == kind {
			return true
		}
	}
}

// named is the file that flag, environment or YAML name, in this order.
func (l *loader) named(env string, file fileSettings) named {
	var n named
	if f, ok := file.values[setting(env).YAML]; ok {
		n.wrong = func(text string) { l.wrong(f.value, f.path, "%s", text) }
		read(l, f, &n.name, parseText)
	}
	if s, from := l.lookup(setting(env)); from != "" {
		n = named{s, func(text string) { l.elsewhere(from, text) }}
	}
	return n
}

// contents reads a named file; nil when none is named, or it cannot be read,
// which is a mistake then.
func (l *loader) contents(n named) []byte {
	if n.name == "" {
		return nil
	}
	b, err := l.src.ReadFile(n.name)
	if err != nil {
		n.wrong("cannot read " + n.name + ": " + cause(err))
		return nil
	}
	return b
}
