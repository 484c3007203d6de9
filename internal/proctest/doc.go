// Package proctest has the tests of a mesh of real processes: nodes that are
// killed, stopped and restarted, and nodes in network namespaces whose lines are
// cut. They need Linux, and those with namespaces root. "make test-faults" runs
// them; without FAULTS_TEST=1 in the environment they skip themselves.
package proctest
