# Every target makes the virtual environment that it needs, and makes it anew only when
# pyproject.toml or constraints.txt changed. Python: `make PYTHON=python3.12 test` names one.
# pip takes torch from your index: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu keeps
# the download small on a machine without a GPU.

VENV ?= .venv
BIN := $(VENV)/bin
STUDY ?= studies/quickstart.yaml
PYTEST_ARGS ?= -n 2 --dist loadfile

PIP := $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check \
	--root-user-action=ignore --constraint constraints.txt
# What is set for a user's own store must not reach the tests; one thread a process, because
# pytest-xdist fills the cores already.
CLEAN := env -u MTL_STORE -u MTL_DATA -u MLFLOW_TRACKING_URI -u MLFLOW_RUN_ID \
	-u MLFLOW_EXPERIMENT_ID OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help study test lint bench clean
.DELETE_ON_ERROR:

help:
	@echo 'make study   install, search the quickstart study, compare it, say what to do next'
	@echo 'make test    install with what tests need, run all tests'
	@echo 'make lint    ruff and mypy'
	@echo 'make bench   this project against what people use today (an hour)'
	@echo 'make clean   remove the virtual environment and what tools leave; stores stay'

study: $(VENV)/installed
	@$(BIN)/mtl search $(STUDY)
	@$(BIN)/mtl compare $(STUDY)
	@echo
	@echo 'What to do next:'
	@echo '  $(BIN)/mtl show $(STUDY)      the trials'
	@echo '  $(BIN)/mtl ui $(STUDY)        every run, in the browser'
	@echo '  $(BIN)/mtl promote $(STUDY)   make the best model the champion'
	@echo '  $(BIN)/mtl init TABLE --target COLUMN -o FILE    a study of your own data'

test: $(VENV)/installed-dev
	@$(CLEAN) $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/installed-dev
	@$(BIN)/ruff check pipeline tests
	@$(BIN)/ruff format --check pipeline tests
	@$(BIN)/mypy --strict

bench: $(VENV)/installed-bench
	@$(CLEAN) $(BIN)/python -m tests.benchmarks.bench

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find pipeline tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/made: pyproject.toml constraints.txt
	@set -e; \
	for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	      echo "$$python has no module venv; on Debian: apt install python3-venv" >&2; exit 1; \
	    fi; \
	    echo "Making $(VENV) with $$("$$python" --version)."; \
	    "$$python" -m venv --clear $(VENV); touch $@; exit 0; \
	  fi; \
	done; \
	echo 'Python 3.11 or newer must be installed. Found none as' \
	  '$(or $(PYTHON),python3 or python3.11 to python3.14).' \
	  'Install one, or name it: make PYTHON=/path/to/python3.11' >&2; \
	exit 1

$(VENV)/installed: $(VENV)/made
	@echo 'Installing into $(VENV); the first time takes some minutes.'
	@$(PIP) --editable .
	@touch $@

$(VENV)/installed-bench: $(VENV)/made
	@echo 'Installing with what is measured into $(VENV); the first time takes some minutes.'
	@$(PIP) --editable '.[bench]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/made
	@echo 'Installing with the tools for tests into $(VENV); the first time takes some minutes.'
	@$(PIP) --editable '.[dev]'
	@touch $@
