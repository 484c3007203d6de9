package natsplane

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// The part of the NATS client protocol that a Plane needs to talk to the server
// in its own process. It is written here and not left to nats.go because that
// has two goroutines more on the way of each message, for what a client over a
// network needs: together they are a tenth to a third of the cost of a packet.

const (
	// lineMax bounds a line of the protocol; INFO is the longest.
	lineMax = 64 << 10
	// payloadMax is what servers take by default; more would be a mistake of ours.
	payloadMax = 1 << 20
	// smallWrite is what is copied together to be written at once: below it a
	// copy is cheaper than two more hand-overs to the server's goroutine.
	smallWrite = 32 << 10
)

var errProtocol = errors.New("the NATS server said something unexpected")

// op is what the server says.
type op byte

const (
	opMsg op = iota + 1
	opPing
	opPong
	opInfo
	opOK
	opErr
)

// wireReader reads what the server says.
type wireReader struct {
	r    *bufio.Reader
	skip int    // bytes of the last message that are still in r
	big  []byte // for messages that do not fit into r
}

func newWireReader(r io.Reader) *wireReader {
	return &wireReader{r: bufio.NewReaderSize(r, lineMax)}
}

// next returns what comes next: the payload of opMsg, the text of opErr. It is
// valid until the next call.
func (w *wireReader) next() (op, []byte, error) {
	if _, err := w.r.Discard(w.skip); err != nil {
		return 0, nil, err
	}
	w.skip = 0
	line, err := w.r.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	line = bytes.TrimRight(line, "\r\n")
	verb, rest, _ := bytes.Cut(line, []byte(" "))
	switch string(verb) {
	case "MSG":
		n, err := msgSize(rest)
		if err != nil {
			return 0, nil, err
		}
		data, err := w.payload(n)
		return opMsg, data, err
	case "PING":
		return opPing, nil, nil
	case "PONG":
		return opPong, nil, nil
	case "INFO":
		return opInfo, nil, nil
	case "+OK":
		return opOK, nil, nil
	case "-ERR":
		return opErr, bytes.Trim(rest, "'"), nil
	}
	return 0, nil, fmt.Errorf("%w: %.32q", errProtocol, line)
}

// msgSize reads the end of "subject sid [reply] size".
func msgSize(args []byte) (int, error) {
	digits := args[bytes.LastIndexByte(args, ' ')+1:]
	n := 0
	for _, d := range digits {
		if d < '0' || d > '9' || n > payloadMax {
			return 0, fmt.Errorf("%w: a message of size %.16q", errProtocol, digits)
		}
		n = n*10 + int(d-'0')
	}
	if n > payloadMax || len(digits) == 0 {
		return 0, fmt.Errorf("%w: a message of size %.16q", errProtocol, digits)
	}
	return n, nil
}

// payload returns the n bytes that follow, and takes the end of line after them.
func (w *wireReader) payload(n int) ([]byte, error) {
	whole := n + len("\r\n")
	var data []byte
	if whole <= w.r.Size() {
		var err error
		if data, err = w.r.Peek(whole); err != nil {
			return nil, err
		}
		w.skip = whole
	} else {
		if cap(w.big) < whole {
			w.big = make([]byte, whole)
		}
		data = w.big[:whole]
		if _, err := io.ReadFull(w.r, data); err != nil {
			return nil, err
		}
	}
	if string(data[n:]) != "\r\n" {
		return nil, fmt.Errorf("%w: a message without an end", errProtocol)
	}
	return data[:n], nil
}

// appendConnect appends the greeting of a client: it wants no echo of its own
// messages, no acknowledgements and no headers.
func appendConnect(b []byte) []byte {
	return append(b, `CONNECT {"verbose":false,"pedantic":false,"echo":false,"headers":false,"lang":"go","version":"1","protocol":1}`+"\r\n"...)
}

func appendSub(b []byte, subject string, id int) []byte {
	b = append(b, "SUB "...)
	b = append(b, subject...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(id), 10)
	return append(b, "\r\n"...)
}

// appendPub appends the line before a payload of n bytes.
func appendPub(b []byte, subject string, n int) []byte {
	b = append(b, "PUB "...)
	b = append(b, subject...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, "\r\n"...)
}
