package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// secretName is what variables and fields are called that hold what nobody may
// guess byte by byte.
var secretName = regexp.MustCompile(`(?i)^(old|given|said|right|want|wrong)?(secret|proof|password|credential|signature|mac|sig)$`)

// compared are functions that stop at the first difference.
var compared = map[string]bool{
	"bytes.Equal": true, "bytes.Compare": true, "slices.Equal": true, "slices.Contains": true,
	"strings.Compare": true, "strings.EqualFold": true, "reflect.DeepEqual": true,
}

// TestSecretsAreComparedInConstantTime looks for comparisons whose time tells how
// much of a guess is right. Measuring it would tell nothing on a busy machine.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	t.Parallel()
	files := 0
	err := fs.WalkDir(os.DirFS("../.."), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name := d.Name(); name == "node_modules" || name == "bin" || name == "bench" || name == "keepertest" || name == ".git" {
				return fs.SkipDir
			}
			return nil
		case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files++
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, filepath.Join("../..", path), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, at := range leaks(f) {
			t.Errorf("%s:%d compares a secret in a time that tells of it: use crypto/subtle or hmac.Equal", path, set.Position(at).Line)
		}
		return nil
	})
	if err != nil || files < 300 {
		t.Fatalf("%d files, %v", files, err)
	}
}

// leaks returns the places of comparisons of secrets.
func leaks(f *ast.File) (list []token.Pos) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if (n.Op == token.EQL || n.Op == token.NEQ) && leak(n.X, n.Y) {
				list = append(list, n.Pos())
			}
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && len(n.Args) == 2 {
				if p, ok := s.X.(*ast.Ident); ok && compared[p.Name+"."+s.Sel.Name] && leak(n.Args[0], n.Args[1]) {
					list = append(list, n.Pos())
				}
			}
		}
		return true
	})
	return list
}

// leak tells whether one of two that are compared is a secret, and the other is
// not known to everybody.
func leak(x, y ast.Expr) bool {
	return (isSecret(x) || isSecret(y)) && !isConstant(x) && !isConstant(y)
}

func isSecret(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return secretName.MatchString(e.Name)
	case *ast.SelectorExpr:
		return secretName.MatchString(e.Sel.Name)
	case *ast.IndexExpr:
		return isSecret(e.X)
	case *ast.SliceExpr:
		return isSecret(e.X)
	case *ast.StarExpr:
		return isSecret(e.X)
	case *ast.CallExpr:
		return len(e.Args) == 1 && isConversion(e.Fun) && isSecret(e.Args[0])
	}
	return false
}

func isConversion(e ast.Expr) bool {
	_, bytes := e.(*ast.ArrayType)
	id, ok := e.(*ast.Ident)
	return bytes || ok && id.Name == "string"
}

func isConstant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		return e.Name == "nil" || e.Name == "true" || e.Name == "false"
	case *ast.CallExpr:
		f, ok := e.Fun.(*ast.Ident)
		return ok && f.Name == "len"
	}
	return false
}

// TestLeaks sees that the search finds something.
func TestLeaks(t *testing.T) {
	t.Parallel()
	const head = "package p\nfunc f() bool { return "
	for text, want := range map[string]int{
		"subtle.ConstantTimeCompare(secret, given) == 1": 0, `c.Secret == ""`: 0, "len(password) == n": 0, "proof == nil": 0, "public == claim": 0,
		"c.Secret == given": 1, "given != string(l.secret)": 1, "bytes.Equal(sig, []byte(password))": 1, "r.Proof == proof": 1, "*proof != p": 1,
		"slices.Contains(all, credential)": 1, "mac[:] == x || y == signature[0]": 2,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "", head+text+" }", 0)
		if err != nil {
			t.Fatal(text, err)
		}
		if got := len(leaks(f)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}
