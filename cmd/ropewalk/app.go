package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/message"
)

// The exit codes, as docs/reference/cli.md and --help give them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitConnect     = 3
	exitTimeout     = 4
	exitInterrupted = 130 // as shells do for programs that a Ctrl-C ended
)

const exitCodes = `Exit codes:
  0    done
  1    the call was answered with an error, or something else failed
  2    the command line or the configuration is wrong
  3    there is no connection to the node
  4    there was no answer in time
  130  interrupted (dev, serve, hello: 0, after calls in flight are finished; bench: 0)
`

// grammar is the command line. Fields of type struct with the tag cmd are verbs.
type grammar struct {
	JSON bool `help:"Print JSON, for programs." name:"json"`

	Dev   devCmd   `cmd:"" group:"node" help:"Start a node to play with: a project, services and a page."`
	Serve serveCmd `cmd:"" group:"node" help:"Run a node."`
	Hello helloCmd `cmd:"" group:"node" help:"Serve the example services on a node, from a process of their own."`

	Call   callCmd   `cmd:"" group:"use" help:"Call an address; print each part and the reply."`
	Gather gatherCmd `cmd:"" group:"use" help:"Ask every server of an address and print all answers."`
	Send   sendCmd   `cmd:"" group:"use" help:"Send a message to a client or a service."`

	Watch   watchCmd   `cmd:"" group:"use" help:"Show the content or events of a topic as they come."`
	Get     getCmd     `cmd:"" group:"use" help:"Print the content of a topic as it is now."`
	Publish publishCmd `cmd:"" group:"use" help:"Give a topic a new content or event."`
	Ls      lsCmd      `cmd:"" group:"use" help:"List a directory of contents."`
	Content contentCmd `cmd:"" group:"use" help:"Look after contents in a Git repository: history, drafts, remote."`

	Script scriptCmd `cmd:"" group:"use" help:"Run a script without a node; print what scripts may use."`

	Nodes      nodesCmd      `cmd:"" group:"look" help:"List the nodes of the mesh."`
	Drain      drainCmd      `cmd:"" group:"look" help:"Have a node take no new calls, so that it can be stopped."`
	Services   servicesCmd   `cmd:"" group:"look" help:"List what is served, by whom, and where."`
	Topics     topicsCmd     `cmd:"" group:"look" help:"List what is watched, by how many, and where it comes from."`
	Clients    clientsCmd    `cmd:"" group:"look" help:"List who is connected."`
	Route      routeCmd      `cmd:"" group:"look" help:"Explain the way of a message."`
	Tap        tapCmd        `cmd:"" group:"look" help:"Watch messages as they pass, secrets masked."`
	Middleware middlewareCmd `cmd:"" group:"look" help:"List and change the middleware of a node while it runs."`
	Reload     reloadCmd     `cmd:"" group:"look" help:"Have a node read its configuration again."`
	Audit      auditCmd      `cmd:"" group:"look" help:"Read the audit log of a node."`
	Versions   versionsCmd   `cmd:"" group:"look" help:"List and change how calls are split among versions of services."`
	Sessions   sessionsCmd   `cmd:"" group:"look" help:"List and end sessions; tell who you are for a node."`
	Policy     policyCmd     `cmd:"" group:"look" help:"Test and explain who may do what."`
	Bench      benchCmd      `cmd:"" group:"look" help:"Measure a node: calls, connections or topics."`

	Token      tokenCmd      `cmd:"" group:"more" help:"Make, show and check tokens."`
	Login      loginCmd      `cmd:"" group:"more" help:"Hash passwords; look after users."`
	Config     configCmd     `cmd:"" group:"more" help:"Check a configuration file; print the reference."`
	Completion completionCmd `cmd:"" group:"more" help:"Print a script that completes commands in a shell."`
	Version    versionCmd    `cmd:"" group:"more" help:"Print the version."`
}

// newParser returns the parser of the command line. After it has printed help,
// *helped is true.
func newParser(g *grammar, w *world, helped *bool) (*kong.Kong, error) {
	return kong.New(g,
		kong.Name("ropewalk"),
		kong.Description("One connection for services, calls and clients."),
		kong.Writers(w.out, w.err),
		kong.Exit(func(int) { *helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: maxWidth, NoExpandSubcommands: true}),
		kong.Help(help),
		kong.ExplicitGroups([]kong.Group{
			{Key: "node", Title: "Run a node:"},
			{Key: "use", Title: "Use a node:"},
			{Key: "look", Title: "Look after a node:"},
			{Key: "more", Title: "More:"},
			{Key: "mesh", Title: "Other nodes:"},
		}),
	)
}

// help adds to the help of the whole program what is true of all verbs.
func help(o kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(o, ctx); err != nil {
		return err
	}
	if ctx.Selected() != nil {
		return nil
	}
	_, err := fmt.Fprint(ctx.Stdout, "\n", exitCodes, "\nStart with: ropewalk dev\n")
	return err
}

