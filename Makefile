# meshturn: `make up` serves, `make test` tests. Nothing else has to be set up first.
#
#   make check                                    lint, and every test that needs no process: a minute on two cores
#   make check ARGS="tests/stun -k message"       lint, and some of these tests
#   make test                                     every test: less than half an hour on two cores
#   make test ARGS="tests/cli -k up"              a part of them
#   make test ARGS="-m 'browser and not net'"     those with such marks; setup.cfg says what each means
#   make test JOBS=0 ARGS="tests/hostile -x --pdb"   in one process, for a debugger
#   make fuzz FUZZ_SECONDS=600 FUZZ="codec core"  so long each of these targets; without FUZZ, all of tests/fuzz/targets
#   make test JOBS=3                              by so many workers; otherwise three for every two cores, since tests wait for others

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
FUZZ   ?= $(notdir $(basename $(wildcard tests/fuzz/targets/[a-z]*.py)))
FUZZ_SECONDS ?= 60
JOBS   ?=
CORES  := $(shell nproc 2>/dev/null || echo 2)
# A distribution of its own, which the source distribution of this one does not have.
SCAPY_TURN := $(wildcard scapy_turn)
PYTEST := $(BIN)/python -m pytest --dist loadfile

# Tests start servers and commands by the hundred; each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up check test lint static fuzz bench docs man constraints clean

up: $(VENV)/.installed
	exec $(BIN)/meshturn up $(ARGS)

check: static $(VENV)/.tested
	$(PYTEST) -n $(or $(JOBS),$(CORES)) -q -m 'not process' --hypothesis-profile fast $(ARGS)

test: $(VENV)/.tested
	$(PYTEST) -n $(or $(JOBS),$(shell expr $(CORES) \* 3 / 2)) $(ARGS)

lint: static $(VENV)/.tested
	$(BIN)/python -m pytest -q tests/test_architecture.py

static: $(VENV)/.linted
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(SCAPY_TURN:%=$(BIN)/mypy %)

fuzz: $(VENV)/.tested
	@set -e; for target in $(FUZZ); do $(BIN)/python -m tests.fuzz $$target --seconds $(FUZZ_SECONDS) $(ARGS); done

bench: $(VENV)/.tested
	$(BIN)/python -m bench $(ARGS)

docs: $(VENV)/.documented
	$(BIN)/python -m properdocs build $(ARGS)

# The manual pages, in build/man: one for each command.
man: $(VENV)/.documented
	$(BIN)/python docs/generate_man.py build/man

# One universal file, for every Python and system: conf/constraints.txt with the newest versions that setup.cfg allows.
constraints: | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	UV_CUSTOM_COMPILE_COMMAND='make constraints' $(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 \
	    --extra call --extra media --no-emit-package meshturn --output-file conf/constraints.txt setup.cfg

clean:
	rm -rf $(VENV) build site dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz artifacts

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.tested: $(VENV)/.installed $(wildcard scapy_turn/setup.cfg)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,docs]' $(SCAPY_TURN:%=--editable ./%)
	touch $@

$(VENV)/.linted: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lint]' $(SCAPY_TURN:%=--editable ./%)
	touch $@

$(VENV)/.documented: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@
