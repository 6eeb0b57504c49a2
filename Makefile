# Two commands do all the set-up: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

TOOLS := $(CURDIR)/target/tools
CARGO_DENY_VERSION := 0.20.2
FUZZ_SECONDS ?= 60
# The steps of CI, in the order in which they tell most per minute.
CI_STEPS := fmt-check lint test doc deny fuzz-short bench-smoke

export PILLION_TEST_RESTIC ?= $(TOOLS)/bin/restic
export PILLION_TEST_TOOLS ?= $(TOOLS)

.PHONY: help run test test-slow tools ci environment fmt fmt-check lint doc deny fuzz fuzz-short bench bench-memory bench-store bench-build bench-smoke

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: environment ## builds the agent and runs it on a sample below target/run, every minute
	@cargo build --release --locked --package pillion
	@exec env -u PILLION_TEST_RESTIC target/release/pillion agent --sample target/run

test: environment tools ## runs all the tests, after fetching what they need
	@cargo test --workspace --locked

test-slow: environment tools ## what takes minutes: a store that is away for two of them in the middle of a backup
	@PILLION_TEST_OUTAGE_SECONDS=120 cargo test --package pillion --test it --locked -- an_outage_in_the_middle

tools: ## fetches stock restic (or takes PILLION_TEST_RESTIC), the stores' servers and schemathesis into target/tools
	@e2e/tools/environment.sh stores
	@e2e/tools/restic.sh $(TOOLS)
	@e2e/tools/stores.sh $(TOOLS)
	@e2e/tools/schemathesis.sh $(TOOLS)

ci: ## everything that is checked before a change is taken
	@for step in $(CI_STEPS); do \
	    start=$$SECONDS; \
	    echo "== $$step"; \
	    if ! $(MAKE) $$step; then echo "== $$step FAILED after $$((SECONDS - start)) s"; exit 1; fi; \
	    echo "== $$step passed in $$((SECONDS - start)) s"; \
	done

environment:
	@e2e/tools/environment.sh

fmt: ## formats the code
	@cargo fmt --all
	@cargo fmt --manifest-path agent/repository/fuzz/Cargo.toml

fmt-check: ## code is formatted, scripts parse, every file keeps the house's form
	@cargo fmt --all --check
	@cargo fmt --manifest-path agent/repository/fuzz/Cargo.toml --check
	@for script in .ci/run e2e/tools/*.sh e2e/stores/*.sh; do bash -n $$script; done
	@e2e/tools/house.sh

# The fuzz targets are a workspace of their own: that their lock follows ours costs a second here and a late failure there.
lint: environment ## clippy, where a warning is an error
	@cargo metadata --manifest-path agent/repository/fuzz/Cargo.toml --locked --format-version 1 >/dev/null
	@cargo clippy --workspace --all-targets --locked -- --deny warnings

doc: environment ## the documentation of the code, where a warning is an error
	@RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --document-private-items --locked

deny: $(TOOLS)/bin/cargo-deny ## licences, bans and sources of the dependencies
	@$< --workspace --locked check --hide-inclusion-graph licenses bans sources

# The fastest build: it reads a few files, once.
$(TOOLS)/bin/cargo-deny:
	@echo "building cargo-deny $(CARGO_DENY_VERSION) (about two minutes on two cores)"
	@CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 cargo install --quiet --debug --locked --force --root $(TOOLS) \
	    --target-dir $(TOOLS)/build --version $(CARGO_DENY_VERSION) cargo-deny
	@rm -rf $(TOOLS)/build

fuzz: ## fuzzes every decoder for FUZZ_SECONDS each (60)
	@e2e/tools/environment.sh c++
	@e2e/tools/fuzz.sh $(FUZZ_SECONDS)

fuzz-short:
	@$(MAKE) fuzz FUZZ_SECONDS=10

# BENCH_RUNS=3 BENCH_SCALE=1 BENCH_ONLY=small-first,... BENCH_SEED=1 BENCH_DIR=target/bench PILLION_BIN=...
bench: environment tools ## us and restic side by side (BENCH_RUNS, BENCH_SCALE, BENCH_ONLY)
	@cargo build --release --locked --package pillion --package pillion-e2e
	@target/release/bench compare

bench-memory: environment ## our side in a memory cgroup of 64 MiB (needs root)
	@cargo build --release --locked --package pillion --package pillion-e2e
	@target/release/bench memory

# BENCH_SERVER=versity|ceph|seaweed-fs|azurite|b2 BENCH_SECURITY=plain|tls, and what `make bench` takes but BENCH_ONLY
bench-store: environment tools ## us and restic against a store's server on this machine (BENCH_SERVER, BENCH_SECURITY)
	@cargo build --release --locked --package pillion --package pillion-e2e
	@target/release/bench store

bench-build: environment
	@cargo build --locked --package pillion --package pillion-e2e

# A hundredth of the data, one round: shows that the bench works, not how fast anything is.
bench-smoke: bench-build tools
	@BENCH_RUNS=1 BENCH_SCALE=0.01 BENCH_DIR=target/bench-smoke PILLION_BIN=target/debug/pillion target/debug/bench compare
	@BENCH_RUNS=1 BENCH_SCALE=0.01 BENCH_DIR=target/bench-smoke PILLION_BIN=target/debug/pillion target/debug/bench store
