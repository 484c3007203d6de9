package git_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// mute takes connections, and says nothing.
func mute(t *testing.T) (address string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// key makes a key for ssh, and a list of known hosts.
func key(t *testing.T) (key, known string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	key, known = filepath.Join(t.TempDir(), "key"), filepath.Join(t.TempDir(), "known")
	for name, b := range map[string][]byte{key: pem.EncodeToMemory(block), known: nil} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key, known
}

// A remote that takes the connection and says nothing more is not waited for longer
// than its time, nor when the store is closed.
func TestSilentRemote(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	half := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, _ = io.WriteString(w, "001e# service=git-upload-pack\n0000")
		_ = http.NewResponseController(w).Flush()
		<-over
	}))
	t.Cleanup(half.Close)
	t.Cleanup(func() { close(over) })
	keyFile, known := key(t)
	for name, url := range map[string]string{
		"http": "http://" + mute(t) + "/x.git", "half an answer": half.URL + "/x.git", "ssh": "ssh://git@" + mute(t) + "/x.git",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, wait := range []time.Duration{100 * time.Millisecond, time.Hour} {
				s, err := git.New(git.Settings{Repository: filepath.Join(t.TempDir(), "r.git"), Remote: git.Remote{
					URL: url, Timeout: duration.Duration(wait), KeyFile: keyFile, KnownHosts: known,
				}}, git.Options{Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				if wait < time.Hour {
					_, err := tryPublish(s.Git(), "/pull", `{}`)
					if e := fails(t, err, message.CodeSourceDown); !strings.Contains(e.Message, "in time") {
						t.Errorf("the error is %v", e)
					}
				}
				closed := make(chan error, 1)
				go func() { closed <- s.Close() }()
				select {
				case err := <-closed:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(20 * time.Second):
					t.Fatal("it is not closed")
				}
			}
		})
	}
}
