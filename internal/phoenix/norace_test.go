//go:build !race

package phoenix

const raceEnabled = false
