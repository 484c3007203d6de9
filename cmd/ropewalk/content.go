package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/message"
)

// contentCmd is about contents that live in a Git repository.
type contentCmd struct {
	Status     contentStatusCmd     `cmd:"" help:"Show where the content is, and how the remote is."`
	Log        contentLogCmd        `cmd:"" help:"List the commits, the newest first."`
	Diff       contentDiffCmd       `cmd:"" help:"Show what a commit, several, or a workspace changes."`
	Show       contentShowCmd       `cmd:"" help:"Print a file as it was."`
	Publish    contentPublishCmd    `cmd:"" help:"Write several files in one commit."`
	Restore    contentRestoreCmd    `cmd:"" help:"Make a file, or all, what it was."`
	Workspaces contentWorkspacesCmd `cmd:"" help:"List your workspaces."`
	Merge      contentMergeCmd      `cmd:"" help:"Make the drafts of a workspace part of the content."`
	Discard    contentDiscardCmd    `cmd:"" help:"Throw the drafts of a workspace away."`
	Pull       contentPullCmd       `cmd:"" help:"Fetch what is new from the remote."`
	Push       contentPushCmd       `cmd:"" help:"Send what is new to the remote."`
}

// Help is printed below the flags.
func (*contentCmd) Help() string {
	return `The node has to serve its contents from a Git repository: "content":{"git":{"repository":…}} in its configuration.
What changes something needs the permission to publish to git:/**.

Examples:

  ropewalk content log shop/prices.json
  ropewalk content publish file:/shop/ prices.json images -m "Spring"
  ropewalk content restore shop/prices.json 3f2a91c
  ropewalk content merge drafts`
}

// gitTarget is the history of a node.
type gitTarget struct {
	target
	Timeout time.Duration `default:"60s" placeholder:"TIME" help:"How long the answer may take. Default: ${default}."`
}

// gitInput is what the history is asked, or told; see the reference of contents.
type gitInput struct {
	Workspace string `json:"workspace,omitempty"`
	Revision  string `json:"revision,omitempty"`
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
	Limit     int    `json:"limit,omitempty"`
	Skip      int    `json:"skip,omitempty"`
	Message   string `json:"message,omitempty"`
	Prefer    string `json:"prefer,omitempty"`
	Squash    bool   `json:"squash,omitempty"`
}

// gitAddress returns the address of something in the history. Paths may be given
// as addresses of contents, too.
func gitAddress(verb, path string) string {
	for _, scheme := range []string{"json:", "file:"} {
		path = strings.TrimPrefix(path, scheme)
	}
	if path = strings.Trim(path, "/"); path != "" {
		path = "/" + path
	}
	return "git:/" + verb + path
}

// askGit asks the history, and prints the answer: as it is for programs, else
// with output.
func askGit[T any](ctx context.Context, w *world, t *gitTarget, verb, path string, in gitInput, output func(T) error) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	u, err := conn.Get(ctx, gitAddress(verb, path), append(t.options(), call.WithParams(in), call.WithTimeout(t.Timeout))...)
	if err != nil {
		return noGit(err)
	}
	if w.json {
		return unwritable(w.line(json.RawMessage(u.Body)))
	}
	var v T
	if err := u.Decode(&v); err != nil {
		return err
	}
	return unwritable(output(v))
}

// tellGit has the history do something, and prints what became of it.
func tellGit(ctx context.Context, w *world, t *gitTarget, verb, path string, in gitInput, done string) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	a, err := conn.Publish(ctx, gitAddress(verb, path), in, append(t.options(), call.WithTimeout(t.Timeout))...)
	if err != nil {
		return noGit(err)
	}
	return printResult(w, a, done)
}

// noGit says what to do where there is no history.
func noGit(err error) error {
	if message.CodeOf(err) != message.CodeNoService {
		return err
	}
	e := *message.AsError(err)
	e.Message = "the node has no contents in a Git repository"
	e.Hint = `Set "content":{"git":{"repository":…}} in its configuration.`
	return &e
}

func printResult(w *world, a *call.Answer, done string) error {
	if w.json {
		return unwritable(w.line(json.RawMessage(a.Body)))
	}
	var res git.Result
	if err := a.Decode(&res); err != nil {
		return err
	}
	if !res.Changed {
		return unwritable(w.printf("nothing to do\n"))
	}
	return unwritable(w.printf("%s; commit %s\n", done, shortHash(res.Commit)))
}

// shortHash is how people write the hash of a commit.
func shortHash(hash string) string {
	const digits = 10
	return printable(hash[:min(len(hash), digits)])
}

type contentStatusCmd struct {
	gitTarget
	Workspace string `short:"w" placeholder:"NAME" help:"Show this workspace, too."`
}

