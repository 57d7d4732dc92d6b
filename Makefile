# Everything a person needs: `make demo` shows it, `make test` proves it. Both set themselves up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: setup demo test test-setup lint bench soak clean

$(STAMP): pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	    uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && uv pip install --quiet --python $(BIN)/python -e . --group dev; \
	else \
	    $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --upgrade "pip>=25.1" && $(BIN)/python -m pip install --quiet -e . --group dev; \
	fi
	@touch $@

setup: $(STAMP)  ## the .venv with everything a developer needs

demo: $(STAMP)  ## gateway + emulator, a dozen prompts, a table; then it keeps serving
	$(BIN)/sidecar demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/sidecar schema --check
	$(BIN)/sidecar validate gateway.yaml examples --deny-warnings
	$(BIN)/sidecar test gateway.yaml examples

test: $(STAMP) lint  ## lint, types, schemas, architecture and all tests
	$(BIN)/pytest -n auto

test-setup: $(STAMP)  ## what some tests need beyond Python (npm packages, promtool)
	sh tests/setup.sh

LEDGER ?= 10000000
bench: $(STAMP)  ## every server in one table (README); what being seen costs; a ledger of LEDGER rows against an empty one
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench --observing
	$(BIN)/python -m tests.bench --ledger $(LEDGER)

MINUTES ?= 30
soak: $(STAMP)  ## mixed traffic and failing providers for MINUTES: does the gateway stay flat?
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
