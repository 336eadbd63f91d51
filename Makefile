# Kernel on one machine. `make help` lists the targets; all but the first run need nothing but python3 (3.11+) and make.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
MEMBERS := libs/contracts libs/runtime libs/platform libs/testing libs/worktime services/process-svc services/resource-svc \
	services/scheduler-svc services/rules-svc services/gateway clients/python
READY := .venv/.ready

.PHONY: help run up down status test check lint types format clean

help: ## this list
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z%-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 24

run: $(READY) ## everything up, the example through it, a summary; EXIT=1 ends after the summary, else Ctrl-C
	@$(BIN)/kernel run $(if $(EXIT),--exit)

up: $(READY) ## the stack in the background, ready when this returns; ARGS="--services process-svc=2" for replicas
	@$(BIN)/kernel up $(ARGS)

down: $(READY) ## stop all of it
	@$(BIN)/kernel down

status: $(READY) ## what runs where
	@$(BIN)/kernel status

test: $(READY) ## the tests, on a real Postgres and a real Kafka, two files at a time; ARGS="-k name" narrows them, -n0 is one by one
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(READY) ## tests, lints, types, import contracts, packages alone, deployment files: what CI runs
	@bash .ci/run

lint: $(READY) ## ruff and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(READY) ## mypy, strict
	@$(BIN)/mypy $(wildcard $(addsuffix /src,$(MEMBERS)))

format: $(READY) ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

bench-%: $(READY) ## one benchmark; its last line is one JSON object (bench-lifecycle)
	@$(BIN)/python tools/bench_$*.py $(ARGS)

clean: ## forget the environment and the local data
	@if test -x $(BIN)/kernel; then $(BIN)/kernel down; fi
	rm -rf .venv .kernel

$(READY): requirements.lock pyproject.toml $(addsuffix /pyproject.toml,$(MEMBERS))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "kernel: $(PYTHON) is too old, 3.11 or later is needed (make PYTHON=...)"; exit 1; }
	@test -x $(BIN)/pip || { echo "kernel: making .venv"; $(PYTHON) -m venv .venv; }
	@echo "kernel: installing the locked packages (a minute or less, once)"
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements.lock \
		| awk -v all="$$(grep -c '==' requirements.lock)" '/^Collecting/ { if (++n % 20 == 0) { printf "  %d of %d fetched\n", n, all; fflush() } } /^Installing/ { print "  unpacking"; fflush() }'
	@echo "kernel: installing the workspace"
	@$(BIN)/pip install --disable-pip-version-check -q --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@touch $@
