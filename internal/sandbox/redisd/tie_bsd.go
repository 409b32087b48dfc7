//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package redisd

// startTied starts a child that ends with us, even by kill -9.
var startTied = byPipe
