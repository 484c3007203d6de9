package route

import (
	"fmt"

	"github.com/Masterminds/semver/v3"

	"github.com/ropewalk/ropewalk/message"
)

// MaxVersionBytes is the length of a range of versions, and of a version that
// is taken for a semantic one.
const MaxVersionBytes = 256

// parseVersion reads what a server says is its version; nil if that is not a
// semantic version. "v1.2.3", "1.2" and "1" are.
func parseVersion(text string) *semver.Version {
	if text == "" || len(text) > MaxVersionBytes {
		return nil
	}
	v, err := semver.NewVersion(text)
	if err != nil {
		return nil
	}
	return v
}

// versions is a range of versions.
type versions struct{ in *semver.Constraints }

func parseVersions(text string) (versions, *message.Error) {
	if len(text) <= MaxVersionBytes {
		if in, err := semver.NewConstraint(text); err == nil {
			return versions{in}, nil
		}
	}
	return versions{}, message.NewError(message.CodeInvalidInput, fmt.Sprintf("%q is not a range of versions", shorten(text)),
		`Write for instance "^1.2", "~1.2.3", "1.x", ">=1.2 <2", or a version.`)
}

// has reports whether a version is in the range; nil is in none. As usual with
// semantic versions, 2.0.0-rc.1 is only in ranges that name such a version
// themselves, as ^2.0.0-0 does.
func (r versions) has(v *semver.Version) bool { return v != nil && r.in.Check(v) }
