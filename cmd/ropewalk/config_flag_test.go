package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoFileByItself: no verb reads a file that was not named, each says so, and
// all read the one that was.
func TestNoFileByItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configName), []byte(`{"nonsense": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	here := func(args ...string) (int, string) {
		p := launch(t, dir, []string{"ROPEWALK_MESH_SECRET=planted-planted-planted"}, args...)
		code := p.wait()
		return code, p.errs.all.String()
	}
	for _, test := range []struct {
		verb string
		code int // without the file
	}{
		{"config show name", exitOK},
		{"token new --subject anna", exitOK},
		{"policy who-can call math:/x", exitOK},
		{"login user list", exitUsage}, // there is no table
		{"serve --preset none-such --listen 127.0.0.1:0", exitUsage},
	} {
		t.Run(strings.Fields(test.verb)[0], func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(test.verb)
			code, errs := here(args...)
			if code != test.code || strings.Contains(errs, "nonsense") {
				t.Errorf("exit code %d\n%s", code, errs)
			}
			wantText(t, errs, "note: ropewalk.jsonc in this directory is not read; to have it read, say --config ropewalk.jsonc")
			code, errs = here(append(args, "--config", configName)...)
			if code != exitUsage {
				t.Errorf("exit code %d", code)
			}
			wantText(t, errs, "nonsense")
			if strings.Contains(errs, "is not read") {
				t.Error(errs)
			}
		})
	}
}
