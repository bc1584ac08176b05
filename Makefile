# Two commands are enough: `make demo` and `make test`. `make help` names the others.
# Everything is installed into $(VENV), by its own Python; nothing else on the machine is changed.

VENV := .venv
# The Python that $(VENV) is made of: `make test VENV=.venv-3.12 PYTHON=python3.12`.
PYTHON :=
# Further arguments for pytest: `make test ARGS="-k proxies"`.
ARGS :=
# How many processes share the tests, which mostly wait for servers.
JOBS := 4

BIN := $(VENV)/bin
CONSTRAINTS := tests/constraints.txt
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14)
DEV := $(VENV)/.installed-embedded,cli,dev
# litellm needs an older openai than the other tests, so it has an environment of its own.
CLIENTS := $(VENV)-clients

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: demo test test-clients lint types docs bench soak mutants cover clean help run-clients

demo: $(VENV)/.installed-embedded  ## two worker processes hold one conversation on the embedded server
	@$(BIN)/python examples/demo.py

test: $(DEV)  ## every test but the soak and those of `test-clients`
	@$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

test-clients:  ## the tests of the LLM client libraries that need the extra `clients`
	@$(MAKE) --no-print-directory VENV=$(CLIENTS) run-clients

run-clients: $(VENV)/.installed-embedded,cli,dev,clients
	@$(BIN)/python -m pytest -m clients $(ARGS)

lint: $(DEV)  ## form: ruff check, ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

# pyright asks the first `python` on the PATH where packages are; --verifytypes knows no other way.
types: $(DEV)  ## types: mypy --strict, pyright, and no public name without a type
	@$(BIN)/mypy
	@PATH="$(abspath $(BIN)):$$PATH" pyright
	@PATH="$(abspath $(BIN)):$$PATH" pyright --ignoreexternal --verifytypes redis_memory

# The theme's advertisement of its successor would hide a warning that matters.
docs: $(VENV)/.installed-docs  ## the manual, into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml

bench: $(VENV)/.installed-embedded,cli,bench  ## speed, as ratios to redis-py in the same run
	@$(BIN)/python benchmarks/run.py
	@$(BIN)/python benchmarks/plot.py

# `make soak SECONDS=600 SEED=7`; without a seed one is drawn. Nothing may hang there for longer than
# the soak itself and what follows it.
soak: SECONDS := 60
soak: SEED :=
soak: $(DEV)  ## a minute, or SECONDS, of random faults; prints the SEED that repeats them
	@SOAK_SECONDS=$(SECONDS) SOAK_SEED=$(SEED) $(BIN)/python -m pytest -m soak --capture=no \
	    -o faulthandler_timeout=$$(($(SECONDS) + 120)) $(ARGS)

mutants: $(DEV)  ## break the protocol on purpose, rule by rule: the tests must notice each time
	@$(BIN)/python -m tests.mutants $(ARGS)

# Traced, a call takes longer than the pause between two alarms of that test, and never ends.
cover: $(DEV)  ## the tests, and how much of the library they run: at least 95 %
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -k 'not alarms_that_raise' $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --fail-under=95

clean:  ## remove what these commands have made
	@rm -rf .venv .venv-* build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## */\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name what; do \
	    printf 'make %-14s%s\n' "$$name" "$$what"; done

# One stamp per set of extras: a second run finds it and installs nothing. Every set is installed
# editable, so that whichever came last, it is the code of this folder that runs.
$(VENV)/.installed-%: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "Installing redis_memory[$*] into $(VENV), this once ..." >&2
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check \
	    --constraint $(CONSTRAINTS) --editable '.[$*]'
	@touch '$@'

# Debian ships Python without ensurepip, which venv needs to install pip.
$(BIN)/python:
	@set -e; python=; \
	for candidate in $(CANDIDATES); do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	    then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo 'redis_memory needs Python 3.11 or later; tried: $(CANDIDATES).' >&2; \
	    echo 'If it has another name here: make PYTHON=/path/to/python ...' >&2; exit 1; \
	fi; \
	if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    "$$python" -m venv $(VENV); \
	elif command -v uv >/dev/null; then \
	    uv venv --quiet --seed --allow-existing --python "$$python" $(VENV); \
	elif command -v virtualenv >/dev/null; then \
	    virtualenv --quiet --python "$$python" $(VENV); \
	elif "$$python" -m pip --version >/dev/null 2>&1; then \
	    "$$python" -m venv --without-pip $(VENV); \
	    "$$python" -m pip --quiet --quiet --disable-pip-version-check --python $(BIN)/python install pip; \
	else \
	    echo "$$python can make no virtual environment: it has neither ensurepip nor pip." >&2; \
	    echo 'Any one of these mends it: the package python3-venv, uv, virtualenv, or a Python that' >&2; \
	    echo 'has ensurepip, named by: make PYTHON=/path/to/python ...' >&2; exit 1; \
	fi
