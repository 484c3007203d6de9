// Package engine runs JavaScript under limits. An [Engine] runs one [Job] after
// the other, each with globals of its own, and gives it no way out but the
// functions of its [Host].
//
// [NewPool] runs them in this process; [NewWorkers] in processes that are killed
// when they go on for too long, for scripts that are not trusted.
//
// To make a machine takes half a millisecond, so one is used again. QuickJS is
// given all its memory by us, in one region and a list of what does not fit there.
// When the prelude has run, a copy is made of the region; after each job the copy
// is put back and the list freed, which takes 10 µs and leaves nothing of the job,
// whatever it did. If a script is run twice in a row a second copy is made, with
// the script read as a function of which nothing has run. A call of a small script
// through its provider takes 110 µs of a processor (before: 830), 190 in a worker
// (1200); the script itself, its promises and its JSON are most of that.
package engine

import (
	"context"
	"encoding/json"
	"time"
)

// Engine runs scripts. Its methods may be called from any goroutine.
type Engine interface {
	// Run runs a job and returns its result as JSON. It waits for a free place and
	// for the script, but no longer than the limits of the job say. Errors are a
	// *Failure, a *message.Error (overloaded, shutting_down, internal) or those of
	// ctx. When it has returned the host is not asked any more, but may still be
	// working for a call whose context has ended.
	Run(ctx context.Context, job *Job, host Host) (json.RawMessage, error)
	// Close ends all runs and returns when they have ended.
	Close()
}

// Host is what a script can reach. Its methods may be called from any goroutine.
type Host interface {
	// Invoke carries out what a script asks for. args is a JSON array; the result is
	// JSON. It may block until ctx, the context of the run, ends. Errors that are
	// *message.Error reach the script with their code.
	Invoke(ctx context.Context, name string, args json.RawMessage) (json.RawMessage, error)
	// Log takes a line that the script writes. It does not block. level is "info",
	// "warn" or "error".
	Log(level, text string)
}

// What of a script is run: the names of its exports.
const (
	ExportTopic   = "default"
	ExportCall    = "call"
	ExportPublish = "publish"
	ExportTick    = "tick"
	ExportEvent   = "event"
)

// Job is one run of a script. It must not be changed once it is run.
type Job struct {
	// Code is the script.
	Code *Code `json:"-"`
	// Export is what is run: one of the constants above.
	Export string `json:"export"`
	// Input is what it is given, as JSON: parameters, or a body. nil: undefined.
	Input json.RawMessage `json:"input,omitempty"`
	// Context is what ctx holds: a JSON object.
	Context json.RawMessage `json:"context,omitempty"`
	// Session is the global "session": a JSON object. nil: there is none.
	Session json.RawMessage `json:"session,omitempty"`
	// Grants name the host functions that the script sees: db, call, publish,
	// content, fetch. What they may do is decided by the Host.
	Grants []string `json:"grants,omitempty"`
	// Level is how many scripts wait for it, 0 to MaxLevel: those of each level are
	// counted apart, so that none waits for a place which those have that wait for it.
	Level int `json:"-"`
	// Free says that it is not counted among those that are under way: whoever has it
	// run bounds how many these are.
	Free bool `json:"-"`
	// Limits end the run. A zero limit ends it at once.
	Limits Limits `json:"limits"`
}

// Limits are what one run may use.
type Limits struct {
	// Memory is in bytes.
	Memory int `json:"memory"`
	// Depth is how deep functions may call each other, about.
	Depth int `json:"depth"`
	// CPU is how long the script may compute, without the time that it waits for
	// the host.
	CPU time.Duration `json:"cpu"`
	// Wall is how long it may take in all, once it runs.
	Wall time.Duration `json:"wall"`
	// Output is how long the result may be, in bytes of JSON.
	Output int `json:"output"`
	// Calls is how often the host may be asked.
	Calls int `json:"calls"`
	// Bytes is how much one question to the host, or its answer, may hold.
	Bytes int `json:"bytes"`
	// Lines is how many lines may be logged; what is more is dropped, and the
	// last line says so.
	Lines int `json:"lines"`
}

// Kind says why a run failed.
type Kind string

// The kinds of a Failure.
const (
	Thrown  Kind = "thrown"  // the script threw an error, or its result is no JSON
	Syntax  Kind = "syntax"  // the code cannot be read
	Missing Kind = "missing" // the script does not export what was asked for
	Limit   Kind = "limit"   // a limit was reached
)

// Failure is the error of a run that failed by the script's own doing.
type Failure struct { //nolint:errname // a failure of the script, next to the errors of the engine
	Kind Kind `json:"kind"`
	// Limit is what was reached: memory, depth, cpu, wall, output, calls, bytes.
	Limit string `json:"limit,omitempty"`
	// Name and Message are those of the error that was thrown.
	Name    string `json:"name,omitempty"`
	Message string `json:"message"`
	// Stack has lines of the form "    at name (<eval>:line:column)", which count
	// in Code.
	Stack string `json:"stack,omitempty"`
	// Code, Hint and Details are what the script, or the host, gave to the error.
	Code    string          `json:"code,omitempty"`
	Hint    string          `json:"hint,omitempty"`
	Details json.RawMessage `json:"details,omitempty"`
}

// Error returns the message, with the kind.
func (f *Failure) Error() string { return "script " + string(f.Kind) + ": " + f.Message }

// over returns the failure of a run that reached a limit.
func over(limit, text string) *Failure {
	return &Failure{Kind: Limit, Limit: limit, Message: text}
}
