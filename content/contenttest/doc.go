// Package contenttest is the suite that each content provider has to pass, and
// [Memory], a provider of contents that a test sets.
//
//	func TestConformance(t *testing.T) {
//		contenttest.Run(t, contenttest.Features{Publish: true, Missing: true}, func(t *testing.T) contenttest.Env {
//			dir := t.TempDir()
//			return contenttest.Env{
//				Provider: open(t, dir),
//				Request:  func(name string) *content.Request { return contenttest.Request("/app/" + name + ".json") },
//				Write:    func(name string, n int) error { return write(dir, name, n) },
//				…
//			}
//		})
//	}
package contenttest
