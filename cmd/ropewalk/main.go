// Go would wake the program once a second to see whether it may use more or
// fewer CPUs now. It asks when it starts; a node at rest should rest.

//go:debug updatemaxprocs=0

// Command ropewalk is the node, and the tool to look at nodes and to talk to
// them. Each verb is a file; docs/reference/cli.md is the reference.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/ropewalk/ropewalk/content/script"
)

// errInterrupted is the cause of a context that ended by a signal.
var errInterrupted = errors.New("interrupted")

func main() {
	script.WorkerMain() // does not return in a process that this one has started to run scripts
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // it ends with the process
		<-signals
		cancel(errInterrupted)
		<-signals
		os.Exit(exitFailed)
	}()
	os.Exit(run(ctx, os.Args[1:], newWorld(os.Stdin, os.Stdout, os.Stderr, os.Environ())))
}
