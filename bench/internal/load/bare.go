//go:build linux

package load

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/hist"
)

// ProtoBare is that of [RunBare]: requests by a library, in the process itself.
const ProtoBare = "bare"

// BareConfig is what [RunBare] does; the fields are as those of [Config].
type BareConfig struct {
	InFlight  int
	Payload   int
	Warm, For time.Duration
	PeerPID   int // the other process, whose CPU time is added to that of this one
}

// RunBare measures calls that this process makes by a library: ask, from one
// goroutine for each call under way. The caller is part of what is measured, and
// counts as a server. It returns when all its goroutines have ended.
func RunBare(cfg BareConfig, ask func(body []byte) ([]byte, error)) (Result, error) {
	e := &engine{zero: time.Now()}
	e.cfg.ServerPIDs = []int{os.Getpid()}
	if cfg.PeerPID != 0 {
		e.cfg.ServerPIDs = append(e.cfg.ServerPIDs, cfg.PeerPID)
	}
	res := Result{Mode: ModeCall, Proto: ProtoBare, Conns: 1, InFlight: cfg.InFlight}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // of e.hist and err
		err  error
		stop = make(chan struct{})
	)
	for i := range cfg.InFlight {
		wg.Go(func() {
			worst := e.askOn(i, cfg.Payload, ask, stop, &mu)
			mu.Lock()
			err = errors.Join(err, worst)
			mu.Unlock()
		})
	}
	<-time.After(cfg.Warm)
	mu.Lock()
	from, snapErr := e.snap()
	e.hist = hist.Hist{}
	mu.Unlock()
	<-time.After(cfg.For)
	mu.Lock()
	err = errors.Join(err, snapErr, e.fill(&res, from))
	mu.Unlock()
	close(stop)
	wg.Wait()
	return res, err
}

// askOn makes calls one after another until stop is closed.
func (e *engine) askOn(i, size int, ask func([]byte) ([]byte, error), stop <-chan struct{}, mu *sync.Mutex) error {
	var body []byte
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		stamp := e.clock()
		body = appendBody(body[:0], size, i, stamp)
		got, err := ask(body)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, body) {
			return errAlien
		}
		mu.Lock()
		e.hist.Add(e.clock() - stamp)
		mu.Unlock()
	}
}
