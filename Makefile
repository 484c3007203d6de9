# make test needs Go, Node 20 and, for the browser test, Chromium; it says so if
# one is missing, and installs Chromium itself where it may (Debian, as root).

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
NPM ?= npm
LINT := bin/golangci-lint
FUZZTIME ?= 4s
# CI stops to begin fuzz targets after so many seconds; the order is another one
# each time, so that all have their turn.
FUZZBUDGET ?= $(if $(CI),120)

# Quick ones first; each can be run on its own. Lint, which computes, runs beside
# test-docs and test-e2e, which mostly wait; not beside those before them, which
# write the files that it reads.
STAGES := test-vet test-go test-norace test-faults test-bench test-ts test-console test-docs test-e2e lint
ifdef CI
STAGES += fuzz
endif

.PHONY: help
help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## build bin/ropewalk
	$(GO) build -trimpath -ldflags='-s -w' -o bin/ropewalk ./cmd/ropewalk

.PHONY: test
test: ## set everything up and run every test
	@passed=0; failed=(); times=(); \
	lint=; beside=$$(mktemp); trap 'kill $$lint 2>/dev/null || :; rm -f $$beside' EXIT; \
	for stage in $(STAGES); do \
	  if [ $$stage = test-docs ]; then nice -n 19 $(MAKE) lint >$$beside 2>&1 & lint=$$!; fi; \
	  echo; echo "=== $$stage"; start=$$SECONDS; code=0; \
	  if [ $$stage != lint ] || [ -z "$$lint" ]; then $(MAKE) $$stage || code=$$?; \
	  else wait $$lint || code=$$?; lint=; cat $$beside; fi; \
	  if [ $$code = 0 ]; then passed=$$((passed+1)); verdict=ok; else failed+=("$$stage"); verdict=FAILED; fi; \
	  times+=("$$(printf '%-14s %-7s %4d s' $$stage $$verdict $$((SECONDS-start)))"); \
	done; \
	echo; printf '%s\n' "$${times[@]}"; \
	echo "stages: $$passed passed, $${#failed[@]} failed"; \
	[ $${#failed[@]} -eq 0 ]

.PHONY: test-vet
test-vet: ## gofmt and go vet
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w these:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	cd bench && $(GO) vet ./...

.PHONY: test-go
test-go: ## the Go tests, with the race detector
	$(GO) test -race -shuffle=on -timeout 20m ./...

# The race detector allocates, and is ten times as slow: the tests that count
# allocations skip themselves under it, the one with a million frames sends less.
.PHONY: test-norace
test-norace: ## the Go tests that need to run without it
	$(GO) test -timeout 10m -run 'Alloc|Hostile' \
	  $$(git grep -lE '^func Test[A-Za-z]*(Alloc|Hostile)' -- '*_test.go' ':!bench' | xargs -n 1 dirname | sort -u | sed 's|^|./|')

# Bounded to about two minutes. The tests with network namespaces need root and
# skip themselves without it; in CI as root it is an error if there are none.
FAULTS ?= 1
.PHONY: test-faults
test-faults: ## nodes that are killed, stopped, restarted and cut off, FAULTS (1) times
	FAULTS_TEST=1 $(GO) test -count=$(FAULTS) -parallel 3 -timeout $$((5 * $(FAULTS)))m ./internal/proctest
	[ $(FAULTS) = 1 ] || $(GO) test -count=$(FAULTS) -timeout $$((5 * $(FAULTS)))m -run 'TestFault|TestMesh|Registry' . ./mesh # test-go runs these once

.PHONY: test-bench
test-bench: ## the tests of the load generator, and a short run of all programs
	cd bench && $(GO) test -race -timeout 5m ./...
	cd bench && $(GO) run ./run --quick

.PHONY: test-ts
test-ts: sdk/ts/node_modules/.package-lock.json ## check, build and test the TypeScript client
	@scripts/same-build sdk/ts
	cd sdk/ts && $(NPM) run check && $(NPM) run size && $(NPM) test

.PHONY: test-console
test-console: console/node_modules/.package-lock.json ## check, build and test the page of ropewalk dev
	@scripts/same-build console
	cd console && $(NPM) run check && $(NPM) test

.PHONY: test-e2e
test-e2e: console/node_modules/.package-lock.json ## the pages, in Chromium
	@scripts/chromium
	cd console && CHROMIUM="$$(../scripts/chromium)" $(NPM) run e2e
	CHROMIUM="$$(scripts/chromium)" $(GO) test -count=1 -timeout 8m -run Browser ./examples/login ./examples/departures

.PHONY: test-docs
test-docs: sdk/ts/node_modules/.package-lock.json ## run every command and program of README.md and docs/
	DOCS_TEST=1 $(GO) test -count=1 -timeout 10m ./internal/doctest

.PHONY: lint
lint: $(LINT) ## golangci-lint; .golangci.yml says what is off, and why
	$(LINT) run ./...
	cd bench && ../$(LINT) run -c ../.golangci.yml ./...

# golangci-lint is built from source by its own module: the root module does not
# get its dependencies, and everybody has the same version.
$(LINT): tools/lint/go.mod tools/lint/go.sum
	cd tools/lint && $(GO) build -o ../../$(LINT) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (4s), in random order, for FUZZBUDGET seconds if that is set
	scripts/fuzz $(FUZZTIME) $(FUZZBUDGET)

.PHONY: bench
bench: ## measure against the floor and NATS; writes bench/RESULTS.md
	cd bench && $(GO) run ./run

.PHONY: dist
dist: sdk/ts/node_modules/.package-lock.json console/node_modules/.package-lock.json ## build the committed front-end files
	cd sdk/ts && $(NPM) run build && $(NPM) run api
	cd console && $(NPM) run build

%/node_modules/.package-lock.json: %/package-lock.json
	@command -v $(NPM) >/dev/null || { echo "Node 20 or newer is needed for $*: install it, or run make test-go"; exit 1; }
	cd $* && $(NPM) ci --no-audit --no-fund
	@touch $@
