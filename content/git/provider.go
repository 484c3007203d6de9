package git

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/message"
)

const (
	maxHidden = 100      // names that a listing leaves out
	maxShown  = 64 << 10 // bytes of a file that a listing shows
	maxCopies = 1000     // of name(1).ext
	errParams = "the parameters cannot be read"
)

// options are what comes with a request, in its parameters or in the query of
// its address. Not all mean something everywhere.
type options struct {
	Workspace string   `json:"workspace"`
	Message   string   `json:"message"`
	Encoding  string   `json:"encoding"`
	Fresh     bool     `json:"noOverwrite"`
	Depth     int      `json:"depth"`
	Content   bool     `json:"content"`
	Hidden    []string `json:"hidden"`

	json bool                   // it is under json:
	may  func(path string) bool // whether a listing may show the content of a file; nil: of all
}

func parseOptions(r *content.Request) (*options, error) {
	o := &options{}
	if len(r.Params) > 0 {
		if err := json.Unmarshal(r.Params, o); err != nil {
			return nil, invalid("params", errParams, `Send an object such as {"workspace":"drafts"}.`)
		}
	}
	if r.Query != "" {
		q, err := url.ParseQuery(r.Query)
		if err != nil {
			return nil, invalid("query", "the query of the address cannot be read", "Write it like ?workspace=drafts.")
		}
		for name, to := range map[string]*string{"workspace": &o.Workspace, "message": &o.Message, "encoding": &o.Encoding} {
			if q.Has(name) {
				*to = q.Get(name)
			}
		}
		o.Fresh = o.Fresh || q.Get("noOverwrite") == "true"
	}
	switch {
	case o.Encoding != "" && o.Encoding != "raw" && o.Encoding != "base64":
		return nil, invalid("params.encoding", "encoding is neither raw nor base64", `Write "raw" or "base64".`)
	case o.Depth < 0:
		return nil, invalid("params.depth", "depth is negative", "Write 1 for the entries of the directory alone.")
	case len(o.Hidden) > maxHidden:
		return nil, invalid("params.hidden", "more than 100 names are hidden", "Name fewer.")
	}
	if o.Depth == 0 || o.Depth > maxDepth {
		o.Depth = maxDepth
	}
	slices.Sort(o.Hidden)
	o.Hidden = slices.Compact(o.Hidden)
	return o, nil
}

// provider answers for json: or file:.
type provider struct {
	store *Store
	json  bool
	raw   bool
}

// JSON returns the provider of the JSON documents in the tree, those called .json
// and .jsonc.
func (s *Store) JSON() content.Provider { return &provider{store: s, json: true} }

// Files returns the provider of all files in the tree: their bytes if raw is set,
// else {"base64":…}; the parameter "encoding" says otherwise.
func (s *Store) Files(raw bool) content.Provider { return &provider{store: s, raw: raw} }

// resource is a file, a listing, or something of the history.
type resource struct {
	store *Store
	key   string
	spot  follower
	get   func(ctx context.Context) (content.Content, error)
	// rights are what it depends on besides; nil: on none.
	rights content.Rights
}

// Key implements [content.Resource].
func (r *resource) Key() string { return r.key }

// Get implements [content.Resource].
func (r *resource) Get(ctx context.Context) (content.Content, error) {
	if err := ctx.Err(); err != nil {
		return content.Content{}, err
	}
	c, err := r.get(ctx)
	if err != nil {
		return content.Content{}, r.store.fault(ctx, err)
	}
	return c, nil
}

// Watch implements [content.Resource].
func (r *resource) Watch(changed func()) (stop func(), err error) {
	f := r.spot
	f.changed = changed
	unfollow, err := r.store.watch.follow(r.store.lane.Context(), &f)
	if err != nil || r.rights == nil {
		return unfollow, failed(err)
	}
	unrule := r.rights.Watch(changed)
	return func() {
		unrule()
		unfollow()
	}, nil
}

