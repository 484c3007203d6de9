package git

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// The defaults and bounds of [Settings].
const (
	DefaultBranch     = "main"
	DefaultMaxFile    = 32 << 20 // as large as a frame gets; images fit, films do not
	DefaultMaxEntries = 10_000   // of a listing: some 2 MB of JSON
	DefaultPoll       = 5 * time.Second
	DefaultTimeout    = 30 * time.Second // of one exchange with the remote
	maxPull           = 24 * time.Hour
)

// Settings say which repository holds the contents, and how. The zero value of
// every field stands for its default; only Repository has none.
type Settings struct {
	// Repository is the directory of the repository: a bare one, or one with a
	// work tree whose checked out branch is another. It is made if it does not
	// exist.
	Repository string `json:"repository" path:"file"`
	// Branch is the branch that is the content. Default: main.
	Branch string `json:"branch,omitempty"`
	// ReadOnly refuses publishing, merging and restoring. Default: false.
	ReadOnly bool `json:"readOnly,omitempty"`
	// MaxFile is how many bytes a file may have. Larger ones can neither be read
	// nor written. Default: 33554432.
	MaxFile int64 `json:"maxFile,omitempty"`
	// MaxEntries is how many files and directories a listing may have.
	// Default: 10000.
	MaxEntries int `json:"maxEntries,omitempty"`
	// Poll is how often the branch is looked at where no event tells that it
	// moved. Default: 5s, and 500ms where the system has no such events.
	Poll duration.Duration `json:"poll,omitzero"`
	// Author makes the commits, and is their author where the session does not
	// say who it is. Default: Ropewalk <ropewalk@localhost>.
	Author Author `json:"author,omitzero"`
	// Workspaces says who may have drafts.
	Workspaces Workspaces `json:"workspaces,omitzero"`
	// Remote is a repository with which the branch is kept the same. Default:
	// none.
	Remote Remote `json:"remote,omitzero"`
}

// Author says who makes commits.
type Author struct {
	// Name is the name. Default: Ropewalk.
	Name string `json:"name,omitempty"`
	// Email is the mail address. Default: ropewalk@localhost.
	Email string `json:"email,omitempty"`
	// NameClaim is the claim of a session that has its name. Without it the
	// subject of the session is the name. Default: name.
	NameClaim string `json:"nameClaim,omitempty"`
	// EmailClaim is the claim of a session that has its mail address. Default:
	// email.
	EmailClaim string `json:"emailClaim,omitempty"`
}

// Workspaces says who may have drafts, and how they are selected.
type Workspaces struct {
	// Enabled lets everybody who is logged in have workspaces, selected by the
	// parameter "workspace". Default: false.
	Enabled bool `json:"enabled,omitempty"`
	// Claim is a claim of the session whose text selects a workspace where the
	// parameter does not. Default: none.
	Claim string `json:"claim,omitempty"`
	// Max is how many workspaces one subject may have. Default: 20.
	Max int `json:"max,omitempty"`
}

// Remote is where commits are fetched from and pushed to. Nothing is ever
// pushed by force.
type Remote struct {
	// URL is the address: https, http, ssh, user@host:path, or a directory. It
	// must not hold a password.
	URL string `json:"url,omitempty"`
	// Branch is the branch there. Default: that of Settings.
	Branch string `json:"branch,omitempty"`
	// Pull is how often is fetched. Default: only when git:/pull is published to.
	Pull duration.Duration `json:"pull,omitzero"`
	// Push sends each commit on when it is made. Default: only when git:/push is
	// published to.
	Push bool `json:"push,omitempty"`
	// Timeout is how long one exchange with it may take. Default: 30s.
	Timeout duration.Duration `json:"timeout,omitzero"`
	// User is the user name. Default: git, or what the URL says.
	User string `json:"user,omitempty"`
	// Password is the password, or the token, for http and https.
	Password string `json:"password,omitempty" secret:"true"`
	// PasswordFile is a file that holds it; it is read before each use.
	PasswordFile string `json:"passwordFile,omitempty" path:"file"`
	// Bearer sends the password as a bearer token instead. Default: false.
	Bearer bool `json:"bearer,omitempty"`
	// KeyFile is the private key for ssh.
	KeyFile string `json:"keyFile,omitempty" path:"file"`
	// KeyPassword opens the key.
	KeyPassword string `json:"keyPassword,omitempty" secret:"true"`
	// KnownHosts is the file with the keys of ssh servers that are trusted.
	// Default: known_hosts in ~/.ssh.
	KnownHosts string `json:"knownHosts,omitempty" path:"file"`
}

