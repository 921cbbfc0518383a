SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

WORKERS ?= 2# parallel test processes
SEEDS ?= 200# runs of each scenario
UV_VERSION := 0.13.8# only `make lock` needs it

BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help venv demo scenarios test test-real accuracy check fix crds lock bench coverage clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## Create .venv with everything below (hash-checked); the other targets do it themselves

# PYTHON=/path/to/python overrides the search.
$(STAMP): requirements/dev.txt pyproject.toml
	@for python in $${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; \
	done; \
	[ -n "$$python" ] || { echo "kaito needs Python 3.11 or newer; none found. Set PYTHON=..." >&2; exit 1; }; \
	[ -x $(BIN)/pip ] || "$$python" -m venv .venv
	@echo "Installing into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## Run the quick start in the twin: no cluster, no cloud, no GPU
	@$(BIN)/python -m sim run sim/scenarios/quickstart_phi_3.yaml

scenarios: $(STAMP) ## Run every scenario under many seeds; SEEDS=20 for fewer
	@$(BIN)/python -m sim run sim/scenarios --seeds $(SEEDS)

test: $(STAMP) ## Run the tests that need nothing but this machine
	$(BIN)/python -m pytest -n $(WORKERS) --ignore=tests/integration --ignore=tests/e2e

# CI=true: what is missing is a failure. KAITO_TEST_CLUSTER=1: the cluster of KUBECONFIG is used.
test-real: $(STAMP) ## Run the tests against real backends; says what it skips and why
	@[ "$${KAITO_TEST_CLUSTER:-}" = 1 ] || hack/envtest.sh build || [ "$${CI:-}" != true ]
	@[ "$${CI:-}" != true ] || hack/chromium.sh
	@hack/vllm.sh install || [ "$${CI:-}" != true ]
	$(BIN)/python -m pytest tests/integration tests/e2e
	@echo "Backends without a test yet: Azure itself, vLLM serving, peft and trl"

accuracy: $(STAMP) ## Print how far predictions are from published measurements
	$(BIN)/kaito accuracy

check: $(STAMP) ## Check format, lint, types, import contracts and generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy kaito sim tests/contract
	$(BIN)/lint-imports --no-logo
	$(BIN)/kaito crds --check deploy/crds
	$(BIN)/kaito crds --machine-mirror --check deploy/components/machine-mirror

fix: $(STAMP) ## Format, and fix what lint can fix by itself
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

crds: $(STAMP) ## Regenerate the CustomResourceDefinitions in deploy
	$(BIN)/kaito crds deploy/crds
	$(BIN)/kaito crds --machine-mirror deploy/components/machine-mirror

coverage: $(STAMP) ## Hold kaito/domain to full branch coverage by its own tests
	$(BIN)/python -m pytest --cov=kaito.domain --cov-fail-under=100 tests/unit/domain

bench: $(STAMP) ## Run the benchmarks; 1,000 and 2,000 Workspaces take some minutes
	$(BIN)/python -m pytest -s --benchmark-enable --benchmark-only benchmarks

# dev.txt bounds the others: the image gets the versions that were tested.
lock: ## Pin requirements/*.txt again; UPGRADE=1 takes newer versions
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$${PYTHON:-python3} -m venv "$$tmp"; \
	"$$tmp/bin/pip" install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	pin() { \
	  "$$tmp/bin/uv" pip compile --quiet --generate-hashes --universal --python-version 3.11 \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	    $(if $(UPGRADE),--upgrade) --output-file "requirements/$$1.txt" "$${@:2}"; \
	}; \
	pin dev --extra dev --extra sim pyproject.toml; \
	pin operator --extra operator --extra azure --constraints requirements/dev.txt pyproject.toml; \
	"$$tmp/bin/python" -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb")); \
	  print(*project["build-system"]["requires"], sep="\n")' \
	  | pin build --constraints requirements/dev.txt -

clean: ## Remove everything that these targets made, .venv included
	rm -rf .venv .benchmarks .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache \
	  .ruff_cache build dist htmlcov
	find kaito sim tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
