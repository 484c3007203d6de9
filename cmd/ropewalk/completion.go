package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd prints a script for a shell.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is printed below the flags.
func (*completionCmd) Help() string {
	return `For this shell only, and for all to come:

  source <(ropewalk completion bash)     ropewalk completion bash > ~/.local/share/bash-completion/completions/ropewalk
  source <(ropewalk completion zsh)      ropewalk completion zsh  > "${fpath[1]}/_ropewalk"
  ropewalk completion fish | source      ropewalk completion fish > ~/.config/fish/completions/ropewalk.fish`
}

// Run prints.
func (c *completionCmd) Run(w *world, k *kong.Kong) error {
	nodes := completions(k.Model.Node)
	var script string
	switch c.Shell {
	case "bash":
		script = bashScript(nodes)
	case "zsh":
		script = zshScript(nodes)
	case "fish":
		script = fishScript(nodes)
	}
	return unwritable(w.printf("%s", script))
}

// completion is what can follow one verb.
type completion struct {
	path  string // "route explain"; "" for the program
	words []word // verbs
	flags []word
}

type word struct {
	text, help string
	value      bool // the next word is its value
}

// completions lists the verbs below n, with those below them.
func completions(n *kong.Node) []completion {
	var list []completion
	var walk func(n *kong.Node, path string)
	walk = func(n *kong.Node, path string) {
		c := completion{path: path}
		for _, group := range n.AllFlags(true) {
			for _, f := range group {
				c.flags = append(c.flags, word{"--" + f.Name, f.Help, !f.IsBool()})
			}
		}
		slices.SortFunc(c.flags, func(a, b word) int { return strings.Compare(a.text, b.text) })
		var inner []*kong.Node
		for _, child := range n.Children {
			if child.Type == kong.CommandNode && !child.Hidden {
				c.words = append(c.words, word{text: child.Name, help: child.Help})
				inner = append(inner, child)
			}
		}
		list = append(list, c)
		for _, child := range inner {
			walk(child, strings.TrimSpace(path+" "+child.Name))
		}
	}
	walk(n, "")
	return list
}

func texts(words []word) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = w.text
	}
	return strings.Join(list, " ")
}

// pathCases are the lines of a shell's case statement that follow the verbs.
func pathCases(nodes []completion) string {
	var b strings.Builder
	for _, n := range nodes {
		for _, w := range n.words {
			next := strings.TrimSpace(n.path + " " + w.text)
			fmt.Fprintf(&b, "      %q) at=%q ;;\n", n.path+":"+w.text, next)
		}
	}
	return b.String()
}

func bashScript(nodes []completion) string {
	var b strings.Builder
	b.WriteString(`# bash completion for ropewalk
_ropewalk() {
  local at="" word cur="${COMP_WORDS[COMP_CWORD]}"
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$at:$word" in
`)
	b.WriteString(pathCases(nodes))
	b.WriteString("    esac\n  done\n  local words=\"\" flags=\"\"\n  case \"$at\" in\n")
	for _, n := range nodes {
		fmt.Fprintf(&b, "    %q) words=%q flags=%q ;;\n", n.path, texts(n.words), texts(n.flags))
	}
	b.WriteString(`  esac
  if [[ "$cur" == -* ]]; then words="$flags"; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _ropewalk ropewalk
`)
	return b.String()
}

func zshScript(nodes []completion) string {
	var b strings.Builder
	b.WriteString(`#compdef ropewalk
_ropewalk() {
  local at="" word
  local -a verbs flags
  for word in "${(@)words[2,CURRENT-1]}"; do
    case "$at:$word" in
`)
	b.WriteString(pathCases(nodes))
	b.WriteString("    esac\n  done\n  case \"$at\" in\n")
	described := func(words []word) string {
		list := make([]string, len(words))
		for i, w := range words {
			list[i] = zshQuote(strings.ReplaceAll(w.text, ":", `\:`) + ":" + w.help)
		}
		return strings.Join(list, " ")
	}
	for _, n := range nodes {
		fmt.Fprintf(&b, "    %q) verbs=(%s); flags=(%s) ;;\n", n.path, described(n.words), described(n.flags))
	}
	b.WriteString(`  esac
  if [[ "$PREFIX" == -* ]]; then
    _describe flag flags
  elif (( $#verbs )); then
    _describe verb verbs
  else
    _files
  fi
}
if [[ "$funcstack[1]" == _ropewalk ]]; then _ropewalk "$@"; else compdef _ropewalk ropewalk; fi
`)
	return b.String()
}

func zshQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func fishScript(nodes []completion) string {
	var b strings.Builder
	b.WriteString(`# fish completion for ropewalk
function __ropewalk_at
  set -l at ""
  for word in (commandline -opc)[2..]
    switch "$at:$word"
`)
	for _, n := range nodes {
		for _, w := range n.words {
			fmt.Fprintf(&b, "      case %q\n        set at %q\n", n.path+":"+w.text, strings.TrimSpace(n.path+" "+w.text))
		}
	}
	b.WriteString("    end\n" + "  end\n  test \"$at\" = \"$argv[1]\"\nend\n")
	for _, n := range nodes {
		at := fishQuote(fmt.Sprintf("__ropewalk_at %q", n.path))
		for _, w := range n.words {
			fmt.Fprintf(&b, "complete -c ropewalk -f -n %s -a %s -d %s\n", at, w.text, fishQuote(w.help))
		}
		for _, w := range n.flags {
			more := ""
			if w.value {
				more = " -r"
			}
			fmt.Fprintf(&b, "complete -c ropewalk -n %s -l %s%s -d %s\n", at, strings.TrimPrefix(w.text, "--"), more, fishQuote(w.help))
		}
	}
	return b.String()
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
