package script

import (
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	var zones [5]*time.Location
	for i, name := range []string{"Europe/Berlin", "America/Santiago", "Asia/Beirut", "Australia/Lord_Howe", "Asia/Gaza"} {
		var err error
		if zones[i], err = time.LoadLocation(name); err != nil {
			t.Skip("there are no time zones here")
		}
	}
	berlin, santiago, beirut, howe, gaza := zones[0], zones[1], zones[2], zones[3], zones[4]
	for _, tc := range []struct {
		text, from, want string
		in               *time.Location
	}{
		{"every 90s", "2026-11-22T10:00:00Z", "2026-11-22T10:01:30Z", time.UTC},
		{"*/5 * * * *", "2026-11-22T10:00:00Z", "2026-11-22T10:05:00Z", time.UTC},
		{"*/5 * * * *", "2026-11-22T10:04:59Z", "2026-11-22T10:05:00Z", time.UTC},
		{"30 8-18/5 * * 1-5", "2026-11-20T18:31:00Z", "2026-11-23T08:30:00Z", time.UTC},
		{"0 0 29 2 *", "2026-11-22T10:00:00Z", "2028-02-29T00:00:00Z", time.UTC},
		{"0 12 1 * 0", "2026-11-22T13:00:00Z", "2026-11-29T12:00:00Z", time.UTC},
		{"0 12 * * 7", "2026-11-23T13:00:00Z", "2026-11-29T12:00:00Z", time.UTC},
		{"@daily", "2026-12-31T13:00:00Z", "2027-01-01T00:00:00Z", time.UTC},
		{"5,7,50-52 * * * *", "2026-12-31T13:07:00Z", "2026-12-31T13:50:00Z", time.UTC},
		{"30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z", berlin},   // there is no 2:30 on the 29th
		{"*/20 * * * *", "2026-03-29T00:40:00Z", "2026-03-29T01:00:00Z", berlin}, // from 1:40 to 3:00
		// 2:30 is there twice on 25 October, at 0:30 and 1:30 UTC.
		{"30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", berlin},
		{"30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z", berlin},
		{"*/20 0-5 * * *", "2026-10-25T00:40:00Z", "2026-10-25T02:00:00Z", berlin},
		{"*/20 * * * *", "2026-10-24T23:40:00Z", "2026-10-25T00:00:00Z", berlin},
		{"*/20 * * * *", "2026-10-25T00:40:00Z", "2026-10-25T01:00:00Z", berlin},
		{"*/20 * * * *", "2026-10-25T01:40:00Z", "2026-10-25T02:00:00Z", berlin},
		// 6 September has no midnight.
		{"0 12 * * *", "2026-09-05T16:00:00Z", "2026-09-06T15:00:00Z", santiago},
		{"30 0 * * *", "2026-09-05T16:00:00Z", "2026-09-07T03:30:00Z", santiago},
		{"0 12 * * 0", "2026-09-01T16:00:00Z", "2026-09-06T15:00:00Z", santiago},
		// 24 October ends with 23:30 twice, and so does 4 April in Santiago.
		{"30 23 * * *", "2026-10-24T20:30:00Z", "2026-10-25T21:30:00Z", beirut},
		{"0 0 * * *", "2026-10-24T20:30:00Z", "2026-10-24T22:00:00Z", beirut},
		{"30 23 * * 6", "2026-04-05T02:30:00Z", "2026-04-12T03:30:00Z", santiago},
		// The clocks go from 2:00 back to 1:30.
		{"*/20 1 * * *", "2026-04-04T14:40:00Z", "2026-04-05T14:30:00Z", howe},
		{"*/20 * * * *", "2026-04-04T14:40:00Z", "2026-04-04T15:10:00Z", howe},
		// The clocks go from 0:01 to 1:01.
		{"30 1 * * *", "2011-03-31T12:00:00Z", "2011-03-31T22:30:00Z", gaza},
	} {
		s, err := parseSchedule(tc.text)
		if err != nil {
			t.Fatalf("%s: %v", tc.text, err)
		}
		from, _ := time.Parse(time.RFC3339, tc.from)
		if got := s.next(from.In(tc.in)).UTC().Format(time.RFC3339); got != tc.want {
			t.Errorf("%s after %s: %s, want %s", tc.text, tc.from, got, tc.want)
		}
	}
	for _, text := range []string{"", "every", "every 0s", "every x", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "5-1 * * * *", "*/0 * * * *", "a * * * *", "0 0 31 2 *", "-1 * * * *"} {
		if s, err := parseSchedule(text); err == nil {
			t.Errorf("%q gave %+v", text, s)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"every 5m", "*/5 8-18 * * 1-5", "@daily", "1,2 3 4 5 6"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSchedule(text)
		if err == nil && !s.next(now).After(now) {
			t.Fatalf("%q is next at %v", text, s.next(now))
		}
	})
}

func FuzzSourceMap(f *testing.F) {
	f.Add([]byte(`{"version":3,"sources":["script:/a.ts"],"mappings":"AAAA,SAASA,EAAI;;AACb"}`), "    at f (<eval>:1001:5)\n", 1)
	f.Fuzz(func(_ *testing.T, b []byte, stack string, above int) {
		readSourceMap(b, above%10).stack(stack)
	})
}

func FuzzResolve(f *testing.F) {
	for _, s := range []string{"./a.js", "../../etc/passwd", "/etc/passwd", "./%2e%2e/x", "..//..", "./.git/config", "./a\x00.js"} {
		f.Add("/x/y.ts", s)
	}
	t := &tree{apps: map[string]*app{"x": {dir: "/nowhere"}}}
	f.Fuzz(func(tt *testing.T, from, to string) {
		if from == "" || from[0] != '/' {
			return
		}
		p, why := t.resolve(from, to)
		if why != "" {
			return
		}
		if a, name, ok := t.place(p); !ok || a != t.apps["x"] || name == "" {
			tt.Fatalf("%q from %q gave %q", to, from, p)
		}
	})
}
