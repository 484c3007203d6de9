package sqlite

import (
	sqldriver "database/sql/driver"
	"slices"
)

// Bounds of the prepared statements of a connection: how many, and how long their
// texts may be together. The newest are there in any case: they are in use.
const (
	maxStatements = 200
	maxTexts      = 1 << 20
	inUse         = 8
)

// stmt is a prepared statement and what it reads and writes.
type stmt struct {
	s             sqldriver.Stmt
	reads, writes map[string]struct{}
	ddl           bool
}

// prepare returns a prepared statement.
func (c *conn) prepare(text string) (*stmt, error) {
	key := text
	if c.ours {
		key = "\x00" + text // what is allowed to this package is to nobody else
	}
	if s := c.stmts[key]; s != nil {
		if last := len(c.order) - 1; c.order[last] != key {
			i := slices.Index(c.order, key)
			copy(c.order[i:], c.order[i+1:])
			c.order[last] = key
		}
		return s, nil
	}
	c.clear()
	p, err := c.c.Prepare(text)
	if err != nil {
		return nil, c.fault(err)
	}
	s := &stmt{s: p, reads: c.reads, writes: c.writes, ddl: c.ddl}
	for len(c.order) >= inUse && (len(c.order) >= maxStatements || c.texts+len(key) > maxTexts) {
		_ = c.stmts[c.order[0]].s.Close()
		delete(c.stmts, c.order[0])
		c.texts -= len(c.order[0])
		c.order = c.order[1:]
	}
	c.stmts[key] = s
	c.order = append(c.order, key)
	c.texts += len(key)
	return s, nil
}
