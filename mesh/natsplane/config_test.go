package natsplane_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/mesh/natsplane"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		cfg  natsplane.Config
		want string // part of the error; "" for none
	}{
		{"ok: alone", natsplane.Config{}, ""},
		{"ok: loopback", natsplane.Config{Cluster: "127.0.0.1:4248", Join: []string{"localhost:4249", "[::1]:4250"}}, ""},
		{"ok: joins on this machine", natsplane.Config{Join: []string{"127.0.0.1:4248"}}, ""},
		{"ok: beyond", natsplane.Config{Cluster: ":4248", Join: []string{"10.0.0.5:4248"}, Secret: secret, Name: "shop_1"}, ""},
		{"ok: all addresses", natsplane.Config{Cluster: "0.0.0.0:0", Secret: secret, Advertise: "node-1"}, ""},
		{"ok: NATS", natsplane.Config{NATS: []string{"nats://10.0.0.5:4222", "tls://nats.example.com"}, Credentials: "c"}, ""},
		{"ok: authority of NATS", natsplane.Config{NATS: []string{"tls://nats.example.com"}, CAFile: "ca.pem"}, ""},
		{"ok: TLS", natsplane.Config{Cluster: "127.0.0.1:0", CertFile: "c", KeyFile: "k", CAFile: "a"}, ""},
		{"name", natsplane.Config{Name: "a b"}, "name:"},
		{"name with a dot", natsplane.Config{Name: "a.b"}, "name:"},
		{"cluster without a port", natsplane.Config{Cluster: "127.0.0.1"}, "cluster:"},
		{"cluster with a bad port", natsplane.Config{Cluster: "127.0.0.1:x"}, "cluster:"},
		{"cluster with a large port", natsplane.Config{Cluster: "127.0.0.1:70000"}, "cluster:"},
		{"cluster as URL", natsplane.Config{Cluster: "nats://127.0.0.1:4248"}, "cluster:"},
		{"join without a port", natsplane.Config{Cluster: "127.0.0.1:0", Join: []string{"127.0.0.1"}}, "join:"},
		{"join nobody", natsplane.Config{Cluster: "127.0.0.1:0", Join: []string{":4248"}}, "join:"},
		{"join no port", natsplane.Config{Cluster: "127.0.0.1:0", Join: []string{"127.0.0.1:0"}}, "join:"},
		{"join with a password", natsplane.Config{Cluster: "127.0.0.1:0", Join: []string{"a:b@127.0.0.1:1"}}, "join:"},
		{"join beyond without cluster", natsplane.Config{Join: []string{"10.0.0.5:4248"}, Secret: secret}, "set cluster"},
		{"no secret, cluster beyond", natsplane.Config{Cluster: "0.0.0.0:4248"}, "secret:"},
		{"no secret, cluster by name", natsplane.Config{Cluster: "node-1:4248"}, "secret:"},
		{"no secret, join beyond", natsplane.Config{Cluster: "127.0.0.1:0", Join: []string{"node-2:4248"}}, "secret:"},
		{"short secret", natsplane.Config{Cluster: "127.0.0.1:0", Secret: "hunter2"}, "7 characters"},
		{"advertise without cluster", natsplane.Config{Advertise: "10.0.0.5:1"}, "advertise:"},
		{"advertise all addresses", natsplane.Config{Cluster: ":1", Secret: secret, Advertise: "0.0.0.0:1"}, "advertise:"},
		{"advertise a bad port", natsplane.Config{Cluster: ":1", Secret: secret, Advertise: "a:b"}, "advertise:"},
		{"NATS and cluster", natsplane.Config{NATS: []string{"nats://a"}, Cluster: "127.0.0.1:0"}, "nats:"},
		{"NATS and join", natsplane.Config{NATS: []string{"nats://a"}, Join: []string{"127.0.0.1:1"}}, "nats:"},
		{"NATS over HTTP", natsplane.Config{NATS: []string{"http://a"}}, "no URL of a NATS server"},
		{"NATS without a scheme", natsplane.Config{NATS: []string{"10.0.0.5"}}, "nats:"},
		{"NATS that cannot be read", natsplane.Config{NATS: []string{"nats://u:hunter2@a:b:c"}}, "nats:"},
		{"credentials alone", natsplane.Config{Credentials: "c"}, "credentials:"},
		{"certificate alone", natsplane.Config{Cluster: "127.0.0.1:0", CertFile: "c"}, "keyFile"},
		{"key alone", natsplane.Config{Cluster: "127.0.0.1:0", KeyFile: "c"}, "keyFile"},
		{"no authority", natsplane.Config{Cluster: "127.0.0.1:0", CertFile: "c", KeyFile: "k"}, "caFile"},
		{"authority alone", natsplane.Config{Cluster: "127.0.0.1:0", CAFile: "c"}, "caFile"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := c.cfg.Validate()
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want one with %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func TestValidateReportsAll(t *testing.T) {
	t.Parallel()
	_, err := natsplane.New(natsplane.Config{Name: "-+-", Cluster: "x", Secret: "y"}, nil)
	for _, field := range []string{"name:", "cluster:", "secret:"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v says nothing of %s", err, field)
		}
	}
}

func TestFilesMustBeThere(t *testing.T) {
	t.Parallel()
	none := filepath.Join(t.TempDir(), "none")
	for _, cfg := range []natsplane.Config{
		{NATS: []string{"nats://127.0.0.1:1"}, Credentials: none},
		{Cluster: "127.0.0.1:0", CertFile: none, KeyFile: none, CAFile: none},
	} {
		if _, err := natsplane.New(cfg, nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v, want that the file is not there", err)
		}
	}
}

func TestFilesMustMakeSense(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key, authority := ca.files(t, "node")
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for field, cfg := range map[string]natsplane.Config{
		"certFile": {Cluster: "127.0.0.1:0", CertFile: junk, KeyFile: key, CAFile: authority},
		"caFile":   {Cluster: "127.0.0.1:0", CertFile: cert, KeyFile: key, CAFile: junk},
	} {
		n := prepare(t, cfg)
		if err := n.Open(t.Context(), n.id, n); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("error %v, want one of %s", err, field)
		}
	}
}

