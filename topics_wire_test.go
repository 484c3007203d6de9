package ropewalk_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/route"
)

// say sends a frame.
func (c rawClient) say(format string, args ...any) {
	c.t.Helper()
	if err := c.send(fmt.Sprintf(format, args...)); err != nil {
		c.t.Fatal(err)
	}
}

// hear returns the next message, but the welcome.
func (c rawClient) hear() message.Message {
	c.t.Helper()
	for {
		m, err := c.next()
		if err != nil {
			c.t.Fatal(err)
		}
		if m.Verb != message.VerbWelcome {
			return m
		}
	}
}

// want checks the next message: its verb, position and body.
func (c rawClient) want(verb message.Verb, offset uint64, body string) message.Message {
	c.t.Helper()
	m := c.hear()
	if m.Verb != verb || m.Offset != offset || !strings.Contains(string(m.Body), body) || (body == "") != (len(m.Body) == 0) {
		c.t.Fatalf("got %s %d %s, want %s %d %s", m.Verb, m.Offset, m.Body, verb, offset, body)
	}
	return m
}

func TestTopicsOnTheWire(t *testing.T) {
	t.Parallel()
	_, url := startNode(t, withTopics)
	c := dialRaw(t.Context(), t, url)

	c.say(`{"vrb":"subscribe","mid":"1","to":"prices:/eur"}`)
	r := c.want(message.VerbReply, 0, "")
	id, epoch := string(r.Topic), string(r.Epoch)
	if id == "" || epoch == "" || string(r.Rmid) != "1" {
		t.Fatalf("%+v", r)
	}
	for i := 1; i <= 3; i++ {
		c.say(`{"vrb":"publish","mid":"p%d","to":"prices:/eur","bdy":{"n":%d}}`, i, i)
		if u := c.want(message.VerbUpdate, uint64(i), fmt.Sprintf(`{"n":%d}`, i)); string(u.Topic) != id || string(u.Epoch) != epoch {
			t.Fatalf("%+v", u)
		}
		c.want(message.VerbReply, uint64(i), "")
	}

	// Somebody comes back, and somebody has been away for too long.
	d := dialRaw(t.Context(), t, url)
	d.say(`{"vrb":"subscribe","mid":"1","to":"prices:/eur","bdy":{"recover":{"epoch":%q,"offset":1}}}`, epoch)
	d.want(message.VerbReply, 1, "")
	d.want(message.VerbUpdate, 2, `{"n":2}`)
	d.want(message.VerbUpdate, 3, `{"n":3}`)
	d.say(`{"vrb":"subscribe","mid":"2","to":"prices:/eur","bdy":{"recover":{"epoch":"other","offset":9}}}`)
	d.want(message.VerbReply, 0, "")
	for i := uint64(1); i <= 3; i++ {
		d.want(message.VerbUpdate, i, "n")
	}

	// A pattern, with history.
	d.say(`{"vrb":"subscribe","mid":"3","to":"prices:/*","bdy":{"history":1}}`)
	d.want(message.VerbReply, 2, "")
	if u := d.want(message.VerbUpdate, 3, "n"); string(u.To) != "prices:/eur" {
		t.Fatalf("%+v", u)
	}

	// Nothing comes after the end.
	c.say(`{"vrb":"unsubscribe","mid":"u","tpc":%q}`, id)
	c.want(message.VerbReply, 0, "")
	c.say(`{"vrb":"publish","mid":"p","to":"prices:/eur","bdy":4}`)
	c.want(message.VerbReply, 4, "")
	c.say(`{"vrb":"unsubscribe","mid":"u","tpc":"nonsense"}`)
	c.want(message.VerbReply, 0, "")
}

