package login

import (
	"fmt"
	"net"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// Config says who may log in, and how. The zero value of every field stands for
// its default; without a driver in Users there is no log-in.
type Config struct {
	// Users says where the user table is.
	Users Users `json:"users,omitzero"`
	// Passwords says what passwords are accepted and how they are kept.
	Passwords Passwords `json:"passwords,omitzero"`
	// Throttle bounds how often somebody may be wrong.
	Throttle Throttle `json:"throttle,omitzero"`
	// Passkeys switches passkeys on.
	Passkeys Passkeys `json:"passkeys,omitzero"`
	// Keep are the names of claims that a session keeps when somebody logs in or
	// out in it. Default: none, so that nobody gets a claim that another had.
	Keep []string `json:"keep,omitempty"`
}

// Users says where the user table is and what it is made of.
type Users struct {
	// Driver is the database: sqlite or postgres.
	Driver string `json:"driver,omitempty"`
	// DSN is the data source: for sqlite a file, for postgres a URL such as
	// postgres://user:password@host/database. Better given as
	// ROPEWALK_LOGIN_USERS_DSN than in a file.
	DSN string `json:"dsn,omitempty" secret:"true" path:"dsn"`
	// Create makes the tables if they are not there. Default: false.
	Create bool `json:"create,omitempty"`
	// Table is the name of the user table, "schema.table" for one in a schema.
	// Default: users.
	Table string `json:"table,omitempty"`
	// Passkeys is the name of the table of passkeys. Default: passkeys.
	Passkeys string `json:"passkeys,omitempty"`
	// Columns are the names of the columns of the user table.
	Columns Columns `json:"columns,omitzero"`
	// Public are claims that the client may see, by name, and the columns they
	// come from. A column of type JSON gives what it holds, any other a text,
	// number or boolean; NULL is no claim. Default: {"name": the column of names}.
	Public map[string]string `json:"public,omitempty"`
	// Secret are likewise claims that the client does not see.
	Secret map[string]string `json:"secret,omitempty"`
	// Queries replace what is made of Table and Columns.
	Queries Queries `json:"queries,omitzero"`
	// Connections is how many connections to the database there may be.
	// Default: 8.
	Connections int `json:"connections,omitempty"`
	// Timeout is how long a query may take. Default: 5s.
	Timeout duration.Duration `json:"timeout,omitzero"`
}

// Columns are the names of the columns of a user table.
type Columns struct {
	// ID is what a user is known by for ever: the subject of sessions.
	// Default: id.
	ID string `json:"id,omitempty"`
	// Name is what people type to log in. Default: name.
	Name string `json:"name,omitempty"`
	// Hash is the hash of the password: argon2id or argon2i in PHC string
	// format, or bcrypt. NULL or "": this user has no password. Default: hash.
	Hash string `json:"hash,omitempty"`
	// Disabled says that the user may not log in: true, a number but 0, a time.
	// Default: disabled, if there is such a column.
	Disabled string `json:"disabled,omitempty"`
	// Public is a column with a JSON object of claims that the client may see.
	// Default: public, if there is such a column.
	Public string `json:"public,omitempty"`
	// Secret is a column with a JSON object of claims that the client does not
	// see. Default: secret, if there is such a column.
	Secret string `json:"secret,omitempty"`
}

// Queries are SQL statements with $1, $2 as parameters, in sqlite too.
type Queries struct {
	// ByName finds the user whose name is $1: one row with the columns that
	// Columns, Public and Secret name. Default: SELECT * FROM table WHERE name = $1.
	ByName string `json:"byName,omitempty"`
	// ByID finds the user whose id, as text, is $1, with the same columns.
	// Default: SELECT * FROM table WHERE id = $1.
	ByID string `json:"byID,omitempty"`
	// SetHash makes $2 the hash of the user with the id $1, if it is $3 now.
	// Default: UPDATE table SET hash = $2 WHERE id = $1 AND COALESCE(hash, '') = $3.
	SetHash string `json:"setHash,omitempty"`
}

// Passwords says what passwords are accepted and how they are kept.
type Passwords struct {
	// Off switches logging in by password off. Default: false.
	Off bool `json:"off,omitempty"`
	// Min is how many characters a new password must have. Default: 8.
	Min int `json:"min,omitempty"`
	// Max is how many bytes a password may have. Default: 256.
	Max int `json:"max,omitempty"`
	// Memory is what one argon2id hash takes, in KiB. Default: 19456.
	Memory int `json:"memory,omitempty"`
	// Passes is how often argon2id goes over the memory. Default: 2.
	Passes int `json:"passes,omitempty"`
	// Lanes is how parallel argon2id is. Default: 1.
	Lanes int `json:"lanes,omitempty"`
	// Concurrent is how many hashes are computed at a time, and so what memory
	// all of them take together. Default: as many as there are CPUs.
	Concurrent int `json:"concurrent,omitempty"`
	// Waiting is how many more may wait for their turn; who comes then is
	// refused with overloaded. Default: 64.
	Waiting int `json:"waiting,omitempty"`
}

// Throttle bounds how often somebody may be wrong. After Failures wrong tries
// for a user from one address (an IPv6 address counts with its /64), each
// further try has to wait: first Delay, then twice as long each time, up to
// MaxDelay. The same is true of all tries from one address, after
// FailuresPerAddress. A user with more than FailuresPerUser wrong tries from all
// addresses is under attack: then each address has one try before it waits. An
// address that has not tried yet never waits, so nobody can lock another out.
type Throttle struct {
	// Failures is how many wrong tries for one user from one address are free.
	// Default: 5.
	Failures int `json:"failures,omitempty"`
	// FailuresPerAddress is how many are free for one address and all users;
	// less than 0 is no such limit, for nodes behind a proxy. Default: 50.
	FailuresPerAddress int `json:"failuresPerAddress,omitempty"`
	// FailuresPerUser is when a user counts as under attack. Default: 30.
	FailuresPerUser int `json:"failuresPerUser,omitempty"`
	// Delay is the first wait. Default: 1s.
	Delay duration.Duration `json:"delay,omitzero"`
	// MaxDelay is the longest. Default: 15m.
	MaxDelay duration.Duration `json:"maxDelay,omitzero"`
	// Entries is how many users and addresses are remembered, about 200 bytes
	// each; the oldest is forgotten for a new one. Default: 100000.
	Entries int `json:"entries,omitempty"`
}

// Passkeys says for which site passkeys are. They are off without an ID.
type Passkeys struct {
	// ID is the relying party: the domain of the site without scheme and port,
	// such as example.com, or localhost. It cannot be changed later: passkeys
	// belong to it.
	ID string `json:"id,omitempty"`
	// Name is what the browser shows. Default: the ID.
	Name string `json:"name,omitempty"`
	// Origins are where pages may come from, such as https://app.example.com.
	// Default: https:// and the ID.
	Origins []string `json:"origins,omitempty"`
	// Verification says whether the authenticator has to check who uses it, by
	// PIN or finger: required or preferred. Default: required.
	Verification string `json:"verification,omitempty"`
	// Timeout is how long a person has for it. Default: 5m.
	Timeout duration.Duration `json:"timeout,omitzero"`
	// Fresh is how long after logging in a passkey may be added or deleted;
	// later the user has to log in again. Default: 15m.
	Fresh duration.Duration `json:"fresh,omitzero"`
	// PerUser is how many passkeys a user may have. Default: 20.
	PerUser int `json:"perUser,omitempty"`
	// Pending is how many people may be at it at a time. Default: 10000.
	Pending int `json:"pending,omitempty"`
	// Key is what the passkeys are derived from that an unknown user is said to
	// have. Nodes of a mesh need the same. Default: random, and another with
	// each start.
	Key string `json:"key,omitempty" secret:"true"`
}

// Drivers of [Users.Driver].
const (
	DriverSQLite   = "sqlite"
	DriverPostgres = "postgres"
)

// Defaults of [Config].
const (
	DefaultTable       = "users"
	DefaultPasskeys    = "passkeys"
	DefaultConnections = 8
	DefaultTimeout     = 5 * time.Second

	// DefaultMin is what NIST SP 800-63B asks for at least.
	DefaultMin = 8
	// DefaultMax keeps passwords from being a load; no person types more.
	DefaultMax = 256

	// DefaultMemory, DefaultPasses and DefaultLanes are what OWASP recommends
	// for argon2id: 19 MiB, 2, 1.
	DefaultMemory = 19 << 10
	DefaultPasses = 2
	DefaultLanes  = 1
	// DefaultWaiting is about a second of work on a small machine.
	DefaultWaiting = 64

	DefaultFailures           = 5
	DefaultFailuresPerAddress = 50
	DefaultFailuresPerUser    = 30
	DefaultDelay              = time.Second
	DefaultMaxDelay           = 15 * time.Minute
	DefaultEntries            = 100_000

	// DefaultCeremony is what WebAuthn recommends.
	DefaultCeremony = 5 * time.Minute
	DefaultFresh    = 15 * time.Minute
	DefaultPerUser  = 20
	DefaultPending  = 10_000
)

// On tells whether people can log in at all.
func (c *Config) On() bool { return c.Users.Driver != "" }

// Check tells what is wrong with c, each a *message.Error with CodeInvalidInput
// whose Path is the field below login, such as "users.driver". It opens nothing.
func (c *Config) Check() []error {
	var f faults
	c.checkUsers(&f)
	c.checkNumbers(&f)
	c.checkPasskeys(&f)
	if c.Passwords.Off && c.Passkeys.ID == "" {
		f.add("passwords.off", "nobody can log in: there are neither passwords nor passkeys", "Set passkeys.id, or leave passwords on.")
	}
	if slices.Contains(c.Keep, "") {
		f.add("keep", "a claim has no name", "")
	}
	return f
}

// faults collects what is wrong.
type faults []error

func (f *faults) add(path, text, hint string) {
	*f = append(*f, &message.Error{Code: message.CodeInvalidInput, Path: path, Message: text, Hint: hint})
}

func (c *Config) checkUsers(f *faults) {
	u := &c.Users
	switch u.Driver {
	case DriverSQLite, DriverPostgres:
	case "":
		f.add("users.driver", "the database of the user table is not named", "Set users.driver to sqlite or postgres.")
	default:
		f.add("users.driver", fmt.Sprintf("%q is neither sqlite nor postgres", u.Driver), "")
	}
	if u.DSN == "" {
		f.add("users.dsn", "it is not said where the database is", "Name a file for sqlite, or a URL for postgres.")
	}
	if (u.Queries.ByName == "") != (u.Queries.ByID == "") {
		f.add("users.queries", "byName and byID belong together", "Give both, or none.")
	}
	for name, text := range map[string]string{"table": u.Table, "passkeys": u.Passkeys} {
		if strings.ContainsRune(text, 0) || len(text) > 128 {
			f.add("users."+name, "that cannot be the name of a table", "")
		}
	}
	for claim := range u.Public {
		if _, both := u.Secret[claim]; both {
			f.add("users.secret", fmt.Sprintf("the claim %q is public, too", claim), "Have each claim in one of them.")
		}
	}
	for _, m := range []map[string]string{u.Public, u.Secret} {
		for claim, column := range m {
			if claim == "" || column == "" {
				f.add("users.public", "a claim or a column has no name", "Write it as {\"claim\": \"column\"}.")
			}
		}
	}
}

func (c *Config) checkNumbers(f *faults) {
	p, t := &c.Passwords, &c.Throttle
	for _, n := range []struct {
		path     string
		v        int
		min, max int
	}{
		{"users.connections", c.Users.Connections, 1, 10_000},
		{"passwords.min", p.Min, 1, 128},
		{"passwords.max", p.Max, 32, 4096},
		{"passwords.memory", p.Memory, minMemory, maxMemory},
		{"passwords.passes", p.Passes, 1, maxPasses},
		{"passwords.lanes", p.Lanes, 1, maxLanes},
		{"passwords.concurrent", p.Concurrent, 1, 1024},
		{"passwords.waiting", p.Waiting, 1, 100_000},
		{"throttle.failures", t.Failures, 1, 100},
		{"throttle.failuresPerUser", t.FailuresPerUser, 1, 100_000},
		{"throttle.entries", t.Entries, 100, 100_000_000},
		{"passkeys.perUser", c.Passkeys.PerUser, 1, 1000},
		{"passkeys.pending", c.Passkeys.Pending, 1, 10_000_000},
	} {
		if n.v != 0 && (n.v < n.min || n.v > n.max) {
			f.add(n.path, fmt.Sprintf("%d is not from %d to %d", n.v, n.min, n.max), "Leave it out for the default.")
		}
	}
	memory, lanes := p.Memory, p.Lanes
	number(&memory, DefaultMemory)
	number(&lanes, DefaultLanes)
	if memory < minMemory*lanes { // RFC 9106
		f.add("passwords.memory", fmt.Sprintf("%d lanes take %d KiB at least", lanes, minMemory*lanes), "Raise it, or have fewer passwords.lanes.")
	}
	if d := t.Delay.Or(DefaultDelay); d > t.MaxDelay.Or(DefaultMaxDelay) {
		f.add("throttle.delay", "it is longer than throttle.maxDelay", "")
	}
}

func (c *Config) checkPasskeys(f *faults) {
	p := &c.Passkeys
	if p.ID == "" {
		if len(p.Origins) > 0 || p.Name != "" {
			f.add("passkeys.id", "it is not said for which domain passkeys are", "Set it to the domain of the site, such as example.com.")
		}
		return
	}
	if strings.ContainsAny(p.ID, ":/ ") || net.ParseIP(p.ID) != nil {
		f.add("passkeys.id", fmt.Sprintf("%q is no domain", p.ID),
			"Write the domain without scheme and port, such as example.com or localhost; an IP address is none.")
	}
	for _, o := range p.Origins {
		u, err := url.Parse(o)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
			f.add("passkeys.origins", fmt.Sprintf("%q is no origin", o), "Write it like https://app.example.com.")
		case u.Scheme == "http" && u.Hostname() != "localhost" && !strings.HasSuffix(u.Hostname(), ".localhost"):
			f.add("passkeys.origins", fmt.Sprintf("browsers have no passkeys for %q", o), "Use https; http is for localhost only.")
		case u.Hostname() != p.ID && !strings.HasSuffix(u.Hostname(), "."+p.ID):
			f.add("passkeys.origins", fmt.Sprintf("%q is not below %s", o, p.ID), "")
		}
	}
	if p.Verification != "" && p.Verification != "required" && p.Verification != "preferred" {
		f.add("passkeys.verification", fmt.Sprintf("%q is neither required nor preferred", p.Verification), "")
	}
}

