package login_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/login"
	"github.com/ropewalk/ropewalk/message"
)

// memory is a desk in a bubble of synctest.
func memory(t *testing.T, th login.Throttle) *desk {
	t.Helper()
	d := open(t, login.Config{Users: login.Users{Driver: "sqlite", DSN: ":memory:", Create: true}, Throttle: th})
	d.add(t, "anna", right, nil, nil)
	return d
}

// end closes what the bubble waits for.
func (d *desk) end() {
	_ = d.Close()
	d.run.Close()
}

// wrong logs in n times with a wrong password, all of which are tried.
func wrong(t *testing.T, d *desk, user, addr string, n int) {
	t.Helper()
	for i := range n {
		if err := newClient(addr).logIn(t, d, user, "wrong horse"); codeOf(err) != message.CodeUnauthenticated {
			t.Fatalf("try %d: %v", i, err)
		}
	}
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, user := range []string{"anna", "nobody"} { // there is no difference
			d := memory(t, login.Throttle{})
			wrong(t, d, user, "192.0.2.1:1", 5)
			want := time.Second
			for range 14 {
				before := d.hashes(t)
				err := newClient("192.0.2.1:7").logIn(t, d, user, right) // the port does not matter
				if codeOf(err) != message.CodeRateLimited || err.RetryAfter != want {
					t.Fatalf("%s: %v after %v, not %v", user, err, err.RetryAfter, want)
				}
				if d.hashes(t) != before || d.last().Outcome != login.OutcomeThrottled {
					t.Errorf("%s: a hash was computed all the same; %+v", user, d.last())
				}
				time.Sleep(want)
				wrong(t, d, user, "192.0.2.1:1", 1)
				want = min(2*want, 15*time.Minute)
			}
			if err := newClient("192.0.2.2:1").logIn(t, d, "anna", right); err != nil {
				t.Errorf("from another address: %v", err)
			}
			if err := newClient("192.0.2.1:1").logIn(t, d, "ben", right); codeOf(err) != message.CodeUnauthenticated {
				t.Errorf("another user from that address: %v", err)
			}
			time.Sleep(31*time.Minute + time.Second) // all is forgotten
			wrong(t, d, user, "192.0.2.1:1", 5)
			d.end()
		}
	})
}

// TestThrottleRight starts anew for whoever is right.
func TestThrottleRight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := memory(t, login.Throttle{})
		for range 20 {
			wrong(t, d, "anna", "192.0.2.1:1", 4)
			if err := newClient("192.0.2.1:1").logIn(t, d, "anna", right); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		d.end()
	})
}

// TestThrottleAddress has one address try many users, and another spelling of
// one user, and a household of IPv6.
func TestThrottleAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := memory(t, login.Throttle{})
		for i := range 50 {
			wrong(t, d, fmt.Sprint("user", i), fmt.Sprintf("[2001:db8:1:2::%x]:1", i), 1)
		}
		if err := newClient("[2001:db8:1:2:ffff::1]:1").logIn(t, d, "anna", right); codeOf(err) != message.CodeRateLimited {
			t.Errorf("after 50 users: %v", err)
		}
		if err := newClient("[2001:db8:1:3::1]:1").logIn(t, d, "anna", right); err != nil {
			t.Errorf("the neighbour: %v", err)
		}
		for _, name := range []string{"anna", "Anna", "ANNA", "anNa", "ann\u0061"} {
			wrong(t, d, name, "192.0.2.1:1", 1)
		}
		if err := newClient("192.0.2.1:1").logIn(t, d, "aNNA", right); codeOf(err) != message.CodeRateLimited {
			t.Errorf("other spellings count anew: %v", err)
		}
		if err := newClient("[::ffff:192.0.2.1]:1").logIn(t, d, "anna", right); codeOf(err) != message.CodeRateLimited {
			t.Errorf("an IPv4 address written as IPv6: %v", err)
		}
		d.end()
		proxy := memory(t, login.Throttle{FailuresPerAddress: -1})
		for i := range 200 {
			wrong(t, proxy, fmt.Sprint("user", i), "127.0.0.1:1", 1)
		}
		proxy.end()
	})
}

// TestThrottleAttack has many addresses try one user. Each has one try then,
// and so has the user from a new address.
func TestThrottleAttack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := memory(t, login.Throttle{})
		for i := range 60 {
			wrong(t, d, "anna", fmt.Sprintf("198.51.100.%d:1", i), 1)
		}
		if err := newClient("198.51.100.59:1").logIn(t, d, "anna", right); codeOf(err) != message.CodeRateLimited {
			t.Errorf("the second try of an attacker: %v", err)
		}
		if err := newClient("192.0.2.1:1").logIn(t, d, "anna", right); err != nil {
			t.Errorf("anna is locked out: %v", err)
		}
		time.Sleep(time.Second)
		if err := newClient("198.51.100.59:1").logIn(t, d, "anna", right); err != nil {
			t.Errorf("anna at the address of an attacker, later: %v", err)
		}
		d.end()
	})
}

// TestThrottleBurst has many tries at the same time: they count while they run.
func TestThrottleBurst(t *testing.T) {
	t.Parallel()
	d := open(t, login.Config{Throttle: login.Throttle{Delay: 1e12, MaxDelay: 1e13}})
	d.add(t, "anna", right, nil, nil)
	codes := make(chan message.Code)
	for range 100 {
		go func() { codes <- codeOf(newClient("192.0.2.1:1").logIn(t, d, "anna", "wrong horse")) }()
	}
	tried := 0
	for range 100 {
		if <-codes == message.CodeUnauthenticated {
			tried++
		}
	}
	if tried != 5 {
		t.Errorf("%d of 100 at the same time were tried, not 5", tried)
	}
}

// TestThrottleMemory has more users than are remembered.
func TestThrottleMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := memory(t, login.Throttle{Entries: 100, FailuresPerAddress: -1})
		wrong(t, d, "anna", "192.0.2.1:1", 5)
		for i := range 49 {
			wrong(t, d, fmt.Sprint("user", i), "192.0.2.1:1", 1)
		}
		if err := newClient("192.0.2.1:1").logIn(t, d, "anna", right); codeOf(err) != message.CodeRateLimited {
			t.Errorf("forgotten too soon: %v", err)
		}
		for i := range 51 {
			wrong(t, d, fmt.Sprint("user", 100+i), "192.0.2.1:1", 1)
		}
		if err := newClient("192.0.2.1:1").logIn(t, d, "anna", right); err != nil {
			t.Errorf("not forgotten: %v", err)
		}
		d.end()
	})
}

// TestPasskeyThrottle bounds wrong passkeys by address.
func TestPasskeyThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := open(t, login.Config{
			Users: login.Users{Driver: "sqlite", DSN: ":memory:", Create: true}, Passkeys: site,
			Throttle: login.Throttle{FailuresPerAddress: 3},
		})
		for i := range 4 {
			err := newClient("192.0.2.1:1").finish(t, d, []byte(`{}`))
			if want := []message.Code{message.CodeUnauthenticated, message.CodeRateLimited}[i/3]; codeOf(err) != want {
				t.Errorf("try %d: %v", i, err)
			}
		}
		d.end()
	})
}
