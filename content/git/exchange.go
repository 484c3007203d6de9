package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/go-git/go-git/v5/storage"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/ropewalk/ropewalk/message"
)

// down returns the error that the remote cannot be used.
func down(text, hint string, cause error) *message.Error {
	if hint == "" {
		hint = "It is tried again; the log of the node has more."
	}
	e := message.NewError(message.CodeSourceDown, text, hint)
	e.Cause, e.Retryable = cause, true
	return e
}

// refusal returns what users see of an error of the library.
func refusal(err error) error {
	if err == nil || errors.Is(err, gogit.NoErrAlreadyUpToDate) {
		return nil
	}
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed),
		errors.Is(err, transport.ErrInvalidAuthMethod):
		return down("the remote refuses the credentials", "Look at user, password and keys in the settings of the remote.", err)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return down("the remote has no such repository, or does not show it", "Look at the URL and the credentials in the settings.", err)
	case errors.Is(err, context.DeadlineExceeded):
		return down("the remote does not answer in time", "", err)
	case errors.Is(err, context.Canceled):
		return err
	}
	return down("the remote cannot be reached, or refuses", "", err)
}

// exchange is one conversation with the remote.
type exchange struct {
	remote *gogit.Remote
	auth   transport.AuthMethod
	via    transport.ProxyOptions
	done   func() // has to be called
}

// exchange begins one that ends with ctx, with a storage of its own: the contents are
// read in the meantime.
func (r *remote) exchange(ctx context.Context) (*exchange, error) {
	auth, ssh, err := r.auth()
	if err != nil {
		return nil, err
	}
	st := openStorage(r.store.refs.dir)
	spec := fmt.Sprintf("+refs/heads/%s:%s", r.set.Branch, r.tracking)
	rem := gogit.NewRemote(&remoteStorage{Storage: st, refs: r.store.refs}, &config.RemoteConfig{
		Name: remoteName, URLs: []string{r.set.URL}, Fetch: []config.RefSpec{config.RefSpec(spec)},
	})
	x := &exchange{remote: rem, auth: auth, done: func() { _ = st.Close() }}
	if ssh {
		via, done := reach(ctx)
		x.via, x.done = via, func() {
			done()
			_ = st.Close()
		}
	}
	return x, nil
}

// late is an error of an exchange, which may only be what its end in ctx looks like.
func late(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, ctx.Err())
}

// fetch fetches, and returns what the remote's branch is; zero if it has none.
func (r *remote) fetch(ctx context.Context) (plumbing.Hash, error) {
	ctx, cancel := context.WithTimeout(ctx, r.set.Timeout.Or(DefaultTimeout))
	defer cancel()
	x, err := r.exchange(ctx)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer x.done()
	began := time.Now()
	err = late(ctx, x.remote.FetchContext(ctx, &gogit.FetchOptions{
		RemoteName: remoteName, Auth: x.auth, ProxyOptions: x.via, Tags: gogit.NoTags,
	}))
	switch {
	case errors.Is(err, transport.ErrEmptyRemoteRepository), errors.Is(err, gogit.NoMatchingRefSpecError{}):
		return plumbing.ZeroHash, nil
	case refusal(err) != nil:
		return plumbing.ZeroHash, refusal(err)
	}
	if err := syncPacks(r.store.refs.dir, began); err != nil {
		return plumbing.ZeroHash, err
	}
	return r.store.refs.read(r.tracking)
}

// send pushes the branch.
func (r *remote) send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.set.Timeout.Or(DefaultTimeout))
	defer cancel()
	x, err := r.exchange(ctx)
	if err != nil {
		return err
	}
	defer x.done()
	spec := fmt.Sprintf("%s:refs/heads/%s", r.store.branch, r.set.Branch)
	return refusal(late(ctx, x.remote.PushContext(ctx, &gogit.PushOptions{
		RemoteName: remoteName, Auth: x.auth, ProxyOptions: x.via, RefSpecs: []config.RefSpec{config.RefSpec(spec)},
	})))
}

// syncPacks makes last what was fetched, before a ref of the content names it.
func syncPacks(dir string, since time.Time) error {
	packs := filepath.Join(dir, "objects", "pack")
	entries, err := os.ReadDir(packs)
	if err != nil {
		return nil //nolint:nilerr // there are none
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.ModTime().Before(since.Add(-time.Second)) {
			continue
		}
		f, err := os.Open(filepath.Join(packs, e.Name()))
		if err != nil {
			continue // another process has packed anew
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return syncDir(packs)
}

// password returns the password as it is now.
func (r *remote) password() string {
	if r.set.PasswordFile == "" {
		return r.set.Password
	}
	b, err := os.ReadFile(r.set.PasswordFile)
	if err != nil || len(b) > maxPassword {
		return ""
	}
	return string(bytes.TrimRight(b, "\r\n"))
}

// auth returns what the remote is told about who we are, nil is nothing, and whether
// it is told by ssh.
func (r *remote) auth() (who transport.AuthMethod, viaSSH bool, err error) {
	end, err := transport.NewEndpoint(r.set.URL)
	if err != nil {
		return nil, false, down("the URL of the remote cannot be read", "", err)
	}
	user := r.set.User
	if user == "" {
		user = end.User
	}
	if user == "" {
		user = "git"
	}
	switch end.Protocol {
	case "http", "https":
		password := r.password()
		switch {
		case password == "" && r.set.PasswordFile != "":
			return nil, false, down("the file with the password of the remote cannot be read", "Look at remote.passwordFile.", nil)
		case password == "":
			return nil, false, nil // nobody
		case r.set.Bearer:
			return &http.TokenAuth{Token: password}, false, nil
		}
		return &http.BasicAuth{Username: user, Password: password}, false, nil
	case "ssh":
		who, err = r.sshAuth(user)
		return who, true, err
	}
	return nil, false, nil // a directory
}

func (r *remote) sshAuth(user string) (transport.AuthMethod, error) {
	if r.set.KeyFile == "" {
		return nil, down("ssh needs a key", "Set remote.keyFile.", nil)
	}
	keys, err := ssh.NewPublicKeysFromFile(user, r.set.KeyFile, r.set.KeyPassword)
	if err != nil {
		return nil, down("the ssh key cannot be read", "Look at remote.keyFile and remote.keyPassword.", err)
	}
	var files []string
	if r.set.KnownHosts != "" {
		files = []string{r.set.KnownHosts}
	}
	if keys.HostKeyCallback, err = ssh.NewKnownHostsCallback(files...); err != nil {
		return nil, down("the keys of known ssh servers cannot be read", "Look at remote.knownHosts.", err)
	}
	return keys, nil
}

// remoteStorage is a storage whose refs are written as [refs] does: the library
// would write them in place.
type remoteStorage struct {
	*filesystem.Storage

	refs *refs
}

// SetReference implements storer.ReferenceStorer.
func (s *remoteStorage) SetReference(ref *plumbing.Reference) error {
	if ref.Type() != plumbing.HashReference {
		return fmt.Errorf("%s is symbolic", ref.Name())
	}
	return s.refs.set(context.Background(), ref.Name().String(), ref.Hash())
}

// CheckAndSetReference implements storer.ReferenceStorer. The only refs that the
// library writes say what the remote was when it was last asked; another process
// that asks at the same time is as right.
func (s *remoteStorage) CheckAndSetReference(ref, _ *plumbing.Reference) error {
	return s.SetReference(ref)
}

var _ storage.Storer = (*remoteStorage)(nil)
