# Needs only python3 (3.11 or newer) and make; everything else goes into .venv.

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 4
SECONDS ?= 60
SEED ?=
FAULT_SEED ?= $(shell date +%s)
FAULT_SCALE ?= 5

.DEFAULT_GOAL := help
.PHONY: help venv demo test simulate perturb faults containers oldest-sqlglot mutations nightly check bench reference docs \
	format clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

venv: .venv/.installed ## make .venv with Knockon and its tools in it

.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Knockon needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@# Without uv, or with one that reaches no registry, pip does the same in minutes.
	command -v uv > /dev/null && uv pip install --quiet --python $(BIN)/python -e '.[dev]' \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

.venv/.installed-bench: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

.venv/.installed-docs: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

demo: venv ## run the example end to end, with an embedded database and broker
	$(BIN)/knockon demo

test: venv ## run all tests, on up to WORKERS processes
	$(BIN)/pytest -n auto --maxprocesses=$(WORKERS)

simulate: venv ## try worlds that nobody wrote, for SECONDS, from SEED on
	$(BIN)/python -m tests.simulation --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

perturb: venv ## check derived column lineage of generated queries, for SECONDS, from SEED on
	$(BIN)/python -m tests.perturbation --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

faults: venv ## kill, freeze, fill and cut off all there is; FAULT_SEED repeats it, EVENTS=1000000 is the flood
	FAULT_SEED=$(FAULT_SEED) FAULT_SCALE=$(FAULT_SCALE) EVENTS=$(EVENTS) $(BIN)/pytest tests/faults

containers: venv ## run the compose file and the tests that need servers on a Docker engine
	$(BIN)/python -m tests.containers

oldest-sqlglot: venv ## test derived column lineage with the oldest sqlglot that pyproject.toml allows
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
		--target build/oldest-sqlglot "sqlglot==$$(sed -n 's/.*"sqlglot>=\(.*\),<.*/\1/p' pyproject.toml).*"
	PYTHONPATH=build/oldest-sqlglot $(BIN)/pytest tests/unit/lineage tests/integration/lineage

mutations: venv ## break the engine on purpose, and require the simulator to notice
	$(BIN)/pytest tests/simulation/test_mutations.py
	$(BIN)/python -m tests.simulation.catch
	$(BIN)/python -m tests.simulation.catch --mend

nightly: ## run the suites that are too long for .ci/run, with their output in build/nightly
	.ci/nightly

check: venv ## check format, lint, types and the direction of imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed-bench ## measure, beside other engines
	$(BIN)/python -m tests.benchmarks

reference: venv ## write the reference pages generated from the code
	$(BIN)/python -m tests.documentation

docs: .venv/.installed-docs ## build the site in build/site; a broken link is an error
	$(BIN)/zensical build --clean --strict

format: venv ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

clean: ## remove everything that was made, embedded data too
	rm -rf .venv .knockon build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
