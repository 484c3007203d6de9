package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/audit"
)

func TestAudit(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.New(audit.Config{File: file}, audit.Env{Logger: slog.New(slog.DiscardHandler), Node: "shop-1"})
	if err != nil {
		t.Fatal(err)
	}
	l.Record(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done, Who: audit.Who{Subject: "anna"}})
	l.Record(audit.Event{Kind: audit.KindAccess, Outcome: audit.Refused, Who: audit.Who{IP: "192.0.2.1"}, Verb: "serve", Address: "math:/x", Rule: "default", Code: "forbidden"})
	for range 3 {
		l.Record(audit.Event{Kind: audit.KindAccess, Outcome: audit.Refused, Who: audit.Who{IP: "192.0.2.1"}, Verb: "serve", Address: "math:/x", Rule: "default", Code: "forbidden"})
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("rubbish\n"); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()

	o := try(t, nil, "", "audit", "show", file)
	wantCode(t, o, exitOK)
	wantText(t, o.out, "login", "by anna", "on shop-1", "refused", "from 192.0.2.1", "rule default", "(3 times since")
	wantText(t, o.err, "line 4")
	o = try(t, nil, "", "audit", "show", file, "--who", "anna", "--kind", "login", "--outcome", "done", "--since", "1h", "--json")
	wantCode(t, o, exitOK)
	var e audit.Event
	if err := json.Unmarshal([]byte(o.out), &e); err != nil || e.Who.Subject != "anna" {
		t.Errorf("%v: %s", err, o.out)
	}
	wantCode(t, try(t, nil, "", "audit", "show", file+"x"), exitUsage)
	wantCode(t, try(t, nil, "", "audit", "tail", file+"x"), exitUsage)
}

func TestAuditTail(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.New(audit.Config{File: file, MaxSize: 4096}, audit.Env{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close(context.Background()) }()
	l.Record(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done, Detail: "before " + strings.Repeat("x", 200)})
	l.Record(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done, Detail: "first"})
	p := launch(t, t.TempDir(), nil, "audit", "tail", file)
	p.out.with("first")
	for range 30 { // more than a file holds
		l.Record(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done, Detail: strings.Repeat("x", 200)})
	}
	l.Record(audit.Event{Kind: audit.KindLogin, Outcome: audit.Done, Detail: "last"})
	p.out.with("last")
}
