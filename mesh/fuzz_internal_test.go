package mesh

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// nowhere is a backplane that reaches nobody.
type nowhere struct{}

func (nowhere) Open(context.Context, string, Receiver) error { return nil }
func (nowhere) Send(string, []byte) error                    { return nil }
func (nowhere) Publish([]byte) error                         { return nil }
func (nowhere) Addr() string                                 { return "" }
func (nowhere) Close(context.Context) error                  { return nil }

// careful wants what it is told to make sense.
type careful struct{ t testing.TB }

func (careful) Joined(*Node) {}

func (h careful) Served(_ *Node, s route.Seat) error {
	return route.NewTable().Serve(s.Name, s.Pattern, new(absent), s.Info)
}

func (careful) Unserved(*Node, route.Seat) {}

func (h careful) Message(_ *Node, n Note, m *message.Message) {
	if len(n.Server) > 255 || m == nil {
		h.t.Error("a message that cannot be")
	}
}

func (careful) Left(*Node, *message.Error) {}

// FuzzReceived throws packets, and frames in good packets, at a node.
func FuzzReceived(f *testing.F) {
	card, _ := json.Marshal(Card{Protocol: Protocol, ID: "00112233445566778899aabbccddeeff", Name: "x", State: Alive}) //nolint:errchkjson // marshals
	id, err := parseID("00112233445566778899aabbccddeeff")
	if err != nil {
		f.Fatal(err)
	}
	note, _ := appendNote(nil, Note{Server: "s", Granted: true})
	call := message.AppendSplit(note, &message.Message{Verb: message.VerbCall, To: []byte("a:/b"), Mid: []byte("1"), Body: []byte("{}")})
	for _, frame := range [][]byte{
		call,
		append([]byte{frameRoutes}, `{"infos":[{"version":"1"}],"add":[{"s":"x","n":"math","p":"/a","i":0}],"drop":[{"s":"x","n":"math","p":"/a"}]}`...),
		{frameFragment, 1, 2, 3}, {frameLast, 2, '{', '}'}, {9}, {frameMessage}, {frameMessage, 0, 200},
	} {
		b := make([]byte, lengthLen, 64)
		putLength(b, len(frame))
		f.Add(byte(kindData), append(b, frame...))
	}
	f.Add(byte(kindCard), card)
	f.Add(byte(kindAck), []byte{0})
	f.Add(byte(kindPong), make([]byte, pingLen))
	f.Add(byte(kindLeave), []byte{})
	f.Add(byte(kindCut), []byte{})
	f.Add(byte(200), []byte{})
	f.Fuzz(func(t *testing.T, kind byte, rest []byte) {
		m, err := Start(t.Context(), Config{
			ID: message.NewNodeID(), Name: "a", Backplane: nowhere{}, Table: route.NewTable(), Handler: careful{t},
			Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		m.Received(rest)
		m.Received(short(kind, id, rest))
		m.Received(short(kindCard, id, card))
		for seq := range uint64(2) {
			b := make([]byte, headerLen)
			putHeader(b, kind, id, header{epoch: uint64(time.Now().UnixNano()), seq: seq + 1}) //nolint:gosec // not negative
			m.Received(slices.Concat(b, rest))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody acknowledges what is sent
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}
