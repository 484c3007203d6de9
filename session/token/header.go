package token

import (
	"encoding/base64"
	"strings"

	strict "github.com/go-jose/go-jose/v4/json" // refuses members that are there twice, and knows upper from lower case

	"github.com/ropewalk/ropewalk/message"
)

// maxHeader is how many bytes the header of a token may have.
const maxHeader = 4 << 10

// header is the header of a token.
type header struct {
	Alg, Kid, Typ string
	other         bool // there is more in it
}

// parts is a token before anything is verified.
type parts struct {
	header  header
	payload []byte
	iss     string
}

// b64 refuses what would be another spelling of the same bytes.
var b64 = base64.RawURLEncoding.Strict()

// split reads a token as far as that goes without a key. Nothing of it is to be
// believed yet.
func split(tok string) (*parts, *message.Error) {
	if len(tok) > MaxSize {
		return nil, refuse(ReasonTooLarge)
	}
	// encoding/base64 skips line ends.
	if strings.ContainsAny(tok, "\r\n") || strings.Count(tok, ".") != 2 {
		return nil, refuse(ReasonMalformed)
	}
	first, rest, _ := strings.Cut(tok, ".")
	second, third, _ := strings.Cut(rest, ".")
	h, ok := parseHeader(first)
	if !ok {
		return nil, refuse(ReasonMalformed)
	}
	body, err := b64.DecodeString(second)
	if err != nil {
		return nil, refuse(ReasonMalformed)
	}
	if _, err := b64.DecodeString(third); err != nil {
		return nil, refuse(ReasonMalformed)
	}
	var peek struct {
		Issuer string `json:"iss"`
	}
	if len(body) == 0 || body[0] != '{' || strict.Unmarshal(body, &peek) != nil {
		return nil, refuse(ReasonMalformed)
	}
	return &parts{header: h, payload: body, iss: peek.Issuer}, nil
}

// members reads a header as JSON.
func members(part string) (map[string]any, bool) {
	if len(part) > maxHeader {
		return nil, false
	}
	b, err := b64.DecodeString(part)
	if err != nil || len(b) == 0 || b[0] != '{' {
		return nil, false
	}
	var all map[string]any
	if err := strict.Unmarshal(b, &all); err != nil {
		return nil, false
	}
	return all, true
}

// parseHeader reads the header of a JWS. It refuses all that would make a
// verifier use a key of the token's own choosing, or do more than verify.
func parseHeader(part string) (header, bool) {
	all, ok := members(part)
	if !ok {
		return header{}, false
	}
	var h header
	for name, v := range all {
		text, isText := v.(string)
		switch name {
		case "alg":
			h.Alg, ok = text, isText
		case "kid":
			h.Kid, ok = text, isText && len(text) <= maxKid
		case "typ":
			h.Typ, ok = text, isText
		case "crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc", "nonce":
			ok = false
		default:
			h.other = true
		}
		if !ok {
			return header{}, false
		}
	}
	return h, h.Alg != ""
}

// sealHeader reads the header of the nested JWE. Compression is refused: a few
// bytes could become very many.
func sealHeader(jwe string) (header, bool) {
	first, rest, _ := strings.Cut(jwe, ".")
	if strings.ContainsAny(jwe, "\r\n") || strings.Count(rest, ".") != 3 {
		return header{}, false
	}
	all, ok := members(first)
	if !ok {
		return header{}, false
	}
	var h header
	for name, v := range all {
		text, isText := v.(string)
		switch name {
		case "alg":
			h.Alg, ok = text, isText
		case "kid":
			h.Kid, ok = text, isText
		case "enc":
			ok = isText
		default:
			ok = false
		}
		if !ok {
			return header{}, false
		}
	}
	return h, true
}
