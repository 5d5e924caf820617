# Every target installs what it needs: .venv from pyproject.toml at the versions in locks/, .engines for the test engines.
PYTHON ?= python3
VENV ?= .venv
LOCK ?= locks/python.txt
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The first pip with --group; Python 3.11 creates environments with an older one.
PIP_WITH_GROUPS := pip>=25.1,<27
# --dist=loadfile runs each file in one process, so that its tests share engines and keep their order. tests/conftest.py
# orders the files and adds two workers.
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder

.PHONY: demo lint test suite test-engines test-lowest test-newest conformance coverage bench engines lock bundle screenshots clean

$(VENV)/.installed: pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	@echo "Installing into $(VENV); this takes about a minute."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) '$(PIP_WITH_GROUPS)'
	@$(PIP_INSTALL) --constraint $(LOCK) --group dev -e .
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/python -m demo

lint: $(VENV)/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/idea.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/zizmor --offline --quiet .github

engines: $(VENV)/.installed
	@$(BIN)/python -m tests.support.engines
	@$(BIN)/python -m tests.support.chromium

test: lint suite

suite: engines
	$(PYTEST) --ignore=tests/conformance -m 'not extended'

# Slow tests that rarely fail alone (the marker `extended`): more engines, packaging, load.
test-engines: engines
	$(PYTEST) --ignore=tests/conformance -m extended

conformance: engines
	@$(BIN)/python -m tests.support.nginx
	$(BIN)/python -m pytest tests/conformance

coverage: engines
	$(PYTEST) --ignore=tests/conformance --cov=ddb_mcp --cov-report=term-missing:skip-covered

# The suite with the lowest and the newest versions that pyproject.toml allows, each in its own environment.
.venv-lowest.txt: pyproject.toml
	@.venv/bin/python -m tests.support.locks --lowest > $@

test-lowest: .venv/.installed
	@$(MAKE) suite VENV=.venv-lowest LOCK=.venv-lowest.txt

test-newest:
	@rm -rf .venv-newest
	@$(MAKE) suite VENV=.venv-newest LOCK=/dev/null

lock: engines
	@$(BIN)/python -m tests.support.locks

bench: engines
	@$(BIN)/python -m benchmarks

# Creates what hosts install, in dist/: a plugin's folder and an MCPB file.
bundle: $(VENV)/.installed
	@$(BIN)/python -m bundle

# Renews the README's pictures with a real Chromium.
screenshots: engines
	@$(BIN)/python -m tests.browser.screenshots

clean:
	rm -rf .venv* .engines .mypy_cache .ruff_cache .pytest_cache .coverage
