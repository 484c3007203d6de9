package keeper_test

import (
	"context"
	"fmt"

	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

func Example() {
	ctx := context.Background()
	k, err := keeper.New(ctx, keeper.Config{Form: keeper.FormServer}, keeper.Parts{})
	if err != nil {
		panic(err)
	}
	defer k.Close()

	// Somebody logs in; the client gets the credential.
	s, credential, _ := k.Change(ctx, session.Anonymous(), session.Patch{Subject: new("anna"), Set: session.Claims{"lang": "de"}})
	fmt.Println(s.Subject, s.Public, keeper.Opaque(credential))

	// The client comes back, perhaps to another node with the same store.
	s, _ = k.Open(ctx, credential)
	fmt.Println(s.Subject)

	// And is logged out everywhere.
	_ = k.Revoke(ctx, keeper.Revocation{Subject: "anna", Why: "the phone was stolen"})
	_, err = k.Open(ctx, credential)
	fmt.Println(err)
	// Output:
	// anna map[lang:de] true
	// anna
	// unauthenticated: the session was ended: the phone was stolen
}
