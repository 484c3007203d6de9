package engine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
	"unsafe"

	"modernc.org/libc"
	quickjs "modernc.org/libquickjs"
)

// value is a JavaScript value of one vm.
type value = quickjs.TJSValue

// vm is QuickJS with all its memory in one place. It belongs to one goroutine but
// for interrupt.
type vm struct {
	tls     *libc.TLS
	memory  *memory
	rt, ctx uintptr
	// scratch holds what is handed in and out, and its size.
	scratch, room uintptr
	number        uintptr // in vms
	host          func(args []value) (value, error)
	panicked      any // what the host panicked with
}

// vms has those that there are, by the number that QuickJS has of them: Go has no
// pointers in memory that it does not manage.
var vms struct {
	sync.RWMutex
	last uintptr
	all  map[uintptr]*vm
}

// thrown is an error that a script threw.
type thrown struct {
	text, name, message, stack string
	line, column               int
}

func (t *thrown) Error() string { return t.text }

var (
	errNoMemory    = errors.New("there is no memory for a machine")
	errInterrupted = &thrown{text: "InternalError: interrupted", name: "InternalError", message: "interrupted"}
)

// firstRoom is how long scratch is at least, in bytes, and maxRoom how long it may
// stay.
const firstRoom, maxRoom = 16 << 10, 256 << 10

// words are names as QuickJS takes them, with a zero at the end.
var words = "<eval>\x00name\x00message\x00stack\x00lineNumber\x00columnNumber\x00%s\x00"

const (
	wordOut    = 256 // where in scratch lengths come out
	wordsSpace = 512 // what scratch keeps for words and for lengths
)

// newVM makes a machine whose host function calls host.
func newVM(host func(args []value) (value, error)) (*vm, error) {
	m := &vm{tls: libc.NewTLS(), host: host}
	if m.memory = newMemory(m.tls); m.memory == nil {
		m.tls.Close()
		return nil, errNoMemory
	}
	if !m.reserve(0) {
		m.close()
		return nil, errNoMemory
	}
	copy(bytesAt(m.scratch, wordsSpace), words)
	vms.Lock()
	if vms.all == nil {
		vms.all = map[uintptr]*vm{}
	}
	vms.last++
	m.number = vms.last
	vms.all[m.number] = m
	vms.Unlock()
	functions := in[quickjs.TJSMallocFunctions](m.scratch + wordsSpace)
	*functions = quickjs.TJSMallocFunctions{
		Fjs_malloc: address(allocate), Fjs_free: address(release), Fjs_realloc: address(reallocate), Fjs_malloc_usable_size: address(usable),
	}
	if m.rt = quickjs.XJS_NewRuntime2(m.tls, m.scratch+wordsSpace, m.memory.at()); m.rt == 0 {
		m.close()
		return nil, errNoMemory
	}
	quickjs.XJS_SetMaxStackSize(m.tls, m.rt, quickjs.MaxStackSlots)
	quickjs.XJS_SetInterruptHandler(m.tls, m.rt, address(interrupted), m.memory.at())
	if m.ctx = quickjs.XJS_NewContext(m.tls, m.rt); m.ctx == 0 {
		m.close()
		return nil, errNoMemory
	}
	quickjs.XJS_SetContextOpaque(m.tls, m.ctx, m.number)
	return m, nil
}

// close gives all memory back, whatever state the machine is in.
func (m *vm) close() {
	vms.Lock()
	delete(vms.all, m.number)
	vms.Unlock()
	if m.scratch != 0 {
		libc.Xfree(m.tls, m.scratch)
	}
	m.memory.release(m.tls)
	m.tls.Close()
}

// whole reports whether the machine has come to its end as it should; else its
// stack may not be what it was.
func (m *vm) whole() bool { return m.tls.StackSlots() == 0 && m.panicked == nil }

