# make demo: segment two synthetic exams, prepared and raw.   make test: gates and tests.   make test-slow: the slow ones.
# Both set up what they need in .venv; Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow coverage check lowest clean

demo: $(VENV)/demo-ready
	$(BIN)/gliomaseg demo -o demo-out
	$(BIN)/gliomaseg demo --raw -o demo-out/raw

test: $(VENV)/test-ready check
	$(BIN)/python -m pytest -n auto -m "not slow"

# Kills, a browser, several processes, whole trainings.
test-slow: $(VENV)/test-ready
	$(BIN)/python -m pytest -n auto -m slow

# All tests, and at least this share of lines and branches.
coverage: $(VENV)/test-ready
	$(BIN)/python -m pytest -n auto --cov --cov-report=
	$(BIN)/python -m coverage report --skip-covered --fail-under=90

check: $(VENV)/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every core dependency at the lowest version that pyproject.toml declares, in an environment of its own.
lowest:
	$(PYTHON) tools/lowest_versions.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gliomaseg needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo-ready: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[raw]"
	touch $@

# constraints.txt names the PyTorch whose CPU build is small where such a build is at hand.
$(VENV)/test-ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,dev]"
	touch $@ $(VENV)/demo-ready

clean:
	rm -rf $(VENV) demo-out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