// Run shows.
func (c *contentStatusCmd) Run(ctx context.Context, w *world) error {
	return askGit(ctx, w, &c.gitTarget, "status", "", gitInput{Workspace: c.Workspace}, func(s git.Status) error {
		t := newTable("WHAT", "STATE")
		at := "has no commit yet"
		if s.Commit != "" {
			at = "at " + shortHash(s.Commit)
		}
		if s.ReadOnly {
			at += ", read-only"
		}
		t.add("branch "+s.Branch, at)
		if s.Workspace != nil {
			t.add("workspace "+s.Workspace.Name, workspaceText(s.Workspace))
		}
		if r := s.Remote; r != nil {
			text := fmt.Sprintf("%s, %d to push, %d to merge", r.State, r.Ahead, r.Behind)
			if r.Error != nil {
				text += ": " + r.Error.Message
			}
			t.add("remote", text)
		}
		return t.print(w)
	})
}

func workspaceText(ws *git.Workspace) string {
	if ws.Commit == "" {
		return "has no drafts"
	}
	conflicts := 0
	for _, c := range ws.Changes {
		if c.Conflict {
			conflicts++
		}
	}
	return fmt.Sprintf("%s changed, %d in conflict, %s behind", files(len(ws.Changes)), conflicts, plural(ws.Behind, "commit"))
}

func files(n int) string { return plural(n, "file") }

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

type contentLogCmd struct {
	gitTarget
	Path      string `arg:"" optional:"" help:"Only the commits that changed this file or directory."`
	Limit     int    `short:"n" default:"20" placeholder:"N" help:"How many. Default: ${default}."`
	Skip      int    `placeholder:"N" help:"Leave the newest N out."`
	Revision  string `placeholder:"HASH" help:"Begin with this commit."`
	Workspace string `short:"w" placeholder:"NAME" help:"Begin with the drafts of this workspace."`
}

// Help is printed below the flags.
func (*contentLogCmd) Help() string {
	return `Examples:

  ropewalk content log
  ropewalk content log shop/prices.json -n 5`
}

// Run lists.
func (c *contentLogCmd) Run(ctx context.Context, w *world) error {
	in := gitInput{Limit: c.Limit, Skip: c.Skip, Revision: c.Revision, Workspace: c.Workspace}
	return askGit(ctx, w, &c.gitTarget, "log", c.Path, in, func(l git.Log) error {
		t := newTable("COMMIT", "AGE", "AUTHOR", "MESSAGE")
		now := time.Now()
		for _, one := range l.Commits {
			made, _ := time.Parse(time.RFC3339, one.Date)
			first, _, _ := strings.Cut(one.Message, "\n")
			t.add(shortHash(one.Commit), ago(made, now), one.Author, first)
		}
		if len(t.rows) == 0 {
			return w.printf("there are no commits\n")
		}
		if err := t.print(w); err != nil || l.Next == 0 {
			return err
		}
		return w.printf("for more: --skip %d --revision %s\n", l.Next, shortHash(l.Revision))
	})
}

type contentDiffCmd struct {
	gitTarget
	Path      string `arg:"" optional:"" help:"Only this file or directory."`
	From      string `placeholder:"HASH" help:"The older commit. Default: the one before --to."`
	To        string `placeholder:"HASH" help:"The newer commit. Default: the newest."`
	Workspace string `short:"w" placeholder:"NAME" help:"Compare the drafts of this workspace with the content."`
}

// Help is printed below the flags.
func (*contentDiffCmd) Help() string {
	return `Without flags it is what the newest commit has changed.

Examples:

  ropewalk content diff
  ropewalk content diff shop --from 3f2a91c
  ropewalk content diff --workspace drafts`
}

// Run compares.
func (c *contentDiffCmd) Run(ctx context.Context, w *world) error {
	in := gitInput{From: c.From, To: c.To, Workspace: c.Workspace}
	return askGit(ctx, w, &c.gitTarget, "diff", c.Path, in, func(d git.Diff) error {
		if len(d.Files) == 0 {
			return w.printf("no difference\n")
		}
		for _, f := range d.Files {
			text := printable(f.Patch)
			switch {
			case f.Large:
				text = fmt.Sprintf("%s %s; too large to show\n", f.Status, printable(f.Path))
			case f.Hidden:
				text = fmt.Sprintf("%s %s; not for you to read\n", f.Status, printable(f.Path))
			}
			if err := w.printf("%s", text); err != nil {
				return err
			}
		}
		if d.More > 0 {
			return w.printf("and %s\n", files(d.More))
		}
		return nil
	})
}

