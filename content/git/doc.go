// Package git keeps a tree of contents in a branch of a Git repository:
// publishing makes a commit, and whoever moves the branch, here or in another
// process, changes what is watched.
//
//	store, err := git.New(git.Settings{Repository: "site.git", Branch: "main"}, git.Options{})
//	files := content.NewService("json", store.JSON(), content.Options{})
//
// [Store.JSON] and [Store.Files] answer for json: and file: as package
// content/file does for a directory, [Store.Git] for git:, where the history is:
// log, diff, merge and so on. No work tree is needed, and none is touched.
//
// # Drafts
//
// A workspace is a draft of one person on top of the branch: a ref
// refs/ropewalk/workspaces/SUBJECT/NAME. Whoever selects one sees its changes over
// the newest state of the branch, until they are merged or discarded.
//
// # What a crash leaves
//
// Objects are written and synced before the ref that names them, and a ref is
// replaced by renaming, under the same lock file that the git program takes. A
// crash leaves the state before or the state after, and at most objects that
// nobody names, which "git gc" removes.
//
// # What many commits leave
//
// A store packs the objects of its repository now and then, so that these do not
// take a file each; it removes none.
package git
