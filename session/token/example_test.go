package token_test

import (
	"context"
	"fmt"

	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/token"
)

func Example() {
	c, err := token.New(token.Config{Secret: "thirty-two characters are the least"}, token.Options{Mesh: "home"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	tok, err := c.Encode(session.New("anna", session.Claims{"role": "editor"}, session.Claims{"shard": 7}))
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := c.Decode(context.Background(), tok)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Subject, s.Public["role"], s.Secret["shard"])

	_, err = c.Decode(context.Background(), tok+"\n")
	fmt.Println(token.ReasonOf(err))
	// Output:
	// anna editor 7
	// malformed
}
