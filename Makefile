# Tasks for people and for CI; `make` lists them.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
UV = $(shell command -v uv || echo $(BIN)/uv)
export DVC_NO_ANALYTICS := 1

.PHONY: help install demo test check bench lock clean
.DEFAULT_GOAL := help

help:  ## List the tasks
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(INSTALLED)  ## Install the locked packages and this one into .venv

demo: install  ## Run the whole flow on handwritten digits; about two minutes
	@$(BIN)/longtail demo

# In the order of the files: the pipeline's take longest, so they begin. Two processes more than there are
# cores, because tests of servers and containers wait a good part of their time.
test: install  ## Run all tests
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $$(($$(nproc) + 2)) --dist loadfile --no-loadscope-reorder

check: install  ## Lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install  ## Measure speed ratios; writes bench/results.json
	$(BIN)/python -m bench

lock: install  ## Resolve pyproject.toml into requirements.lock again
	$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-header --group dev --extra onnx \
	  --quiet pyproject.toml -o requirements.lock

# By name, because images and finished studies are in data too.
clean:  ## Remove what runs and tools wrote, but for .venv, dvc.lock and data/study
	rm -rf $(addprefix data/,source.json images split features champion pipeline .*.partial .*.download)
	rm -rf models reports mlruns mlflow.db* dvc_plots .dvc/cache .dvc/tmp
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find src tests bench -name __pycache__ -type d -exec rm -rf {} +

# Only the lock decides what is installed: uv itself comes from it too where there is none yet.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "Python 3.11 or newer is needed; name one: make $(or $(MAKECMDGOALS),install) PYTHON=python3.12" >&2; exit 1; }
	@test -x "$(UV)" || $(MAKE) --no-print-directory .venv/bin/uv
	@test -x $(BIN)/python || "$(UV)" venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	VIRTUAL_ENV=.venv "$(UV)" pip sync --compile-bytecode --require-hashes requirements.lock
	VIRTUAL_ENV=.venv "$(UV)" pip install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/bin/uv:
	@rm -rf .venv
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo \
	  "Without uv, Python's venv is needed: apt-get install python3-venv (or install uv)" >&2; exit 1; }
	@sed -n '/^uv==/,/^ *#/p' requirements.lock > .venv/uv.txt
	$(BIN)/pip install --quiet --require-hashes -r .venv/uv.txt
