package git

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

// What can be asked, and what can be done, in the order in which it is listed.
var (
	questions = []string{"log", "diff", "show", "status", "branches", "workspaces"}
	deeds     = []string{"restore", "merge", "discard", "pull", "push"}
)

// Git returns the provider of git: the history of the tree. What only looks can
// be called, got and watched: log, diff, show, status, branches and workspaces. What
// writes is published to, so that it needs the right to publish: restore, merge,
// discard, pull and push.
func (s *Store) Git() content.Provider { return &history{s} }

type history struct{ store *Store }

// parse returns what a request asks for. body is that of a call or publish.
func (h *history) parse(r *content.Request, body []byte) (verb string, q *query, err error) {
	in := &input{}
	for _, b := range [][]byte{r.Params, body} {
		if len(b) == 0 {
			continue
		}
		if err := json.Unmarshal(b, in); err != nil {
			return "", nil, invalid("body", "the input cannot be read", `Send an object such as {"limit":10}; docs/reference/content.md has all fields.`)
		}
	}
	verb, rest, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/")
	if !slices.Contains(questions, verb) && !slices.Contains(deeds, verb) {
		return "", nil, content.NotFound("/"+short(verb), "There is /"+strings.Join(slices.Concat(questions, deeds), ", /")+".")
	}
	at, err := checkPath("/" + rest)
	if err != nil {
		return "", nil, err
	}
	ws, err := h.store.workspace(r.Session, in.Workspace)
	if err != nil {
		return "", nil, err
	}
	return verb, &query{input: in, author: authorOf(r), workspace: ws, at: at}, nil
}

// Open implements [content.Provider].
func (h *history) Open(_ context.Context, r *content.Request) (content.Resource, error) {
	verb, q, err := h.parse(r, nil)
	if err != nil {
		return nil, err
	}
	if slices.Contains(deeds, verb) {
		return nil, message.NewError(message.CodeUnimplemented, "git:/"+verb+" writes, and has no content", "Publish to it.")
	}
	who := ""
	var rights content.Rights
	switch verb {
	case "workspaces", "status":
		who = prefix(r.Session)
	case "diff", "show":
		if rights = h.store.opt.Rights; rights != nil {
			who = content.Who(r.Session)
		}
	}
	in, err := json.Marshal(q.input)
	if err != nil {
		return nil, err
	}
	return &resource{
		store: h.store, key: fmt.Sprintf("git %s %q %q %q %s", verb, q.workspace, q.at, who, in),
		spot: follower{workspace: q.workspace, path: q.at, refs: true},
		get:  func(ctx context.Context) (content.Content, error) { return h.ask(ctx, verb, q) }, rights: rights,
	}, nil
}

// Call implements [content.Caller].
func (h *history) Call(ctx context.Context, r *content.Request, c content.Content) (content.Content, error) {
	if c.ContentType != "" {
		return content.Content{}, invalid("body", "the input is no JSON", "")
	}
	verb, q, err := h.parse(r, c.Body)
	if err != nil {
		return content.Content{}, err
	}
	if slices.Contains(deeds, verb) {
		return content.Content{}, message.NewError(message.CodeUnimplemented, "git:/"+verb+" writes, which a call may not", "Publish to it.")
	}
	out, err := h.ask(ctx, verb, q)
	if err != nil {
		return content.Content{}, h.store.fault(ctx, err)
	}
	return out, nil
}

// ask answers a question.
func (h *history) ask(ctx context.Context, verb string, q *query) (content.Content, error) {
	var out any
	var err error
	switch verb {
	case "log":
		out, err = h.store.history(ctx, q)
	case "diff":
		out, err = h.store.diff(ctx, q)
	case "show":
		out, err = h.store.show(ctx, q)
	case "status":
		out, err = h.store.status(ctx, q)
	case "branches":
		out, err = h.store.branches()
	case "workspaces":
		out, err = h.store.listWorkspaces(ctx, q.who)
	}
	if err != nil {
		return content.Content{}, err
	}
	return jsonContent(out)
}