// withDefaults returns c with every default in its place.
func (c Config) withDefaults() Config {
	u := &c.Users
	text(&u.Table, DefaultTable)
	text(&u.Passkeys, DefaultPasskeys)
	number(&u.Connections, DefaultConnections)
	u.Timeout = duration.Duration(u.Timeout.Or(DefaultTimeout))
	p := &c.Passwords
	number(&p.Min, DefaultMin)
	number(&p.Max, DefaultMax)
	number(&p.Memory, DefaultMemory)
	number(&p.Passes, DefaultPasses)
	number(&p.Lanes, DefaultLanes)
	number(&p.Concurrent, runtime.GOMAXPROCS(0))
	number(&p.Waiting, DefaultWaiting)
	t := &c.Throttle
	number(&t.Failures, DefaultFailures)
	number(&t.FailuresPerAddress, DefaultFailuresPerAddress)
	number(&t.FailuresPerUser, DefaultFailuresPerUser)
	number(&t.Entries, DefaultEntries)
	t.Delay = duration.Duration(t.Delay.Or(DefaultDelay))
	t.MaxDelay = duration.Duration(t.MaxDelay.Or(DefaultMaxDelay))
	k := &c.Passkeys
	if k.ID != "" {
		text(&k.Name, k.ID)
		text(&k.Verification, "required")
		if len(k.Origins) == 0 {
			k.Origins = []string{"https://" + k.ID}
		}
	}
	k.Timeout = duration.Duration(k.Timeout.Or(DefaultCeremony))
	k.Fresh = duration.Duration(k.Fresh.Or(DefaultFresh))
	number(&k.PerUser, DefaultPerUser)
	number(&k.Pending, DefaultPending)
	return c
}

func text(s *string, otherwise string) {
	if *s == "" {
		*s = otherwise
	}
}

func number(n *int, otherwise int) {
	if *n == 0 {
		*n = otherwise
	}
}