// fault is failed, and logs what an operator has to know.
func (s *Store) fault(ctx context.Context, err error) error {
	out := failed(err)
	if _, known := errors.AsType[*message.Error](err); !known && message.CodeOf(out) == message.CodeSourceDown && ctx.Err() == nil {
		s.log.Error("the repository cannot be used", "err", err)
	}
	return out
}

// Open implements [content.Provider].
func (p *provider) Open(_ context.Context, r *content.Request) (content.Resource, error) {
	o, err := parseOptions(r)
	if err != nil {
		return nil, err
	}
	at, err := checkPath(r.Path)
	if err != nil {
		return nil, err
	}
	ws, err := p.store.workspace(r.Session, o.Workspace)
	if err != nil {
		return nil, err
	}
	res := &resource{store: p.store, spot: follower{workspace: ws, path: at, dir: r.Dir || at == ""}}
	o.json = p.json
	switch {
	case r.Dir || at == "":
		res.key = fmt.Sprintf("list %q %q %d %t %q", ws, at, o.Depth, o.Content, o.Hidden)
		if rights := p.store.opt.Rights; rights != nil && o.Content {
			scheme, who := "file", r.Session
			if p.json {
				scheme = "json"
			}
			res.rights = rights
			res.key += content.Who(who)
			o.may = func(at string) bool { return rights.MayRead(who, message.Address{Name: scheme, Path: at}) }
		}
		res.get = func(ctx context.Context) (content.Content, error) { return p.store.list(ctx, ws, at, o) }
	case p.json:
		if !isDocument(at) {
			return nil, content.NotFound(r.Path, "json: has .json and .jsonc files; use file: for others.")
		}
		res.key = fmt.Sprintf("json %q %q", ws, at)
		res.get = func(ctx context.Context) (content.Content, error) {
			b, err := p.store.file(ctx, ws, at)
			if err != nil {
				return content.Content{}, err
			}
			return file.Document("/"+at, b)
		}
	default:
		raw := o.Encoding == "raw" || o.Encoding == "" && p.raw
		res.key = fmt.Sprintf("file %q %q %t", ws, at, raw)
		res.get = func(ctx context.Context) (content.Content, error) {
			b, err := p.store.file(ctx, ws, at)
			if err != nil {
				return content.Content{}, err
			}
			return fileContent(at, b, raw), nil
		}
	}
	return res, nil
}

func fileContent(name string, b []byte, raw bool) content.Content {
	if raw {
		return content.Content{Body: b, ContentType: file.MediaType(name, b)}
	}
	body := append([]byte(nil), `{"base64":"`...)
	body = base64.StdEncoding.AppendEncode(body, b)
	return content.Content{Body: append(body, `"}`...)}
}

// file returns the bytes of a file as a workspace shows it.
func (s *Store) file(ctx context.Context, workspace, at string) ([]byte, error) {
	v, err := s.view(ctx, workspace)
	if err != nil {
		return nil, err
	}
	e, ok, err := find(v.trees, v.root, at)
	switch {
	case err != nil:
		return nil, err
	case ok && e.Mode == filemode.Dir:
		return nil, content.NotFound("/"+at, "This is a directory: put a slash at the end of the address for its listing.")
	case !ok || !isFile(e.Mode):
		return nil, s.missing(v, at)
	}
	return s.objects.blob(e.Hash)
}

// missing returns the error that there is nothing at a path.
func (s *Store) missing(v *view, at string) error {
	if v.head.IsZero() && s.remote != nil && !s.remote.fetched() {
		return down("the branch has not been fetched yet", "", nil)
	}
	dir, ok, err := find(v.trees, v.root, parent(at))
	if err == nil && ok && dir.Mode == filemode.Dir {
		if entries, err := v.trees.tree(dir.Hash); err == nil {
			name := path.Base(at)
			for _, e := range entries {
				if strings.EqualFold(e.Name, name) && badName(e.Name) == "" {
					return content.NotFound("/"+short(at), "Did you mean "+e.Name+"?")
				}
			}
		}
	}
	return content.NotFound("/"+short(at), "See the listing of the directory for what there is.")
}

