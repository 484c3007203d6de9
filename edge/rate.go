package edge

import "time"

// bucket holds the tokens of one connection, for frames and for bytes, in
// billionths of one so that nothing is rounded away. The zero bucket is full.
type bucket struct {
	at     int64 // nanoseconds since epoch when it was filled last; 0 is never
	frames int64
	bytes  int64
}

//nolint:gochecknoglobals // the start of a monotonic clock
var epoch = time.Now()

// burst is how much time's worth of tokens a bucket holds.
const burst = int64(2 * time.Second)

// spend takes one frame of n bytes and reports whether there were too few
// tokens left for it.
func (b *bucket) spend(l *Limits, n int) (over bool) {
	if l.FramesPerSecond == 0 && l.BytesPerSecond == 0 {
		return false
	}
	return b.spendAt(int64(time.Since(epoch))+1, l, n)
}

func (b *bucket) spendAt(now int64, l *Limits, n int) (over bool) {
	since := burst
	if b.at != 0 {
		since = min(now-b.at, burst)
	}
	b.at = now
	frames, bytes := int64(l.FramesPerSecond), int64(l.BytesPerSecond)
	b.frames = min(b.frames+frames*since, frames*burst) - int64(time.Second)
	b.bytes = min(b.bytes+bytes*since, bytes*burst) - int64(n)*int64(time.Second)
	return frames > 0 && b.frames < 0 || bytes > 0 && b.bytes < 0
}