// Check reports what is wrong with the settings, naming the field. The error
// has CodeInvalidInput.
func (s *Settings) Check() error {
	switch {
	case s.Repository == "":
		return wrong("repository", "is missing", "Name the directory of the repository.")
	case s.Branch != "" && plumbing.NewBranchReferenceName(s.Branch).Validate() != nil:
		return wrong("branch", fmt.Sprintf("%.100q is no name of a branch", s.Branch), "Write it without refs/heads/.")
	case s.MaxFile < 0:
		return wrong("maxFile", "is negative", "")
	case s.MaxEntries < 0:
		return wrong("maxEntries", "is negative", "")
	case s.Workspaces.Max < 0:
		return wrong("workspaces.max", "is negative", "")
	case s.Workspaces.Claim != "" && !s.Workspaces.Enabled:
		return wrong("workspaces.claim", "needs workspaces.enabled", "")
	}
	return s.Remote.check()
}

func (r *Remote) check() error {
	switch {
	case *r != Remote{} && r.URL == "":
		return wrong("remote.url", "is missing", "Name the repository to pull from and push to.")
	case r.URL == "":
		return nil
	case r.Branch != "" && plumbing.NewBranchReferenceName(r.Branch).Validate() != nil:
		return wrong("remote.branch", fmt.Sprintf("%.100q is no name of a branch", r.Branch), "Write it without refs/heads/.")
	case r.Pull != 0 && (time.Duration(r.Pull) < time.Second || time.Duration(r.Pull) > maxPull):
		return wrong("remote.pull", "is not between 1s and 24h", "")
	case r.Password != "" && r.PasswordFile != "":
		return wrong("remote.passwordFile", "and remote.password are both given", "Give one of them.")
	case r.Bearer && r.Password == "" && r.PasswordFile == "":
		return wrong("remote.bearer", "needs a password", "")
	}
	return r.checkURL()
}

func (r *Remote) checkURL() error {
	if strings.ContainsAny(r.URL, "\n\r\x00") {
		return wrong("remote.url", "has a line break", "")
	}
	if !strings.Contains(r.URL, "://") {
		return nil // a directory, or user@host:path
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return wrong("remote.url", "is no URL", "") // not why: that would repeat a password
	}
	if _, has := u.User.Password(); has {
		return wrong("remote.url", "holds a password", "Give it as remote.password or in remote.passwordFile.")
	}
	switch u.Scheme {
	case "https", "http", "ssh", "file":
		return nil
	}
	return wrong("remote.url", fmt.Sprintf("has the scheme %.20q", u.Scheme), "Use https, http, ssh or a directory.")
}

func wrong(field, what, hint string) *message.Error {
	e := message.NewError(message.CodeInvalidInput, field+" "+what, hint)
	e.Path = field
	return e
}

// filled returns the settings with their defaults.
func (s Settings) filled() Settings {
	or := func(p *string, value string) {
		if *p == "" {
			*p = value
		}
	}
	or(&s.Branch, DefaultBranch)
	or(&s.Author.Name, "Ropewalk")
	or(&s.Author.Email, "ropewalk@localhost")
	or(&s.Author.NameClaim, "name")
	or(&s.Author.EmailClaim, "email")
	or(&s.Remote.Branch, s.Branch)
	if s.MaxFile == 0 {
		s.MaxFile = DefaultMaxFile
	}
	if s.MaxEntries == 0 {
		s.MaxEntries = DefaultMaxEntries
	}
	if s.Workspaces.Max == 0 {
		s.Workspaces.Max = 20
	}
	return s
}
