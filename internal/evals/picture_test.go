package evals

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spanbot/spanbot/internal/stats"
)

// pictured checks that a picture is a PNG with something on it. With
// SPANBOT_TEST_PICTURES=FOLDER it goes there, to be looked at.
func pictured(t *testing.T, name string, b []byte, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	size := img.Bounds().Size()
	colors := map[[3]uint32]int{}
	for x := 0; x < size.X; x += 3 {
		for y := 0; y < size.Y; y += 3 {
			r, g, b, _ := img.At(x, y).RGBA()
			colors[[3]uint32{r, g, b}]++
		}
	}
	if size.X < 600 || size.Y < 400 || len(colors) < 10 || len(b) > 200_000 {
		t.Errorf("%v, %d colours, %d bytes", size, len(colors), len(b))
	}
	if dir := os.Getenv("SPANBOT_TEST_PICTURES"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPicture_Confusion(t *testing.T) {
	rows := []Pair{}
	for i := range 60 {
		p := Pair{ID: string(rune('a' + i)), Human: "correct", Judge: "correct"}
		if i%3 == 0 {
			p.Human, p.Judge = "incorrect", "incorrect"
		}
		if i%10 == 1 {
			p.Judge = "incorrect"
		}
		if i == 7 {
			p.Judge = ""
		}
		rows = append(rows, p)
	}
	a, err := Align(rows, choices, "correct", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.Picture("correctness")
	pictured(t, "confusion", b, err)
}

func TestPicture_Comparison(t *testing.T) {
	c := Comparison{Pairs: 60, Both: 24, Fixed: 24, Broken: 2, Neither: 10}
	per := map[string][]float64{"a": {1}}
	c.measure(per, 1, &Known{TPR: stats.Wilson(45, 50), TNR: stats.Wilson(44, 50)})
	b, err := c.Picture()
	pictured(t, "comparison", b, err)
}

// weeks are ratings of two reviewers: per spans in each week, and none in every
// gap-th one.
func weeks(n, per, gap int) []stats.Rating {
	var out []stats.Rating
	begin := time.Date(2026, 9, 7, 9, 0, 0, 0, time.UTC)
	for w := range n {
		for i := range per {
			if gap > 0 && w%gap == gap-1 {
				continue
			}
			at := begin.AddDate(0, 0, 7*w).Add(time.Duration(i) * time.Hour)
			a := []string{"correct", "incorrect"}[i%2]
			b := a
			if (i*7+w*3)%(4+w%5) == 0 {
				b = "correct"
			}
			unit := fmt.Sprint(w, "/", i)
			out = append(out, stats.Rating{Unit: unit, Rater: "a", Label: a, At: at}, stats.Rating{Unit: unit, Rater: "b", Label: b, At: at.Add(time.Minute)})
		}
	}
	return out
}

func TestPicture_AlphaOverTime(t *testing.T) {
	for name, ratings := range map[string][]stats.Rating{
		"alpha-6-weeks": weeks(6, 24, 0), "alpha-gap": weeks(7, 20, 4), "alpha-30-weeks": weeks(30, 20, 9),
		"alpha-104-weeks": weeks(104, 12, 9), "alpha-young": weeks(1, 120, 0), "alpha-one": weeks(1, 12, 0),
	} {
		o, err := stats.AlphaOverTime(ratings, stats.AgreementOptions{Resamples: 200})
		if err != nil {
			t.Fatal(err)
		}
		b, err := AlphaPicture("correctness", o)
		pictured(t, name, b, err)
	}
	o, err := stats.AlphaOverTime(weeks(5, 1, 0), stats.AgreementOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := AlphaPicture("x", o); err == nil || b != nil {
		t.Errorf("a picture without a point: %d bytes, %v", len(b), err)
	}
}
