# satkit: everything happens in .venv, build/ and runs/ of this folder.
# A run that was interrupted is simply run again: what is finished is not done twice.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup demo test site bench clean notebooks lock

PYTHON ?= python3
PROFILE ?= lab
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.satkit-ready

help:  ## list the targets
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)  ## make .venv and install satkit with all extras into it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"satkit needs Python 3.11 or newer, but $(PYTHON) is {v[0]}.{v[1]}; run: make setup PYTHON=python3.12")'
	@rm -f $@
	@if ! $(PY) -m pip --version > /dev/null 2>&1; then \
	    echo "setup: making $(VENV) (a missing or half-made one is replaced)"; \
	    $(PYTHON) -m venv --clear $(VENV); \
	fi
	@echo "setup: installing satkit and all extras into $(VENV); the first time this fetches torch and takes minutes"
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all]'
	@echo "setup: compiling what computes boxes"
	@$(PY) -c 'import torch, torchvision, timm; from satkit.boxes import warm_up; warm_up()'
	@touch $@
	@echo "setup: done; next: source $(VENV)/bin/activate, then: jupyter lab notebooks/"

demo: setup  ## run all notebooks on the embedded data and build the site: build/site/index.html
	@$(PY) -m satkit run --all --profile $(PROFILE) --site

site: setup  ## build the site from the notebooks that were executed last (SITE=--no-solutions)
	@$(PY) -m satkit run --site-only $(SITE)

test: setup  ## lint, types, unit tests, and every notebook at the smoke profile
	@echo "test: ruff"
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@echo "test: mypy"
	@$(PY) -m mypy
	@echo "test: pytest"
	@OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

bench: setup  ## measure the speed-ups again; fail where a ratio fell by 20 %
	@$(PY) benchmarks/goals.py --regress

notebooks: setup  ## write notebooks/*.ipynb from notebooks/source/*.py
	@$(PY) -c 'from satkit.notebooks import pair; pair()'

lock: setup  ## write constraints.txt from what is installed in .venv
	@mkdir -p build
	@{ sed -n '/^#/p' constraints.txt; \
	   $(PY) -m pip freeze --exclude-editable | grep -viE '^(nvidia-|cuda-|triton)|@ |^-'; } > build/lock.txt
	@mv build/lock.txt constraints.txt && touch $(STAMP)

clean:  ## remove what was built (build/ and caches); .venv and runs/ stay
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find satkit tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "clean: removed build/ and caches; .venv and runs/ are kept (remove them by hand)"