func TestContentOnTheWire(t *testing.T) {
	t.Parallel()
	_, url := startNode(t, withTopics)
	c := dialRaw(t.Context(), t, url)
	big := `{"a":1,"list":["` + strings.Repeat("x", 500) + `"]}`

	c.say(`{"vrb":"get","mid":"g","to":"state:/s"}`)
	c.want(message.VerbError, 0, "not_found")
	c.say(`{"vrb":"subscribe","mid":"1","to":"state:/s","bdy":{"delta":["merge"]}}`)
	r := c.hear()
	if !r.Fault || message.DecodeError(r.Body).Code != message.CodeNotFound {
		t.Fatalf("%+v", r)
	}
	c.say(`{"vrb":"publish","mid":"p","to":"state:/s","bdy":%s}`, big)
	u := c.want(message.VerbUpdate, 1, big)
	c.want(message.VerbReply, 1, "")
	c.say(`{"vrb":"publish","mid":"p","to":"state:/s","bdy":%s}`, strings.Replace(big, "1", "2", 1))
	if d := c.hear(); string(d.ContentType) != "application/merge-patch+json" || d.Offset != 2 {
		t.Fatalf("%+v", d)
	}
	c.want(message.VerbReply, 2, "")
	c.say(`{"vrb":"get","mid":"g","to":"state:/s"}`)
	c.want(message.VerbReply, 2, `{"a":2`)

	// Who has seen the newest gets no content again, who has not does.
	c.say(`{"vrb":"subscribe","mid":"1","to":"state:/s","bdy":{"recover":{"epoch":%q,"offset":2}}}`, u.Epoch)
	c.want(message.VerbReply, 2, "")
	c.say(`{"vrb":"subscribe","mid":"1","to":"state:/s","bdy":{"recover":{"epoch":%q,"offset":1}}}`, u.Epoch)
	c.want(message.VerbReply, 2, `{"a":2`)

	// It is deleted.
	c.say(`{"vrb":"publish","mid":"p","to":"state:/s"}`)
	if d := c.hear(); !d.Fault {
		t.Fatalf("%+v", d)
	}
	c.want(message.VerbReply, 3, "")
}

func TestTopicsRefuse(t *testing.T) {
	t.Parallel()
	_, url := startNode(t, withTopics, func(c *ropewalk.Config) { c.Limits.Watches = 2 })
	c := dialRaw(t.Context(), t, url)
	for frame, code := range map[string]message.Code{
		`{"vrb":"subscribe","mid":"1","to":"nobody:/x"}`:                                                                     message.CodeNoService,
		`{"vrb":"subscribe","mid":"1","to":"node:/info"}`:                                                                    message.CodeUnimplemented,
		`{"vrb":"subscribe","mid":"1","to":"state:/**"}`:                                                                     message.CodeBadAddress,
		`{"vrb":"subscribe","mid":"1"}`:                                                                                      message.CodeBadMessage,
		`{"vrb":"subscribe","mid":"1","to":"state:/x","bdy":[]}`:                                                             message.CodeBadMessage,
		`{"vrb":"subscribe","mid":"1","to":"state:/x","bdy":{"params":[1]}}`:                                                 message.CodeInvalidInput,
		`{"vrb":"subscribe","mid":"1","to":"state:/x","bdy":{"params":{"a":"` + strings.Repeat("x", 70_000) + `"}}}`:         message.CodeTooLarge,
		`{"vrb":"publish","mid":"1","to":"prices:/**","bdy":1}`:                                                              message.CodeBadAddress,
		`{"vrb":"publish","mid":"1","to":"prices:/x"}`:                                                                       message.CodeInvalidInput,
		`{"vrb":"get","mid":"1","to":"state:/*"}`:                                                                            message.CodeBadAddress,
		`{"vrb":"call","mid":"1","to":"state:/x"}`:                                                                           message.CodeUnimplemented,
		`{"vrb":"update","mid":"1","to":"state:/x"}`:                                                                         message.CodeUnknownVerb,
		`{"vrb":"subscribe","mid":"1","to":"state:/x","tmo":0.000001,"off":-1}`:                                              message.CodeBadMessage,
		`{"vrb":"publish","mid":"1","to":"prices:/x","bdy":"` + strings.Repeat("x", 900_000) + strings.Repeat("y", 1) + `"}`: "",
	} {
		c.say("%s", frame)
		m := c.hear()
		if code == "" {
			if m.Verb != message.VerbReply {
				t.Errorf("%.80s: %s", frame, m.Body)
			}
			continue
		}
		if m.Verb != message.VerbError || message.DecodeError(m.Body).Code != code || message.DecodeError(m.Body).Hint == "" {
			t.Errorf("%.80s: %s %s, want %s", frame, m.Verb, m.Body, code)
		}
	}
	for i := range 3 {
		c.say(`{"vrb":"subscribe","mid":"1","to":"state:/%d"}`, i)
		if m := c.hear(); (m.Verb == message.VerbError) != (i == 2) {
			t.Errorf("watch %d: %s %s", i, m.Verb, m.Body)
		}
	}
}

