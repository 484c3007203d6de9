package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// Options are what a [Store] needs besides its settings. The zero value is good.
type Options struct {
	// Logger gets what an operator has to know. Nil means [slog.Default].
	Logger *slog.Logger
	// Allow is asked whether somebody may publish to an address such as
	// json:/shop/a.json, for each file that is written by way of another address: by
	// a publish to a directory, a merge, or a restore, and for each file that is run
	// and that a pull or push by somebody brings from the remote. code is set for
	// files that are run. An error refuses all of it. Nil: the right to publish to
	// that other address is enough, but code can only be published to its own and
	// merged.
	Allow func(s *session.Session, address string, code bool) error
	// Rights tell of which files a listing, the history and the report of a conflict
	// may show the content. Nil: of all. With them, what is at git: is personal; see
	// [route.Topic].
	Rights content.Rights
}

// Store is a branch of a repository as a tree of contents. Make one with [New],
// and close it, after everything that serves it. All methods may be called from any
// goroutine.
type Store struct {
	set     Settings
	opt     Options
	log     *slog.Logger
	branch  string // name of the ref
	refs    *refs
	objects *objects
	lane    *lane.Lane
	watch   *watcher
	remote  *remote       // nil: none
	writing chan struct{} // holds one token while nobody writes

	mu    sync.Mutex
	views map[string]*view // by ref of the workspace, "" for the branch
}

// New opens a repository, and makes it if it is not there. Nothing is fetched
// before New returns. An error of the settings has CodeInvalidInput and names the
// field.
func New(set Settings, opt Options) (*Store, error) {
	if err := set.Check(); err != nil {
		return nil, err
	}
	set = set.filled()
	dir, err := openRepository(&set)
	if err != nil {
		return nil, err
	}
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	log := opt.Logger.With("branch", set.Branch)
	s := &Store{
		set: set, opt: opt, log: log,
		branch:  "refs/heads/" + set.Branch,
		refs:    &refs{dir: dir, log: log},
		objects: openObjects(dir, set.MaxFile),
		lane:    lane.New(context.Background(), log),
		writing: make(chan struct{}, 1),
		views:   map[string]*view{},
	}
	s.writing <- struct{}{}
	if _, err := s.view(s.lane.Context(), ""); err != nil {
		return nil, wrong("branch", "cannot be read: "+failed(err).Error(), "Run git fsck in the repository.")
	}
	s.watch = newWatcher(s)
	if set.Remote.URL != "" {
		s.remote = newRemote(s)
	}
	if !set.ReadOnly || s.remote != nil {
		s.lane.Go("content/git compact", s.compact)
	}
	return s, nil
}

// Close ends what the store does in the background, and waits for it.
func (s *Store) Close() error {
	s.lane.Close()
	s.watch.close()
	s.objects.mu.Lock()
	defer s.objects.mu.Unlock()
	return s.objects.storage.Close()
}

// Personal tells whether what is at an address may depend on who looks, as it
// does with workspaces. It is what a service has to say in [route.Topic].
func (s *Store) Personal() bool { return s.set.Workspaces.Enabled }

// openRepository returns the git directory that the settings mean.
func openRepository(set *Settings) (string, error) {
	dir := filepath.Clean(set.Repository)
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0:
		return dir, initRepository(set, dir)
	case err != nil:
		return "", wrong("repository", "cannot be read: "+reason(err), "Name a directory that the node may read.")
	}
	worktree := false
	if info, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
		if !info.IsDir() {
			return "", wrong("repository", "is a linked work tree", "Name the repository that it belongs to.")
		}
		dir, worktree = filepath.Join(dir, ".git"), true
	}
	for _, part := range []string{"objects", "refs"} {
		if info, err := os.Stat(filepath.Join(dir, part)); err != nil || !info.IsDir() {
			return "", wrong("repository", "is a directory with other things than a repository",
				"Name a repository, or a directory that is empty or not there.")
		}
	}
	return dir, checkRepository(set, dir, worktree)
}

func initRepository(set *Settings, dir string) error {
	if _, err := gogit.PlainInitWithOptions(dir, &gogit.PlainInitOptions{
		Bare: true, InitOptions: gogit.InitOptions{DefaultBranch: plumbing.NewBranchReferenceName(set.Branch)},
	}); err != nil {
		return wrong("repository", "cannot be made: "+reason(err), "Name a directory that the node may write to.")
	}
	return nil
}

// checkRepository refuses what cannot be served, or would be harmed.
func checkRepository(set *Settings, dir string, worktree bool) error {
	config, err := os.ReadFile(filepath.Join(dir, "config"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wrong("repository", "cannot be read: "+reason(err), "")
	}
	switch low := strings.ToLower(string(config)); {
	case strings.Contains(low, "refstorage"):
		return wrong("repository", "keeps its refs in another form than files", "Make it anew with --ref-format=files.")
	case strings.Contains(low, "objectformat"):
		return wrong("repository", "does not use SHA-1", "Make it anew with --object-format=sha1.")
	}
	if _, err := os.Stat(filepath.Join(dir, "shallow")); err == nil {
		return wrong("repository", "is a shallow clone", "Fetch the whole history: git fetch --unshallow.")
	}
	if info, err := os.Stat(filepath.Join(dir, "objects", "info", "alternates")); err == nil && info.Size() > 0 {
		return wrong("repository", "takes objects from another one",
			"Copy them: git repack -a -d, and remove objects/info/alternates.")
	}
	head, err := os.ReadFile(filepath.Join(dir, "HEAD"))
	if err != nil {
		return wrong("repository", "has no HEAD: "+reason(err), "")
	}
	if worktree && !set.ReadOnly && strings.TrimSpace(string(head)) == "ref: refs/heads/"+set.Branch {
		return wrong("branch", "is checked out in the work tree of the repository",
			"Use a bare repository (git clone --bare), or check another branch out there.")
	}
	return nil
}

// reason is an error of the system without the path.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return err.Error()
}