// back makes the machine what it was when i was kept, but for its random numbers.
func (m *vm) back(i *image) {
	m.memory.back(m.tls, i)
	atomic.StoreInt32(&m.memory.stop, 0)
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // it never fails
	in[quickjs.TJSContext](m.ctx).Frandom_state = binary.NativeEndian.Uint64(seed[:]) | 1
}

// interrupt ends what the machine does, and whatever it is asked to do until back.
// It may be called from any goroutine.
func (m *vm) interrupt() { atomic.StoreInt32(&m.memory.stop, 1) }

func interrupted(_ *libc.TLS, _, at uintptr) int32 { return atomic.LoadInt32(&in[memory](at).stop) }

// limit says what a script may use, and how much it may allocate before garbage is
// looked for.
func (m *vm) limit(memory, depth, garbage int) {
	quickjs.XJS_SetMemoryLimit(m.tls, m.rt, quickjs.Tsize_t(max(memory, 128<<10)))
	quickjs.XJS_SetMaxStackSize(m.tls, m.rt, quickjs.Tsize_t(depth))
	size := int(in[quickjs.TJSRuntime](m.rt).Fmalloc_ctx.Fmalloc_state.Fmalloc_size)
	quickjs.XJS_SetGCThreshold(m.tls, m.rt, quickjs.Tsize_t(size+garbage))
}

// reserve makes room for n bytes in scratch.
func (m *vm) reserve(n int) bool {
	if need := uintptr(n) + wordsSpace; need > m.room || m.scratch == 0 {
		need = max(need, firstRoom)
		at := libc.Xrealloc(m.tls, m.scratch, quickjs.Tsize_t(need))
		if at == 0 {
			return false
		}
		m.scratch, m.room = at, need
	}
	return true
}

// trim gives room back that was for something large.
func (m *vm) trim() {
	if m.room <= maxRoom {
		return
	}
	if at := libc.Xrealloc(m.tls, m.scratch, firstRoom); at != 0 {
		m.scratch, m.room = at, firstRoom
	}
}

// word returns the address of one of the words.
func (m *vm) word(s string) uintptr { return m.scratch + uintptr(strings.Index(words, s+"\x00")) }

// hand puts a text where the machine can read it, with a zero at its end.
func (m *vm) hand(s ...string) (at uintptr, n int, err error) {
	for _, part := range s {
		n += len(part)
	}
	if !m.reserve(n + 1) {
		return 0, 0, errNoMemory
	}
	to := bytesAt(m.scratch+wordsSpace, uintptr(n)+1)
	for _, part := range s {
		to = to[copy(to, part):]
	}
	to[0] = 0
	return m.scratch + wordsSpace, n, nil
}

// compile makes a function of a program, for start. It consists of two texts.
func (m *vm) compile(head, code string) (value, error) {
	at, n, err := m.hand(head, code)
	if err != nil {
		return undefined(), err
	}
	return m.got(quickjs.XJS_Eval(m.tls, m.ctx, at, quickjs.Tsize_t(n), m.word("<eval>"), quickjs.MJS_EVAL_TYPE_GLOBAL|quickjs.MJS_EVAL_FLAG_COMPILE_ONLY))
}

// save returns a compiled function for read. It must not have been started.
func (m *vm) save(f value) []byte {
	out := m.scratch + wordOut
	at := quickjs.XJS_WriteObject(m.tls, m.ctx, out, f, quickjs.MJS_WRITE_OBJ_BYTECODE)
	if at == 0 {
		m.free(quickjs.XJS_GetException(m.tls, m.ctx))
		return nil
	}
	b := append([]byte(nil), bytesAt(at, uintptr(*in[quickjs.Tsize_t](out)))...)
	quickjs.Xjs_free(m.tls, m.ctx, at)
	return b
}

