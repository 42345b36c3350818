# Everything a newcomer types. `make` alone prints this list.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
TOOLS := .tools
UV := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/bin/uv)
RUN := $(UV) run --no-sync
PYTEST_OPTIONS ?=

.PHONY: help demo test lint unit integration bench environment s3-servers clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.locked ## Send real images through the whole system, look them up again, show it
	@$(RUN) dimse-ingestion demo

test: lint unit integration ## Everything that is claimed: lint, unit, integration and conformance tests

lint: .venv/.locked ## ruff, mypy and the import contracts
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports --no-cache

unit: .venv/.locked ## What needs no other process
	$(RUN) pytest tests/unit -n auto $(PYTEST_OPTIONS)

integration: .venv/.locked ## Real NATS, S3, PostgreSQL, DCMTK and Orthanc, as far as they are installed
	$(RUN) pytest tests/integration tests/conformance -n 2 --dist loadfile $(PYTEST_OPTIONS)

bench: .venv/.locked ## Receiving and the whole path against DCMTK and pynetdicom, in one table
	$(RUN) python -m benchmarks

environment: .venv/.locked ## Only prepare what the other commands run in

s3-servers: .venv/.locked ## Build the S3 servers that tests use, from Go modules (minutes, once)
	$(RUN) python -m harness.s3_server

clean: ## Remove the environment and everything built
	rm -rf .venv $(TOOLS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(TOOLS)/bin/uv:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check uv

.venv/.locked: pyproject.toml uv.lock | $(UV)
	@echo "preparing the environment (once) ..."
	@$(UV) sync --quiet --locked --all-extras --compile-bytecode
	@touch $@
