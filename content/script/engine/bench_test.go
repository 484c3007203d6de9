package engine_test

import (
	"testing"
)

func BenchmarkPool(b *testing.B) {
	e := newPool(b)
	job := topic(`return 1`)
	for b.Loop() {
		if _, err := e.Run(b.Context(), job, &host{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPoolHostCall(b *testing.B) {
	e := newPool(b)
	job := topic(`return await call("a:/b", { a: 1 })`)
	for b.Loop() {
		if _, err := e.Run(b.Context(), job, &host{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWorkers(b *testing.B) {
	e := newWorkers(b)
	job := topic(`return 1`)
	for b.Loop() {
		if _, err := e.Run(b.Context(), job, &host{}); err != nil {
			b.Fatal(err)
		}
	}
}
