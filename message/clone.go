package message

// EffectiveVerb returns what the message wants: its verb, or, if it names none,
// a reply if it answers a message and a call if it does not.
func (m *Message) EffectiveVerb() Verb {
	switch {
	case m.Verb != VerbNone:
		return m.Verb
	case len(m.Rmid) > 0:
		return VerbReply
	default:
		return VerbCall
	}
}

// Reset makes m the zero Message.
func (m *Message) Reset() { *m = Message{} }

// Clone returns a copy that shares no bytes with m, at the cost of one
// allocation.
func (m *Message) Clone() Message {
	buf := make([]byte, 0, m.envelopeLen()+len(m.Body))
	c, buf := m.copyEnvelope(buf)
	_, c.Body = carry(buf, m.Body)
	return c
}

// CloneEnvelope returns a copy of m with all fields but the body copied into
// buf, whose former content is overwritten; a new buffer is made if it is too
// small. The body still shares its bytes with m.
func (m *Message) CloneEnvelope(buf []byte) Message {
	if n := m.envelopeLen(); cap(buf) < n {
		buf = make([]byte, 0, n)
	}
	c, _ := m.copyEnvelope(buf[:0])
	return c
}

// envelopeLen is the number of bytes of all fields but the body.
func (m *Message) envelopeLen() int {
	return len(m.To) + len(m.From) + len(m.Mid) + len(m.Rmid) + len(m.Headers) + len(m.Timestamp) +
		len(m.Type) + len(m.UMFVersion) + len(m.Via) + len(m.Forward) + len(m.Signature) +
		len(m.Authorization) + len(m.ContentType) + len(m.Strategy)
}

func (m *Message) copyEnvelope(buf []byte) (Message, []byte) {
	c := *m
	buf, c.To = carry(buf, m.To)
	buf, c.From = carry(buf, m.From)
	buf, c.Mid = carry(buf, m.Mid)
	buf, c.Rmid = carry(buf, m.Rmid)
	buf, c.Headers = carry(buf, m.Headers)
	buf, c.Timestamp = carry(buf, m.Timestamp)
	buf, c.Type = carry(buf, m.Type)
	buf, c.UMFVersion = carry(buf, m.UMFVersion)
	buf, c.Via = carry(buf, m.Via)
	buf, c.Forward = carry(buf, m.Forward)
	buf, c.Signature = carry(buf, m.Signature)
	buf, c.Authorization = carry(buf, m.Authorization)
	buf, c.ContentType = carry(buf, m.ContentType)
	buf, c.Strategy = carry(buf, m.Strategy)
	return c, buf
}

// carry appends f to buf and returns its copy there; nil stays nil.
func carry(buf, f []byte) (newBuf, field []byte) {
	if f == nil {
		return buf, nil
	}
	start := len(buf)
	buf = append(buf, f...)
	return buf, buf[start:len(buf):len(buf)]
}
