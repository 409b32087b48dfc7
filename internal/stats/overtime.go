package stats

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Window is Krippendorff's α of the units that became comparable in a stretch of
// time, which is when a unit got its second rater's rating. A rater who comes
// later adds to that window and moves nothing between windows. One who changes a
// rating may: the time of the earlier one is not known any more.
//
// Of a calendar week From is its Monday 00:00 UTC and To the next one. Otherwise
// they are the moments of the first and the last unit.
type Window struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Units  int       `json:"units"`  // that two or more rated
	Raters int       `json:"raters"` // of these units
	Alpha  Estimate  `json:"alpha"`
}

// OverTime is α window by window, the oldest first.
type OverTime struct {
	Windows []Window
	Weekly  bool // calendar weeks; else windows of about as many units each
	Untimed int  // units in no window: of less than two of their raters a time is known
	Earlier int  // units before the first window, as there would be more than 104 weeks
}

// Windows of a young project, and how far back weeks go.
const (
	youngWeeks  = 4 // fewer calendar weeks make too few points
	unitsAWhile = 20
	mostWhiles  = 8
	mostWeeks   = 104
)

// AlphaOverTime measures α in calendar weeks, or, of ratings that lie within
// fewer than four of them, in up to eight windows of 20 units or more. A window
// with fewer than two units is not defined; a week without any is there, too, so
// that it can be seen as a gap. Ratings are read as Agree reads them.
func AlphaOverTime(ratings []Rating, o AgreementOptions) (OverTime, error) {
	var out OverTime
	kept, _, err := usable(ratings, o)
	if err != nil {
		return out, err
	}
	units, untimed := shared(kept)
	out.Untimed = untimed
	if len(units) == 0 {
		return out, nil
	}
	var parts [][]timedUnit
	first, last := week(units[0].at), week(units[len(units)-1].at)
	if out.Weekly = last-first+1 >= youngWeeks; out.Weekly {
		if from := last - mostWeeks + 1; first < from {
			out.Earlier, _ = slices.BinarySearchFunc(units, from, func(u timedUnit, w int64) int { return cmp.Compare(week(u.at), w) })
			units, first = units[out.Earlier:], from
		}
		parts = make([][]timedUnit, last-first+1)
		for _, u := range units {
			i := week(u.at) - first
			parts[i] = append(parts[i], u)
		}
	} else {
		parts = whiles(units)
	}
	for i, part := range parts {
		w := Window{Units: len(part)}
		if out.Weekly {
			w.From, w.To = monday(first+int64(i)), monday(first+int64(i)+1)
		} else {
			w.From, w.To = part[0].at.UTC(), part[len(part)-1].at.UTC()
		}
		var list []Rating
		raters := map[string]bool{}
		for _, u := range part {
			for _, k := range u.ratings {
				list = append(list, kept[k])
				raters[kept[k].Rater] = true
			}
		}
		w.Raters = len(raters)
		switch len(part) {
		case 0:
			w.Alpha = undefined(noOverlap)
		case 1:
			w.Alpha = undefined("only one span was rated by two people; two are needed")
		default:
			a, err := Agree(list, o)
			if err != nil {
				return out, fmt.Errorf("from %s to %s: %w", w.From.Format(time.DateOnly), w.To.Format(time.DateOnly), err)
			}
			w.Alpha = a.KrippendorffAlpha
		}
		out.Windows = append(out.Windows, w)
	}
	return out, nil
}

// timedUnit is a unit that two or more rated, and since when.
type timedUnit struct {
	name    string
	at      time.Time
	ratings []int
}

// shared lists the units that two or more raters rated, by the moment of
// the second, and counts those of which that moment is not known.
func shared(ratings []Rating) (units []timedUnit, untimed int) {
	index := map[string]int{}
	for i, r := range ratings {
		k, known := index[r.Unit]
		if !known {
			k = len(units)
			index[r.Unit] = k
			units = append(units, timedUnit{name: r.Unit})
		}
		units[k].ratings = append(units[k].ratings, i)
	}
	kept := units[:0]
	for _, u := range units {
		last := map[string]time.Time{} // the last rating of a rater counts, and so does its time
		for _, i := range u.ratings {
			last[ratings[i].Rater] = ratings[i].At
		}
		if len(last) < 2 {
			continue
		}
		var times []time.Time
		for _, t := range last {
			if !t.IsZero() {
				times = append(times, t)
			}
		}
		if len(times) < 2 {
			untimed++
			continue
		}
		slices.SortFunc(times, time.Time.Compare)
		u.at = times[1]
		kept = append(kept, u)
	}
	slices.SortFunc(kept, func(a, b timedUnit) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.name, b.name)) })
	return kept, untimed
}

// whiles cuts units into windows of about as many each. Those of one moment stay
// together: which of them would come first is chance.
func whiles(units []timedUnit) [][]timedUnit {
	n := max(1, min(mostWhiles, len(units)/unitsAWhile))
	var out [][]timedUnit
	begin := 0
	for i := 1; i <= n && begin < len(units); i++ {
		end := max(len(units)*i/n, begin+1)
		for end < len(units) && units[end].at.Equal(units[end-1].at) {
			end++
		}
		if i == n {
			end = len(units)
		}
		out = append(out, units[begin:end])
		begin = end
	}
	return out
}

// week numbers calendar weeks, which begin on Monday 00:00 UTC.
func week(t time.Time) int64 {
	return int64(math.Floor(float64(t.Unix()-thatMonday) / secondsAWeek))
}

func monday(week int64) time.Time { return time.Unix(thatMonday+week*secondsAWeek, 0).UTC() }

const (
	secondsAWeek = 7 * 24 * 3600
	thatMonday   = -3 * 24 * 3600 // 1969-12-29
)
