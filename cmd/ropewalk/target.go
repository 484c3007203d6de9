package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
)

// link is how a verb reaches a node.
type link struct {
	URL            []string      `name:"url" env:"ROPEWALK_URL" default:"ws://127.0.0.1:7420" placeholder:"URL" help:"The node to talk to; given more than once, the first of these that can be reached. Default: ws://127.0.0.1:7420."`
	ConnectTimeout time.Duration `default:"5s" placeholder:"TIME" help:"How long connecting may take. Default: ${default}."`
	Token          string        `env:"ROPEWALK_TOKEN" placeholder:"TOKEN" help:"Who you are for the node: a token. Others on this machine can see it in the list of processes; better set ROPEWALK_TOKEN, or use --token-file."`
	TokenFile      string        `placeholder:"FILE" help:"Read the token from this file, anew for each connection."`
}

// target is the node that a verb asks for something.
type target struct {
	link
	Authorization string `env:"ROPEWALK_AUTHORIZATION" placeholder:"TEXT" help:"Send this with each call, for a middleware secret."`
}

// notConfig are the variables of the environment that belong to the verbs, and
// not to the configuration of a node.
var notConfig = []string{"ROPEWALK_URL", "ROPEWALK_TOKEN", "ROPEWALK_AUTHORIZATION"}

// checkAddress finds what is no address at all, which people write first.
func checkAddress(text string) error {
	if strings.Contains(text, ":") {
		return nil
	}
	return usage(fmt.Sprintf("%q is not an address: it has no colon", text),
		"Write the name of the service, a colon and the path, such as math:/decimal/mul.")
}

// place is where the verb connects, for people.
func (t *link) place() string { return strings.Join(t.URL, ", ") }

// dial connects to the node, and stays there: what is asked of node: is meant
// for the one that was named, and not for one that would do as well.
func (t *link) dial(ctx context.Context, opts ...client.Option) (*client.Client, error) {
	return t.follow(ctx, append(opts, client.WithoutFollow())...)
}

// follow connects to the node, or, when that drains or is lost, to others of
// its mesh.
func (t *link) follow(ctx context.Context, opts ...client.Option) (*client.Client, error) {
	within, cancel := context.WithTimeout(ctx, t.ConnectTimeout)
	defer cancel()
	// What a client logs are connections lost and made; the verbs say it in
	// their own words.
	opts = append([]client.Option{client.WithLogger(slog.New(slog.DiscardHandler)), client.WithURLs(t.URL[1:]...)}, opts...)
	who, err := t.credential()
	if err != nil {
		return nil, err
	}
	opts = append(opts, who...)
	c, err := client.Dial(within, t.URL[0], opts...)
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		return nil, fail(exitInterrupted, message.NewError(message.CodeCanceled, "interrupted while connecting", ""))
	}
	e := message.AsError(err)
	if e.Code == message.CodeBadAddress {
		return nil, usage(e.Message, e.Hint)
	}
	if !e.Remote() {
		e = message.NewError(message.CodeNotReady, e.Message, `Start a node with "ropewalk dev", or name another with --url or ROPEWALK_URL.`)
	}
	return nil, fail(exitConnect, e)
}

// options are those of each call on the node.
func (t *target) options() []call.Option {
	if t.Authorization == "" {
		return nil
	}
	return []call.Option{call.WithAuthorization(t.Authorization)}
}

// credential is how the client says who it is.
func (t *link) credential() ([]client.Option, error) {
	switch {
	case t.TokenFile == "" && t.Token == "":
		return nil, nil
	case t.TokenFile == "":
		return []client.Option{client.WithToken(t.Token)}, nil
	}
	if _, err := readToken(t.TokenFile); err != nil {
		return nil, err
	}
	return []client.Option{client.WithTokenSource(func(context.Context) (string, error) { return readToken(t.TokenFile) })}, nil
}

// maxTokenFile is more than any token has.
const maxTokenFile = 64 << 10

// readToken reads a token from a file.
func readToken(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", usage("the token cannot be read: "+err.Error(), "Name a file with nothing but a token in it.")
	}
	defer func() { _ = file.Close() }()
	b, err := io.ReadAll(io.LimitReader(file, maxTokenFile))
	if err != nil {
		return "", usage("the token cannot be read: "+err.Error(), "Name a file with nothing but a token in it.")
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", usage("there is no token in "+name, "Name a file with nothing but a token in it.")
	}
	return text, nil
}
