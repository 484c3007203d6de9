package main

import (
	"os"
	"path/filepath"
	"testing"
)

// rulesFile writes a configuration with rules.
func rulesFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "shop.jsonc")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const shopRules = `{"permissions": {
	"rules": [
		{"name": "tenants", "verbs": ["serve"], "addresses": ["shop:/{claims.tenant}/**"], "when": "'editor' in claims.roles"},
		{"name": "desks", "verbs": ["serve"], "addresses": ["desk:/{id}"], "when": "claims.desk == params.id"},
		{"name": "night", "effect": "deny", "verbs": ["*"], "addresses": ["shop:/*/night"], "message": "the shop is closed"},
	],
	"tests": [
		{"verb": "serve", "address": "shop:/acme/x", "session": {"subject": "anna", "public": {"tenant": "acme", "roles": ["editor"]}}, "want": "allow"},
		{"name": "by night", "verb": "call", "address": "shop:/acme/night", "want": "deny", "rule": "night"},
	],
}}`

func TestPolicyTest(t *testing.T) {
	t.Parallel()
	file := rulesFile(t, shopRules)
	o := try(t, nil, "", "policy", "test", "--config", file)
	wantCode(t, o, exitOK)
	wantText(t, o.out, "ok    anna may serve shop:/acme/x  (rule tenants)\n", "ok    by night  (rule night)\n", "\n2 cases passed\n")

	table := rulesFile(t, `{"tests": [{"verb": "call", "address": "shop:/acme/night", "want": "allow"}, {"verb": "call", "address": "a:/", "want": "allow"}]}`)
	o = try(t, nil, "", "policy", "test", "--config", file, table)
	wantCode(t, o, exitFailed)
	wantText(t, o.out, `FAIL  anybody may call shop:/acme/night: want allow, got deny by rule "night"`, "ok    anybody may call a:/  (preset)\n", "\n1 of 2 cases failed\n")
	o = try(t, nil, "", "policy", "test", "--config", file, "--preset", "closed", "--json", table)
	wantCode(t, o, exitFailed)
	wantText(t, o.out, `"failed":2,"passed":0`, `"why":"want allow, got deny by the preset"`)

	wantCode(t, try(t, nil, "", "policy", "test"), exitUsage)
	o = try(t, nil, "", "policy", "test", rulesFile(t, `{"tests": [
		{"verb": "run", "address": "a:/", "want": "allow"}]}`))
	wantCode(t, o, exitUsage)
	wantText(t, o.err, `shop.jsonc:2:12: tests[0].verb: there is no verb "run"`, "Use one of call, send")
}

func TestPolicyWhoCan(t *testing.T) {
	t.Parallel()
	file := rulesFile(t, shopRules)
	o := try(t, nil, "", "policy", "who-can", "serve", "shop:/acme/night", "--config", file)
	wantCode(t, o, exitOK)
	wantText(t, o.out, `EFFECT  RULE             WHO
deny    night            everybody
allow   tenants          if claims.tenant == "acme" && 'editor' in claims.roles
deny    preset standard  everybody else
`)
	o = try(t, nil, "", "policy", "who-can", "serve", "desk:/7", "--config", file)
	wantText(t, o.out, `if claims.desk == params.id, with params["id"] = "7"`)
	o = try(t, nil, "", "policy", "who-can", "serve", "shop:/*/x", "--config", file)
	wantText(t, o.out, "if 'editor' in claims.roles, for a part of it")
	o = try(t, nil, "", "policy", "who-can", "call", "a:/", "--json")
	wantText(t, o.out, `[{"preset":true}]`)
	wantCode(t, try(t, nil, "", "policy", "who-can", "run", "a:/"), exitUsage)
	wantCode(t, try(t, nil, "", "policy", "who-can", "call", "a"), exitUsage)
}

func TestPolicyExplain(t *testing.T) {
	t.Parallel()
	file := rulesFile(t, shopRules)
	args := []string{"policy", "explain", "serve", "shop:/acme/x", "--config", file, "--subject", "anna", "--claim", "tenant=acme"}
	o := try(t, nil, "", append(args, "--secret", `roles=["editor"]`, "--ip", "10.1.2.3")...)
	wantCode(t, o, exitOK)
	wantText(t, o.out, "tenants          allow *  'editor' in claims.roles", "desks            -        claims.desk == params.id", "its addresses are others", "\nallowed by rule tenants\n")
	o = try(t, nil, "", args...)
	wantCode(t, o, exitFailed)
	wantText(t, o.out, "its condition needs claims.roles, which the session does not have", "preset standard  deny *")
	wantText(t, o.err, "may not serve shop:/acme/x: no rule allows it (forbidden)",
		`Rule "tenants" allows it if claims.tenant == "acme" && 'editor' in claims.roles.`)
	o = try(t, nil, "", "policy", "explain", "--json", "call", "shop:/a/night", "--config", file)
	wantCode(t, o, exitFailed)
	wantText(t, o.out, `"allowed":false`, `"by":"night"`)
	wantText(t, o.err, `the shop is closed (rule \"night\")`)
}

// TestPolicyProblems has rules that are wrong told with their places.
func TestPolicyProblems(t *testing.T) {
	t.Parallel()
	file := rulesFile(t, `{"permissions": {"rules": [
  {"verbs": ["call"], "addresses": ["a:/**"], "when": "role == 'x'"},
]}}`)
	for _, args := range [][]string{{"policy", "test", "--config", file}, {"config", "check", file}, {"serve", "--config", file}} {
		o := try(t, nil, "", args...)
		wantCode(t, o, exitUsage)
		wantText(t, o.err, "shop.jsonc:2:55: permissions.rules[0].when: line 1, column 1: undeclared reference to 'role'", "A claim is written claims.role")
	}
	o := try(t, nil, "", "policy", "who-can", "call", "a:/", "--preset", "open")
	wantCode(t, o, exitUsage)
	wantText(t, o.err, `--preset: permissions.preset: there is no preset "open"`)
}
