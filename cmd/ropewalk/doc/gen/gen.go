// Package gen reads the doc comments of Go structs with json tags and makes the
// reference of a configuration of them. It is used by tests and generators
// only: it brings along the Go parser.
package gen

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/ropewalk/ropewalk/cmd/ropewalk/doc"
	"github.com/ropewalk/ropewalk/config"
)

// module begins the import paths that are looked up, in the directory of the
// module, or of the file that [Fields] was given if that is in none.
const module = "github.com/ropewalk/ropewalk"

// Fields reads the Go file at path and returns the fields of the struct that is
// called root, and of those within it, in the order of the file. Structs of other
// packages of the module are found in its directories.
func Fields(path, root string) ([]doc.Field, error) {
	g := generator{dir: moduleOf(path), scopes: make(map[string]*scope)}
	s := newScope()
	if err := s.parse(path); err != nil {
		return nil, err
	}
	t := s.structs[root]
	if t == nil {
		return nil, fmt.Errorf("%s has no struct %s", path, root)
	}
	s.names = goNames(s.structs)
	err := g.walk("", t, s)
	return g.fields, err
}

// moduleOf returns the directory of the module that a file is in.
func moduleOf(path string) string {
	for dir := filepath.Dir(path); ; dir = filepath.Join(dir, "..") {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if abs, err := filepath.Abs(dir); err != nil || abs == filepath.Dir(abs) {
			return filepath.Dir(path)
		}
	}
}

// scope is what names mean in a package.
type scope struct {
	structs map[string]*ast.StructType
	others  map[string]ast.Expr // what other types are made of
	imports map[string]string   // paths by name
	names   map[string]string   // name in Go to name in the file, to translate comments
}

func newScope() *scope {
	return &scope{structs: make(map[string]*ast.StructType), others: make(map[string]ast.Expr), imports: make(map[string]string)}
}

// parse adds a file.
func (s *scope) parse(file string) error {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return err
	}
	for _, i := range f.Imports {
		at, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return err
		}
		name := path.Base(at)
		if i.Name != nil {
			name = i.Name.Name
		}
		s.imports[name] = at
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if t, ok := n.(*ast.TypeSpec); ok {
			if st, ok := t.Type.(*ast.StructType); ok {
				s.structs[t.Name.Name] = st
			} else {
				s.others[t.Name.Name] = t.Type
			}
		}
		return true
	})
	return nil
}

type generator struct {
	dir    string            // of the module
	scopes map[string]*scope // by import path
	fields []doc.Field
	err    error // of a package that could not be read
}

// load reads a package of the module; nil if it is none.
func (g *generator) load(at string) *scope {
	rest, ours := strings.CutPrefix(at+"/", module+"/")
	if s := g.scopes[at]; s != nil || !ours {
		return s
	}
	files, err := filepath.Glob(filepath.Join(g.dir, filepath.FromSlash(rest), "*.go"))
	s := newScope()
	for _, f := range files {
		if err == nil && !strings.HasSuffix(f, "_test.go") {
			err = s.parse(f)
		}
	}
	if err != nil {
		g.err = err
		return nil
	}
	s.names = goNames(s.structs)
	g.scopes[at] = s
	return s
}

// goNames maps the Go names of fields to those in a file. Names that mean
// different things in different structs would be confusing in comments anyway.
func goNames(structs map[string]*ast.StructType) map[string]string {
	names := make(map[string]string)
	for _, s := range structs {
		for _, f := range s.Fields.List {
			if name := jsonName(f); name != "" && len(f.Names) == 1 && isCompound(f.Names[0].Name) {
				names[f.Names[0].Name] = name
			}
		}
	}
	return names
}

// isCompound is true for CertFile, not for Name and NATS: a single word in a
// comment may be just that word.
func isCompound(name string) bool {
	return strings.ToLower(name[1:]) != name[1:] && strings.ToUpper(name) != name
}

func jsonName(f *ast.Field) string {
	if f.Tag == nil || len(f.Names) != 1 || !f.Names[0].IsExported() {
		return ""
	}
	tag, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
	if name == "-" {
		return ""
	}
	return name
}

