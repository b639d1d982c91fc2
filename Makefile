# What each target does is the text after its ##; `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test bench lint fmt clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## build, then run everything in one process with synthetic visitors; nothing else is needed
	@scripts/setup.sh build
	cargo run --release -- demo

test: ## install what is missing, then run all tests against a real Kafka and a real Redis
	@scripts/setup.sh
	cargo test

bench: ## events per second of `process` on a real Kafka and Redis, beside a minimal loop
	@scripts/setup.sh
	scripts/bench.sh

lint: ## formatting and clippy, warnings refused
	@scripts/setup.sh build
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

fmt: ## format the code
	cargo fmt

clean: ## remove what was built, the Kafka jars too
	cargo clean
