package main

import (
	"fmt"
	"runtime"
)

type versionCmd struct{}

// Run prints what is running.
func (versionCmd) Run(a *app) error {
	_, err := fmt.Fprintf(a.out, "spanbot %s (%s, %s/%s)\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
