package natsplane_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ropewalk/ropewalk/mesh/natsplane"
)

func TestStoreConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  natsplane.Config
		want string
	}{
		{natsplane.Config{Store: "d"}, ""},
		{natsplane.Config{Store: "d", Cluster: "127.0.0.1:7421"}, ""},
		{natsplane.Config{Store: "d", Cluster: "127.0.0.1:0"}, "store: the other nodes"},
		{natsplane.Config{Store: "d", Join: []string{"127.0.0.1:7421"}}, "store: the other nodes"},
		{natsplane.Config{Store: "d", NATS: []string{"nats://127.0.0.1:4222"}}, "leave store out"},
	} {
		err := c.cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: error %v, want %q", c.cfg, err, c.want)
		}
	}
}

// TestStoreOfANodeAlone keeps something over a restart under another id.
func TestStoreOfANodeAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deep", "store")
	a := prepare(t, natsplane.Config{Store: dir})
	if _, err := a.JetStream(); err == nil {
		t.Error("a node that is not open gives JetStream")
	}
	a.open()
	if a.Addr() != "" {
		t.Errorf("it listens at %s", a.Addr())
	}
	js, err := a.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "key", "value"); err != nil {
		t.Fatal(err)
	}
	if err := a.Send(a.id, []byte("to itself")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others can read the directory: %v, %v", info.Mode(), err)
	}
	a.shut()
	b := start(t, natsplane.Config{Store: dir})
	if js, err = b.JetStream(); err != nil {
		t.Fatal(err)
	}
	kv, err = js.KeyValue(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(t.Context(), "key"); err != nil || string(e.Value()) != "value" {
		t.Errorf("got %v, %v", e, err)
	}
	name, err := os.ReadFile(filepath.Join(dir, "ropewalk-name"))
	if err != nil || strings.TrimSpace(string(name)) != a.id {
		t.Errorf("its name among those that keep something is %q, %v", name, err)
	}
}

func TestStoreSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	spoiled := t.TempDir()
	if err := os.WriteFile(filepath.Join(spoiled, "ropewalk-name"), []byte("not a name\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]natsplane.Config{
		"a file": {Store: file}, "a spoiled directory": {Store: spoiled},
		"a file of a mesh": {Store: file, Cluster: freePort(t)},
	} {
		n := prepare(t, cfg)
		err := n.Open(t.Context(), n.id, n)
		if err == nil || !strings.Contains(err.Error(), "store: ") {
			t.Errorf("%s: error %v, want one of store", name, err)
		}
		n.shut()
	}
}

// TestNodesWithAStoreMeet has a mesh whose nodes keep something
// together: messages go as without.
func TestNodesWithAStoreMeet(t *testing.T) {
	t.Parallel()
	addrs := []string{freePort(t), freePort(t), freePort(t)}
	var nodes []*node
	for _, addr := range addrs {
		nodes = append(nodes, start(t, natsplane.Config{Cluster: addr, Join: addrs, Store: t.TempDir(), Secret: secret}))
	}
	meet(t, nodes...)
	eventually(t, "a quorum", func() bool {
		js, err := nodes[2].JetStream()
		if err != nil {
			t.Fatal(err)
		}
		_, err = js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b", Replicas: 3})
		return err == nil
	}, nil)
	for i, n := range nodes {
		if n.logs.count("level=WARN")+n.logs.count("level=ERROR") > n.logs.count("a node to join cannot be reached") {
			t.Errorf("node %d logged\n%s", i, n.logs)
		}
	}
}