// run does what args say and returns the exit code.
func run(ctx context.Context, args []string, w *world) int {
	var (
		g      grammar
		helped bool
	)
	k, err := newParser(&g, w, &helped)
	if err != nil {
		panic(err) //nolint:forbidigo // the grammar is wrong, which any test finds
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help": // what people try who know other programs
		args = append(slices.Clone(args[1:]), "--help")
	}
	kctx, err := k.Parse(args)
	if helped {
		return exitOK
	}
	// A command line that could not be read may ask for JSON all the same.
	w.json = g.JSON || err != nil && slices.Contains(args, "--json")
	if err != nil {
		return w.fail(usageOf(err))
	}
	if err := checkNumbers(kctx); err != nil {
		return w.fail(err)
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	kctx.Bind(w, k)
	err = kctx.Run()
	if err == nil {
		return exitOK
	}
	if f := new(failure); errors.As(err, &f) && f.err == nil {
		return f.code
	}
	if ctx.Err() != nil && message.CodeOf(err) == message.CodeCanceled {
		err = fail(exitInterrupted, err)
	}
	return w.fail(err)
}

// checkNumbers refuses numbers and times below 0, which no flag has a use for.
func checkNumbers(kctx *kong.Context) error {
	for _, f := range kctx.Flags() {
		if v := f.Target; v.CanInt() && v.Int() < 0 {
			return usage(fmt.Sprintf("--%s: %v is negative", f.Name, v.Interface()), "Leave it out for the default.")
		}
	}
	return nil
}

// failure is an error with the exit code that it asks for. With no error within
// there is nothing to say.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string {
	if f.err == nil {
		return "exit " + strconv.Itoa(f.code)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

func fail(code int, err error) error { return &failure{code, err} }

// usage returns an error about how the program was called.
func usage(text, hint string) error {
	return fail(exitUsage, message.NewError(message.CodeInvalidInput, text, hint))
}

// usageOf turns an error of the parser into one of ours.
func usageOf(err error) error {
	command := "ropewalk"
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil {
		if n := p.Context.Selected(); n != nil {
			command += " " + strings.TrimPrefix(n.FullPath(), "ropewalk ")
		}
	}
	text := inOurWords(err.Error())
	if command == "ropewalk" {
		text = noCommand(text)
	}
	return usage(text, fmt.Sprintf("Run \"%s --help\" to see how it is used.", command))
}

// elsewhere are the commands of other programs, and ours for the same.
var elsewhere = map[string]string{
	"sub": "watch", "subscribe": "watch", "tail": "watch", "follow": "watch",
	"pub": "publish", "put": "publish", "set": "publish",
	"cat": "get", "read": "get", "list": "ls", "dir": "ls",
	"req": "call", "request": "call", "init": "dev", "new": "dev", "start": "serve", "run": "serve", "server": "serve",
}

// noCommand says what was meant by a command that there is not.
func noCommand(text string) string {
	name, found := strings.CutPrefix(text, "unexpected argument ")
	if !found {
		return text
	}
	word, _, _ := strings.Cut(name, ",")
	if ours := elsewhere[word]; ours != "" {
		name = fmt.Sprintf("%s, did you mean %q?", word, ours)
	}
	return "there is no command " + name
}

// parserWords are what the parser says, and what we say.
var parserWords = []struct {
	theirs *regexp.Regexp
	ours   string
}{
	{regexp.MustCompile(`^expected "(<[^"]*>)"$`), "$1 is missing"},
	{regexp.MustCompile(`^expected (?:one of )?(".*)$`), `a command is missing: $1`},
	{regexp.MustCompile(`^<?[^ :]*>?: stat (.*): no such file or directory$`), "there is no file $1"},
	{regexp.MustCompile(`^<?[^ :]*>?: (".*") exists but is a directory$`), "$1 is a directory, not a file"},
	{regexp.MustCompile(`^(.*): expected duration but got (".*?").*$`), "$1: $2 is not a time; write it like 500ms, 30s or 1h30m"},
	{regexp.MustCompile(`^(.*): expected \w+ value but got "(-.*?)" \(short flag\).*$`), "$1: $2 is negative"},
	{regexp.MustCompile(`^(.*): expected a valid .*int but got (".*")$`), "$1: $2 is not a whole number"},
	{regexp.MustCompile(`^(.*): expected "<key>=<value>" but got (".*")$`), "$1: $2 is not NAME=VALUE"},
}

// inOurWords makes an error of the parser readable.
func inOurWords(text string) string {
	for _, w := range parserWords {
		if w.theirs.MatchString(text) {
			return w.theirs.ReplaceAllString(text, w.ours)
		}
	}
	return text
}

// exitCode returns the exit code for an error.
func exitCode(err error) int {
	var (
		f *failure
		c *config.Error
	)
	switch {
	case errors.As(err, &f):
		return f.code
	case errors.As(err, &c):
		return exitUsage
	}
	switch message.CodeOf(err) {
	case message.CodeDeadlineExceeded:
		return exitTimeout
	case message.CodeConnectionLost, message.CodeNotReady:
		return exitConnect
	default:
		return exitFailed
	}
}
