package stats

import (
	"fmt"
	"math"
	"testing"
)

func TestWilson_EighteenOfTwenty(t *testing.T) {
	if got, want := Wilson(18, 20).Percent(), "90 % (70–97 %, n = 20)"; got != want {
		t.Errorf("Wilson(18, 20) is %q, want %q", got, want)
	}
}

func TestSampleSize_TableOfHalfWidths(t *testing.T) {
	for _, tt := range []struct {
		rate, half float64
		want       int
	}{
		{0.08, 0.03, 320}, {0.08, 0.02, 713}, {0.20, 0.05, 245}, {0.50, 0.10, 93}, {0.50, 0.05, 381},
		{0.5, 0.5, 0}, {0.5, 0, math.MaxInt}, {0.5, -1, math.MaxInt}, {math.NaN(), 0.1, 93},
	} {
		t.Run(fmt.Sprintf("%v±%v", tt.rate, tt.half), func(t *testing.T) {
			if got := SampleSize(tt.rate, tt.half); got != tt.want {
				t.Errorf("SampleSize(%v, %v) = %d, want %d", tt.rate, tt.half, got, tt.want)
			}
		})
	}
}
