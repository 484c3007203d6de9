package git

import (
	"path"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/file"
)

// isDocument tells whether a file is one that json: has.
func isDocument(at string) bool {
	ext := path.Ext(at)
	return ext == ".json" || ext == ".jsonc"
}

// fileBody is what is published to a file.
type fileBody struct {
	data  []byte
	fresh bool                    // noOverwrite
	over  func(old []byte) []byte // the bytes, if they depend on what is there; may be nil
}

// documentBody takes in what is published under json:.
func documentBody(at string, c content.Content) (body fileBody, err error) {
	body.data, body.over, err = file.Text("/"+at, c)
	return body, err
}

// rawBody takes in what is published under file:.
func rawBody(at string, c content.Content) (body fileBody, err error) {
	body.data, body.fresh, _, err = file.Bytes("/"+at, c)
	if err == nil && body.data == nil {
		body.data = []byte{}
	}
	return body, err
}
