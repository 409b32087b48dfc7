package stats

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// z is the 97.5 % point of the normal distribution: intervals are of 95 %.
const z = 1.959963984540054

// FewLabels is the number of labels below which intervals are too wide to
// decide by, and warnings say so.
const FewLabels = 60

// Skewed is the share of one label from which chance-corrected measures fall
// although raters agree (the prevalence paradox), and warnings say so.
const Skewed = 0.8

// Estimate is a number with its 95 % interval and what it rests on. Undefined
// (a plain sentence) means there is no number. Low and High are infinite where
// there is a number but too little for an interval, as for the mean of one
// example.
type Estimate struct {
	Value, Low, High float64
	N                int
	Undefined        string
}

// undefined is an Estimate that gives its reason instead of a number.
func undefined(format string, args ...any) Estimate {
	return Estimate{Undefined: fmt.Sprintf(format, args...)}
}

// Defined reports whether there is a number.
func (e Estimate) Defined() bool { return e.Undefined == "" }

// HasInterval reports whether there is a number with an interval.
func (e Estimate) HasInterval() bool {
	return e.Defined() && !math.IsInf(e.Low, 0) && !math.IsInf(e.High, 0)
}

// String is the number for people: "0.743 (0.459–1.000, n = 40)", or
// "not defined: " and the reason.
func (e Estimate) String() string {
	return e.text(func(v float64) string { return strconv.FormatFloat(v, 'f', 3, 64) }, "")
}

// Percent is a rate for people: "90 % (70–97 %, n = 20)".
func (e Estimate) Percent() string { return e.text(percent, " %") }

func (e Estimate) text(number func(float64) string, unit string) string {
	if !e.Defined() {
		return "not defined: " + e.Undefined
	}
	show := func(v float64) string {
		s := number(math.Abs(v))
		if v < 0 && strings.Trim(s, "0.") != "" { // no "−0.000"
			s = "−" + s
		}
		return s
	}
	if !e.HasInterval() {
		return fmt.Sprintf("%s%s (no interval, n = %d)", show(e.Value), unit, e.N)
	}
	to := "–"
	if e.Low < 0 {
		to = " to " // "−0.1–0.2" reads like a sum
	}
	return fmt.Sprintf("%s%s (%s%s%s%s, n = %d)", show(e.Value), unit, show(e.Low), to, show(e.High), unit, e.N)
}

// percent rounds to whole points, but never to "none" or "all" what is not.
func percent(v float64) string {
	v *= 100
	if r := math.Round(v); (r == 0 || r == 100) && math.Abs(v-r) >= 0.05 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

type estimateJSON struct {
	Value *float64 `json:"value"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
	N     int      `json:"n"`
}

// MarshalJSON gives {"value", "low", "high", "n"}, or {"undefined": reason}.
// Low and high are null where there is no interval.
func (e Estimate) MarshalJSON() ([]byte, error) {
	if !e.Defined() {
		return json.Marshal(map[string]string{"undefined": e.Undefined})
	}
	out := estimateJSON{Value: &e.Value, N: e.N}
	if e.HasInterval() {
		out.Low, out.High = &e.Low, &e.High
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Estimate) UnmarshalJSON(b []byte) error {
	var in struct {
		estimateJSON
		Undefined string `json:"undefined"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	switch {
	case in.Undefined != "":
		*e = Estimate{Undefined: in.Undefined}
	case in.Value == nil:
		return fmt.Errorf("an estimate has a value or says why it has none; found %s", b)
	default:
		*e = Estimate{Value: *in.Value, Low: math.Inf(-1), High: math.Inf(1), N: in.N}
		if in.Low != nil && in.High != nil {
			e.Low, e.High = *in.Low, *in.High
		}
	}
	return nil
}

// clip keeps v between low and high.
func clip(v, low, high float64) float64 { return math.Max(low, math.Min(high, v)) }

// between is an estimate whose interval holds its value and stays within the
// measure's own bounds.
func between(value, low, high float64, n int, least, most float64) Estimate {
	value = clip(value, least, most) // but for rounding it is within them
	return Estimate{
		Value: value,
		Low:   clip(math.Min(low, value), least, most),
		High:  clip(math.Max(high, value), least, most),
		N:     n,
	}
}

// count is "one rater", "three raters", "27 raters".
func count(n int, noun string) string {
	words := []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
	number := strconv.Itoa(n)
	if n >= 0 && n < len(words) {
		number = words[n]
	}
	if n == 1 {
		return number + " " + noun
	}
	return number + " " + noun + "s"
}

// quoted lists labels: "a", "b" and "c".
func quoted(labels []string) string {
	q := make([]string, len(labels))
	for i, l := range labels {
		q[i] = strconv.Quote(l)
	}
	if len(q) < 2 {
		return strings.Join(q, "")
	}
	return strings.Join(q[:len(q)-1], ", ") + " and " + q[len(q)-1]
}

// quantile is the p-quantile of sorted values, interpolated between neighbours.
func quantile(sorted []float64, p float64) float64 {
	at := p * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// percentiles is the 95 % percentile interval of resampled values. It sorts them.
func percentiles(values []float64) (low, high float64) {
	slices.Sort(values)
	return quantile(values, 0.025), quantile(values, 0.975)
}