// Publish implements [content.Publisher]: it carries out what writes.
func (h *history) Publish(ctx context.Context, r *content.Request, c content.Content) (content.Content, error) {
	if c.ContentType != "" {
		return content.Content{}, invalid("body", "the input is no JSON", "")
	}
	verb, q, err := h.parse(r, c.Body)
	if err != nil {
		return content.Content{}, err
	}
	res, err := h.do(ctx, verb, q)
	if err != nil {
		return content.Content{}, h.store.fault(ctx, err)
	}
	return jsonContent(res)
}

func (h *history) do(ctx context.Context, verb string, q *query) (*Result, error) {
	s := h.store
	if verb != "restore" && q.at != "" {
		return nil, content.NotFound("git:/"+verb+"/"+short(q.at), "Leave out the path.")
	}
	switch verb {
	case "restore":
		w, err := s.restore(ctx, q)
		if err != nil {
			return nil, err
		}
		return s.commit(ctx, w)
	case "merge":
		return s.mergeWorkspace(ctx, q)
	case "discard":
		return s.discard(ctx, q)
	case "pull", "push":
		return s.sync(ctx, verb, q)
	}
	return nil, message.NewError(message.CodeUnimplemented, "git:/"+verb+" is a question; nothing can be published to it", "Get, watch or call it.")
}

// sync pulls or pushes.
func (s *Store) sync(ctx context.Context, verb string, q *query) (*Result, error) {
	switch {
	case s.remote == nil:
		return nil, message.NewError(message.CodeNotFound, "there is no remote", "Set content.git.remote.url in the configuration of the node.")
	case q.Prefer != "" && q.Prefer != preferOurs && q.Prefer != preferTheirs:
		return nil, invalid("prefer", "prefer is neither ours nor theirs", "ours is the branch here, theirs the remote.")
	case verb == "pull":
		return s.remote.pull(ctx, q.Prefer, &q.author)
	}
	return s.remote.pushAll(ctx, &q.author)
}

// Status is what the content is at, and how it and the remote are.
type Status struct {
	// Branch is the branch that is the content, and Commit its newest commit; empty:
	// it has none yet.
	Branch string `json:"branch"`
	Commit string `json:"commit"`
	// ReadOnly is true if nothing can be published.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Workspace is the workspace that was asked for.
	Workspace *Workspace `json:"workspace,omitempty"`
	// Remote is how the remote is; missing: there is none.
	Remote *RemoteState `json:"remote,omitempty"`
}

func (s *Store) status(ctx context.Context, q *query) (*Status, error) {
	v, err := s.view(ctx, "")
	if err != nil {
		return nil, err
	}
	out := &Status{Branch: s.set.Branch, Commit: hashText(v.head), ReadOnly: s.set.ReadOnly}
	if q.workspace != "" {
		if out.Workspace, err = s.describeWorkspace(ctx, q.workspace); err != nil {
			return nil, err
		}
	}
	if s.remote != nil {
		out.Remote, err = s.remote.snapshot(ctx)
	}
	return out, err
}

// Branch is a branch of the repository.
type Branch struct {
	Name   string `json:"name"`
	Commit string `json:"commit"`
	// Content is true for the branch that is the content.
	Content bool `json:"content,omitempty"`
}

func (s *Store) branches() ([]Branch, error) {
	const heads = "refs/heads/"
	all, err := s.refs.list(heads)
	if err != nil {
		return nil, err
	}
	list := make([]Branch, 0, len(all))
	for ref, h := range all {
		list = append(list, Branch{strings.TrimPrefix(ref, heads), h.String(), ref == s.branch})
	}
	slices.SortFunc(list, func(a, b Branch) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// conflictPaths returns the files that an error of a merge names.
func conflictPaths(e *message.Error) []string {
	var in struct {
		Conflicts []struct {
			Path string `json:"path"`
		} `json:"conflicts"`
	}
	if json.Unmarshal(e.Details, &in) != nil {
		return nil
	}
	var paths []string
	for _, c := range in.Conflicts {
		paths = append(paths, path.Clean(c.Path))
	}
	return paths
}

var (
	_ content.Publisher = (*provider)(nil)
	_ content.Publisher = (*history)(nil)
	_ content.Caller    = (*history)(nil)
	_ content.Resource  = (*resource)(nil)
)
