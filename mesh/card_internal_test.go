package mesh

import (
	"encoding/json"
	"strings"
	"testing"
)

// What a node says again and again is read once.
func TestCardsAreReadOnce(t *testing.T) {
	t.Parallel()
	id, err := parseID(strings.Repeat("ab", 16))
	if err != nil {
		t.Fatal(err)
	}
	write := func(clients int) []byte {
		b, err := json.Marshal(&Card{Protocol: Protocol, ID: id.String(), Name: "a", State: Alive, Clients: clients})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var c cards
	first, err := c.decode(id, write(1))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.decode(id, write(1)); again != first || err != nil {
		t.Errorf("the same card: %p, want %p, %v", again, first, err)
	}
	if other, err := c.decode(id, write(2)); err != nil || other.Clients != 2 || first.Clients != 1 {
		t.Errorf("another card: %+v, %v; the first is %+v", other, err, first)
	}
	if back, err := c.decode(id, write(1)); err != nil || back.Clients != 1 {
		t.Errorf("the first card again: %+v, %v", back, err)
	}
	for name, b := range map[string][]byte{"no JSON": []byte("{"), "nothing": nil} {
		if got, err := c.decode(id, b); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got, err := c.decode(nodeID{1}, write(1)); err == nil {
		t.Errorf("the card of another node: %+v", got)
	}
	if len(c.last) != 1 {
		t.Errorf("%d cards are kept", len(c.last))
	}
}
