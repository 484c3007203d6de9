package duration_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/internal/duration"
)

func TestText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{
		`"30s"`: 30 * time.Second, `"1h30m"`: 90 * time.Minute, `"500ms"`: 500 * time.Millisecond, `"0s"`: 0,
	} {
		var d duration.Duration
		if err := json.Unmarshal([]byte(in), &d); err != nil {
			t.Errorf("%s: %v", in, err)
		} else if time.Duration(d) != want {
			t.Errorf("%s: %v, want %v", in, d, want)
		}
		out, err := json.Marshal(d)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		var back duration.Duration
		if err := json.Unmarshal(out, &back); err != nil || back != d {
			t.Errorf("%s: came back as %v (%v)", in, back, err)
		}
	}
	for in, want := range map[string]string{`"soon"`: "write it like", `"-1s"`: "negative", `30`: "cannot unmarshal"} {
		var d duration.Duration
		if err := json.Unmarshal([]byte(in), &d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", in, err, want)
		}
	}
}

func TestOr(t *testing.T) {
	t.Parallel()
	if got := duration.Duration(0).Or(time.Second); got != time.Second {
		t.Error(got)
	}
	if got := duration.Duration(time.Minute).Or(time.Second); got != time.Minute {
		t.Error(got)
	}
}
