package stats

import (
	"encoding/json"
	"fmt"
	"math"
)

// z is the 97.5 % point of the normal distribution: all intervals are of 95 %.
const z = 1.959963984540054

// Estimate is a number with its 95 % interval and the number of observations that
// it rests on. With Undefined set there is no number, and Undefined says why.
type Estimate struct {
	Value, Low, High float64
	N                int
	Undefined        string
}

func undefined(n int, format string, args ...any) Estimate {
	return Estimate{N: n, Undefined: fmt.Sprintf(format, args...)}
}

// Defined reports whether there is a number.
func (e Estimate) Defined() bool { return e.Undefined == "" }

// MarshalJSON writes {"value", "low", "high", "n"}, or {"undefined": reason}. An
// interval that cannot be given is null.
func (e Estimate) MarshalJSON() ([]byte, error) {
	if !e.Defined() {
		return json.Marshal(struct {
			Undefined string `json:"undefined"`
		}{e.Undefined})
	}
	return json.Marshal(struct {
		Value float64  `json:"value"`
		Low   *float64 `json:"low"`
		High  *float64 `json:"high"`
		N     int      `json:"n"`
	}{e.Value, finite(e.Low), finite(e.High), e.N})
}

func finite(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

// String is "0.743 (0.459–1.000, n = 40)", or why it is not defined.
func (e Estimate) String() string {
	switch {
	case !e.Defined():
		return "not defined: " + e.Undefined
	case finite(e.Low) == nil || finite(e.High) == nil:
		return fmt.Sprintf("%.3f (n = %d)", e.Value, e.N)
	}
	return fmt.Sprintf("%.3f (%.3f–%.3f, n = %d)", e.Value, e.Low, e.High, e.N)
}

// Percent is "90 % (70–97 %, n = 20)", or why it is not defined.
func (e Estimate) Percent() string {
	switch {
	case !e.Defined():
		return "not defined: " + e.Undefined
	case finite(e.Low) == nil || finite(e.High) == nil:
		return fmt.Sprintf("%.0f %% (n = %d)", 100*e.Value, e.N)
	}
	return fmt.Sprintf("%.0f %% (%.0f to %.0f %%, n = %d)", 100*e.Value, 100*e.Low, 100*e.High, e.N)
}
