package route

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/message"
)

// MaxKeyBytes is the length of the key or instance of a [Selection].
const MaxKeyBytes = 1024

// Selection is what a call asks for in its field str: how to choose among the
// servers, or to ask all of them. The zero Selection leaves it to the node.
type Selection struct {
	By       string // a word; "" for the default
	Key      string // for sticky
	Instance string // for instance

	// The rest is for gathers.
	Quorum int  // fewer good answers are an error; 0 for none
	First  int  // end after so many good answers; 0 for all
	Parts  bool // send each answer as a part, too
}

// Gathers reports whether the call goes to all servers, so that its reply is a
// [Gathered].
func (s Selection) Gathers() bool { return gathers(s.By) }

func gathers(word string) bool { return word == ByAll || word == ByMajority }

// KeyOr is what the strategy is given as key: the instance or key that was
// named, else the caller's id.
func (s Selection) KeyOr(caller string) string {
	switch {
	case s.By == ByInstance:
		return s.Instance
	case s.Key != "":
		return s.Key
	}
	return caller
}

// ParseSelection reads the field str of a message: a word, or an object with
// the fields by, key, instance, quorum, first and parts. nil is the zero
// Selection. Whether the word is known only a [Strategies] can tell, because
// there may be own ones: see [Strategies.Check]. The error is a *message.Error
// with [message.CodeBadMessage]. It does not allocate for nil and for a
// built-in word.
func ParseSelection(raw []byte) (Selection, error) {
	if len(raw) == 0 {
		return Selection{}, nil
	}
	if by, ok := builtinWord(raw); ok {
		return check(Selection{By: by})
	}
	var wire struct {
		By       *string `json:"by"`
		Key      *string `json:"key"`
		Instance *string `json:"instance"`
		Quorum   *int    `json:"quorum"`
		First    *int    `json:"first"`
		Parts    *bool   `json:"parts"`
	}
	switch raw[0] {
	case 'n':
		if string(raw) == "null" {
			return Selection{}, nil
		}
	case '"':
		var word string
		if json.Unmarshal(raw, &word) == nil {
			return check(Selection{By: word})
		}
	case '{':
		if err := json.Unmarshal(raw, &wire); err != nil {
			return Selection{}, badSelection("it has a field of the wrong type",
				`by, key and instance are strings, quorum and first whole numbers, parts true or false.`)
		}
		return check(Selection{
			By: value(wire.By), Key: value(wire.Key), Instance: value(wire.Instance),
			Quorum: value(wire.Quorum), First: value(wire.First), Parts: value(wire.Parts),
		})
	}
	return Selection{}, badSelection("it is neither a string nor an object", `Write "sticky", or {"by":"sticky","key":"…"}.`)
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// builtinWord recognizes a JSON string that is a built-in word.
func builtinWord(raw []byte) (string, bool) {
	n := len(raw)
	if n < 3 || raw[0] != '"' || raw[n-1] != '"' {
		return "", false
	}
	for _, word := range [...]string{
		ByFirst, ByRoundRobin, ByRandom, ByLeastBusy, BySticky, ByPreferLocal, ByInstance, ByAll, ByMajority,
	} {
		if string(raw[1:n-1]) == word {
			return word, true
		}
	}
	return "", false
}

// check tells what in a selection cannot be meant.
func check(s Selection) (Selection, error) {
	gatherOnly := s.Quorum != 0 || s.First != 0 || s.Parts
	var err error
	switch {
	case s.Quorum < 0:
		err = badSelection("quorum is negative", "Give the number of good answers that you need.")
	case s.First < 0:
		err = badSelection("first is negative", "Give the number of good answers after which to end.")
	case gatherOnly && !s.Gathers():
		err = badSelection("quorum, first and parts are for gathers", `Add "by":"all" or "by":"majority".`)
	case s.First > 0 && s.First < s.Quorum:
		err = badSelection("first is smaller than quorum, so the quorum could not be reached", "Leave first out, or make it larger.")
	case s.By == ByInstance && s.Instance == "":
		err = badSelection("instance is missing", `Write {"by":"instance","instance":"ID"}, or put ID@ in front of the address.`)
	case s.Instance != "" && s.By != ByInstance:
		err = badSelection("instance is for the strategy instance", `Write "by":"instance".`)
	case len(s.Key) > MaxKeyBytes || len(s.Instance) > MaxKeyBytes:
		err = badSelection(fmt.Sprintf("key or instance is longer than %d bytes", MaxKeyBytes), "Use a shorter one.")
	case !utf8.ValidString(s.By):
		err = badSelection("the word is not valid UTF-8", "Encode it as UTF-8.")
	}
	if err != nil {
		return Selection{}, err
	}
	return s, nil
}

func badSelection(what, hint string) error {
	err := message.NewError(message.CodeBadMessage, "the strategy is not valid: "+what, hint)
	err.Path = "str"
	return err
}

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
