package message

// ParseMid reads what [AppendMid] wrote. It reports false for anything else.
func ParseMid(b []byte) (uint64, bool) {
	const overflow = (1<<64 - 1) / 36
	if len(b) == 0 || len(b) > 13 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		var d uint64
		switch {
		case '0' <= c && c <= '9':
			d = uint64(c - '0')
		case 'a' <= c && c <= 'z':
			d = uint64(c-'a') + 10
		default:
			return 0, false
		}
		if n > overflow {
			return 0, false
		}
		n *= 36
		if n+d < n {
			return 0, false
		}
		n += d
	}
	return n, true
}
