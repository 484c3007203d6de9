package natsplane_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/mesh/natsplane"
	"github.com/ropewalk/ropewalk/ropewalktest"
)

func TestOutsideIsABackplane(t *testing.T) {
	t.Parallel()
	s := runServer(t, "")
	ropewalktest.TestBackplane(t, func(t *testing.T) []mesh.Backplane {
		out := make([]mesh.Backplane, 4)
		for i := range out {
			out[i] = prepare(t, natsplane.Config{NATS: []string{s.url()}, Secret: secret + t.Name()}).Plane
		}
		return out
	})
}

func TestClusterIsABackplane(t *testing.T) {
	t.Parallel()
	servers := runCluster(t)
	ropewalktest.TestBackplane(t, func(t *testing.T) []mesh.Backplane {
		out := make([]mesh.Backplane, 4)
		for i := range out { // each at another server
			out[i] = prepare(t, natsplane.Config{NATS: []string{servers[i%3].url()}, Secret: secret + t.Name()}).Plane
		}
		return out
	})
}

// TestOneServerOfThreeDies kills one server of the cluster: the node that was
// connected to it is told, and goes on with another.
func TestOneServerOfThreeDies(t *testing.T) {
	t.Parallel()
	servers := runCluster(t)
	var nodes []*node
	for i := range 3 {
		// It knows one server; of the others it hears from that.
		nodes = append(nodes, start(t, natsplane.Config{NATS: []string{servers[i].url()}}))
	}
	meet(t, nodes...)
	servers[1].kill()
	eventually(t, "the loss and the return of the connection", func() bool {
		nodes[1].mu.Lock()
		defer nodes[1].mu.Unlock()
		return slices.Equal(nodes[1].states, []bool{false, true})
	}, nil)
	meet(t, nodes...)
	for i, n := range nodes {
		if n.mu.Lock(); i != 1 && len(n.states) > 0 {
			t.Errorf("node %d was told %v", i, n.states)
		}
		n.mu.Unlock()
		if n.Addr() != "" {
			t.Errorf("node %d is reachable at %s", i, n.Addr())
		}
	}
	if nodes[1].logs.count("connection to NATS is lost") != 1 || nodes[1].logs.count("connected to NATS again") != 1 {
		t.Errorf("logged:\n%s", nodes[1].logs)
	}
}

// TestServerIsAwayForAWhile stops the only server and starts it again.
func TestServerIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	s := runServer(t, "")
	a := start(t, natsplane.Config{NATS: []string{s.url()}})
	b := start(t, natsplane.Config{NATS: []string{s.url()}})
	meet(t, a, b)
	s.kill()
	eventually(t, "an error", func() bool { return a.Send(b.id, []byte("x")) != nil }, nil)
	if err := a.Send(a.id, []byte("self")); err != nil {
		t.Errorf("to itself: %v", err)
	}
	s.run()
	meet(t, a, b)
}

func TestMeshesOnOneServer(t *testing.T) {
	t.Parallel()
	url := []string{runServer(t, "").url()}
	a := start(t, natsplane.Config{NATS: url, Name: "a", Secret: secret})
	b := start(t, natsplane.Config{NATS: url, Name: "b", Secret: secret})
	c := start(t, natsplane.Config{NATS: url, Name: "a", Secret: "another secret altogether"})
	d := start(t, natsplane.Config{NATS: url, Name: "a", Secret: secret})
	if err := a.Publish([]byte("hello")); err != nil {
		t.Error(err)
	}
	_ = a.Send(b.id, []byte("hello"))
	_ = a.Send(c.id, []byte("hello"))
	meet(t, a, d)
	for _, n := range []*node{b, c} {
		reaches(t, n, n)
	}
	if d.has("hello") != 1 {
		t.Error("a node of the mesh did not hear what was published")
	}
	if b.has("hello")+c.has("hello") > 0 {
		t.Error("a node of another mesh heard what was sent")
	}
}

func TestOutsideSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	guarded := runServer(t, `authorization { users = [
		{ user: good, password: hunter22, permissions: { publish: "ropewalk.shop.>", subscribe: "ropewalk.shop.>" } }
	] }`)
	small := runServer(t, `max_payload: 1000`)
	gone := freePort(t)
	for _, c := range []struct {
		name, url, mesh, want string
	}{
		{"ok", "nats://good:hunter22@" + guarded.addr, "shop", ""},
		{"no password", guarded.url(), "shop", "Authorization"},
		{"wrong password", "nats://good:hunter23@" + guarded.addr, "shop", "Authorization"},
		{"no permission", "nats://good:hunter22@" + guarded.addr, "store", "permission to publish and subscribe to ropewalk.store."},
		{"small messages", small.url(), "", "max_payload"},
		{"nobody there", "nats://good:hunter22@" + gone, "", gone},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := prepare(t, natsplane.Config{NATS: []string{c.url}, Name: c.mesh})
			err := n.Open(t.Context(), n.id, n)
			t.Cleanup(n.shut)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want one with %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "hunter"):
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestOutsideOverTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	cert, key, ca := ours.files(t, "nats")
	s := runServer(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", cert, key, ca))
	_, port, _ := net.SplitHostPort(s.addr)
	url := []string{"tls://127.0.0.1:" + port}
	with := func(a *authority) (cfg natsplane.Config) {
		cfg.NATS = url
		cfg.CertFile, cfg.KeyFile, _ = a.files(t, "node")
		cfg.CAFile = ca
		return cfg
	}
	meet(t, start(t, with(ours)), start(t, with(ours)))
	bad := with(theirs)
	n := prepare(t, bad)
	if err := n.Open(t.Context(), n.id, n); err == nil {
		t.Error("a stranger was let in")
	}
	bad = with(ours)
	_, _, bad.CAFile = theirs.files(t, "node")
	n = prepare(t, bad)
	if err := n.Open(t.Context(), n.id, n); err == nil {
		t.Error("took a server of another authority")
	}
}

// TestCredentials is a NATS cluster with accounts, whose users have credentials
// files.
func TestCredentials(t *testing.T) {
	t.Parallel()
	operator, account := newKeys(t, nkeys.CreateOperator), newKeys(t, nkeys.CreateAccount)
	op := jwt.NewOperatorClaims(operator.public)
	acc := jwt.NewAccountClaims(account.public)
	s := runServer(t, fmt.Sprintf("operator: %s\nresolver: MEMORY\nresolver_preload: { %s: %s }",
		operator.sign(t, op), account.public, operator.sign(t, acc)))
	creds := func(account keys) string {
		user := newKeys(t, nkeys.CreateUser)
		seed, err := user.Seed()
		if err != nil {
			t.Fatal(err)
		}
		text, err := jwt.FormatUserConfig(account.sign(t, jwt.NewUserClaims(user.public)), seed)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "user.creds")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	a := start(t, natsplane.Config{NATS: []string{s.url()}, Credentials: creds(account)})
	b := start(t, natsplane.Config{NATS: []string{s.url()}, Credentials: creds(account)})
	meet(t, a, b)
	for name, file := range map[string]string{"none": "", "of a stranger": creds(newKeys(t, nkeys.CreateAccount))} {
		n := prepare(t, natsplane.Config{NATS: []string{s.url()}, Credentials: file})
		if err := n.Open(t.Context(), n.id, n); err == nil {
			t.Errorf("credentials %s were taken", name)
			n.shut()
		}
	}
}

// keys are those of an operator, an account or a user.
type keys struct {
	nkeys.KeyPair

	public string
}

func newKeys(t *testing.T, create func() (nkeys.KeyPair, error)) keys {
	t.Helper()
	k, err := create()
	if err != nil {
		t.Fatal(err)
	}
	public, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return keys{k, public}
}

func (k keys) sign(t *testing.T, c jwt.Claims) string {
	t.Helper()
	token, err := c.Encode(k)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
