# Everything starts here: `make demo` and `make test` need Python 3.11 or newer with venv, and nothing else.

# The first that is new enough.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
RUN := $(BIN)/python -m
PIP := $(RUN) pip install --quiet --no-deps
STAMP := .venv/.installed
SOURCES := syncd state connectors tests
SYNCD_SEED ?= 1
STEPS := $(addprefix tests/faults/test_,every_step.py histories.py postgres.py races.py)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test lint e2e mutants bench lock clean

help: ## show this
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

venv: $(STAMP) ## make .venv from requirements.lock, hashes checked; the other targets do it themselves

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: needs Python 3.11 or newer, with venv (set PYTHON=…)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@# What builds comes first, so that a build needs nothing but the lock; the one source package is named.
	@sed -n '/^setuptools==/,/# via/p' requirements.lock >.venv/build.lock
	$(PIP) --require-hashes --only-binary :all: --requirement .venv/build.lock
	$(PIP) --require-hashes --only-binary :all: --no-binary roundup --no-build-isolation --requirement requirements.lock
	$(PIP) --no-index --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP) ## both products on this machine, kept in step before your eyes; exit 0 only if they agree
	@$(RUN) syncd demo

test: lint ## lint and types, then every test that needs no system package
	$(RUN) pytest -q -n auto --dist loadfile tests/unit tests/contract tests/faults

lint: $(STAMP) ## style, types, and who may import whom
	$(RUN) ruff check --quiet $(SOURCES)
	$(RUN) ruff format --quiet --check $(SOURCES)
	$(RUN) mypy --no-error-summary
	$(BIN)/lint-imports --no-logo >.venv/imports.txt || { cat .venv/imports.txt; exit 1; }

e2e: $(STAMP) ## against real products; installs the system packages that these need, and says which
	@sed -n 's/^PACKAGES="\(.*\)"/e2e: installs what is missing of the system packages \1 (needs root)/p' tests/servers/*-up.sh
	@echo "e2e: histories of SYNCD_SEED=$(SYNCD_SEED); another number plays other ones"
	@# Two processes: the real products, one test after the other, and every step of every scenario.
	@SYNCD_ALL_STEPS=1 SYNCD_HISTORIES=2000 SYNCD_SEED=$(SYNCD_SEED) $(RUN) pytest -q -rs $(STEPS) >.venv/steps.txt 2>&1 & \
		steps=$$!; $(RUN) pytest -q -rs tests/e2e; products=$$?; \
		wait $$steps; all=$$?; cat .venv/steps.txt; exit $$((products || all))

mutants: $(STAMP) ## the engine with one rule after the other taken out: each must make a test fail
	$(RUN) tests.mutants

bench: $(STAMP) ## how long, how many calls, how much memory
	$(RUN) tests.bench.run

lock: $(STAMP) ## pin the dependencies anew: requirements.lock, and the image's part of it
	$(RUN) pip install --quiet uv
	$(RUN) uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --all-extras \
		pyproject.toml -o requirements.lock
	$(RUN) uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
		pyproject.toml -c requirements.lock -o deploy/requirements.lock

clean: ## remove whatever these made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage *.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
