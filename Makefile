# What each target does is the text after its ##; `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help demo kafka test fuzz chaos workers mutants outage bench bench-scaling bench-micro bench-ingest bench-embedded bench-worker bench-spool bench-freshness recovery lint fmt clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## build, then run everything in one process with synthetic visitors; nothing else is needed
	@scripts/setup.sh build
	cargo run --release -- demo

kafka: ## a Kafka broker on localhost:9092 for the examples, in the foreground; its data stays in data/kafka
	@scripts/setup.sh kafka
	@scripts/kafka.sh prepare data/kafka 9092
	@echo "Kafka listens on localhost:9092; Ctrl-C ends it"
	@exec scripts/kafka.sh run data/kafka

test: ## install what is missing, then run all tests against a real Kafka and a real Redis
	@scripts/setup.sh
	cargo test --features failpoints

fuzz: ## bodies that are nearly right, for MINUTES (10), through all that reads them; SEED=… repeats them
	@scripts/setup.sh build
	MINUTES=$${MINUTES:-10} cargo test --lib ingest::any_body::tests::nothing_is_found -- --ignored --nocapture

workers: ## the fault campaign of workers: ROUNDS (100); SEED=… repeats the choices
	@scripts/setup.sh
	ROUNDS=$${ROUNDS:-100} cargo test --features failpoints --test it workers::campaign -- --nocapture

chaos: ## the fault campaign: ROUNDS (100) of faults under load; SEED=… repeats the choices
	@scripts/setup.sh
	ROUNDS=$${ROUNDS:-100} cargo test --features failpoints --test it chaos::campaign -- --nocapture

outage: ## a Kafka outage of MINUTES (10) under load: nothing lost, out of order, or counted twice
	@scripts/setup.sh
	MINUTES=$${MINUTES:-10} cargo test --features failpoints --test it spool::an_outage -- --nocapture

mutants: ## plants bugs in a copy of the program, one after the other; fails unless the simulator finds each
	@scripts/setup.sh
	scripts/mutants.sh

bench: ## events per second of `process` on a real Kafka and Redis, beside a minimal loop
	@scripts/setup.sh
	scripts/bench.sh

bench-scaling: ## how the cost of `process` grows: partitions, keys, counters, sizes of events
	@scripts/setup.sh
	scripts/bench.sh scaling

bench-ingest: ## what taking events costs beside a bare server and one that only hands them to Kafka
	@scripts/setup.sh
	scripts/bench.sh ingest

bench-micro: ## what each step costs per event, without any other program
	@scripts/setup.sh build
	cargo bench --bench micro

bench-embedded: ## the embedded mode: events per second until they are counted; time to get ready; size of the binary
	@scripts/setup.sh build
	cargo bench --bench embedded

bench-worker: ## what a worker costs beside a bare consumer loop, both with nothing to do
	@scripts/setup.sh
	scripts/bench.sh worker

bench-spool: ## events per second from the spool into a real Kafka
	@scripts/setup.sh
	scripts/bench.sh spool

bench-freshness: ## how long it takes from an event's receipt until the query API counts it, at half of the peak
	@scripts/setup.sh
	cargo bench --bench freshness

recovery: ## how soon counting goes on after a kill, with a large store, and after Redis was away
	@scripts/setup.sh
	cargo bench --bench recovery

lint: ## formatting and clippy, warnings refused
	@scripts/setup.sh build
	cargo fmt --check
	cargo clippy --all-targets --features failpoints -- -D warnings

fmt: ## format the code
	cargo fmt

clean: ## remove what was built, the Kafka jars too
	cargo clean
