package policy

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/ropewalk/ropewalk/message"
)

// Bounds of conditions. What they cost is counted in steps of CEL, and counting
// costs more the longer a loop is: all of them together take some 5 ms. That is
// seldom, because decisions are kept.
const (
	maxCost  = 5000
	maxNodes = 2000 // of the expression, with its macros written out
	maxDepth = 50
	maxRegex = 1000 // instructions
)

// condition is the compiled text of When.
type condition struct {
	text    string
	program cel.Program
	uses    uses
}

// uses is what a condition looks at.
type uses struct {
	ip, listener bool
	address      bool // or the parameters
	params       bool
	session      bool     // or the claims
	claims       []string // by name, sorted, as far as it says
}

// environment has what conditions may use. It is made when it is needed first,
// which takes a millisecond.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	text := func(names ...string) (list []cel.EnvOption) {
		for _, name := range names {
			list = append(list, cel.Variable(name, cel.StringType))
		}
		return list
	}
	options := text("session.subject", "session.id", "session.issuer", "verb", "address.name", "address.path",
		"address.method", "address.instance", "listener", "ip")
	options = append(options,
		cel.Variable("session.authenticated", cel.BoolType),
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("params", cel.MapType(cel.StringType, cel.StringType)),
		cel.Function(withinName, cel.MemberOverload("string_within_string", []*cel.Type{cel.StringType, cel.StringType},
			cel.BoolType, cel.BinaryBinding(within))),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(MaxCondition), cel.ParserRecursionLimit(maxDepth),
		cel.ExpressionNodeLimit(maxNodes), cel.RegexProgramSizeLimit(maxRegex),
		cel.ASTValidators(cel.ValidateRegexLiterals()),
	)
	return cel.NewEnv(options...)
})

// compile makes a condition. Its error has CodeInvalidInput, and says where in
// the text it is wrong.
func compile(text string) (*condition, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	if len(text) > MaxCondition {
		return nil, badInput(fmt.Sprintf("the condition is longer than %d bytes", MaxCondition), "Make several rules of it, or a claim that says the same.")
	}
	tree, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, issueOf(issues.Errors())
	}
	if t := tree.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, badInput(fmt.Sprintf("the condition gives %s, not true or false", t), `Compare it with something, as in claims.role == "editor".`)
	}
	c := &condition{text: text}
	if err := c.look(tree.NativeRep()); err != nil {
		return nil, err
	}
	if cost, err := env.EstimateCost(tree, sizes{}); err != nil || cost.Max > maxCost {
		return nil, badInput("the condition could take too long",
			"Use fewer loops within each other (all, exists, map, filter), or a claim that says the same.")
	}
	c.program, err = env.Program(tree, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, badInput("the condition cannot be used: "+firstLine(err.Error()), "Look at its literal texts and regular expressions.")
	}
	return c, nil
}

// issueOf makes an error of what the compiler has found.
func issueOf(list []*cel.Error) error {
	if len(list) == 0 {
		return badInput("the condition cannot be read", "Write it in CEL, such as 'editor' in claims.roles.")
	}
	first := list[0]
	what := firstLine(first.Message)
	text := fmt.Sprintf("line %d, column %d: %s", max(1, first.Location.Line()), first.Location.Column()+1, what)
	return badInput(text, hintFor(what))
}

// hintFor says what to do about usual mistakes.
func hintFor(what string) string {
	_, after, ok := strings.Cut(what, "undeclared reference to '")
	name, _, _ := strings.Cut(after, "'")
	switch {
	case !ok && strings.Contains(what, "regex"):
		return "Correct the regular expression; it is one of RE2."
	case !ok && strings.Contains(what, "no matching overload"):
		return "The two sides have to be of one type; texts stand in quotes."
	case !ok:
		return "Write it in CEL, such as 'editor' in claims.roles, or claims.level >= 3."
	case name == "session":
		return "There are session.subject, session.authenticated, session.id and session.issuer; what is known about somebody is in claims."
	case name == "address":
		return "There are address.name, address.path, address.method and address.instance."
	case strings.HasPrefix(name, "_"), slices.Contains([]string{"size", "matches"}, name):
		return "Write it in CEL, such as 'editor' in claims.roles."
	}
	return fmt.Sprintf("A claim is written claims.%s, a text '%s'; besides there are session, verb, address, params, listener and ip.", name, name)
}

// look notes what the condition uses, and refuses what cannot be bounded.
func (c *condition) look(tree *ast.AST) error {
	refs := tree.ReferenceMap()
	var bad error
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		name := ""
		if e.Kind() == ast.IdentKind {
			name = e.AsIdent()
		}
		if r := refs[e.ID()]; r != nil && r.Name != "" {
			name = r.Name
		}
		c.uses.note(strings.TrimPrefix(name, "."))
		if e.Kind() == ast.SelectKind && isClaims(e.AsSelect().Operand()) {
			c.uses.claims = append(c.uses.claims, e.AsSelect().FieldName())
		}
		if e.Kind() == ast.CallKind && bad == nil {
			bad = c.lookCall(e.AsCall())
		}
	}))
	slices.Sort(c.uses.claims)
	c.uses.claims = slices.Compact(c.uses.claims)
	return bad
}

func (u *uses) note(name string) {
	first, _, _ := strings.Cut(name, ".")
	switch first {
	case "ip":
		u.ip = true
	case "listener":
		u.listener = true
	case "address":
		u.address = true
	case "params":
		u.address, u.params = true, true
	case "session", "claims":
		u.session = true
	}
}

func (c *condition) lookCall(call ast.CallExpr) error {
	args := call.Args()
	last := func() (string, bool) {
		if len(args) == 0 {
			return "", false
		}
		return textOf(args[len(args)-1])
	}
	switch call.FunctionName() {
	case operators.Index:
		if name, ok := last(); ok && isClaims(args[0]) {
			c.uses.claims = append(c.uses.claims, name)
		}
	case operators.In:
		if name, ok := textOf(args[0]); ok && isClaims(args[1]) {
			c.uses.claims = append(c.uses.claims, name)
		}
	case "matches":
		if _, ok := last(); !ok {
			return badInput("the regular expression of matches is no literal text", "Write it in quotes: what comes from a claim could be of any size.")
		}
	case withinName:
		if text, ok := last(); !ok || !isNetwork(text) {
			return badInput("within takes a network as a literal text", "Write it like ip.within('10.0.0.0/8').")
		}
	}
	return nil
}

func isClaims(e ast.Expr) bool {
	return e.Kind() == ast.IdentKind && strings.TrimPrefix(e.AsIdent(), ".") == "claims"
}

func textOf(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// sizes says how large values are that are not known before, at most. Longer
// ones are possible, and then the count while it runs ends it.
type sizes struct{}

// EstimateSize implements checker.CostEstimator.
func (sizes) EstimateSize(n checker.AstNode) *checker.SizeEstimate {
	const texts, lists = 256, 64
	switch n.Type().Kind() {
	case types.ListKind, types.MapKind, types.DynKind:
		return &checker.SizeEstimate{Max: lists}
	default:
		return &checker.SizeEstimate{Max: texts}
	}
}

// EstimateCallCost implements checker.CostEstimator.
func (sizes) EstimateCallCost(_, _ string, _ *checker.AstNode, _ []checker.AstNode) *checker.CallEstimate { //nolint:gocritic // the interface is theirs
	return nil
}

func badInput(text, hint string) error { return message.NewError(message.CodeInvalidInput, text, hint) }

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return clip(s)
}

var _ checker.CostEstimator = sizes{}