func TestAlone(t *testing.T) {
	t.Parallel()
	n := start(t, natsplane.Config{})
	if err := n.Send("somebody", []byte("x")); err != nil {
		t.Error(err)
	}
	if err := n.Publish([]byte("x")); err != nil {
		t.Error(err)
	}
	reaches(t, n, n)
	if n.Addr() != "" {
		t.Errorf("reachable at %q", n.Addr())
	}
	if err := n.Open(t.Context(), n.id, n); err == nil {
		t.Error("opened twice")
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	n := prepare(t, natsplane.Config{Cluster: "127.0.0.1:0"})
	if err := n.Send("b", nil); err == nil {
		t.Error("no error of a backplane that is not open")
	}
	if err := n.Open(t.Context(), "a.b", n); err == nil {
		t.Error("took an id with a dot")
	}
	n.open()
	for _, id := range []string{"", "a.b", "*", "a b", "a\r\nPUB x 0"} {
		if err := n.Send(id, nil); err == nil {
			t.Errorf("took a message for %q", id)
		}
	}
	if err := n.Send("b", make([]byte, mesh.MaxMessage+1)); err == nil {
		t.Error("took a message that is too large")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	late := prepare(t, natsplane.Config{Cluster: "127.0.0.1:0"})
	if err := late.Open(ctx, late.id, late); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}

// TestLineKey wants no lines where they would tell more than the backplane does,
// and other keys in other meshes.
func TestLineKey(t *testing.T) {
	t.Parallel()
	key := func(c natsplane.Config) string {
		t.Helper()
		p, err := natsplane.New(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p.LineKey()
	}
	const secret = "a secret of sixteen letters"
	seen := make(map[string]bool)
	for _, c := range []natsplane.Config{
		{Cluster: "127.0.0.1:0"}, {Cluster: "127.0.0.1:0", Name: "other"}, {Cluster: "127.0.0.1:0", Secret: secret},
		{Cluster: "127.0.0.1:0", Secret: secret + "x"}, {Cluster: "127.0.0.1:0", Secret: secret, Name: "other"},
	} {
		k := key(c)
		if k == "" || seen[k] || strings.Contains(k, secret) {
			t.Errorf("the key of %+v is %q", c, k)
		}
		seen[k] = true
	}
	if key(natsplane.Config{Join: []string{"127.0.0.1:1"}, Secret: secret}) != key(natsplane.Config{Cluster: "127.0.0.1:0", Secret: secret, Name: natsplane.DefaultName}) {
		t.Error("nodes of one mesh have different keys")
	}
	cert, file, ca := newAuthority(t).files(t, "a")
	for name, c := range map[string]natsplane.Config{
		"alone": {Secret: secret}, "NATS": {NATS: []string{"nats://127.0.0.1:1"}, Secret: secret},
		"TLS": {Cluster: "127.0.0.1:0", Secret: secret, CertFile: cert, KeyFile: file, CAFile: ca},
	} {
		if k := key(c); k != "" {
			t.Errorf("%s: the key is %q", name, k)
		}
	}
}
