package content

import (
	"log/slog"
	"runtime"
	"time"

	"github.com/ropewalk/ropewalk/route"
)

// Defaults of [Options].
const (
	// DefaultTimeout is long for a query and short for who looks at an empty
	// page.
	DefaultTimeout = 10 * time.Second
	// DefaultWatches is far above what one node is asked for, since a node asks
	// once for all of its watchers; each costs about 1 KiB.
	DefaultWatches = 1 << 20
	// DefaultConcurrency bounds calls, gets and publishes that run at a time.
	DefaultConcurrency = 1000
	// minWorkers lets some wait for a disk or a network while others compute.
	minWorkers = 4
)

// How long it takes until a content that failed is computed again although
// nothing has changed: it doubles from the first to the last.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// maxReopens is how often in a row a request is opened anew at once; after that
// it waits as after a failure, so that a provider that never comes to rest does
// not keep a processor busy.
const maxReopens = 8

// Options are settings of [NewService]. The zero value of each field means its
// default.
type Options struct {
	// Topic is what the service says about its topics, which are state topics:
	// Personal, if what is seen depends on who looks, and Code, what names of
	// what is run end with, should be right.
	Topic route.Topic
	// Shared are patterns of paths, such as /shop/board/**, whose contents are the
	// same for all although Topic.Personal is set: a node then asks once for all
	// its watchers there. Where Topic.Personal is not set, and there, the Request of
	// a get or watch has the anonymous session.
	Shared []string
	// Presence are patterns of paths of which the nodes tell who watches them, as
	// Topic.Presence does of all. Where several patterns of these and of Shared match,
	// the most specific counts.
	Presence []string
	// Borrowed is set if the provider is not to be closed with the service.
	Borrowed bool
	// Version and Description are what the service says about itself.
	Version, Description string
	// Workers is how many watched contents are computed at a time, and how many for
	// gets; others wait for their turn. When all wait for sources that do not answer,
	// there are up to four times as many, so that each other source has one; see
	// [Sourced]. Default: two a processor, at least 4. Where computing is waiting for
	// somebody else it should be more.
	Workers int
	// Timeout is how long computing a content may take; it then fails with
	// limit_exceeded. Default: [DefaultTimeout].
	Timeout time.Duration
	// Interval is how long after a content was computed it is computed again,
	// at least, when it changes. Default: at once.
	Interval time.Duration
	// Watches is how many subscribes may be open at a time. Default:
	// [DefaultWatches].
	Watches int
	// Concurrency and Queue are how many gets, calls and publishes run at a time,
	// and how many more wait; see service.WithConcurrency. Default:
	// [DefaultConcurrency] and as many.
	Concurrency, Queue int
	// Logger gets what goes wrong inside of the provider. Default: slog.Default.
	Logger *slog.Logger
	// Metrics count. Default: nowhere.
	Metrics *Metrics
}

func (o Options) withDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = max(minWorkers, 2*runtime.GOMAXPROCS(0))
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Watches <= 0 {
		o.Watches = DefaultWatches
	}
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Queue <= 0 {
		o.Queue = o.Concurrency
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Metrics == nil {
		o.Metrics, _ = NewMetrics(nil)
	}
	o.Topic.Events = false
	return o
}
