package evals

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/spanbot/spanbot/internal/stats"
)

// Size of a picture: readable on a telephone, where Slack shows it 360 points wide.
const (
	pictureWidth  = 7 * vg.Inch
	pictureHeight = 4.6 * vg.Inch
)

// ink, and the colours of good and bad, which differ in lightness, too: one
// reviewer in twelve does not tell green from red.
var (
	ink  = color.RGBA{0x1d, 0x1c, 0x1d, 0xff}
	good = color.RGBA{0x1f, 0x77, 0xb4, 0xff}
	bad  = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
)

func canvas(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle.Font = sans(16)
	p.Title.Padding = vg.Points(10)
	p.BackgroundColor = color.White
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font, a.Tick.Label.Font = sans(13), sans(13)
		a.Color, a.Tick.Color = ink, ink
	}
	return p
}

// sans is a plain face of that size in points.
func sans(size float64) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}
}

func asPNG(p *plot.Plot) ([]byte, error) {
	c := vgimg.New(pictureWidth, pictureHeight)
	all := draw.New(c)
	all.SetColor(color.White)
	all.Fill(all.Path())
	edge := vg.Points(14)
	p.Draw(draw.Crop(all, edge, -edge, edge, -edge))
	var b bytes.Buffer
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(&b)
	return b.Bytes(), err
}

// words is text of a data point; plotter's own labels cannot be centred in two
// sizes.
func words(xys plotter.XYs, list []string, size vg.Length, ink func(i int) color.Color) (*plotter.Labels, error) {
	l, err := plotter.NewLabels(plotter.XYLabels{XYs: xys, Labels: list})
	if err != nil {
		return nil, err
	}
	for i := range l.TextStyle {
		l.TextStyle[i] = text.Style{Color: ink(i), Font: sans(float64(size)), XAlign: draw.XCenter, YAlign: draw.YCenter, Handler: plot.DefaultTextHandler}
	}
	return l, nil
}

// Picture draws the confusion matrix as PNG: people down, the judge across, each
// row's shares in shades, counts in words. Answers that were no label have a
// column of their own where there are any.
func (a Alignment) Picture(judge string) ([]byte, error) {
	k := len(a.Labels)
	cols := append([]string{}, a.Labels...)
	unread := 0
	for _, n := range a.Unparsable {
		unread += n
	}
	if unread > 0 {
		cols = append(cols, "unparsable")
	}
	p := canvas(fmt.Sprintf("Judge %s against people: %s (n = %d)", judge, a.Standing, a.N))
	p.X.Label.Text, p.Y.Label.Text = "the judge says", "people say"
	var xys plotter.XYs
	var list []string
	var colors []color.Color
	for i := range k {
		total := a.Unparsable[i]
		for _, n := range a.Confusion[i] {
			total += n
		}
		for j := range cols {
			n := a.Unparsable[i]
			if j < k {
				n = a.Confusion[i][j]
			}
			share := float64(n) / math.Max(1, float64(total))
			base := bad
			if i == j {
				base = good
			}
			y := float64(k - 1 - i)
			cell, err := plotter.NewPolygon(plotter.XYs{{X: float64(j) - .5, Y: y - .5}, {X: float64(j) + .5, Y: y - .5}, {X: float64(j) + .5, Y: y + .5}, {X: float64(j) - .5, Y: y + .5}})
			if err != nil {
				return nil, err
			}
			cell.Color = mix(base, .12+.88*share)
			cell.Width, cell.LineStyle.Color = vg.Points(2), color.White
			p.Add(cell)
			xys = append(xys, plotter.XY{X: float64(j), Y: y})
			list = append(list, fmt.Sprintf("%d  (%.0f %%)", n, 100*share))
			c := color.Color(ink)
			if share > .45 {
				c = color.White
			}
			colors = append(colors, c)
		}
	}
	l, err := words(xys, list, vg.Points(18), func(i int) color.Color { return colors[i] })
	if err != nil {
		return nil, err
	}
	p.Add(l)
	p.NominalX(cols...)
	rows := make([]string, k)
	for i, name := range a.Labels {
		rows[k-1-i] = name
	}
	p.NominalY(rows...)
	return asPNG(p)
}

