# Everything is done in .venv, which is made when it is missing and brought up to date when pyproject.toml or constraints.txt changed.
# The system's Python is used to make it, and is not touched.

.DEFAULT_GOAL := help
.PHONY: help venv serve demo test check format bench lock clean
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := apiserver registry actors admission storage migrations
CHECKED := $(SOURCES) tests examples benchmarks
ARGS ?=
WORKERS ?= 2

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## Make .venv with what was tested, or bring it up to date

serve: $(STAMP) ## Run the server with examples/uptime.py on SQLite (ARGS="--listen ..." are passed on)
	$(BIN)/skep serve --plugin examples/uptime.py $(ARGS)

demo: $(STAMP) ## Start, apply a Probe, wait until its actor has made it ready, show it, stop
	$(BIN)/python examples/demo.py

test: $(STAMP) ## All tests, in two processes (WORKERS=1: in one after the other) (ARGS="-k name" are passed on)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(STAMP) ## Format, lint, types, import contract, migrations
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports
	env -u SKEP_DATABASE_URL $(BIN)/alembic check

format: $(STAMP) ## Put the code into the form that `make check` wants
	$(BIN)/ruff format $(CHECKED)
	$(BIN)/ruff check --fix $(CHECKED)

bench: $(STAMP) ## Measure; prints a table and writes build/bench.json
	$(BIN)/python -m benchmarks $(ARGS)

lock: ## Write constraints.txt anew from the newest versions that pyproject.toml allows
	rm -rf build/lock
	sh .ci/venv build/lock
	build/lock/bin/python -m pip install --quiet '.[postgres,dev]'
	build/lock/bin/python -m pip freeze --exclude skep | sed '/ @ /d' > constraints.txt
	rm -rf build/lock

clean: ## Remove .venv and everything that was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	sh .ci/venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[postgres,dev]'
	@touch $@
