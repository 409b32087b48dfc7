package evals

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"

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