// mix is a colour on white, at that strength.
func mix(c color.RGBA, strength float64) color.RGBA {
	s := math.Min(1, math.Max(0, strength))
	f := func(v uint8) uint8 { return uint8(255 - s*(255-float64(v))) }
	return color.RGBA{f(c.R), f(c.G), f(c.B), 0xff}
}

// Picture draws both pass rates as PNG, as dots with their 95 % intervals, and the
// corrected ones below where they are known.
func (c Comparison) Picture() ([]byte, error) {
	p := canvas(fmt.Sprintf("%d pairs: %d fixed, %d broken", c.Pairs, c.Fixed, c.Broken))
	p.X.Label.Text = "pass rate, % (bars: 95 % intervals)"
	type row struct {
		name string
		e    stats.Estimate
		c    color.Color
	}
	rows := []row{{"before", c.Before.Rate, bad}, {"after", c.After.Rate, good}}
	if c.Before.Corrected.Defined() && c.After.Corrected.Defined() {
		rows = append(rows, row{"before, corrected", c.Before.Corrected, bad}, row{"after, corrected", c.After.Corrected, good})
	}
	names := make([]string, len(rows))
	for i, r := range rows {
		y := float64(len(rows) - 1 - i)
		names[len(rows)-1-i] = r.name
		bar, err := plotter.NewLine(plotter.XYs{{X: 100 * r.e.Low, Y: y}, {X: 100 * r.e.High, Y: y}})
		if err != nil {
			return nil, err
		}
		bar.Width, bar.Color = vg.Points(4), r.c
		dot, err := plotter.NewScatter(plotter.XYs{{X: 100 * r.e.Value, Y: y}})
		if err != nil {
			return nil, err
		}
		dot.Shape, dot.Radius, dot.Color = draw.CircleGlyph{}, vg.Points(8), r.c
		l, err := words(plotter.XYs{{X: 100 * r.e.Value, Y: y + .28}}, []string{fmt.Sprintf("%.0f %%", 100*r.e.Value)}, vg.Points(14), func(int) color.Color { return ink })
		if err != nil {
			return nil, err
		}
		p.Add(bar, dot, l)
	}
	p.Add(plotter.NewGrid())
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 100, -.5, float64(len(rows))-.4
	p.NominalY(names...)
	return asPNG(p)
}

// alphaTicks is the axis of α. Krippendorff's two limits, from where conclusions
// are tentative and from where α is firm, stand on it: no words lie over the points.
var alphaTicks = []plot.Tick{{Value: -1, Label: "−1"}, {Value: -.5, Label: "−0.5"}, {Value: 0, Label: "0"}, {Value: .25, Label: "0.25"}, {Value: .5, Label: "0.5"},
	{Value: tentative, Label: "0.667"}, {Value: firm, Label: "0.80"}, {Value: 1, Label: "1"}}

const tentative, firm = .667, .8

// roomy is how many windows a picture has room for below each other's words.
const roomy = 8

