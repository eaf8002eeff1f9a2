# make run: the demo, from nothing to a catalog.  make test: the tests.  Both make the environment first.
# make rail: the environment of RAIL's estimators, for `peers` in the config.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test setup lint format rail

run: setup
	$(BIN)/python -m skyloom run -- --cores all

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: setup
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --lint

format: setup
	$(BIN)/ruff check --fix . && $(BIN)/snakefmt Snakefile workflow

setup: $(VENV)/.installed

# The peers of the evaluation (RAIL's estimators) live in an environment of their own; skyloom starts them as a subprocess.
rail: .venv-rail/.installed

.venv-rail/.installed: constraints-rail.txt
	$(shell command -v $(PYTHON) || command -v python3) -m venv .venv-rail
	.venv-rail/bin/python -m pip install --quiet --disable-pip-version-check -r constraints-rail.txt
	touch $@

# One stamp for the whole environment: it is rebuilt when a pin or a dependency changes, never half-made.
$(VENV)/.installed: constraints.txt pyproject.toml
	$(shell command -v $(PYTHON) || command -v python3) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
