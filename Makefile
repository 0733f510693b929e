# Everything runs in .venv; the only thing that must be there before is Python 3.10-3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXAMPLE ?= two-samples
PYTEST_WORKERS ?= 2

.PHONY: help setup example test check format lock clean
help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.done ## set up .venv
$(VENV)/.done: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --editable .
	@touch $@

example: setup ## plan and run cwl-examples/$(EXAMPLE) on local MiniClusters
	@PATH="$(CURDIR)/$(BIN):$$PATH" cwl-examples/run $(EXAMPLE)

test: setup ## run the tests
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS)

check: setup ## lint, formatting, layers, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy

format: setup ## format the code
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

lock: setup ## pin the newest versions of all dependencies
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --universal --extra optimize --extra report --group dev \
	  --python-version 3.10 --generate-hashes --no-annotate --custom-compile-command "make lock" -o requirements.lock

clean: ## remove what make made
	rm -rf $(VENV) results
