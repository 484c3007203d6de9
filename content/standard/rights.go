package standard

import (
	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
)

// ruled is a node that has rules.
type ruled interface {
	// Permissions are the rules that hold now; nil if the program decides itself.
	Permissions() *policy.Policy
	// WatchPermissions tells when they are replaced.
	WatchPermissions(changed func()) (stop func())
}

// readers are the rules of a node about single files.
type readers struct{ ruled }

// readersOf returns them; nil if the node has no rules that could be asked.
func readersOf(node Node) content.Rights {
	n, ok := node.(ruled)
	if !ok || n.Permissions() == nil {
		return nil
	}
	return readers{n}
}

// MayRead implements content.Rights. A rule that depends on a listener or an IP
// does not allow it.
func (r readers) MayRead(s *session.Session, a message.Address) bool {
	rules := r.Permissions()
	may := func(v policy.Verb) bool { return rules.Decide(s, policy.Ask{Verb: v, Address: a}).Allowed }
	return may(policy.Watch) && (!content.IsCode(a.Path) || may(policy.Code))
}

// Watch implements content.Rights.
func (r readers) Watch(changed func()) (stop func()) { return r.WatchPermissions(changed) }

// mayPublish returns what tells whether somebody may publish to an address, for
// files that are written by way of another; nil if the node has no rules that
// could be asked. A rule that depends on a listener or an IP does not allow it
// here, where neither is known.
func mayPublish(node Node) func(s *session.Session, address string, code bool) error {
	n, ok := node.(ruled)
	if !ok || n.Permissions() == nil {
		return nil
	}
	return func(s *session.Session, address string, code bool) error {
		a, err := message.ParseAddress(address)
		if err != nil {
			return err
		}
		verbs := []policy.Verb{policy.Publish, policy.Code}
		if !code {
			verbs = verbs[:1]
		}
		rules := n.Permissions()
		for _, verb := range verbs {
			ask := policy.Ask{Verb: verb, Address: a}
			if d := rules.Decide(s, ask); !d.Allowed {
				return d.Error(s, ask)
			}
		}
		return nil
	}
}