func TestWatchIsRevoked(t *testing.T) {
	t.Parallel()
	n, url := startNode(t, withTopics, func(c *ropewalk.Config) { c.Allow, c.Permissions = nil, policy.Config{Preset: "dev"} })
	c := dialRaw(t.Context(), t, url)
	c.say(`{"vrb":"subscribe","mid":"1","to":"prices:/a"}`)
	a := c.want(message.VerbReply, 0, "")
	c.say(`{"vrb":"subscribe","mid":"2","to":"prices:/b"}`)
	b := c.want(message.VerbReply, 0, "")
	if err := n.SetPermissions(policy.Config{Preset: "dev", Rules: []policy.Rule{
		{Name: "no a", Effect: "deny", Verbs: []string{"watch"}, Addresses: []string{"prices:/a"}},
	}}); err != nil {
		t.Fatal(err)
	}
	m := c.hear()
	if m.Verb != message.VerbUnsubscribe || string(m.Topic) != string(a.Topic) || message.DecodeError(m.Body).Code != message.CodeRevoked {
		t.Fatalf("%s %s", m.Verb, m.Body)
	}
	for _, at := range []string{"a", "b"} {
		if _, err := n.Publish(t.Context(), "prices:/"+at, at); err != nil {
			t.Fatal(err)
		}
	}
	if u := c.want(message.VerbUpdate, 2, `"b"`); string(u.Topic) != string(b.Topic) {
		t.Fatalf("%+v", u)
	}
	c.say(`{"vrb":"subscribe","mid":"1","to":"prices:/a"}`)
	if e := message.DecodeError(c.hear().Body); e.Code != message.CodeForbidden || !strings.Contains(e.Message, "no a") {
		t.Fatal(e)
	}
}

// A watcher that does not read gets the newest content when it does, or what the
// topic says of events; the others notice nothing.
func TestSlowWatchers(t *testing.T) {
	t.Parallel()
	small := func(c *ropewalk.Config) {
		c.Limits.PendingFrames, c.Limits.PendingBytes = 64, 256<<10
		c.Topics = map[string]route.Topic{
			"state:/**": {}, "gap:/**": {Events: true, History: route.History{Count: 8}},
			"drop:/**": {Events: true, Slow: route.SlowDrop, History: route.History{Count: 8}},
			"all:/**":  {Events: true, History: route.History{Count: 10000, Bytes: 1 << 30}},
			"bye:/**":  {Events: true, Slow: route.SlowDisconnect, History: route.History{Count: 8}},
		}
	}
	n, url := startNode(t, small)
	const sent = 400
	text := strings.Repeat("x", 60_000) // so much that the sockets are full soon
	for _, name := range []string{"state", "gap", "drop", "all", "bye"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slow, quick := dialRaw(t.Context(), t, url), dialRaw(t.Context(), t, url)
			for _, c := range []rawClient{slow, quick} {
				c.say(`{"vrb":"subscribe","mid":"1","to":"%s:/x"}`, name)
				c.hear()
			}
			for i := 1; i <= sent; i++ {
				if _, err := n.Publish(t.Context(), name+":/x", fmt.Sprintf("%d-%s", i, text)); err != nil {
					t.Fatal(err)
				}
				if u := quick.hear(); u.Verb != message.VerbUpdate || number(t, u) != i {
					t.Fatalf("%d: %s %.20s", i, u.Verb, u.Body)
				}
			}
			last, gaps, got := 0, 0, 0
			for last < sent {
				m, err := slow.next()
				if err != nil {
					if name != "bye" {
						t.Fatal(err)
					}
					return
				}
				switch m.Verb {
				case message.VerbGap:
					gaps++
				case message.VerbUpdate:
					i := number(t, m)
					if i <= last || (name == "all" && i != last+1) || (name == "gap" && i != last+1 && gaps == 0) {
						t.Fatalf("%d after %d, %d gaps", i, last, gaps)
					}
					last, got = i, got+1
				}
			}
			if (name == "gap") != (gaps > 0) || (name == "all") != (got == sent) || name == "bye" {
				t.Errorf("%d gaps, %d of %d updates", gaps, got, sent)
			}
		})
	}
}

func number(t *testing.T, m message.Message) (i int) {
	t.Helper()
	if _, err := fmt.Sscanf(string(m.Body), `"%d-`, &i); err != nil {
		t.Fatalf("%.40s: %v", m.Body, err)
	}
	return i
}

