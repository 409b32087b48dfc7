//go:build !faultpoints

package bot

import "time"

// fault is a place between two steps of a flow, where a build for tests ends or
// stops the process; see fault_points.go.
func fault(string) {}

// lease is the length of a lease, which a build for tests can shorten.
func lease(d time.Duration) time.Duration { return d }