// AlphaPicture draws Krippendorff's α window by window as PNG, each with its 95 %
// interval and n. Windows in which it is not defined are gaps; at least one must
// have a value.
func AlphaPicture(name string, o stats.OverTime) ([]byte, error) {
	name = strings.Join(strings.Fields(name), " ")
	if r := []rune(name); len(r) > 24 {
		name = string(r[:23]) + "…"
	}
	p := canvas("Krippendorff's α over time: " + name)
	k := len(o.Windows)
	width, radius := 3., 6.
	if k > 2*roomy {
		width, radius = 1.5, 3
	}
	left, right := -.6, float64(k)-.4
	for _, limit := range []float64{tentative, firm} {
		line, err := plotter.NewLine(plotter.XYs{{X: left, Y: limit}, {X: right, Y: limit}})
		if err != nil {
			return nil, err
		}
		line.Width, line.Color, line.Dashes = vg.Points(1), mix(ink, .5), []vg.Length{vg.Points(4), vg.Points(4)}
		p.Add(line)
	}
	low := 0.
	var run plotter.XYs
	runs := []plotter.XYs{}
	for i, w := range o.Windows {
		if !w.Alpha.Defined() {
			runs, run = append(runs, run), nil
			continue
		}
		run = append(run, plotter.XY{X: float64(i), Y: w.Alpha.Value})
		low = math.Min(low, w.Alpha.Value)
		if w.Alpha.HasInterval() {
			low = math.Min(low, w.Alpha.Low)
			bar, err := plotter.NewLine(plotter.XYs{{X: float64(i), Y: w.Alpha.Low}, {X: float64(i), Y: w.Alpha.High}})
			if err != nil {
				return nil, err
			}
			bar.Width, bar.Color = vg.Points(width), mix(good, .5)
			p.Add(bar)
		}
	}
	defined := 0
	for _, xys := range append(runs, run) {
		if len(xys) == 0 {
			continue
		}
		defined += len(xys)
		line, err := plotter.NewLine(xys)
		if err != nil {
			return nil, err
		}
		line.Width, line.Color = vg.Points(1.5), good
		dots, err := plotter.NewScatter(xys)
		if err != nil {
			return nil, err
		}
		dots.Shape, dots.Radius, dots.Color = draw.CircleGlyph{}, vg.Points(radius), good
		p.Add(line, dots)
	}
	if defined == 0 {
		return nil, errors.New("α is defined in no window of time")
	}
	bottom := math.Max(-1, math.Floor(low*10)/10) - .04
	if k > roomy {
		bottom -= .14 // for the numbers that stand there
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = left, right, bottom, 1.04
	var ticks []plot.Tick
	for _, t := range alphaTicks {
		if t.Value >= bottom {
			ticks = append(ticks, t)
		}
	}
	p.Y.Tick.Marker = plot.ConstantTicks(ticks)
	p.Y.Label.Text = "α (bars: 95 % intervals)"
	p.X.Label.Text = "window begins (UTC); about as many spans in each"
	if o.Weekly {
		p.X.Label.Text = "week of (Monday, UTC)"
	}
	if defined < k {
		p.X.Label.Text += "; gaps: not defined"
	}
	p.X.Tick.Marker = plot.ConstantTicks(timeTicks(o))
	if k > roomy {
		l, err := countsBelow(o, bottom+.08)
		if err != nil {
			return nil, err
		}
		p.Add(l)
		p.Y.Label.Text += "; below: n"
		if e := every(k, mostCounts); e > 1 {
			p.Y.Label.Text += fmt.Sprintf(", 1 of %d", e)
		}
	}
	return asPNG(p)
}

// every is how many of that many windows share one label, so that labels of most
// windows at most stand beside each other.
func every(windows, most int) int { return (windows + most - 1) / most }

// timeTicks name windows by when they begin, and where there is room by their n.
func timeTicks(o stats.OverTime) []plot.Tick {
	k := len(o.Windows)
	first, last := o.Windows[0].From, o.Windows[k-1].From
	var ticks []plot.Tick
	for i := 0; i < k; i += every(k, roomy) {
		w := o.Windows[i]
		lines := []string{w.From.Format("2 Jan")}
		if first.Year() != last.Year() {
			lines = append(lines, w.From.Format("2006"))
		}
		if !o.Weekly {
			lines = append(lines, w.From.Format("15:04"))
		}
		switch {
		case k > roomy:
		case w.Alpha.Defined():
			lines = append(lines, fmt.Sprintf("n = %d", w.Alpha.N))
		default:
			lines = append(lines, "–")
		}
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: strings.Join(lines, "\n")})
	}
	return ticks
}

// mostCounts is how many upright numbers have room beside each other.
const mostCounts = 36

// countsBelow is n of the windows, upright so that they have room. Of very many
// only some have it.
func countsBelow(o stats.OverTime, y float64) (*plotter.Labels, error) {
	var xys plotter.XYs
	var list []string
	for i := 0; i < len(o.Windows); i += every(len(o.Windows), mostCounts) {
		if e := o.Windows[i].Alpha; e.Defined() {
			xys, list = append(xys, plotter.XY{X: float64(i), Y: y}), append(list, strconv.Itoa(e.N))
		}
	}
	l, err := words(xys, list, vg.Points(11), func(int) color.Color { return ink })
	if err != nil {
		return nil, err
	}
	for i := range l.TextStyle {
		l.TextStyle[i].Rotation = math.Pi / 2
	}
	return l, nil
}
