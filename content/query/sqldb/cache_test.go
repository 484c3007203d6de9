package sqldb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
)

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, sqldb.MaxKept, sqldb.MaxKept + 1} {
		var c sqldb.Cache[int]
		text := func(n int) string { return fmt.Sprintf("%0*d", size, n) }
		c.Put("a", 1)
		c.Put("a", 2)
		if v, ok := c.Get("a"); !ok || v != 2 {
			t.Errorf("a is %d, %t", v, ok)
		}
		const many = 3000
		kept := 0
		for n := range many {
			c.Put(text(n), n)
		}
		for n := range many {
			if v, ok := c.Get(text(n)); ok {
				kept++
				if v != n {
					t.Errorf("%d is %d", n, v)
				}
			}
		}
		if _, newest := c.Get(text(many - 1)); newest != (size <= sqldb.MaxKept) || kept > 1000 || kept*size > 4<<20 {
			t.Errorf("of %d bytes, %d are kept; the newest: %t", size, kept, newest)
		}
		if _, ok := c.Get(strings.Repeat("x", size)); ok {
			t.Error("it knows what nobody has put in")
		}
	}
}
