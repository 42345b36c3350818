# Everything a newcomer types. `make` alone prints this list.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
TOOLS := .tools
UV := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/bin/uv)
RUN := $(UV) run --no-sync
PYTEST_OPTIONS ?=
COVERAGE ?= --cov --cov-report=
FUZZED_FOR := $(if $(filter command line,$(origin SECONDS)),$(SECONDS))
# only one that was asked for in so many words: a KUBECONFIG of the shell's may be a hospital's
CHOSEN_CLUSTER := $(if $(filter command line,$(origin KUBECONFIG)),$(KUBECONFIG))

.PHONY: help demo test lint unit chart chart-documents docs integration fuzz e2e image up down status bench faults soak environment s3-servers api-server helm clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.locked ## Send real images through the whole system, look them up again, show it
	@$(RUN) dimse-ingestion demo

test: lint unit chart integration fuzz ## Lint, unit, chart, integration and conformance tests, a minute of fuzzing

lint: .venv/.locked ## ruff, mypy over src, harness, benchmarks, faults and tests, import contracts
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports --no-cache

unit: .venv/.locked ## What needs no other process, with its coverage (COVERAGE= measures none)
	$(RUN) pytest tests/unit -n auto $(COVERAGE) $(PYTEST_OPTIONS)
	@$(if $(COVERAGE),echo "Statements of src that the unit tests execute: $$($(RUN) coverage report --format=total) %; 'coverage report' lists the others")

chart: .venv/.locked ## The chart's every rendering, without helm and without a cluster
	$(RUN) pytest tests/chart -n auto $(PYTEST_OPTIONS)

chart-documents: .venv/.locked ## Make the chart's README and schema from its values.yaml
	$(RUN) python -m harness.chart_documents

docs: .venv/.locked ## Build the site of docs/, with --strict, in build/site
	$(RUN) python -m harness.docs_site

integration: .venv/.locked ## Real NATS, S3, PostgreSQL, DCMTK and Orthanc, as far as they are installed
	$(RUN) pytest tests/integration tests/conformance -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

fuzz: .venv/.locked ## Mutated input at each service, FUZZ_SEED=1 from that seed, and at each parser; SECONDS=600 for longer
	FUZZ_SECONDS=$(or $(FUZZED_FOR),60) $(RUN) pytest tests/fuzz --ignore tests/fuzz/test_parsers.py $(PYTEST_OPTIONS)
	FUZZ_PARSER_SECONDS=$(or $(FUZZED_FOR),$(FUZZ_PARSER_SECONDS),10) $(RUN) pytest tests/fuzz/test_parsers.py -v -n 2 $(PYTEST_OPTIONS)

e2e: .venv/.locked ## On a kind cluster, end to end; KEEP=1 leaves it, KUBECONFIG=FILE uses one that exists
	$(RUN) python -m harness e2e $(if $(KEEP),--keep) $(if $(CHOSEN_CLUSTER),--kubeconfig $(CHOSEN_CLUSTER)) $(PYTEST_OPTIONS)

image: .venv/.locked ## The container image of all services
	$(RUN) python -m harness.images

up: .venv/.locked ## Create a local cluster and print its addresses
	@$(RUN) python -m harness up

down: .venv/.locked ## Delete that cluster, and stop what was started with it
	@$(RUN) python -m harness down

status: .venv/.locked ## Print the state of that cluster and its addresses
	@$(RUN) python -m harness status

bench: .venv/.locked ## Measure against DCMTK, pynetdicom and Orthanc; ONLY=ROW some rows, LONG=1 more, SHORT=1 in seconds
	$(RUN) python -m benchmarks $(if $(ONLY),--only "$(ONLY)") $(if $(LONG),--long) $(if $(SHORT),--short)

faults: .venv/.locked ## Break one service, server or disk at a time under load, and count what is lost; ONLY=FAULT some, BACKLOG=100000 a long drain
	$(RUN) python -m faults $(if $(ONLY),--only "$(ONLY)") $(if $(BACKLOG),--backlog $(BACKLOG))

soak: .venv/.locked ## Load all services for MINUTES=30, and compare memory, descriptors, threads and tasks
	$(RUN) python -m faults.soak --minutes $(or $(MINUTES),30)

environment: .venv/.locked ## Only prepare what the other commands run in

s3-servers: .venv/.locked ## Build the S3 servers that tests use, from Go modules (minutes, once)
	$(RUN) python -m harness.s3_server

api-server: .venv/.locked ## Build the Kubernetes API server that tests use, from Go modules (minutes, once)
	$(RUN) python -m harness.api_server

helm: .venv/.locked ## Download Helm, or build it, where it is missing
	$(RUN) python -m harness.tools

clean: ## Remove the environment and everything built
	rm -rf .venv $(TOOLS) build .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(TOOLS)/bin/uv:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check uv

.venv/.locked: pyproject.toml uv.lock | $(UV)
	@echo "preparing the environment (once) ..."
	@$(UV) sync --quiet --locked --all-extras --all-groups --compile-bytecode
	@touch $@
