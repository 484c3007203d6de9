package route

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/message"
)

// MaxKeyBytes is the length of the key or instance of a [Selection].
const MaxKeyBytes = 1024

// The scopes of a [Selection]: which servers are asked at all.
const (
	ScopeMesh = "mesh" // those of all nodes; the same as ""
	ScopeNode = "node" // those of the node that the caller is connected to
	ScopeZone = "zone" // those of all nodes in the zone of that node
)

// Selection is what a call asks for in its field str: which servers come into
// question, and how to choose among them, or to ask all of them. The zero
// Selection leaves it to the node.
type Selection struct {
	By       string // a word; "" for the default
	Key      string // for sticky
	Instance string // for instance

	// Scope is one of the scopes, or "" for all nodes.
	Scope string
	// Version is a range of semantic versions, such as "^1.2", ">=1.2 <2" or
	// "1.x". Only servers with a version in it come into question. "" asks for
	// none.
	Version string
	// Idempotent says that executing the call twice does no harm, so that it
	// may be repeated when its server is lost.
	Idempotent bool

	// The rest is for gathers.
	Quorum int  // fewer good answers are an error; 0 for none
	First  int  // end after so many good answers; 0 for all
	Parts  bool // send each answer as a part, too
}

// wireSelection is a [Selection] as JSON.
type wireSelection struct {
	By         string `json:"by,omitempty"`
	Key        string `json:"key,omitempty"`
	Instance   string `json:"instance,omitempty"`
	Scope      string `json:"scope,omitempty"`
	Version    string `json:"version,omitempty"`
	Idempotent bool   `json:"idempotent,omitempty"`
	Quorum     int    `json:"quorum,omitempty"`
	First      int    `json:"first,omitempty"`
	Parts      bool   `json:"parts,omitempty"`
}

// onlyIdempotent is what clients write who ask for nothing else.
const onlyIdempotent = `{"idempotent":true}`

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
// the fields by, key, instance, scope, version, idempotent, quorum, first and
// parts. nil is the zero Selection. Whether the word is known and the range of
// versions can be read only a [Strategies] tells: see [Strategies.Check]. The
// error is a *message.Error with [message.CodeBadMessage]. It does not allocate
// for nil, for a built-in word, and for {"idempotent":true}.
func ParseSelection(raw []byte) (Selection, error) {
	if len(raw) == 0 {
		return Selection{}, nil
	}
	if by, ok := builtinWord(raw); ok {
		return check(Selection{By: by})
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
		if string(raw) == onlyIdempotent {
			return Selection{Idempotent: true}, nil
		}
		return parseObject(raw)
	}
	return Selection{}, badSelection("it is neither a string nor an object", `Write "sticky", or {"by":"sticky","key":"…"}.`)
}

// parseObject is apart because its variable is allocated.
func parseObject(raw []byte) (Selection, error) {
	var wire wireSelection
	if err := json.Unmarshal(raw, &wire); err != nil {
		return Selection{}, badSelection("it has a field of the wrong type",
			`by, key, instance, scope and version are strings, quorum and first whole numbers, idempotent and parts true or false.`)
	}
	return check(Selection(wire))
}

// builtinWord recognizes a JSON string that is a built-in word.
func builtinWord(raw []byte) (string, bool) {
	n := len(raw)
	if n < 3 || raw[0] != '"' || raw[n-1] != '"' {
		return "", false
	}
	for _, word := range [...]string{
		ByFirst, ByRoundRobin, ByRandom, ByLeastBusy, BySticky, ByPreferLocal, ByPreferZone, ByInstance, ByAll, ByMajority,
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
	case s.Scope != "" && s.Scope != ScopeMesh && s.Scope != ScopeNode && s.Scope != ScopeZone:
		err = badSelection(fmt.Sprintf("there is no scope %q", shorten(s.Scope)), "Use mesh, node or zone.")
	case len(s.Version) > MaxVersionBytes:
		err = badSelection(fmt.Sprintf("the range of versions is longer than %d bytes", MaxVersionBytes), "Use a shorter one.")
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
	if s == (Selection{Idempotent: true}) {
		return append(dst, onlyIdempotent...)
	}
	b, err := json.Marshal(wireSelection(s))
	if err != nil {
		return dst // strings and numbers always marshal
	}
	return append(dst, b...)
}
