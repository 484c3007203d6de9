package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
	"github.com/ropewalk/ropewalk/session/token"
)

// tokenCmd is about tokens of sessions.
type tokenCmd struct {
	New   tokenNewCmd   `cmd:"" help:"Make a token, signed as a node of the configuration would."`
	Show  tokenShowCmd  `cmd:"" help:"Print what can be read in a token without any key."`
	Check tokenCheckCmd `cmd:"" help:"Tell whether a node of the configuration would take a token."`
}

// Help is printed below the flags.
func (*tokenCmd) Help() string {
	return `No node is asked. The keys are those of the configuration that --config names, "sessions.tokens", or made of its "mesh.secret". Whoever
has a token is who it says, so keep it like a password.

Examples:

  ropewalk token new --subject anna --claim role=editor --config ropewalk.jsonc > anna.token
  ropewalk call drafts:/ --token-file anna.token
  ropewalk token check --file anna.token --config ropewalk.jsonc`
}

// keyFlags say whose keys they are.
type keyFlags struct {
	configFlag
}

// load reads the configuration and its keys.
func (f *keyFlags) load(w *world) (*standard.Config, *token.Codec, error) {
	var cfg standard.Config
	report, err := f.source(w).Read(&cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := check(&cfg, report); err != nil {
		return nil, nil, err
	}
	codec, err := cfg.TokenCodec(slog.New(slog.NewTextHandler(w.err, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return nil, nil, fail(exitUsage, err)
	}
	return &cfg, codec, nil
}

type tokenNewCmd struct {
	keyFlags
	Subject     string            `required:"" placeholder:"NAME" help:"Who it is."`
	Claim       map[string]string `placeholder:"NAME=VALUE" mapsep:"none" help:"A public claim: JSON, or else a text; may be given more than once."`
	SecretClaim map[string]string `placeholder:"NAME=VALUE" mapsep:"none" help:"A claim that only nodes and trusted services can read; may be given more than once."`
	Lifetime    time.Duration     `placeholder:"TIME" help:"How long it is good, if it is not refreshed. Default: sessions.lifetime of the configuration, 1h."`
}

// Help is printed below the flags.
func (*tokenNewCmd) Help() string {
	return `Prints the token and nothing else. Example:

  ropewalk token new --subject anna --claim 'roles=["editor"]' --secret-claim shard=7 --lifetime 8h --config ropewalk.jsonc`
}

// Run makes a token.
func (c *tokenNewCmd) Run(w *world) error {
	if c.Subject == "" {
		return usage("--subject needs a name", `See "ropewalk token new --help".`)
	}
	cfg, codec, err := c.load(w)
	if err != nil {
		return err
	}
	defer codec.Close()
	s := session.New(c.Subject, claimsOf(c.Claim), claimsOf(c.SecretClaim))
	lifetime := c.Lifetime
	if lifetime == 0 {
		lifetime = cfg.Sessions.Lifetime.Or(time.Hour)
	}
	if limit := cfg.Sessions.Limit.Or(keeper.DefaultLimit); lifetime > limit {
		return usage(fmt.Sprintf("--lifetime is %v, and nodes end sessions after %v", lifetime, limit),
			"Give a shorter one, or raise sessions.limit in the configuration of all nodes.")
	}
	s.Expires = s.Since.Add(lifetime)
	text, err := codec.Encode(s)
	if err != nil {
		return fail(exitUsage, err)
	}
	if w.json {
		return w.line(map[string]any{"token": text, "session": s.ID, "expires": s.Expires.UTC().Format(time.RFC3339)})
	}
	return w.printf("%s\n", text)
}

// tokenFlags are a token that is given.
type tokenFlags struct {
	Token string `arg:"" optional:"" env:"ROPEWALK_TOKEN" help:"The token. Others on this machine can see it in the list of processes; better set ROPEWALK_TOKEN, or use --file."`
	File  string `placeholder:"FILE" help:"Read the token from this file."`
}

func (f *tokenFlags) read() (string, error) {
	switch {
	case f.File != "":
		return readToken(f.File)
	case f.Token == "":
		return "", usage("there is no token", "Give one, or a file with --file, or set ROPEWALK_TOKEN.")
	}
	return strings.TrimSpace(f.Token), nil
}

type tokenShowCmd struct {
	tokenFlags
}

// Help is printed below the flags.
func (*tokenShowCmd) Help() string {
	return `What is printed is what stands in the token: without its keys nobody can tell whether it is true. Secret claims and the
signature are left out.`
}

// Run shows.
func (c *tokenShowCmd) Run(w *world) error {
	text, err := c.read()
	if err != nil {
		return err
	}
	return printToken(w, token.Show(text))
}

type tokenCheckCmd struct {
	keyFlags
	tokenFlags
}

// Help is printed below the flags.
func (*tokenCheckCmd) Help() string {
	return `The exit code is 1 if the token is not good. The keys of other issuers in the configuration are fetched if need be. Nodes
may refuse a token that is good, because its session was ended: only they know.`
}

// Run checks.
func (c *tokenCheckCmd) Run(ctx context.Context, w *world) error {
	text, err := c.read()
	if err != nil {
		return err
	}
	_, codec, err := c.load(w)
	if err != nil {
		return err
	}
	defer codec.Close()
	_, bad := codec.DecodeWait(ctx, text) // fetches keys
	if err := printToken(w, codec.Show(ctx, text)); err != nil {
		return err
	}
	return bad
}

// printToken prints what can be seen in a token.
func printToken(w *world, s token.Shown) error {
	if w.json {
		return w.line(s)
	}
	t := newTable("WHAT", "VALUE")
	for _, name := range slices.Sorted(maps.Keys(s.Header)) {
		t.add("header "+name, valueText(s.Header[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Claims)) {
		switch name {
		case "exp", "iat", "nbf", "pub": // below
		default:
			t.add(name, valueText(s.Claims[name]))
		}
	}
	if public, ok := s.Claims["pub"].(map[string]any); ok {
		for _, name := range slices.Sorted(maps.Keys(public)) {
			t.add("public "+name, valueText(public[name]))
		}
	}
	switch {
	case s.SecretClaims != nil:
		t.add("secret", strings.Join(s.SecretClaims, ", ")+" (values are not shown)")
	case s.Sealed:
		t.add("secret", "there are secret claims")
	}
	for _, at := range []struct {
		name string
		time time.Time
	}{{"issued", s.Issued}, {"expires", s.Expires}} {
		if !at.time.IsZero() {
			t.add(at.name, at.time.UTC().Format(time.RFC3339))
		}
	}
	verdict := "it is good"
	if !s.Verified {
		verdict = s.Problem
	}
	t.add("verified", fmt.Sprintf("%t: %s", s.Verified, verdict))
	return t.print(w)
}

// valueText is a claim on a line.
func valueText(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v) // it was read from JSON
	}
	return string(b)
}
