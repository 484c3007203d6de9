// Package gen reads the doc comments of Go structs with json tags and makes the
// reference of a configuration of them. It is used by tests and generators
// only: it brings along the Go parser.
package gen

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"

	"github.com/ropewalk/ropewalk/cmd/ropewalk/doc"
	"github.com/ropewalk/ropewalk/config"
)

// Fields reads the Go file at path and returns the fields of the struct that is
// called root, and of those within it, in the order of the file.
func Fields(path, root string) ([]doc.Field, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	g := generator{structs: make(map[string]*ast.StructType), names: make(map[string]string)}
	ast.Inspect(file, func(n ast.Node) bool {
		if t, ok := n.(*ast.TypeSpec); ok {
			if s, ok := t.Type.(*ast.StructType); ok {
				g.structs[t.Name.Name] = s
			}
		}
		return true
	})
	if g.structs[root] == nil {
		return nil, fmt.Errorf("%s has no struct %s", path, root)
	}
	g.names = goNames(g.structs)
	err = g.walk("", g.structs[root])
	return g.fields, err
}

type generator struct {
	structs map[string]*ast.StructType
	names   map[string]string // name in Go to name in the file, to translate comments
	fields  []doc.Field
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

func (g *generator) walk(path string, s *ast.StructType) error {
	for _, f := range s.Fields.List {
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
		what, inner, suffix := g.typeOf(f.Type)
		text, def := g.text(f)
		field := doc.Field{Path: name, Type: what, Default: def, Text: text}
		if !strings.Contains(name, "[]") {
			field.Variable = config.Variable(name)
		}
		g.fields = append(g.fields, field)
		if inner != nil {
			if err := g.walk(name+suffix, inner); err != nil {
				return err
			}
		}
	}
	return nil
}

// typeOf describes a type; inner is the struct within it, at path + suffix.
func (g *generator) typeOf(e ast.Expr) (what string, inner *ast.StructType, suffix string) {
	switch t := e.(type) {
	case *ast.StarExpr:
		return g.typeOf(t.X)
	case *ast.ArrayType:
		what, inner, suffix = g.typeOf(t.Elt)
		if inner != nil {
			return "list of objects", inner, "[]" + suffix
		}
		return "list of " + what + "s", nil, ""
	case *ast.MapType:
		what, inner, suffix = g.typeOf(t.Value)
		if inner != nil {
			return "objects by name", inner, ".<name>" + suffix
		}
		if what == "any" {
			return "object", nil, ""
		}
		return what + "s by name", nil, ""
	case *ast.Ident:
		if s := g.structs[t.Name]; s != nil {
			return "object", s, ""
		}
		return word(t.Name), nil, ""
	}
	return "any", nil, ""
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
func (g *generator) text(f *ast.Field) (text, def string) {
	text = strings.Join(strings.Fields(f.Doc.Text()), " ")
	words := strings.Fields(text)
	goName := f.Names[0].Name
	for i, w := range words {
		bare := strings.TrimRight(w, ".,;:")
		switch name := g.names[bare]; {
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
