package route

import "encoding/json"

// AppendJSON appends the form of s that [ParseSelection] reads; nothing for
// the zero Selection.
func (s Selection) AppendJSON(dst []byte) []byte {
	if s == (Selection{}) {
		return dst
	}
	if s == (Selection{By: s.By}) {
		return appendText(dst, s.By)
	}
	b, err := json.Marshal(struct {
		By       string `json:"by,omitempty"`
		Key      string `json:"key,omitempty"`
		Instance string `json:"instance,omitempty"`
		Quorum   int    `json:"quorum,omitempty"`
		First    int    `json:"first,omitempty"`
		Parts    bool   `json:"parts,omitempty"`
	}(s))
	if err != nil {
		return dst // strings and numbers always marshal
	}
	return append(dst, b...)
}
