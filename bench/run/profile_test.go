//go:build linux

package main

import (
	"maps"
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	t.Parallel()
	const stacks = `
	ffffffff81 tcp_sendmsg
	ffffffff82 __x64_sys_write
	 4a5b6c github.com/ropewalk/ropewalk/edge.rawWrite
	 4a5b6d runtime.goexit

	 4a5b6c runtime.memmove
	 4a5b6d github.com/ropewalk/ropewalk/message.(*writer).text
	 4a5b6e github.com/ropewalk/ropewalk/exchange.(*Peer).Receive

	 4a5b6c github.com/ropewalk/ropewalk.(*conns).Frame

	 4a5b6c runtime.scanObject
	 4a5b6d runtime.gcBgMarkWorker.func2
`
	got, err := count(strings.NewReader(stacks))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"write(2), with TCP on both ends": 0.25, "message": 0.25, "ropewalk": 0.25, "garbage collector": 0.25,
	}
	if !maps.Equal(got, want) {
		t.Errorf("count = %v, want %v", got, want)
	}
}
