# Build, test and run Spanbot. `make doctor` says what this machine lacks.
#
# Everything that the tests need and that is not in the repository lands in
# .cache/ (make clean keeps it, make distclean does not).

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

# A CI job or a container may run without a home: the caches of Go, pip and npm
# then live below .cache/.
ifeq ($(strip $(HOME)),)
export HOME := $(CURDIR)/.cache/home
endif

# Under CI a missing part is a failure, never a skip (internal/sandbox/rig).
ifneq ($(strip $(CI)),)
export SPANBOT_TEST_REQUIRE ?= all
endif

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TESTFLAGS ?=

.PHONY: build doctor deps test lint vet fmt fmt-check page page-check pictures test-old soak fuzz bench image schema clean distclean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o dist/spanbot ./cmd/bot

doctor:
	@scripts/doctor

deps:
	@scripts/deps

# All that CI runs. The order puts the quick complaints first.
test: deps fmt-check page-check vet lint
	go test -race -timeout 40m $(TESTFLAGS) ./...

vet:
	go vet ./...

lint:
	@scripts/lint

fmt:
	gofmt -w $$(scripts/gofiles)

fmt-check:
	@bad=$$(gofmt -l $$(scripts/gofiles)); \
	if [ -n "$$bad" ]; then printf 'not formatted (make fmt):\n%s\n' "$$bad"; exit 1; fi

# The page of the local workspace, from its sources; page-check fails when the
# committed build is stale.
page:
	@scripts/page

page-check: deps
	@scripts/page --check

# The pictures of the documentation, from the running product.
pictures: deps
	go run ./scripts/pictures

# The contract of the Phoenix client and one click to annotation, on the oldest
# server that Spanbot talks to and on one in the middle.
test-old: deps
	scripts/test-old 15.4.0 19.6.0

# The long variants of what make test does in short: SPANBOT_KILLS kills in each
# test that kills at random moments. A failure prints the seed.
soak: deps
	SPANBOT_DAYS=$${SPANBOT_DAYS:-7} SPANBOT_SEEDS=$${SPANBOT_SEEDS:-50} go test -timeout 12h -count=1 -v -run TestWeek ./internal/bot
	SPANBOT_KILLS=$${SPANBOT_KILLS:-200} go test -timeout 120m -count=1 -v -run 'TestKill_AtRandomMoments|TestReplicas_' ./e2e

# Every fuzz target, each for FUZZTIME; FUZZ=slackui chooses some.
fuzz:
	@scripts/fuzz

bench: deps
	go run ./bench

# Builds the image and starts it beside Phoenix and Valkey; needs a Docker daemon.
image:
	@scripts/image

# The Block Kit schema again from the official types; fails when it differs.
schema:
	@scripts/schema

clean:
	rm -rf dist bot

distclean: clean
	chmod -R u+w .cache 2>/dev/null || true
	rm -rf .cache
