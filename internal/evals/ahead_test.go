package evals

import (
	"errors"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
)

func TestAhead_OneValueInOrder_AndNothingGoesOnBehind(t *testing.T) {
	broken := errors.New("broken")
	made := 0
	numbers := func(n int, last error) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				made++
				var err error
				if i == n-1 {
					err = last
				}
				if !yield(i, err) {
					return
				}
			}
		}
	}
	synctest.Test(t, func(t *testing.T) { // a goroutine left behind fails it
		var got []int
		for i, err := range ahead(numbers(5, broken)) {
			got = append(got, i)
			if (err != nil) != (i == 4) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if !slices.Equal(got, []int{0, 1, 2, 3, 4}) {
			t.Error(got)
		}
		made = 0
		for i := range ahead(numbers(5, nil)) {
			synctest.Wait()
			if made != i+2 {
				t.Errorf("%d made while the one at %d is worked on, want one ahead", made, i)
			}
			if i == 1 {
				break
			}
		}
		if made != 3 {
			t.Errorf("%d were made after the end", made)
		}
		for range ahead(numbers(0, nil)) {
			t.Error("of nothing came something")
		}
	})
}
