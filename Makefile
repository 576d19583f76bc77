# make run: environment, `dvc repro`, table of results.  make bench: the engine's speed against a plain loop's.
# make check: format, lint, types, contracts, fast tests, within a minute.  make test: the same with all tests
# but those that kill pipelines or run whole protocols, with TORTURE=20, and those on a Slurm, with SLURM=1.
# make torture: kills `dvc repro` TORTURE times, 1000 if nothing is said, and draws as many examples of a property.
# make docs: the pages as a site, in site/.
PYTHON ?= python3
# Exact versions, so that what was green stays so; empty: the newest that pyproject.toml admits.
CONSTRAINTS ?= constraints.txt
INSTALL = pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable
VENV := .venv
RUNS := $(VENV)/.runs
TESTS := $(VENV)/.tests
PAGES := $(VENV)/.pages
# Bytecode is kept, whatever the environment says: else every process makes that of all tests anew.
PYTEST := env -u PYTHONDONTWRITEBYTECODE pytest --dist worksteal
# dvc runs the python of the PATH: the environment's comes first.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: run check test static types tests torture bench docs constraints clean

run: $(RUNS) # the last stage leaves the table to `der show`, which is there also if no stage ran
	der check
	DER_TABLE=later dvc repro
	der show

check: SELECTED := -n 2 -m 'not slow'
test: SELECTED := -n 2 $(if $(TORTURE),--torture $(TORTURE)) $(if $(SLURM),--slurm)
check test: static
	$(MAKE) --no-print-directory --jobs 2 types tests SELECTED="$(SELECTED)"

static: $(TESTS)
	ruff format --check .
	ruff check .
	lint-imports

types: # beside the tests, which do not take all of two cores
	mypy

tests:
	$(PYTEST) $(SELECTED)

torture: TORTURE ?= 1000
torture: $(TESTS)
	$(PYTEST) -n 3 --torture $(TORTURE) -m 'torture or hypothesis'

bench: $(RUNS)
	python -m bench

docs: $(PAGES)
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict

$(RUNS): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[pipeline]'
	touch $@

$(TESTS): $(RUNS)
	$(INSTALL) '.[dev]'
	touch $@

$(PAGES): $(RUNS)
	$(INSTALL) '.[docs]'
	touch $@

constraints: # the newest versions that pyproject.toml admits today; triton and CUDA's libraries follow torch
	$(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/pip install --quiet --editable '.[dev]'
	sed -i.old '/^#/!d' constraints.txt
	$(VENV)-newest/bin/pip freeze --exclude-editable | grep -vE '^(nvidia|cuda|triton)' >> constraints.txt
	rm -r $(VENV)-newest constraints.txt.old

clean:
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .grimp_cache .hypothesis