// read returns the function that was saved, of this or another machine.
func (m *vm) read(code []byte) (value, error) {
	at, n, err := m.hand(unsafe.String(unsafe.SliceData(code), len(code))) // it is only read
	if err != nil {
		return undefined(), err
	}
	return m.got(quickjs.XJS_ReadObject(m.tls, m.ctx, at, quickjs.Tsize_t(n), quickjs.MJS_READ_OBJ_BYTECODE))
}

// start runs a compiled program, once, and returns its last value.
func (m *vm) start(f value) (value, error) { return m.got(quickjs.XJS_EvalFunction(m.tls, m.ctx, f)) }

// call calls a function, and takes its arguments.
func (m *vm) call(f value, args ...value) (value, error) {
	size := unsafe.Sizeof(f)
	at := m.tls.Alloc(int(size) * max(len(args), 1))
	copy(unsafe.Slice(in[value](at), len(args)), args)
	r := quickjs.XJS_Call(m.tls, m.ctx, f, undefined(), int32(len(args)), at)
	m.tls.Free(int(size) * max(len(args), 1))
	for _, v := range args {
		m.free(v)
	}
	return m.got(r)
}

// drain runs what is ready until nothing is, and returns the first error.
func (m *vm) drain() (err error) {
	for {
		switch n := quickjs.XJS_ExecutePendingJob(m.tls, m.rt, 0); {
		case n == 0:
			return err
		case n < 0:
			if _, e := m.got(exception()); err == nil {
				err = e
			}
		}
		if m.panicked != nil {
			_, err = m.got(undefined())
			return err
		}
		if atomic.LoadInt32(&m.memory.stop) != 0 {
			return errInterrupted
		}
	}
}

// got returns a value, or the error instead of which it came. It goes on with a
// panic of the host.
func (m *vm) got(v value) (value, error) {
	if p := m.panicked; p != nil {
		panic(p) //nolint:forbidigo // whoever runs the machine expects it
	}
	if tag(v) != quickjs.EJS_TAG_EXCEPTION {
		return v, nil
	}
	e := quickjs.XJS_GetException(m.tls, m.ctx)
	defer m.free(e)
	t := &thrown{
		name: m.property(e, "name"), message: m.property(e, "message"), stack: m.property(e, "stack"),
		line: m.integer(e, "lineNumber"), column: m.integer(e, "columnNumber"),
	}
	t.text = m.text(e)
	return undefined(), t
}

// property returns a text of an error; "" if there is none.
func (m *vm) property(e value, name string) string {
	v := quickjs.XJS_GetPropertyStr(m.tls, m.ctx, e, m.word(name))
	defer m.free(v)
	switch tag(v) {
	case quickjs.EJS_TAG_STRING, quickjs.EJS_TAG_STRING_ROPE:
		return m.text(v)
	case quickjs.EJS_TAG_EXCEPTION:
		m.free(quickjs.XJS_GetException(m.tls, m.ctx))
	}
	return ""
}

// integer returns a number of an error; 0 if there is none.
func (m *vm) integer(e value, name string) int {
	v := quickjs.XJS_GetPropertyStr(m.tls, m.ctx, e, m.word(name))
	defer m.free(v)
	switch tag(v) {
	case quickjs.EJS_TAG_INT:
		return int(number(v))
	case quickjs.EJS_TAG_EXCEPTION:
		m.free(quickjs.XJS_GetException(m.tls, m.ctx))
	}
	return 0
}

// text returns a value as a text, "" if it has none. A half of a character becomes
// U+FFFD.
func (m *vm) text(v value) string {
	out := m.tls.Alloc(int(unsafe.Sizeof(quickjs.Tsize_t(0))))
	defer m.tls.Free(int(unsafe.Sizeof(quickjs.Tsize_t(0))))
	at := quickjs.XJS_ToCStringLen2(m.tls, m.ctx, out, v, 0)
	if at == 0 {
		m.free(quickjs.XJS_GetException(m.tls, m.ctx))
		return ""
	}
	s := whole(bytesAt(at, uintptr(*in[quickjs.Tsize_t](out))))
	quickjs.XJS_FreeCString(m.tls, m.ctx, at)
	return s
}

