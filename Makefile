# Every target does the set-up that it needs. `make demo` first.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# Without compiled modules every process spends seconds on compiling Dagster, dlt and SQLMesh again.
unexport PYTHONDONTWRITEBYTECODE
DATA ?=
LIVE ?=

help: ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 14

.venv/installed: requirements.lock requirements-uv.lock pyproject.toml scripts/install.sh
	@scripts/install.sh $(PYTHON) requirements.lock
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	@scripts/install.sh $(PYTHON) requirements-dev.lock
	@# What nearly every test's process imports is compiled once, not by all of them at the same time.
	@$(BIN)/python -c "import dagster_aws.s3, dagster_postgres, dagster_webserver, dlt.destinations, sqlmesh"
	@touch $@

.env:
	@scripts/dotenv.sh

reset: ## Empty the lake and Dagster's history, for another feed (asks)
	@scripts/reset.sh

demo: .venv/installed .env ## From source to answer (DATA=folder: real files, LIVE=1: portal)
	@$(BIN)/lakehouse demo $(if $(DATA),--data "$(DATA)") $(if $(LIVE),--live)

up: .venv/installed .env ## PostgreSQL, Dagster, query service, dashboard; Ctrl-C ends them
	@$(BIN)/lakehouse up

PYTEST = $(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder --durations=50 --durations-min=1

test: .venv/installed-dev .env ## Whether it still stands, in minutes
	@$(PYTEST) $(ARGS)

test-slow: .venv/installed-dev .env ## The tests of more than two seconds each; CI runs both
	@$(PYTEST) -m 'slow and not proof' $(ARGS)

prove: .venv/installed-dev .env ## Hundreds of faults (docs/faults.md), and all that takes long (FAULT_SEED=n: again)
	@$(BIN)/python -m pytest -m proof -s tests/faults tests/releases_proof $(ARGS)
	@$(BIN)/python -m pytest -m proof --ignore=tests/faults --ignore=tests/releases_proof $(ARGS)
	@seed=$${ORDER:-$$RANDOM}; echo "Every test again in another order (ORDER=$$seed: in this one)"; \
	$(BIN)/python -m pytest -n 3 --dist loadscope -m 'not proof' -p randomly --randomly-seed=$$seed --hypothesis-profile=many $(ARGS)

prove-faults: .venv/installed-dev .env ## Thousands of faults, for a night (FAULTS=n, FAULT_SECONDS=s, FAULT_SEED=n, FAULT_STORE=s3): one lake; run several beside
	@$(BIN)/python -m tests.faults.nights

lint: .venv/installed-dev .env ## Style, types, who may import whom, the models
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/lakehouse lint-models

audit: .venv/installed-dev ## Known vulnerabilities of what is installed
	@$(BIN)/python scripts/audit.py

secrets: .venv/installed-dev .env ## That no secret is found in anything that a lakehouse leaves behind
	@$(BIN)/python -m pytest -m proof tests/security $(ARGS)

bench: .venv/installed-dev .env ## Speed beside bare peers, written to docs/benchmarks.md
	@$(BIN)/python -m benchmarks $(ARGS)

lock: export PATH := $(PATH):$(CURDIR)/$(BIN)
lock: ## Pin the newest versions that pyproject.toml allows (uv is there after an install)
	uv pip compile pyproject.toml --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock
	uv pip compile pyproject.toml --extra dev -c requirements.lock --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements-dev.lock
	uv pip compile --group pyproject.toml:lambda -c requirements.lock --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements-lambda.lock
	echo uv | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements-uv.lock

.PHONY: help reset demo up test test-slow prove lint audit secrets bench lock
