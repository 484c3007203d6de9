package route

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/ropewalk/ropewalk/message"
)

// maxViews is how many views a roster keeps. Which ranges are asked for is up
// to the callers; beyond this they are worked out for each call.
const maxViews = 16

// view is who of a roster comes into question for some selections. It never
// changes.
type view struct {
	set            *setting
	scope, version string

	ends   []Endpoint
	shares []share // nil: calls are not split by version
}

// share is the part of the calls that goes to some servers.
type share struct {
	upTo float64 // of 1; the next share begins there
	in   versions
	ends []Endpoint
}

// setting is what all views depend on. It never changes: a change makes
// another, and views of the old one are forgotten.
type setting struct {
	home    *Place
	weights map[string]*weights // by service
}

// weights are the shares of calls that go to ranges of versions of a service.
type weights struct {
	given map[string]float64
	parts []weight // in order of text, so that keys move as little as can be when one changes
}

type weight struct {
	in    versions
	share float64
}

func (set *setting) within(scope string, e Endpoint) bool {
	switch scope {
	case ScopeNode:
		return e.Local()
	case ScopeZone:
		return set.home.near(e)
	}
	return true
}

// view returns what a selection leaves of a roster.
func (r *roster) view(set *setting, scope, version string) (*view, error) {
	kept := r.views.Load()
	if kept != nil {
		for _, v := range *kept {
			if v.set == set && v.scope == scope && v.version == version {
				return v, nil
			}
		}
	}
	v, err := r.newView(set, scope, version)
	if err != nil {
		return nil, err
	}
	var next []*view
	if kept != nil {
		next = slices.DeleteFunc(slices.Clone(*kept), func(v *view) bool { return v.set != set })
	}
	if len(next) < maxViews {
		next = append(next, v)
		r.views.CompareAndSwap(kept, &next) // if somebody was faster, the next call tries again
	}
	return v, nil
}

func (r *roster) newView(set *setting, scope, version string) (*view, error) {
	v := &view{set: set, scope: scope, version: version}
	var in versions
	if version != "" {
		var err *message.Error
		if in, err = parseVersions(version); err != nil {
			return nil, inSelection(err)
		}
	}
	v.ends = r.those(func(i int) bool {
		return set.within(scope, r.ends[i]) && (version == "" || in.has(r.seats[i].version))
	})
	if w := set.weights[r.service()]; w != nil && version == "" {
		v.shares = r.split(w, func(i int) bool { return set.within(scope, r.ends[i]) })
	}
	return v, nil
}

// those returns the servers that a function wants; the roster's own list if it
// wants all, so that strategies which go by the list see no other.
func (r *roster) those(want func(i int) bool) []Endpoint {
	var out []Endpoint
	for i, e := range r.ends {
		if want(i) {
			out = append(out, e)
		}
	}
	if len(out) == len(r.ends) {
		return r.ends
	}
	return slices.Clip(out)
}

// service returns the name of the service, or "" if the roster is of several.
func (r *roster) service() string {
	name := r.seats[0].name
	for i := range r.seats {
		if r.seats[i].name != name {
			return ""
		}
	}
	return name
}

// split returns the shares of the ranges that have servers.
func (r *roster) split(w *weights, want func(i int) bool) []share {
	var out []share
	total := 0.0
	for _, p := range w.parts {
		ends := r.those(func(i int) bool { return want(i) && p.in.has(r.seats[i].version) })
		if len(ends) > 0 {
			total += p.share
			out = append(out, share{total, p.in, ends})
		}
	}
	for i := range out {
		out[i].upTo /= total
	}
	return out
}

// pick returns the share that a call falls into: by chance, or by its key if the
// same key has to stay with the same version. There is at least one.
func pick(shares []share, strategy, key string) *share {
	at := rand.Float64() //nolint:gosec // spreads load, guards nothing
	if strategy == BySticky {
		at = keyShare(key)
	}
	for i := range shares {
		if at < shares[i].upTo {
			return &shares[i]
		}
	}
	return &shares[len(shares)-1] // rounding
}

// keyShare puts a key somewhere from 0 to below 1, in the same place on every
// node. It has nothing to do with the server to which sticky takes the key.
func keyShare(key string) float64 {
	return float64(mix(mix(fnv(key)))>>11) / (1 << 53)
}

func newWeights(given map[string]float64) (*weights, error) {
	w := &weights{given: maps.Clone(given)}
	total := 0.0
	for _, text := range slices.Sorted(maps.Keys(given)) {
		in, err := parseVersions(text)
		if err != nil {
			return nil, err
		}
		n := given[text]
		if n < 0 || math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, message.NewError(message.CodeInvalidInput, fmt.Sprintf("the share of %q is not a number from 0 on", shorten(text)),
				"Give the share in percent, or any other unit that is the same for all.")
		}
		if total += n; n > 0 {
			w.parts = append(w.parts, weight{in, n})
		}
	}
	if total == 0 || math.IsInf(total, 0) {
		return nil, message.NewError(message.CodeInvalidInput, "no range of versions has a share", "Give at least one of them a share above 0.")
	}
	return w, nil
}

// inSelection makes what is wrong with a range the fault of a message.
func inSelection(err *message.Error) *message.Error {
	err.Code, err.Path = message.CodeBadMessage, "str"
	return err
}

// maxListed is how many versions an error lists.
const maxListed = 8

// nobodyIn is the error of a selection that leaves nobody of those who serve a
// route, given the versions that there are within the scope.
func nobodyIn(sel Selection, set *setting, route string, there []seatVersion) error {
	if len(there) == 0 {
		where := "on this node"
		if sel.Scope == ScopeZone {
			where = "in the zone of this node"
			if set.home.Zone != "" {
				where += ", " + shorten(set.home.Zone)
			}
		}
		return message.NewError(message.CodeServiceDown, "nobody serves "+route+" "+where,
			fmt.Sprintf("The call asked for the scope %q; others serve it elsewhere, and a call without a scope reaches them.", sel.Scope))
	}
	return message.NewError(message.CodeServiceDown,
		fmt.Sprintf("nobody serves %s in a version of the range %q; there is %s", route, shorten(sel.Version), listed(there)),
		"Ask for a range that one of them is in, or start a server of that version.")
}

// seatVersion is what a server says is its version, and what it is.
type seatVersion struct {
	text string
	is   *semver.Version
}

// listed names the versions, the newest first.
func listed(there []seatVersion) string {
	slices.SortStableFunc(there, func(a, b seatVersion) int {
		switch {
		case a.is == nil || b.is == nil:
			return cmp.Or(boolOrder(a.is == nil, b.is == nil), cmp.Compare(a.text, b.text))
		default:
			return cmp.Or(b.is.Compare(a.is), cmp.Compare(a.text, b.text))
		}
	})
	there = slices.CompactFunc(there, func(a, b seatVersion) bool { return a.text == b.text })
	var words []string
	for i, v := range there {
		switch {
		case i == maxListed:
			words = append(words, strconv.Itoa(len(there)-i)+" more")
		case i > maxListed: // counted above
		case v.text == "":
			words = append(words, "one without a version")
		case v.is == nil:
			words = append(words, fmt.Sprintf("%.40q, which is no semantic version", v.text))
		default:
			words = append(words, shorten(v.text))
		}
	}
	return strings.Join(words, ", ")
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