// whole returns a text of QuickJS, in which a half of a surrogate pair has three
// bytes that no UTF-8 has.
func whole(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if n == 1 && r == utf8.RuneError && len(b) >= 3 && b[0] == 0xed {
			n = 3
		}
		out.WriteRune(r)
		b = b[n:]
	}
	return out.String()
}

// string makes a value of a text.
func (m *vm) string(s string) (value, error) {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	at, n, err := m.hand(s)
	if err != nil {
		return undefined(), err
	}
	return m.got(quickjs.XJS_NewStringLen(m.tls, m.ctx, at, quickjs.Tsize_t(n)))
}

// free lets a value go.
func (m *vm) free(v value) { quickjs.XFreeValue(m.tls, m.ctx, v) }

// hostFunction returns the function by which scripts reach host.
func (m *vm) hostFunction() (value, error) {
	return m.got(quickjs.XJS_NewCFunction2(m.tls, m.ctx, address(called), m.word("name")+uintptr(len("name")), 0, quickjs.EJS_CFUNC_generic, 0))
}

// called is what runs when the machine calls that function.
func called(tls *libc.TLS, ctx uintptr, _ value, argc int32, argv uintptr) (r value) {
	vms.RLock()
	m := vms.all[quickjs.XJS_GetContextOpaque(tls, ctx)]
	vms.RUnlock()
	defer func() {
		if p := recover(); p != nil {
			m.panicked = p // it must not go through the machine
			r = m.throw("the host failed")
			quickjs.XJS_SetUncatchableException(tls, ctx, 1)
		}
	}()
	v, err := m.host(unsafe.Slice(in[value](argv), argc))
	switch {
	case atomic.LoadInt32(&m.memory.stop) != 0:
		m.free(v)
		r = m.throw("interrupted")
		quickjs.XJS_SetUncatchableException(tls, ctx, 1)
		return r
	case err != nil:
		return m.throw(err.Error())
	}
	return v
}

// throw throws an InternalError.
func (m *vm) throw(text string) value {
	at, _, err := m.hand(strings.ReplaceAll(text, "\x00", ""))
	if err != nil {
		return quickjs.XJS_ThrowOutOfMemory(m.tls, m.ctx)
	}
	bp := m.tls.Alloc(16)
	defer m.tls.Free(16)
	return quickjs.XJS_ThrowInternalError(m.tls, m.ctx, m.word("%s"), libc.VaList(bp, at))
}

// A value holds its kind in its upper half, and has one or two words of 64 bits.

func tag(v value) int32 {
	if unsafe.Sizeof(v) == 16 {
		return int32((*[2]uint64)(unsafe.Pointer(&v))[1])
	}
	return int32(*(*uint64)(unsafe.Pointer(&v)) >> 32)
}

// number returns an integer.
func number(v value) int32 { return int32(*(*uint64)(unsafe.Pointer(&v))) }

// make1 returns a value that needs no memory.
func make1(tag, n int32) (v value) {
	if unsafe.Sizeof(v) == 16 {
		*(*[2]uint64)(unsafe.Pointer(&v)) = [2]uint64{uint64(uint32(n)), uint64(int64(tag))}
	} else {
		*(*uint64)(unsafe.Pointer(&v)) = uint64(uint32(tag))<<32 | uint64(uint32(n))
	}
	return v
}

func undefined() value      { return make1(quickjs.EJS_TAG_UNDEFINED, 0) }
func exception() value      { return make1(quickjs.EJS_TAG_EXCEPTION, 0) }
func integer(n int32) value { return make1(quickjs.EJS_TAG_INT, n) }
func boolean(b bool) value {
	if b {
		return make1(quickjs.EJS_TAG_BOOL, 1)
	}
	return make1(quickjs.EJS_TAG_BOOL, 0)
}
