# Thin names for what people type; the work is in scripts/, one story a file.

.DEFAULT_GOAL := help
.PHONY: help run stop test bench coverage envoy-config fmt lint

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

run: ## build, start closd in the background, bring the demo up
	@scripts/run.sh

stop: ## take the demo down, end closd, and the engine if `make run` started it
	@scripts/stop.sh

test: ## everything CI checks, against engines and databases of its own
	@scripts/test.sh

bench: ## the figures of docs/benchmarks.md
	@scripts/bench.sh

coverage: ## line coverage by the tests of `make test`
	@scripts/coverage.sh

envoy-config: ## make gateway/envoy/clos.json of the contract
	@scripts/envoy.sh

fmt: ## format the code
	@cargo fmt --all

lint: ## what needs no engine: format, clippy, contract
	@scripts/lint.sh