// view is what somebody sees: the branch, or a workspace over it. It does not
// change.
type view struct {
	head  plumbing.Hash // commit of the branch; zero: it has none
	draft plumbing.Hash // commit of the workspace; zero: it has none
	base  plumbing.Hash // commit from which the workspace began; zero without one
	drew  []change      // what the workspace changed since
	root  plumbing.Hash // tree; zero: nothing
	trees trees
}

// view returns what a workspace shows now, or the branch for "".
func (s *Store) view(ctx context.Context, workspace string) (*view, error) {
	head, err := s.refs.read(s.branch)
	if err != nil {
		return nil, err
	}
	var draft plumbing.Hash
	if workspace != "" {
		if draft, err = s.refs.read(workspace); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	v := s.views[workspace]
	s.mu.Unlock()
	if v != nil && v.head == head && v.draft == draft {
		return v, nil
	}
	if v, err = s.makeView(ctx, head, draft); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.views) > 256 {
		clear(s.views)
	}
	s.views[workspace] = v
	return v, nil
}

func (s *Store) makeView(ctx context.Context, head, draft plumbing.Hash) (*view, error) {
	root, err := s.objects.treeOf(head)
	if err != nil {
		return nil, err
	}
	v := &view{head: head, draft: draft, root: root, trees: s.objects}
	if draft.IsZero() || draft == head {
		v.base = draft
		return v, nil
	}
	drawn, err := s.objects.treeOf(draft)
	if err != nil {
		return nil, err
	}
	if !head.IsZero() {
		rel, err := s.objects.relate(ctx, draft, head)
		if err != nil {
			return nil, err
		}
		v.base = rel.base
	}
	base, err := s.objects.treeOf(v.base)
	if err != nil {
		return nil, err
	}
	if v.drew, err = diff(s.objects, base, drawn); err != nil {
		return nil, err
	}
	b := s.objects.batch()
	edits := make(map[string]leaf, len(v.drew))
	for _, c := range v.drew {
		edits[c.path] = c.to
	}
	if v.root, err = b.apply(root, edits); err != nil {
		return nil, err
	}
	b.todo = nil // it is only looked at
	v.trees = b
	return v, nil
}

// lockWriting waits until nobody else writes. The caller calls unlock.
func (s *Store) lockWriting(ctx context.Context) (unlock func(), err error) {
	select {
	case <-s.writing:
		return func() { s.writing <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.lane.Context().Done():
		return nil, message.NewError(message.CodeShuttingDown, "the repository is being closed", "")
	}
}

// workspaces is below what those of all subjects are.
const workspaces = "refs/ropewalk/workspaces/"

// prefix returns below what the workspaces of somebody are.
func prefix(who *session.Session) string {
	part := refPart(who.Subject)
	if who.Issuer != "" {
		part = refPart(who.Issuer + " " + who.Subject)
	}
	if len(part) > 200 { // names of files end at 255
		part = "h-" + plumbing.ComputeHash(plumbing.BlobObject, []byte(part)).String()
	}
	return workspaces + part + "/"
}

// workspace returns the ref of the workspace that somebody has selected by a
// parameter or a claim; "" for none.
func (s *Store) workspace(who *session.Session, name string) (string, error) {
	field := "workspace"
	if name == "" && s.set.Workspaces.Claim != "" {
		v, _ := who.Claim(s.set.Workspaces.Claim)
		name, _ = v.(string)
		field = "claims." + s.set.Workspaces.Claim
	}
	switch {
	case name == "":
		return "", nil
	case !s.set.Workspaces.Enabled:
		return "", invalid(field, "there are no workspaces here", "Leave it out, or set content.git.workspaces.enabled in the configuration of the node.")
	case !who.Authenticated():
		return "", message.NewError(message.CodeUnauthenticated, "a workspace belongs to somebody", "Log in, and try again.")
	case !isWorkspaceName(name):
		return "", invalid(field, fmt.Sprintf("%.80q is no name of a workspace", name),
			"Use at most 64 small letters, digits, - and _, beginning with a letter or digit.")
	}
	return prefix(who) + name, nil
}

// signatureText makes a claim fit for a line of a commit.
func signatureText(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '<' || r == '>' || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	const most = 200
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return strings.Trim(text, " .,:;\"'\\")
}

func claimText(who *session.Session, name string) string {
	v, _ := who.Claim(name)
	text, _ := v.(string)
	return signatureText(text)
}

// signatures returns the author and the committer of what somebody does, in the
// form in which a commit has them.
func (s *Store) signatures(who *session.Session, now time.Time) (author, committer string) {
	at := fmt.Sprintf("%d %s", now.Unix(), now.Format("-0700"))
	committer = fmt.Sprintf("%s <%s> %s", signatureText(s.set.Author.Name), signatureText(s.set.Author.Email), at)
	if who == nil || !who.Authenticated() {
		return committer, committer
	}
	name, email := claimText(who, s.set.Author.NameClaim), claimText(who, s.set.Author.EmailClaim)
	subject := signatureText(who.Subject)
	if name == "" {
		name = subject
	}
	if email == "" && strings.Contains(subject, "@") {
		email = subject
	}
	if name == "" {
		return committer, committer
	}
	return fmt.Sprintf("%s <%s> %s", name, email, at), committer
}
