package git

import (
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// denied is an error that somebody may not do what was asked for: it says nothing
// about the repository or the remote.
type denied struct{ error }

// Unwrap returns what users see.
func (d denied) Unwrap() error { return d.error }

// mayWrite checks that somebody may write files, where the right to the address
// that was published to does not tell. scheme is "json:" or "file:"; "" is either:
// a JSON document may be written by both.
func (s *Store) mayWrite(who author, scheme string, files ...string) error {
	for _, at := range files {
		switch {
		case content.IsCode(at) && (who.script || s.opt.Allow == nil):
			e := message.NewError(message.CodeForbidden, fmt.Sprintf("/%s is code, and is not written this way", short(at)),
				"Have somebody publish it to its own address who has the right code.")
			e.Path = "/" + at
			return e
		case s.opt.Allow != nil:
			if err := s.ask(who.who, scheme, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) ask(who *session.Session, scheme, at string) error {
	if scheme == "" {
		scheme = "file:"
		if isDocument(at) && s.opt.Allow(who, "json:/"+at, false) == nil {
			return nil
		}
	}
	return s.opt.Allow(who, scheme+"/"+at, content.IsCode(at))
}

// mayBecome checks that somebody may make a commit the branch, by the rights to
// the files that it has others than head. which picks those that need them.
func (s *Store) mayBecome(who author, head, to plumbing.Hash, which func(at string) bool) error {
	var roots [2]plumbing.Hash
	for i, h := range []plumbing.Hash{head, to} {
		var err error
		if roots[i], err = s.objects.treeOf(h); err != nil {
			return err
		}
	}
	changes, err := diff(s.objects, roots[0], roots[1])
	if err != nil {
		return err
	}
	for _, c := range changes {
		if !c.shown() || !which(c.path) {
			continue
		}
		if err := s.mayWrite(who, "", c.path); err != nil {
			return denied{err}
		}
	}
	return nil
}

// mayMerge checks the rights to what the merge of a workspace changes; that it may
// be drafted was checked then, but rights change, and what is in the way of a draft
// goes away with the merge.
func (s *Store) mayMerge(who author, head, to plumbing.Hash) error {
	if s.opt.Allow == nil && !who.script {
		return nil
	}
	return s.mayBecome(who, head, to, func(string) bool { return true })
}

// mayBring checks the rights to the code that somebody brings from the remote,
// whose other files are those of the operator. Nobody, who is nil, may: it is the
// schedule.
func (s *Store) mayBring(who *author, head, to plumbing.Hash) error {
	if who == nil {
		return nil
	}
	return s.mayBecome(*who, head, to, content.IsCode)
}

// mayRead tells whether somebody may see what is, or was, in a file.
func (s *Store) mayRead(who *session.Session, at string) bool {
	rights := s.opt.Rights
	if rights == nil {
		return true
	}
	return rights.MayRead(who, message.Address{Name: "file", Path: "/" + at}) ||
		isDocument(at) && rights.MayRead(who, message.Address{Name: "json", Path: "/" + at})
}

// unread is the error that somebody may not see what is in a file.
func unread(at string) error {
	e := message.NewError(message.CodeForbidden, fmt.Sprintf("what is in /%s is not for you", short(at)),
		"It needs the right watch on its address, file:/… or json:/…, and for code the right code, too.")
	e.Path = "/" + at
	return e
}