type contentShowCmd struct {
	gitTarget
	Path      string `arg:"" help:"Which file."`
	Revision  string `arg:"" optional:"" help:"At which commit. Default: the newest."`
	Workspace string `short:"w" placeholder:"NAME" help:"As it is in this workspace."`
}

// Run prints.
func (c *contentShowCmd) Run(ctx context.Context, w *world) error {
	in := gitInput{Revision: c.Revision, Workspace: c.Workspace}
	return askGit(ctx, w, &c.gitTarget, "show", c.Path, in, func(s git.Shown) error {
		b := []byte{}
		switch {
		case s.Text != nil:
			b = []byte(*s.Text)
		case s.Base64 != nil:
			b = *s.Base64
		}
		_, err := w.out.Write(b)
		return err
	})
}

type contentRestoreCmd struct {
	gitTarget
	Path      string `arg:"" help:"Which file or directory; / for all."`
	Revision  string `arg:"" help:"To what it was after this commit."`
	Message   string `short:"m" placeholder:"TEXT" help:"What the commit says."`
	Workspace string `short:"w" placeholder:"NAME" help:"Only as a draft in this workspace."`
}

// Help is printed below the flags.
func (*contentRestoreCmd) Help() string {
	return `A commit is made that has the old contents; nothing is lost. "ropewalk content log" shows the revisions.

Examples:

  ropewalk content restore shop/prices.json 3f2a91c
  ropewalk content restore / 3f2a91c -m "As it was on Monday"`
}

// Run restores.
func (c *contentRestoreCmd) Run(ctx context.Context, w *world) error {
	in := gitInput{Revision: c.Revision, Message: c.Message, Workspace: c.Workspace}
	return tellGit(ctx, w, &c.gitTarget, "restore", c.Path, in, "restored "+printable(c.Path))
}

type contentWorkspacesCmd struct {
	gitTarget
}

// Run lists.
func (c *contentWorkspacesCmd) Run(ctx context.Context, w *world) error {
	return askGit(ctx, w, &c.gitTarget, "workspaces", "", gitInput{}, func(list []*git.Workspace) error {
		t := newTable("WORKSPACE", "COMMIT", "STATE")
		for _, ws := range list {
			t.add(ws.Name, shortHash(ws.Commit), workspaceText(ws))
		}
		if len(t.rows) == 0 {
			return w.printf("there are no workspaces\n")
		}
		return t.print(w)
	})
}

type contentMergeCmd struct {
	gitTarget
	Workspace string `arg:"" help:"Which workspace."`
	Message   string `short:"m" placeholder:"TEXT" help:"What the commit says."`
	Squash    bool   `help:"Make one commit of all drafts."`
	Prefer    string `enum:",ours,theirs" default:"" placeholder:"SIDE" help:"Where both have changed the same: ours takes the content's, theirs the workspace's."`
}

// Run merges.
func (c *contentMergeCmd) Run(ctx context.Context, w *world) error {
	in := gitInput{Workspace: c.Workspace, Message: c.Message, Squash: c.Squash, Prefer: c.Prefer}
	return inConflict(tellGit(ctx, w, &c.gitTarget, "merge", "", in, "merged "+printable(c.Workspace)))
}

// inConflict says how to decide a conflict with flags.
func inConflict(err error) error {
	if message.CodeOf(err) != message.CodeConflict || !strings.Contains(message.AsError(err).Hint, `"prefer"`) {
		return err
	}
	e := *message.AsError(err)
	e.Hint = "Make them the same on both sides, or say which is right with --prefer ours or --prefer theirs."
	return &e
}

type contentDiscardCmd struct {
	gitTarget
	Workspace string `arg:"" help:"Which workspace."`
}

// Run discards.
func (c *contentDiscardCmd) Run(ctx context.Context, w *world) error {
	return tellGit(ctx, w, &c.gitTarget, "discard", "", gitInput{Workspace: c.Workspace}, "discarded "+printable(c.Workspace))
}

type contentPullCmd struct {
	gitTarget
	Prefer string `enum:",ours,theirs" default:"" placeholder:"SIDE" help:"Where both have changed the same: ours takes what is here, theirs the remote's."`
}

// Run pulls.
func (c *contentPullCmd) Run(ctx context.Context, w *world) error {
	return inConflict(tellGit(ctx, w, &c.gitTarget, "pull", "", gitInput{Prefer: c.Prefer}, "pulled"))
}

type contentPushCmd struct {
	gitTarget
}

// Run pushes.
func (c *contentPushCmd) Run(ctx context.Context, w *world) error {
	return inConflict(tellGit(ctx, w, &c.gitTarget, "push", "", gitInput{}, "pushed"))
}