func (g *generator) walk(path string, t *ast.StructType, in *scope) error {
	for _, f := range t.Fields.List {
		if len(f.Names) == 0 { // those of an embedded struct stand among the others
			if found := g.typeOf(f.Type, in); found.fields != nil {
				if err := g.walk(path, found.fields, found.scope); err != nil {
					return err
				}
			}
			continue
		}
		name := jsonName(f)
		if name == "" {
			continue
		}
		if f.Doc == nil {
			return fmt.Errorf("the field %s has no doc comment", f.Names[0].Name)
		}
		if path != "" {
			name = path + "." + name
		}
		found := g.typeOf(f.Type, in)
		if g.err != nil {
			return g.err
		}
		text, def := in.text(f)
		field := doc.Field{Path: name, Type: found.word, Default: def, Text: text, Secret: isSecret(f)}
		if !strings.Contains(name, "[]") {
			field.Variable = config.Variable(name)
		}
		g.fields = append(g.fields, field)
		if found.fields != nil {
			if err := g.walk(name+found.suffix, found.fields, found.scope); err != nil {
				return err
			}
		}
	}
	return nil
}

// isSecret reports whether a field is tagged as in package config.
func isSecret(f *ast.Field) bool {
	tag, err := strconv.Unquote(f.Tag.Value) // jsonName has found one
	return err == nil && reflect.StructTag(tag).Get("secret") == "true"
}

// found is what a type looks like in a file.
type found struct {
	word   string
	fields *ast.StructType // of the struct within it, at path + suffix; nil for none
	suffix string
	scope  *scope // of fields
}

// typeOf describes a type.
func (g *generator) typeOf(e ast.Expr, in *scope) found {
	switch t := e.(type) {
	case *ast.StarExpr:
		return g.typeOf(t.X, in)
	case *ast.ArrayType:
		elem := g.typeOf(t.Elt, in)
		if elem.fields != nil {
			elem.word, elem.suffix = "list of objects", "[]"+elem.suffix
			return elem
		}
		return found{word: "list of " + elem.word + "s"}
	case *ast.MapType:
		elem := g.typeOf(t.Value, in)
		switch {
		case elem.fields != nil:
			elem.word, elem.suffix = "objects by name", ".<name>"+elem.suffix
			return elem
		case elem.word == "any":
			return found{word: "object"}
		}
		return found{word: elem.word + "s by name"}
	case *ast.SelectorExpr:
		pkg, ok := t.X.(*ast.Ident)
		if !ok || t.Sel.Name == "Duration" {
			return g.typeOf(t.Sel, newScope())
		}
		if s := g.load(in.imports[pkg.Name]); s != nil {
			return g.typeOf(t.Sel, s)
		}
	case *ast.Ident:
		if s := in.structs[t.Name]; s != nil {
			return found{word: "object", fields: s, scope: in}
		}
		if e := in.others[t.Name]; e != nil && t.Name != "Duration" {
			return g.typeOf(e, in)
		}
		return found{word: word(t.Name)}
	}
	return found{word: "any"}
}

func word(goType string) string {
	switch {
	case goType == "string":
		return "text"
	case goType == "bool":
		return "true or false"
	case goType == "Duration":
		return "time"
	case strings.HasPrefix(goType, "int"), strings.HasPrefix(goType, "uint"):
		return "whole number"
	case strings.HasPrefix(goType, "float"):
		return "number"
	}
	return goType
}

// text returns a doc comment in terms of the file, with the default apart.
func (s *scope) text(f *ast.Field) (text, def string) {
	text = strings.Join(strings.Fields(f.Doc.Text()), " ")
	words := strings.Fields(text)
	goName := f.Names[0].Name
	for i, w := range words {
		bare := strings.TrimRight(w, ".,;:")
		switch name := s.names[bare]; {
		case bare == goName:
			words[i] = jsonName(f) + w[len(bare):]
		case name != "":
			words[i] = name + w[len(bare):]
		}
	}
	text = predicate(words, jsonName(f))
	if at := strings.Index(text, "Default: "); at >= 0 {
		rest := text[at+len("Default: "):]
		end := strings.Index(rest+" ", ". ")
		if end < 0 {
			end = len(rest)
		}
		def = strings.TrimSuffix(rest[:end], ".")
		text = strings.TrimSpace(text[:at] + strings.TrimPrefix(rest[end:], "."))
	}
	return text, def
}

// joins are words after which the name is no subject by itself.
var joins = map[string]bool{"and": true, "or": true, "of": true, "by": true, "for": true, "in": true, "to": true, "that": true}

// predicate leaves out the name that a doc comment begins with, and "is": in a
// reference the name stands beside it.
func predicate(words []string, name string) string {
	if len(words) > 2 && words[0] == name && !joins[words[1]] {
		words = words[1:]
		if words[0] == "is" || words[0] == "are" {
			words = words[1:]
		}
		words[0] = strings.ToUpper(words[0][:1]) + words[0][1:]
	}
	return strings.Join(words, " ")
}
