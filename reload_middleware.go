package ropewalk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ropewalk/ropewalk/route"
)

// stackPlan turns the middleware of one configuration into that of another. What
// is new comes before what is old goes, so that no message passes with less than
// both have.
type stackPlan []func(*route.Stack) error

// apply does what was planned.
func (p stackPlan) apply(s *route.Stack) error {
	for _, step := range p {
		if err := step(s); err != nil {
			return err
		}
	}
	return nil
}

// placed is a configured middleware with what it is known by.
type placed struct {
	Middleware

	stage    route.Stage
	index    int
	settings json.RawMessage
}

func place(list []Middleware) ([]placed, error) {
	out := make([]placed, len(list))
	for i, m := range list {
		raw, err := json.Marshal(m.Settings)
		if err != nil {
			return nil, fmt.Errorf("middleware[%d].settings: %w", i, err)
		}
		if m.Name == "" {
			m.Name = m.Kind
		}
		out[i] = placed{Middleware: m, stage: route.Stage(m.Stage), index: i, settings: raw}
	}
	return out, nil
}

func (p *placed) same(q *placed) bool { return p.stage == q.stage && p.Name == q.Name }

func (p *placed) equal(q *placed) bool {
	return p.same(q) && p.Kind == q.Kind && bytes.Equal(p.settings, q.settings)
}

// find returns the one in list that is known by the same, or nil.
func find(list []placed, p *placed) *placed {
	for i := range list {
		if list[i].same(p) {
			return &list[i]
		}
	}
	return nil
}

// plan makes the middleware that next has and old has not, and tries the changes
// on a copy of the stack. Entries that are in neither stay where they are.
func (k middlewareKit) plan(stack *route.Stack, old, next []Middleware) (stackPlan, error) {
	if old == nil {
		old = k.standard()
	}
	if next == nil {
		next = k.standard()
	}
	before, err := place(old)
	if err != nil {
		return nil, err
	}
	after, err := place(next)
	if err != nil {
		return nil, err
	}
	trial, err := copyOf(stack)
	if err != nil {
		return nil, err
	}
	var p stackPlan
	try := func(i int, step func(*route.Stack) error) error {
		p = append(p, step)
		if err := step(trial); err != nil {
			return fmt.Errorf("middleware[%d]: %w", i, err)
		}
		return nil
	}
	for i := range after {
		if err := k.put(trial, before, after, i, try); err != nil {
			return nil, err
		}
	}
	for _, stage := range route.Stages() {
		if err := order(trial, stage, after, try); err != nil {
			return nil, err
		}
	}
	for i := range before {
		m := &before[i]
		if find(after, m) == nil && has(trial, m.stage, m.Name) {
			if err := try(m.index, func(s *route.Stack) error { return s.Remove(m.stage, m.Name) }); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// put plans what has to be done for one entry of the new configuration.
func (k middlewareKit) put(trial *route.Stack, before, after []placed, i int, try func(int, func(*route.Stack) error) error) error {
	m := &after[i]
	if find(after[:i], m) != nil {
		return fmt.Errorf("middleware[%d]: stage %s has a middleware %q already; give one of them a name", i, m.stage, m.Name)
	}
	was := find(before, m)
	if was != nil && was.equal(m) {
		return nil // also if somebody has taken it out of the running node
	}
	e, err := k.entry(m.Kind, m.Name, m.settings)
	if err != nil {
		return fmt.Errorf("middleware[%d]: %w", i, err)
	}
	if has(trial, m.stage, m.Name) {
		return try(i, func(s *route.Stack) error { return s.Replace(m.stage, m.Name, e) })
	}
	return try(i, func(s *route.Stack) error { return s.Insert(m.stage, e, route.Last()) })
}

// order plans the moves after which the entries of a stage are in the order of
// the configuration.
func order(trial *route.Stack, stage route.Stage, after []placed, try func(int, func(*route.Stack) error) error) error {
	last := ""
	for i := range after {
		m := &after[i]
		if m.stage != stage || !has(trial, stage, m.Name) {
			continue
		}
		if behind := last; behind != "" && indexOf(trial, stage, m.Name) < indexOf(trial, stage, behind) {
			if err := try(i, func(s *route.Stack) error { return s.Move(stage, m.Name, route.After(behind)) }); err != nil {
				return err
			}
		}
		last = m.Name
	}
	return nil
}

// copyOf returns a stack with the names of another and nothing behind them.
func copyOf(stack *route.Stack) (*route.Stack, error) {
	out := route.NewStack()
	for _, st := range stack.List() {
		for _, e := range st.Entries {
			nothing := route.Entry{Name: e.Name, Kind: e.Kind, Middleware: func(next route.Handler) route.Handler { return next }}
			if err := out.Insert(st.Stage, nothing, route.Last()); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func has(s *route.Stack, stage route.Stage, name string) bool { return indexOf(s, stage, name) >= 0 }

// indexOf is the place of an entry in its stage, or -1.
func indexOf(s *route.Stack, stage route.Stage, name string) int {
	for _, st := range s.List() {
		if st.Stage == stage {
			return slices.IndexFunc(st.Entries, func(e route.EntryInfo) bool { return e.Name == name })
		}
	}
	return -1
}
