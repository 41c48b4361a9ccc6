# The commands of this project; `make help` lists them. Each is one script, so that CI runs what you run.
.DEFAULT_GOAL := help
.PHONY: help run test test-full docker-test bench compare conformance fuzz fmt lint doc check screenshots

FUZZ_SECONDS ?= 60

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

run: ## build and start turn-server and recorder on this machine; Ctrl-C stops both
	@scripts/run.sh

test: ## install the test tools, then everything that must hold before a merge
	@scripts/test.sh

test-full: ## make test, then licences, advisories, crashes, churn, fuzzing and containers
	@scripts/test-full.sh

docker-test: ## docker compose as a user starts it: a call, a recording, its download; needs root
	@scripts/docker-test.sh

fuzz: ## each fuzz target for FUZZ_SECONDS (60), from its committed corpus
	@scripts/fuzz.sh $(FUZZ_SECONDS)

bench: ## load generators and micro-benchmarks; numbers go to the terminal; the last one needs root
	@scripts/bench.sh

compare: ## the same questions to Debian's coturn and to us, into docs/compared-with-coturn.md; needs root
	@scripts/compare.sh

conformance: ## run the tests that prove rules, and write docs/conformance.md
	@scripts/conformance.sh

screenshots: ## pictures of the page in a real call, into target/screenshots
	@scripts/screenshots.sh

fmt: ## format the Rust sources
	@cargo fmt --all

lint: ## formatting, clippy, rustdoc, shell and JavaScript checks
	@scripts/lint.sh

check: ## type-check everything, quickly
	@cargo check --release --locked --workspace --all-targets

doc: ## the API documentation, in target/doc
	@cargo doc --release --locked --no-deps --workspace --document-private-items
