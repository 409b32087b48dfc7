//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package redisd

import "context"

func startChild(context.Context, Options) (*Server, error) { return nil, errNoProgram }
