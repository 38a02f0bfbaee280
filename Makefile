# Two commands do all: `make quickstart` and `make test`. Python, make and git are all they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= runs/quickstart
KILLS ?= 20

.PHONY: help quickstart serve check test nightly docs

help:
	@echo "make quickstart  train a model of your own on real text, then chat with it (ARGS=... passes on)"
	@echo "make serve       serve it: API and chat page (MODEL=$(MODEL))"
	@echo "make test        all tests (ARGS=... goes to pytest)"
	@echo "make nightly     every stage killed at KILLS=$(KILLS) random moments and resumed (about half an hour)"
	@echo "make check       format, lint, types, layers"
	@echo "make docs        the documentation as a site, in site/"

quickstart: $(VENV)/installed
	$(BIN)/jielong quickstart --resume $(ARGS)

serve: $(VENV)/installed
	$(BIN)/jielong serve $(MODEL) $(ARGS)

check: $(VENV)/installed-dev
	scripts/check

test: $(VENV)/installed-dev
	scripts/chromium
	scripts/test $(ARGS)

nightly: $(VENV)/installed-dev
	scripts/test tests/pipeline/test_resume.py --kills $(KILLS) $(ARGS)

docs: $(VENV)/installed-docs
	$(BIN)/zensical build --clean

# pip stays as Python ships it: a newer one may read a machine's own pip settings differently.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python %s is too old: Jielong needs 3.11; make PYTHON=python3.x ..." % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

# Each stamp is younger than the pyproject.toml it was installed from, so a second call does nothing.
$(VENV)/installed: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV): minutes the first time (PyTorch is large), then never again"
	@$(BIN)/python -m pip install -qq -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) what checks and tests need: minutes, once"
	@$(BIN)/python -m pip install -qq -e '.[dev]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-docs: pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install -qq -e '.[docs]'
	@touch $@ $(VENV)/installed
