# One entry for everything. `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
MAKEFLAGS += --no-print-directory

CARGO_TARGET_DIR ?= $(CURDIR)/target
FEEDPLANE_PYTHON ?= $(CURDIR)/.venv/bin/python
FEEDPLANE_TRAINER_PYTHON ?= $(CURDIR)/.venv-trainer/bin/python
FEEDPLANE_PYTHON_HFTBACKTEST ?= $(CURDIR)/.venv-hftbacktest/bin/python
export CARGO_TARGET_DIR FEEDPLANE_PYTHON FEEDPLANE_TRAINER_PYTHON FEEDPLANE_PYTHON_HFTBACKTEST

.PHONY: help setup console build demo chain test soak bench lint fmt docs clean

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 16
	echo
	echo '  CAPTURE=file.pcap make demo     plays that capture instead of a synthetic session (SCHEMA=templates.xml for MDP 3.0)'
	echo '  DBN=file OUT=folder make chain   TICK_SIZE and MULTIPLIER, too, when it is no E-mini S&P 500'
	echo '  TABLES="b c" make bench         only these tables (a receiver, b arbiter, c decode, d redis, e latency, f book, g features, h archive, i risk, j tick to order, k backtest, l model scores, m event clients)'
	echo '  FEEDPLANE_CAPTURES=folder       runs the tests on real exchange captures, too'

setup: ## install what is missing (Debian packages as root, Python environments); changes nothing the second time
	@scripts/setup.sh

console: setup ## the pages of the control plane, when their sources have changed
	@scripts/console.sh

build: setup console ## the release binaries
	@cargo build --release -p feedplane-cli -p feedplane-dataplane -p feedplane-features -p feedplane-strategy \
	  -p feedplane-gateway -p feedplane-archiver -p feedplane-controlplane

demo: build ## wire to fill: an exchange, two impaired lines, XDP, strategies, orders; two minutes, leaves nothing behind
	@"$$CARGO_TARGET_DIR/release/feedplane" demo $(if $(CAPTURE),--capture "$(CAPTURE)") $(if $(SCHEMA),--schema "$(SCHEMA)")

chain: build ## DBN=file.dbn.zst OUT=folder: a recording through stream, archive, training and a backtest with the model
	@"$$CARGO_TARGET_DIR/release/feedplane" chain --dbn "$${DBN:?name a DBN file, as DBN=es.mbo.dbn.zst}" \
	  --out "$${OUT:?name a new folder for the reports}" --tick-size "$${TICK_SIZE:-0.25}" --multiplier "$${MULTIPLIER:-50}" \
	  --trainer pipeline/trainer/feedplane-trainer

test: setup console ## every test; ends with what could not be run here
	@scripts/test.sh

soak: setup console ## the same tests for hours: a hundred times the seeds
	@FEEDPLANE_SOAK=1 FEEDPLANE_SEEDS=$${FEEDPLANE_SEEDS:-10000000} PROPTEST_CASES=$${PROPTEST_CASES:-100000} \
	  LOOM_MAX_PREEMPTIONS=$${LOOM_MAX_PREEMPTIONS:-5} NEXTEST_PROFILE=soak scripts/test.sh

bench: build ## side-by-side measurements; run it on a quiet machine, as root
	@scripts/setup.sh bench
	cargo build --release -p feedplane-bench
	"$$CARGO_TARGET_DIR/release/feedplane-bench" $(TABLES)

lint: setup console ## formatting, clippy, rustdoc: warnings are errors
	@scripts/lint.sh

fmt: ## format the code
	@cargo fmt --all

docs: ## the code's documentation, in target/doc
	@cargo doc --workspace --no-deps

clean: ## remove what was built
	@cargo clean
	rm -rf .venv .venv-trainer .venv-hftbacktest controlplane/console/node_modules controlplane/console/dist
