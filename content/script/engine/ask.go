package engine

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ropewalk/ropewalk/message"
)

const (
	// maxLine is how long a line of the log may be, in bytes.
	maxLine = 2 << 10
	// maxRandom is how many random bytes are given at once, as in browsers.
	maxRandom = 64 << 10
)

// host is what the prelude calls. It runs inside the machine.
func (m *machine) host(args []value) (value, error) {
	r := m.run
	op := m.argument(args, 0)
	if op == "web" {
		return m.eval(web)
	}
	if r == nil {
		return undefined(), errors.New("there is no run")
	}
	switch op {
	case "done":
		r.done(m.argument(args, 1))
	case "failed":
		r.failed(m.argument(args, 1))
	case "log":
		r.log(m.argument(args, 1), m.argument(args, 2))
	case "ask":
		return undefined(), r.ask(number(args[1]), m.argument(args, 2), m.argument(args, 3))
	case "now":
		return m.string(r.now(m.argument(args, 1), m.argument(args, 2)))
	}
	return undefined(), nil
}

// argument returns what the prelude gives as a text.
func (m *machine) argument(args []value, i int) string {
	if i >= len(args) {
		return ""
	}
	return m.text(args[i])
}

// done takes the result.
func (r *run) done(result string) {
	if r.result != nil || r.failure != nil {
		return
	}
	if len(result) > r.job.Limits.Output {
		r.failure = over("output", fmt.Sprintf("the result of the script has %d bytes, and %d are allowed", len(result), r.job.Limits.Output))
		return
	}
	r.result = json.RawMessage(result)
}

// failed takes the error that the script ended with.
func (r *run) failed(said string) {
	if r.result != nil || r.failure != nil {
		return
	}
	f := &Failure{}
	if err := json.Unmarshal([]byte(said), f); err != nil {
		f = &Failure{Message: "the script threw an error that cannot be read"}
	}
	if f.Kind != Missing {
		f.Kind = Thrown
	}
	f.Limit = ""
	if len(f.Details) > r.job.Limits.Output {
		f.Details = nil
	}
	r.failure = f
}

// clip shortens a text that goes into a line.
func clip(s string) string {
	if len(s) > maxLine {
		return strings.ToValidUTF8(s[:maxLine], "") + "…"
	}
	return s
}

func (r *run) log(level, line string) {
	r.lines++
	switch {
	case r.lines <= r.job.Limits.Lines:
		r.to.Log(level, clip(line))
	case r.lines == r.job.Limits.Lines+1:
		r.to.Log("warn", fmt.Sprintf("there are more than %d lines; the rest is dropped", r.job.Limits.Lines))
	}
}

// count refuses a question that is too much.
func (r *run) count(name, args string) error {
	if r.calls++; r.calls > r.job.Limits.Calls {
		r.failure = over("calls", fmt.Sprintf("the script asks the host more than %d times", r.job.Limits.Calls))
		r.meter.stop()
		return errors.New("too many host calls")
	}
	if len(args) > r.job.Limits.Bytes {
		r.failure = over("bytes", fmt.Sprintf("what the script gives to %s has %d bytes, and %d are allowed", name, len(args), r.job.Limits.Bytes))
		r.meter.stop()
		return errors.New("too many bytes")
	}
	return nil
}

// ask puts a question to the host; the answer comes while the machine rests.
func (r *run) ask(id int32, name, args string) error {
	if err := r.count(name, args); err != nil {
		return err
	}
	r.waiting++
	r.asked.Go(func() {
		ok, said := invoke(r.ctx, r.to, name, args, r.job.Limits.Bytes)
		r.answers <- answer{id: id, ok: ok, text: said} // it has room for all
	})
	return nil
}

// invoke asks the host and returns its answer, or its error, as JSON.
func invoke(ctx context.Context, host Host, name, args string, limit int) (ok bool, said string) {
	defer func() {
		if p := recover(); p != nil {
			ok, said = false, sayError(message.NewError(message.CodeInternal, name+" failed on the serving side", ""))
		}
	}()
	value, err := host.Invoke(ctx, name, json.RawMessage(args))
	if err == nil && len(value) > limit {
		err = message.NewError(message.CodeLimitExceeded, fmt.Sprintf("what %s answers has %d bytes, and %d are allowed", name, len(value), limit),
			"Ask for less at once.")
	}
	if err != nil {
		return false, sayError(err)
	}
	return true, string(value)
}

func sayError(err error) string {
	return string(message.AppendError(nil, message.AsError(err)))
}

// now answers while the script waits. Its time does not run meanwhile.
func (r *run) now(name, args string) string {
	if value, err, ok := own(name, args); ok {
		if err != nil {
			return `{"error":` + sayError(err) + `}`
		}
		return `{"value":` + value + `}`
	}
	if err := r.count(name, args); err != nil {
		return `{"error":` + sayError(err) + `}`
	}
	r.meter.leave()
	ok, said := invoke(r.ctx, r.to, name, args, r.job.Limits.Bytes)
	r.meter.resume()
	if !ok {
		return `{"error":` + said + `}`
	}
	if said == "" {
		said = "null"
	}
	return `{"value":` + said + `}`
}

// own answers what needs no host.
func own(name, args string) (string, error, bool) { //nolint:revive // ok comes last
	switch name {
	case "crypto.uuid":
		var b [16]byte
		_, _ = rand.Read(b[:]) // it never fails
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
		return quote(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])), nil, true
	case "crypto.random":
		var in []int
		if err := json.Unmarshal([]byte(args), &in); err != nil || len(in) != 1 || in[0] < 0 || in[0] > maxRandom {
			return "", message.NewError(message.CodeInvalidInput, fmt.Sprintf("at most %d random bytes are given at once", maxRandom), ""), true
		}
		b := make([]byte, in[0])
		_, _ = rand.Read(b) // it never fails
		return quote(base64.StdEncoding.EncodeToString(b)), nil, true
	case "crypto.sha256", "crypto.hmac":
		var in []string
		if err := json.Unmarshal([]byte(args), &in); err != nil || len(in) == 0 {
			return "", message.NewError(message.CodeInvalidInput, name+" takes texts", ""), true
		}
		h := sha256.New()
		if name == "crypto.hmac" && len(in) == 2 {
			h = hmac.New(sha256.New, []byte(in[0]))
		}
		h.Write([]byte(in[len(in)-1]))
		return quote(hex.EncodeToString(h.Sum(nil))), nil, true
	}
	return "", nil, false
}

func quote(s string) string { return `"` + s + `"` }
