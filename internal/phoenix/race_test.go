//go:build race

package phoenix

const raceEnabled = true
