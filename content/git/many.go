package git

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/message"
)

// maxBatch is how many files one publish may write.
const maxBatch = 1000

// many is what is published to a directory: several files, for one commit.
type many struct {
	Message string `json:"message"`
	Files   []item `json:"files"`
}

// item is one of several files. One of the fields besides Path is given.
type item struct {
	Path   string          `json:"path"`
	JSON   json.RawMessage `json:"json"`
	Text   *string         `json:"text"`
	Base64 *[]byte         `json:"base64"`
	Delete bool            `json:"delete"`
}

// batch prepares that several files are written and deleted.
func (j *publication) batch(w *work, c content.Content) error {
	const form = `Publish {"files":[{"path":"a.json","json":{}},{"path":"b.txt","text":"…"},{"path":"c.png","base64":"…"},` +
		`{"path":"d","delete":true}],"message":"…"}.`
	var in many
	switch err := json.Unmarshal(c.Body, &in); {
	case c.Body == nil:
		return invalid("body", "a directory is deleted with the files in it", form)
	case c.ContentType != "" || err != nil:
		return invalid("body", "the files cannot be read", form)
	case len(in.Files) == 0 || len(in.Files) > maxBatch:
		return invalid("files", fmt.Sprintf("there are %d files, not 1 to %d", len(in.Files), maxBatch), form)
	}
	if j.Message != "" {
		in.Message = j.Message
	}
	var err error
	if w.text, err = commitText(in.Message, updateText(len(in.Files))); err != nil {
		return err
	}
	files := map[string]fileBody{}
	total := int64(0)
	for i := range in.Files {
		at, body, err := j.item(&in.Files[i])
		if err != nil {
			return in.Files[i].named(i, err)
		}
		if _, twice := files[at]; twice {
			return in.Files[i].named(i, invalid("path", "the file is there twice", ""))
		}
		if total += int64(len(body.data)); total > j.store.set.MaxFile {
			return tooLarge(total, j.store.set.MaxFile)
		}
		files[at] = body
	}
	if err := j.store.mayWrite(w.author, j.scheme, slices.Sorted(maps.Keys(files))...); err != nil {
		return err
	}
	j.path = j.at
	w.edits = func(v *view, b *batch) (map[string]leaf, error) { return j.store.editMany(v, b, files) }
	return nil
}

// named says which of the files an error is about.
func (f *item) named(i int, err error) error {
	e := *message.AsError(err)
	e.Message = fmt.Sprintf("files[%d] %s: %s", i, short(f.Path), e.Message)
	e.Path = fmt.Sprintf("files[%d]", i)
	return &e
}

// item returns where a file is written, and its bytes; without any it is deleted.
func (j *publication) item(f *item) (at string, body fileBody, err error) {
	if f.Path == "" || strings.HasPrefix(f.Path, "/") {
		return "", body, invalid("path", "the path is not relative to the directory", "Write it without a slash at the beginning.")
	}
	if at, err = checkPath("/" + f.Path); err != nil {
		return "", body, err
	}
	if j.at != "" {
		at = j.at + "/" + at
	}
	given := 0
	for _, is := range []bool{f.JSON != nil, f.Text != nil, f.Base64 != nil, f.Delete} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return "", body, invalid("file", "not one of json, text, base64 and delete is given", "Give one of them.")
	case f.JSON != nil:
		body, err = documentBody(at, content.Content{Body: f.JSON})
	case f.Text != nil:
		body.data = append([]byte{}, *f.Text...)
	case f.Base64 != nil:
		body.data = append([]byte{}, *f.Base64...)
	}
	if err == nil && j.scheme == "json:" {
		err = onlyDocuments(at, body.data)
	}
	return at, body, err
}

// onlyDocuments refuses what cannot be published to json: one by one either.
func onlyDocuments(at string, data []byte) error {
	if !isDocument(at) {
		return content.NotFound("/"+at, "json: has .json and .jsonc files; publish to file: for others.")
	}
	if data == nil {
		return nil
	}
	if _, err := file.Document("/"+at, data); err != nil {
		e := *message.AsError(err)
		e.Code = message.CodeInvalidInput
		return &e
	}
	return nil
}

func (s *Store) editMany(v *view, b *batch, files map[string]fileBody) (map[string]leaf, error) {
	edits := make(map[string]leaf, len(files))
	for at, body := range files {
		for dir := parent(at); dir != ""; dir = parent(dir) {
			if files[dir].data != nil {
				return nil, invalid("files", fmt.Sprintf("/%s is a file and a directory", short(dir)), "")
			}
		}
		if body.data == nil {
			edits[at] = leaf{}
			if err := drop(v, at, "/"+at); err != nil {
				return nil, err
			}
			continue
		}
		var err error
		if edits[at], _, err = s.put(v, b, at, body); err != nil {
			return nil, err
		}
	}
	return edits, nil
}

// updateText is what a commit says for which nobody said anything.
func updateText(files int) string {
	if files == 1 {
		return "Update 1 file"
	}
	return fmt.Sprintf("Update %d files", files)
}
