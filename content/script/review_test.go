package script_test

import (
	"testing"

	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/session"
)

// TestPublicGrantReachesNoSecretClaims: what is computed for the public claims is
// shared by all who have the same, so nothing else may get in, by SQL either.
func TestPublicGrantReachesNoSecretClaims(t *testing.T) {
	t.Parallel()
	code := `export default async () => [session.subject, (await db.query("SELECT :claims.salary AS s, :claims.team AS t, :claims.sub AS u"))[0]]`
	p := withDatabase(t, map[string]string{"public/a.js": code, "secret/a.js": code},
		script.Grant{Paths: []string{"/**"}, Query: []string{"main"}},
		script.Grant{Paths: []string{"/public/**"}, Session: script.SessionPublic},
		script.Grant{Paths: []string{"/secret/**"}, Session: script.SessionSecret})
	ann := session.New("ann", session.Claims{"team": "red"}, session.Claims{"salary": 7})
	for path, want := range map[string]string{
		"/public/a.js": `["ann",{"s":null,"t":"red","u":"ann"}]`,
		"/secret/a.js": `["ann",{"s":7,"t":"red","u":"ann"}]`,
	} {
		if got, err := get(t, p, path, ann, ""); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", path, got, err, want)
		}
	}
}
