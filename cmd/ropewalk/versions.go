package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ropewalk/ropewalk/nodeapi"
)

// versionsCmd has a verb for looking and one for changing.
type versionsCmd struct {
	List versionsListCmd `cmd:"" default:"withargs" help:"List which share of the calls goes to which versions."`
	Set  versionsSetCmd  `cmd:"" help:"Split the calls of a service, as long as the nodes run."`
}

// Help is printed below the flags.
func (*versionsCmd) Help() string {
	return `Calls that ask for no version themselves are shared among the versions of a service by weight: a canary. Each node splits
the calls of its own clients, so this looks at and changes all nodes, unless one is named with --node. A node that is
started later has what its configuration says in calls.versions.

Examples:

  ropewalk versions
  ropewalk versions set math '^1=95' '^2.0.0-0=5'
  ropewalk versions set math --none`
}

// versionNodes are the nodes that are asked: all, or one.
type versionNodes struct {
	target
	Node string `placeholder:"NODE" help:"Only this node of the mesh, by name or id. Default: all."`
}

func (v *versionNodes) nodes() *nodesTarget {
	return &nodesTarget{nodeTarget{v.target, v.Node}, v.Node == ""}
}

type versionsListCmd struct {
	versionNodes
}

// Run lists.
func (v *versionsListCmd) Run(ctx context.Context, w *world) error {
	return showVersions(ctx, w, v.nodes(), "/versions", nil)
}

type versionsSetCmd struct {
	versionNodes
	Service string   `arg:"" help:"Which service, such as math."`
	Weights []string `arg:"" optional:"" name:"range=share" sep:"none" help:"A range of versions and its share of the calls; the shares are in any unit."`
	None    bool     `help:"Split the calls no longer."`
}

// Run splits.
func (v *versionsSetCmd) Run(ctx context.Context, w *world) error {
	if (len(v.Weights) == 0) != v.None {
		return usage("give shares, or --none to split the calls no longer", "Write for instance: ropewalk versions set math '^1=95' '^2=5'")
	}
	in := nodeapi.SetVersions{Service: v.Service, Weights: make(map[string]float64, len(v.Weights))}
	for _, word := range v.Weights {
		at := strings.LastIndexByte(word, '=') // a range may have one, too
		weight, err := strconv.ParseFloat(word[at+1:], 64)
		if at < 1 || err != nil {
			return usage(word+" is not RANGE=SHARE", "Write for instance: '^1=95'")
		}
		in.Weights[word[:at]] = weight
	}
	return showVersions(ctx, w, v.nodes(), "/versions/set", in)
}

func showVersions(ctx context.Context, w *world, t *nodesTarget, path string, in any) error {
	return showAll(ctx, w, t, path, in, func(v nodeapi.Versions) error { return printVersions(w, v) })
}

func printVersions(w *world, v nodeapi.Versions) error {
	if len(v) == 0 {
		return w.printf("no calls are split\n")
	}
	t := newTable("SERVICE", "VERSIONS", "SHARE")
	for _, service := range slices.Sorted(maps.Keys(v)) {
		total := 0.0
		for _, weight := range v[service] {
			total += weight
		}
		name := service
		for _, versions := range slices.Sorted(maps.Keys(v[service])) {
			t.add(name, versions, strconv.FormatFloat(100*v[service][versions]/total, 'f', 1, 64)+" %")
			name = ""
		}
	}
	return t.print(w)
}
