package script

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// schedule says when a script is run.
type schedule struct {
	every time.Duration // 0: by the fields
	// Bit n is set if n matches. Days of the week count from Sunday, 0.
	minutes, hours, days, months, weekdays uint64
	// Both days were given: either may match, as in cron.
	either bool
}

const (
	minEvery = time.Second
	maxEvery = 366 * 24 * time.Hour
	// horizon is how far ahead is looked for a day: 29 February comes within it.
	horizon = 8 * 366
)

// field is one of the five of a schedule.
type field struct {
	name     string
	from, to int
}

var fields = [5]field{{"minute", 0, 59}, {"hour", 0, 23}, {"day", 1, 31}, {"month", 1, 12}, {"weekday", 0, 7}}

var nicknames = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *",
}

// parseSchedule reads "every 5m" or the five fields of cron, such as
// "*/5 8-18 * * 1-5".
func parseSchedule(text string) (*schedule, error) {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "every "); ok {
		d, err := time.ParseDuration(strings.TrimSpace(rest))
		if err != nil || d < minEvery || d > maxEvery {
			return nil, fmt.Errorf("%.40q is no time between 1s and a year, such as 5m", rest)
		}
		return &schedule{every: d}, nil
	}
	if long, ok := nicknames[text]; ok {
		text = long
	}
	parts := strings.Fields(text)
	if len(parts) != len(fields) {
		return nil, fmt.Errorf(`%.60q is no schedule: write "every 5m", or minute, hour, day, month and weekday as in "*/5 * * * *"`, text)
	}
	var bits [5]uint64
	for i, f := range fields {
		b, err := f.parse(parts[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		bits[i] = b
	}
	s := &schedule{minutes: bits[0], hours: bits[1], days: bits[2], months: bits[3], weekdays: bits[4]}
	if s.weekdays&(1<<7) != 0 {
		s.weekdays |= 1 // 7 is Sunday, too
	}
	s.either = parts[2] != "*" && parts[4] != "*"
	if s.next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, errors.New("there is no such day")
	}
	return s, nil
}

// parse reads a list of numbers, ranges and steps.
func (f field) parse(text string) (bits uint64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		what, by, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			if step, err = f.number(by, 1); err != nil {
				return 0, err
			}
		}
		from, to := f.from, f.to
		if what != "*" {
			a, b, ranged := strings.Cut(what, "-")
			if from, err = f.number(a, f.from); err != nil {
				return 0, err
			}
			switch {
			case ranged:
				if to, err = f.number(b, f.from); err != nil {
					return 0, err
				}
			case !stepped:
				to = from
			}
		}
		if from > to {
			return 0, fmt.Errorf("%.40q ends before it begins", part)
		}
		for n := from; n <= to; n += step {
			bits |= 1 << n
		}
	}
	return bits, nil
}

func (f field) number(text string, least int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > f.to || len(text) > 2 {
		return 0, fmt.Errorf("%.40q is no number from %d to %d", text, least, f.to)
	}
	return n, nil
}

// next returns the first time after t, in the time zone of t; zero if there is
// none. A time that the clocks leave out is left out. One that they show twice
// counts once, unless it is for each hour.
func (s *schedule) next(t time.Time) time.Time {
	if s.every > 0 {
		return t.Add(s.every)
	}
	t = t.Truncate(time.Minute).Add(time.Minute)
	for end := t.AddDate(0, 0, horizon); t.Before(end); {
		switch {
		case !s.on(t):
			t = tomorrow(t)
		case s.hours&(1<<t.Hour()) == 0 || s.minutes&(1<<t.Minute()) == 0 || s.hours != allHours && again(t):
			t = t.Add(time.Minute)
		default:
			return t
		}
	}
	return time.Time{}
}

const allHours = 1<<24 - 1

// tomorrow returns when the next day begins, which need not be at midnight.
func tomorrow(t time.Time) time.Time {
	year, month, day := t.Date()
	next := time.Date(year, month, day+1, 0, 0, 0, 0, t.Location())
	for next.Day() == day { // the clocks leave midnight out
		next = next.Add(time.Minute)
	}
	return next
}

// change is longer than any by which clocks are put back, and shorter than the time
// between two of them.
const change = 3 * time.Hour

// again reports whether the clocks have shown this time before: they were put back
// since.
func again(t time.Time) bool {
	_, now := t.Zone()
	_, was := t.Add(-change).Zone()
	_, then := t.Add(time.Duration(now-was) * time.Second).Zone()
	return now < was && then == was
}

// on reports whether it is on this day.
func (s *schedule) on(t time.Time) bool {
	day := s.days&(1<<t.Day()) != 0
	week := s.weekdays&(1<<int(t.Weekday())) != 0
	if s.months&(1<<int(t.Month())) == 0 {
		return false
	}
	if s.either {
		return day || week
	}
	return day && week
}
