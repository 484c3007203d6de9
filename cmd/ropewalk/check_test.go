package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckFindsAll gives a configuration in which nearly every value is wrong.
func TestCheckFindsAll(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bad.jsonc")
	text := `{
  "listeners": {
    "a": {"address": "0.0.0.0", "driver": "x"},
    "b": {"address": "127.0.0.1:99999", "certFile": "/nowhere", "keyFile": "/nowhere"},
    "c": {"address": "127.0.0.1:0", "certFile": "/nowhere"},
  },
  "services": {"Two words": {"kind": "echo"}, "node": {"kind": "echo"}, "echo": {"kind": "ecko"}},
  "calls": {"strategy": "lest-busy", "routes": {"math:/**": "mots-busy"}, "versions": {"math": {"new": 5}}},
  "limits": {"frame": -1},
  "log": {"level": "loud", "format": "xml"},
  "mesh": {"cluster": "0.0.0.0:7421", "nats": ["http://x"], "secret": "short", "certFile": "a.pem", "discovery": "gossip", "nodes": ["a"]},
  "topics": {"bad": {}, "a b:/": {}, "a:/**/b": {}, "b:/": {"durable": true}, "c:/": {"events": true, "slow": "no"}},
  "middleware": [{"stage": "x", "kind": "log", "settings": {"slw": 1}}, {"kind": "lg"}],
}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"config", "check", file}, {"serve", "--config", file}} {
		o := try(t, nil, "", args...)
		wantCode(t, o, exitUsage)
		wantText(t, o.err,
			`bad.jsonc:3:22: listeners.a.address: "0.0.0.0" is not HOST:PORT`,
			`listeners.a.driver: "x" is none of auto, poller, goroutine`,
			`listeners.b.address: "99999" is no port`,
			`listeners.b.certFile: the certificate cannot be used: open /nowhere`,
			`listeners.c: certFile and keyFile belong together`,
			`services.Two words: "Two words" cannot be the name of a service`,
			`services.node: node is the service of the node itself`,
			`services.echo.kind: there is no built-in service "ecko"`,
			`calls.strategy: there is no strategy "lest-busy"`,
			`calls.routes: math:/**: there is no strategy "mots-busy"`,
			`calls.versions: math: "new" is not a range of versions`,
			`limits.frame: -1 is negative`,
			`log.level: "loud" is none of debug, info, warn, error`,
			`log.format: "xml" is none of text, json`,
			`bad.jsonc:11:47: mesh.nats: `, `not both`,
			`mesh.secret: it has 5 characters, and needs 16`, `Give all nodes the same one`,
			`mesh.certFile: `,
			`mesh.discovery: "gossip" is none of nats, static, none`,
			`mesh.nodes: the names are for static discovery`,
			`topics.bad: this is no pattern of addresses`, `Write it like prices:/**.`,
			`topics.a b:/: the service name "a b" contains ' '`,
			`topics.a:/**/b: the pattern "/**/b" is not valid`,
			`topics.b:/.durable: only events are kept`,
			`topics.c:/.slow: "no" is none of gap, drop, disconnect`,
			`middleware[0].stage: "x" is none of inbound, call, serve, deliver, outbound`,
			`middleware[0]: the settings cannot be read: unknown field "slw"`,
			`middleware[1]: stage is missing`,
			`middleware[1]: there is no middleware of the kind "lg"`,
		)
		if n := strings.Count(o.err, "error: "); n != 28 {
			t.Errorf("%d errors, want 28:\n%s", n, o.err)
		}
	}
	o := try(t, nil, "", "config", "check", "--json", file)
	wantText(t, o.err, `"file":"`+file+`","line":10,"column":20,"path":"log.level"`, `"hint":"Correct the value there."`)
}

// TestCheckDurable has events kept where there is no place for them.
func TestCheckDurable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "c.jsonc")
	for mesh, good := range map[string]bool{
		`{}`:                               false,
		`{"cluster": "127.0.0.1:0"}`:       false,
		`{"store": "` + dir + `/store"}`:   true,
		`{"nats": ["nats://127.0.0.1:1"]}`: true,
	} {
		text := `{"topics": {"orders:/**": {"events": true, "durable": true}}, "mesh": ` + mesh + `}`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o := try(t, nil, "", "config", "check", file)
		if good {
			wantCode(t, o, exitOK)
			continue
		}
		wantCode(t, o, exitUsage)
		wantText(t, o.err, "c.jsonc:1:55: topics.orders:/**.durable: there is no store for events", "Name a directory in mesh.store, or leave durable out.")
	}
}
