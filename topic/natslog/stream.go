package natslog

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ropewalk/ropewalk/message"
)

const (
	// replicas is how many servers keep a copy if there are as many: one may be
	// away, and nothing is lost.
	replicas = 3
	// DefaultMaxBytes bounds all events of a route whose history names no bytes.
	DefaultMaxBytes = 1 << 30
	// repeats is the time in which JetStream knows an event that came twice.
	repeats = 2 * time.Minute
	// reach is how long the servers may take for one request.
	reach = 5 * time.Second
	// retry is how long to wait before the servers are asked again.
	retry = 250 * time.Millisecond
)

// Headers of a message in the stream.
const (
	headType      = "Ropewalk-Type"
	headPublisher = "Ropewalk-Publisher"
)

// What JetStream says when there are not as many servers as copies.
const (
	codeNoPeers      = 10005
	codeNotClustered = 10074
	codeNoResources  = 10023
)

// full are the codes that JetStream has for no room, for a stream, an account or
// a server, and for a disk that takes no more.
var full = []jetstream.ErrorCode{10002, 10028, 10047, 10077} //nolint:gochecknoglobals // a table

// subject is where the events of a path are, below the prefix of the log.
func (l *Log) subject(path string) string {
	return l.prefix + "." + base64.RawURLEncoding.EncodeToString([]byte(path))
}

// pathOf is the path of a subject, "" if it is none of the log's.
func (l *Log) pathOf(subject string) string {
	text, ok := strings.CutPrefix(subject, l.prefix+".")
	path, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil {
		return ""
	}
	return string(path)
}

// names of a log: of its stream, and what its subjects begin with. Meshes that
// share servers have their own.
func names(mesh, route string) (stream, prefix string) {
	sum := sha256.Sum256([]byte(mesh + "\n" + route))
	id := hex.EncodeToString(sum[:12])
	return "ropewalk_topics_" + id, "ropewalk.topics." + id
}

// config is the stream as JetStream has it.
func (l *Log) config(copies int) jetstream.StreamConfig {
	h := l.topic.History
	most := int64(DefaultMaxBytes)
	if h.Bytes > 0 {
		most = int64(h.Bytes)
	}
	window := repeats
	if h.Age > 0 {
		window = min(window, time.Duration(h.Age))
	}
	return jetstream.StreamConfig{
		Name: l.stream, Subjects: []string{l.prefix + ".>"}, Description: "events of Ropewalk: " + l.route,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, Storage: jetstream.FileStorage,
		MaxMsgsPerSubject: int64(l.count), MaxMsgs: -1, MaxBytes: most, MaxAge: time.Duration(h.Age), MaxConsumers: -1,
		Replicas: copies, Duplicates: window,
		AllowDirect: false, // a copy that lags must not answer
	}
}

// open returns the stream, made if there is none, and as the configuration wants
// it. ctx bounds it.
func (l *Log) open(ctx context.Context) (jetstream.JetStream, jetstream.Stream, error) {
	js, err := l.source()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	want := l.config(replicas)
	s, err := js.Stream(ctx, l.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, want)
		if tooFew(err) {
			s, err = js.CreateStream(ctx, l.config(1))
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was quicker
			s, err = js.Stream(ctx, l.stream)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open the log of %s: %w", l.route, err)
	}
	have := s.CachedInfo().Config
	if have.Replicas < want.Replicas || have.MaxAge != want.MaxAge || have.MaxBytes != want.MaxBytes ||
		have.MaxMsgsPerSubject != want.MaxMsgsPerSubject {
		l.adapt(ctx, js, &have)
	}
	return js, s, nil
}

// adapt has the stream be as it should. If there are too few servers for as many
// copies, they come later.
func (l *Log) adapt(ctx context.Context, js jetstream.JetStream, have *jetstream.StreamConfig) {
	_, err := js.UpdateStream(ctx, l.config(max(replicas, have.Replicas)))
	if err == nil {
		return
	}
	want := l.config(have.Replicas)
	if have.MaxAge == want.MaxAge && have.MaxBytes == want.MaxBytes && have.MaxMsgsPerSubject == want.MaxMsgsPerSubject {
		return
	}
	if _, err = js.UpdateStream(ctx, want); err != nil {
		l.log.Warn("the log of events keeps its old bounds", "route", l.route, "err", err)
	}
}

func tooFew(err error) bool {
	return coded(err, codeNoPeers) || coded(err, codeNotClustered) || coded(err, codeNoResources)
}

func coded(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}

// epochOf is what tells a stream from one of the same name that was made before.
func epochOf(i *jetstream.StreamInfo) string {
	return fmt.Sprintf("s%x", i.Created.UnixNano())
}

// refusal is what a publisher is told of an error; nil means that it makes sense
// to try again.
func (l *Log) refusal(err error) *message.Error {
	for _, code := range full {
		if coded(err, code) {
			e := message.NewError(message.CodeStorageFull, "the store of the events of "+l.route+" is full",
				"Free space in the store (mesh.store), or bound the history of the topic.")
			e.Cause = err
			return e
		}
	}
	if errors.Is(err, nats.ErrMaxPayload) {
		return message.NewError(message.CodeTooLarge, "the event is larger than the store takes", "Send less.")
	}
	return nil
}

// errDown is for a store that does not answer.
func errDown(route string, cause error) *message.Error {
	e := message.NewError(message.CodeSourceDown, "the store of the events of "+route+" does not answer",
		"More than half of the nodes with a store have to be there. Try again.")
	e.Retryable, e.Cause = true, cause
	return e
}