func parent(at string) string {
	if dir := path.Dir(at); dir != "." {
		return dir
	}
	return ""
}

// Publish implements [content.Publisher]: it makes a commit.
func (p *provider) Publish(ctx context.Context, r *content.Request, c content.Content) (content.Content, error) {
	o, err := parseOptions(r)
	if err != nil {
		return content.Content{}, err
	}
	at, err := checkPath(r.Path)
	if err != nil {
		e := *message.AsError(err)
		e.Code = message.CodeForbidden
		return content.Content{}, &e
	}
	ws, err := p.store.workspace(r.Session, o.Workspace)
	if err != nil {
		return content.Content{}, err
	}
	w := &work{author: authorOf(r), workspace: ws}
	job := &publication{store: p.store, scheme: "file:", at: at, options: o}
	if p.json {
		job.scheme = "json:"
	}
	switch {
	case r.Dir || at == "":
		err = job.batch(w, c)
	case c.Body == nil:
		err = job.delete(w)
	default:
		err = job.one(w, c)
	}
	if err != nil {
		return content.Content{}, err
	}
	res, err := p.store.commit(ctx, w)
	if err != nil {
		return content.Content{}, p.store.fault(ctx, err)
	}
	return job.answer(res), nil
}

// publication is one publish to json: or file:.
type publication struct {
	*options

	store   *Store
	scheme  string
	at      string
	path    string // where the file is
	created bool
	deleted bool
}

func (j *publication) answer(res *Result) content.Content {
	out := struct {
		*Result

		Path    string `json:"path"`
		Created bool   `json:"created,omitempty"`
		Deleted bool   `json:"deleted,omitempty"`
	}{res, "/" + j.path, j.created, j.deleted}
	b, _ := json.Marshal(out) //nolint:errchkjson // strings and bools
	return content.Content{Body: b}
}

// delete prepares that a file goes away.
func (j *publication) delete(w *work) (err error) {
	j.path, j.deleted = j.at, true
	w.text, err = commitText(j.Message, "Delete "+j.at)
	w.edits = func(v *view, _ *batch) (map[string]leaf, error) {
		return map[string]leaf{j.at: {}}, drop(v, j.at, "/"+j.at)
	}
	return err
}

// one prepares that a file is written.
func (j *publication) one(w *work, c content.Content) (err error) {
	var body fileBody
	if j.scheme == "json:" {
		body, err = documentBody(j.at, c)
	} else {
		body, err = rawBody(j.at, c)
	}
	if err != nil {
		return err
	}
	if size := int64(len(body.data)); size > j.store.set.MaxFile {
		return tooLarge(size, j.store.set.MaxFile)
	}
	if w.text, err = commitText(j.Message, ""); err != nil {
		return err
	}
	given := w.text != ""
	w.edits = func(v *view, b *batch) (map[string]leaf, error) {
		j.path = j.at
		if j.Fresh || body.fresh {
			if err := j.findFresh(v); err != nil {
				return nil, err
			}
		}
		l, created, err := j.store.put(v, b, j.path, body)
		if err != nil {
			return nil, err
		}
		if j.created = created; !given {
			w.text = map[bool]string{true: "Add ", false: "Update "}[created] + j.path
		}
		return map[string]leaf{j.path: l}, nil
	}
	return nil
}

// findFresh finds a name that is not taken.
func (j *publication) findFresh(v *view) error {
	ext := path.Ext(j.at)
	stem := strings.TrimSuffix(j.at, ext)
	for n := range maxCopies {
		if n > 0 {
			j.path = fmt.Sprintf("%s(%d)%s", stem, n, ext)
		}
		if _, ok, err := find(v.trees, v.root, j.path); err != nil || !ok {
			return err
		}
	}
	return conflict("there are too many copies of /"+short(j.at), "Use another name.")
}
