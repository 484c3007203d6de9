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
	c := *m
	buf := make([]byte, 0, m.envelopeLen()+len(m.Body))
	buf = c.ownEnvelope(buf)
	own(buf, &c.Body)
	return c
}

// CloneEnvelope makes dst a copy of m with all fields but the body copied into
// buf, whose former content is overwritten; a new buffer is made if it is too
// small. The body still shares its bytes with m.
func (m *Message) CloneEnvelope(dst *Message, buf []byte) {
	*dst = *m
	if n := m.envelopeLen(); cap(buf) < n {
		buf = make([]byte, 0, n)
	}
	dst.ownEnvelope(buf[:0])
}

// Size is the number of bytes of all fields, which is what a Clone takes.
func (m *Message) Size() int { return m.envelopeLen() + len(m.Body) }

// envelopeLen is the number of bytes of all fields but the body.
func (m *Message) envelopeLen() int {
	return len(m.To) + len(m.From) + len(m.Mid) + len(m.Rmid) + len(m.Headers) + len(m.Timestamp) +
		len(m.Type) + len(m.UMFVersion) + len(m.Via) + len(m.Forward) + len(m.Signature) +
		len(m.Authorization) + len(m.Session) + len(m.ContentType) + len(m.Strategy) +
		len(m.Topic) + len(m.Epoch) + len(m.Publisher)
}

// ownEnvelope moves the bytes of all fields but the body to the end of buf,
// which has room for them.
func (m *Message) ownEnvelope(buf []byte) []byte {
	buf = own(buf, &m.To)
	buf = own(buf, &m.From)
	buf = own(buf, &m.Mid)
	buf = own(buf, &m.Rmid)
	buf = own(buf, &m.Headers)
	buf = own(buf, &m.Timestamp)
	buf = own(buf, &m.Type)
	buf = own(buf, &m.UMFVersion)
	buf = own(buf, &m.Via)
	buf = own(buf, &m.Forward)
	buf = own(buf, &m.Signature)
	buf = own(buf, &m.Authorization)
	buf = own(buf, &m.Session)
	buf = own(buf, &m.ContentType)
	buf = own(buf, &m.Topic)
	buf = own(buf, &m.Epoch)
	buf = own(buf, &m.Publisher)
	return own(buf, &m.Strategy)
}

// own appends *f to buf and lets *f point there; nil stays nil.
func own(buf []byte, f *[]byte) []byte {
	if *f == nil {
		return buf
	}
	start := len(buf)
	buf = append(buf, *f...)
	*f = buf[start:len(buf):len(buf)]
	return buf
}
