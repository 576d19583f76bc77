# make run: environment, `dvc repro`, table of results.  make test: environment, every check.
# make bench: environment, the engine's speed against a plain loop's; results go to bench/results.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
# dvc runs the python of the PATH: the environment's comes first.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: run test bench clean

run: $(STAMP)
	dvc repro
	der show

test: $(STAMP)
	ruff format --check .
	ruff check .
	mypy
	pytest -n 2 --dist worksteal

bench: $(STAMP)
	python -m bench

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