// Who may publish, or watch, may not call by that.
func TestCallablePathsAreNoTopics(t *testing.T) {
	t.Parallel()
	n, url := startNode(t, withTopics)
	if err := n.Serve(mathService()); err != nil {
		t.Fatal(err)
	}
	c := dialRaw(t.Context(), t, url)
	for _, verb := range []string{"get", "publish", "subscribe"} {
		for _, to := range []string{"math:/decimal/mul", "node:/drain"} {
			c.say(`{"vrb":%q,"mid":"1","to":%q,"bdy":{"a":2,"b":3}}`, verb, to)
			if m := c.hear(); m.Verb != message.VerbError || message.DecodeError(m.Body).Code != message.CodeUnimplemented {
				t.Errorf("%s %s: %s %s", verb, to, m.Verb, m.Body)
			}
		}
	}
}

// The sources of scripts and queries are for those who may write them.
func TestSourcesNeedARight(t *testing.T) {
	t.Parallel()
	n, url := startNode(t, func(c *ropewalk.Config) { c.Allow, c.Permissions = nil, policy.Config{Preset: "editor"} })
	p := contenttest.NewMemory()
	svc := content.NewService("file", p, content.Options{Topic: route.Topic{Code: []string{"sql", "ts"}}})
	defer func() { _ = svc.Close() }()
	if err := n.Serve(svc.Service); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/a.sql", "/a.TS", "/a.json"} {
		p.Set(path, `"text"`)
	}
	c := dialRaw(t.Context(), t, url)
	try := func(may bool) {
		t.Helper()
		for _, verb := range []string{"get", "subscribe", "publish", "call"} {
			for _, path := range []string{"/a.sql", "/a.TS", "/a.json"} {
				c.say(`{"vrb":%q,"mid":"1","to":"file:%s","bdy":{}}`, verb, path)
				m := c.hear()
				for m.Verb == message.VerbUpdate || m.Verb == message.VerbUnsubscribe {
					m = c.hear()
				}
				code := message.Code("")
				if m.Verb == message.VerbError {
					code = message.DecodeError(m.Body).Code
				}
				if forbidden := code == message.CodeForbidden; forbidden != (!may && path != "/a.json") {
					t.Errorf("%s %s: %s %s", verb, path, m.Verb, m.Body)
				}
			}
		}
	}
	try(false)
	if err := n.SetPermissions(policy.Config{Preset: "admin"}); err != nil {
		t.Fatal(err)
	}
	try(true)
	if err := n.SetPermissions(policy.Config{Preset: "editor"}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what was watched
		m := c.hear()
		for m.Verb == message.VerbUpdate {
			m = c.hear()
		}
		if m.Verb != message.VerbUnsubscribe {
			t.Errorf("%s %s", m.Verb, m.Body)
		}
	}
}

// Of several servers of one path, each may say something else about it.
func TestServersOfOnePathDiffer(t *testing.T) {
	t.Parallel()
	for _, serve := range [][]string{{``, `"bdy":{"topic":{"reads":true}},`}, {`"bdy":{"topic":{"reads":true}},`, ``}} {
		_, url := startNode(t, func(c *ropewalk.Config) {
			c.Allow = nil
			c.Permissions = policy.Config{Preset: "closed", Rules: []policy.Rule{
				{Verbs: []string{"serve"}, Addresses: []string{"mix:/**"}},
				{Verbs: []string{"call"}, Addresses: []string{"mix:/called/**"}},
				{Verbs: []string{"watch"}, Addresses: []string{"mix:/watched/**"}},
			}}
		})
		for _, said := range serve {
			s := dialRaw(t.Context(), t, url)
			s.say(`{"vrb":"serve","mid":"1",%s"to":"mix:/**"}`, said)
			if m := s.hear(); m.Verb != message.VerbReply {
				t.Fatalf("%s %s", m.Verb, m.Body)
			}
			go func() {
				for {
					m, err := s.next()
					if err != nil {
						return
					}
					s.say(`{"vrb":"reply","rmid":%q,"bdy":%t}`, m.Mid, said == ``)
				}
			}()
		}
		c := dialRaw(t.Context(), t, url)
		for i := range 20 {
			c.say(`{"vrb":"call","mid":"1","to":"mix:/called/%d"}`, i)
			if m := c.hear(); m.Verb != message.VerbError || message.DecodeError(m.Body).Code != message.CodeForbidden {
				t.Fatalf("%s %s", m.Verb, m.Body)
			}
			c.say(`{"vrb":"get","mid":"1","to":"mix:/watched/%d"}`, i)
			if m := c.hear(); m.Verb != message.VerbReply || string(m.Body) != "false" {
				t.Fatalf("who may watch, may call: %s %s", m.Verb, m.Body)
			}
		}
	}
}
