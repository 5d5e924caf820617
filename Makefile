# Every target sets up what it needs: .venv from pyproject.toml, .engines for the test engines.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench conformance engines clean

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	@echo "Installing into $(VENV); this takes about a minute."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/python -m demo

lint: $(VENV)/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

engines: $(VENV)/.installed
	@$(BIN)/python -m tests.support.engines

test: lint engines
	$(BIN)/python -m pytest --ignore=tests/conformance

conformance: $(VENV)/.installed engines
	$(BIN)/python -m pytest tests/conformance

bench: $(VENV)/.installed engines
	@$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .engines .mypy_cache .ruff_cache .pytest_cache
