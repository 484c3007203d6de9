package engine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// maxFrame bounds what one process takes from the other at once, in bytes.
const maxFrame = 64 << 20

// frame is what goes between a node and a worker: four bytes of length, then
// this as JSON. The node sends "run" and, for each "ask" of the worker, an
// "answer"; the worker says "wait" when it has nothing to do until one comes, and
// ends a run with "done" or "failed".
type frame struct {
	Op string `json:"op"`
	// run: Code is the number of the script, Script what the worker is to know it
	// by from then on, and Forget says that all that came before is not needed.
	Job    *Job    `json:"job,omitempty"`
	Code   uint64  `json:"code,omitempty"`
	Script *script `json:"script,omitempty"`
	Forget bool    `json:"forget,omitempty"`
	// ask, answer; of wait it is how many answers the worker has got so far
	ID   int             `json:"id,omitempty"`
	Name string          `json:"name,omitempty"`
	Args json.RawMessage `json:"args,omitempty"`
	OK   bool            `json:"ok,omitempty"`
	// log: Name is the level. answer: a JSON text. failed: what is no Failure.
	Text string `json:"text,omitempty"`
	// done
	Result json.RawMessage `json:"result,omitempty"`
	// failed
	Failure *Failure `json:"failure,omitempty"`
	// Last says that the worker is of no more use.
	Last bool `json:"last,omitempty"`
}

// script is a [Code] on its way.
type script struct {
	Text    string `json:"text"`
	Classic bool   `json:"classic,omitempty"`
}

// pipe sends and receives frames. send may be called from any goroutine,
// receive from one.
type pipe struct {
	r *bufio.Reader

	mu sync.Mutex
	w  io.Writer
}

func newPipe(r io.Reader, w io.Writer) *pipe { return &pipe{r: bufio.NewReader(r), w: w} }

func (p *pipe) send(f *frame) error {
	var b bytes.Buffer
	b.Write(make([]byte, 4))
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // results go out as the script wrote them
	if err := e.Encode(f); err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	n := b.Len() - 4
	if n > maxFrame {
		return fmt.Errorf("a frame of %d bytes is too long", n)
	}
	binary.BigEndian.PutUint32(b.Bytes(), uint32(n))
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.w.Write(b.Bytes())
	return err
}

func (p *pipe) receive() (*frame, error) {
	var head [4]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, fmt.Errorf("a frame of %d bytes is too long", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(p.r, body); err != nil {
		return nil, err
	}
	f := &frame{}
	if err := json.Unmarshal(body, f); err != nil {
		return nil, fmt.Errorf("decode frame: %w", err)
	}
	return f, nil
}
