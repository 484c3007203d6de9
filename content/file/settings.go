package file

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/internal/duration"
)

// The defaults of [Settings].
const (
	// DefaultMaxFile is far above what a page wants to show, and small enough that
	// a few of them fit into memory.
	DefaultMaxFile = 32 << 20
	// DefaultMaxEntries is what a listing shows in one message.
	DefaultMaxEntries = 10_000
	// DefaultPoll is how often is looked at what the system cannot watch.
	DefaultPoll = 2 * time.Second
)

// Settings says which directories a [Tree] serves, and how.
type Settings struct {
	// Root is the directory whose files are served: "/a/b.json" is the file
	// a/b.json in it. Either Root or Applications has to be set.
	Root string `json:"root,omitempty" path:"file"`
	// Applications are directories by the first segment of the path: with
	// {"shop":"/srv/shop"}, "/shop/b.json" is the file /srv/shop/b.json.
	Applications map[string]string `json:"applications,omitempty" path:"file"`
	// ReadOnly refuses to publish.
	ReadOnly bool `json:"readOnly,omitempty"`
	// MaxFile is how large a file may be, in bytes, to be read or published. The
	// default is 32 MiB.
	MaxFile int64 `json:"maxFile,omitempty"`
	// MaxEntries is how many files and directories a listing may have; a larger
	// one is an error. The default is 10,000.
	MaxEntries int `json:"maxEntries,omitempty"`
	// Hidden are patterns of names, such as "*.bak" or "node_modules", that are
	// treated as if they were not there, wherever they are. Capitals make no
	// difference. Names that begin with a dot are always hidden.
	Hidden []string `json:"hidden,omitempty"`
	// Poll has the files looked at this often, in place of being told by the
	// system when one changes. Without it, that is done, every two seconds, only
	// where the system does not tell: on network file systems, and when there are
	// more directories than it watches.
	Poll duration.Duration `json:"poll,omitzero"`
	// Rights tell of which files a listing may show the content. Nil: of all.
	Rights content.Rights `json:"-"`
	// Logger gets what an operator has to know. Nil means [slog.Default].
	Logger *slog.Logger `json:"-"`
}

// Check says what is wrong with the settings, without looking at the disk. Each
// error names the field.
func (s *Settings) Check() error {
	var errs []error
	switch {
	case s.Root == "" && len(s.Applications) == 0:
		errs = append(errs, errors.New("root: say which directory is served, or give applications"))
	case s.Root != "" && len(s.Applications) > 0:
		errs = append(errs, errors.New("root: there are applications, too; give only one of the two"))
	}
	for name, dir := range s.Applications {
		if why := BadName(name); why != "" {
			errs = append(errs, fmt.Errorf("applications.%s: a name of an application %s", name, why))
		}
		if dir == "" {
			errs = append(errs, fmt.Errorf("applications.%s: say which directory is served", name))
		}
	}
	if s.MaxFile < 0 {
		errs = append(errs, errors.New("maxFile: must not be negative"))
	}
	if s.MaxEntries < 0 {
		errs = append(errs, errors.New("maxEntries: must not be negative"))
	}
	for i, p := range s.Hidden {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			errs = append(errs, fmt.Errorf("hidden[%d]: %q is not a pattern of a name, such as *.bak", i, p))
		}
	}
	if s.Poll < 0 {
		errs = append(errs, errors.New("poll: must not be negative"))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// mounts returns the directories by their first segment, "" for the only one.
func (s *Settings) mounts() (map[string]*mount, error) {
	dirs := map[string]string{"": s.Root}
	if len(s.Applications) > 0 {
		dirs = s.Applications
	}
	mounts := make(map[string]*mount, len(dirs))
	for name, dir := range dirs {
		field := "root"
		if name != "" {
			field = "applications." + name
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		info, err := os.Stat(abs)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", field, err)
		case !info.IsDir():
			return nil, fmt.Errorf("%s: %s is not a directory", field, dir)
		}
		mounts[name] = &mount{name: name, dir: abs}
	}
	return mounts, nil
}
