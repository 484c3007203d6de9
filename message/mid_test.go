package message_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/message"
)

func TestMidRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64().Draw(t, "n")
		got, ok := message.ParseMid(message.AppendMid(nil, n))
		if !ok || got != n {
			t.Fatalf("%d came back as %d, %v", n, got, ok)
		}
	})
	if got, ok := message.ParseMid(message.AppendMid(nil, math.MaxUint64)); !ok || got != math.MaxUint64 {
		t.Error("the largest number does not come back")
	}
	for _, bad := range []string{"", "A", "-1", "3w5e11264sgsg", "zzzzzzzzzzzzz", "00000000000001", "01", "1 "} {
		if n, ok := message.ParseMid([]byte(bad)); ok {
			t.Errorf("%q was read as %d", bad, n)
		}
	}
}
